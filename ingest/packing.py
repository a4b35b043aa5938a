"""Records into Kafka records: those that share a topic and a partition travel together.

A Faust agent pays per Kafka record, so one is a JSON array of up to 500 touchpoints and 500 kB. Rejections go
singly.
"""

from collections.abc import Iterable

import msgspec

from ingest.mapped import Mapped
from ingest.rejection import NotTaken, Rejection, rejection
from models.identifier import IdentifierOrder
from models.routing import partition_of, routing_key, topic_of
from models.touchpoint import Clock, Correction

REJECTED = "touchpoints.rejected"
FILE_HEADER = "desireline-file"
"""Header of records of a file load: they do not move the watermark, the clock record at their end does."""
RECORD_TOUCHPOINTS = 500
RECORD_BYTES = 500_000
LARGEST_BYTES = 900_000
"""What is larger does not fit into a Kafka record of 1 MiB, and is rejected by reference."""

_encode = msgspec.json.Encoder().encode


class Packed(msgspec.Struct):
    """One Kafka record to be: where it goes, and its items, encoded."""

    topic: str
    partition: int
    key: bytes
    items: list[bytes]
    from_file: bool = False
    clock: bool = False
    size: int = 2

    @property
    def value(self) -> bytes:
        """An array; a rejection is one object."""
        return self.items[0] if self.topic == REJECTED else b"[" + b",".join(self.items) + b"]"

    def halves(self) -> "list[Packed]":
        """Its items in two records."""
        middle = len(self.items) // 2
        return [
            msgspec.structs.replace(self, items=part, size=2 + sum(map(len, part)) + len(part))
            for part in (self.items[:middle], self.items[middle:])
        ]


def pack(
    mapped: Iterable[Mapped],
    order: IdentifierOrder,
    partitions: int,
) -> list[Packed]:
    """Kafka records of at most 500 touchpoints and 500 kB (a larger touchpoint goes alone).

    Clock records come last, for every partition: what they say holds once all before was taken.
    """
    packed: list[Packed] = []
    clocks: list[Packed] = []
    refused: list[Rejection] = []
    growing: dict[tuple[str, int, bool], Packed] = {}
    for records, rejected, from_file, _ in mapped:
        refused += rejected
        for record in records:
            item = _encode(record)
            if isinstance(record, Clock):
                clocks += pack_clock(item, record.source, partitions)
                continue
            if len(item) > LARGEST_BYTES:
                refused.append(_by_reference(NotTaken("event_too_large", f"{len(item):,} bytes"), item))
                continue
            key = routing_key(record.identifiers, order)
            channel = "web" if isinstance(record, Correction) else record.channel
            place = topic_of(channel), partition_of(key, partitions), from_file
            one = growing.get(place)
            if one is None or len(one.items) >= RECORD_TOUCHPOINTS or one.size + len(item) > RECORD_BYTES:
                one = growing[place] = Packed(place[0], place[1], key.encode(), [], from_file)
                packed.append(one)
            one.items.append(item)
            one.size += len(item) + 1
    packed += [pack_rejection(one, partitions) for one in refused]
    return packed + clocks


def pack_rejection(one: Rejection, partitions: int) -> Packed:
    """The Kafka record of a rejection."""
    item = _encode(one)
    return Packed(REJECTED, partition_of(one.id, partitions), one.id.encode(), [item], size=len(item))


def pack_clock(item: bytes, source: str, partitions: int) -> list[Packed]:
    """Event time has passed for everyone: the clock record for each partition."""
    return [
        Packed(topic_of("web"), partition, source.encode(), [item], clock=True, size=len(item) + 2)
        for partition in range(partitions)
    ]


def unpublishable(packed: Packed, why: str) -> Rejection:
    """The rejection, by reference, of the one item of a Kafka record that Kafka does not take."""
    return _by_reference(NotTaken("publish_failed", why), packed.items[0])


def _by_reference(why: NotTaken, item: bytes) -> Rejection:
    said = msgspec.json.decode(item)
    return rejection(
        why,
        item,
        source=str(said.get("source", "desireline")),
        source_instance=str(said.get("source_instance", "")),
        channel=said.get("channel"),
        received_at=int(said.get("received_at", said.get("at", 0))),
        raw_ref=str(said.get("raw_ref") or said.get("id", "")),
    )
