"""Places of journeys: how many touchpoints and journeys a place saw, by which what happens there is measured.

A place is what a breakdown tells apart. Type, channel and phase, and whose journey it is, stand in the arrays of the
view journeys; which queue each touchpoint waited in is asked of the touchpoints.
"""

from warehouse.binds import Binds
from warehouse.breakdown import Breakdown, comma, grouped
from warehouse.scope import Scope, where

_ARRAYS = {"phase": "phases", "channel": "channels", "type": "types", "queue": "queues"}
_OF_JOURNEYS = {"campaign": "campaign_first", "persona": "persona"}
_NEVER = "toDateTime64('2299-12-31', 3, 'UTC')"
LEFT_ATS = (
    "arrayPushBack(arrayPopFront(ats),"
    f" multiIf(drop_off_at is not null, assumeNotNull(drop_off_at), closed, ended_at, {_NEVER}))"
)
"""SQL, of the view journeys: when each touchpoint was left: when the next of the journey happened; the last one when
the silence after it became a drop-off, or when it closed the journey; else never.
"""


def decided_journeys(breakdown: Breakdown, scope: Scope, binds: Binds) -> str:
    """SQL. Columns: the keys; journeys, each once at each place that it left in the period, going on or falling
    silent; open, those whose last touchpoint is there, neither closed nor silent, and before the period's end.
    """
    left = " and ".join([f"left_at < {_NEVER}", *scope.period("left_at", None, binds)])
    still = [f"left_at = {_NEVER}"]
    if scope.until is not None:
        still.append(f"at < {binds.bound(scope.until)}")
    states = f"arrayMap((at, left_at) -> multiIf({left}, 'left', {' and '.join(still)}, 'still', ''), ats, {LEFT_ATS})"
    counts = ["countIf(state = 'left') as journeys", "countIf(state = 'still') as open"]
    return (
        f"select {comma(breakdown.keys, counts)}"  # noqa: S608  names of ours
        f" from ({_unfolded(breakdown, scope, binds, states)}) where time = 1 {grouped(breakdown.keys)}"
    )


def seen(breakdown: Breakdown, scope: Scope, binds: Binds) -> str:
    """SQL. Columns: the keys; touchpoints and journeys that a place saw in the period."""
    inside = " and ".join(scope.period("at", None, binds)) or "1"
    states = f"arrayMap(at -> if({inside}, 'in', ''), ats)"
    return (
        f"select {comma(breakdown.keys, ['count() as touchpoints', 'countIf(time = 1) as journeys'])}"  # noqa: S608
        f" from ({_unfolded(breakdown, scope, binds, states)}) where state = 'in' {grouped(breakdown.keys)}"
    )


def _unfolded(breakdown: Breakdown, scope: Scope, binds: Binds, states: str) -> str:
    """SQL: the touchpoints of the journeys asked for: the keys, state, and time: 1 of the first in the journey that
    is there in that state.
    """
    arrays = [_ARRAYS[field] for field in breakdown.fields if field in _ARRAYS]
    before = [] if scope.until is None else [f"started_at < {binds.bound(scope.until)}"]
    after = []
    if scope.since is not None:  # who is there still may have been there for long
        after.append(
            f"greatest(ended_at, ifNull(drop_off_at, ended_at)) >= {binds.bound(scope.since)}"
            " or (drop_off_at is null and not closed)"
        )
    chosen = where(before, after, scope.of_journeys(binds))
    journeys = f"(select * from journeys {chosen})"  # noqa: S608
    if "queue" in breakdown.fields:
        journeys = f"{journeys} as _journey left any join ({_QUEUED}) as _queued using journey_id"
    inner = comma(
        [f"{column} as _{field}_said" for field, column in _OF_JOURNEYS.items() if field in breakdown.fields],
        [f"{_QUEUES if name == 'queues' else name} as _{name}" for name in arrays],
        [f"{states} as _states"],
        [f"arrayEnumerateUniq({comma([f'_{name}' for name in arrays], ['_states'])}) as _times"],
    )
    elements = [f"_{name} as _one_of_{name}" for name in arrays]
    said = {field: f"_one_of_{name}" for field, name in _ARRAYS.items()} | {
        field: f"_{field}_said" for field in _OF_JOURNEYS
    }
    return (
        f"select {comma(breakdown.selected(said), ['state', 'time'])} from (select {inner} from {journeys})"  # noqa: S608
        f" array join {comma(elements, ['_states as state', '_times as time'])}"
    )


_QUEUED = (
    "select journey_id, groupArray(ordinal) as queued, groupArray(queue) as queued_in from touchpoints"
    " where queue != '' group by journey_id"
)
_QUEUES = (
    "arrayMap(place -> if(has(queued, place), queued_in[indexOf(queued, place)], ''), arrayEnumerate(ats))"
)
