"""Where topics begin and end, and where to go on reading.

The embedded broker answers the question for the end of a partition with the *first* offset of its last
batch, plus one. What it tells with every fetch is right. So the last batch is fetched. Kafka's own brokers,
which are right both times, are asked in the same way.
"""

import time
from collections.abc import Iterable, Mapping
from typing import NamedTuple

from aiokafka import AIOKafkaConsumer, TopicPartition
from kafka import KafkaConsumer
from kafka import TopicPartition as Place
from kafka.errors import KafkaTimeoutError

FETCH_WAIT_MS = 50
"""The embedded broker waits so long even if a record comes meanwhile, partition by partition."""
_WITHIN_S = 30.0


class Resumed(NamedTuple):
    """Where a partition is read on. `lost`: what can never be read, for people; None: nothing."""

    offset: int
    lost: str | None = None


def resumed(committed: int | None, begin: int, end: int | None) -> Resumed:
    """Where to go on from a committed offset (None: there is none) in a topic that holds `begin` up to `end`.

    `end` None: known to be no smaller than what was committed. Out of range it is the earliest record that is left:
    reading one again changes nothing, and leaving one out would lose it.
    """
    if not committed:
        return Resumed(begin)
    if committed < begin:
        return Resumed(begin, f"offsets {committed} to {begin - 1} were deleted before they were handled")
    if end is not None and committed > end:
        return Resumed(
            begin, f"{committed} was committed and the topic ends at {end}, so it is not the same topic"
        )
    return Resumed(committed)


async def end_offsets(
    bootstrap_servers: str | list[str], partitions: Iterable[TopicPartition]
) -> dict[TopicPartition, int]:
    """The offset behind the last record of each partition. TimeoutError if the broker does not tell."""
    places = list(partitions)
    if not places:
        return {}
    consumer = AIOKafkaConsumer(
        bootstrap_servers=bootstrap_servers,
        enable_auto_commit=False,
        max_partition_fetch_bytes=1,
        fetch_max_wait_ms=20,
    )
    try:
        await consumer.start()
        ends: dict[TopicPartition, int] = await consumer.end_offsets(places)
        asked = [place for place in places if ends[place] > 0]
        consumer.assign(asked)
        for place in asked:
            consumer.seek(place, ends[place] - 1)
        deadline = time.monotonic() + _WITHIN_S
        while asked:
            await consumer.getmany(*asked, timeout_ms=100)
            for place in asked:
                if (told := consumer.highwater(place)) is not None:
                    ends[place] = max(ends[place], told)
            asked = [place for place in asked if consumer.highwater(place) is None]
            if asked and time.monotonic() > deadline:
                raise TimeoutError(f"{bootstrap_servers} does not tell where {asked[0]} ends")
    finally:
        await consumer.stop()
    return ends


def end_offsets_now(bootstrap_servers: str, ends: Mapping[Place, int]) -> dict[Place, int]:
    """The same without an event loop, for ends that an admin client told. KafkaError if they are not told."""
    told = dict(ends)
    asked = [place for place, end in ends.items() if end > 0]
    if not asked:
        return told
    consumer = KafkaConsumer(
        bootstrap_servers=bootstrap_servers,
        group_id=None,
        enable_auto_commit=False,
        max_partition_fetch_bytes=1,
        fetch_max_wait_ms=20,
    )
    try:
        consumer.assign(asked)
        for place in asked:
            consumer.seek(place, ends[place] - 1)
        deadline = time.monotonic() + _WITHIN_S
        while asked:
            consumer.poll(timeout_ms=100)
            for place in asked:
                if (end := consumer.highwater(place)) is not None:
                    told[place] = max(told[place], end)
            asked = [place for place in asked if consumer.highwater(place) is None]
            if asked and time.monotonic() > deadline:
                raise KafkaTimeoutError(f"the end of {asked[0]} is not told")
    finally:
        consumer.close()
    return told
