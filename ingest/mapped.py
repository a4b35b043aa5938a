"""What a mapper is told about a delivery, and what it gives back."""

import uuid
from typing import NamedTuple

import msgspec

from ingest.rejection import Rejection
from models.identifier import Identifier, normalise
from models.journey_model import JourneyModel
from models.touchpoint import Record

_NAMESPACE = uuid.UUID("8b0b9d0e-5f1c-5c3a-9d4e-64657369726c")


class Delivery(msgspec.Struct, frozen=True, kw_only=True):
    """One body as it came in. `received_at`: UTC ms; `attempt`: 1 for the sender's first try."""

    source_instance: str
    received_at: int
    raw_ref: str
    model: JourneyModel
    attempt: int = 1
    strict: bool = False
    event_limit_bytes: int = 512 * 1024


class Mapped(NamedTuple):
    """What was said, and what was not taken. `from_file`: history, which does not move the watermark."""

    records: list[Record]
    rejected: list[Rejection]
    from_file: bool = False


def deterministic_id(source: str, source_instance: str, source_event_id: str, index: int, type_: str) -> str:
    """The same id whenever the same thing is sent again."""
    return str(
        uuid.uuid5(_NAMESPACE, f"{source}\x1f{source_instance}\x1f{source_event_id}\x1f{index}\x1f{type_}")
    )


def identifiers(model: JourneyModel, *said: tuple[str, object]) -> tuple[Identifier, ...]:
    """The usable ones among (kind, value), each once, in the order they were said."""
    found: dict[str, Identifier] = {}
    for kind, value in said:
        if value is not None and value != "" and (named := normalise(kind, value, model)) is not None:
            found.setdefault(named.key, named)
    return tuple(found.values())
