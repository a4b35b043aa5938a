"""What left the state comes back from the real archive when something reaches behind it."""

from collections.abc import Callable, Iterator, Sequence

import msgspec
import pytest
from kafka import KafkaConsumer, TopicPartition

from models.identifier import Identifier
from models.touchpoint import Correction, Element, Identification, Touchpoint
from streams import codecs
from streams.embedded_broker import EmbeddedBroker
from streams.putting_back import encode_watermark
from streams.topics import FACTS, HOUSEHOLDS_CHANGELOG, INBOX, topic_status
from tests.streams.pipeline import MODEL, Pipeline
from tests.streams.scheduler import wanted
from warehouse.embedded import EmbeddedWarehouse
from warehouse.migrations import migrate

DAY = 86_400_000
NOW = 1_800_000_000_000


@pytest.fixture
def own() -> Iterator[EmbeddedWarehouse]:
    with EmbeddedWarehouse() as running:
        migrate(running.url)
        yield running


class Person:
    """Somebody whose story began long ago under three names, and has gone on lately."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.user = Identifier("user_id", name)
        self.cookie = Identifier("anonymous_id", f"{name}-cookie")
        self.phone = Identifier("phone", f"+44207946{sum(map(ord, name)):04}")
        self.long_ago = [
            self.touchpoint("t1", 400, type="product_view"),
            self.touchpoint("t2", 399.9, type="purchase"),
            self.touchpoint("t3", 300, self.cookie, type="add_to_cart"),
            self.touchpoint("t4", 290, self.phone, type="call_queued", channel="voice"),
            self.touchpoint("t5", 280, type="subscription_cancelled", channel="billing"),
        ]
        self.lately = [self.touchpoint("t6", 2), self.touchpoint("t7", 1, type="add_to_cart")]

    def touchpoint(
        self, id: str, days_ago: float, *names: Identifier, type: str = "page_view", channel: str = "web"
    ) -> Touchpoint:
        at = NOW - int(days_ago * DAY)
        return Touchpoint(
            id=f"{self.name}-{id}", source="test", source_instance="shop", source_event_id=id,
            source_type="test", channel=channel, type=type, occurred_at=at, received_at=at,
            identifiers=names or (self.user,),
        )  # fmt: skip


LATE: dict[str, Callable[[Person], Element]] = {
    "touchpoint": lambda one: one.touchpoint("t8", 395, type="error_seen"),
    "link": lambda one: Identification(
        id="i1", source="test", source_instance="shop", channel="web", at=NOW - 500 * DAY, received_at=NOW,
        identifiers=(one.user, one.cookie),
    ),
    "merge": lambda one: Correction(
        id="k1", relation="same", identifiers=(one.user, one.phone), at=NOW, author="bo"
    ),
    "copy": lambda one: msgspec.structs.replace(one.long_ago[0], source_updated_at=5, outcome="failure"),
}  # fmt: skip


def trims(pipeline: Pipeline) -> int:
    """How often a household's closed journeys left the state, by the changelog."""
    consumer = KafkaConsumer(bootstrap_servers=pipeline.bootstrap_servers)
    try:
        places = [TopicPartition(HOUSEHOLDS_CHANGELOG, n) for n in range(pipeline.partitions)]
        consumer.assign(places)
        consumer.seek_to_beginning(*places)
        keys = [record.key for some in consumer.poll(2000, 10_000).values() for record in some]
        return sum(codecs.decode_entry_key(key).kind == "t" for key in keys)
    finally:
        consumer.close()


def loaded(pipeline: Pipeline) -> bool:
    """Whether all that was said is in the warehouse."""
    facts = next(one for one in topic_status(pipeline.bootstrap_servers) if one.topic == FACTS)
    return all((at or 0) >= end for at, end in zip(facts.committed, facts.ends, strict=True))


def stands(pipeline: Pipeline, elements: Sequence[Element]) -> bool:
    return pipeline.standing() == wanted(elements, NOW, MODEL)


def test_what_reaches_behind_corrects_the_past(pipeline: Pipeline, own: EmbeddedWarehouse) -> None:
    people = {name: Person(name) for name in LATE}
    happened: list[Element] = [t for one in people.values() for t in (*one.long_ago, *one.lately)]
    worker = pipeline.start_worker(warehouse_url=own.url, zombie_grace_s=0)
    pipeline.publish_routed(happened)
    pipeline.read_until(lambda: len(pipeline.journeys()) > 3)
    pipeline.clock(NOW)
    pipeline.read_until(lambda: stands(pipeline, happened))
    pipeline.read_until(lambda: trims(pipeline) >= 3 * len(people))
    worker.kill()
    worker.wait()
    pipeline.start_worker(warehouse_url=own.url, zombie_grace_s=0)
    late = [reaching(people[name]) for name, reaching in LATE.items()]
    pipeline.publish_routed(late)
    pipeline.read_until(lambda: stands(pipeline, happened + late), within_s=90)


def test_a_household_that_only_the_archive_knows_is_asked_for(own: EmbeddedWarehouse) -> None:
    ann = Person("ann")
    with EmbeddedBroker() as first, Pipeline(first.bootstrap_servers) as before:
        worker = before.start_worker(warehouse_url=own.url, zombie_grace_s=0)
        before.publish_routed(ann.long_ago)
        before.clock(NOW)
        before.read_until(lambda: stands(before, ann.long_ago))
        before.read_until(lambda: loaded(before))
        worker.kill()
        worker.wait()
    with EmbeddedBroker() as second, Pipeline(second.bootstrap_servers) as after:
        after.rows, after.archive = before.rows, before.archive
        for partition in range(after.partitions):
            record = encode_watermark(partition, NOW, partial=True)
            after.producer.send(INBOX, record.value, partition=partition)
        after.producer.flush()
        after.start_worker(warehouse_url=own.url, zombie_grace_s=0)
        after.publish_routed(ann.lately)
        after.read_until(lambda: stands(after, ann.long_ago + ann.lately), within_s=90)
