"""Touchpoints that come in our own form already: from files, and from senders that speak it.

Unlike in a foreign sender's event, a field that is not what it must be costs the record: who writes canonical
records wants to know.
"""

import hashlib
import logging
from collections.abc import Sequence
from typing import Any, TypeVar

import msgspec

from ingest import privacy
from ingest.instants import in_range, instant
from ingest.mapped import Delivery, Mapped, deterministic_id
from ingest.rejection import NotTaken, Rejection
from ingest.sources import reader as read
from ingest.sources.reader import Names, names_of
from models.identifier import KINDS
from models.touchpoint import Clock, Identification, Record, Touchpoint
from models.vocabulary import TYPES

log = logging.getLogger(__name__)

FILE_REQUEST_HEADER = "desireline-file"
"""Request header of a file loader: `FILE:NUMBER`, the file and the number of the first row that is sent."""

SOURCE = "generic"
TOUCHPOINT = "touchpoint/1"
IDENTIFICATION = "identification/1"
CLOCK = "clock/1"

T = TypeVar("T")

_LATEST_AT = (1 << 42) - 1  # the year 2109, the latest that a row's version can say
_RANGES = {"csat": (1, 5), "nps": (0, 10), "ces": (1, 7), "sentiment": (-1, 1)}
_COUNTS = ("wait_ms", "hold_ms", "talk_ms", "duration_ms", "transfers", "attempts")
_OURS = ("received_at", "raw_ref", "source_instance")
_PARTS = ("page", "campaign", "device", "agent", "consent")


def map_records(body: Any, delivery: Delivery, *, from_file: bool = False) -> Mapped:
    """An array of records, or one, that were read already; times in RFC 3339 or UTC ms.

    What can be known may be left out: schema, id (from source_event_id), channel (from the type), source,
    source_type. `from_file`: a row that the loader could not read is given as its text. Never raises: a fault
    of ours is a `mapping_error`.
    """
    records: list[Record] = []
    rejected: list[Rejection] = []
    names = names_of(delivery.model)
    for index, said in enumerate(body if isinstance(body, list) else [body]):
        fields = said if isinstance(said, dict) else {}
        source = fields["source"][:100] if isinstance(fields.get("source"), str) else "canonical"
        channel = fields.get("channel") if fields.get("channel") in delivery.model.channels else None
        try:
            records.append(_record(said, delivery, index, names))
        except NotTaken as why:
            if from_file and (place := _row(delivery, index)):
                why = NotTaken(why.reason, f"{place}: {why.detail}")
            rejected.append(delivery.reject(why, said, source=source, index=index, channel=channel))
        except Exception as error:  # one record of a kind nobody thought of must not cost its neighbours
            log.exception("a record could not be mapped, see the rejected: %s", delivery.place(index))
            fault = NotTaken("mapping_error", type(error).__name__)
            rejected.append(delivery.reject(fault, said, source=source, index=index, channel=channel))
    return Mapped(records, rejected, from_file)


def _row(delivery: Delivery, index: int) -> str:
    """Where a row lies, as `file:row`, counted from 1; empty where the loader does not say."""
    file, _, first = delivery.headers.get(FILE_REQUEST_HEADER, "").rpartition(":")
    return f"{file}:{int(first) + index}" if file and first.isdecimal() else ""


def _record(said: Any, delivery: Delivery, index: int, names: Names) -> Record:
    if isinstance(said, str):  # of a file
        raise NotTaken("invalid_json", "the line is no row")
    if not isinstance(said, dict):
        raise NotTaken("invalid_field", "a record is an object")
    delivery.check_size(msgspec.json.encode(said))
    schema = said.get("schema") or TOUCHPOINT
    if schema == CLOCK:
        # what has not come yet cannot have been told
        at = min(_instant(said, "at", delivery), delivery.received_at)
        return Clock(at=at, source=_text(said, "source") or SOURCE)
    if schema not in (TOUCHPOINT, IDENTIFICATION):
        raise NotTaken("unknown_type", f'the schemas are "{TOUCHPOINT}" and "{IDENTIFICATION}"')
    fields = {name: value for name, value in said.items() if value is not None and name not in _OURS}
    fields |= {
        "schema": schema,
        "source": _text(said, "source") or SOURCE,
        "source_instance": delivery.source_instance,
        "received_at": delivery.received_at,
        "raw_ref": delivery.place(index),
        "identifiers": _identifiers(said.get("identifiers"), names),
    }
    return (
        _identification(fields, said, delivery)
        if schema == IDENTIFICATION
        else _touchpoint(fields, said, delivery)
    )


def _identifiers(listed: Any, names: Names) -> list[dict[str, Any]]:
    if listed is None:
        listed = []
    if not isinstance(listed, list) or not all(isinstance(one, dict) for one in listed):
        raise NotTaken("invalid_field", '"identifiers" is a list of {kind, value}')
    for one in listed:
        if one.get("kind") not in KINDS:
            raise NotTaken("invalid_field", f"an identifier has a kind of {', '.join(KINDS)} and a value")
    verified = {
        found
        for one in listed
        if one.get("verified") is True and (found := names.identifier(one["kind"], one.get("value")))
    }
    named = names.identifiers((one["kind"], one.get("value")) for one in listed)
    return [{"kind": one.kind, "value": one.value, "verified": one in verified} for one in named]


def _identification(fields: dict[str, Any], said: dict[str, Any], delivery: Delivery) -> Identification:
    fields["at"] = _instant(said, "at", delivery)
    fields["channel"] = _channel(said, "page_view", delivery.model.channels)
    if not _text(said, "id"):
        event_id = _text(said, "source_event_id") or _content_id(said)
        fields["id"] = deterministic_id(
            fields["source"], delivery.source_instance, event_id, 0, "identification"
        )
    return _converted(fields, Identification)


def _touchpoint(fields: dict[str, Any], said: dict[str, Any], delivery: Delivery) -> Touchpoint:
    type_ = _text(said, "type")
    if not type_:
        raise NotTaken("missing_type", 'the touchpoint has no "type"')
    fields["source_type"] = _text(said, "source_type") or type_
    if type_ not in TYPES and type_ not in delivery.model.profiles:
        if delivery.strict:
            raise NotTaken("unmapped_event", f'no type of touchpoint is called "{type_[:100]}"')
        type_ = "custom"
    fields |= {"type": type_, "channel": _channel(said, type_, delivery.model.channels)}
    fields["occurred_at"] = _instant(said, "occurred_at", delivery)
    if "source_updated_at" in fields:
        fields["source_updated_at"] = instant(said["source_updated_at"], "source_updated_at")
        if not 0 <= fields["source_updated_at"] <= _LATEST_AT:
            raise NotTaken("timestamp_out_of_range", "source_updated_at lies before 1970 or after 2109")
    event_id = _text(said, "source_event_id") or _text(said, "id")
    if not event_id:
        raise NotTaken("invalid_field", 'the touchpoint has neither "id" nor "source_event_id"')
    fields["source_event_id"] = event_id
    if not _text(said, "id"):
        fields["id"] = deterministic_id(fields["source"], delivery.source_instance, event_id, 0, type_)
    _check_numbers(fields)
    _check_amount(fields)
    for name in (*_PARTS, "properties", "items"):
        if name in fields:
            fields[name] = privacy.cleaned(fields[name])
    if isinstance(fields.get("text"), str):
        fields["text"] = fields["text"][: read.LONGEST_TEXT]
    return _converted(fields, Touchpoint)


def _content_id(said: dict[str, Any]) -> str:
    return f"sha256:{hashlib.sha256(msgspec.json.encode(said, order='deterministic')).hexdigest()}"


def _text(said: dict[str, Any], name: str) -> str | None:
    value = said.get(name)
    if isinstance(value, bool) or not isinstance(value, str | int | float | None):
        raise NotTaken("invalid_field", f"{name} is a text")
    return read.text_of(value)


def _channel(said: dict[str, Any], type_: str, known: Sequence[str]) -> str:
    channel = _text(said, "channel")
    if channel is None:
        return read.usual_channel(type_)
    if channel not in known:
        raise NotTaken("invalid_field", f'channel "{channel[:40]}" is none of {", ".join(known)}')
    return channel


def _instant(said: dict[str, Any], name: str, delivery: Delivery) -> int:
    value = said.get(name)
    if value is None:
        raise NotTaken("bad_timestamp", f'it has no "{name}"')
    if isinstance(value, str) and value.isascii() and value.isdecimal() and 8 < len(value) < 16:
        value = int(value)
    return in_range(instant(value, name), delivery.received_at, name)


def _check_numbers(fields: dict[str, Any]) -> None:
    for name, (least, most) in _RANGES.items():
        if name in fields:
            number = read.number_of(fields[name])
            if number is None or not least <= number <= most or (name == "nps" and number % 1):
                raise NotTaken("invalid_field", f"{name} is a number from {least} to {most}")
            fields[name] = int(number) if name == "nps" else number
    for name in _COUNTS:
        if name in fields:
            number = read.number_of(fields[name])
            if number is None or number % 1 or read.count_of(number) is None:
                raise NotTaken("invalid_field", f"{name} is a whole number of at least 0")
            fields[name] = int(number)


def _check_amount(fields: dict[str, Any]) -> None:
    if ("amount" in fields) != ("currency" in fields):
        raise NotTaken("invalid_field", "amount and currency come together or not at all")
    if "amount" in fields:
        currency = read.currency_of(fields["currency"])
        amount = read.major_units(fields["amount"], currency) if currency else None
        if amount is None:
            raise NotTaken("invalid_field", "amount is a decimal in major units, currency a code of ISO 4217")
        fields["amount"], fields["currency"] = amount, currency


def _converted(fields: dict[str, Any], to: type[T]) -> T:
    # parts may say null for what they do not know
    said = {
        name: {inner: one for inner, one in value.items() if one is not None}
        if name in _PARTS and isinstance(value, dict)
        else value
        for name, value in fields.items()
    }
    try:
        return msgspec.convert(said, to)
    except msgspec.ValidationError as error:
        raise NotTaken("invalid_field", str(error)) from error
