"""What lies in the topics of a broker."""

from typing import Any, NamedTuple

import msgspec
from kafka import KafkaConsumer, TopicPartition


class Read(NamedTuple):
    """A Kafka record: where it lay, its value read as JSON, its headers."""

    topic: str
    partition: int
    value: Any
    headers: dict[str, bytes]


def read_topics(bootstrap: str, *topics: str, partitions: int = 8) -> list[Read]:
    """All records of these topics, up to the end as it is now."""
    consumer = KafkaConsumer(bootstrap_servers=bootstrap, enable_auto_commit=False)
    try:
        places = [TopicPartition(topic, index) for topic in topics for index in range(partitions)]
        ends = consumer.end_offsets(places)
        consumer.assign(places)
        consumer.seek_to_beginning()
        found: list[Read] = []
        waiting = {place for place in places if ends[place] > 0}
        while waiting:
            for place, records in consumer.poll(timeout_ms=1000).items():
                for record in records:
                    value = msgspec.json.decode(record.value)
                    found.append(Read(place.topic, place.partition, value, dict(record.headers)))
                    if record.offset >= ends[place] - 1:
                        waiting.discard(place)
        return found
    finally:
        consumer.close()


def elements(records: list[Read]) -> list[dict[str, Any]]:
    """The elements of channel records, one after another."""
    return [
        element
        for record in records
        for element in (record.value if isinstance(record.value, list) else [record.value])
    ]
