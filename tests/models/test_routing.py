"""Routing: the strongest identifier, hashed as Kafka does."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from kafka.partitioner.default import murmur2 as kafkas

from models.identifier import Identifier, IdentifierOrder
from models.routing import murmur2, partition_of, routing_key, topic_of

ORDER = IdentifierOrder()


@given(st.binary(max_size=64))
def test_the_hash_is_kafkas(data: bytes) -> None:
    assert murmur2(data) == kafkas(data) & 0xFFFFFFFF


@given(st.text(max_size=30), st.integers(1, 24))
def test_the_partition_is_that_of_kafkas_default_partitioner(key: str, partitions: int) -> None:
    assert partition_of(key, partitions) == (kafkas(key.encode()) & 0x7FFFFFFF) % partitions


def test_the_strongest_identifier_routes() -> None:
    phone, email, other = Identifier("phone", "+1"), Identifier("email", "b@x"), Identifier("email", "a@x")
    assert routing_key([phone, email], ORDER) == "email:b@x"
    assert routing_key([email, other], ORDER) == "email:a@x"
    with pytest.raises(ValueError, match="empty"):
        routing_key([], ORDER)


def test_each_channel_has_its_topic() -> None:
    assert topic_of("web") == "touchpoints.web"
