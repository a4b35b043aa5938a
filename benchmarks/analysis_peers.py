"""The same questions in DuckDB, polars and pandas, on the touchpoints that stand in the warehouse, in memory.

They get what a person who knows the tool would give them: customers and journeys as numbers, types and channels as
categories, everything in the order of customer and time. They know no open windows and no corrected past.
"""

from collections.abc import Callable, Sequence
from typing import Protocol

import duckdb
import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa

Counts = list[int]
Transitions = dict[tuple[str, str], int]


class Peer(Protocol):
    """A tool that holds the touchpoints: customer, journey, at_ms, id, type, channel, phase."""

    name: str

    def funnel(self, steps: Sequence[str], window_ms: int) -> Counts:
        """Customers at each step, in order, within a window after any entry."""

    def funnel_by_channel(self, steps: Sequence[str], window_ms: int) -> dict[str, Counts]:
        """The same by the channel of the entry of the deepest try."""

    def transitions(self, window_ms: int) -> Transitions:
        """Customers who went from a type to the next, if that came within a window."""

    def customer(self, number: int) -> int:
        """Touchpoints of one customer."""


class InPandas:
    """Pandas: a step at a time by `merge_asof`."""

    name = "pandas"

    def __init__(self, touchpoints: pa.Table) -> None:
        self._all = touchpoints.to_pandas()

    def _tries(self, steps: Sequence[str], window_ms: int) -> pd.DataFrame:
        tries = self._of(steps[0], ["customer", "at_ms", "channel"]).rename(columns={"at_ms": "entry"})
        tries["level"], tries["before"] = 1, tries["entry"]
        going = tries
        for level, step in enumerate(steps[1:], start=2):
            # merge_asof wants both in the order of time
            following = self._of(step, ["customer", "at_ms"]).sort_values("at_ms", kind="stable")
            going = pd.merge_asof(
                going.sort_values("before", kind="stable"),
                following,
                left_on="before",
                right_on="at_ms",
                by="customer",
                direction="forward",
            ).set_index(going.sort_values("before", kind="stable").index)
            going = going[(going["at_ms"] - going["entry"]) <= window_ms]
            tries.loc[going.index, "level"] = level
            going = going.assign(before=going["at_ms"].astype("int64")).drop(columns="at_ms")
        return tries

    def _of(self, type_: str, columns: list[str]) -> pd.DataFrame:
        return self._all.loc[self._all["type"] == type_, columns]

    def funnel(self, steps: Sequence[str], window_ms: int) -> Counts:
        deepest = self._tries(steps, window_ms).groupby("customer")["level"].max()
        return [int((deepest >= level).sum()) for level in range(1, len(steps) + 1)]

    def funnel_by_channel(self, steps: Sequence[str], window_ms: int) -> dict[str, Counts]:
        tries = self._tries(steps, window_ms).sort_values("level", ascending=False, kind="stable")
        deepest = tries.drop_duplicates("customer")
        return {
            str(channel): [int((of["level"] >= level).sum()) for level in range(1, len(steps) + 1)]
            for channel, of in deepest.groupby("channel", observed=True)
        }

    def transitions(self, window_ms: int) -> Transitions:
        a = self._all
        source, target = a["type"].cat.codes.to_numpy()[:-1], a["type"].cat.codes.to_numpy()[1:]
        customer, at = a["customer"].to_numpy(), a["at_ms"].to_numpy()
        there = (customer[1:] == customer[:-1]) & (at[1:] - at[:-1] <= window_ms)
        went = pd.DataFrame({"customer": customer[:-1], "source": source, "target": target})[there]
        counted = went.drop_duplicates().value_counts(["source", "target"])
        names = a["type"].cat.categories
        return {(names[s], names[t]): int(n) for (s, t), n in counted.items()}

    def customer(self, number: int) -> int:
        return int((self._all["customer"] == np.uint64(number)).sum())


class InPolars:
    """Polars: a step at a time by `join_asof`."""

    name = "polars"

    def __init__(self, touchpoints: pa.Table) -> None:
        frame = pl.from_arrow(touchpoints)
        assert isinstance(frame, pl.DataFrame)
        self._all = frame

    def _deepest(self, steps: Sequence[str], window_ms: int) -> pl.LazyFrame:
        a = self._all.lazy()
        entry = pl.col("at_ms").alias("entry")
        tries = a.filter(pl.col("type") == steps[0]).select(
            "customer", "channel", entry, before="at_ms", level=1
        )
        for level, step in enumerate(steps[1:], start=2):
            following = a.filter(pl.col("type") == step).select("customer", "at_ms").sort("at_ms")
            reached = (pl.col("at_ms") - pl.col("entry") <= window_ms) & (pl.col("level") == level - 1)
            tries = (
                tries.sort("before")
                .join_asof(
                    following,
                    left_on="before",
                    right_on="at_ms",
                    by="customer",
                    strategy="forward",
                    coalesce=False,
                )
                .with_columns(
                    level=pl.when(reached.fill_null(value=False)).then(level).otherwise("level"),
                    before=pl.coalesce("at_ms", "before"),
                )
                .drop("at_ms")
            )
        return tries.sort("level", descending=True).unique("customer", keep="first", maintain_order=True)

    def funnel(self, steps: Sequence[str], window_ms: int) -> Counts:
        levels = self._deepest(steps, window_ms).select("level").collect()["level"].to_numpy()
        return [int((levels >= level).sum()) for level in range(1, len(steps) + 1)]

    def funnel_by_channel(self, steps: Sequence[str], window_ms: int) -> dict[str, Counts]:
        reached = [(pl.col("level") >= level).sum().alias(str(level)) for level in range(1, len(steps) + 1)]
        found = self._deepest(steps, window_ms).group_by("channel").agg(*reached).collect()
        return {str(channel): [int(n) for n in counts] for channel, *counts in found.iter_rows()}

    def transitions(self, window_ms: int) -> Transitions:
        following = pl.col("type", "at_ms", "customer").shift(-1).name.suffix("_next")
        found = (
            self._all.lazy()
            .with_columns(following)
            .filter(
                pl.col("customer") == pl.col("customer_next"),
                pl.col("at_ms_next") - pl.col("at_ms") <= window_ms,
            )
            .select("customer", "type", "type_next")
            .unique()
            .group_by("type", "type_next")
            .len()
            .collect()
        )
        return {(str(source), str(target)): int(count) for source, target, count in found.iter_rows()}

    def customer(self, number: int) -> int:
        return self._all.lazy().filter(pl.col("customer") == number).collect().height


class InDuckDb:
    """DuckDB: a step at a time by `asof left join`."""

    name = "DuckDB"

    def __init__(self, touchpoints: pa.Table, threads: int = 2) -> None:
        self._connection = duckdb.connect(config={"threads": threads})
        self._connection.register("given", touchpoints)
        self._connection.execute(
            "create table touchpoints as select customer, journey, at_ms, id, cast(type as varchar) as type,"
            " cast(channel as varchar) as channel from given"
        )
        self._connection.unregister("given")

    def _deepest(self, steps: Sequence[str], window_ms: int) -> str:
        sql = (
            "select customer, channel, at_ms as entry, at_ms as before, 1 as level"
            f" from touchpoints where type = '{steps[0]}'"
        )
        for level, step in enumerate(steps[1:], start=2):
            reached = f"b.at_ms - a.entry <= {window_ms} and a.level = {level - 1}"
            sql = (
                f"select a.customer, a.channel, a.entry, coalesce(b.at_ms, a.before) as before,"
                f" if({reached}, {level}, a.level) as level from ({sql}) as a"
                f" asof left join (select customer, at_ms from touchpoints where type = '{step}') as b"
                " on a.customer = b.customer and a.before <= b.at_ms"
            )
        return f"select customer, max(level) as level, arg_max(channel, level) as channel from ({sql}) group by 1"

    def funnel(self, steps: Sequence[str], window_ms: int) -> Counts:
        return next(iter(self._counted(steps, window_ms, "''").values()))

    def funnel_by_channel(self, steps: Sequence[str], window_ms: int) -> dict[str, Counts]:
        return self._counted(steps, window_ms, "channel")

    def _counted(self, steps: Sequence[str], window_ms: int, by: str) -> dict[str, Counts]:
        counts = ", ".join(f"count(*) filter (level >= {level})" for level in range(1, len(steps) + 1))
        sql = f"select {by} as value, {counts} from ({self._deepest(steps, window_ms)}) group by 1"
        return {str(value): list(rest) for value, *rest in self._connection.execute(sql).fetchall()}

    def transitions(self, window_ms: int) -> Transitions:
        found = self._connection.execute(f"""
            select source, target, count(distinct customer) from (
                select customer, type as source, at_ms, lead(type) over w as target, lead(at_ms) over w as following
                from touchpoints window w as (partition by customer order by at_ms, id)
            ) where following - at_ms <= {window_ms} group by 1, 2""")
        return {(source, target): count for source, target, count in found.fetchall()}

    def customer(self, number: int) -> int:
        found = self._connection.execute("select * from touchpoints where customer = ?", [number]).fetchall()
        return len(found)


PEERS: tuple[Callable[[pa.Table], Peer], ...] = (InDuckDb, InPolars, InPandas)
