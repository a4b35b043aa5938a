"""Who belongs to a cohort, as SQL: a condition on the customer for each condition of the definition."""

from datetime import datetime

from warehouse.binds import Binds
from warehouse.cohort_definition import (
    All,
    AnyOf,
    Campaign,
    Condition,
    Customers,
    Did,
    DidNot,
    FirstTouch,
    Journey,
    Not,
    Period,
    Persona,
    Value,
)
from warehouse.doings import of_customers
from warehouse.scope import where


def members(condition: Condition, binds: Binds, watermark: datetime | None) -> str:
    """SQL that selects the customer_id of each member, once. `watermark`: what the last days end with."""
    return f"select distinct customer_id from journeys where {_holds(condition, binds, watermark)}"  # noqa: S608


def _holds(condition: Condition, binds: Binds, watermark: datetime | None) -> str:
    if isinstance(condition, All | AnyOf):
        word = " and " if isinstance(condition, All) else " or "
        return f"({word.join(_holds(part, binds, watermark) for part in condition.parts)})"
    if isinstance(condition, Not):
        return f"not {_holds(condition.part, binds, watermark)}"
    if isinstance(condition, DidNot):
        return f"customer_id not in ({_did(condition, binds, watermark, least=1, most=None)})"
    if isinstance(condition, Did):
        least, most = condition.times
        if least == 0:  # whoever never did it is not in the touchpoints that could be counted
            more_often = "0" if most is None else _did(condition, binds, watermark, least=most + 1, most=None)
            return "1" if most is None else f"customer_id not in ({more_often})"
        return f"customer_id in ({_did(condition, binds, watermark, least=least, most=most)})"
    return f"customer_id in ({_selected(condition, binds, watermark)})"


def _did(
    condition: Did | DidNot, binds: Binds, watermark: datetime | None, *, least: int, most: int | None
) -> str:
    since, until = condition.bounds(watermark)
    often = f"times >= {binds.bound(least)}" + ("" if most is None else f" and times <= {binds.bound(most)}")
    counted = of_customers(condition.taken, binds, since=since, until=until)
    return f"select customer_id from ({counted}) where {often}"  # noqa: S608


def _selected(
    condition: FirstTouch | Persona | Campaign | Journey | Value | Customers,
    binds: Binds,
    watermark: datetime | None,
) -> str:
    """SQL that selects the customers for whom a condition on their journeys or names holds."""
    if isinstance(condition, FirstTouch):
        first = _within("min(started_at)", condition.first_touch, binds, watermark)
        return f"select customer_id from journeys group by customer_id having {' and '.join(first) or '1'}"  # noqa: S608
    if isinstance(condition, Persona):
        return _of_one("argMax", "persona", condition.persona, binds)
    if isinstance(condition, Campaign):
        return _of_one("argMin", "campaign_first", condition.campaign, binds)
    if isinstance(condition, Journey):
        return f"select customer_id from journeys {where(_outcome(condition, binds, watermark))}"  # noqa: S608
    if isinstance(condition, Value):
        brought = f"sum(values[{binds.bound(condition.currency)}])"
        begun = where(_within("started_at", condition, binds, watermark))
        return (
            f"select customer_id from journeys {begun} group by customer_id"  # noqa: S608
            f" having toFloat64({brought}) >= {binds.bound(condition.value_at_least)}"
        )
    names = binds.bound(list(condition.customers))
    return (
        f"select arrayJoin({names}) as customer_id union all"  # noqa: S608
        f" select customer_id from identities where identifier in {names}"
        f" or substring(identifier, position(identifier, ':') + 1) in {names}"
    )


def _of_one(pick: str, column: str, wanted: str, binds: Binds) -> str:
    """Those of whom the first or the last journey that has a value of the column has this one."""
    return (
        f"select customer_id from journeys where {column} != '' group by customer_id"  # noqa: S608
        f" having {pick}({column}, (started_at, id)) = {binds.bound(wanted)}"
    )


def _outcome(condition: Journey, binds: Binds, watermark: datetime | None) -> list[str]:
    said = condition.journey
    conditions = _within("started_at", said, binds, watermark)
    if said.converted is not None:
        conditions.append(f"converted_at is {'not ' if said.converted else ''}null")
    if said.dropped_off_in is not None:
        conditions.append(f"drop_off_at is not null and drop_off_phase = {binds.bound(said.dropped_off_in)}")
    for column, wanted in (("current_phase", said.current_phase), ("furthest_phase", said.furthest_phase)):
        if wanted is not None:
            conditions.append(f"{column} = {binds.bound(wanted)}")
    return conditions


def _within(at: str, period: Period, binds: Binds, watermark: datetime | None) -> list[str]:
    since, until = period.bounds(watermark)
    conditions = [] if since is None else [f"{at} >= {binds.bound(since)}"]
    return conditions + ([] if until is None else [f"{at} < {binds.bound(until)}"])
