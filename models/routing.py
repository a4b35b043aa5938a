"""Which identifier an element is routed by, and to which topic and partition.

Everything that shares its strongest identifier goes to one partition, whoever publishes it: the hash is the
one that Kafka's own default partitioner uses, so that a foreign producer with the same key agrees.
"""

from collections.abc import Sequence
from functools import lru_cache
from struct import unpack

from models.identifier import Identifier, IdentifierOrder

_MASK = 0xFFFFFFFF
_MULTIPLIER = 0x5BD1E995
_SEED = 0x9747B28C


def topic_of(channel: str) -> str:
    """The topic of a channel's touchpoints."""
    return f"touchpoints.{channel}"


def routing_key(identifiers: Sequence[Identifier], order: IdentifierOrder) -> str:
    """Key of the strongest identifier (of a correction: the stronger of two). ValueError if there is none."""
    return order.strongest(identifiers)


@lru_cache(maxsize=65_536)
def partition_of(key: str, partitions: int) -> int:
    """Partition of a routing key among `partitions`, by murmur2 of its UTF-8 bytes."""
    return (murmur2(key.encode()) & 0x7FFFFFFF) % partitions


def murmur2(data: bytes) -> int:
    """Kafka's murmur2, unsigned 32 bits. Source: org.apache.kafka.common.utils.Utils.murmur2."""
    length = len(data)
    value = _SEED ^ length
    whole = length & ~3
    for word in unpack(f"<{whole >> 2}I", data[:whole]):
        word = word * _MULTIPLIER & _MASK
        value = (value * _MULTIPLIER ^ (word ^ (word >> 24)) * _MULTIPLIER) & _MASK
    if whole < length:
        value = (value ^ int.from_bytes(data[whole:], "little")) * _MULTIPLIER & _MASK
    value = (value ^ (value >> 13)) * _MULTIPLIER & _MASK
    return value ^ (value >> 15)
