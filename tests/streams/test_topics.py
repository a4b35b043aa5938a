"""How topics stand: nothing is left only where nothing is on its way."""

from collections.abc import Mapping

import pytest
from kafka import KafkaConsumer, KafkaProducer, TopicPartition
from kafka.structs import OffsetAndMetadata

from streams import topics
from streams.embedded_broker import EmbeddedBroker
from streams.topics import FACTS, GROUP, create_topics, topic_status

WEB = "touchpoints.web"


def test_what_is_caused_and_committed_between_two_questions_is_not_overlooked(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    ask_ends = topics.end_offsets_now

    def ask_ends_and_handle_the_touchpoint(
        servers: str, ends: Mapping[TopicPartition, int]
    ) -> dict[TopicPartition, int]:
        told = ask_ends(servers, ends)
        publish(servers, FACTS)
        commit(servers, WEB, 1)
        return told

    with EmbeddedBroker() as broker:
        create_topics(broker.bootstrap_servers, 1)
        publish(broker.bootstrap_servers, WEB)
        monkeypatch.setattr(topics, "end_offsets_now", ask_ends_and_handle_the_touchpoint)
        assert left(broker) == {WEB: 1}
        monkeypatch.setattr(topics, "end_offsets_now", ask_ends)
        assert left(broker) == {FACTS: 1}


def left(broker: EmbeddedBroker) -> dict[str, int]:
    """Records not committed, by topic."""
    return {
        one.topic: one.ends[0] - (one.committed[0] or 0)
        for one in topic_status(broker.bootstrap_servers)
        if one.ends[0] > (one.committed[0] or 0)
    }


def publish(servers: str, topic: str) -> None:
    producer = KafkaProducer(bootstrap_servers=servers)
    producer.send(topic, b"[]", partition=0).get(timeout=30)
    producer.close()


def commit(servers: str, topic: str, offset: int) -> None:
    consumer = KafkaConsumer(bootstrap_servers=servers, group_id=GROUP, enable_auto_commit=False)
    consumer.assign([TopicPartition(topic, 0)])
    consumer.commit({TopicPartition(topic, 0): OffsetAndMetadata(offset, "", -1)})
    consumer.close()
