"""A broker, workers as processes of their own, and what they said: for tests on the real thing."""

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Self

import msgspec
from kafka import KafkaConsumer, KafkaProducer, TopicPartition

from models.journey_model import default_model
from models.routing import partition_of, routing_key, topic_of
from models.touchpoint import Clock, Element, Record, Touchpoint
from models.verdict import Attempt, Facts
from streams.topics import CHANNEL_TOPICS, FACTS, INBOX, REJECTED, create_topics, topic_status
from tests.streams.scheduler import archived, keyed, plain

MODEL = default_model()
PARTITIONS = 4
HERE = Path(__file__).parent


class Pipeline:
    """The topics of one broker; publish, read what was said, start and kill workers."""

    def __init__(self, bootstrap_servers: str, partitions: int = PARTITIONS) -> None:
        self.bootstrap_servers = bootstrap_servers
        self.partitions = partitions
        self.folder = tempfile.TemporaryDirectory()
        create_topics(bootstrap_servers, partitions)
        self.producer = KafkaProducer(bootstrap_servers=bootstrap_servers)
        self._facts = self._consumer(FACTS)
        self._rejected = self._consumer(REJECTED)
        self.rows: dict[Any, Any] = {}
        self.attempts: list[Attempt] = []  # as they were ever said
        self.watermarks: dict[int, int] = {}
        self.archive: set[bytes] = set()
        self.rejected: list[dict[str, Any]] = []
        self._workers: list[subprocess.Popen[bytes]] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_exception: object) -> None:
        for worker in self._workers:
            worker.kill()
            worker.wait()
        self.producer.close()
        self._facts.close()
        self._rejected.close()
        self.folder.cleanup()

    def _consumer(self, topic: str) -> KafkaConsumer:
        consumer = KafkaConsumer(bootstrap_servers=self.bootstrap_servers, auto_offset_reset="earliest")
        consumer.assign([TopicPartition(topic, partition) for partition in range(self.partitions)])
        return consumer

    # --- publishing ---

    def publish(self, records: Sequence[Record], partition: int, channel: str = "web", **more: Any) -> None:
        self.publish_bytes(msgspec.json.encode(records), partition, channel, **more)

    def publish_bytes(self, value: bytes, partition: int, channel: str = "web", **more: Any) -> None:
        self.producer.send(topic_of(channel), value, partition=partition, **more)

    def publish_routed(self, elements: Iterable[Element]) -> None:
        """Each where it belongs, one record per element."""
        for element in elements:
            key = routing_key(element.identifiers, MODEL.identifier_order)
            channel = element.channel if isinstance(element, Touchpoint) else "web"
            self.publish([element], partition_of(key, self.partitions), channel)

    def clock(self, at: int) -> None:
        for partition in range(self.partitions):
            self.publish([Clock(at=at, source="test")], partition)

    # --- workers ---

    def start_worker(self, *, fault: str | None = None, **config: Any) -> subprocess.Popen[bytes]:
        """`fault`: a name of `faulty_worker.FAULTS`, put into the worker."""
        number = len(self._workers)
        given = {"live": False, "data_dir": f"{self.folder.name}/{number}", "zombie_grace_s": 3.0, **config}
        program = ["worker_process.py"] if fault is None else ["faulty_worker.py", fault]
        command = [
            sys.executable, str(HERE / program[0]), *program[1:], self.bootstrap_servers, str(self.partitions),
            *(f"{name}={msgspec.json.encode(value).decode()}" for name, value in given.items()),
        ]  # fmt: skip
        environment = {**os.environ, "PYTHONPATH": str(HERE.parent.parent)}
        with Path(self.folder.name, f"{number}.log").open("wb") as log:
            worker = subprocess.Popen(command, stdout=log, stderr=subprocess.STDOUT, env=environment)
        self._workers.append(worker)
        return worker

    def await_ready(self, worker: subprocess.Popen[bytes]) -> None:
        self.read_until(lambda: "Worker ready" in self.log_of(worker))

    def log_of(self, worker: subprocess.Popen[bytes]) -> str:
        return Path(self.folder.name, f"{self._workers.index(worker)}.log").read_text(errors="replace")

    # --- what was said ---

    def read(self) -> None:
        """Take in what was said up to now."""
        for records in self._facts.poll(timeout_ms=200).values():
            for record in records:
                self._load(msgspec.msgpack.decode(record.value, type=Facts))
        for records in self._rejected.poll(timeout_ms=20).values():
            self.rejected += [msgspec.json.decode(record.value) for record in records]

    def _load(self, facts: Facts) -> None:
        self.attempts += [attempt for row in facts.touchpoints for attempt in row.verdict.attempts]
        self.watermarks.update(facts.watermarks)
        for key, row in keyed(facts):
            known = self.rows.get(key)
            if known is None or row.version >= known.version:
                self.rows[key] = row
        self.archive |= archived(facts)

    def standing(self) -> dict[Any, Any]:
        rows = {key: plain(row) for key, row in self.rows.items() if not getattr(row, "deleted", False)}
        return {**rows, **dict.fromkeys(self.archive, True)}

    def journeys(self) -> set[tuple[str, ...]]:
        """The touchpoints of each journey, in order."""
        return {row.touchpoint_ids for key, row in self.standing().items() if key[0] == "journey"}

    def read_until(self, condition: Callable[[], bool], within_s: float = 60.0) -> None:
        deadline = time.monotonic() + within_s
        while not condition():
            assert time.monotonic() < deadline, self.explain()
            self.read()

    def explain(self) -> str:
        logs = "\n".join(self.log_of(worker)[-3000:] for worker in self._workers)
        return f"not reached; {len(self.rows)} rows, lag {self.lag()}\n{logs}"

    def lag(self) -> int:
        """Records of the sources that are not committed."""
        return sum(
            end - (at or 0)
            for status in topic_status(self.bootstrap_servers)
            if status.topic in (*CHANNEL_TOPICS, INBOX)
            for end, at in zip(status.ends, status.committed, strict=True)
        )

    def read_to_the_end(self, within_s: float = 60.0) -> None:
        """Until all was handled and committed, and what was said is read."""
        deadline = time.monotonic() + within_s
        while self.lag() > 0:
            assert time.monotonic() < deadline, self.explain()
            self.read()
        for _ in range(3):
            self.read()


@contextmanager
def pipeline(bootstrap_servers: str, partitions: int = PARTITIONS) -> Iterator[Pipeline]:
    with Pipeline(bootstrap_servers, partitions) as running:
        yield running
