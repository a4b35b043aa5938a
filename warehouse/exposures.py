"""What hit a journey at a touchpoint, who was like it, and who converted then: counts for `warehouse.stratified`.

A moment is a touchpoint of a journey. Two are alike if what was known before it was: the phase in which the journey
stood, the channel, how far the journey was, whether the customer had bought, campaign and persona. Moments that the
same hit are set against those, like them, that it had not hit so far; a moment counts as converted if a touchpoint of
a converting type comes within so long; moments of which so long is not over at the watermark are left out.
"""

from collections.abc import Sequence
from datetime import datetime
from typing import Literal

import msgspec

from warehouse.binds import Binds
from warehouse.blocks import BLOCK
from warehouse.breakdown import comma, grouped
from warehouse.scope import Scope, where

LIKE = ("phase", "channel", "place", "customer", "campaign", "persona", "type", "previous_type")
"""What two moments can be asked to have in common. `place`: 1, 2–3, 4–7, … in the journey;
`customer`: bought before.
"""

Hitting = Literal["pain-points", "drop-offs", "attempts"]

_HITS = {
    # the arrays of a touchpoint that say what happened at it, and whether it did
    "pain-points": ("pain_kinds as _kind", "1"),
    "attempts": ("attempt_kinds as _kind, attempt_outcomes as _outcome", "_outcome = 'abandoned'"),
    "drop-offs": ("", "drop_off_at is not null"),
}
_MOMENT = {"strata": "stratum", "insides": "inside", "overs": "over", "all_converted": "converted"}
_COUNTS = ("stratum", "block", "count() as counted", "countIf(converted) as successes")
_PLACES = {"phase": "phases", "channel": "channels", "type": "types"}


class Exposures(msgspec.Struct, frozen=True, kw_only=True):
    """A question: what hits, what it is told apart `by` (kind, phase, channel, type of the touchpoint that it hit),
    what those who are `like` have in common, and within how many ms who has converted.
    """

    hitting: Hitting
    by: Sequence[str]
    like: Sequence[str]
    within_ms: int
    converting: Sequence[str]
    scope: Scope
    up_to: datetime

    def hit(self, binds: Binds) -> str:
        """SQL. Columns: _kind, begins, the places of `by` (`_phase` …), stratum (a number of what is alike), block, hit
        (moments), counted (of which the time is over), successes (of these: converted).

        `begins`: those moments that it hit; else those after it, which it had hit before, whatever their place. Of one
        kind a journey is hit once, by the first; by each of its drop-offs.
        """
        places = [field for field in self.by if field != "kind"]
        length = ", 1" if self.hitting == "drop-offs" else ""
        slices = [f"arraySlice({arrays}, first{length}) as {one}" for arrays, one in _MOMENT.items()]
        slices.append(f"arrayMap(n -> n = 1, arrayEnumerate(arraySlice(strata, first{length}))) as begins")
        keys = ["begins", *(f"if(begins, at_{field}, '') as _{field}" for field in places)]
        counts = ["count() as hit", "countIf(over) as counted", "countIf(over and converted) as successes"]
        there = [f"{_PLACES[field]}[first] as at_{field}" for field in places]
        return (
            f"select {comma(['_kind'], keys, ['stratum', 'block'], counts)}"  # noqa: S608  names of ours
            f" from (select {comma(['_kind', 'block', 'first', *_MOMENT], there)}"
            f" from {self._moments(self._journeys_hit(binds), binds)})"
            f" array join {comma(slices)} where inside"
            f" {grouped(['_kind', 'begins', *(f'_{field}' for field in places), 'stratum', 'block'])}"
        )

    def all(self, binds: Binds) -> str:
        """SQL. Columns: stratum, block, counted, successes: all moments of which the time is over."""
        unfolded = [f"{arrays} as {one}" for arrays, one in _MOMENT.items()]
        journeys = f"(select * from journeys {self._of_journeys(binds)})"  # noqa: S608
        return (
            f"select {comma(_COUNTS)} from {self._moments(journeys, binds)}"  # noqa: S608  names of ours
            f" array join {comma(unfolded)} where inside and over group by stratum, block"
        )

    def _journeys_hit(self, binds: Binds) -> str:
        """SQL: journeys, once for each time that one was hit: _kind, first (the place of the touchpoint in it)."""
        arrays, hits = _HITS[self.hitting]
        kind = "_kind" if arrays and "kind" in self.by else "''"
        first = "arrayJoin(groupArray(ordinal))" if self.hitting == "drop-offs" else "min(ordinal)"
        hit = (
            f"select journey_id, toString({kind}) as _kind, {first} as first from touchpoints"  # noqa: S608
            f" {f'array join {arrays}' if arrays else ''}"
            f" {where([hits], self.scope.of_touchpoints(binds))} group by journey_id, _kind"
        )
        return (
            f"(select * from (select * from journeys {self._of_journeys(binds)}) as _journey"  # noqa: S608
            f" inner join ({hit}) as _hit using journey_id where first <= length(ats))"
        )

    def _of_journeys(self, binds: Binds) -> str:
        before = [] if self.scope.until is None else [f"started_at < {binds.bound(self.scope.until)}"]
        after = [] if self.scope.since is None else [f"ended_at >= {binds.bound(self.scope.since)}"]
        return where(before, after, self.scope.of_journeys(binds))

    def _moments(self, journeys: str, binds: Binds) -> str:
        """SQL: journeys with, of each of their moments, strata (numbers of what is alike), insides (whether it lies in
        the period and can be hit), overs, all_converted; and their block.
        """
        silence = self.hitting == "drop-offs"
        # before a silence stands the touchpoint itself; before what happens at one, the touchpoint before it
        phases = "phases" if silence else "arrayPushFront(arrayPopBack(phases), '')"
        of_moments = {
            "phase": phases,
            "channel": "channels",
            "place": "arrayMap(n -> toUInt8(floor(log2(n))), arrayEnumerate(ats))",
            "customer": "arrayMap(before -> customer_already or before > 0, converted_before)",
            "type": "types",
            "previous_type": "arrayPushFront(arrayPopBack(types), '')",
        }
        of_journeys = {"campaign": "campaign_first", "persona": "persona"}
        alike = [of_moments[field] for field in self.like if field in of_moments] or ["ats"]
        names = [f"_{n}" for n, _ in enumerate(alike)]
        hashed = names if alike != ["ats"] else []
        same = [of_journeys[field] for field in self.like if field in of_journeys]
        inside = self.scope.period("at", None, binds)
        if silence:  # who stands at the end of a journey without being silent is neither
            inside.append("(n < length(ats) or drop_off_at is not null)")
        next_at = "arrayPushBack(arrayPopFront(next_at), 0)" if silence else "next_at"
        up_to = binds.bound(int(self.up_to.timestamp() * 1000))
        length = binds.bound(self.within_ms)
        converting = comma([binds.bound(type_) for type_ in self.converting]) or "''"
        return (
            f"(select *, {BLOCK} as block, cityHash64({comma(same, ['1'])}) as same,"  # noqa: S608
            " arrayMap(at -> toUnixTimestamp64Milli(at), ats) as ms,"
            f" arrayMap(one -> one in ({converting}), types) as converts,"
            " arrayPushFront(arrayPopBack(arrayCumSum(converts)), 0) as converted_before,"
            " arrayReverseFill(one -> one > 0, arrayMap((at, does) -> if(does, at, 0), ms, converts)) as next_at,"
            f" arrayMap(({comma(names)}) -> toInt64(cityHash64({comma(('same',), hashed)})), {comma(alike)}) as strata,"
            f" arrayMap((at, n) -> {' and '.join(inside) or '1'}, ats, arrayEnumerate(ats)) as insides,"
            f" arrayMap(at -> at + {length} < {up_to}, ms) as overs,"
            f" arrayMap((at, later) -> later > 0 and later - at <= {length}, ms, {next_at}) as all_converted"
            f" from {journeys})"
        )
