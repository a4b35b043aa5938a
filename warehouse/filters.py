"""What a step asks of a touchpoint, as SQL over its columns; every value is bound."""

from collections.abc import Sequence
from itertools import combinations

from clickhouse_connect.cc_sqlalchemy.datatypes.sqltypes import Array
from sqlalchemy.types import Numeric

from warehouse import views
from warehouse.answer import QuestionError
from warehouse.binds import Binds
from warehouse.steps import Condition, Step

_COMPARED_AS_NUMBERS = ("<", ">", "<=", ">=")
_OF_JOURNEYS = frozenset({"type", "channel", "phase"})


def takes(step: Step, binds: Binds) -> str:
    """SQL: whether a touchpoint takes the step. QuestionError for a value that its field cannot have."""
    conditions = []
    if step.types is not None:
        conditions.append(f"type in ({', '.join(binds.bound(type_) for type_ in step.types)})")
    if step.phase is not None:
        conditions.append(f"phase = {binds.bound(step.phase)}")
    conditions += [_holds(condition, step, binds) for condition in step.where]
    return f"({' and '.join(conditions) or '1'})"


def field_text(field: str, binds: Binds) -> str:
    """SQL: a field as text; '' where it is not set."""
    if field in views.touchpoints.c:
        return f"ifNull(toString(`{field}`), '')"
    return f"JSON_VALUE(properties, concat('$.', {binds.bound(field.removeprefix('properties.'))}))"


def only_what_journeys_hold(steps: Sequence[Step], by: str | None) -> bool:
    """Whether type, channel and phase are all that is asked: then the arrays of journeys know the answer."""
    asked = {condition.field for step in steps for condition in step.where} | ({by} if by else set())
    return asked <= _OF_JOURNEYS


def overlap(steps: Sequence[Step]) -> bool:
    """Whether there may be a touchpoint that takes two of the steps."""
    return any(not _apart(a, b) for a, b in combinations(steps, 2))


def _apart(a: Step, b: Step) -> bool:
    if a.types is not None and b.types is not None and not set(a.types) & set(b.types):
        return True
    if a.phase is not None and b.phase is not None and a.phase != b.phase:
        return True
    return any(
        x.field == y.field and x.op == y.op == "=" and x.value != y.value and not _numeric(x) and not _list(x)
        for x in a.where
        for y in b.where
    )


def _holds(condition: Condition, step: Step, binds: Binds) -> str:
    field, op, value = condition.field, condition.op, condition.value
    if op in _COMPARED_AS_NUMBERS or _numeric(condition):
        try:
            number = float(value)
        except ValueError:
            if op in _COMPARED_AS_NUMBERS or value:
                raise QuestionError(
                    f'"{value}" in step "{step.name}" is no number', remedy=f'Compare "{field}" with one.'
                ) from None
        else:
            as_number = f"toFloat64OrNull({field_text(field, binds)})"
            # what is not set is different from every number, and neither smaller nor greater
            return f"ifNull({as_number} {op} {binds.bound(number)}, {int(op == '!=')})"
    if _list(condition):
        return f"{'not ' if op == '!=' else ''}has(`{field}`, {binds.bound(value)})"
    return f"{field_text(field, binds)} {op} {binds.bound(value)}"


def _numeric(condition: Condition) -> bool:
    column = views.touchpoints.c.get(condition.field)
    return column is not None and (
        isinstance(column.type, Numeric) or "Int" in str(column.type) or "Float" in str(column.type)
    )


def _list(condition: Condition) -> bool:
    column = views.touchpoints.c.get(condition.field)
    return column is not None and isinstance(column.type, Array)
