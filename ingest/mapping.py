"""Which column of a file is which field of a touchpoint: a small YAML file, or the columns' own names.

    id: order_no                      # a column, or a dotted path into an object
    occurred_at: {column: created, unit: s}
    type: {column: event, values: {bought: purchase}, else: custom}
    channel: =web                     # after "=" a constant
    identifiers: {user_id: customer_no, email: mail}
    amount: total
    currency: =EUR
    properties: [plan, city]          # left out: every column that is nothing else

A row becomes the JSON of a canonical record; whether it is right is judged where all others are judged.
"""

import hashlib
import types
from collections.abc import Collection, Mapping
from difflib import get_close_matches
from typing import Any, Union, get_args, get_origin, get_type_hints

import msgspec
import yaml

from models.errors import DesirelineError
from models.identifier import KINDS
from models.touchpoint import Agent, Campaign, Device, Page, Touchpoint

Row = Mapping[str, Any]

_PARTS: dict[str, type[msgspec.Struct]] = {
    "page": Page,
    "campaign": Campaign,
    "device": Device,
    "agent": Agent,
}
_OURS = {
    "schema",
    "received_at",
    "raw_ref",
    "time_quality",
    "identifiers",
    "properties",
    "source_instance",
    "source",
}
_NAMES = {field.name for field in msgspec.structs.fields(Touchpoint)} - _OURS - _PARTS.keys()
FIELDS = frozenset(
    _NAMES
    | {f"{part}.{field.name}" for part, struct in _PARTS.items() for field in msgspec.structs.fields(struct)}
)
"""What a mapping may set beside identifiers and properties."""

_UNITS = {"s": 1_000, "ms": 1}
_WAYS = {"column", "values", "else", "unit"}


class MappingError(DesirelineError):
    """A mapping says something it must not, or names a column that the file does not have."""


class Way(msgspec.Struct, frozen=True):
    """How a field is found in a row: a `constant`, or a `column`, whose values may be renamed or scaled."""

    column: str | None = None
    constant: str | None = None
    values: Mapping[str, str] = {}
    otherwise: str | None = None
    unit: str | None = None  # of times given as numbers


class Columns(msgspec.Struct, frozen=True):
    """A whole mapping. `properties` None: every column that is nothing else."""

    fields: Mapping[str, Way]
    identifiers: Mapping[str, Way]
    properties: tuple[str, ...] | None = None

    @property
    def named(self) -> set[str]:
        """The columns that are used, dotted paths as they are."""
        ways = (*self.fields.values(), *self.identifiers.values())
        return {way.column for way in ways if way.column is not None}

    def check(self, columns: Collection[str], *, where: str) -> None:
        """MappingError if a column is named that the file does not have."""
        for name in sorted(self.named | set(self.properties or ())):
            if name not in columns and name.split(".")[0] not in columns:
                near = get_close_matches(name, columns, n=1)
                remedy = f'Did you mean "{near[0]}"?' if near else f"It has {', '.join(columns)}."
                raise MappingError(f'the file has no column "{name}"', where=where, remedy=remedy)

    def record(self, row: Row, source: str) -> dict[str, Any]:
        """The canonical record of a row, as JSON has it; what a row does not say is left out."""
        said: dict[str, Any] = {"source": source}
        for name, way in self.fields.items():
            if (value := _value(way, row)) is not None:
                part, _, field = name.rpartition(".")
                (said.setdefault(part, {}) if part else said)[field] = _typed(name, value)
        said["identifiers"] = [
            {"kind": kind, "value": str(value)}
            for kind, way in self.identifiers.items()
            if (value := _value(way, row)) is not None
        ]
        names = (
            self.properties
            if self.properties is not None
            else [name for name in row if name not in self.named]
        )
        properties = {name: value for name in names if (value := _at(row, name)) is not None}
        if properties:
            said["properties"] = properties
        if "id" in said:  # the sender's; ours is made of it
            said["source_event_id"] = str(said.pop("id"))
        elif "source_event_id" not in said:
            # the same row is the same touchpoint, in whichever file
            said["source_event_id"] = f"sha256:{hashlib.sha256(_canonical(row)).hexdigest()}"
        return said


def read_mapping(text: str, *, where: str) -> Columns:
    """A mapping from its YAML. MappingError names the file and what to write."""
    try:
        # every word is a text: a column may be called no, or 3
        said = yaml.load(text, Loader=yaml.BaseLoader)  # noqa: S506  it makes nothing but texts
    except yaml.YAMLError as error:
        raise MappingError(f"this is no YAML: {error}", where=where) from error
    if not isinstance(said, dict):
        raise MappingError("a mapping is written as FIELD: COLUMN", where=where)
    identifiers = said.pop("identifiers", {})
    properties = said.pop("properties", None)
    if not isinstance(identifiers, dict) or not identifiers:
        raise MappingError(
            "no identifier is mapped, so nobody would be found",
            where=where,
            remedy="Write identifiers: {user_id: COLUMN}.",
        )
    if properties is not None and not (
        isinstance(properties, list) and all(isinstance(p, str) for p in properties)
    ):
        raise MappingError("properties is a list of columns", where=where)
    _known(said, FIELDS, "field", where)
    _known(identifiers, KINDS, "kind of identifier", where)
    return Columns(
        {name: _way(value, where) for name, value in said.items()},
        {kind: _way(value, where) for kind, value in identifiers.items()},
        None if properties is None else tuple(properties),
    )


def by_name(columns: Collection[str]) -> Columns:
    """The mapping of a file whose columns are called as the fields and kinds of identifier are."""
    return Columns(
        {name: Way(column=name) for name in columns if name in FIELDS},
        {name: Way(column=name) for name in columns if name in KINDS and name not in FIELDS}
        | ({"session_id": Way(column="session_id")} if "session_id" in columns else {}),
    )


def _known(said: Mapping[Any, Any], known: Collection[str], what: str, where: str) -> None:
    for name in said:
        if name not in known:
            near = get_close_matches(str(name), known, n=1)
            remedy = f'Did you mean "{near[0]}"?' if near else f"Known are {', '.join(sorted(known))}."
            raise MappingError(f'{what} "{name}" is not known', where=where, remedy=remedy)


def _way(said: Any, where: str) -> Way:
    if isinstance(said, str) and said:
        return Way(constant=said[1:]) if said.startswith("=") else Way(column=said)
    if not isinstance(said, dict) or not isinstance(said.get("column"), str):
        raise MappingError(
            f'"{said}" is no column', where=where, remedy="Write COLUMN, =CONSTANT or {column: COLUMN, …}."
        )
    _known(said, _WAYS, "word", where)
    unit = said.get("unit")
    if unit is not None and unit not in _UNITS:
        raise MappingError(f'unit "{unit}" is not known', where=where, remedy="It is s or ms.")
    values = said.get("values", {})
    if not isinstance(values, dict):
        raise MappingError("values is written as {FOUND: MEANT}", where=where)
    otherwise = said.get("else")
    return Way(
        column=said["column"],
        values={str(found): str(meant) for found, meant in values.items()},
        otherwise=None if otherwise is None else str(otherwise),
        unit=unit,
    )


def _value(way: Way, row: Row) -> Any:
    if way.column is None:
        return way.constant
    value = _at(row, way.column)
    if value is not None and way.values:
        value = way.values.get(str(value), way.otherwise if way.otherwise is not None else value)
    if value is not None and way.unit is not None:
        try:
            return round(float(value) * _UNITS[way.unit])
        except (TypeError, ValueError):
            return value  # judged, and rejected, with all the others
    return value


def _at(row: Row, path: str) -> Any:
    if path in row:
        value = row[path]
    else:
        value = row
        for name in path.split("."):
            value = value.get(name) if isinstance(value, Mapping) else None
    return None if value == "" else value


def _typed(field: str, value: Any) -> Any:
    """A text of a CSV file as the field wants it; what it cannot be stays what it is, and is rejected."""
    wanted = _WANTED.get(field)
    if wanted is str:
        return value if isinstance(value, str) else str(value)
    if wanted in (int, float) and isinstance(value, str):
        try:
            number = float(value)
        except ValueError:
            return value
        return int(number) if wanted is int and number.is_integer() else number
    if wanted is int and isinstance(value, float) and value.is_integer():
        return int(value)  # a column of whole numbers with gaps
    return value


def _wanted() -> dict[str, type]:
    found: dict[str, type] = {}
    for part, struct in (("", Touchpoint), *_PARTS.items()):
        for name, hint in get_type_hints(struct).items():
            kinds = get_args(hint) if get_origin(hint) in (Union, types.UnionType) else (hint,)
            for kind in (int, float, str):
                if kind in kinds:
                    found.setdefault(f"{part}.{name}" if part else name, kind)
    # times are texts or numbers
    return {name: kind for name, kind in found.items() if not name.endswith("_at")}


_WANTED = _wanted()


def _canonical(row: Row) -> bytes:
    return msgspec.json.encode(row, order="deterministic")
