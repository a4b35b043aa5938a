"""Made-up worlds: some dozens of customers on all channels, stitched by the real fold and loaded as the stream does.

They are loaded twice: first as far as somebody knew them who had seen half of it and none of the links, then whole.
So rows are replaced, customers merge, journeys begin where they did not, touchpoints move to another day and buckets
empty. What a reference reads is the touchpoints and verdicts of the whole, as plain records.
"""

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from random import Random
from typing import Any

import msgspec
from clickhouse_connect.driver.client import Client

from models.fold import Household
from models.identifier import Identifier
from models.journey_model import default_model
from models.touchpoint import Agent, Campaign, Device, Element, Touchpoint
from models.verdict import Verdict
from tests.histories import THEMES
from tests.warehouse.stories import empty, moment, set_watermark
from warehouse.aggregates import Aggregates
from warehouse.rows import Rows
from warehouse.writer import Writer

MODEL = default_model()
SECOND, MINUTE, HOUR, DAY = 1_000, 60_000, 3_600_000, 86_400_000
END = 1_772_323_200_000  # 2026-03-01T00:00Z: to this instant the worlds are complete
GAPS = (0, 0, SECOND, 40 * SECOND, 5 * MINUTE, 20 * MINUTE, 2 * HOUR, DAY, 2 * DAY, 8 * DAY)
SEEDS = (1, 2)


@dataclass(frozen=True)
class Seen:
    """A touchpoint with what is said of it; `before` and `after`: the others of its journey, in order."""

    t: Touchpoint
    v: Verdict
    journey: "list[Seen]" = field(repr=False, default_factory=list)

    @property
    def at(self) -> int:
        return self.t.occurred_at

    @property
    def n(self) -> int:
        return self.v.ordinal

    @property
    def queue(self) -> str:
        return (self.t.agent and self.t.agent.queue) or ""

    @property
    def converts(self) -> bool:
        return self.t.type in MODEL.converting_types

    @property
    def before(self) -> "list[Seen]":
        return self.journey[: self.n - 1]

    @property
    def after(self) -> "list[Seen]":
        return self.journey[self.n :]

    def place(self, name: str) -> str:
        """Its value of a field of a breakdown, but kind."""
        value = {
            "phase": self.v.phase, "channel": self.t.channel, "type": self.t.type, "queue": self.queue,
            "campaign": campaign(self.journey), "persona": persona(self.journey),
        }[name]  # fmt: skip
        return value or "(none)"


def campaign(journey: Sequence[Seen]) -> str:
    """That of the first touchpoint that has one."""
    return next((s.t.campaign.name for s in journey if s.t.campaign and s.t.campaign.name), "")


def persona(journey: Sequence[Seen]) -> str:
    """The latest."""
    return next((s.t.persona for s in reversed(journey) if s.t.persona), "")


@dataclass(frozen=True)
class World:
    """All touchpoints, each in its journey."""

    touchpoints: list[Seen]

    @property
    def journeys(self) -> list[list[Seen]]:
        return [s.journey for s in self.touchpoints if s.n == 1]


def world(loader: Client, seed: int, *, customers: int = 60) -> World:
    """Make a world, load it, and say what it holds."""
    random = Random(seed)
    empty(loader)
    set_watermark(loader, END, END + HOUR)
    said: list[tuple[Touchpoint, Verdict]] = []
    early, late = [], []
    for number in range(customers):
        elements = list(_customer(random, number))
        known = [one for one in elements if random.random() < 0.5]
        early += _judged([known[::2], known[1::2]], f"{number}", END - 20 * DAY)
        whole = _judged([elements], f"{number}", END)
        late += whole
        said += [
            (row.touchpoint, row.verdict) for rows in whole for row in rows.touchpoints if not row.deleted
        ]
    for facts in (early, late):
        _load(loader, facts)
    journeys: dict[str, list[Seen]] = defaultdict(list)
    for t, v in sorted(said, key=lambda one: (one[1].journey_id, one[1].ordinal)):
        journeys[v.journey_id].append(Seen(t, v, journeys[v.journey_id]))
    return World([one for journey in journeys.values() for one in journey])


def _judged(households: Sequence[Sequence[Element]], name: str, watermark: int) -> list[Any]:
    found = []
    for number, elements in enumerate(households):
        household = Household(f"user_id:{name}{number}", MODEL)
        household.add(elements)
        found.append(household.judge(watermark, full=True))
    return found


def _load(loader: Client, facts: Sequence[Any]) -> None:
    rows = Rows()
    for one in facts:
        rows.add(one)
    writer = Writer(loader)
    aggregates = Aggregates(loader, writer, MODEL.phases)
    touched = aggregates.announce(rows, "")
    assert not writer.write(rows, "")
    aggregates.settle(touched)


def _customer(random: Random, number: int) -> Iterator[Touchpoint]:
    user, cookie = Identifier("user_id", f"u{number}"), Identifier("anonymous_id", f"c{number}")
    at = END - random.randrange(90 * DAY)
    count = 0
    for _ in range(random.randint(1, 4)):
        theme = random.choice(THEMES)
        for _ in range(random.randint(1, 9)):
            channel, type_ = random.choice(theme)
            count += 1
            names = (user, cookie) if count == 3 else (random.choice((user, cookie)),)
            yield from _touchpoint(random, f"{number}-{count:02}", at, channel, type_, names)
            at += random.choice(GAPS)
        at += random.choice((MINUTE, DAY, 5 * DAY, 31 * DAY))
        if at >= END:
            return


def _touchpoint(
    random: Random, id: str, at: int, channel: str, type_: str, names: tuple[Identifier, ...]
) -> Iterator[Touchpoint]:
    def maybe(share: float, *values: Any) -> Any:
        return random.choice(values) if random.random() < share else None

    contact = channel in ("chat", "voice")
    money = maybe(0.8, "20.00", "35.50", "100") if type_ in ("purchase", "subscription_started") else None
    told = Touchpoint(
        id=id, source="s", source_instance="x", source_event_id=id, source_type="t", channel=channel, type=type_,
        occurred_at=at, received_at=at + SECOND, identifiers=names,
        outcome=maybe(0.1, "failure", "success"),
        wait_ms=maybe(0.7, 5 * SECOND, 90 * SECOND, 200 * SECOND) if contact else None,
        hold_ms=maybe(0.2, 90 * SECOND) if contact else None,
        transfers=maybe(0.3, 0, 1, 2, 5) if contact else None,
        csat=maybe(0.8, 1.0, 3.0, 5.0) if type_ == "csat_submitted" else None,
        nps=maybe(0.8, 2, 8, 10) if type_ == "nps_submitted" else None,
        sentiment=maybe(0.8, -0.6, 0.1, 0.7) if type_ == "call_analyzed" else None,
        topic=maybe(0.3, "billing", "complaint") if contact else None,
        agent=Agent(queue=random.choice(("Sales", "Support"))) if contact and random.random() < 0.6 else None,
        campaign=Campaign(name=random.choice(("spring", "autumn"))) if random.random() < 0.15 else None,
        persona=maybe(0.1, "Gold", "Silver"), device=maybe(0.5, Device(type="mobile"), Device(type="desktop")),
        locale=maybe(0.5, "de-DE", "en-GB"), amount=money,
        currency=random.choice(("EUR", "EUR", "GBP")) if money else None,
    )  # fmt: skip
    yield told
    if random.random() < 0.03:  # the source sends it again, with another day
        yield msgspec.structs.replace(
            told, occurred_at=at + 2 * DAY, received_at=at + 3 * DAY, source_updated_at=at + 3 * DAY
        )


def instant(ms: int) -> Any:
    """An instant as questions take it."""
    return moment(ms)


def within(at: int | None, scope: dict[str, Any]) -> bool:
    """Whether an instant (None: it never came) lies in the period of a question."""
    if at is None:
        return False
    since, until = (scope.get(name) for name in ("since", "until"))
    return (since is None or at >= since.timestamp() * 1000) and (
        until is None or at < until.timestamp() * 1000
    )


def of(journey: list[Seen], scope: dict[str, Any]) -> bool:
    """Whether a journey is among those of the persona and campaign of a question."""
    for name, value in (("persona", persona(journey)), ("campaign", campaign(journey))):
        wanted = scope.get(name)
        if wanted and (value == wanted.removeprefix("!")) == wanted.startswith("!"):
            return False
    return True
