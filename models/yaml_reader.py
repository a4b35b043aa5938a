"""YAML text read value by value, each knowing its line, so that an error can say where.

`Reader` wraps one node: its methods give the value as what is expected of it or raise a `JourneyModelError`
that names file, line, what was found and what to write instead.
"""

import re
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from difflib import get_close_matches
from typing import Concatenate, NoReturn, ParamSpec, TypeVar, cast

import yaml

from models.errors import DesirelineError

Part = TypeVar("Part")
Given = ParamSpec("Given")

_UNITS_MS = {"ms": 1, "s": 1_000, "m": 60_000, "h": 3_600_000, "d": 86_400_000, "w": 604_800_000}
_DURATION = re.compile(r"(\d+)(ms|s|m|h|d|w)")


class JourneyModelError(DesirelineError):
    """The journey model says something that it must not. `where` is `file:line`.

    `others`: what else is wrong with it, as far as that can be told.
    """

    others: "Sequence[JourneyModelError]" = ()


class Findings:
    """What is wrong in several parts of a document, read one after another."""

    def __init__(self) -> None:
        self._errors: list[JourneyModelError] = []

    def read(self, part: Callable[Given, Part], *given: Given.args, **named: Given.kwargs) -> Part:
        """The part, or nothing that may be used: then `done` raises."""
        try:
            return part(*given, **named)
        except JourneyModelError as error:
            self._errors.append(error)
            return cast(Part, None)

    def each(
        self, part: "Callable[Concatenate[Reader, Given], Part]", items: "Reader | None", *given: Given.args,
        **named: Given.kwargs,
    ) -> tuple[Part, ...]:  # fmt: skip
        """A part of each item of a list; none where the list is left out."""
        listed = self.read(lambda: list(items.items()) if items is not None else [])
        return tuple([self.read(part, item, *given, **named) for item in listed or ()])

    def done(self) -> None:
        """Raise what is wrong first, with the others, if anything is."""
        if self._errors:
            first, *others = self._errors
            first.others = others
            raise first


def parse_duration(text: str) -> int | None:
    """`30m`, `24h`, `30d` (also ms, s, w) in ms; None if the text is no duration."""
    match = _DURATION.fullmatch(text.strip())
    return int(match[1]) * _UNITS_MS[match[2]] if match else None


def duration_text(ms: int) -> str:
    """A duration as it is written in a model: the largest unit that it is a whole number of."""
    unit, length = next(
        (unit, length) for unit, length in reversed(_UNITS_MS.items()) if unit != "w" and ms % length == 0
    )
    return f"{ms // length}{unit}"


def suggestion(name: str, known: Collection[str], *, plural: str) -> str:
    """The remedy for a name that is not among the known ones: the nearest one, or all of them."""
    near = get_close_matches(name, known, n=1)
    return f'Did you mean "{near[0]}"?' if near else f"The {plural} are {', '.join(known)}."


def read_document(text: str, *, where: str) -> "Reader":
    """The root of a YAML document; `where` names the file in errors."""
    try:
        node = yaml.compose(text, Loader=yaml.SafeLoader)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        line = f"{where}:{mark.line + 1}" if mark else where
        problem = str(error.problem)
        remedy = "Check indentation, quotes and brackets."
        if "'?'" in problem or "'@'" in problem:  # as they stand in the steps of a paved path
            remedy = 'Put a text with "@" or "?" in quotes.'
        raise JourneyModelError(f"this is no YAML: {problem}", where=line, remedy=remedy) from None
    except yaml.YAMLError as error:
        raise JourneyModelError(
            f"this is no YAML: {error}", where=where, remedy="Save it as UTF-8 text."
        ) from None
    if node is None:
        raise JourneyModelError("the model is empty", where=where, remedy="Begin with a shipped template.")
    return Reader(node, where, "the model")


class Reader:
    """One YAML node. `name` is what errors call it."""

    def __init__(self, node: yaml.Node, file: str, name: str) -> None:
        self._node = node
        self._file = file
        self.name = name

    @property
    def where(self) -> str:
        """`file:line`, lines counted from 1."""
        return f"{self._file}:{self._node.start_mark.line + 1}"

    def fail(self, what: str, remedy: str) -> NoReturn:
        """Raise what is wrong at this node."""
        raise JourneyModelError(what, where=self.where, remedy=remedy)

    def fields(self, known: Collection[str], required: Collection[str] = ()) -> "dict[str, Reader]":
        """The entries of a mapping whose keys are all `known`."""
        found: dict[str, Reader] = {}
        for key, value in self.entries():
            if key.text() not in known:
                key.fail(
                    f'{self.name} has no field "{key.text()}"', suggestion(key.text(), known, plural="fields")
                )
            found[key.text()] = value
        for field in required:
            if field not in found:
                self.fail(f'{self.name} lacks the field "{field}"', f'Add "{field}:".')
        return found

    def entries(self) -> "Iterator[tuple[Reader, Reader]]":
        """Key and value of each entry of a mapping; a key given twice is an error."""
        if not isinstance(self._node, yaml.MappingNode):
            self.fail(f"{self.name} is {self._found()}", 'Write "key: value" entries.')
        seen: set[str] = set()
        for key_node, value_node in self._node.value:
            key = Reader(key_node, self._file, f"a key of {self.name}")
            text = key.text()
            if text in seen:
                key.fail(f'"{text}" is given twice in {self.name}', "Keep one of them.")
            seen.add(text)
            yield key, Reader(value_node, self._file, f'"{text}"')

    def items(self) -> "Iterator[Reader]":
        """Each item of a sequence."""
        if not isinstance(self._node, yaml.SequenceNode):
            self.fail(f"{self.name} is {self._found()}", "Write a list: [a, b].")
        for node in self._node.value:
            yield Reader(node, self._file, f"an item of {self.name}")

    @property
    def scalar_stands(self) -> bool:
        """Whether there is one value, no list and no mapping."""
        return isinstance(self._node, yaml.ScalarNode)

    def text(self) -> str:
        """A scalar as it is written."""
        if not isinstance(self._node, yaml.ScalarNode) or self._node.tag == "tag:yaml.org,2002:null":
            self.fail(f"{self.name} is {self._found()}", "Write one word or a quoted text.")
        return str(self._node.value)

    def one_of(self, known: Collection[str], kind: str, plural: str) -> str:
        """A name that is defined: `kind` and `plural` say of what."""
        return self.named(self.text(), known, kind, plural)

    def named(self, name: str, known: Collection[str], kind: str, plural: str) -> str:
        """Likewise of a name that is part of what stands here."""
        if name not in known:
            self.fail(f'{kind} "{name}" is not defined', suggestion(name, known, plural=plural))
        return name

    def names(self, known: Collection[str], kind: str, plural: str) -> tuple[str, ...]:
        """A list of defined names."""
        return tuple(item.one_of(known, kind, plural) for item in self.items())

    def texts(self) -> tuple[str, ...]:
        """A list of scalars as they are written."""
        return tuple(item.text() for item in self.items())

    def boolean(self) -> bool:
        """true or false."""
        value = self.scalar()
        if not isinstance(value, bool):
            self.fail(f"{self.name} is {self._found()}", "Write true or false.")
        return value

    def integer(self, *, least: int = 0) -> int:
        """A whole number of at least `least`."""
        value = self.scalar()
        if isinstance(value, bool) or not isinstance(value, int) or value < least:
            self.fail(f"{self.name} is {self._found()}", f"Write a whole number of at least {least}.")
        return value

    def number(self, least: float, most: float) -> float:
        """A number in `least`…`most`."""
        value = self.scalar()
        if isinstance(value, bool) or not isinstance(value, int | float) or not least <= value <= most:
            self.fail(f"{self.name} is {self._found()}", f"Write a number from {least:g} to {most:g}.")
        return float(value)

    def duration(self) -> int:
        """A duration such as 30m, 24h or 30d, in ms."""
        value = parse_duration(self.text())
        if value is None:
            self.fail(
                f'{self.name} is "{self.text()}"',
                "Write a number and its unit: ms, s, m, h, d or w, e.g. 30d.",
            )
        return value

    def scalar(self) -> str | int | float | bool | None:
        """A scalar as YAML understands it."""
        if not isinstance(self._node, yaml.ScalarNode):
            self.fail(f"{self.name} is {self._found()}", "Write one value.")
        value = yaml.SafeLoader("").construct_object(self._node)
        if value is not None and not isinstance(value, str | int | float):
            self.fail(f"{self.name} is {self._found()}", "Put it in quotes.")
        return value

    def scalars(self) -> tuple[str | int | float | bool | None, ...]:
        """One scalar or a list of them."""
        if isinstance(self._node, yaml.SequenceNode):
            return tuple(item.scalar() for item in self.items())
        return (self.scalar(),)

    def _found(self) -> str:
        if isinstance(self._node, yaml.MappingNode):
            return "a mapping"
        if isinstance(self._node, yaml.SequenceNode):
            return "a list"
        return f'"{self._node.value}"' if self._node.value else "empty"


def durations_by(reader: Reader, known: Collection[str], kind: str, plural: str) -> Mapping[str, int]:
    """A mapping of defined names to durations in ms."""
    return {key.one_of(known, kind, plural): value.duration() for key, value in reader.entries()}
