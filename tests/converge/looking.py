"""What must hold whenever anyone looks, through the views and as the reader that pages ask as.

Rows are replaced one insert at a time, and each table has an insert of its own. So what holds at every
instant holds within one table: each key once, and each row true in itself, since a row is replaced as a whole.
Between tables, and between the rows of one table, there is an interval: verdicts are said at once, journeys'
rows at the next checkpoint, and buckets are computed after both; a merge takes two households' rows away one
message later than it brings the one's. How far touchpoints and journeys are apart is counted here at every
look, and must be nothing once all was handled.
"""

import threading
import time
from collections import Counter

import httpx

from models.errors import DesirelineError
from tests.converge.happenings import Happenings
from tests.desireline.ups import HTTP

EVERY_S = 1.0
JOURNEY_ARRAYS = ("ats", "types", "channels", "phases", "weights", "transaction_ids")

ALWAYS = {
    "each touchpoint stands once": "select count() - uniqExact(occurred_on, id) from touchpoints",
    "each touchpoint is in exactly one journey, at one place":
        "select countIf(journey_id = '' or customer_id = '' or ordinal = 0) from touchpoints",
    "each journey stands once, at its first touchpoint":
        "select count() - uniqExact(started_on, id) + countIf(touchpoint_ids[1] != id) from journeys",
    "no touchpoint is twice in a journey":
        "select countIf(length(arrayDistinct(touchpoint_ids)) != length(touchpoint_ids)) from journeys",
    "the arrays of a journey are of one length and in the order of time":
        "select countIf("
        + " or ".join(f"length({name}) != length(touchpoint_ids)" for name in JOURNEY_ARRAYS)
        + " or arraySort(ats) != ats or ats[1] != started_at or ats[-1] != ended_at) from journeys",
    "the phases of journeys add up to the journeys":
        "select countIf(current_phase != phases[-1] or not has(phases, furthest_phase)"
        " or arraySum(arrayMap(phase -> countEqual(phases, phase), {phases})) != length(touchpoint_ids))"
        " from journeys",
    "attempts end once":
        "select count() - uniqExact(touchpoint_id, opened_at, kind)"
        " + countIf((outcome = 'open') != (ended_at is null))"
        " + countIf(recovered_at is not null and outcome != 'abandoned') + countIf(ended_at < opened_at)"
        " from attempts",
    "drop-offs are recovered after they were dated":
        "select countIf(recovered_at <= at) + countIf(at < last_seen_at) from drop_offs",
    "an identifier belongs to one customer": "select count() - uniqExact(identifier) from identities",
    "each minute of attempts stands once":
        "select count() - uniqExact(minute, kind, channel) + countIf(recovered > abandoned) from attempts_1m",
    "each day of conversion stands once, and who enters a phase goes on, is lost or open":
        "select count() - uniqExact(day, campaign, phase)"
        " + countIf(forward + lost + open != entered or greatest(back, converted) > entered)"
        " from stage_conversion_1d",
}  # fmt: skip
"""Each gives the number of rows that break it."""

APART = """
    select countIf(t.journey_id != j.journey_id or t.ordinal != j.ordinal)
    from (select id, journey_id, ordinal from touchpoints) as t
    full join (
        select touchpoint_id as id, journey_id, ordinal
        from journeys array join touchpoint_ids as touchpoint_id, arrayEnumerate(touchpoint_ids) as ordinal
    ) as j on t.id = j.id and t.journey_id = j.journey_id
"""
"""Touchpoints whose own row and whose journey's row do not tell the same."""

NEVER_LESS = {
    "what stands never has seen less than what stood":
        "select sum(seen) from (select max(bitShiftRight(version, 42)) as seen from touchpoint_rows"
        " group by occurred_on, id)",
    "watermarks do not fall": "select sum(toUnixTimestamp64Milli(watermark)) from watermarks final",
}  # fmt: skip
"""Each gives a number that must not fall from one look to the next."""


class NoAnswer(DesirelineError):
    """The warehouse is there and refuses a question."""


class Looker(threading.Thread):
    """Looks about every second until it is told to stop; `broken` says what did not hold.

    `url`: of the warehouse's server; it may be another one after a restart.
    """

    def __init__(self, server_url: str, phases: tuple[str, ...], database: str = "desireline") -> None:
        super().__init__(name="looker", daemon=True)
        self.url = server_url
        self._parameters = {"database": database, "user": "reader"}
        self._phases = "[" + ", ".join(f"'{phase}'" for phase in phases) + "]"
        self._told_to_stop = threading.Event()
        self._last: dict[str, int] = {}
        self.looks = 0
        self.away = 0
        self.together = 0
        self.most_apart = 0
        self.broken: Counter[str] = Counter()

    def run(self) -> None:
        while not self._told_to_stop.wait(EVERY_S):
            try:
                self.look()
            except httpx.TransportError:
                self.away += 1
            except Exception as error:  # a thread that ends would look no more
                self.broken[f"the warehouse answers: {error}"] += 1

    def stop(self) -> None:
        self._told_to_stop.set()
        self.join()

    def count(self, happenings: Happenings) -> None:
        """What it saw, for the table."""
        happenings.count("reader", "looked", self.looks)
        happenings.count("reader", "found the warehouse away", self.away)
        happenings.count("reader", "found journeys and touchpoints agree", self.together)
        happenings.count("touchpoint", "ahead of its journey's row, at most at once", self.most_apart)

    @property
    def wrong(self) -> list[str]:
        """What did not hold, and how often."""
        return [f"{promise}: at {times} looks" for promise, times in self.broken.items()]

    def look(self) -> None:
        """Ask all once. httpx.TransportError while the warehouse is away."""
        for promise, question in ALWAYS.items():
            if wrong := self.ask(question.format(phases=self._phases)):
                self.broken[f"{promise} ({wrong} do not)"] += 1
        for promise, question in NEVER_LESS.items():
            now = self.ask(question)
            if now < self._last.get(promise, 0):
                self.broken[f"{promise} ({self._last[promise]} before, {now} now)"] += 1
            self._last[promise] = now
        apart = self.ask(APART)
        self.together += apart == 0
        self.most_apart = max(self.most_apart, apart)
        self.looks += 1

    def ask(self, sql: str) -> int:
        """The number that the warehouse answers."""
        answer = HTTP.post(self.url, params=self._parameters, content=f"{sql} format JSONCompact", timeout=30)
        if answer.status_code != 200:
            raise NoAnswer(f"{answer.text[:1000]} to {sql}")
        return int(answer.json()["data"][0][0])


def agree(looker: Looker, within_s: float = 60.0) -> None:
    """In the end journeys and touchpoints tell the same; what is written last may take a moment."""
    deadline = time.monotonic() + within_s
    while (apart := looker.ask(APART)) and time.monotonic() < deadline:
        time.sleep(0.5)
    if apart:
        looker.broken[f"touchpoints and journeys tell the same in the end ({apart} do not)"] += 1
