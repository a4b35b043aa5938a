"""The worker on a real broker: touchpoints published, verdicts read."""

import itertools
import random
import re
import time
from collections import Counter

import msgspec

from models.identifier import Identifier
from models.journey_model import template
from models.touchpoint import Element, Identification, Touchpoint
from streams.topics import topic_status
from tests.histories import NOON
from tests.streams.pipeline import MODEL, Pipeline
from tests.streams.scheduler import elements_of, wanted

MINUTE_MS = 60_000

COOKIE = Identifier("anonymous_id", "a1")
PHONE = Identifier("phone", "+493012345")
MAIL = Identifier("email", "ann@example.org")


def touchpoint(id: str, minute: int, channel: str, type_: str, *identifiers: Identifier) -> Touchpoint:
    at = NOON + minute * MINUTE_MS
    return Touchpoint(
        id=id, source="test", source_instance="shop", source_event_id=id, source_type="test", channel=channel,
        type=type_, occurred_at=at, received_at=at, identifiers=identifiers,
    )  # fmt: skip


def cross_channel(person: str) -> list[Touchpoint | Identification]:
    """Cart on the web, a call from a phone number, a payment by mail address; and what links them."""
    cookie, phone, mail = (Identifier(kind.kind, f"{kind.value}{person}") for kind in (COOKIE, PHONE, MAIL))
    return [
        touchpoint(f"{person}-cart", 0, "web", "add_to_cart", cookie),
        touchpoint(f"{person}-call", 5, "voice", "call_queued", phone),
        touchpoint(f"{person}-paid", 9, "billing", "purchase", mail),
        *(
            Identification(
                id=f"{person}-{name}",
                source="test",
                source_instance="shop",
                channel="web",
                at=NOON,
                received_at=NOON,
                identifiers=linked,
            )
            for name, linked in (("login", (cookie, mail)), ("caller", (mail, phone)))
        ),
    ]


def test_cart_call_and_payment_are_one_journey_in_whatever_order_events_and_links_arrive(
    pipeline: Pipeline,
) -> None:
    pipeline.start_worker()
    people = {}
    for number, order in enumerate(itertools.permutations(range(5))):
        person = f"{number:03}"
        elements = cross_channel(person)
        pipeline.publish_routed(elements[place] for place in order)
        people[person] = (f"{person}-cart", f"{person}-call", f"{person}-paid")
    pipeline.read_until(lambda: pipeline.journeys() >= set(people.values()))
    pipeline.read_to_the_end()
    customers = {
        (row.touchpoint.id[:3], row.verdict.customer_id)
        for key, row in pipeline.standing().items()
        if key[0] == "touchpoint"
    }
    assert customers == {(person, f"email:ann@example.org{person}") for person in people}


def test_a_channel_of_the_models_own_has_a_topic_and_joins_the_journey(pipeline: Pipeline) -> None:
    worker = pipeline.start_worker(model="channels: [store]\n" + template("default"))
    pipeline.await_ready(worker)
    assert "touchpoints.store" in [one.topic for one in topic_status(pipeline.bootstrap_servers)]
    visits = [
        touchpoint("seen", 0, "web", "product_view", COOKIE),
        touchpoint("bought", 9, "store", "purchase", COOKIE),
    ]
    pipeline.publish_routed(visits)
    pipeline.read_until(lambda: ("seen", "bought") in pipeline.journeys())
    [journey] = [row for key, row in pipeline.standing().items() if key[0] == "journey"]
    assert journey.channels == ("web", "store")


def histories(rng: random.Random) -> list[Element]:
    """Forty households' elements, all mixed."""
    elements: list[Element] = []
    for number in range(40):
        for element in elements_of(rng, NOON):
            identifiers = tuple(  # other people each time
                msgspec.structs.replace(identifier, value=f"{identifier.value}{number}")
                for identifier in element.identifiers
            )
            fields = {"id": f"{number}-{element.id}", "identifiers": identifiers}
            elements.append(msgspec.structs.replace(element, **fields))
    rng.shuffle(elements)
    return elements


def test_a_killed_worker_goes_on_where_it_was_and_ends_as_the_batch(pipeline: Pipeline) -> None:
    rng = random.Random(7)
    elements = histories(rng)
    for share in (elements[::2], elements[1::2]):
        worker = pipeline.start_worker()
        pipeline.publish_routed(share)
        pipeline.producer.flush()
        pipeline.await_ready(worker)
        time.sleep(rng.random())
        worker.kill()
        worker.wait()
    pipeline.start_worker()
    end = NOON + 200 * 24 * 60 * MINUTE_MS
    pipeline.clock(end)
    pipeline.read_to_the_end()
    assert pipeline.standing() == wanted(elements, end, MODEL)


def test_workers_share_the_partitions_and_one_takes_over_when_the_other_is_killed(pipeline: Pipeline) -> None:
    elements = histories(random.Random(8))
    shares = [elements[start::3] for start in range(3)]
    first = pipeline.start_worker()
    pipeline.publish_routed(shares[0])
    pipeline.await_ready(first)
    second = pipeline.start_worker()
    pipeline.publish_routed(shares[1])
    half = re.compile(r"partitions \[\d, \d\], of which")
    pipeline.read_until(lambda: all(half.search(pipeline.log_of(worker)) for worker in (first, second)))
    pipeline.await_ready(second)
    first.kill()
    first.wait()
    pipeline.publish_routed(shares[2])
    end = NOON + 200 * 24 * 60 * MINUTE_MS
    pipeline.clock(end)
    pipeline.read_to_the_end()
    assert pipeline.standing() == wanted(elements, end, MODEL)


def test_a_record_in_the_wrong_partition_is_forwarded_to_its_household(pipeline: Pipeline) -> None:
    pipeline.start_worker()
    for partition in range(pipeline.partitions):
        pipeline.publish([touchpoint(f"t{partition}", partition, "web", "page_view", MAIL)], partition)
    pipeline.read_until(lambda: ("t0", "t1", "t2", "t3") in pipeline.journeys())


def test_what_cannot_be_read_is_rejected_with_its_reason_and_its_neighbours_go_on(pipeline: Pipeline) -> None:
    pipeline.start_worker()
    good = [msgspec.to_builtins(touchpoint(f"t{n}", n, "web", "page_view", MAIL)) for n in range(4)]
    in_text = {
        **good[2],
        "occurred_at": "2024-10-04T05:30:00+05:30",
        "received_at": "2024-10-04T00:00:01.500Z",
    }
    bad = {
        "bad_timestamp": {**good[0], "id": "b1", "occurred_at": "yesterday"},
        "missing_identity": {**good[0], "id": "b2", "identifiers": []},
        "unknown_type": {**good[0], "id": "b3", "schema": "touchpoint/9"},
        "timestamp_out_of_range": {**good[0], "id": "b4", "occurred_at": 1 << 50},
        "invalid_field": {**good[0], "id": "b5", "outcome": "splendid"},
    }
    pipeline.publish_bytes(msgspec.json.encode([good[0], *bad.values(), good[1], in_text]), 0)
    pipeline.publish_bytes(msgspec.json.encode(good[3]), 1)
    pipeline.publish_bytes(b'{"cut of', 2)
    pipeline.read_until(lambda: len(pipeline.rejected) == 6 and len(pipeline.rows) >= 4)
    pipeline.read_to_the_end()
    assert {one["reason"] for one in pipeline.rejected} == {*bad, "invalid_json"}
    assert {id for journey in pipeline.journeys() for id in journey} == {"t0", "t1", "t2", "t3"}
    row = next(row for key, row in pipeline.standing().items() if key[:2] == ("touchpoint", "t2"))
    assert (row.touchpoint.occurred_at, row.touchpoint.received_at) == (NOON + 20, NOON + 1520)


def test_the_wall_clock_abandons_nothing_while_what_answers_it_waits_to_be_read(pipeline: Pipeline) -> None:
    """A backlog: every chat was answered within a minute, an hour ago, and that is read last."""
    ago = time.time_ns() // 1_000_000 - 60 * MINUTE_MS
    asked, between, answered = [], [], []
    for number in range(200):
        person = Identifier("user_id", f"{number}")
        started = touchpoint(f"{number}-started", 0, "chat", "chat_started", person)
        asked.append(msgspec.structs.replace(started, occurred_at=ago))
        seen = touchpoint(f"{number}-seen", 0, "chat", "page_view", person)
        between += [msgspec.structs.replace(seen, id=f"{number}-{n}", occurred_at=ago) for n in range(60)]
        said = touchpoint(f"{number}-answered", 0, "chat", "chat_answered", person)
        answered.append(msgspec.structs.replace(said, occurred_at=ago + MINUTE_MS))
    pipeline.publish_routed(asked)
    pipeline.publish_routed(between)
    pipeline.publish_routed(answered)
    pipeline.producer.flush()
    pipeline.start_worker(live=True)
    pipeline.read_to_the_end()
    outcomes = Counter(attempt.outcome for attempt in pipeline.attempts)
    assert outcomes["abandoned"] == 0
    # and once it has caught up the wall clock moves on
    pipeline.read_until(lambda: all(at > ago + 50 * MINUTE_MS for at in pipeline.watermarks.values()))
