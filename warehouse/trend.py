"""Trends: counts by hour, day or week in the time zone of the question, empty ones among them."""

from collections.abc import Sequence
from datetime import UTC, date, datetime, time, timedelta
from typing import Literal

import pandas as pd

from warehouse.answer import QuestionError, utc
from warehouse.binds import Binds
from warehouse.scope import Scope

Every = Literal["hour", "day", "week"]
MOST_BUCKETS = 20_000
_EPOCH = date(1970, 1, 1)
_HOUR_S = 3600


def bucket(at: str, every: Every, scope: Scope, binds: Binds) -> str:
    """SQL: the number of the bucket of an instant: of an hour its start in s since 1970, of a day or the Monday
    of a week the days since then.
    """
    zone = binds.bound(scope.timezone)
    if every == "hour":
        return f"toInt64(toUnixTimestamp(toStartOfHour({at}, {zone})))"
    day = f"toDate({at}, {zone})"
    return f"toInt64({day if every == 'day' else f'toMonday({day})'})"


def filled(
    counted: pd.DataFrame, keys: Sequence[str], every: Every, scope: Scope, up_to: datetime | None
) -> pd.DataFrame:
    """Counts by `bucket` and keys, as one row per bucket and key, of 0 where nothing was counted.

    Columns: at (start of the bucket, in the time zone of the question), complete (false: it goes on after the
    watermark, or lies partly outside the period), the keys, the counts. The rows reach over the period, or where
    it has no bounds from the first that was counted to the watermark. QuestionError for too many buckets.
    """
    numbers = _numbers(sorted(set(counted["bucket"])), every, scope, up_to)
    counts = [name for name in counted.columns if name not in (*keys, "bucket")]
    starts = {number: _start(number, every, scope) for number in numbers}
    grid = pd.DataFrame({"bucket": numbers}, dtype="int64")
    if keys:
        grid = counted[list(keys)].drop_duplicates().merge(grid, how="cross")
    rows = grid.merge(counted, how="left", on=["bucket", *keys])
    rows[counts] = rows[counts].fillna(0).astype("int64")
    at = pd.Series([starts[number] for number in rows["bucket"]], dtype=object)
    zoned = pd.to_datetime(at, utc=True).astype("datetime64[ms, UTC]").dt.tz_convert(scope.zone)
    complete = [_complete(number, starts[number], every, scope, up_to) for number in rows["bucket"]]
    rows.insert(0, "at", zoned)
    rows.insert(1, "complete", pd.Series(complete, dtype="bool"))
    return rows.drop(columns="bucket")


def _numbers(found: list[int], every: Every, scope: Scope, up_to: datetime | None) -> list[int]:
    ends = list(found)
    if scope.since is not None:
        ends.append(_number(scope.since, every, scope))
    last = [one for one in (_before(scope.until), up_to) if one is not None]
    if last and ends and min(last) >= _start(min(ends), every, scope):
        ends.append(_number(min(last), every, scope))
    if not ends:
        return []
    step = {"hour": _HOUR_S, "day": 1, "week": 7}[every]
    if (max(ends) - min(ends)) // step >= MOST_BUCKETS:
        raise QuestionError(
            f"a trend by {every} over this period has more than {MOST_BUCKETS:,} rows",
            remedy="Ask of a shorter period, or by longer ones.",
        )
    # where a zone moves its clocks by half an hour, hours that were counted lie between those of the grid
    return sorted({*range(min(ends), max(ends) + 1, step), *found})


def _before(until: datetime | None) -> datetime | None:
    return None if until is None else utc(until) - timedelta(milliseconds=1)


def _number(at: datetime, every: Every, scope: Scope) -> int:
    local = utc(at).astimezone(scope.zone)
    if every == "hour":
        return int((local - timedelta(minutes=local.minute)).timestamp()) // 60 * 60
    day = local.date() - timedelta(days=local.weekday() if every == "week" else 0)
    return (day - _EPOCH).days


def _start(number: int, every: Every, scope: Scope) -> datetime:
    if every == "hour":
        return datetime.fromtimestamp(number, UTC)
    # a midnight that the zone's clocks leave out is taken for the instant at which they do
    return datetime.combine(_EPOCH + timedelta(days=number), time(), scope.zone).astimezone(UTC)


def _complete(number: int, start: datetime, every: Every, scope: Scope, up_to: datetime | None) -> bool:
    step = {"hour": _HOUR_S, "day": 1, "week": 7}[every]
    end = _start(number + step, every, scope)
    return (
        up_to is not None
        and end <= up_to
        and (scope.since is None or start >= utc(scope.since))
        and (scope.until is None or end <= utc(scope.until))
    )
