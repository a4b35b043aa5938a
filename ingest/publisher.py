"""From the spool to Kafka: at least once, in records that each carry many touchpoints.

A Faust agent pays per record, so touchpoints that share a topic and a partition travel together. What was
just
collected is handed over in memory; after a restart, or when the broker was away, it is read from the spool
and mapped again, which gives the same.
"""

import logging
import threading
import time
from collections import defaultdict, deque
from collections.abc import Iterable, Sequence
from typing import Any

import msgspec
from kafka import KafkaProducer
from kafka.errors import KafkaError

from ingest import metrics
from ingest.config import CollectorConfig
from ingest.mapped import Mapped
from ingest.rejection import Rejection
from ingest.routes import map_with
from ingest.spool import Spool, published_position, read_spool, write_published_position
from models.identifier import IdentifierOrder
from models.routing import partition_of, routing_key, topic_of
from models.touchpoint import Clock, Record

log = logging.getLogger(__name__)

REJECTED = "touchpoints.rejected"
FILE_HEADER = "desireline-file"
RECORD_TOUCHPOINTS = 500
RECORD_BYTES = 500_000
_LINGER_S = 0.025
_TOGETHER = 5_000  # touchpoints that are published and acknowledged together
_HANDED_OVER = 50_000  # touchpoints that may wait in memory; beyond, the spool is read again
_MOST_PATIENCE_S = 15.0
_TAIL_EVERY_S = 60.0

_encode = msgspec.json.Encoder().encode


class Packed(msgspec.Struct, frozen=True):
    """One Kafka record."""

    topic: str
    partition: int
    key: bytes
    value: bytes
    from_file: bool


def pack(mapped: Iterable[Mapped], order: IdentifierOrder, partitions: int) -> list[Packed]:
    """Kafka records of at most 500 touchpoints and 500 kB (a larger touchpoint goes alone)."""
    groups: dict[tuple[str, int, bool], list[tuple[str, bytes]]] = defaultdict(list)
    rejected: list[Rejection] = []
    for records, refused, from_file in mapped:
        for record in records:
            _route(record, order, partitions, from_file, groups)
        rejected += refused
    packed = []
    for (topic, partition, from_file), items in groups.items():
        for some in _chunks(items):
            value = b"[" + b",".join(item for _, item in some) + b"]"
            packed.append(Packed(topic, partition, some[0][0].encode(), value, from_file))
    for refusal in rejected:
        partition = partition_of(refusal.id, partitions)
        packed.append(Packed(REJECTED, partition, refusal.id.encode(), _encode(refusal), False))
    return packed


def _route(
    record: Record,
    order: IdentifierOrder,
    partitions: int,
    from_file: bool,
    groups: dict[tuple[str, int, bool], list[tuple[str, bytes]]],
) -> None:
    encoded = _encode(record)
    if isinstance(record, Clock):
        # event time has passed for everyone
        for partition in range(partitions):
            groups[topic_of("web"), partition, False].append((record.source, encoded))
        return
    key = routing_key(record.identifiers, order)
    channel = getattr(record, "channel", "web")
    groups[topic_of(channel), partition_of(key, partitions), from_file].append((key, encoded))


def _chunks(items: Sequence[tuple[str, bytes]]) -> Iterable[list[tuple[str, bytes]]]:
    chunk: list[tuple[str, bytes]] = []
    size = 0
    for item in items:
        if chunk and (len(chunk) >= RECORD_TOUCHPOINTS or size + len(item[1]) > RECORD_BYTES):
            yield chunk
            chunk, size = [], 0
        chunk.append(item)
        size += len(item[1]) + 1
    if chunk:
        yield chunk


class Publisher:
    """Follows a spool in a thread of its own. `offer` is the spool's `on_commit`."""

    def __init__(self, config: CollectorConfig) -> None:
        self._config = config
        self._position = published_position(config.spool_dir)
        self._waiting: deque[tuple[int, int, Mapped]] = deque()
        self._waiting_touchpoints = 0
        self._spooled_to = self._position
        self._changed = threading.Condition()
        self._stopping = False
        self._spool: Spool | None = None
        self.broker_away_since: float | None = None
        self._thread = threading.Thread(target=self._run, name="publisher", daemon=True)

    @property
    def unpublished_bytes(self) -> int:
        """What the spool holds and the broker has not taken."""
        return max(0, self._spooled_to - self._position)

    def start(self, spool: Spool) -> None:
        """Begin with what an earlier run left."""
        self._spool = spool
        self._spooled_to = spool.end
        self._thread.start()

    def stop(self, patience_s: float = 5.0) -> None:
        """Publish what waits, for at most so long; the rest stays in the spool."""
        with self._changed:
            self._stopping = True
            self._changed.notify()
        self._thread.join(patience_s)

    def offer(self, position: int, end: int, mapped: Any) -> None:
        """Hand over what was committed to the spool."""
        with self._changed:
            self._spooled_to = end
            if isinstance(mapped, Mapped) and self._waiting_touchpoints < _HANDED_OVER:
                self._waiting.append((position, end, mapped))
                self._waiting_touchpoints += len(mapped.records)
            self._changed.notify()

    def _run(self) -> None:
        producer: KafkaProducer | None = None
        patience_s = 0.25
        dropped_at = time.monotonic()
        while True:
            end, batch = self._next()
            if not batch:
                if self._stopping:
                    break
                continue
            try:
                producer = producer or self._connect()
                self._publish(producer, batch)
            except KafkaError as error:
                if self.broker_away_since is None:
                    self.broker_away_since = time.monotonic()
                    log.warning("the broker takes nothing (%s); touchpoints wait in the spool", error)
                metrics.PUBLISH_FAILURES.inc()
                producer = self._disconnect(producer)
                self._return(batch)
                if self._stopping:
                    break
                time.sleep(patience_s)
                patience_s = min(patience_s * 2, _MOST_PATIENCE_S)
                continue
            if self.broker_away_since is not None:
                log.info("the broker takes touchpoints again")
            self.broker_away_since, patience_s = None, 0.25
            self._position = end
            write_published_position(self._config.spool_dir, end)
            metrics.UNPUBLISHED_BYTES.set(self.unpublished_bytes)
            if self._spool is not None and time.monotonic() - dropped_at > _TAIL_EVERY_S:
                dropped_at = time.monotonic()
                self._spool.drop_before(end, older_than_days=self._config.spool_days)
        self._disconnect(producer)

    def _next(self) -> tuple[int, list[tuple[int, int, Mapped]]]:
        """The entries to publish next, and the position behind them; none after a while without any."""
        with self._changed:
            if not self._waiting and self._spooled_to <= self._position and not self._stopping:
                self._changed.wait(0.5)
            if not self._waiting and self._spooled_to <= self._position:
                return self._position, []
            early = self._waiting_touchpoints < _TOGETHER and not self._stopping
        if early:
            time.sleep(_LINGER_S)
        batch: list[tuple[int, int, Mapped]] = []
        touchpoints = 0
        with self._changed:
            while self._waiting and self._waiting[0][0] < self._position:
                self._waiting_touchpoints -= len(self._waiting.popleft()[2].records)
            at = self._position
            while self._waiting and self._waiting[0][0] == at and touchpoints < _TOGETHER:
                entry = self._waiting.popleft()
                batch.append(entry)
                at = entry[1]
                touchpoints += len(entry[2].records)
            self._waiting_touchpoints -= touchpoints
        return (at, batch) if batch else self._read()

    def _read(self) -> tuple[int, list[tuple[int, int, Mapped]]]:
        """From the spool: what was not handed over."""
        batch: list[tuple[int, int, Mapped]] = []
        touchpoints, at = 0, self._position
        for entry in read_spool(self._config.spool_dir, self._position):
            mapped = map_with(self._config, entry.delivered)
            batch.append((entry.position, entry.end, mapped))
            at = entry.end
            touchpoints += len(mapped.records)
            if touchpoints >= _TOGETHER:
                break
        return at, batch

    def _return(self, batch: list[tuple[int, int, Mapped]]) -> None:
        with self._changed:
            self._waiting.extendleft(reversed(batch))
            self._waiting_touchpoints += sum(len(mapped.records) for _, _, mapped in batch)

    def _publish(self, producer: KafkaProducer, batch: list[tuple[int, int, Mapped]]) -> None:
        config = self._config
        packed = pack((mapped for _, _, mapped in batch), config.model.identifier_order, config.partitions)
        futures = [
            producer.send(
                record.topic,
                value=record.value,
                key=record.key,
                partition=record.partition,
                headers=[(FILE_HEADER, b"1")] if record.from_file else [],
            )
            for record in packed
        ]
        producer.flush(timeout=30)
        for future in futures:
            future.get(timeout=30)
        metrics.PUBLISHED_RECORDS.inc(len(packed))

    def _connect(self) -> KafkaProducer:
        return KafkaProducer(
            bootstrap_servers=self._config.bootstrap_servers.split(","),
            acks="all",
            linger_ms=2,
            batch_size=1_000_000,
            max_request_size=2_000_000,
            max_block_ms=10_000,
            request_timeout_ms=15_000,
            delivery_timeout_ms=30_000,
            reconnect_backoff_max_ms=2_000,
        )

    @staticmethod
    def _disconnect(producer: KafkaProducer | None) -> None:
        if producer is not None:
            producer.close(timeout=1)
