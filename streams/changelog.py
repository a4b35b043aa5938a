"""The table of households: a Faust table whose changes are written in batches, and whose recovery folds.

An ordinary Faust table writes one changelog record per key that is set, at 110 µs each. Here the changes
that a few input records caused are written as one batch of Kafka's own format into the table's own changelog
topic. Each entry says what one input record gave to one node: a household costs what is new of it and not
its size.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from contextlib import aclosing
from typing import Any, cast

from aiokafka import AIOKafkaProducer, TopicPartition
from aiokafka.errors import IllegalStateError
from faust.tables.base import Collection
from faust.transport.drivers.aiokafka import Consumer
from faust.types import TP, AppT
from faust.types.stores import StoreT

from models.errors import DesirelineError
from streams import metrics
from streams.codecs import Entry
from streams.config import WorkerConfig
from streams.protocol import Nodes
from streams.recovery import read_from_the_start
from streams.stuck import WorkerStuck
from streams.topics import FACTS

log = logging.getLogger(__name__)

TABLE = "households"


class NotATable(DesirelineError):
    """A Faust table can do it, and households cannot."""


class Households(Collection):
    """All households of the partitions that this worker has, by partition in `nodes`.

    `sources`: the topics whose records change it. `failed` is told of an error that must end the worker.
    """

    reads_its_changelog = True  # Faust's recovery leaves that to it

    def __init__(
        self,
        app: AppT,
        config: WorkerConfig,
        *,
        sources: Sequence[str],
        failed: Callable[[BaseException], Awaitable[None]],
    ) -> None:
        super().__init__(app, name=TABLE, partitions=config.partitions, key_type=bytes, value_type=bytes)
        self.nodes: dict[int, Nodes] = {}
        self.recovering = True
        self.generation = 0
        self.begun: Callable[[str, int, int], None] = lambda topic, partition, offset: None
        self._config = config
        self.sources = sources
        self._failed = failed
        self._assigned = 1
        self._recovered: set[int] = set()  # partitions whose changelog was read to its end
        self._kept: set[int] = set()  # those of them that stayed with us over the last rebalance
        self._restored: dict[int, Nodes] | None = None  # those that `_restoring` is for
        self._restoring: asyncio.Task[None]
        self._trusting: asyncio.Task[None] | None = None
        self.entries_left = 0  # of the changelog, for the present recovery to read

    # --- writing ---

    async def write(self, partition: int, entries: Iterable[Entry]) -> list[asyncio.Future[Any]]:
        """Send entries to the changelog of a partition; they are durable when the futures are done."""
        producer = producer_of(self.app)
        topic = self.changelog_topic.get_topic_name()
        sent: list[asyncio.Future[Any]] = []
        batch = producer.create_batch()
        written = 0
        for key, value in entries:
            if batch.append(key=key, value=value, timestamp=None) is None:
                sent.append(await producer.send_batch(batch, topic, partition=partition))
                batch = producer.create_batch()
                batch.append(key=key, value=value, timestamp=None)
            written += len(key) + len(value or b"")
        if batch.record_count():
            sent.append(await producer.send_batch(batch, topic, partition=partition))
        metrics.CHANGELOG_BYTES.inc(written)
        return sent

    # --- recovery ---

    async def on_start(self) -> None:
        """The table keeps nothing on disk; its changelog is created with the other topics."""

    async def on_stop(self) -> None:
        """What waits would keep the worker from ending."""
        self._stop_waiting_for_trust()

    async def need_active_standby_for(self, tp: TP) -> bool:
        """No standbys."""
        return False

    def reset_state(self) -> None:
        """Forget everything."""
        self.nodes = {}

    async def on_rebalance(
        self, assigned: set[TP], revoked: set[TP], newly_assigned: set[TP], generation_id: int = 0
    ) -> None:
        """Partitions come and go. What stays is kept, unless somebody else may have had it meanwhile."""
        self.recovering = True
        self._stop_waiting_for_trust()
        mine = {tp.partition for tp in assigned if tp.topic in self.sources}
        follows = generation_id == self.generation + 1
        # handed over again in the middle of its recovery, a partition is recovered from the start
        self._kept = mine & self._recovered if follows else set()
        self._recovered = set(self._kept)
        self.generation = generation_id
        self._assigned = len(mine)
        self.nodes = {
            partition: self.nodes[partition] if partition in self._kept else self._new_nodes(partition)
            for partition in sorted(mine)
        }
        log.info("partitions %s, of which %s stayed", sorted(mine), sorted(self._kept))

    def _new_nodes(self, partition: int) -> Nodes:
        return Nodes(
            partition,
            self._config.partitions,
            self._config.model,
            allowed_lateness_ms=self._config.lateness_ms,
            awake_limit=self._config.awake_elements // max(1, self._assigned),
            fingerprint=self._config.fingerprint,
            archived=self._config.warehouse_url is not None,
        )

    async def on_recovery_completed(self, active_tps: set[TP], standby_tps: set[TP]) -> None:
        """Faust has joined the group: read the changelog, judge households, and receive records from now on.

        Faust may call again for the same partitions, and lets this go on when they are handed over meanwhile.
        """
        taken_over = self.nodes
        try:
            if self._restored is not taken_over:
                self._restored = taken_over
                self._restoring = asyncio.create_task(self._restore(taken_over, self._kept))
            await asyncio.shield(self._restoring)
            ends = await self._ends()
            self._must_still_have(taken_over)
            committed = await cast(Consumer, self.app.consumer).seek_to_committed()
            self._must_still_have(taken_over)
            self._receive_from(committed, ends)
        except IllegalStateError:
            log.info("partitions are handed over again; the next recovery takes over")
        except Exception as error:  # Faust would swallow it and go on with half a state
            log.exception("recovery failed")
            await self._failed(error)

    async def _restore(self, taken_over: dict[int, Nodes], kept: set[int]) -> None:
        """The state of the partitions that did not stay, from the changelog."""
        topic = self.changelog_topic.get_topic_name()
        wanted = {partition: nodes for partition, nodes in taken_over.items() if partition not in kept}
        places = [TopicPartition(topic, partition) for partition in wanted]
        servers = self._config.bootstrap_servers.split(",")
        self._left_to_read(0)  # of a recovery that was given up something may stand there
        async with aclosing(read_from_the_start(servers, places)) as reading:
            async for entries, left in reading:
                self._must_still_have(taken_over)
                for entry in entries:
                    if entry.key is not None:
                        wanted[entry.partition].load(entry.key, entry.value)
                metrics.RECOVERED_ENTRIES.inc(len(entries))
                self._left_to_read(left)
                await asyncio.sleep(0)
        for partition, nodes in wanted.items():
            for left in nodes.recovered():
                log.debug("partition %d: %d households left to fold", partition, left)
                await asyncio.sleep(0)
                self._must_still_have(taken_over)

    def _left_to_read(self, entries: int) -> None:
        self.entries_left = entries
        metrics.RECOVERY_LEFT.set(entries)

    def _must_still_have(self, taken_over: dict[int, Nodes]) -> None:
        """IllegalStateError, as the consumer's own, if partitions were handed over meanwhile."""
        if self.nodes is not taken_over:
            raise IllegalStateError("partitions were handed over")

    def _receive_from(self, committed: Mapping[TP, int], ends: Mapping[TP, int]) -> None:
        alone = self._config.grace_s <= 0
        for partition, nodes in self.nodes.items():
            begins: dict[str, int] = {}
            for topic in self.sources:
                at = committed.get(TP(topic, partition))
                begins[topic] = at or 0
                if partition in self._kept and begins[topic] > nodes.next_of(topic):
                    raise WorkerStuck(
                        f"{topic} partition {partition} was handled by another worker while it was ours",
                        remedy="The worker is started again and reads the state anew.",
                    )
                self.begun(topic, partition, begins[topic])
            nodes.guard(
                {topic: ends[TP(topic, partition)] for topic in self.sources},
                begins,
                said_before=ends[TP(FACTS, partition)] > 0,
                generation=self.generation,
                trusting=alone or (partition in self._kept and nodes.trusting),
            )
        self._stop_waiting_for_trust()
        if not alone:
            self._trusting = asyncio.create_task(self._trust_later())
        self._recovered = set(self.nodes)
        self.recovering = False

    def _stop_waiting_for_trust(self) -> None:
        if self._trusting is not None:
            self._trusting.cancel()

    async def _trust_later(self) -> None:
        """When no predecessor can be at work any more, records need no longer be answered in full."""
        await asyncio.sleep(self._config.grace_s)
        try:
            ends = await self._ends()
        except Exception as error:
            await self._failed(error)
            return
        for partition, nodes in self.nodes.items():
            nodes.trust({topic: ends[TP(topic, partition)] for topic in self.sources})

    async def _ends(self) -> Mapping[TP, int]:
        topics = (*self.sources, FACTS)
        return await self.app.consumer.highwaters(
            *(TP(topic, partition) for topic in topics for partition in self.nodes)
        )

    # --- what a Faust collection must be able to answer ---

    @property
    def data(self) -> StoreT[Any, Any]:
        """There is no store: the nodes are the state."""
        raise NotATable("households are in `nodes`")

    def _has_key(self, key: Any) -> bool:
        return any(key in nodes.households for nodes in self.nodes.values())

    def _get_key(self, key: Any) -> Any:
        for nodes in self.nodes.values():
            if (household := nodes.households.get(key)) is not None:
                return household
        raise KeyError(key)

    def _set_key(self, key: Any, value: Any) -> None:
        raise NotATable("households change by records only")

    def _del_key(self, key: Any) -> None:
        raise NotATable("households change by records only")

    def using_window(self, window: Any, *, key_index: bool = False) -> Any:
        """Not windowed."""
        raise NotATable("households have no windows")

    def hopping(self, size: Any, step: Any, expires: Any = None, key_index: bool = False) -> Any:
        """Not windowed."""
        raise NotATable("households have no windows")

    def tumbling(self, size: Any, expires: Any = None, key_index: bool = False) -> Any:
        """Not windowed."""
        raise NotATable("households have no windows")

    def as_ansitable(self, **_options: Any) -> str:
        """For Faust's own console."""
        return f"{sum(len(nodes.households) for nodes in self.nodes.values())} households"


def producer_of(app: AppT) -> AIOKafkaProducer:
    """The aiokafka producer under Faust's, which Faust flushes before it commits."""
    producer: AIOKafkaProducer = app.producer._ensure_producer()  # type: ignore[attr-defined]
    return producer
