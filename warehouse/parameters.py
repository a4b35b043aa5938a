"""The parameters of an analysis, read from its signature: what each interface offers, and how it reads them."""

import inspect
from collections.abc import Mapping, Sequence
from datetime import datetime
from difflib import get_close_matches
from functools import cache
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin, get_type_hints

import msgspec
from typing_extensions import Doc

from warehouse.among import Among
from warehouse.analysis import Analysis
from warehouse.answer import QuestionError
from warehouse.instants import instant

WRITTEN = {"since": "from", "until": "to"}
"""Names of parameters that people write otherwise than Python can."""


class Parameter(msgspec.Struct, frozen=True, kw_only=True):
    """A parameter: `written` is its name outside of Python; `choices` are all values that it can have, if
    they are few; `several`: it is a list; `leading`: it comes first and has no name on a command line.
    """

    name: str
    type: Any
    default: Any
    meaning: str
    leading: bool
    choices: tuple[str, ...] = ()
    several: bool = False

    @property
    def written(self) -> str:
        """The name outside of Python."""
        return WRITTEN.get(self.name, self.name)

    @property
    def required(self) -> bool:
        """Whether there is no default."""
        return self.default is inspect.Parameter.empty

    @property
    def takes_objects(self) -> bool:
        """Whether a value may be a JSON object: a step, spelt out."""
        return "Mapping" in str(self.type)

    @property
    def plain_type(self) -> type:
        """What one value is: str, int, float, bool or datetime. Choices and steps are str."""
        return _plain_type(self.type)


@cache
def parameters(asked: Analysis[Any]) -> tuple[Parameter, ...]:
    """The analysis's own in the order of its signature, then those of every analysis (`Among`)."""
    hints = get_type_hints(asked.function, include_extras=True)
    found = []
    takes_among = False
    for one in list(inspect.signature(asked.function).parameters.values())[1:]:
        if one.kind is inspect.Parameter.VAR_KEYWORD:
            takes_among = True
            continue
        leading = one.kind is inspect.Parameter.POSITIONAL_OR_KEYWORD
        found.append(_parameter(one.name, hints[one.name], one.default, leading=leading))
    if takes_among:
        among = get_type_hints(Among, include_extras=True)
        defaults = {"timezone": "UTC"}
        found += [
            _parameter(name, hint, defaults.get(name), leading=False)
            for name, hint in among.items()
            if name not in hints
        ]
    return tuple(found)


def arguments(asked: Analysis[Any], given: Mapping[str, Any]) -> dict[str, Any]:
    """What is given by written names (in JSON, YAML, text), as the analysis takes it. QuestionError for a
    name that it does not know, a value that it cannot have, or one that is missing.
    """
    known = {one.written: one for one in parameters(asked)}
    read = {}
    for name, value in given.items():
        if name not in known:
            near = get_close_matches(name, known, n=2)
            remedy = f"Did you mean {' or '.join(near)}?" if near else f"It knows {', '.join(known)}."
            raise QuestionError(f'{asked.name} has no argument "{name}"', remedy=remedy)
        read[known[name].name] = _value(known[name], value)
    for one in known.values():
        if one.required and one.name not in read:
            raise QuestionError(f'{asked.name} needs "{one.written}"', remedy=one.meaning)
    return read


def _parameter(name: str, hint: Any, default: Any, *, leading: bool) -> Parameter:
    meaning = ""
    if get_origin(hint) is Annotated:
        hint, *said = get_args(hint)
        meaning = next((one.documentation for one in said if isinstance(one, Doc)), "")
    inner = _without_none(hint)
    several = get_origin(inner) in (list, tuple, Sequence)
    one = get_args(inner)[0] if several else inner
    choices = tuple(map(str, get_args(one))) if get_origin(one) is Literal else ()
    return Parameter(
        name=name,
        type=hint,
        default=default,
        meaning=meaning,
        leading=leading,
        choices=choices,
        several=several,
    )


def _without_none(hint: Any) -> Any:
    if get_origin(hint) in (Union, UnionType):
        kept = [one for one in get_args(hint) if one is not NoneType]
        return kept[0] if len(kept) == 1 else Union[tuple(kept)]  # noqa: UP007  made at run time
    return hint


def _plain_type(hint: Any) -> type:
    inner = _without_none(hint)
    if get_origin(inner) in (list, tuple, Sequence):
        inner = _without_none(get_args(inner)[0])
    return inner if inner in (int, float, bool, datetime) else str


def _value(parameter: Parameter, value: Any) -> Any:
    if parameter.plain_type is datetime:
        return None if value is None else instant(str(value))
    if parameter.several and not isinstance(value, list | tuple | NoneType):
        value = [value]
    try:
        return msgspec.convert(value, _convertible(parameter.type), strict=False)
    except msgspec.ValidationError as error:
        remedy = f"It is one of {', '.join(parameter.choices)}." if parameter.choices else parameter.meaning
        raise QuestionError(
            f'"{value}" cannot be "{parameter.written}": {str(error)[:1].lower()}{str(error)[1:]}',
            remedy=remedy,
        ) from None


def _convertible(hint: Any) -> Any:
    """The type for msgspec, which knows no abstract containers in unions with text."""
    origin, inner = get_origin(hint), get_args(hint)
    if origin in (Union, UnionType):
        return Union[tuple(_convertible(one) for one in inner)]  # noqa: UP007  made at run time
    if origin is Sequence:
        return list[_convertible(inner[0])]  # type: ignore[misc]
    if origin is Mapping:
        return dict[str, Any]
    return hint
