"""What abandonment is usual at this hour: by kind and channel, from the minutes of the weeks before.

The same hour of the day counts, its neighbours by half. Where that is thin, all hours of the weeks step in
with the weight of `ALL_HOURS_TRIALS` attempts, and where these are thin, too, a broad prior: a new house
pages nobody. The present hour is left out, so that an incident does not become its own expectation.
"""

from collections import defaultdict
from collections.abc import Iterable

import msgspec
from clickhouse_connect.driver.client import Client

from models.alerts import MINUTE_MS, Abandonment, AbandonmentBucket

HOUR_MS = 3_600_000
WEEKS_MS = 28 * 24 * HOUR_MS
ALL_HOURS_TRIALS = 50.0
PRIOR_RATE = 0.3
PRIOR_TRIALS = 4.0
RECENT_MS = 20 * MINUTE_MS
ASKED_AGAIN_MS = 60_000  # history may just be loading


class Usual(msgspec.Struct, frozen=True):
    """The usual rate of abandonment, 0–1, and how many ended attempts it is known from."""

    rate: float
    trials: float


UNKNOWN = Usual(PRIOR_RATE, PRIOR_TRIALS)


def usual(hours: Iterable[tuple[int, float, float]], hour: int) -> Usual:
    """What is usual at `hour` of the day (0–23, UTC), given (hour of the day, ended, abandoned) of the
    past."""
    ended_all = abandoned_all = ended_here = abandoned_here = 0.0
    for of, ended, abandoned in hours:
        ended_all += ended
        abandoned_all += abandoned
        apart = min((of - hour) % 24, (hour - of) % 24)
        weight = 1.0 if apart == 0 else 0.5 if apart == 1 else 0.0
        ended_here += weight * ended
        abandoned_here += weight * abandoned
    rate_all = (abandoned_all + PRIOR_RATE * PRIOR_TRIALS) / (ended_all + PRIOR_TRIALS)
    trust = min(ALL_HOURS_TRIALS, ended_all + PRIOR_TRIALS)
    trials = ended_here + trust
    return Usual((abandoned_here + rate_all * trust) / trials, trials)


class Expectation:
    """The usual rates, asked of the warehouse now and then, and remembered by hour."""

    def __init__(self, client: Client) -> None:
        self._client = client
        self._asked: dict[int, tuple[int, dict[tuple[str, str], Usual]]] = {}

    def abandonment(self, minutes: Iterable[int], now: int) -> list[Abandonment]:
        """The recent ones of these minutes (starts, UTC s), with what is usual at their hour, by kind and
        channel. `now`: wall clock, UTC ms; minutes before `now` − `RECENT_MS` or ahead of it are nobody's
        alert.
        """
        recent = sorted(minute for minute in minutes if now - RECENT_MS <= minute * 1000 <= now)
        if not recent:
            return []
        found = self._client.query(
            "select toUnixTimestamp(minute) as at, kind, channel, latest.1, latest.2, newest from"  # noqa: S608
            " (select minute, kind, channel, argMax((completed, abandoned), version) as latest,"
            f" max(version) as newest from attempts_1m_rows where minute in ({', '.join(map(str, recent))})"
            " group by minute, kind, channel) order by at, kind, channel",
        ).result_rows
        told: dict[tuple[str, str], list[AbandonmentBucket]] = defaultdict(list)
        for at, kind, channel, completed, abandoned, version in found:
            expected = self._usual(at * 1000 // HOUR_MS, now).get((kind, channel), UNKNOWN)
            told[kind, channel].append(
                AbandonmentBucket(
                    at * 1000, kind, channel, completed, abandoned, expected.rate, expected.trials, version
                )
            )
        return [Abandonment(kind, channel, buckets) for (kind, channel), buckets in told.items()]

    def _usual(self, hour: int, now: int) -> dict[tuple[str, str], Usual]:
        """The usual rates at an hour, given in hours since 1970."""
        known = self._asked.get(hour)
        if known is None or not 0 <= now - known[0] < ASKED_AGAIN_MS:
            self._asked = {h: u for h, u in self._asked.items() if h > hour - 4}
            known = self._asked[hour] = (now, self._ask(hour))
        return known[1]

    def _ask(self, hour: int) -> dict[tuple[str, str], Usual]:
        rows = self._client.query(
            "select kind, channel, toHour(minute, 'UTC') as hour, sum(latest.1) as completed,"
            " sum(latest.2) as abandoned from (select minute, kind, channel,"
            " argMax((completed, abandoned), version) as latest from attempts_1m_rows"
            " where minute >= {since:DateTime('UTC')} and minute < {until:DateTime('UTC')}"
            " group by minute, kind, channel) group by kind, channel, hour",
            parameters={"since": (hour * HOUR_MS - WEEKS_MS) // 1000, "until": hour * HOUR_MS // 1000},
        ).result_rows
        hours: dict[tuple[str, str], list[tuple[int, float, float]]] = defaultdict(list)
        for kind, channel, of, completed, abandoned in rows:
            hours[kind, channel].append((of, completed + abandoned, abandoned))
        return {pair: usual(of, hour % 24) for pair, of in hours.items()}
