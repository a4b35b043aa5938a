"""What all simulated customers share: chance, hours and weekdays, incidents, and the names of things."""

import hashlib
import random
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from typing import Any, TypeVar

from ingest.simulation.incidents import Incident

SEGMENT, STRIPE = 0, 1
"""The doors of the collector that a call goes through."""

Happening = tuple[int, int, dict[str, Any]]
"""Event time (UTC ms), door, and what the sender says: a Segment call or a Stripe event."""

Strand = Iterator[Happening]
"""What happens to one customer one after the other; several strands of a customer run beside each other."""

SECOND, MINUTE, HOUR, DAY = 1_000, 60_000, 3_600_000, 86_400_000

T = TypeVar("T")

# Shares of a day's traffic, hour by hour UTC, and how busy the days are from Monday on
_HOURS = (3, 2, 1.5, 1.2, 1.2, 2, 4, 7, 10, 12, 13, 13, 12, 12, 12, 12, 12, 13, 15, 17, 17, 14, 10, 6)
_DAYS = (1.05, 1.0, 1.0, 1.05, 1.1, 0.9, 0.9)
_WEEK = tuple(day * hour for day in _DAYS for hour in _HOURS)
_MEAN = sum(_WEEK) / len(_WEEK)
BUSY = tuple(weight / _MEAN for weight in _WEEK)
"""How busy each hour of the week is, from Monday 00:00 UTC; 1 is the mean."""
BUSIEST = max(BUSY)
"""How busy the busiest hour is."""
_THURSDAY = 3  # 1970-01-01 was one


def hour_of_week(at: int) -> int:
    """0 for the hour from Monday 00:00 UTC, 167 for the last of Sunday."""
    return (at // HOUR + 24 * _THURSDAY) % 168


class World:
    """Chance, the clock's curves and the incidents of one simulation.

    The same (seed, start_at) gives the same world. `steady`: every hour is as busy as the others.
    """

    def __init__(
        self, seed: int, start_at: int, incidents: Sequence[Incident] = (), *, steady: bool = False
    ) -> None:
        # All names of a world carry its tag: worlds of other seeds and times have other customers
        self.tag = hashlib.blake2b(f"{seed}:{start_at}".encode(), digest_size=4).hexdigest()
        self.chance = random.Random(f"{seed}:{start_at}")  # noqa: S311  believable, no secret
        self.random = self.chance.random
        self.steady = steady
        self.begun: list[Strand] = []
        self._incidents = tuple(incidents)
        self._serial = 0
        self._days: dict[int, str] = {}

    def serial(self) -> str:
        """A name that nothing else in this world has."""
        self._serial += 1
        return f"{self.tag}-{self._serial:x}"

    def begin(self, strand: Strand) -> None:
        """From here on `strand` happens, too, beside the one that calls this."""
        self.begun.append(strand)

    def happens(self, probability: float) -> bool:
        """True with this probability."""
        return self.random() < probability

    def pick(self, things: Sequence[T]) -> T:
        """One of them, each as likely as the others."""
        return things[int(self.random() * len(things))]

    def number(self, least: int, most: int) -> int:
        """A whole number in `least`…`most`, each as likely as the others."""
        return least + int(self.random() * (most - least + 1))

    def about(self, mean_ms: float) -> int:
        """A duration around `mean_ms`: mostly less, now and then several times as much; never 0."""
        return int(self.chance.expovariate(1.0) * mean_ms) + 1

    def moment(self, mean_ms: int) -> int:
        """A short pause: between a half and three halves of `mean_ms`."""
        return int((0.5 + self.random()) * mean_ms)

    def later(self, at: int, mean_ms: float) -> int:
        """When a person comes back who stays away for about `mean_ms`: at an hour when people do."""
        at += self.about(mean_ms)
        while not self.steady and self.random() * BUSIEST > BUSY[hour_of_week(at)]:
            at += self.moment(90 * MINUTE)
        return at

    def busy(self, at: int) -> float:
        """How busy it is at this hour of the week; 1 is the mean."""
        return 1.0 if self.steady else BUSY[hour_of_week(at)]

    def incident(self, kind: str, at: int) -> bool:
        """Whether an incident of this kind is on."""
        return any(i.kind == kind and i.start_at <= at < i.end_at for i in self._incidents)

    def iso(self, at: int) -> str:
        """An instant as ISO 8601 with ms and Z."""
        day, rest = divmod(at, DAY)
        date = self._days.get(day)
        if date is None:
            date = self._days[day] = datetime.fromtimestamp(day * 86_400, UTC).strftime("%Y-%m-%d")
        seconds, ms = divmod(rest, 1000)
        minutes, second = divmod(seconds, 60)
        return f"{date}T{minutes // 60:02}:{minutes % 60:02}:{second:02}.{ms:03}Z"
