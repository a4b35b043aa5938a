"""Offsets that were skipped: a set absorbs repeats and any order, but not a record that was never delivered."""

import logging

from aiokafka import AIOKafkaConsumer, TopicPartition

from streams.stuck import WorkerStuck

log = logging.getLogger(__name__)


class OffsetGaps:
    """Which record comes next in each partition."""

    def __init__(self) -> None:
        self._next: dict[tuple[str, int], int] = {}

    def begin(self, topic: str, partition: int, offset: int) -> None:
        """The partition is read from `offset` on."""
        self._next[topic, partition] = offset

    def next_of(self, topic: str, partition: int) -> int | None:
        """The offset that should come next; None where nothing is known."""
        return self._next.get((topic, partition))

    def missing(self, topic: str, partition: int, offset: int) -> int | None:
        """A record came. The offset that should have come, if it is an earlier one; repeats are no fault."""
        expected = self._next.get((topic, partition))
        self._next[topic, partition] = offset + 1
        return expected if expected is not None and offset > expected else None

    def forget(self) -> None:
        """Partitions are handed over."""
        self._next = {}


async def check_gap(bootstrap_servers: str, topic: str, partition: int, expected: int, came: int) -> None:
    """Offsets `expected` up to `came` were not delivered: are there records?

    None are where a transaction ended. Those that retention deleted are lost to us, which is logged.
    WorkerStuck if there are.
    """
    place = TopicPartition(topic, partition)
    consumer = AIOKafkaConsumer(bootstrap_servers=bootstrap_servers, enable_auto_commit=False)
    await consumer.start()
    try:
        consumer.assign([place])
        earliest = (await consumer.beginning_offsets([place]))[place]
        if earliest > expected:
            log.error(
                "%s partition %d: offsets %d to %d were deleted before they were handled; "
                "`desireline reconcile` names what the warehouse lacks",
                topic, partition, expected, min(earliest, came) - 1,
            )  # fmt: skip
        start = max(earliest, expected)
        if start >= came:
            return
        consumer.seek(place, start)
        first = await consumer.getone(place)
    finally:
        await consumer.stop()
    if first.offset < came:
        raise WorkerStuck(
            f"{topic} partition {partition}: offset {came} came where {expected} was due",
            remedy="The worker is started again and reads from what was committed.",
        )
