"""From the spool to a real broker, which may be away, forget everything, or be set up otherwise."""

import json
import subprocess
import sys
import textwrap
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
from kafka.admin import KafkaAdminClient, NewTopic

from ingest.rejection import Rejection
from ingest.routes import map_delivered
from ingest.spool import Delivered, Spool, published_position, read_spool
from models.identifier import Identifier
from models.journey_model import default_model
from models.routing import partition_of, routing_key
from streams.embedded_broker import EmbeddedBroker
from streams.topics import CHANNEL_TOPICS, REJECTED, create_topics
from tests.ingest.collector_process import SECRET, CollectorProcess
from tests.ingest.kafka_reader import elements, read_topics

PARTITIONS = 4


@pytest.fixture
def fresh() -> Iterator[EmbeddedBroker]:
    """A broker of the test's own, with topics."""
    with EmbeddedBroker() as broker:
        create_topics(broker.bootstrap_servers, PARTITIONS)
        yield broker


def calls(*numbers: int, **fields: Any) -> dict[str, Any]:
    said = {"type": "track", "event": "Product Added", **fields}
    return {"batch": [{**said, "userId": f"u-{n}", "messageId": f"m-{n}"} for n in numbers]}


def published(broker: EmbeddedBroker) -> list[dict[str, Any]]:
    return elements(read_topics(broker.bootstrap_servers, *CHANNEL_TOPICS, partitions=PARTITIONS))


def names(broker: EmbeddedBroker) -> set[str]:
    return {element["source_event_id"] for element in published(broker)}


def test_what_is_answered_comes_to_its_topic_and_partition(fresh: EmbeddedBroker, tmp_path: Path) -> None:
    with CollectorProcess(tmp_path, fresh.bootstrap_servers, partitions=PARTITIONS) as collector:
        collector.post("/v1/batch", calls(*range(200)))
        collector.post("/v1/batch", calls(*range(200, 250), event="Call Queued"))
        collector.post("/v1/batch", {"batch": [{"type": "trak"}]})
        collector.await_published()
        records = read_topics(fresh.bootstrap_servers, *CHANNEL_TOPICS, partitions=PARTITIONS)
        assert {record.topic for record in records} == {"touchpoints.web", "touchpoints.voice"}
        order = default_model().identifier_order
        for record in records:
            for element in record.value:
                identifiers = msgspec.convert(element["identifiers"], list[Identifier])
                assert partition_of(routing_key(identifiers, order), PARTITIONS) == record.partition
        assert {element["source_event_id"] for element in elements(records)} == {f"m-{n}" for n in range(250)}
        assert max(len(record.value) for record in records) > 10  # they travel together
        [refused] = read_topics(fresh.bootstrap_servers, REJECTED, partitions=PARTITIONS)
        assert msgspec.convert(refused.value, Rejection).reason == "unknown_type"
        assert collector.ready()["broker"] == "ok"


def test_the_same_is_published_as_the_spool_says_when_it_is_read(
    fresh: EmbeddedBroker, tmp_path: Path
) -> None:
    with CollectorProcess(tmp_path, fresh.bootstrap_servers, partitions=PARTITIONS) as collector:
        collector.post("/v1/batch", calls(1, 2, 3))
        collector.post("/v1/track", {"event": "Nobody"})
        collector.await_published()
    mapped = [map_delivered(entry.delivered, default_model()) for entry in read_spool(tmp_path)]
    said = json.loads(msgspec.json.encode([record for one in mapped for record in one.records]))
    by_id = {element["id"]: element for element in published(fresh)}
    assert by_id == {element["id"]: element for element in said}
    [refused] = read_topics(fresh.bootstrap_servers, REJECTED, partitions=PARTITIONS)
    [rejection] = [rejection for one in mapped for rejection in one.rejected]
    assert msgspec.convert(refused.value, Rejection) == rejection


def test_while_the_broker_is_away_all_is_taken_and_published_once_it_is_there(
    fresh: EmbeddedBroker, tmp_path: Path
) -> None:
    port = fresh.port
    fresh.stop()
    with CollectorProcess(tmp_path, f"127.0.0.1:{port}", partitions=PARTITIONS) as collector:
        for start in range(0, 300, 100):
            assert collector.post("/v1/batch", calls(*range(start, start + 100))).json()["accepted"] == 100
        await_broker(collector, "away")
        with EmbeddedBroker(port) as back:
            create_topics(back.bootstrap_servers, PARTITIONS)
            collector.await_published()
            assert names(back) == {f"m-{n}" for n in range(300)}
            await_broker(collector, "ok")


def test_a_broker_that_comes_back_with_nothing_is_published_to_again(
    fresh: EmbeddedBroker, tmp_path: Path
) -> None:
    with CollectorProcess(tmp_path, fresh.bootstrap_servers, partitions=PARTITIONS) as collector:
        collector.post("/v1/batch", calls(1))
        collector.await_published()
        fresh.kill()
        collector.post("/v1/batch", calls(2))
        time.sleep(0.3)
        with EmbeddedBroker(fresh.port) as back:  # it knows neither topics nor our producer
            collector.post("/v1/batch", calls(3))
            time.sleep(0.3)
            create_topics(back.bootstrap_servers, PARTITIONS)
            collector.await_published(60)
            assert {"m-2", "m-3"} <= names(back)


def test_topics_are_waited_for_and_never_made_with_another_number_of_partitions(tmp_path: Path) -> None:
    with (
        EmbeddedBroker() as broker,
        CollectorProcess(tmp_path, broker.bootstrap_servers, partitions=PARTITIONS) as collector,
    ):
        collector.post("/v1/batch", calls(1))
        await_broker(collector, "away", within_s=30)
        assert "touchpoints.web" not in topics_of(broker)
        create_topics(broker.bootstrap_servers, PARTITIONS)
        collector.await_published(60)
        assert names(broker) == {"m-1"}


def test_topics_with_another_number_of_partitions_are_said_and_nothing_goes_astray(tmp_path: Path) -> None:
    with EmbeddedBroker() as broker:
        admin = KafkaAdminClient(bootstrap_servers=broker.bootstrap_servers)
        admin.create_topics([NewTopic(name="touchpoints.web", num_partitions=2, replication_factor=1)])
        admin.close()
        with CollectorProcess(tmp_path, broker.bootstrap_servers, partitions=PARTITIONS) as collector:
            collector.post("/v1/batch", calls(1))
            await_broker(collector, "away")
            assert 'topic "touchpoints.web" has 2 partitions, and 4 are set' in collector.ready()["fault"]
            assert collector.ready()["ready"]
        assert not read_topics(broker.bootstrap_servers, "touchpoints.web", partitions=2)


def test_after_a_kill_what_was_answered_is_published_and_nothing_else_changes(
    fresh: EmbeddedBroker, tmp_path: Path
) -> None:
    collector = CollectorProcess(tmp_path, fresh.bootstrap_servers, partitions=PARTITIONS)
    collector.start()
    for start in range(0, 2_000, 100):
        assert collector.post("/v1/batch", calls(*range(start, start + 100))).status_code == 200
    collector.kill()
    collector.start()
    collector.await_published()
    collector.end()
    found = [element for element in published(fresh) if element["source_event_id"].startswith("m-")]
    assert {element["source_event_id"] for element in found} == {f"m-{n}" for n in range(2_000)}
    same = {json.dumps(element, sort_keys=True) for element in found}
    assert len(same) == 2_000  # what was published twice says the same, to the letter
    end = list(read_spool(tmp_path))[-1].end
    assert published_position(tmp_path) == end


def test_a_damaged_entry_costs_its_segment_and_not_what_follows(
    fresh: EmbeddedBroker, tmp_path: Path
) -> None:
    spool = Spool(tmp_path, limit_bytes=10**9, segment_bytes=1_000)
    for number in range(40):
        body = json.dumps(calls(number)).encode()
        spool.append(Delivered(f"d-{number}", 1_700_000_000_000, "batch", "shop", {}, body)).result()
    spool.close()
    first = sorted(tmp_path.glob("*.spool"))[0]
    content = bytearray(first.read_bytes())
    content[20] ^= 255
    first.write_bytes(content)
    with CollectorProcess(tmp_path, fresh.bootstrap_servers, partitions=PARTITIONS) as collector:
        collector.await_published()
        assert collector.post("/v1/batch", calls(100)).status_code == 200
        collector.await_published()
    found = names(fresh)
    assert {"m-39", "m-100"} <= found
    assert len(found) > 30


def test_the_real_segment_client_sends_web_chat_and_voice(fresh: EmbeddedBroker, tmp_path: Path) -> None:
    program = textwrap.dedent("""
        import sys
        from segment.analytics.client import Client

        client = Client("key-of-the-shop", host=sys.argv[1], gzip=sys.argv[2] == "gzip", max_retries=1)
        failed = []
        client.on_error = lambda error, batch: failed.append(error)
        tag = sys.argv[2]
        said = [
            (client.page, "a", {"name": "Home", "properties": {"url": "https://shop.example/"}}),
            (client.track, "a", {"event": "Product Added", "properties": {"price": 5, "currency": "EUR"}}),
            (client.track, "c", {"event": "chat_started", "properties": {"email": "a@b.org"}}),
            (client.track, "v", {"event": "Call Queued", "properties": {"channel": "voice", "phone": "+44"}}),
        ]
        for number, (call, anonymous_id, fields) in enumerate(said):
            call(anonymous_id=anonymous_id, message_id=f"{tag}-{number}", **fields)
        client.identify("u", {"email": "a@b.org"}, anonymous_id="a", message_id=f"{tag}-5")
        client.alias("a", "u", message_id=f"{tag}-6")
        client.group("u", "acct", message_id=f"{tag}-7")
        client.flush()
        client.join()
        sys.exit(bool(failed))
    """)
    with CollectorProcess(tmp_path, fresh.bootstrap_servers, partitions=PARTITIONS) as collector:
        for encoding in ("plain", "gzip"):
            done = subprocess.run(
                [sys.executable, "-c", program, collector.url, encoding],
                timeout=60, capture_output=True, check=False,
            )  # fmt: skip
            assert done.returncode == 0, done.stderr.decode()
        collector.await_published()
    found = published(fresh)
    types = sorted((element["channel"], element["type"]) for element in found if "type" in element)
    assert types == sorted(
        2 * [("web", "page_view"), ("web", "add_to_cart"), ("chat", "chat_started"), ("voice", "call_queued")]
    )
    reasons = sorted(element.get("reason", "identify") for element in found if "type" not in element)
    assert reasons == sorted(2 * ["identify", "alias", "group"])
    assert not read_topics(fresh.bootstrap_servers, REJECTED, partitions=PARTITIONS)


def test_the_simulators_signature_is_the_one_that_is_checked(tmp_path: Path) -> None:
    from ingest.simulation.sender import stripe_headers

    body = b'{"id": "evt", "type": "x", "data": {"object": {"customer": "c"}}}'
    with CollectorProcess(tmp_path) as collector:
        headers = stripe_headers(SECRET, body, int(time.time()))
        assert (
            collector.client.post(
                f"{collector.url}/webhooks/stripe", content=body, headers=headers
            ).status_code
            == 200
        )


def topics_of(broker: EmbeddedBroker) -> list[str]:
    admin = KafkaAdminClient(bootstrap_servers=broker.bootstrap_servers)
    try:
        found: list[str] = list(admin.list_topics())
        return found
    finally:
        admin.close()


def await_broker(collector: CollectorProcess, state: str, within_s: float = 20) -> None:
    deadline = time.monotonic() + within_s
    while (said := collector.ready())["broker"] != state:
        assert time.monotonic() < deadline, said
        time.sleep(0.05)
