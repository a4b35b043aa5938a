"""Conversion by time of entry: buckets of an hour, a day, a week, in a time zone."""

from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo

import msgspec
import pandas as pd

from warehouse.answer import QuestionError
from warehouse.statistics import wilson

MOST_BUCKETS = 10_000
_EPOCH = date(1970, 1, 1)
_INTEGERS = ("count", "converted", "open", "lost")
_RATES = ("rate", "lo", "hi")


class Trend(msgspec.Struct, frozen=True):
    """`bucket` gives the beginning of the bucket in which an instant lies, `after` that of the one that follows; UTC
    ms, hours as UTC ms, days and weeks as days since 1970. `sql`: the same as `bucket`, as SQL with {} for the
    instant; `begins`: when a bucket begins, UTC ms.
    """

    sql: str
    bucket: Callable[[int], int]
    after: Callable[[int], int]
    begins: Callable[[int], int]

    def rows(
        self,
        counts: Mapping[int, tuple[int, int, int]],
        window_ms: int,
        period: tuple[int | None, int | None],
        now: int,
    ) -> pd.DataFrame:
        """One row per bucket from the beginning of the period to its end, or from the first entry to the watermark.

        Columns: at (its beginning, UTC), count (entered), converted, open, lost (int), rate (of decided entries, 0–1;
        NaN: none is), lo, hi (95 %), undecided (its last window has not ended at the watermark: it may rise).
        """
        rows = []
        for at in self._buckets(counts, period, now):
            entered, converted, still = counts.get(at, (0, 0, 0))
            decided = entered - still
            rows.append(
                (
                    datetime.fromtimestamp(self.begins(at) / 1000, UTC),
                    entered,
                    converted,
                    still,
                    decided - converted,
                    converted / decided if decided else None,
                    *wilson(converted, decided),
                    self.begins(self.after(at)) - 1 + window_ms >= now,
                )
            )
        frame = pd.DataFrame(rows, columns=["at", *_INTEGERS, *_RATES, "undecided"])
        return frame.astype(
            {
                "at": "datetime64[ms, UTC]",
                **dict.fromkeys(_INTEGERS, "int64"),
                **dict.fromkeys(_RATES, "float64"),
                "undecided": "bool",
            }
        )

    def _buckets(
        self, counts: Mapping[int, tuple[int, int, int]], period: tuple[int | None, int | None], now: int
    ) -> Iterator[int]:
        since, until = period
        first = min(counts, default=None) if since is None else self.bucket(since)
        last = max([*counts, self.bucket(now)]) if until is None else self.bucket(until - 1)
        if first is None:
            return
        at = first
        for _ in range(MOST_BUCKETS):
            if at > last:
                return
            yield at
            at = self.after(at)
        raise QuestionError(
            f"the trend has more than {MOST_BUCKETS:,} points",
            remedy="Ask for a shorter period or longer buckets.",
        )


def trend_of(length: str, zone: ZoneInfo) -> Trend:
    """Buckets of this length: hour, day or week; a week begins on Monday."""
    local = f"fromUnixTimestamp64Milli(toInt64({{}}), '{zone.key}')"

    def begins(day: int) -> int:
        midnight = datetime.combine(_EPOCH + timedelta(days=day), datetime.min.time(), zone)
        return round(midnight.timestamp() * 1000)

    def day_of(ms: int) -> int:
        return (datetime.fromtimestamp(ms / 1000, zone).date() - _EPOCH).days

    if length == "day":
        return Trend(f"toInt64(toDate({local}))", day_of, lambda day: day + 1, begins)
    if length == "week":
        # 1970-01-05 was a Monday
        return Trend(
            f"toInt64(toMonday({local}))",
            lambda ms: (day_of(ms) - 4) // 7 * 7 + 4,
            lambda day: day + 7,
            begins,
        )

    def hour_of(ms: int) -> int:
        at = datetime.fromtimestamp(ms / 1000, zone)
        return round(at.replace(minute=0, second=0, microsecond=0).timestamp() * 1000)

    return Trend(
        f"toInt64(toUnixTimestamp(toStartOfHour({local}))) * 1000",
        hour_of,
        lambda ms: ms + 3_600_000,
        lambda ms: ms,
    )
