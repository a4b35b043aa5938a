"""The recovery of the state: its changelog is read by a consumer of ours, and Faust's reader stays away from it.

Faust's takes what was fetched before a rebalance for its own after it: a late entry counts as the place up to which
the changelog was read, those before it are never applied, and a recovery may be called complete before it began.
Where workers come and go in quick succession households were lost that way, without a word.
"""

from collections.abc import AsyncGenerator, Collection
from typing import NamedTuple

from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.structs import ConsumerRecord
from faust.tables.manager import TableManager as FaustTableManager
from faust.tables.recovery import Recovery as FaustRecovery
from faust.types import TP
from faust.types.tables import CollectionT

from streams.offsets import FETCH_WAIT_MS, end_offsets

_ENTRIES_AT_ONCE = 2_000
_FETCH_BYTES = 4 * 1024 * 1024


class Recovery(FaustRecovery):
    """Faust's, for the tables that leave the reading to it; it calls all when it has done so, and resumes streams."""

    def add_active(self, table: CollectionT, tp: TP) -> None:
        """A partition of a table's changelog is to be read."""
        if not getattr(table, "reads_its_changelog", False):
            super().add_active(table, tp)


class TableManager(FaustTableManager):
    """Faust's, with our recovery."""

    @property
    def recovery(self) -> FaustRecovery:
        """Created when it is first asked for, as Faust's."""
        if self._recovery is None:
            self._recovery = Recovery(self.app, self, beacon=self.beacon, loop=self.loop)
        return self._recovery


class Read(NamedTuple):
    """Some records, and how many offsets are left to be read after them."""

    records: list[ConsumerRecord]
    left: int


async def read_from_the_start(
    bootstrap_servers: str | list[str], places: Collection[TopicPartition]
) -> AsyncGenerator[Read, None]:
    """All records of these partitions up to where they end now, each partition in its order. KafkaError."""
    ends = await end_offsets(bootstrap_servers, places)
    left = [place for place in places if ends[place] > 0]
    if not left:
        return
    consumer = AIOKafkaConsumer(
        bootstrap_servers=bootstrap_servers,
        enable_auto_commit=False,
        check_crcs=False,
        max_partition_fetch_bytes=_FETCH_BYTES,
        fetch_max_wait_ms=FETCH_WAIT_MS,
    )
    try:
        await consumer.start()
        consumer.assign(left)
        await consumer.seek_to_beginning(*left)
        while left:
            fetched = await consumer.getmany(*left, timeout_ms=1_000, max_records=_ENTRIES_AT_ONCE)
            to_read = {place: ends[place] - await consumer.position(place) for place in left}
            left = [place for place in left if to_read[place] > 0]
            records = [record for some in fetched.values() for record in some]
            yield Read(records, sum(to_read[place] for place in left))
    finally:
        await consumer.stop()
