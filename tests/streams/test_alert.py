"""The alert agent in a real worker: told once, over restarts and over a broker that forgot everything."""

import time
from collections.abc import Callable, Iterator

import msgspec
import pytest
from kafka import KafkaConsumer, TopicPartition

from models.alerts import MINUTE_MS, Abandonment, AbandonmentBucket, Alert, AlertRules
from models.identifier import Identifier
from models.routing import partition_of
from models.touchpoint import Touchpoint
from models.verdict import Attempt, Facts, JudgedTouchpoint, Verdict
from streams.alert import judged
from streams.codecs import encode_abandonment
from streams.putting_back import encode_open_alerts
from streams.topics import ABANDONMENT, ALERTS, FACTS, topic_status
from tests.streams.pipeline import Pipeline
from warehouse.connection import client
from warehouse.embedded import EmbeddedWarehouse
from warehouse.migrations import migrate

DAY_MS = 86_400_000


@pytest.fixture
def own() -> Iterator[EmbeddedWarehouse]:
    with EmbeddedWarehouse() as running:
        migrate(running.url)
        yield running


def calls(name: str, at: int, completed: int, abandoned: int) -> bytes:
    """Facts of calls that ended at `at`."""
    rows = []
    for n in range(completed + abandoned):
        t = Touchpoint(
            id=f"{name}-{n}", source="s", source_instance="x", source_event_id=name, source_type="t",
            channel="voice", type="call_queued", occurred_at=at, received_at=at,
            identifiers=(Identifier("phone", "+491"),),
        )  # fmt: skip
        ended = Attempt("call", "completed" if n < completed else "abandoned", at)
        verdict = Verdict("c", "j", 1, "Purchase", "stay", "x", False, False, 0, False, attempts=(ended,))
        rows.append(JudgedTouchpoint(t, verdict, 1))
    return msgspec.msgpack.encode(Facts(touchpoints=rows))


def until(pipeline: Pipeline, condition: Callable[[], bool], within_s: float = 60) -> None:
    deadline = time.monotonic() + within_s
    while not condition():
        assert time.monotonic() < deadline, pipeline.explain()
        time.sleep(0.05)


def told(pipeline: Pipeline) -> list[Alert]:
    """All alerts in their topic."""
    consumer = KafkaConsumer(
        bootstrap_servers=pipeline.bootstrap_servers, auto_offset_reset="earliest", group_id=None
    )
    consumer.assign([TopicPartition(ALERTS, partition) for partition in range(pipeline.partitions)])
    found: list[Alert] = []
    for _ in range(3):
        for records in consumer.poll(timeout_ms=200).values():
            found += [msgspec.json.decode(record.value, type=Alert) for record in records]
    consumer.close()
    return found


def left_of(pipeline: Pipeline, topic: str) -> int:
    [status] = [one for one in topic_status(pipeline.bootstrap_servers) if one.topic == topic]
    return sum(end - (at or 0) for end, at in zip(status.ends, status.committed, strict=True))


def send_jam(pipeline: Pipeline, name: str, now: int) -> None:
    for n in range(2):
        minute = now - (2 - n) * MINUTE_MS
        pipeline.producer.send(FACTS, calls(f"{name}{n}", minute, 1, 9), partition=n).get()


def test_a_jam_opens_one_alert_also_over_a_restart(pipeline: Pipeline, own: EmbeddedWarehouse):
    now = time.time_ns() // 1_000_000
    worker = pipeline.start_worker(warehouse_url=own.url)
    for day in range(1, 8):
        # a jam of last week, too: history pages nobody
        history = calls(f"history{day}", now - day * DAY_MS, 60 if day < 7 else 0, 3)
        pipeline.producer.send(FACTS, history, partition=day % 4).get()

    def question(sql: str) -> list:
        with client(own.url) as connected:
            return list(connected.query(sql).result_rows)

    until(pipeline, lambda: question("select sum(completed + abandoned) from attempts_1m") == [(381,)])
    assert told(pipeline) == []
    send_jam(pipeline, "jam", now)
    until(
        pipeline,
        lambda: question("select kind, channel, resolved_at from alerts") == [("call", "voice", None)],
    )
    opened = told(pipeline)
    assert len(opened) == 1
    assert opened[0].expected_rate == pytest.approx(0.06, abs=0.03)
    # what it remembers must come from its table, and not from records that are read again
    until(pipeline, lambda: left_of(pipeline, ABANDONMENT) == 0)
    worker.kill()
    worker.wait()
    second = pipeline.start_worker(warehouse_url=own.url)
    pipeline.producer.send(FACTS, calls("more", now - MINUTE_MS // 2, 0, 5), partition=2).get()
    counted = "select count() from touchpoints where startsWith(id, 'more')"
    until(pipeline, lambda: question(counted) == [(5,)])
    key, value = encode_abandonment(Abandonment("call", "chat", [bucket(now, 0, 20)]))
    partition = partition_of(key.decode(), pipeline.partitions)
    pipeline.producer.send(ABANDONMENT, value, key=key, partition=partition).get()
    until(pipeline, lambda: "call abandonment on chat" in pipeline.log_of(second))
    until(pipeline, lambda: len(told(pipeline)) == 2)
    assert sorted(alert.channel for alert in told(pipeline)) == ["chat", "voice"]


def bucket(at: int, completed: int, abandoned: int) -> AbandonmentBucket:
    return AbandonmentBucket(at // MINUTE_MS * MINUTE_MS, "call", "chat", completed, abandoned, 0.05, 500)


def test_seeds_put_open_alerts_back_where_the_agent_looks_for_them():
    now = 1_800_000_000_000
    rules = AlertRules()
    _, opened = judged(None, Abandonment("call", "chat", [bucket(now, 0, 20)]), now, rules)
    assert opened is not None
    ((partition, key, value),) = encode_open_alerts([opened], 8)
    assert (partition, key) == (partition_of("call:chat", 8), b"call:chat")
    seed = msgspec.msgpack.decode(value, type=Abandonment)
    watch, nothing = judged(None, seed, now + 1_000, rules)
    assert nothing is None
    watch, nothing = judged(watch, Abandonment("call", "chat", [bucket(now, 0, 21)]), now + 2_000, rules)
    assert nothing is None, "it is open already"
    _, resolved = judged(watch, Abandonment("call", "chat"), now + 20 * MINUTE_MS, rules)
    assert resolved is not None
    assert (resolved.id, resolved.resolved_at is not None) == (opened.id, True)
