"""The load agent in a real worker: facts, rejections and alerts arrive, whatever is killed meanwhile."""

import signal
import time
from collections.abc import Callable, Iterator

import msgspec
import pytest
from clickhouse_connect.driver.exceptions import ClickHouseError

from models.alerts import Alert
from models.identifier import Identifier
from models.touchpoint import Touchpoint
from models.verdict import Attempt, Facts, JudgedTouchpoint, Verdict
from streams.topics import ALERTS, FACTS, REJECTED, topic_status
from tests.streams.pipeline import Pipeline
from warehouse.connection import client
from warehouse.embedded import EmbeddedWarehouse
from warehouse.migrations import migrate

AT = 1_800_000_000_000


@pytest.fixture
def own() -> Iterator[EmbeddedWarehouse]:
    with EmbeddedWarehouse() as running:
        migrate(running.url)
        yield running


def facts(*ids: str) -> bytes:
    rows = []
    for id in ids:
        t = Touchpoint(
            id=id, source="s", source_instance="x", source_event_id=id, source_type="t", channel="voice",
            type="call_queued", occurred_at=AT, received_at=AT, identifiers=(Identifier("phone", "+491"),),
        )  # fmt: skip
        ended = Attempt("call", "completed", AT)
        verdict = Verdict("c", "j", 1, "Purchase", "stay", "x", False, False, 0, False, attempts=(ended,))
        rows.append(JudgedTouchpoint(t, verdict, 1))
    return msgspec.msgpack.encode(Facts(touchpoints=rows))


def answer(warehouse: EmbeddedWarehouse, question: str) -> list:
    try:
        with client(warehouse.url) as connected:
            return list(connected.query(question).result_rows)
    except (ClickHouseError, OSError):
        return []


def until(pipeline: Pipeline, condition: Callable[[], bool], within_s: float = 60) -> None:
    deadline = time.monotonic() + within_s
    while not condition():
        assert time.monotonic() < deadline, pipeline.explain()
        time.sleep(0.05)


def lag(pipeline: Pipeline, *topics: str) -> int:
    statuses = [one for one in topic_status(pipeline.bootstrap_servers) if one.topic in topics]
    return sum(end - (at or 0) for one in statuses for end, at in zip(one.ends, one.committed, strict=True))


def test_facts_rejections_and_alerts_arrive_and_are_committed(pipeline: Pipeline, own: EmbeddedWarehouse):
    pipeline.start_worker(warehouse_url=own.url)
    for n in range(40):
        pipeline.producer.send(FACTS, facts(f"t{n}"), partition=n % 4).get()
    pipeline.producer.send(REJECTED, b'{"id":"r1","received_at":1,"reason":"bad_time"}', partition=0)
    alert = Alert(
        id="a1", kind="call", channel="voice", opened_at=AT, observed_rate=1, expected_rate=0, attempts=9,
        abandoned=9, probability=1e-9, message="calls",
    )  # fmt: skip
    pipeline.producer.send(ALERTS, msgspec.json.encode(alert), partition=0)
    until(pipeline, lambda: answer(own, "select count() from touchpoints") == [(40,)])
    until(pipeline, lambda: answer(own, "select reason from rejected_touchpoints") == [("bad_time",)])
    until(pipeline, lambda: answer(own, "select id from alerts") == [("a1",)])
    until(pipeline, lambda: answer(own, "select sum(completed) from attempts_1m") == [(40,)])
    until(pipeline, lambda: lag(pipeline, FACTS, REJECTED, ALERTS) == 0)


def test_a_worker_killed_while_the_warehouse_is_away_loses_nothing(
    pipeline: Pipeline, own: EmbeddedWarehouse
):
    worker = pipeline.start_worker(warehouse_url=own.url)
    pipeline.producer.send(FACTS, facts("t0"), partition=0)
    until(pipeline, lambda: answer(own, "select count() from touchpoints") == [(1,)])
    own.stop(signal.SIGKILL)
    for n in range(1, 30):
        pipeline.producer.send(FACTS, facts(f"t{n}"), partition=n % 4).get()
    pipeline.producer.flush()
    until(pipeline, lambda: "takes no rows" in pipeline.log_of(worker))
    worker.kill()
    worker.wait()
    assert lag(pipeline, FACTS) >= 29
    own.start()
    pipeline.start_worker(warehouse_url=own.url)
    until(pipeline, lambda: answer(own, "select count() from touchpoints") == [(30,)])
    until(pipeline, lambda: answer(own, "select sum(completed) from attempts_1m") == [(30,)])
    until(pipeline, lambda: lag(pipeline, FACTS) == 0)
