"""The stitch agent on the embedded broker, and beside it what others make of the same touchpoints.

The clock stops when the last record is answered for: its verdicts and its changelog entries are with the broker
and its offset is committed. The others find all records in the topics. The agent is measured twice: with records
that are published as fast as they can be while it works, and with records that lay there when it started, which
a predecessor may have handled, so that it says more of them.
"""

import subprocess
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

import httpx
import msgspec
import psutil
from kafka import KafkaProducer
from kafka.admin import KafkaAdminClient, NewTopic

from benchmarks.figures import Figure
from benchmarks.programs import BenchmarkError, cpu_seconds, free_port, program, rate_of
from benchmarks.traffic import Published, keyed, published
from ingest.packing import Packed
from models.routing import partition_of
from streams.embedded_broker import EmbeddedBroker
from streams.topics import GROUP, create_topics

ELEMENTS = 200_000
NAIVE_ELEMENTS = 20_000
PARTITIONS = 8
PATIENCE_S = 400.0


def measure() -> list[Figure]:
    """Touchpoints per second of the stitch agent, of a naive one, and of a bare consumer."""
    traffic = published(ELEMENTS, PARTITIONS)
    stitched, behind = stitch(traffic, lies_ready=False), stitch(traffic)
    rate = traffic.elements / stitched.seconds
    cpu_us = 1e6 * stitched.cpu_seconds / traffic.elements
    bare = _alone(
        "plain_loop",
        [(one.key.decode(), one.partition, one.value) for one in traffic.records],
        traffic.elements,
    )
    singly = [
        (key, partition_of(key, PARTITIONS), msgspec.json.encode(element))
        for key, element in keyed(NAIVE_ELEMENTS)
    ]
    naive = _alone("naive_agent", singly, len(singly))
    return [
        Figure("stitch_agent", rate, "touchpoints/s", f"{rate / naive:.1f} × the naive agent"),
        Figure("stitch_agent_cpu", cpu_us, "µs/touchpoint", "CPU of the worker"),
        Figure("stitch_agent_per_core", 1e6 / cpu_us, "touchpoints/s", "per second of its CPU; to be 20,000"),
        Figure(
            "stitch_agent_behind",
            traffic.elements / behind.seconds,
            "touchpoints/s",
            f"catching up after a restart; {traffic.elements / behind.seconds / naive:.1f} × the naive agent",
        ),
        Figure(
            "naive_faust_agent", naive, "touchpoints/s", "one record each, an ordinary table, counting only"
        ),
        Figure(
            "plain_aiokafka_msgspec_loop",
            bare,
            "touchpoints/s",
            "the limit: reads and decodes, keeps nothing",
        ),
    ]


class Stitched(NamedTuple):
    """What the stitch agent took for some traffic: wall clock, its CPU, and its memory when it was at most."""

    seconds: float
    cpu_seconds: float
    peak_bytes: int


def stitch(traffic: Published, *, lies_ready: bool = True) -> Stitched:
    """Have a worker of its own, on a broker of its own, stitch all of it. BenchmarkError.

    What lies ready when a worker starts may have been handled by another one, and it keeps more of it.
    """
    first = traffic.records if lies_ready else traffic.records[:1]
    port = free_port()
    peak = 0
    with EmbeddedBroker() as broker, tempfile.TemporaryDirectory() as folder:
        create_topics(broker.bootstrap_servers, PARTITIONS)
        _publish(broker.bootstrap_servers, first)
        expected = Counter((one.topic, one.partition) for one in traffic.records)
        with program("stitch_worker", broker.bootstrap_servers, PARTITIONS, folder, port) as worker:
            deadline = time.monotonic() + PATIENCE_S
            _until(lambda: _taken(port) > 0, worker, deadline)
            begun, cpu = time.perf_counter(), cpu_seconds(worker)
            _publish(broker.bootstrap_servers, traffic.records[len(first) :])
            admin = KafkaAdminClient(bootstrap_servers=broker.bootstrap_servers)

            def done() -> bool:
                nonlocal peak
                peak = max(peak, psutil.Process(worker.pid).memory_info().rss)
                return _committed(admin, expected)

            _until(done, worker, deadline)
            seconds, cpu = time.perf_counter() - begun, cpu_seconds(worker) - cpu
            admin.close()
    return Stitched(seconds, cpu, peak)


def _taken(port: int) -> float:
    """How many elements the worker has taken; 0 before it answers."""
    try:
        said = httpx.get(f"http://127.0.0.1:{port}/metrics").text
    except httpx.TransportError:
        return 0.0
    lines = (line for line in said.splitlines() if line.startswith("desireline_touchpoints_stitched_total{"))
    return sum(float(line.split()[-1]) for line in lines)


def _committed(admin: KafkaAdminClient, expected: Mapping[tuple[str, int], int]) -> bool:
    committed = admin.list_group_offsets({GROUP: None}).get(GROUP, {})
    at = {(place.topic, place.partition): said.offset for place, said in committed.items()}
    return all(at.get(place, 0) >= count for place, count in expected.items())


def _until(done: Callable[[], bool], process: subprocess.Popen[str], deadline: float) -> None:
    while not done():
        if process.poll() is not None or time.monotonic() > deadline:
            raise BenchmarkError(f"{process.args!r} did not do its work")
        time.sleep(0.02)


def _alone(name: str, records: Sequence[tuple[str, int, bytes]], count: int) -> float:
    """Touchpoints per second that a program says of itself, on a broker of its own that holds the records."""
    topic = "touchpoints"
    with EmbeddedBroker() as broker:
        admin = KafkaAdminClient(bootstrap_servers=broker.bootstrap_servers)
        admin.create_topics([NewTopic(name=topic, num_partitions=PARTITIONS, replication_factor=1)])
        admin.close()
        producer = KafkaProducer(bootstrap_servers=broker.bootstrap_servers, compression_type="lz4")
        for key, partition, value in records:
            producer.send(topic, value, key.encode(), partition=partition)
        producer.flush()
        producer.close()
        with program(name, broker.bootstrap_servers, topic, PARTITIONS, count) as process:
            return rate_of(process, PATIENCE_S)


def _publish(bootstrap_servers: str, records: Sequence[Packed]) -> None:
    producer = KafkaProducer(bootstrap_servers=bootstrap_servers, compression_type="lz4", acks="all")
    for one in records:
        producer.send(one.topic, one.value, one.key, partition=one.partition)
    producer.flush()
    producer.close()
