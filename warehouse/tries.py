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

from warehouse import limited_tries
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

    def sql(self) -> str:
        """A row per counted unit: unit, value, level, times (UTC ms, one per level; 0: it went on without),
        latest_entry (UTC ms).
        """
        if self.limited:
            entered = f"""
                select unit, ts, taken, entry_values, latest_entry, entries
                from ({self._arrays()}) where latest_entry > 0 and not left_out"""  # noqa: S608
            walked = limited_tries.walked(
                entered, self.limits, strict=self.order == "strict", window=self.window
            )
        else:
            walked = {"ordered": self._ordered, "strict": self._strict, "any": self._any}[self.order]()
        return f"select unit, {self._value()} as value, level, times, latest_entry from ({walked})"  # noqa: S608

    def left_out(self) -> str | None:
        """SQL for what is left out of `sql`: unit, keys, outs, entry_values. None: nothing can be."""
        if self._left_out() == "0":
            return None
        return f"select unit, sorted, outs, entry_values from ({self._arrays()}) where left_out"  # noqa: S608

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
        values = f"arrayFilter(e -> {at_of('e.1')} = {at} and {taking} != 0, entry_values)"
        value = f"arrayMin(arrayMap(e -> e.2, {values}))"
        if self.value_at > 1:
            missing = f"'{not_reached(self.value_at)}'"
            return f"if(level < {place} or {at} = 0, {missing}, {value})"
        return value

    def _arrays(self) -> str:
        """`ts`: times, `taken`: steps taken at each, `entries`: the times that may be entries, else 0."""
        return layers(
            self.units.sql,
            f"{'keys' if self.order == 'strict' else 'arraySort(keys)'} as sorted",
            f"arrayMap(k -> bitShiftRight(k, {STEP_BITS}), sorted) as ts,"
            f" arrayMap(k -> bitAnd(k, {STEPS_TAKEN}), sorted) as taken",
            f"arrayMap((t, m) -> if({self._enters()}, t, 0), ts, taken) as entries,"
            f" arrayMap(x -> {at_of('x')}, outs) as excluded",
            f"arrayMax(entries) as latest_entry, {self._left_out()} as left_out",
        )

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

    def _entered(self) -> str:
        """The units with an entry, and `entry_k` for every step k."""
        passes = ["entries as entry_1"]
        for k in range(2, self.last + 1):
            before = f"entry_{k - 1}" if self.order == "strict" else f"arrayFill(e -> e > 0, entry_{k - 1})"
            passes.append(
                f"arrayMap((t, m, e) -> if({_bit(k)} and e > 0 and t - e <= {self.window}, e, 0),"
                f" ts, taken, {_BEFORE.format(before)}) as entry_{k}"
            )
        return f"""
            select unit, ts, taken, excluded, entry_values, latest_entry, {", ".join(passes)}
            from ({self._arrays()}) where latest_entry > 0 and not left_out"""  # noqa: S608

    def _deepest(self) -> str:
        """Of each its `level`, and as `reached` the entries by which touchpoints reach it."""
        levels = range(self.last, 1, -1)
        level = ", ".join(f"arrayExists(e -> e > 0, entry_{k}), {k}" for k in levels)
        reached = ", ".join(f"level = {k}, entry_{k}" for k in levels)
        single = self.last == 1
        return layers(
            self._entered(),
            f"{'1' if single else f'multiIf({level}, 1)'} as level",
            f"{'entry_1' if single else f'multiIf({reached}, entry_1)'} as reached",
        )

    def _chosen(self) -> str:
        """`entry` of the try that is completed first, begun as late as that allows."""
        if self.units.excluding and self.whole:
            return self._chosen_of_those_not_spoiled()
        return f"""
            select *, arrayMin(arrayFilter((t, e) -> e > 0, ts, reached)) as completed,
                   arrayMax(arrayFilter((e, t) -> t = completed, reached, ts)) as entry
            from ({self._deepest()})"""  # noqa: S608

    def _chosen_of_those_not_spoiled(self) -> str:
        """The same among the deepest tries that nothing excluded spoils; who has none is not counted.

        From the end to the beginning, `done_k[i]`: when a try that takes step k at i first reaches its level.
        """
        passes = []
        for k in range(self.last, 0, -1):
            after = "ts" if k == self.last else _AFTER.format(f"arrayReverseFill(d -> d > 0, done_{k + 1})")
            done = "t" if k == self.last else f"if(level = {k}, t, d)"
            takes = f"level >= {k} and {_bit(k)}"
            passes.append(f"arrayMap((t, m, d) -> if({takes}, {done}, 0), ts, taken, {after}) as done_{k}")
        begins = f"{self._enters()} and d > 0 and d - t <= {self.window}"
        end = f"if(level = {self.last}, one.1, one.3 + {self.window})"
        tries = (
            "arraySort(arrayFilter(one -> one.1 > 0"
            f" and not arrayExists(x -> x > one.3 and x < {end}, excluded),"
            f" arrayMap((t, m, d) -> (if({begins}, d, 0), -toInt64(t), t), ts, taken, done_1)))"
        )
        found = layers(self._deepest(), ", ".join(passes), f"{tries} as whole")
        return f"select *, whole[1].1 as completed, whole[1].3 as entry from ({found}) where notEmpty(whole)"  # noqa: S608

    def _ordered(self) -> str:
        # each step as early as it can be, from the entry on
        next_one = "length(times) < level and bitTest(m, length(times)) and (notEmpty(times) or t = entry)"
        return f"""
            select unit, level, latest_entry, entry_values,
                   arrayFold((times, t, m) -> if({next_one}, arrayPushBack(times, t), times), ts, taken,
                             emptyArrayUInt64()) as times
            from ({self._chosen()})"""  # noqa: S608

    def _strict(self) -> str:
        ends = "arrayFilter((i, t, e) -> t = completed and e = entry, arrayEnumerate(ts), ts, reached)"
        return f"""
            select unit, level, latest_entry, entry_values,
                   arrayMin(arrayMap(i -> arraySlice(ts, i - level + 1, level), {ends})) as times
            from ({self._chosen()})"""  # noqa: S608

    def _any(self) -> str:
        passes = [
            f"arrayReverseFill(n -> n > 0, arrayMap((t, m) -> if({_bit(k)}, t, 0), ts, taken)) as next_{k}"
            for k in range(1, self.last + 1)
        ]
        names = [f"n{k}" for k in range(1, self.last + 1)]
        nexts = ", ".join(f"next_{k}" for k in range(1, self.last + 1))
        whole = f"if(length(run) = {self.last}, run[-1], run[1] + {self.window})"
        return f"""
            select unit, length(run) as level, latest_entry, entry_values, run as times
            from (
                select unit, latest_entry, entry_values,
                       arraySort(run -> (-length(run), run[-1], -toInt64(run[1])), arrayFilter(
                           run -> notEmpty(run)
                               and not arrayExists(x -> x > run[1] and x < {whole}, excluded),
                           arrayMap((e, {", ".join(names)}) -> if(e = 0, [], arraySort(arrayFilter(
                               n -> n > 0 and n - e <= {self.window}, [{", ".join(names)}]
                           ))), entries, {nexts})
                       )) as runs,
                       runs[1] as run
                from (
                    select unit, ts, taken, excluded, entry_values, latest_entry, entries, {", ".join(passes)}
                    from ({self._arrays()}) where latest_entry > 0 and not left_out
                )
                where notEmpty(runs)
            )"""  # noqa: S608


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
