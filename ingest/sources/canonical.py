"""Touchpoints that come in our own form already: from files, and from senders that speak it."""

from typing import Any

import msgspec

from ingest.instants import in_range, instant
from ingest.mapped import Delivery, Mapped, deterministic_id
from ingest.rejection import NotTaken, Rejection, rejection
from models.identifier import KINDS, Identifier, normalise
from models.touchpoint import Identification, Record, Touchpoint
from models.vocabulary import CHANNELS

_TIMES = ("occurred_at", "received_at", "source_updated_at", "at")


def map_records(body: Any, delivery: Delivery, *, from_file: bool = False) -> Mapped:
    """An array of records, or one; times in RFC 3339 or UTC ms. What can be worked out may be left out:
    schema, id (from source_event_id), received_at, source, source_instance, source_type.
    """
    records: list[Record] = []
    rejected: list[Rejection] = []
    for index, said in enumerate(body if isinstance(body, list) else [body]):
        try:
            record = _record(said, delivery)
        except NotTaken as why:
            fields = said if isinstance(said, dict) else {}
            channel = fields.get("channel")
            rejected.append(
                rejection(
                    why,
                    msgspec.json.encode(said),
                    source=str(fields.get("source") or "canonical"),
                    source_instance=delivery.source_instance,
                    channel=channel if channel in CHANNELS else None,
                    received_at=delivery.received_at,
                    raw_ref=f"{delivery.raw_ref}:{index}",
                )
            )
        else:
            if isinstance(record, Touchpoint | Identification):
                record = msgspec.structs.replace(record, raw_ref=f"{delivery.raw_ref}:{index}")
            records.append(record)
    return Mapped(records, rejected, from_file)


def _record(said: Any, delivery: Delivery) -> Record:
    if isinstance(said, str):  # of a file
        raise NotTaken("invalid_json", "the line is no row")
    if not isinstance(said, dict):
        raise NotTaken("invalid_field", "a record is an object")
    fields = {name: value for name, value in said.items() if value is not None}
    fields.setdefault("schema", "touchpoint/1")
    for name in _TIMES:
        if name in fields:
            fields[name] = instant(fields[name], name)
    if fields["schema"] == "clock/1":
        return _converted(fields)
    if fields["schema"] in ("touchpoint/1", "identification/1"):
        fields.setdefault("received_at", delivery.received_at)
        fields.setdefault("source", "generic")
        fields["source_instance"] = delivery.source_instance
    fields["identifiers"] = [
        {"kind": identifier.kind, "value": identifier.value} for identifier in _persons(fields, delivery)
    ]
    if not fields["identifiers"]:
        raise NotTaken("missing_identity", "no identifier names anybody")
    if fields["schema"] != "touchpoint/1":
        return _converted(fields)
    if not fields.get("type"):
        raise NotTaken("missing_type", 'the touchpoint has no "type"')
    if fields.get("channel") not in CHANNELS:
        raise NotTaken("invalid_field", f'channel "{fields.get("channel")}" is none of {", ".join(CHANNELS)}')
    if "occurred_at" not in fields:
        raise NotTaken("bad_timestamp", 'the touchpoint has no "occurred_at"')
    in_range(fields["occurred_at"], delivery.received_at, "occurred_at")
    event_id = str(fields.get("source_event_id") or fields.get("id") or "")
    if not event_id:
        raise NotTaken("invalid_field", 'the touchpoint has neither "id" nor "source_event_id"')
    fields["source_event_id"] = event_id
    fields.setdefault("source_type", str(fields["type"]))
    fields.setdefault(
        "id",
        deterministic_id(str(fields["source"]), delivery.source_instance, event_id, 0, str(fields["type"])),
    )
    if "amount" in fields:
        fields["amount"] = str(fields["amount"])
    return _converted(fields)


def _persons(fields: dict[str, Any], delivery: Delivery) -> list[Identifier]:
    named = fields.get("identifiers", [])
    if not isinstance(named, list):
        raise NotTaken("invalid_field", '"identifiers" is a list of {kind, value}')
    found = []
    for item in named:
        if not isinstance(item, dict) or item.get("kind") not in KINDS:
            raise NotTaken("invalid_field", f"an identifier has a kind of {', '.join(KINDS)} and a value")
        if (identifier := normalise(item["kind"], item.get("value"), delivery.model)) is not None:
            found.append(identifier)
    return found


def _converted(fields: dict[str, Any]) -> Record:
    try:
        record: Record = msgspec.convert(fields, Record)
    except msgspec.ValidationError as error:
        raise NotTaken("invalid_field", str(error)) from error
    if isinstance(record, Touchpoint) and (record.amount is None) != (record.currency is None):
        raise NotTaken("invalid_field", "amount and currency come together or not at all")
    return record
