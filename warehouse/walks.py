"""What customers and journeys walk, touchpoint by touchpoint, as SQL over arrays: from node to node.

A node is a type, a phase, a channel or a page. Of each unit (customer or journey) there is an array `keys` with a
number per touchpoint, in the order (occurred_at, id): its time in ms, then whether it converts, takes the first and
the last step of what was asked, then its node. Passes over these arrays give, for every touchpoint as a source, the
node that comes next, if it comes within the window.

Type, channel and phase are in the arrays of journeys; pages, and what else a step asks, in the touchpoints.
"""

import re
from collections.abc import Mapping, Sequence
from datetime import datetime

import msgspec

from warehouse.answer import utc
from warehouse.binds import Binds
from warehouse.filters import takes
from warehouse.page_paths import expression
from warehouse.scope import Scope, where
from warehouse.step import Step
from warehouse.views import JOURNEYS, TOUCHPOINTS

MOST_NODES = 200
ENDED, ARRIVED = 0, 255
"""What stands for the next node where nothing came within the window, and at the end of a walk to a step."""

_NODE_BITS, _NODE = 8, 255
_CONVERTS_BIT, _STARTS_BIT, _ENDS_BIT = 8, 9, 10
_KEY_BITS = 16  # below the time
_PLACE_BITS, _PLACE_ZERO = 16, 128  # what a place is counted from, so that none is negative
_MS = "toUnixTimestamp64Milli({})"
_WIDEST = 2**32 - 2
_MASK_BITS = 64


class Walks(msgspec.Struct, frozen=True, kw_only=True):
    """What walks to look at. `nodes`: number of each node from 1, `other` the number of all others; `now`: the
    watermark; times in ms, UTC. `depth`: lay walks out so many places deep.
    """

    of: str
    per: str
    from_journeys: bool
    nodes: Mapping[str, int]
    other: int
    pages: Sequence[str]
    converting: Sequence[str]
    window: int
    now: int
    scope: Scope
    start: Step | None = None
    end: Step | None = None
    depth: int | None = None
    loops: bool = True
    by_id: bool = False  # read the ids of journeys, which tell the order of two that begin at one instant

    @property
    def laid_out(self) -> bool:
        """Whether a unit has one walk, with a beginning, rather than all its transitions."""
        return self.start is not None or self.end is not None or self.depth is not None

    @property
    def backwards(self) -> bool:
        """Whether places are counted from the end of the walk."""
        return self.end is not None and self.start is None

    def transitions(self, binds: Binds) -> str:
        """SQL: a row per place, source and target (ENDED, ARRIVED):

        `count`, `entered`: units that went so, and those whose first visit of the source went so (over all
        targets: those that visited it); `count_open`, `entered_open`: of both, those whose latest visit's window
        has not ended at `now`; `lost`, `undecided`: of `count`, those that never converted afterwards, and are
        silent for longer than the window, or not yet; `walks`, `walks_open`: how often, and of these, how often
        the window has not ended; `median_ms`: until the target, over the first walk of each unit.
        """
        window = binds.bound(self.window)
        first = "bitTest(bits, 0)"
        # visits of which all the same is to be counted are counted at once: few are not like many others
        return f"""
            select toInt16(bitShiftRight(pair, {_PLACE_BITS})) - {_PLACE_ZERO} as place,
                   bitAnd(bitShiftRight(pair, {_NODE_BITS}), {_NODE}) as source, bitAnd(pair, {_NODE}) as target,
                   sumIf(visits, {first}) as count, sumIf(visits, bitTest(bits, 1)) as entered,
                   sumIf(visits, {first} and bitTest(bits, 2)) as count_open,
                   sumIf(visits, bitTest(bits, 1) and bitTest(bits, 2)) as entered_open,
                   sumIf(visits, {first} and not bitTest(bits, 3) and bitTest(bits, 4)) as lost,
                   sumIf(visits, {first} and not bitTest(bits, 3) and not bitTest(bits, 4)) as undecided,
                   sum(visits) as walks, sumIf(visits, bitTest(bits, 5)) as walks_open,
                   quantileExactInclusiveMerge(0.5)(first_gaps) as median_ms,
                   sumIf(visits, bitTest(bits, 6)) as unordered
            from (
                select pair, bits, count() as visits,
                       quantileExactInclusiveStateIf(0.5)(gap, {first}) as first_gaps
                from ({self._visits(binds, window)})
                array join pairs as pair, all_bits as bits, waits as gap
                group by pair, bits
            )
            group by pair"""  # noqa: S608  values are bound, names are ours

    def _visits(self, binds: Binds, window: str) -> str:
        """SQL: per unit the `pairs` of place, source and target of its visits, the `waits` until the target, and
        as `all_bits` what `transitions` counts.
        """
        laid_out = self.depth is not None
        place = "toUInt32(place)" if laid_out else f"toUInt32({_PLACE_ZERO})"
        undecided = f"at >= {binds.bound(self.now - self.window)}"
        latest = undecided if laid_out else self._has("undecided", "s")
        said = {0: "nth = 1", 1: "nth_of_source = 1", 2: latest, 3: "i < last_conversion", 5: undecided}
        bits = "of_unit"
        for bit, condition in said.items():  # a sum would be eight times as wide
            bits = f"bitOr({bits}, bitShiftLeft({condition}, {bit}))"
        # half as wide where that is wide enough; longer than the window is the gap of what is no transition
        wait = f"toUInt32(least(gap, {window} + 1))" if self.window < _WIDEST else "gap"
        return f"""
            select arrayMap(gap -> {wait}, gaps) as waits,
                   arrayMap((s, t{", place" if laid_out else ""}) -> bitOr(bitOr(bitShiftLeft({place}, {_PLACE_BITS}),
                       bitShiftLeft(toUInt32(s), {_NODE_BITS})), t), src, tgt{", places" if laid_out else ""}) as pairs,
                   {self._set(undecided)} as undecided,
                   bitOr(bitShiftLeft(toUInt8(concluded), 4), bitShiftLeft(toUInt8(tied), 6)) as of_unit,
                   arrayMap((nth, nth_of_source, s, at, i) -> {bits},
                       arrayEnumerateUniq(pairs), arrayEnumerateUniq(src{", places" if laid_out else ""}), src, ats, idx
                   ) as all_bits
            from ({self._laid_out(binds, window) if self.laid_out else self._in_the_period(binds, window)})"""  # noqa: S608

    def _set(self, condition: str) -> str:
        """SQL: the sources of a unit's visits for which this holds; where silence is longer than the window, none.

        A bit each where one number has enough of them, which is looked up faster than an array.
        """
        if self.other < _MASK_BITS:
            bit = f"if({condition}, bitShiftLeft(toUInt64(1), s), 0)"
            return f"if(concluded, 0, arrayReduce('groupBitOr', arrayMap((s, at) -> {bit}, src, ats)))"
        return f"if(concluded, [], arrayFilter((s, at) -> {condition}, src, ats))"

    def _has(self, sources: str, source: str) -> str:
        return f"bitTest({sources}, {source})" if self.other < _MASK_BITS else f"has({sources}, {source})"

    def _in_the_period(self, binds: Binds, window: str) -> str:
        """SQL: every visit of the period, as a source: `src`, `tgt`, `gaps`, `ats`, and its place `idx`."""
        period = self._period("at", binds)
        kept = {"src": "node", "tgt": "next", "gaps": "gap", "ats": "ms", "idx": "i"}
        if period == "1":
            names = ", ".join(f"{name} as {new}" for new, name in kept.items())
        else:
            names = ", ".join(
                f"arrayFilter((x, at) -> {period}, {name}, ms) as {new}" for new, name in kept.items()
            )
        return f"select {names}, last_conversion, concluded, tied from ({self._sequences(binds, window)})"  # noqa: S608

    def _laid_out(self, binds: Binds, window: str) -> str:
        """SQL: the same of each unit's one walk, and the `places` of its visits."""
        begins, ends = self._bounds(binds, window)
        target = f"arrayPushBack(arrayPopBack(walked_to), {ARRIVED if self.end else ENDED})"
        # of a run of one node the last visit counts where loops are none: from there it goes on
        kept = f"t != s or t = {ENDED}" if not self.loops else "1"
        place = f"toInt64(n) - length(tgt_) - 1 + {_PLACE_ZERO}" if self.backwards else f"n + {_PLACE_ZERO}"
        within = "1"
        if self.depth is not None:
            least, most = (
                (_PLACE_ZERO - self.depth, _PLACE_ZERO) if self.backwards else (0, _PLACE_ZERO + self.depth)
            )
            within = f"place >= {least} and place <= {most}"
        names = ("src", "tgt", "gaps", "ats", "idx")
        loops = ", ".join(
            f"arrayFilter((x, s, t) -> {kept}, {name}_all, src_all, tgt_all) as {name}_" for name in names
        )
        near = ", ".join(
            f"arrayFilter((x, place) -> {within}, {name}_, places_) as {name}" for name in (*names, "places")
        )
        return f"""
            select {near}, last_conversion, concluded, tied
            from (
                select {loops}, last_conversion, concluded, tied,
                       arrayMap(n -> {place}, arrayEnumerate(tgt_)) as places_
                from (
                    select last_conversion, concluded, tied,
                           {begins} as begin, {ends} as end, end - begin + 1 as visits,
                           arraySlice(node, begin, visits) as src_all, arraySlice(gap, begin, visits) as gaps_all,
                           arraySlice(ms, begin, visits) as ats_all, arraySlice(i, begin, visits) as idx_all,
                           arraySlice(next, begin, visits) as walked_to, {target} as tgt_all
                    from ({self._sequences(binds, window)})
                    where begin > 0 and end > 0
                )
            )"""  # noqa: S608

    def _bounds(self, binds: Binds, window: str) -> tuple[str, str]:
        """SQL: the places of the first and the last touchpoint of a unit's walk; 0: it has none."""
        period = self._period("at", binds)
        silence = f"arrayFirstIndex((g, n) -> n >= begin and g > {window}, gap, i)"
        if self.backwards:
            end = f"arrayFirstIndex((x, at) -> bitTest(x, {_ENDS_BIT}) and {period}, keys, ms)"
            return f"arrayLastIndex((g, n) -> n < end and g > {window}, gap, i) + 1", end
        takes_start = f"bitTest(x, {_STARTS_BIT})" if self.start else "1"
        begin = f"arrayFirstIndex((x, at) -> {takes_start} and {period}, keys, ms)"
        if self.end is None:
            return begin, silence
        return (
            begin,
            f"arrayFirstIndex((x, n) -> n > begin and n <= {silence} and bitTest(x, {_ENDS_BIT}), keys, i)",
        )

    def _sequences(self, binds: Binds, window: str) -> str:
        """SQL: of each unit and touchpoint its `node`, the `next` one if it comes within the window, the `gap`
        until then, its time `ms` and place `i`; the place of the last conversion, and whether silence since the
        last touchpoint is longer than the window.
        """
        return f"""
            select keys, tied, arrayMap(x -> bitShiftRight(x, {_KEY_BITS}), keys) as ms, arrayEnumerate(keys) as i,
                   arrayMap(x -> toUInt8(x), keys) as node,
                   arrayPushBack(arrayPopFront(arrayDifference(ms)), toInt64({window} + 1)) as gap,
                   arrayPushBack(arrayPopFront(node), 0) as following,
                   arrayMap((t, g) -> if(g <= {window}, t, {ENDED}), following, gap) as next,
                   arrayLastIndex(x -> bitTest(x, {_CONVERTS_BIT}), keys) as last_conversion,
                   ms[-1] + {window} < {binds.bound(self.now)} as concluded
            from ({self._units(binds)})"""  # noqa: S608

    def _units(self, binds: Binds) -> str:
        """SQL: of each unit the `keys`, in their order, unless it is `tied`."""
        return self._of_journeys(binds) if self.from_journeys else self._of_touchpoints(binds)

    def _of_journeys(self, binds: Binds) -> str:
        conditions = where(self._not_before("ended_at", None, binds), self.scope.of_journeys(binds))
        named = {"at": "ats", "type": "types", "phase": "phases", "channel": "channels"}
        key = self._key("at", binds)
        arrays = {one: array for one, array in named.items() if re.search(rf"\b{one}\b", key)}
        keys = f"arrayMap(({', '.join(arrays)}) -> {key}, {', '.join(arrays.values())})"
        if self.per == "journey":
            return f"select {keys} as keys, 0 as tied from {JOURNEYS} {conditions}"  # noqa: S608
        # a customer's journeys follow each other, so their touchpoints do
        if self.by_id:
            return f"""
                select arrayFlatten(arrayMap(j -> j.3, journeys_)) as keys, 0 as tied
                from (
                    select arraySort(j -> (j.1, j.2), groupArray((started_at, id, its_keys))) as journeys_
                    from (select customer_id, started_at, id, {keys} as its_keys from {JOURNEYS} {conditions})
                    group by customer_id
                )"""  # noqa: S608
        # numbers one after the other are grouped in half the time of tuples; few have more journeys than one
        begin = f"bitShiftRight(its_keys[1], {_KEY_BITS})"
        return f"""
            select if(length(begins) = 1, all_keys, arrayFlatten(
                       arrayMap(i -> arraySlice(all_keys, till[i] - visits[i] + 1, visits[i]), nth)
                   )) as keys,
                   arrayUniq(begins) < length(begins) as tied
            from (
                select groupArrayArray(its_keys) as all_keys, groupArray({begin}) as begins,
                       groupArray(length(its_keys)) as visits, arrayCumSum(visits) as till,
                       arraySort((i, at) -> at, arrayEnumerate(begins), begins) as nth
                from (select customer_id, {keys} as its_keys from {JOURNEYS} {conditions})
                group by customer_id
            )"""  # noqa: S608

    def _of_touchpoints(self, binds: Binds) -> str:
        conditions = where(
            self._not_before("occurred_at", "occurred_on", binds), self.scope.of_touchpoints(binds)
        )
        return f"""
            select arrayMap(t -> t.3, arraySort(t -> (t.1, t.2), groupArray((occurred_at, id, its_key)))) as keys,
                   0 as tied
            from (
                select {self.per}_id as unit, id, occurred_at, {self._key("occurred_at", binds)} as its_key
                from {TOUCHPOINTS} {conditions}
            )
            group by unit"""  # noqa: S608

    def _not_before(self, at: str, day: str | None, binds: Binds) -> list[str]:
        """What ended before the period leads to nothing in it; the walk to an end may have begun before."""
        if self.backwards:
            return []
        return msgspec.structs.replace(self.scope, until=None).period(at, day, binds)

    def _period(self, at: str, binds: Binds) -> str:
        since, until = (bound and epoch_ms(bound) for bound in (self.scope.since, self.scope.until))
        conditions = [f"{at} >= {binds.bound(since)}"] if since is not None else []
        conditions += [f"{at} < {binds.bound(until)}"] if until is not None else []
        return " and ".join(conditions) or "1"

    def _key(self, at: str, binds: Binds) -> str:
        """SQL: time, marks and node of a touchpoint, as one number."""
        of_types = {_CONVERTS_BIT: frozenset(self.converting)}
        marks: dict[int, str] = {}
        for bit, step in ((_STARTS_BIT, self.start), (_ENDS_BIT, self.end)):
            if step and step.only_types is not None:
                of_types[bit] = step.only_types
            elif step:
                marks[bit] = takes(step, binds)
        numbers = dict(self.nodes)
        for bit, types in of_types.items():
            if self.of == "type":  # looked up with the node
                for name in types:
                    numbers[name] = numbers.get(name, self.other) | 1 << bit
            elif types:
                marks[bit] = f"type in ({', '.join(map(binds.bound, sorted(types)))})"
        marked = f"{self.other}"
        if numbers:
            names, of = binds.bound(list(numbers)), binds.bound(list(numbers.values()))
            marked = f"transform({node_of(self.of, self.pages, binds)}, {names}, {of}, {self.other})"
        for bit, mark in marks.items():
            marked = f"bitOr({marked}, bitShiftLeft(toUInt16({mark}), {bit}))"
        return f"bitOr(bitShiftLeft({_MS.format(at)}, {_KEY_BITS}), {marked})"


def node_of(of: str, pages: Sequence[str], binds: Binds) -> str:
    """SQL: the name of the node that a touchpoint is at; its type where it is of pages and has none."""
    return f"if(page_path = '', toString(type), {expression(pages, binds)})" if of == "page" else of


def epoch_ms(at: datetime) -> int:
    """Milliseconds since 1970, UTC."""
    return round(utc(at).timestamp() * 1000)
