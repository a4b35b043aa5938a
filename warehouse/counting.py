"""Counts by breakdown and by hour, day or week: from the minutes that the stream keeps where these know the answer,
else from the rows themselves.
"""

from collections.abc import Callable, Mapping, Sequence

import msgspec
import pandas as pd
from sqlalchemy import Engine, text

from warehouse.answer import Answer, ask, utc
from warehouse.binds import Binds
from warehouse.breakdown import Breakdown, comma, grouped
from warehouse.scope import Scope, where
from warehouse.trend import Every, bucket, filled

MOST_TRENDS = 8
"""Of so many rows of an answer, its first, the trend is told, too."""


class Counted(msgspec.Struct, frozen=True, kw_only=True):
    """What is counted. `rows`: a view with a row for each, of which `counts` are SQL aggregates; `at`: SQL of
    the instant that it is counted at; `only`: further conditions. `minutes`: the view of the same by minute,
    which can be broken down by `of_minutes`, and in which `sums` are the counts.
    """

    rows: str
    at: str
    counts: Mapping[str, str]
    minutes: str
    of_minutes: Sequence[str]
    sums: Mapping[str, str]
    only: Sequence[str] = ()

    def ask(self, connection: Engine, breakdown: Breakdown, every: Every, scope: Scope) -> Answer:
        """Columns: bucket (see `warehouse.trend`), the keys of the breakdown, the counts."""
        binds = Binds()
        known = breakdown.within(self.of_minutes) and scope.everybody and _whole_minutes(scope)
        sql = (self._of_minutes if known else self._of_rows)(breakdown, every, scope, binds)
        return ask(connection, text(sql), binds)

    def _of_minutes(self, breakdown: Breakdown, every: Every, scope: Scope, binds: Binds) -> str:
        at = f"{bucket('minute', every, scope, binds)} as bucket"
        counts = [f"toUInt64(sum({count})) as {name}" for name, count in self.sums.items()]
        chosen = where(scope.period("toDateTime64(minute, 3, 'UTC')", None, binds))
        anything = " + ".join(self.sums)
        return (
            f"select {comma([at], breakdown.selected(), counts)}"  # noqa: S608  names of ours
            f" from (select * from {self.minutes} {chosen}) as of_minute"
            f" {grouped(['bucket', *breakdown.keys])} having {anything} > 0"
        )

    def _of_rows(self, breakdown: Breakdown, every: Every, scope: Scope, binds: Binds) -> str:
        at = f"{bucket(self.at, every, scope, binds)} as bucket"
        counts = [f"toUInt64({count}) as {name}" for name, count in self.counts.items()]
        chosen = where([*self.only], scope.period(self.at, None, binds), scope.of_touchpoints(binds))
        return (
            f"select {comma([at], breakdown.selected(), counts)}"  # noqa: S608  names of ours
            f" from {breakdown.source(self.rows, chosen)} {grouped(['bucket', *breakdown.keys])}"
        )


def totals(counted: pd.DataFrame, keys: Sequence[str]) -> pd.DataFrame:
    """The counts by key over all buckets; one row without keys."""
    counts = [name for name in counted.columns if name not in ("bucket", *keys)]
    if not keys:
        return pd.DataFrame({name: [int(counted[name].sum())] for name in counts})
    return counted.groupby(list(keys), as_index=False)[counts].sum()


def trends(
    counted: Answer,
    breakdown: Breakdown,
    first: pd.DataFrame,
    every: Every,
    scope: Scope,
    finish: Callable[[pd.DataFrame], pd.DataFrame],
) -> dict[str, pd.DataFrame]:
    """The parts `trend` (of all) and `trends` (of each of the first rows). `finish` adds rates."""
    frame, keys = pd.DataFrame(counted), breakdown.keys
    whole = frame.groupby("bucket", as_index=False).sum(numeric_only=True)
    # in the order of the answer, whatever the order in which ClickHouse gives its groups
    chosen = first[keys].head(MOST_TRENDS).merge(frame, on=keys) if keys else whole
    found = {
        "trend": filled(whole, [], every, scope, counted.watermark),
        "trends": breakdown.named(filled(chosen, keys, every, scope, counted.watermark)),
    }
    return {name: finish(one) for name, one in found.items()}


def joined(frame: pd.DataFrame, other: pd.DataFrame, keys: Sequence[str]) -> pd.DataFrame:
    """Two frames side by side, the rows of either by key; counts that one lacks are 0."""
    both = (
        frame.merge(other, how="outer", on=list(keys)) if keys else pd.concat([frame, other], axis=1)
    ).reset_index(drop=True)
    counts = [n for n in both.columns if n not in keys and not pd.api.types.is_string_dtype(both[n])]
    both[counts] = both[counts].fillna(0).astype("int64")
    return both


def _whole_minutes(scope: Scope) -> bool:
    bounds = [utc(at) for at in (scope.since, scope.until) if at is not None]
    return not any(at.second or at.microsecond for at in bounds)
