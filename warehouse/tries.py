"""The try that each customer is counted with: how deep it went, when it reached each step; as SQL.

A touchpoint becomes a number: its time in ms, then a bit for every step that it takes. A customer (or what else
is counted, a unit) is an array of such numbers, sorted, and a funnel is some passes over these arrays, for all
units at once:

*Ordered.* `entry_k[i]` is the latest entry from which step k is reached at touchpoint i within the window,
0 if it is from none. It is the best `entry_(k-1)` before i; and since a later touchpoint never has an earlier
entry, that is the last one that is not 0. A touchpoint follows only those before it in the array, so it
never takes two steps. Of equal times the one for the earlier step stands first, so that either order of them
will do.

*Strict.* The same; but step k − 1 must be the very touchpoint before.

*Any.* `next_k[i]` is the first time from touchpoint i on that step k is taken. Those within the window after
an entry, in their order, are its levels.

Steps that are optional or have limits of their own are walked in `warehouse.limited_tries`. Where touchpoints of
one time could take several steps each, no order of them need be right for all levels; and an exclusion between
some steps only depends on more than the entry. Such units are left to `warehouse.walked_tries`; there are none unless
two steps overlap, or something excluded happened.
"""

from dataclasses import dataclass
from typing import Any

from sqlalchemy import ColumnClause, Select, column, select, text

from warehouse import limited_tries
from warehouse.counted_try import COMPLETED, deepest
from warehouse.layers import layers
from warehouse.limited_tries import Limit

STEP_BITS = 20
STEPS_TAKEN = (1 << STEP_BITS) - 1
_LOWEST = "bitAnd({0}, bitNot({0}) + 1)"
_BEFORE = "arrayPushFront(arrayPopBack({}), 0)"
_AFTER = "arrayPushBack(arrayPopFront({}), 0)"


@dataclass(frozen=True)
class Units:
    """Where what is counted comes from. `sql` gives a row for each that has a touchpoint which takes a step:

    `unit`: its id; `keys`: time << 20 | steps taken, of touchpoints in the order (occurred_at, id) where the
    order is strict; `outs`: time << 20 | exclusions met, of what is excluded; `entry_values`: (key, value of the
    breakdown) of those whose value is needed.
    """

    sql: str
    valued: bool  # there is a breakdown
    every: bool  # a unit has one value
    excluding: bool  # something is excluded


@dataclass(frozen=True)
class Tries:
    """A funnel. `limits`: what each step says of the one before it; `overlapping`: a touchpoint may take one of
    several; `whole`: what is excluded is so from the first step to the last; `entry`: SQL condition on an entry's
    time t; `window`: SQL of its length, ms; `value_at`: the level whose value is that of a breakdown, 0: the last.
    """

    units: Units
    limits: tuple[Limit, ...]
    order: str  # ordered, strict, any
    overlapping: bool
    whole: bool
    entry: str
    window: str
    value_at: int

    @property
    def last(self) -> int:
        """How many steps there are."""
        return len(self.limits)

    @property
    def limited(self) -> bool:
        """Whether a step is optional or has limits."""
        return any(limit.any for limit in self.limits)

    def sql(self, now: str) -> str:
        """A row per counted unit: unit, value, level, times (UTC ms, one per level; 0: it went on without),
        undecided at `now` (SQL, UTC ms).
        """
        if self.limited:
            entered = self._entered("entries as entry_1")
            times, walked = limited_tries.walked(
                entered, self.limits, strict=self.order == "strict", window=self.window
            )
        else:
            times, walked = {"ordered": self._ordered, "strict": self._strict, "any": self._any}[self.order]()
        undecided = f"if(level < {self.last}, latest_entry + {self.window} >= {now}, 0)"
        counted = f"unit, {self._value()} as value, level, {times} as times, {undecided} as undecided"
        return f"select {counted} from ({walked})"  # noqa: S608

    def left_out(self) -> Select[Any] | None:
        """What is left out of `sql`: unit, keys, outs, entry_values. None: nothing can be."""
        if self._left_out() == "0":
            return None
        names = ("unit", "keys", "outs", "entry_values")
        columns: list[ColumnClause[Any]] = [column(name) for name in names]
        return select(*columns).select_from(text(f"({self._arrays()})")).where(text("left_out"))

    def _value(self) -> str:
        if not self.units.valued:
            return "''"
        if self.units.every:
            return "entry_values[1].2"
        place = self.value_at or "level"
        taking = f"bitAnd(e.1, bitShiftLeft(toUInt64(1), {place} - 1))"
        if self.order == "any":
            taking = steps_of("e.1")
        at = f"times[{place}]"
        values = f"arrayFilter(e -> if({at_of('e.1')} = {at}, {taking} != 0, 0), entry_values)"
        value = f"arrayMin(arrayMap(e -> e.2, {values}))"
        if self.value_at > 1:
            missing = f"'{not_reached(self.value_at)}'"
            return f"multiIf(level < {place}, {missing}, {at} = 0, {missing}, {value})"
        return value

    def _arrays(self) -> str:
        """`ts`: times, `taken`: steps taken at each, `entries`: the times that may be entries, else 0."""
        in_order = "keys" if self.order == "strict" else "arraySort(keys)"
        return layers(
            self.units.sql,
            f"arrayMap(k -> bitShiftRight(k, {STEP_BITS}), {in_order}) as ts,"
            f" arrayMap(k -> bitAnd(k, {STEPS_TAKEN}), {in_order}) as taken",
            f"arrayMap((t, m) -> if({self._enters()}, t, 0), ts, taken) as entries,"
            f" arrayMax(entries) as latest_entry, {self._left_out()} as left_out",
        )

    def _entered(self, *columns: str) -> str:
        """The units with an entry, whose counted try SQL can walk, and further columns."""
        excluded = [f"arrayMap(x -> {at_of('x')}, outs) as excluded"] if self._spoilable else []
        return f"""
            select unit, ts, taken, entry_values, latest_entry, {", ".join([*excluded, *columns])}
            from ({self._arrays()}) where latest_entry > 0 and not left_out"""  # noqa: S608

    @property
    def _spoilable(self) -> bool:
        """Whether SQL has to look for what is excluded."""
        return self.units.excluding and self.whole and not self.limited

    def _enters(self) -> str:
        takes_first = "m != 0" if self.order == "any" else "bitAnd(m, 1) != 0"
        return f"{takes_first} and {self.entry}"

    def _left_out(self) -> str:
        if self.units.excluding and (self.limited or not self.whole):
            spoilable = "notEmpty(outs)"
            return f"{spoilable} or {self._beyond_order()}"
        return self._beyond_order()

    def _beyond_order(self) -> str:
        if not self.overlapping or self.order == "strict":
            return "0"
        if self.order == "any":
            return "arrayExists(m -> bitCount(m) > 1, taken)"
        # two touchpoints of one time may stand in this order for every funnel if each takes a run of
        # neighbouring steps, and the run of the second neither begins nor ends before that of the first;
        # that it does not end before it follows from their being sorted
        runs = " and ".join(f"bitAnd({m} + {_LOWEST.format(m)}, {m}) = 0" for m in "mn")
        return (
            f"arrayExists((t, m, u, n) -> t = u and m != n and not ({runs} and {_LOWEST.format('m')} <="
            f" {_LOWEST.format('n')}), ts, taken, {_AFTER.format('ts')}, {_AFTER.format('taken')})"
        )

    def _reaching(self) -> str:
        """`entry_k` for every step k."""
        passes = ["entries as entry_1"]
        for k in range(2, self.last + 1):
            before = f"entry_{k - 1}" if self.order == "strict" else f"arrayFill(e -> e > 0, entry_{k - 1})"
            passes.append(
                f"arrayMap((t, m, e) -> if({_bit(k)} and e > 0 and t - e <= {self.window}, e, 0),"
                f" ts, taken, {_BEFORE.format(before)}) as entry_{k}"
            )
        return self._entered(*passes)

    def _deepest(self) -> str:
        """Of each its `level`, and as `reached` the entries by which touchpoints reach it."""
        kept = "unit, ts, taken, entry_values, latest_entry"
        return f"""
            select {f"{kept}, excluded" if self._spoilable else kept}, {deepest(self.last)}
            from ({self._reaching()})"""  # noqa: S608

    def _chosen(self) -> str:
        """`entry` of the try that is completed first, begun as late as that allows."""
        if self._spoilable:
            return self._chosen_of_those_not_spoiled()
        return layers(self._deepest(), COMPLETED)

    def _chosen_of_those_not_spoiled(self) -> str:
        """The same among the deepest tries that nothing excluded spoils; who has none is not counted.

        From the end to the beginning, `done_k[i]`: when a try that takes step k at i first reaches its level.
        """
        passes = []
        for k in range(self.last, 0, -1):
            after = "ts" if k == self.last else _AFTER.format(f"arrayReverseFill(d -> d > 0, done_{k + 1})")
            passes.append(
                f"arrayMap((t, m, d) -> if({_bit(k)}, multiIf(level = {k}, t, level > {k}, d, 0), 0),"
                f" ts, taken, {after}) as done_{k}"
            )
        begins = f"{self._enters()} and d > 0 and d - t <= {self.window}"
        end = f"if(level = {self.last}, one.1, one.3 + {self.window})"
        tries = (
            "arraySort(arrayFilter(one -> one.1 > 0"
            f" and not arrayExists(x -> x > one.3 and x < {end}, excluded),"
            f" arrayMap((t, m, d) -> (if({begins}, d, 0), -toInt64(t), t), ts, taken, done_1)))"
        )
        found = layers(self._deepest(), ", ".join(passes), f"{tries} as whole")
        return f"select *, whole[1].1 as completed, whole[1].3 as entry from ({found}) where notEmpty(whole)"  # noqa: S608

    def _ordered(self) -> tuple[str, str]:
        """SQL of the times, and of the rows with what they are worked out of."""
        # each step as early as it can be, from the entry on
        next_one = "t >= entry and length(taking) < level and bitTest(m, length(taking))"
        times = f"""
            arrayFold((taking, t, m) -> if({next_one}, arrayPushBack(taking, t), taking), ts, taken,
                      emptyArrayUInt64())"""
        return times, self._chosen()

    def _strict(self) -> tuple[str, str]:
        """The same; the steps of a try are neighbours."""
        ends = "arrayFilter((i, t, e) -> if(t = completed, e = entry, 0), arrayEnumerate(ts), ts, reached)"
        return f"arrayMin(arrayMap(i -> arraySlice(ts, i - level + 1, level), {ends}))", self._chosen()

    def _any(self) -> tuple[str, str]:
        """The same; of each entry there is one `run` of times."""
        passes = [
            f"arrayReverseFill(n -> n > 0, arrayMap((t, m) -> if({_bit(k)}, t, 0), ts, taken)) as next_{k}"
            for k in range(1, self.last + 1)
        ]
        names = [f"n{k}" for k in range(1, self.last + 1)]
        nexts = ", ".join(f"next_{k}" for k in range(1, self.last + 1))
        end = f"if(length(run) = {self.last}, run[-1], run[1] + {self.window})"
        spoiled = f"arrayExists(x -> x > run[1] and x < {end}, excluded)"
        counts = f"notEmpty(run) and not {spoiled}" if self._spoilable else "notEmpty(run)"
        chosen = f"""
            select unit, latest_entry, entry_values,
                   arraySort(run -> (-length(run), run[-1], -toInt64(run[1])), arrayFilter(
                       run -> {counts},
                       arrayMap((e, {", ".join(names)}) -> if(e = 0, [], arraySort(arrayFilter(
                           n -> n > 0 and n - e <= {self.window}, [{", ".join(names)}]
                       ))), entries, {nexts})
                   )) as runs,
                   runs[1] as run, length(run) as level
            from ({self._entered("entries", *passes)})
            where notEmpty(runs)"""  # noqa: S608
        return "run", chosen


def steps_of(key: str) -> str:
    """SQL: the bits of a key."""
    return f"bitAnd({key}, {STEPS_TAKEN})"


def at_of(key: str) -> str:
    """SQL: the time of a key, UTC ms."""
    return f"bitShiftRight({key}, {STEP_BITS})"


def not_reached(level: int) -> str:
    """What stands for the value of a step that was not reached."""
    return f"(step {level} not reached)"


def _bit(k: int) -> str:
    """SQL: whether `m` takes step k."""
    return f"bitAnd(m, {1 << (k - 1)}) != 0"
