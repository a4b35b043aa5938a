"""What is put back into the state: of what a broker lost, or a household asked for; records for the inbox and the
alert agent.
"""

from collections.abc import Iterable, Sequence
from typing import NamedTuple, Protocol

from models.alerts import Abandonment, Alert
from models.identifier import IdentifierOrder
from models.routing import partition_of, routing_key
from models.touchpoint import Element
from streams import codecs
from streams.codecs import Elements, Message, Passed, PastWanted, Rehydrated


class KafkaRecord(NamedTuple):
    """A record for a partition of a topic."""

    partition: int
    key: bytes
    value: bytes


class Past(Protocol):
    """A household that was said of: all its elements, and the greatest version, as two numbers."""

    @property
    def elements(self) -> Sequence[Element]:
        """The whole set, as far as it is left."""

    @property
    def elements_seen(self) -> int:
        """How many elements the household had seen."""

    @property
    def watermark(self) -> int:
        """UTC ms."""


def encode_pasts(pasts: Iterable[Past], order: IdentifierOrder, partitions: int) -> list[KafkaRecord]:
    """Records that put whole households back into the state after the broker lost it.

    Each is said in full again, with greater versions than before, even if some of its elements are not left
    (copies that did not count). So all of a household goes to one node, its strongest: one of its other identifiers
    would say with such versions what it knows alone, until the links have made it an alias.
    """
    messages: list[Elements] = []
    for past in pasts:
        if identifiers := [one for element in past.elements for one in element.identifiers]:
            root = order.strongest(identifiers)
            messages += [
                Elements(root, part, True, past.watermark, past.elements_seen)
                for part in codecs.parts(list(past.elements))
            ]
    return _records(messages, partitions)


def encode_put_back(
    elements: Iterable[Element], order: IdentifierOrder, partitions: int
) -> list[KafkaRecord]:
    """Records that put elements back of which nothing was said yet, or not of all that they belong to."""
    given: dict[str, list[Element]] = {}
    for element in elements:
        given.setdefault(routing_key(element.identifiers, order), []).append(element)
    messages = [Elements(key, part, True) for key, some in given.items() for part in codecs.parts(some)]
    return _records(messages, partitions)


def _records(messages: Iterable[Elements], partitions: int) -> list[KafkaRecord]:
    of_partition: dict[int, list[Message]] = {}
    for message in messages:
        of_partition.setdefault(partition_of(message.to, partitions), []).append(message)
    return [
        KafkaRecord(partition, b"", value)
        for partition, some in of_partition.items()
        for value in codecs.encode_messages(some)
    ]


def encode_watermark(partition: int, watermark: int, *, partial: bool = False) -> KafkaRecord:
    """The record that tells a partition its watermark (UTC ms) after the broker lost it.

    `partial`: not every household that the archive has is put back.
    """
    return KafkaRecord(partition, b"", codecs.encode_messages([Passed(watermark, partial)])[0])


def encode_answer(
    wanted: PastWanted, found: Past, missing: bytes, order: IdentifierOrder, partitions: int
) -> list[KafkaRecord]:
    """The archive's answer. `missing`: marks of what was asked for and is not there (any more).

    What a household trimmed goes back to it; a household that is not known is put back as any other, and who
    asked is told of it.
    """
    told = Rehydrated(wanted.to, wanted.to, missing)
    records: list[KafkaRecord] = []
    back: list[Message] = []
    if wanted.archived:
        back = [Elements(wanted.to, part, True) for part in codecs.parts(list(found.elements))]
    else:
        records = encode_pasts([found], order, partitions)
    partition = partition_of(wanted.to, partitions)
    return records + [KafkaRecord(partition, b"", value) for value in codecs.encode_messages([*back, told])]


def encode_open_alerts(alerts: Iterable[Alert], partitions: int) -> list[KafkaRecord]:
    """Records for `journeys.abandonment` that put open alerts back.

    Without them an alert would stay open in the warehouse for ever, or be told a second time.
    """
    records = []
    for alert in alerts:
        abandonment = Abandonment(alert.kind, alert.channel, open_alerts=[alert])
        key, value = codecs.encode_abandonment(abandonment)
        records.append(KafkaRecord(partition_of(key.decode(), partitions), key, value))
    return records
