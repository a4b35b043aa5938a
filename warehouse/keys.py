"""What funnels count, as numbers: the touchpoints of each customer, journey, transaction or account.

A touchpoint is its time in ms, then a bit for every step that it takes. Type, channel and phase of each stand in
the arrays of journeys: a tenth of the rows, and in order. Whatever else is asked is in the touchpoints themselves.
"""

import re
from collections import defaultdict
from collections.abc import Sequence
from typing import Literal

import msgspec

from warehouse.binds import Binds
from warehouse.filters import field_text, only_what_journeys_hold, takes
from warehouse.scope import Scope, where
from warehouse.step import Step
from warehouse.tries import STEP_BITS, Units, at_of, steps_of
from warehouse.views import JOURNEYS, TOUCHPOINTS

Per = Literal["customer", "journey", "transaction", "account"]
_NO_TIMES = "emptyArrayUInt64()"
_NO_VALUES = "cast([], 'Array(Tuple(UInt64, String))')"
_ARRAYS = {"type": "types", "channel": "channels", "phase": "phases"}
_OWN_ACCOUNTS = "arrayFilter(i -> startsWith(i, 'account_id:'), identifiers)"
_OWN_ACCOUNT = f"arrayMin({_OWN_ACCOUNTS})"
# what names no account is of the customer's, if that is one
_ACCOUNTS = f"""
    select customer_id, any(account) as only_account
    from (select distinct customer_id, arrayJoin({_OWN_ACCOUNTS}) as account from {TOUCHPOINTS})
    group by customer_id having count() = 1"""  # noqa: S608  names of ours


class Wanted(msgspec.Struct, frozen=True, kw_only=True):
    """Steps, touchpoints that are excluded, what is counted, the field of the breakdown and whether each value has
    tries of its own; names of bound values, UTC ms: `since` ≤ entry < `until`, None: no bound; a try lasts `window`.
    """

    steps: Sequence[Step]
    excluded: Sequence[Step]
    scope: Scope
    per: Per
    by: str | None
    every: bool
    entries_only: bool  # a breakdown needs no other values than those of entries
    order: str
    since: str | None
    until: str | None
    window: str

    def entering(self, taken: str) -> str:
        """SQL: whether what takes these steps may be an entry."""
        return f"{taken} != 0" if self.order == "any" else f"bitAnd({taken}, 1) != 0"

    def valued(self, taken: str) -> str:
        """SQL: whether the value of what takes these steps is needed."""
        if self.every and self.order == "strict":
            return "1"
        return self.entering(taken) if self.entries_only else f"{taken} != 0"

    def taken(self, binds: Binds) -> str:
        """SQL: the steps that a touchpoint takes, a bit for each."""
        return _bits(self.steps, binds)

    def out(self, binds: Binds) -> str:
        """SQL: the exclusions that a touchpoint meets, a bit for each."""
        return _bits(self.excluded, binds)


def of_units(wanted: Wanted, binds: Binds) -> Units:
    """Those who took a step in the time in which tries of the range can be."""
    known = only_what_journeys_hold([*wanted.steps, *wanted.excluded], wanted.by)
    from_journeys = known and wanted.per in ("customer", "journey")
    sql = _of_journeys(wanted, binds) if from_journeys else _of_touchpoints(wanted, binds)
    if wanted.every:
        sql = _by_every_value(sql, strict=wanted.order == "strict")
    return Units(sql, valued=wanted.by is not None, every=wanted.every, excluding=bool(wanted.excluded))


def _by_every_value(sql: str, *, strict: bool) -> str:
    """What has several values is several units, in each of which only what has its value takes steps."""
    with_value = "arrayMap(v -> v.1, arrayFilter(v -> v.2 = every_value, valued))"
    if strict:
        # what has another value breaks a try
        with_value = f"arrayMap(v -> if(v.2 = every_value, v.1, {_key(at_of('v.1'), '0')}), valued)"
    taking = f"arrayFilter(v -> {steps_of('v.1')} != 0, entry_values)"
    return f"""
        select unit, {with_value} as keys, outs, [(toUInt64(0), every_value)] as entry_values
        from (
            select unit, outs, entry_values as valued,
                   arrayJoin(arrayDistinct(arrayMap(v -> v.2, {taking}))) as every_value
            from ({sql})
        )"""  # noqa: S608


def _of_touchpoints(wanted: Wanted, binds: Binds) -> str:
    conditions = [] if wanted.order == "strict" else ["m != 0 or out != 0"]
    if wanted.since is not None:
        conditions += [f"at >= {wanted.since}", f"occurred_on >= {_day(wanted.since)}"]
    if wanted.until is not None:
        end = f"{wanted.until} + {wanted.window}"
        conditions += [f"at < {end}", f"occurred_on <= {_day(end)}"]
    key = _key("at", "m")
    keys, values = f"groupArrayIf({key}, m != 0)", f"groupArrayIf(({key}, value), {wanted.valued('m')})"
    if wanted.order == "strict":
        # whatever takes no step ends a try, so it must be there
        keys = f"arrayMap(t -> t.3, arraySort(t -> (t.1, t.2), groupArray((at, id, {key}))))"
        in_order = f"groupArrayIf((at, id, {key}, value), {wanted.valued('m')})"
        values = f"arrayMap(t -> (t.3, t.4), arraySort(t -> (t.1, t.2), {in_order}))"
    unit, source = f"{wanted.per}_id", TOUCHPOINTS
    if wanted.per == "account":
        unit = f"if({_OWN_ACCOUNT} != '', {_OWN_ACCOUNT}, only_account)"
        source = f"{TOUCHPOINTS} left join ({_ACCOUNTS}) as accounts using customer_id"
        conditions.append("unit != ''")
    return f"""
        select unit, {keys} as keys,
               {f"groupArrayIf({_key('at', 'out')}, out != 0)" if wanted.excluded else _NO_TIMES} as outs,
               {values if wanted.by else _NO_VALUES} as entry_values
        from (
            select {unit} as unit, id, {_ms("occurred_at")} as at, toUInt64({wanted.taken(binds)}) as m,
                   toUInt64({wanted.out(binds)}) as out,
                   {field_text(wanted.by, binds) if wanted.by else "''"} as value
            from {source} {where(conditions, wanted.scope.of_touchpoints(binds))}
        )
        group by unit having notEmpty(keys)"""  # noqa: S608  values are bound, names are ours


def _of_journeys(wanted: Wanted, binds: Binds) -> str:
    conditions = wanted.scope.of_journeys(binds)
    if wanted.since is not None:
        conditions.append(f"{_ms('ended_at')} >= {wanted.since}")
    if wanted.until is not None:
        end = f"{wanted.until} + {wanted.window}"
        conditions += [f"{_ms('started_at')} < {end}", f"started_on <= {_day(end)}"]
    at = _ms("at")
    keys, outs, values = "all_keys", _NO_TIMES, _NO_VALUES
    if wanted.order != "strict":
        keys = f"arrayFilter(k -> {steps_of('k')} != 0, all_keys)"
    if wanted.excluded:
        found = _over_arrays(f"({_key(at, wanted.out(binds))})")
        outs = f"arrayFilter(k -> {steps_of('k')} != 0, {found})"
    if wanted.by:
        texts = f"arrayMap(v -> toString(v), {_ARRAYS[wanted.by]})"
        values = f"arrayFilter(e -> {wanted.valued(steps_of('e.1'))}, arrayMap((k, v) -> (k, v), all_keys, {texts}))"
    of_journey = f"""
        select {wanted.per}_id as unit, started_at, id,
               {_over_arrays(_key(at, wanted.taken(binds)))} as all_keys,
               {keys} as its_keys, {outs} as its_outs, {values} as its_values
        from {JOURNEYS} {where(conditions)}"""  # noqa: S608
    if wanted.per == "journey":
        named = "its_keys as keys, its_outs as outs, its_values as entry_values"
        return f"select unit, {named} from ({of_journey}) where notEmpty(keys)"  # noqa: S608
    gathered = "groupArrayArray(its_keys)", "groupArrayArray(its_outs)", "groupArrayArray(its_values)"
    if wanted.order == "strict":
        # a customer's journeys follow each other, so their touchpoints do
        in_order = "arraySort(j -> (j.1, j.2), groupArray((started_at, id, its_keys, its_values)))"
        keys, values = (f"arrayFlatten(arrayMap(j -> j.{n}, {in_order}))" for n in (3, 4))
        gathered = keys, gathered[1], values
    return f"""
        select unit, {gathered[0]} as keys,
               {gathered[1] if wanted.excluded else _NO_TIMES} as outs,
               {gathered[2] if wanted.by else _NO_VALUES} as entry_values
        from ({of_journey})
        group by unit having notEmpty(keys)"""  # noqa: S608  values are bound, names are ours


def _over_arrays(sql: str) -> str:
    """SQL over one touchpoint, for all of a journey; only the arrays that it names are read."""
    named = [name for name in _ARRAYS if re.search(rf"\b{name}\b", sql)]
    arguments = ", ".join(["at", *named])
    return f"arrayMap(({arguments}) -> {sql}, {', '.join(['ats', *(_ARRAYS[name] for name in named)])})"


def _bits(steps: Sequence[Step], binds: Binds) -> str:
    """SQL: the steps that a touchpoint takes, a bit for each.

    Its type is looked up once for all steps that ask of nothing else: half as long as to compare it with five.
    """
    of_types: defaultdict[str, int] = defaultdict(int)
    bits = []
    for n, step in enumerate(steps):
        if step.only_types is None:
            bits.append(f"{1 << n} * {takes(step, binds)}")
        for name in step.only_types or ():
            of_types[name] |= 1 << n
    if of_types:
        names, numbers = binds.bound(list(of_types)), binds.bound(list(of_types.values()))
        bits.append(f"transform(type, {names}, {numbers}, 0)")
    return " + ".join(bits) or "0"


def _key(at: str, taken: str) -> str:
    return f"bitShiftLeft({at}, {STEP_BITS}) + ({taken})"


def _ms(instant: str) -> str:
    return f"toUInt64(toUnixTimestamp64Milli({instant}))"


def _day(ms: str) -> str:
    return f"toDate(fromUnixTimestamp64Milli(toInt64({ms}), 'UTC'))"
