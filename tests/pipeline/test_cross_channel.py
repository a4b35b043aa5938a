"""The whole path with the real parts: three sets of identifiers become one customer and one journey.

Anonymous on the web, a phone number in a call, an email and a card with the payment provider, in every order
of what happens and of what links them. All cases run in one pipeline, each with identifiers of its own.
"""

import random
import time
from collections.abc import Callable, Iterator
from itertools import permutations
from typing import TypeVar

import httpx
import msgspec
import pytest
from sqlalchemy import Engine, text

from desireline.demo_proof import Proof, case, find
from desireline.reconcile import reconcile
from desireline.running import DataFolder
from desireline.settings import Settings
from desireline.supervisor import Supervisor
from ingest.simulation.sender import stripe_headers
from warehouse import connect

PATIENCE_S = 60.0
T = TypeVar("T")
Said = tuple[str, list[dict[str, object]]]  # the door, and what is said there at once


class Pipeline:
    """Everything running on free ports, and its two doors."""

    def __init__(self, supervisor: Supervisor, connection: Engine, client: httpx.Client) -> None:
        self.connection = connection
        self._client = client
        self._running = supervisor.running
        self._spool = DataFolder(supervisor.settings.data).spool

    def send(self, said: list[Said]) -> None:
        calls = [call for door, of in said if door == "segment" for call in of]
        for begin in range(0, len(calls), 100):
            batch = {"batch": calls[begin : begin + 100], "writeKey": self._running.write_key}
            answer = self._client.post("/v1/batch", json=batch)
            assert answer.json() == {"success": True, "accepted": len(batch["batch"]), "rejected": 0}
        for event in (event for door, of in said if door == "stripe" for event in of):
            body = msgspec.json.encode(event)
            headers = stripe_headers(self._running.stripe_secret, body, int(time.time()))
            assert self._client.post("/webhooks/stripe", content=body, headers=headers).status_code == 200

    def settle(self) -> None:
        """Until all that was accepted is in the warehouse."""
        result = reconcile(self.connection, self._spool, patience_s=PATIENCE_S)
        assert result.holds, result.sentence

    def count(self, of: str, where: str) -> int:
        with self.connection.connect() as asking:
            return int(asking.execute(text(f"select {of} where {where}")).scalar_one())


@pytest.fixture(scope="module")
def pipeline(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pipeline]:
    settings = Settings(
        data_dir=str(tmp_path_factory.mktemp("pipeline")),
        dashboards_port=0,
        collector_port=0,
        warehouse_port=0,
        broker_port=0,
        worker_port=0,
    )
    with Supervisor(settings, say=print) as supervisor:
        urls = supervisor.running.urls
        connection = connect(urls.warehouse_reader)
        with httpx.Client(base_url=urls.collector, timeout=30) as client:
            yield Pipeline(supervisor, connection, client)
        connection.dispose()


def parts(proof: Proof) -> list[Said]:
    """The three things that happen and the two links, each said at once."""
    web, call = proof.happened[:2], proof.happened[2:]
    return [
        ("segment", web),
        ("segment", call),
        ("stripe", [proof.payment]),
        *(("segment", [link]) for link in proof.links),
    ]


def eventually(ask: Callable[[], T], right: Callable[[T], bool]) -> T:
    """The answer once it is right, or when patience ends: merges may be under way when all is loaded."""
    deadline = time.monotonic() + PATIENCE_S
    while not right(answer := ask()) and time.monotonic() < deadline:
        time.sleep(0.2)
    return answer


def assert_holds(pipeline: Pipeline, proof: Proof) -> None:
    finding = eventually(lambda: find(pipeline.connection, proof), lambda found: found.holds)
    assert finding.holds, finding
    assert sorted(finding.touchpoints) == [
        ("add_to_cart", "web"),
        ("call_answered", "voice"),
        ("call_queued", "voice"),
        ("product_view", "web"),
        ("purchase", "billing"),
    ]


def assert_counts(pipeline: Pipeline, name: str, cases: int) -> None:
    """Five touchpoints, one journey, one customer per case, and nothing left of what they were before."""
    ours = f"customer_id like '%{name}%'"
    questions = (
        "count() from touchpoints",
        "count() from journeys",
        "uniqExact(customer_id) from identities",
    )
    wanted = [5 * cases, cases, cases]
    found = eventually(lambda: [pipeline.count(of, ours) for of in questions], lambda found: found == wanted)
    assert found == wanted


def test_in_every_order_of_events_and_links_it_is_one_customer_and_one_journey(pipeline: Pipeline) -> None:
    now = time.time_ns() // 1_000_000
    orders = list(permutations(range(5)))
    proofs = [case(f"order{i}", now, phone=f"+155510{i:05}") for i in range(len(orders))]
    for turn in range(5):
        pipeline.send([parts(proof)[order[turn]] for proof, order in zip(proofs, orders, strict=True)])
        pipeline.settle()  # so that the next turn really comes later
    for proof in proofs:
        assert_holds(pipeline, proof)
    assert_counts(pipeline, "-order", len(orders))


def test_all_at_once_shuffled_and_repeated_it_is_one_customer_and_one_journey(pipeline: Pipeline) -> None:
    now = time.time_ns() // 1_000_000
    shuffle = random.Random(7)
    proofs = [case(f"storm{i}", now, phone=f"+155520{i:05}") for i in range(60)]
    said = [part for proof in proofs for part in parts(proof)] * 3
    shuffle.shuffle(said)
    pipeline.send(said)
    pipeline.settle()
    for proof in proofs:
        assert_holds(pipeline, proof)
    assert_counts(pipeline, "-storm", len(proofs))


def test_without_links_they_stay_three_customers(pipeline: Pipeline) -> None:
    proof = case("apart", time.time_ns() // 1_000_000, phone="+15553000000")
    pipeline.send(parts(proof)[:3])
    pipeline.settle()
    finding = eventually(lambda: find(pipeline.connection, proof), lambda found: not found.missing)
    assert not finding.missing
    assert len(finding.customers) == 3
    assert len(finding.journeys) == 3


def test_two_accounts_on_one_phone_stay_two_customers(pipeline: Pipeline) -> None:
    now = time.time_ns() // 1_000_000
    one, two = (case(name, now, phone="+15554000000") for name in ("sharer1", "sharer2"))
    pipeline.send([*parts(one), *parts(two)])
    pipeline.settle()
    wanted = ["user_id:account-sharer1", "user_id:account-sharer2"]

    def payers() -> list[str | None]:
        found = [find(pipeline.connection, proof) for proof in (one, two)]
        return [f.owners.get(f"customer_id:cus_sharer{i}") for i, f in enumerate(found, 1)]

    assert eventually(payers, lambda found: found == wanted) == wanted
    refused = "customer_a like '%sharer%' and customer_b like '%sharer%'"
    assert eventually(lambda: pipeline.count("count() from identity_conflicts", refused), bool)
