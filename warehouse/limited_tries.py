"""Tries whose steps are optional or have limits of their own; as SQL, over the arrays of `warehouse.tries`.

`entry_k[i]` is the latest entry from which step k is reached at touchpoint i: the greatest of all touchpoints
before i, in the time that step k leaves, of the steps that may stand before it. A limit is between neighbours
and the window is kept best by the latest entry, so nothing else has to be remembered. Then, from the touchpoint
that completes the counted try back, `goes_on_k[i]`: a try that takes step k at i can still be completed there;
and along these, each step is taken as early as it can be, an optional one whenever it can be.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from warehouse.counted_try import COMPLETED, deepest
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


def walked(entered: str, limits: Sequence[Limit], *, strict: bool, window: str) -> tuple[str, str]:
    """SQL of the times of the counted try, and of the rows with what they are worked out of, among it `level`; of
    units that have ts, taken and entry_1.
    """
    walk = _Walk(limits, strict=strict, window=window)
    chosen = walk.chosen(walk.reached(entered))
    return walk.runs(chosen) if strict else (walk.times(), walk.going_on(chosen))


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
        passes = []
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
        return layers(entered, *_together(passes))

    def chosen(self, reached: str) -> str:
        """`level` and `entry` of the counted try; as `ending` its level at touchpoints that complete it, else 0."""
        return f"""
            select unit, ts, taken, entry_values, latest_entry, level, {COMPLETED},
                   arrayMap(t -> if(t = completed, level, 0), ts) as ending
            from (select unit, ts, taken, entry_values, latest_entry, {deepest(self._last)} from ({reached}))"""  # noqa: S608

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
            if not following:
                goes_on = f"arrayMap((m, e) -> {_bit(k)} and e = {k}, taken, ending)"
            else:
                after = ", ".join(["ts", "arrayEnumerate(ts)", *arrays])
                goes_on = (
                    f"arrayMap((t, m, e, i) -> multiIf(not {_bit(k)}, 0, e = {k}, 1, level > {k}, arrayExists("
                    f"(u, j, {', '.join(names)}) -> j > i and ({onward}), {after}), 0),"
                    " ts, taken, ending, arrayEnumerate(ts))"
                )
            passes.append(f"{goes_on} as goes_on_{k}")
        return layers(chosen, *_together(passes))

    def runs(self, chosen: str) -> tuple[str, str]:
        """Both where the order is strict: `run_k[i]` are the times of a try that takes step k at i, from there
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
                f"arrayMap(({', '.join(['t', 'm', 'e', 'u', *names])}) -> multiIf(not {_bit(k)}, emptyArrayUInt64(),"
                f" e = {k}, [t], {rest}emptyArrayUInt64()), ts, taken, ending, {after}) as run_{k}"
            )
        begun = "arrayFilter((run, t) -> if(t = entry, notEmpty(run), 0), run_1, ts)"
        earliest = f"arraySort(run -> arrayMap(at -> if(at = 0, {_NEVER}, at), run), {begun})[1]"
        return earliest, layers(chosen, *_together(passes))

    def times(self) -> str:
        """When the counted try took each step, over the columns of `going_on`."""
        goes_on = ", ".join(f"goes_on_{k}" for k in range(1, self._last + 1))
        least = ", ".join(limit.after or "0" for limit in self._limits)
        # the first step is taken at the entry; one without a limit comes within the window
        most = ", ".join(["0", *(limit.within or self._window for limit in self._limits[1:])])
        place = "arrayMax(places)"
        since = f"t - if({place} = 0, entry, ts[{place}])"
        taken = (
            f"arrayFirstIndex((t, g, i) -> g and i > {place} and toInt64({since}) between least and most,"
            " ts, goes, arrayEnumerate(ts))"
        )
        places = (
            f"arrayFold((places, goes, least, most) -> arrayPushBack(places, {taken}),"
            f" [{goes_on}], [{least}], [{most}], emptyArrayUInt32())"
        )
        return f"arrayMap(i -> if(i = 0, 0, ts[i]), arraySlice({places}, 1, level))"


def _together(passes: Sequence[str]) -> Iterator[str]:
    """Two in each layer: half as many are planned sooner, though what is used again is written out again."""
    for n in range(0, len(passes), 2):
        yield ", ".join(passes[n : n + 2])


def _bit(k: int) -> str:
    """SQL: whether `m` takes step k."""
    return f"(bitAnd(m, {1 << (k - 1)}) != 0)"
