"""When customers did something, as SQL: from the arrays of journeys where these know enough.

Type, channel and phase of each touchpoint stand in the arrays of journeys: a tenth of the rows, and in order.
Whatever else a step asks is in the touchpoints themselves.
"""

import re
from datetime import datetime

from warehouse.answer import QuestionError, utc
from warehouse.binds import Binds
from warehouse.buckets import Unit, number
from warehouse.filters import only_what_journeys_hold, takes
from warehouse.scope import Scope, where
from warehouse.step import Step
from warehouse.steps import StepLike, parse

_ARRAYS = {"type": "types", "channel": "channels", "phase": "phases"}


def doing(said: StepLike) -> Step:
    """What is done, as people write a step. QuestionError if it cannot be read, or says what only a funnel's may."""
    step = parse(said)
    if step.limited or step.first_ever:
        raise QuestionError(
            f'step "{step.name}" says when it is taken, which only a step of a funnel may',
            remedy="Leave optional, first_ever, within and after out.",
        )
    return step


def of_customers(step: Step, binds: Binds, *, since: datetime | None, until: datetime | None) -> str:
    """SQL: a row per customer who did it in the period: customer_id, `times`: how often."""
    if only_what_journeys_hold([step], None):
        return _counted_in_journeys(step, binds, since=since, until=until)
    conditions = [takes(step, binds), *_bounds("occurred_at", since, until, binds)]
    if since is not None:
        conditions.append(f"occurred_on >= {_day(since, binds)}")
    if until is not None:
        conditions.append(f"occurred_on <= {_day(until, binds)}")
    return f"select customer_id, count() as times from touchpoints {where(conditions)} group by customer_id"  # noqa: S608


def _counted_in_journeys(step: Step, binds: Binds, *, since: datetime | None, until: datetime | None) -> str:
    taken = " and ".join([takes(step, binds), *_bounds("at", since, until, binds)])
    overlapping = [] if since is None else [f"ended_at >= {binds.bound(since)}"]
    if until is not None:
        overlapping += [f"started_at < {binds.bound(until)}", f"started_on <= {_day(until, binds)}"]
    return f"""
        select customer_id, sum(arrayCount({over_arrays(taken)})) as times
        from journeys {where(overlapping)} group by customer_id having times > 0"""  # noqa: S608


def active_in(unit: Unit, step: Step, scope: Scope, binds: Binds) -> str:
    """SQL: a row per customer who did it: customer_id, `active`: the buckets in which, in order, each once.

    The scope's period is not looked at: who is new is said by all that was before.
    """
    zone = binds.bound(scope.timezone)
    if only_what_journeys_hold([step], None):
        bucket = number("at", unit, zone)
        return f"""
            select customer_id, arrayCompact(arraySort(groupArrayArray(buckets))) as active
            from (
                select customer_id, arrayCompact(arrayMap(at -> {bucket}, {done_in_journey(step, binds)})) as buckets
                from journeys {where(scope.of_journeys(binds))}
            )
            group by customer_id having notEmpty(active)"""  # noqa: S608
    return f"""
        select customer_id, arraySort(groupUniqArray({number("occurred_at", unit, zone)})) as active
        from touchpoints {where([takes(step, binds)], scope.of_touchpoints(binds))}
        group by customer_id"""  # noqa: S608


def done_in_journey(step: Step, binds: Binds) -> str:
    """SQL: the times at which it was done in a journey, in order, from the arrays of its row."""
    taken = takes(step, binds)
    return "ats" if taken == "(1)" else f"arrayFilter({over_arrays(taken)})"


def over_arrays(sql: str) -> str:
    """SQL over one touchpoint (at, type, channel, phase) as a lambda and the arrays that it names."""
    named = [name for name in _ARRAYS if re.search(rf"\b{name}\b", sql)]
    return f"({', '.join(['at', *named])}) -> {sql}, {', '.join(['ats', *(_ARRAYS[name] for name in named)])}"


def _bounds(at: str, since: datetime | None, until: datetime | None, binds: Binds) -> list[str]:
    conditions = [] if since is None else [f"{at} >= {binds.bound(since)}"]
    return conditions + ([] if until is None else [f"{at} < {binds.bound(until)}"])


def _day(at: datetime, binds: Binds) -> str:
    return f"toDate({binds.bound(utc(at).date().isoformat())})"
