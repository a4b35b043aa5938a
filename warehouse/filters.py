"""What a step asks of a touchpoint, as SQL over its columns; every value is bound.

A field is not set where its column is empty (text, lists) or NULL (numbers, instants), and where a property is
missing or null; a property that is an empty text is set. No comparison holds of what is not set, so that its
opposites (`is not`, `does not contain`) do. A condition on a list holds if it does of one of its items.
"""

import re
from collections.abc import Sequence
from datetime import datetime
from itertools import combinations
from typing import Any

from clickhouse_connect.cc_sqlalchemy.datatypes.sqltypes import Array
from sqlalchemy.types import Numeric

from warehouse import views
from warehouse.answer import QuestionError
from warehouse.binds import Binds
from warehouse.step import Alternative, Condition, Step

_OPPOSITES = {"is not": "is", "does not contain": "contains", "not set": "set"}
_ORDERED = ("<", ">", "<=", ">=", "between")
_OF_JOURNEYS = frozenset({"type", "channel", "phase"})


def takes(step: Step, binds: Binds) -> str:
    """SQL: whether a touchpoint takes the step. QuestionError for a value that its field cannot have."""
    matches = _matches(step, binds)
    if not step.first_ever:
        return matches
    return f"""(id in (
        select tupleElement(min((occurred_at, id)), 2) from {views.TOUCHPOINTS} where {matches} group by customer_id
    ))"""  # noqa: S608  values are bound, names are ours


def field_text(field: str, binds: Binds) -> str:
    """SQL: a field as text; '' where it is not set."""
    if field in views.touchpoints.c:
        return f"ifNull(toString(`{field}`), '')"
    return f"ifNull({_property(field, binds)}, '')"


def only_what_journeys_hold(steps: Sequence[Step], by: str | None) -> bool:
    """Whether type, channel and phase are all that is asked: then the arrays of journeys know the answer."""
    asked = {c.field for step in steps for one in step.alternatives for c in one.where}
    asked |= {by} if by else set()
    return asked <= _OF_JOURNEYS and not any(step.first_ever for step in steps)


def overlap(steps: Sequence[Step]) -> bool:
    """Whether there may be a touchpoint that takes two of the steps."""
    return any(
        not _apart(x, y) for a, b in combinations(steps, 2) for x in a.alternatives for y in b.alternatives
    )


def _matches(step: Step, binds: Binds) -> str:
    alternatives = []
    for one in step.alternatives:
        conditions = []
        if one.types is not None:
            conditions.append(f"type in ({', '.join(map(binds.bound, one.types))})")
        if one.phase is not None:
            conditions.append(f"phase = {binds.bound(one.phase)}")
        conditions += [_holds(condition, step, binds) for condition in one.where]
        alternatives.append(" and ".join(conditions) or "1")
    return f"({' or '.join(alternatives)})"


def _apart(a: Alternative, b: Alternative) -> bool:
    """Whether the two surely have no touchpoint in common."""
    if a.types is not None and b.types is not None and not set(a.types) & set(b.types):
        return True
    if a.phase is not None and b.phase is not None and a.phase != b.phase:
        return True
    return any(
        x.field == y.field and x.op == y.op == "is" and not set(x.values) & set(y.values) and _plain_text(x)
        for x in a.where
        for y in b.where
    )


def _holds(condition: Condition, step: Step, binds: Binds) -> str:
    if condition.op in _OPPOSITES:
        positive = Condition(condition.field, _OPPOSITES[condition.op], condition.values)
        return f"not {_holds(positive, step, binds)}"
    column = views.touchpoints.c.get(condition.field)
    if column is None:
        of_property = _property(condition.field, binds)
        if condition.op == "set":
            return f"isNotNull({of_property})"
        return f"ifNull({_compared(of_property, condition, step, binds)}, 0)"
    name = f"`{column.name}`"
    if isinstance(column.type, Array):
        if condition.op == "set":
            return f"notEmpty({name})"
        return (
            f"arrayExists(item -> ifNull({_compared('toString(item)', condition, step, binds)}, 0), {name})"
        )
    if condition.op == "set":
        return f"isNotNull({name})" if _number(condition) or _instant(condition) else f"{name} != ''"
    if _instant(condition):
        return f"ifNull({_at_the_time(name, condition, step, binds)}, 0)"
    if _number(condition):
        numbers = [binds.bound(_as_number(value, step)) for value in condition.values]
        return f"ifNull({_operator(f'toFloat64({name})', condition.op, numbers, step)}, 0)"
    if condition.op in _ORDERED or _truth(column):
        return f"ifNull({_compared(f'toString({name})', condition, step, binds)}, 0)"
    return _compared(name, condition, step, binds)


def _compared(text: str, condition: Condition, step: Step, binds: Binds) -> str:
    """SQL that compares a text; where it says a number and is compared with one, as numbers."""
    if condition.op in _ORDERED:
        numbers = [binds.bound(_as_number(value, step)) for value in condition.values]
        return _operator(f"toFloat64OrNull({text})", condition.op, numbers, step)
    if condition.op == "contains":
        return f"positionCaseInsensitiveUTF8({text}, {binds.bound(condition.values[0])}) > 0"
    if condition.op == "regex":
        return f"match({text}, {binds.bound(_pattern(condition.values[0], step))})"
    return f"{text} in ({', '.join(binds.bound(_canonical(condition, value)) for value in condition.values)})"


def _operator(expression: str, op: str, values: Sequence[str], step: Step) -> str:
    if op == "between":
        return f"({expression} >= {values[0]} and {expression} <= {values[1]})"
    if op == "is":
        return f"{expression} in ({', '.join(values)})"
    if op in _ORDERED:
        return f"{expression} {op} {values[0]}"
    raise QuestionError(
        f'step "{step.name}" asks whether a number or a time "{op}" something',
        remedy="Of these, say that one is, lies between, or is greater or smaller.",
    )


def _at_the_time(name: str, condition: Condition, step: Step, binds: Binds) -> str:
    values = []
    for value in condition.values:
        try:
            values.append(f"toDateTime64({binds.bound(datetime.fromisoformat(value))}, 3, 'UTC')")
        except ValueError:
            raise QuestionError(
                f'"{value}" in step "{step.name}" is no time', remedy="Write 2026-11-02 or 2026-11-02T13:00."
            ) from None
    return _operator(name, condition.op, values, step)


def _property(field: str, binds: Binds) -> str:
    """SQL: a property as Nullable(String), at its path or under a name that has points in it."""
    path = field.removeprefix("properties.")
    name = f"JSONExtract(properties, {binds.bound(path)}, 'Nullable(String)')"
    if "." not in path:
        return name
    keys = ", ".join(map(binds.bound, path.split(".")))
    return f"ifNull({name}, JSONExtract(properties, {keys}, 'Nullable(String)'))"


def _canonical(condition: Condition, value: str) -> str:
    """A value as ClickHouse writes it: the property 5.0 is the text 5."""
    if condition.field.startswith("properties."):
        try:
            number = float(value)
        except ValueError:
            return value
        if number.is_integer() and re.fullmatch(r"-?[1-9]\d*\.0+|-?0\.0+", value):
            return str(int(number))
    return value


def _as_number(value: str, step: Step) -> float:
    try:
        return float(value)
    except ValueError:
        raise QuestionError(
            f'"{value}" in step "{step.name}" is no number',
            remedy="Compare the field with one, or write field!=* for what is not set.",
        ) from None


def _pattern(value: str, step: Step) -> str:
    try:
        re.compile(value)
    except re.error as error:
        raise QuestionError(
            f'"{value}" in step "{step.name}" is no regular expression: {error}',
            remedy="Write one as RE2 has it.",
        ) from None
    return value


def _plain_text(condition: Condition) -> bool:
    """Whether two different values of the field are two different things."""
    return condition.field in views.touchpoints.c and not (
        _number(condition) or _instant(condition) or _is_array(condition)
    )


def _number(condition: Condition) -> bool:
    column = views.touchpoints.c.get(condition.field)
    return (
        column is not None
        and not _is_array(condition)
        and (isinstance(column.type, Numeric) or any(one in str(column.type) for one in ("Int", "Float")))
    )


def _instant(condition: Condition) -> bool:
    column = views.touchpoints.c.get(condition.field)
    return column is not None and not _is_array(condition) and "Date" in str(column.type)


def _is_array(condition: Condition) -> bool:
    column = views.touchpoints.c.get(condition.field)
    return column is not None and isinstance(column.type, Array)


def _truth(column: Any) -> bool:
    return "Bool" in str(column.type)
