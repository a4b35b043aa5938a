"""Customers for funnels: their touchpoints as numbers, from the arrays of journeys where these know enough.

Type, channel and phase of each touchpoint stand in the arrays of journeys: a tenth of the rows, and in order.
Whatever else a step asks is in the touchpoints themselves.
"""

import re
from collections.abc import Sequence

import msgspec

from warehouse.binds import Binds
from warehouse.filters import field_text, only_what_journeys_hold, takes
from warehouse.steps import Step
from warehouse.tries import STEP_BITS, Customers

_STEPS_TAKEN = (1 << STEP_BITS) - 1
_NO_TIMES = "emptyArrayUInt64()"
_NO_VALUES = "cast([], 'Array(Tuple(UInt64, String))')"
_ARRAYS = {"type": "types", "channel": "channels", "phase": "phases"}


class Wanted(msgspec.Struct, frozen=True):
    """Steps, what is excluded, the field of the breakdown, the order; and names of bound values, UTC ms.

    `since` ≤ entry < `until`, None: no bound; a try lasts `window` ms.
    """

    steps: Sequence[Step]
    excluded: Sequence[Step]
    by: str | None
    order: str
    since: str | None
    until: str | None
    window: str

    def entering(self, taken: str) -> str:
        """SQL: whether what takes these steps may be an entry."""
        return f"{taken} != 0" if self.order == "any" else f"bitAnd({taken}, 1) != 0"

    def taken(self, binds: Binds) -> str:
        """SQL: the steps that a touchpoint takes, a bit for each."""
        return " + ".join(f"{1 << n} * {takes(step, binds)}" for n, step in enumerate(self.steps))

    def out(self, binds: Binds) -> str:
        """SQL: whether a touchpoint is excluded."""
        return " or ".join(takes(step, binds) for step in self.excluded) or "0"


def of_customers(wanted: Wanted, binds: Binds) -> Customers:
    """The customers who took a step in the time in which tries of the range can be."""
    from_journeys = only_what_journeys_hold([*wanted.steps, *wanted.excluded], wanted.by)
    sql = _of_journeys(wanted, binds) if from_journeys else _of_touchpoints(wanted, binds)
    return Customers(sql, valued=wanted.by is not None, excluding=bool(wanted.excluded))


def _of_touchpoints(wanted: Wanted, binds: Binds) -> str:
    keys, conditions = f"groupArrayIf({_key('at', 'm')}, m != 0)", ["m != 0 or out"]
    if wanted.order == "strict":
        # whatever takes no step ends a try, so it must be there
        keys = f"arrayMap(t -> t.3, arraySort(t -> (t.1, t.2), groupArray((at, id, {_key('at', 'm')}))))"
        conditions = []
    if wanted.since is not None:
        conditions += [f"at >= {wanted.since}", f"occurred_on >= {_day(wanted.since)}"]
    if wanted.until is not None:
        end = f"{wanted.until} + {wanted.window}"
        conditions += [f"at < {end}", f"occurred_on <= {_day(end)}"]
    value = field_text(wanted.by, binds) if wanted.by else "''"
    entry_values = f"groupArrayIf((at, value), {wanted.entering('m')})"
    where = "where " + " and ".join(f"({one})" for one in conditions) if conditions else ""
    return f"""
        select {keys} as keys,
               {"groupArrayIf(at, out)" if wanted.excluded else _NO_TIMES} as excluded,
               {entry_values if wanted.by else _NO_VALUES} as entry_values
        from (
            select customer_id, id, {_ms("occurred_at")} as at, toUInt64({wanted.taken(binds)}) as m,
                   ({wanted.out(binds)}) as out, {value} as value
            from touchpoints {where}
        )
        group by customer_id having notEmpty(keys)"""  # noqa: S608  values are bound, names are ours


def _of_journeys(wanted: Wanted, binds: Binds) -> str:
    keys = f"groupArrayArray(arrayFilter(k -> {_steps_of('k')} != 0, all_keys))"
    if wanted.order == "strict":
        # a customer's journeys follow each other, so their touchpoints do
        in_order = "arraySort(j -> (j.1, j.2), groupArray((started_at, id, all_keys)))"
        keys = f"arrayFlatten(arrayMap(j -> j.3, {in_order}))"
    conditions = []
    if wanted.since is not None:
        conditions.append(f"{_ms('ended_at')} >= {wanted.since}")
    if wanted.until is not None:
        end = f"{wanted.until} + {wanted.window}"
        conditions += [f"{_ms('started_at')} < {end}", f"started_on <= {_day(end)}"]
    at = _ms("at")
    outs, values = _NO_TIMES, _NO_VALUES
    if wanted.excluded:
        outs = f"arrayFilter(at -> at > 0, {_over_arrays(f'if({wanted.out(binds)}, {at}, 0)')})"
    if wanted.by:
        entry = f"if({wanted.entering(_steps_of('k'))}, bitShiftRight(k, {STEP_BITS}), 0)"
        values = (
            f"arrayFilter(e -> e.1 > 0, arrayMap((k, v) -> ({entry}, toString(v)),"
            f" all_keys, {_ARRAYS[wanted.by]}))"
        )
    where = "where " + " and ".join(conditions) if conditions else ""
    return f"""
        select {keys} as keys,
               {"groupArrayArray(outs)" if wanted.excluded else _NO_TIMES} as excluded,
               {"groupArrayArray(values)" if wanted.by else _NO_VALUES} as entry_values
        from (
            select customer_id, started_at, id, {_over_arrays(_key(at, wanted.taken(binds)))} as all_keys,
                   {outs} as outs, {values} as values
            from journeys {where}
        )
        group by customer_id having notEmpty(keys)"""  # noqa: S608  values are bound, names are ours


def _over_arrays(sql: str) -> str:
    """SQL over one touchpoint, for all of a journey; only the arrays that it names are read."""
    named = [name for name in _ARRAYS if re.search(rf"\b{name}\b", sql)]
    arguments = ", ".join(["at", *named])
    return f"arrayMap(({arguments}) -> {sql}, {', '.join(['ats', *(_ARRAYS[name] for name in named)])})"


def _key(at: str, taken: str) -> str:
    return f"bitShiftLeft({at}, {STEP_BITS}) + ({taken})"


def _steps_of(key: str) -> str:
    return f"bitAnd({key}, {_STEPS_TAKEN})"


def _ms(instant: str) -> str:
    return f"toUInt64(toUnixTimestamp64Milli({instant}))"


def _day(ms: str) -> str:
    return f"toDate(fromUnixTimestamp64Milli(toInt64({ms}), 'UTC'))"
