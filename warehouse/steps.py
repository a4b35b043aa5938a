"""The grammar of funnel steps: `add_to_cart`, `@Purchase`, `*`, `a|b`, each with
`[field=value,field!=value]`.
"""

import re
from collections.abc import Sequence
from difflib import get_close_matches

import msgspec
from sqlalchemy import Engine, select

from models.vocabulary import TYPES
from warehouse import views
from warehouse.answer import QuestionError, ask

_STEP = re.compile(r"(?P<what>[^\[\]]+?)\s*(?:\[(?P<where>[^\]]*)\])?")
_CONDITION = re.compile(r"\s*(?P<field>[\w.]+)\s*(?P<op>!=|=|>=|<=|>|<)\s*(?P<value>.*?)\s*")
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
ANYTHING = "*"


class Condition(msgspec.Struct, frozen=True):
    """A field of the touchpoint (a column, or `properties.NAME`) against a value, as text."""

    field: str
    op: str
    value: str


class Step(msgspec.Struct, frozen=True):
    """Which touchpoints take a step. `types` and `phase` None: any."""

    name: str
    types: tuple[str, ...] | None = None
    phase: str | None = None
    where: tuple[Condition, ...] = ()


def parse(text: str) -> Step:
    """A step as people write it. QuestionError says what of it cannot be read."""
    found = _STEP.fullmatch(text.strip())
    if not found:
        raise QuestionError(
            f'step "{text}" cannot be read',
            remedy="Write e.g. add_to_cart, @Purchase or call_queued[queue=Billing].",
        )
    what = found["what"].strip()
    where = tuple(_condition(part, text) for part in (found["where"] or "").split(",") if part.strip())
    if what == ANYTHING:
        return Step(text, where=where)
    if what.startswith("@"):
        return Step(text, phase=what[1:], where=where)
    return Step(text, types=tuple(part.strip() for part in what.split("|")), where=where)


def _condition(part: str, step: str) -> Condition:
    found = _CONDITION.fullmatch(part)
    if not found:
        raise QuestionError(f'"{part}" in step "{step}" is no condition', remedy="Write field=value.")
    check_field(found["field"])
    return Condition(found["field"], found["op"], found["value"])


def check_field(name: str) -> str:
    """The name of a field that touchpoints have. QuestionError suggests the nearest."""
    if name in views.touchpoints.c or (name.startswith("properties.") and len(name) > 11):
        return name
    known = [column.name for column in views.touchpoints.c]
    raise QuestionError(f'field "{name}" is not known', remedy=_nearest(name, known))


def check_names(connection: Engine, steps: Sequence[Step]) -> None:
    """QuestionError if a step names a type or a phase that neither the vocabulary nor the warehouse knows."""
    wanted = {name for step in steps for name in step.types or () if name not in TYPES and name != "custom"}
    if wanted:
        t = views.touchpoints.c
        known = {str(name) for name in ask(connection, select(t.type).group_by(t.type))["type"]}
        for name in sorted(wanted - known):
            raise QuestionError(
                f'touchpoint type "{name}" is not known', remedy=_nearest(name, sorted({*known, *TYPES}))
            )
    if phases := {step.phase for step in steps if step.phase}:
        t = views.touchpoints.c
        known = {str(name) for name in ask(connection, select(t.phase).group_by(t.phase))["phase"]}
        for name in sorted(phases - known):
            if known:
                raise QuestionError(f'phase "{name}" is not known', remedy=_nearest(name, sorted(known)))


def duration_ms(text: str) -> int:
    """Milliseconds of `30m`, `7d`, `90s`, `1.5h`. QuestionError if it is no duration, or none at all."""
    found = _DURATION.fullmatch(text.strip())
    if not found or float(found["count"]) <= 0:
        raise QuestionError(f'"{text}" is no duration', remedy="Write e.g. 90s, 30m, 24h, 7d.")
    return round(float(found["count"]) * _UNIT_MS[found["unit"]])


def _nearest(name: str, known: Sequence[str]) -> str:
    near = get_close_matches(name, known, n=3)
    if near:
        return f"Did you mean {' or '.join(repr(n) for n in near)}?".replace("'", '"')
    return f"Known are {', '.join(list(known)[:12])} …"
