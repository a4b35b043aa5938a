"""Days, weeks and months of a time zone, numbered one after the other: in SQL and in Python alike.

A bucket begins at midnight of its first day where the clocks of the zone say so; weeks begin on Monday.
"""

from collections.abc import Collection
from datetime import UTC, date, datetime, timedelta
from typing import Literal
from zoneinfo import ZoneInfo

from warehouse.answer import utc
from warehouse.scope import Scope

Unit = Literal["day", "week", "month"]
_EPOCH = date(1970, 1, 1)  # a Thursday
_MS = timedelta(milliseconds=1)


def number(at: str, unit: Unit, zone: str) -> str:
    """SQL: the bucket that an instant lies in; `zone` is the name of a bound value."""
    return number_of_day(f"toInt32(toDate({at}, {zone}))", unit)


def number_of_day(day: str, unit: Unit) -> str:
    """SQL: the bucket that a day lies in, given by its own number."""
    if unit == "week":
        return f"intDiv({day} + 3, 7)"
    if unit == "month":
        return f"toInt32(toYear(toDate({day})) * 12 + toMonth(toDate({day})) - 1)"
    return day


def number_at(at: datetime, unit: Unit, zone: ZoneInfo) -> int:
    """The bucket that an instant lies in."""
    day = utc(at).astimezone(zone).date()
    if unit == "month":
        return day.year * 12 + day.month - 1
    days = (day - _EPOCH).days
    return (days + 3) // 7 if unit == "week" else days


def first_day(bucket: int, unit: Unit) -> date:
    """The day that a bucket begins with."""
    if unit == "month":
        return date(bucket // 12, bucket % 12 + 1, 1)
    return _EPOCH + timedelta(days=bucket * 7 - 3 if unit == "week" else bucket)


def begins_at(bucket: int, unit: Unit, zone: ZoneInfo) -> datetime:
    """The instant at which a bucket begins, UTC."""
    # a midnight that the clocks leave out is, by the offset before, the instant at which they do
    return datetime.combine(first_day(bucket, unit), datetime.min.time(), zone).astimezone(UTC)


def chosen(scope: Scope, unit: Unit, active: Collection[int], watermark: datetime | None) -> range:
    """The buckets that the period touches, whole; without a bound from the first that somebody was active in, and
    to that of the watermark, or to the last one where somebody was active later.
    """
    if not active:
        return range(0)
    first = min(active) if scope.since is None else number_at(scope.since, unit, scope.zone)
    last = max(active)
    if watermark is not None:
        last = max(last, number_at(watermark, unit, scope.zone))
    if scope.until is not None:
        last = number_at(scope.until - _MS, unit, scope.zone)
    return range(first, last + 1)


def complete(bucket: int, unit: Unit, zone: ZoneInfo, watermark: datetime | None) -> bool:
    """Whether the watermark has reached the end of a bucket."""
    return watermark is not None and bucket < number_at(watermark, unit, zone)
