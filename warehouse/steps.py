"""Which touchpoints take a step of a funnel: steps, read from JSON or from their short spelling.

As JSON: `{"types": ["add_to_cart"], "phase": "Purchase", "where": [{"field": "amount", "op": ">", "value": 100}],
"optional": true, "first_ever": true, "within": "2h", "after": "1m"}`, of which nothing is required: `{}` is any
touchpoint. Instead of types, phase and where there may be `"alternatives": [{"types": …, "where": …}, …]`. The
short spelling is in `warehouse.step_text`.
"""

import re
from collections.abc import Mapping, Sequence
from difflib import get_close_matches
from typing import Any

import msgspec
from sqlalchemy import Engine, select

from models.vocabulary import TYPES
from warehouse import views
from warehouse.answer import QuestionError, ask

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
_DURATION = re.compile(r"(?P<count>\d+(?:\.\d+)?)\s*(?P<unit>ms|s|m|min|h|d|w)")
_UNIT_MS = {
    "ms": 1,
    "s": 1_000,
    "m": 60_000,
    "min": 60_000,
    "h": 3_600_000,
    "d": 86_400_000,
    "w": 7 * 86_400_000,
}
_WHAT = ("types", "phase", "where")
_LIMITS = ("optional", "first_ever", "within", "after")
_KEYS = (*_WHAT, "alternatives", *_LIMITS, "name")

StepLike = str | Mapping[str, Any]


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


def parse(step: StepLike) -> Step:
    """A step as JSON or in its short spelling. QuestionError says what of it cannot be read."""
    if isinstance(step, str):
        if not step.lstrip().startswith("{"):
            from warehouse.step_text import read

            return read(step)
        try:
            step = msgspec.json.decode(step)
        except msgspec.DecodeError as error:
            raise QuestionError(f'step "{step}" is no JSON: {error}', remedy=_EXAMPLE) from None
    if not isinstance(step, Mapping):
        raise QuestionError(f'"{step}" is no step', remedy=_EXAMPLE)
    check_keys(step, _KEYS, "a step")
    if "alternatives" in step:
        if both := [name for name in _WHAT if name in step]:
            raise QuestionError(
                f'a step has either "alternatives" or "{both[0]}"', remedy="Write it into each alternative."
            )
        alternatives = tuple(_alternative(one) for one in _list(step["alternatives"], "alternatives"))
        if not alternatives:
            raise QuestionError("a step without alternatives is taken by nothing", remedy=_EXAMPLE)
    else:
        alternatives = (_alternative({name: step[name] for name in _WHAT if name in step}),)
    made = Step(
        "",
        alternatives,
        optional=_flag(step, "optional"),
        first_ever=_flag(step, "first_ever"),
        within_ms=_limit(step, "within"),
        after_ms=_limit(step, "after"),
    )
    return named(made, step.get("name"))


def named(step: Step, name: str | None = None) -> Step:
    """The step with a name, its short spelling if none is given. QuestionError if its limits contradict."""
    if step.within_ms is not None and step.after_ms is not None and step.within_ms < step.after_ms:
        raise QuestionError(
            "a step cannot come at most so long and at least longer after the step before",
            remedy='Let "after" be no longer than "within".',
        )
    if not name:
        from warehouse.step_text import written

        name = written(step)
    return msgspec.structs.replace(step, name=str(name))


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


def check_names(connection: Engine, steps: Sequence[Step]) -> None:
    """QuestionError if a step names a type or a phase that neither the vocabulary nor the warehouse knows."""
    each = [one for step in steps for one in step.alternatives]
    wanted = {name for one in each for name in one.types or () if name not in TYPES and name != "custom"}
    if wanted:
        t = views.touchpoints.c
        known = {str(name) for name in ask(connection, select(t.type).group_by(t.type))["type"]}
        for name in sorted(wanted - known):
            raise QuestionError(
                f'touchpoint type "{name}" is not known', remedy=nearest(name, sorted({*known, *TYPES}))
            )
    phases = {one.phase for one in each if one.phase}
    phases |= {
        value for one in each for c in one.where if (c.field, c.op) == ("phase", "is") for value in c.values
    }
    if phases:
        t = views.touchpoints.c
        known = {str(name) for name in ask(connection, select(t.phase).group_by(t.phase))["phase"]}
        for name in sorted(phases - known):
            if known:
                raise QuestionError(f'phase "{name}" is not known', remedy=nearest(name, sorted(known)))


def duration_ms(text: str) -> int:
    """Milliseconds of `30m`, `7d`, `90s`, `1.5h`. QuestionError if it is no duration, or none at all."""
    found = _DURATION.fullmatch(str(text).strip())
    if not found or float(found["count"]) <= 0:
        raise QuestionError(f'"{text}" is no duration', remedy="Write e.g. 90s, 30m, 24h, 7d.")
    return round(float(found["count"]) * _UNIT_MS[found["unit"]])


def nearest(name: str, known: Sequence[str]) -> str:
    """What to do about an unknown name."""
    near = get_close_matches(name, known, n=3)
    if near:
        return f"Did you mean {' or '.join(repr(n) for n in near)}?".replace("'", '"')
    more = " …" if len(known) > 12 else "."
    return f"Known are {', '.join(list(known)[:12])}{more}"


def check_keys(given: Mapping[str, Any], known: Sequence[str], what: str) -> None:
    """QuestionError if JSON has a key that is not known there."""
    for key in given:
        if key not in known:
            raise QuestionError(f'{what} has no "{key}"', remedy=nearest(str(key), known))


_EXAMPLE = 'Write e.g. add_to_cart[channel=web], @Purchase, or {"types": ["add_to_cart"]}.'


def _alternative(said: Any) -> Alternative:
    if not isinstance(said, Mapping):
        raise QuestionError(f'"{said}" is no alternative', remedy='Write e.g. {"types": ["add_to_cart"]}.')
    check_keys(said, _WHAT, "an alternative")
    types = said.get("types")
    if types is not None:
        types = tuple(str(one) for one in _list(types, "types"))
        if not types:
            raise QuestionError('"types" is empty', remedy="Name a type, or leave it out for all of them.")
    phase = said.get("phase")
    where = tuple(_said_condition(one) for one in _list(said.get("where", []), "where"))
    if phase is None or types is None:
        return Alternative(types, None if phase is None else str(phase), where)
    return Alternative(types, None, (Condition("phase", "is", (str(phase),)), *where))


def _said_condition(said: Any) -> Condition:
    if not isinstance(said, Mapping) or "field" not in said:
        raise QuestionError(
            f'"{said}" is no condition', remedy='Write e.g. {"field": "channel", "op": "is", "value": "web"}.'
        )
    check_keys(said, ("field", "op", "value"), "a condition")
    value = said.get("value")
    values = value if isinstance(value, list | tuple) else [] if value is None else [value]
    return condition(str(said["field"]), str(said.get("op", "is")), values)


def _text(value: str | float | bool) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def _list(said: Any, name: str) -> Sequence[Any]:
    if isinstance(said, str):
        return [said]
    if not isinstance(said, list | tuple):
        raise QuestionError(f'"{name}" of a step is a list, not {said}', remedy=_EXAMPLE)
    return said


def _flag(step: Mapping[str, Any], name: str) -> bool:
    said = step.get(name, False)
    if not isinstance(said, bool):
        raise QuestionError(f'"{name}" is true or false, not "{said}"', remedy="Leave it out for false.")
    return said


def _limit(step: Mapping[str, Any], name: str) -> int | None:
    return None if step.get(name) is None else duration_ms(step[name])
