"""What spoils a try: a touchpoint between two steps.

`chat_started` between the first step and the last, `chat_started:1-2` between the first and the second; as JSON
`{"step": "chat_started", "from": 1, "to": 2}`.
"""

import re
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from warehouse.answer import QuestionError
from warehouse.step import Step
from warehouse.steps import StepLike, check_keys, parse

_SPAN = re.compile(r"(?P<step>.*):(?P<from>\d+)-(?P<to>\d+)", re.DOTALL)
_EXAMPLE = "Write e.g. chat_started:1-2, or chat_started for the whole funnel."


class Exclusion(msgspec.Struct, frozen=True):
    """Touchpoints that take `step`, strictly between reaching the steps of numbers `first` and `last`, from 1."""

    step: Step
    first: int
    last: int


def exclusion(said: StepLike, steps: Sequence[Step], order: str) -> Exclusion:
    """An exclusion as it was written. QuestionError if there is no such span in a funnel of these steps."""
    excluded, first, last = _read(said)
    if excluded.first_ever or excluded.limited:
        raise QuestionError(
            f'the exclusion "{excluded.name}" is no step: nothing comes before it',
            remedy="Leave out within, after, first and ?; filters it may have.",
        )
    whole = (1, len(steps))
    span = (first or 1, last or len(steps))
    if order == "strict":
        raise QuestionError(
            "nothing lies between the steps of a strict funnel that could be excluded",
            remedy="Leave the exclusion out, or ask for another order.",
        )
    if order == "any" and (first or last) and span != whole:
        raise QuestionError(
            f'the exclusion "{excluded.name}" lies between two steps, and in any order there is no between',
            remedy="Leave the two numbers out, or ask for an ordered funnel.",
        )
    if (first or last) and not 1 <= span[0] < span[1] <= len(steps):
        raise QuestionError(
            f"there is nothing between step {span[0]} and step {span[1]} of {len(steps)}", remedy=_EXAMPLE
        )
    for number in span:
        if steps[number - 1].optional:
            raise QuestionError(
                f'an exclusion cannot begin or end at step {number}, "{steps[number - 1].name}": it is optional',
                remedy="Name steps that every try takes.",
            )
    return Exclusion(excluded, *span)


def _read(said: StepLike) -> tuple[Step, int | None, int | None]:
    if isinstance(said, str) and said.lstrip().startswith("{"):
        try:
            said = msgspec.json.decode(said)
        except msgspec.DecodeError as error:
            raise QuestionError(f'exclusion "{said}" is no JSON: {error}', remedy=_EXAMPLE) from None
    if isinstance(said, Mapping):
        if "step" not in said:
            return parse(said), None, None
        check_keys(said, ("step", "from", "to"), "an exclusion")
        return parse(said["step"]), _number(said.get("from")), _number(said.get("to"))
    found = _SPAN.fullmatch(str(said).strip())
    if found:
        return parse(found["step"]), int(found["from"]), int(found["to"])
    return parse(said), None, None


def _number(said: Any) -> int | None:
    if said is None or (isinstance(said, int) and not isinstance(said, bool)):
        return said
    raise QuestionError(f'"{said}" is no number of a step', remedy=_EXAMPLE)
