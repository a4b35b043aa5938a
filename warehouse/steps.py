"""Steps of funnels as people write them, in JSON or in their short spelling.

As JSON: `{"types": ["add_to_cart"], "phase": "Purchase", "where": [{"field": "amount", "op": ">", "value": 100}],
"optional": true, "first_ever": true, "within": "2h", "after": "1m"}`, of which nothing is required: `{}` is any
touchpoint. Instead of types, phase and where there may be `"alternatives": [{"types": …, "where": …}, …]`. The
short spelling is in `warehouse.step_text`.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec
from sqlalchemy import Engine, select

from models.vocabulary import TYPES
from warehouse import views
from warehouse.answer import QuestionError, ask
from warehouse.durations import duration_ms
from warehouse.step import Alternative, Condition, Step, check_limits, condition, nearest
from warehouse.step_text import read, written

_WHAT = ("types", "phase", "where")
_LIMITS = ("optional", "first_ever", "within", "after")
_KEYS = (*_WHAT, "alternatives", *_LIMITS, "name")

_EXAMPLE = 'Write e.g. add_to_cart[channel=web], @Purchase, or {"types": ["add_to_cart"]}.'

StepLike = str | Mapping[str, Any]


def parse(step: StepLike) -> Step:
    """A step as JSON or in its short spelling. QuestionError says what of it cannot be read."""
    if isinstance(step, str):
        if not step.lstrip().startswith("{"):
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
    check_limits(made)
    return msgspec.structs.replace(made, name=str(step.get("name") or written(made)))


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


def check_keys(given: Mapping[str, Any], known: Sequence[str], what: str) -> None:
    """QuestionError if JSON has a key that is not known there."""
    for key in given:
        if key not in known:
            raise QuestionError(f'{what} has no "{key}"', remedy=nearest(str(key), known))


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
