"""The records of the channels' topics: an array of elements as JSON, or one.

What cannot be read is rejected alone: its neighbours go on.
"""

import base64
import hashlib
from datetime import UTC, datetime
from typing import Any, NamedTuple

import msgspec

from models.touchpoint import Clock, Record, Touchpoint

FILE_HEADER = "desireline-file"
"""Kafka header of the records of a file load: they do not move the watermark, its clock record does."""
AGAIN_HEADER = "desireline-again"
"""Kafka header of records that are published again after the broker lost them: said in full."""

_LATEST_AT = (1 << 42) - 1  # what the version of a row holds: the year 2109
_RAW_BYTES = 256_000
_TIMES = ("occurred_at", "received_at", "source_updated_at", "at")

_many = msgspec.json.Decoder(list[Record])
_one = msgspec.json.Decoder(Record)
_raws = msgspec.json.Decoder(list[msgspec.Raw])


class Unreadable(NamedTuple):
    """An element that was not taken: its place in the record, why (of the closed list), its bytes."""

    place: int
    reason: str
    detail: str
    raw: bytes


class Decoded(NamedTuple):
    """A channel record: what could be read, in order, and what not."""

    records: list[Record]
    rejected: list[Unreadable]


def decode(value: bytes) -> Decoded:
    """The elements of a channel record. Times may be RFC 3339 texts as well as UTC ms."""
    try:
        records = _many.decode(value) if value[:1] == b"[" else [_one.decode(value)]
    except (msgspec.DecodeError, UnicodeDecodeError):
        return _decode_each(value)
    for record in records:
        if _fault(record) is not None:
            return _decode_each(value)
    return Decoded(records, [])


def _decode_each(value: bytes) -> Decoded:
    decoded = Decoded([], [])
    try:
        raws = _raws.decode(value) if value.lstrip()[:1] == b"[" else [msgspec.Raw(value)]
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        decoded.rejected.append(Unreadable(0, "invalid_json", str(error), value))
        return decoded
    for index, raw in enumerate(raws):
        try:
            record = _read(bytes(raw))
        except _NotTaken as error:
            decoded.rejected.append(Unreadable(index, error.reason, error.detail, bytes(raw)))
        else:
            decoded.records.append(record)
    return decoded


class _NotTaken(Exception):
    def __init__(self, reason: str, detail: str) -> None:
        super().__init__(detail)
        self.reason, self.detail = reason, detail


def _read(raw: bytes) -> Record:
    try:
        record: Record = _one.decode(raw)
    except msgspec.ValidationError:
        record = _read_loosely(raw)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise _NotTaken("invalid_json", str(error)) from error
    if fault := _fault(record):
        raise _NotTaken(*fault)
    return record


def _read_loosely(raw: bytes) -> Record:
    """Foreign producers write times as text."""
    try:
        fields: Any = msgspec.json.decode(raw)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise _NotTaken("invalid_json", str(error)) from error
    if not isinstance(fields, dict):
        raise _NotTaken("invalid_json", "an element is an object")
    for name in _TIMES:
        if isinstance(fields.get(name), str):
            fields[name] = _instant(name, fields[name])
    try:
        record: Record = msgspec.convert(fields, Record)
    except msgspec.ValidationError as error:
        raise _NotTaken(_reason(fields, str(error)), str(error)) from error
    return record


def _instant(name: str, text: str) -> int:
    try:
        at = datetime.fromisoformat(text)
    except ValueError as error:
        raise _NotTaken("bad_timestamp", f'{name} "{text}" is no RFC 3339 time') from error
    if at.tzinfo is None:
        at = at.replace(tzinfo=UTC)
    return (at - datetime(1970, 1, 1, tzinfo=UTC)) // _MILLISECOND


_MILLISECOND = datetime(1970, 1, 1, 0, 0, 0, 1000) - datetime(1970, 1, 1)  # noqa: DTZ001  a difference


def _reason(fields: dict[str, Any], said: str) -> str:
    if "schema" in said or "schema" not in fields:
        return "unknown_type"
    if "identifiers" in said:
        return "missing_identity" if not fields.get("identifiers") else "invalid_field"
    if any(f"$.{name}" in said or f"`{name}`" in said for name in _TIMES):
        return "bad_timestamp"
    return "invalid_field"


def _fault(record: Record) -> tuple[str, str] | None:
    """Why a record that could be read is not taken: nobody is found by it, or no row could hold it."""
    if isinstance(record, Touchpoint):
        at, received_at = record.occurred_at, record.received_at
        if not 0 <= received_at <= _LATEST_AT:
            return "timestamp_out_of_range", f"received_at {received_at}"
    else:
        at = record.at
        if isinstance(record, Clock):
            return None if 0 <= at <= _LATEST_AT else ("timestamp_out_of_range", f"at {at}")
    if not 0 <= at <= _LATEST_AT:
        return "timestamp_out_of_range", f"{at} ms"
    if not record.identifiers:
        return "missing_identity", "no identifiers"
    if not record.id:
        return "invalid_field", "id is empty"
    for identifier in record.identifiers:
        if not identifier.value:
            return "missing_identity", f"{identifier.kind} is empty"
    return None


def encode_rejection(unreadable: Unreadable, topic: str, partition: int, offset: int, now: int) -> bytes:
    """A record of `touchpoints.rejected`. The same fault of the same record has the same id."""
    place = f"{topic}:{partition}:{offset}:{unreadable.place}"
    try:
        said: Any = msgspec.json.decode(unreadable.raw)
    except (msgspec.DecodeError, UnicodeDecodeError):
        said = {}

    def text(name: str) -> str | None:
        value = said.get(name) if isinstance(said, dict) else None
        return value if isinstance(value, str) else None

    return msgspec.json.encode(
        {
            "id": hashlib.sha256(place.encode()).hexdigest()[:32],
            "reason": unreadable.reason,
            "detail": unreadable.detail[:1000],
            "source": text("source") or "kafka",
            "source_instance": text("source_instance") or topic,
            "channel": text("channel") or topic.rpartition(".")[2],
            "received_at": now,
            "attempt": 1,
            "raw_ref": f"kafka:{place}",
            "raw_base64": base64.b64encode(unreadable.raw).decode()
            if len(unreadable.raw) <= _RAW_BYTES
            else None,
            "headers": {},
            "sha256": hashlib.sha256(unreadable.raw).hexdigest(),
        }
    )
