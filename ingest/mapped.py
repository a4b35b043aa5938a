"""What a mapper is told about a delivery, and what it gives back."""

import hashlib
from typing import NamedTuple

import msgspec

from ingest.rejection import NotTaken, Rejection, rejection
from models.journey_model import JourneyModel
from models.touchpoint import Record

_NAMESPACE = bytes.fromhex("8b0b9d0e5f1c5c3a9d4e64657369726c")


class Delivery(msgspec.Struct, frozen=True, kw_only=True):
    """One body as it came in. `received_at`: UTC ms; `attempt`: 1 for the sender's first try.

    `raw_ref`: where the untouched body lies. `strict`: events that no mapping knows are rejected.
    """

    source_instance: str
    received_at: int
    raw_ref: str
    model: JourneyModel
    attempt: int = 1
    strict: bool = False
    event_limit_bytes: int = 512 * 1024
    headers: dict[str, str] = {}

    def place(self, index: int) -> str:
        """Where the untouched payload of the event at `index` lies."""
        return f"{self.raw_ref}:{index}"

    def reject(
        self, why: NotTaken, said: object, *, source: str, index: int = 0, channel: str | None = None
    ) -> Rejection:
        """The rejection of the event at `index`; `said`: its bytes, or what was read from them."""
        return rejection(
            why,
            as_bytes(said),
            source=source,
            source_instance=self.source_instance,
            channel=channel,
            received_at=self.received_at,
            raw_ref=self.place(index),
            attempt=self.attempt,
            headers=self.headers,
        )

    def check_size(self, said: object) -> None:
        """NotTaken `event_too_large` beyond the limit of one event; `said` as for `reject`."""
        if isinstance(said, bytes | msgspec.Raw):
            size = len(memoryview(said))
            if size > self.event_limit_bytes:
                raise NotTaken(
                    "event_too_large", f"{size:,} bytes, and {self.event_limit_bytes:,} are the limit"
                )


class Mapped(NamedTuple):
    """What was said, and what was not taken, in order. `from_file`: it does not move the watermark.

    `taken`: how many of the events sent were accepted, where one may say several things or nothing.
    """

    records: list[Record]
    rejected: list[Rejection]
    from_file: bool = False
    taken: int | None = None

    @property
    def accepted(self) -> int:
        """How many of the events sent were accepted."""
        return len(self.records) if self.taken is None else self.taken


def as_bytes(said: object) -> bytes:
    """The bytes of an event that may have been read already."""
    return bytes(said) if isinstance(said, bytes | msgspec.Raw) else msgspec.json.encode(said)


def deterministic_id(source: str, source_instance: str, source_event_id: str, index: int, type_: str) -> str:
    """The same id whenever the same thing is sent again: a UUIDv5 of our namespace."""
    # a third of the time that uuid.uuid5 takes
    name = f"{source}\x1f{source_instance}\x1f{source_event_id}\x1f{index}\x1f{type_}"
    digest = bytearray(hashlib.sha1(_NAMESPACE + name.encode(), usedforsecurity=False).digest()[:16])
    digest[6] = digest[6] & 0x0F | 0x50
    digest[8] = digest[8] & 0x3F | 0x80
    text = digest.hex()
    return f"{text[:8]}-{text[8:12]}-{text[12:16]}-{text[16:20]}-{text[20:]}"
