"""Tries whose steps are optional or have limits of their own; as SQL, over the arrays of `warehouse.tries`.

`entry_k[i]` is the latest entry from which step k is reached at touchpoint i: the greatest of all touchpoints
before i, in the time that step k leaves, of the steps that may stand before it. A limit is between neighbours
and the window is kept best by the latest entry, so nothing else has to be remembered. Then, from the touchpoint
that completes the counted try back, `goes_on_k[i]`: a try that takes step k at i can still be completed there;
and along these, each step is taken as early as it can be, an optional one whenever it can be.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from warehouse.layers import layers

_BEFORE = "arrayPushFront(arrayPopBack({}), {})"
_NEVER = 1 << 62
_AFTER = "arrayPushBack(arrayPopFront({}), {})"


@dataclass(frozen=True)
class Limit:
    """Whether a step is optional, and names of bound values, ms, None: no limit: at most and at least so long after
    the step that was taken before.
    """

    optional: bool = False
    within: str | None = None
    after: str | None = None

    @property
    def any(self) -> bool:
        """Whether there is any."""
        return self.optional or self.within is not None or self.after is not None

    def holds(self, before: str, at: str) -> str:
        """SQL: whether the step may be taken at a time, after a step before it."""
        conditions = []
        if self.within is not None:
            conditions.append(f"{at} <= {before} + {self.within}")
        if self.after is not None:
            conditions.append(f"{at} >= {before} + {self.after}")
        return " and ".join(conditions) or "1"


def walked(entered: str, limits: Sequence[Limit], *, strict: bool, window: str) -> str:
    """SQL as of `Tries.sql`, of units that have `unit, ts, taken, entries, entry_values, latest_entry`."""
    walk = _Walk(limits, strict=strict, window=window)
    chosen = walk.chosen(walk.reached(entered))
    return walk.runs(chosen) if strict else walk.times(walk.going_on(chosen))


class _Walk:
    def __init__(self, limits: Sequence[Limit], *, strict: bool, window: str) -> None:
        self._limits = limits
        self._last = len(limits)
        self._strict = strict
        self._window = window

    def _optional(self, k: int) -> bool:
        return self._limits[k - 1].optional

    def _before(self, k: int) -> Iterator[int]:
        """The steps that may stand just before step k."""
        for before in range(k - 1, 0, -1):
            yield before
            if not self._optional(before):
                return

    def _following(self, k: int) -> Iterator[int]:
        """The steps that may follow step k."""
        for following in range(k + 1, self._last + 1):
            yield following
            if not self._optional(following):
                return

    def reached(self, entered: str) -> str:
        """`entry_k` for every step k."""
        passes = ["entries as entry_1"]
        for k in range(2, self._last + 1):
            before = [f"entry_{b}" for b in self._before(k)]
            names = [f"e{n}" for n, _ in enumerate(before)]
            latest = names[0] if len(names) == 1 else f"greatest({', '.join(names)})"
            if self._strict:
                arrays = ", ".join(_BEFORE.format(one, 0) for one in ("ts", *before))
                entry = (
                    f"arrayMap((t, m, u, {', '.join(names)}) -> if({_bit(k)} and"
                    f" {self._limits[k - 1].holds('u', 't')}, {latest}, 0), ts, taken, {arrays})"
                )
            else:
                arrays = ", ".join(["ts", "arrayEnumerate(ts)", *before])
                entry = (
                    f"arrayMap((t, m, i) -> if({_bit(k)}, arrayMax(arrayMap((u, j, {', '.join(names)}) ->"
                    f" if(j < i and {self._limits[k - 1].holds('u', 't')}, {latest}, 0), {arrays})), 0),"
                    " ts, taken, arrayEnumerate(ts))"
                )
            passes.append(f"arrayMap((t, e) -> if(t - e <= {self._window}, e, 0), ts, {entry}) as entry_{k}")
        return layers(entered, *passes)

    def chosen(self, reached: str) -> str:
        """`level`, and of the try that is completed first the instant of it, and the latest entry it can have."""
        levels = range(self._last, 1, -1)
        level = ", ".join(f"arrayExists(e -> e > 0, entry_{k}), {k}" for k in levels)
        entries = ", ".join(f"level = {k}, entry_{k}" for k in levels)
        return layers(
            reached,
            f"multiIf({level}, 1) as level",
            f"multiIf({entries}, entry_1) as reaching",
            "arrayMin(arrayFilter((t, e) -> e > 0, ts, reaching)) as completed",
            "arrayMax(arrayFilter((e, t) -> t = completed, reaching, ts)) as entry",
        )

    def going_on(self, chosen: str) -> str:
        """`goes_on_k` for every step k."""
        passes = []
        for k in range(self._last, 0, -1):
            following = list(self._following(k))
            names = [f"g{f}" for f in following]
            arrays = [f"goes_on_{f}" for f in following]
            onward = " or ".join(
                f"({name} and {self._limits[f - 1].holds('t', 'u')})"
                for f, name in zip(following, names, strict=True)
            )
            ends = f"level = {k} and t = completed"
            if not following:
                goes_on = f"arrayMap((t, m) -> {_bit(k)} and {ends}, ts, taken)"
            else:
                after = ", ".join(["ts", "arrayEnumerate(ts)", *arrays])
                goes_on = (
                    f"arrayMap((t, m, i) -> {_bit(k)} and (({ends}) or (level > {k} and arrayExists("
                    f"(u, j, {', '.join(names)}) -> j > i and ({onward}), {after}))),"
                    " ts, taken, arrayEnumerate(ts))"
                )
            passes.append(f"{goes_on} as goes_on_{k}")
        return layers(chosen, *passes)

    def runs(self, chosen: str) -> str:
        """The same where the order is strict: `run_k[i]` are the times of a try that takes step k at i, from there
        on. Of several with this entry and end the one counts whose steps come earliest.
        """
        passes = []
        for k in range(self._last, 0, -1):
            following = list(self._following(k))
            names = [f"r{f}" for f in following]
            onward = ", ".join(
                f"notEmpty(r{f}) and {self._limits[f - 1].holds('t', 'u')},"
                f" arrayConcat([{', '.join(['t', *['0'] * (f - k - 1)])}], r{f})"
                for f in following
            )
            rest = f"level > {k}, multiIf({onward}, emptyArrayUInt64()), " if following else ""
            after = ", ".join(
                [
                    _AFTER.format("ts", 0),
                    *(_AFTER.format(f"run_{f}", "emptyArrayUInt64()") for f in following),
                ]
            )
            passes.append(
                f"arrayMap(({', '.join(['t', 'm', 'u', *names])}) -> multiIf(not ({_bit(k)}), emptyArrayUInt64(),"
                f" level = {k} and t = completed, [t], {rest}emptyArrayUInt64()), ts, taken, {after}) as run_{k}"
            )
        begun = "arrayFilter((run, t) -> t = entry and notEmpty(run), run_1, ts)"
        earliest = f"arraySort(run -> arrayMap(at -> if(at = 0, {_NEVER}, at), run), {begun})[1]"
        return f"""
            select unit, level, latest_entry, entry_values, {earliest} as times
            from ({layers(chosen, *passes)})"""  # noqa: S608

    def times(self, going_on: str) -> str:
        """When the counted try took each step."""
        steps = range(1, self._last + 1)
        places = ["arrayFirstIndex((t, g) -> t = entry and g, ts, goes_on_1) as place_1"]
        for k in steps[1:]:
            before = f"greatest({', '.join(['0', *(f'place_{b}' for b in self._before(k))])})"
            places.append(
                f"if(level < {k}, 0, arrayFirstIndex((t, g, i) -> g and i > {before} and"
                f" {self._limits[k - 1].holds(f'ts[{before}]', 't')}, ts, goes_on_{k}, arrayEnumerate(ts)))"
                f" as place_{k}"
            )
        times = ", ".join(f"if(place_{k} = 0, 0, ts[place_{k}])" for k in steps)
        return f"""
            select unit, level, latest_entry, entry_values, arraySlice([{times}], 1, level) as times
            from ({layers(going_on, *places)})"""  # noqa: S608


def _bit(k: int) -> str:
    """SQL: whether `m` takes step k."""
    return f"bitAnd(m, {1 << (k - 1)}) != 0"
