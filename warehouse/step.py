"""Which touchpoints take a step of a funnel."""

from collections.abc import Sequence
from difflib import get_close_matches
from typing import Any

import msgspec

from warehouse import views
from warehouse.answer import QuestionError

SYMBOLS = {
    # as JSON has it: as it is written in brackets
    "is": "=",
    "is not": "!=",
    "contains": "~",
    "does not contain": "!~",
    "regex": "=~",
    ">": ">",
    "<": "<",
    ">=": ">=",
    "<=": "<=",
    "between": "=",
    "set": "=",
    "not set": "!=",
}
_OPS = {symbol: op for op, symbol in SYMBOLS.items() if op not in ("between", "set", "not set")}


class Condition(msgspec.Struct, frozen=True):
    """A field of the touchpoint (a column, or `properties.NAME`), an operator of `SYMBOLS`, and values as text: one
    for `is` and `is not` as well as several, two for `between`, none for `set` and `not set`.
    """

    field: str
    op: str
    values: tuple[str, ...] = ()


class Alternative(msgspec.Struct, frozen=True):
    """Touchpoints of one of these types, or in this phase (None: any), for which all conditions hold."""

    types: tuple[str, ...] | None = None
    phase: str | None = None
    where: tuple[Condition, ...] = ()


class Step(msgspec.Struct, frozen=True):
    """A step is taken by a touchpoint that is one of the alternatives.

    `optional`: a try may go on without it. `first_ever`: only by the customer's first touchpoint ever that is
    one of them. `within_ms`, `after_ms`: at most, at least so long after the step that was taken before.
    """

    name: str
    alternatives: tuple[Alternative, ...]
    optional: bool = False
    first_ever: bool = False
    within_ms: int | None = None
    after_ms: int | None = None

    @property
    def limited(self) -> bool:
        """Whether it matters how long ago the step before was, or whether there was one."""
        return self.optional or self.within_ms is not None or self.after_ms is not None

    @property
    def only_types(self) -> frozenset[str] | None:
        """The types that take it, where a touchpoint's type decides alone; None: it does not."""
        if self.first_ever or any(one.types is None or one.phase or one.where for one in self.alternatives):
            return None
        return frozenset(name for one in self.alternatives for name in one.types or ())


def check_limits(step: Step) -> None:
    """QuestionError if the limits of a step contradict each other."""
    if step.within_ms is not None and step.after_ms is not None and step.within_ms < step.after_ms:
        raise QuestionError(
            "a step cannot come at most so long and at least longer after the step before",
            remedy='Let "after" be no longer than "within".',
        )


def condition(field: str, op: str, values: Sequence[Any]) -> Condition:
    """A checked condition. QuestionError for an unknown field or operator, or a wrong number of values."""
    check_field(field)
    op = _OPS.get(op, op)
    if op not in SYMBOLS:
        raise QuestionError(f'"{op}" is no operator', remedy=nearest(op, list(SYMBOLS)))
    number = {"between": 2, "set": 0, "not set": 0}.get(op)
    if op in ("is", "is not"):
        number = max(1, len(values))
    if len(values) != (1 if number is None else number):
        needs = "no value" if number == 0 else "two values" if number == 2 else "one value"
        raise QuestionError(
            f'"{field}" {op} takes {needs}, not {len(values)}', remedy='Write e.g. "value": [10, 20].'
        )
    for value in values:
        if not isinstance(value, str | int | float | bool):
            raise QuestionError(
                f"{msgspec.json.encode(value).decode()} is nothing a field can be compared with",
                remedy='Write a text or a number; "not set" asks for what is missing.',
            )
    return Condition(field, op, tuple(map(_text, values)))


def check_field(name: str) -> str:
    """The name of a field that touchpoints have. QuestionError suggests the nearest."""
    if name in views.touchpoints.c or (name.startswith("properties.") and len(name) > 11):
        return name
    known = [column.name for column in views.touchpoints.c]
    raise QuestionError(f'field "{name}" is not known', remedy=nearest(name, known))


def nearest(name: str, known: Sequence[str]) -> str:
    """What to do about an unknown name."""
    near = get_close_matches(name, known, n=3)
    if near:
        return f"Did you mean {' or '.join(repr(n) for n in near)}?".replace("'", '"')
    more = " …" if len(known) > 12 else "."
    return f"Known are {', '.join(list(known)[:12])}{more}"


def _text(value: str | float | bool) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)
