"""What the demo sends: documented Stripe events moved to now, the real client, and a proof that is one."""

import io
import json
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from itertools import combinations

import msgspec
import pytest
from rich.console import Console

from desireline import demo_proof, demo_stripe
from desireline.demo import Context, run_demo
from desireline.demo_client import Errand, ErrandDone
from desireline.demo_senders import client_calls, expected
from desireline.ports import free_port
from desireline.running import Child, Running, Urls
from ingest.simulator import past_traffic

NOW = 1_772_000_000_000
DAY_MS = 86_400_000


class Receiver:
    """A peer that keeps the batches it is sent, and answers with a status."""

    def __init__(self, status: int) -> None:
        self.batches: list[dict[str, object]] = []
        receiver = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                import gzip

                body = self.rfile.read(int(self.headers["Content-Length"]))
                if self.headers.get("Content-Encoding") == "gzip":
                    body = gzip.decompress(body)
                receiver.batches.append(json.loads(body))
                answer = b'{"success": true, "code": "no", "message": "not this one"}'
                self.send_response(status)
                self.send_header("Content-Length", str(len(answer)))
                self.end_headers()
                self.wfile.write(answer)

            def log_message(self, format: str, *args: object) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}"

    def __enter__(self) -> "Receiver":
        threading.Thread(target=self.server.serve_forever, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self.server.shutdown()
        self.server.server_close()


@pytest.fixture
def receiver(request: pytest.FixtureRequest) -> Iterator[Receiver]:
    with Receiver(getattr(request, "param", 200)) as running:
        yield running


def errand(receiver: Receiver, calls: list[dict[str, object]]) -> "subprocess.CompletedProcess[bytes]":
    given = Errand(host=receiver.url, write_key="key", calls=calls)
    return subprocess.run(
        [sys.executable, "-P", "-m", "desireline.demo_client"],
        input=msgspec.json.encode(given),
        capture_output=True,
        timeout=60,
        check=False,
    )


def test_the_real_client_sends_each_call_as_it_was_given(receiver: Receiver) -> None:
    proof = demo_proof.case("test", NOW)
    calls = [*proof.happened, *proof.links]
    ended = errand(receiver, calls)
    assert ended.returncode == 0, ended.stderr
    assert msgspec.json.decode(ended.stdout, type=ErrandDone).sent == {"track": 4, "identify": 2}
    got = {m["messageId"]: m for batch in receiver.batches for m in batch["batch"]}  # type: ignore[attr-defined]
    for call in calls:
        sent = got[call["messageId"]]
        for field in ("type", "event", "anonymousId", "userId", "properties", "traits", "timestamp"):
            assert sent.get(field) == call.get(field)
        assert sent["context"]["library"]["name"] == "analytics-python"


@pytest.mark.parametrize("receiver", [400], indirect=True)
def test_the_real_client_ends_with_1_if_it_is_refused(receiver: Receiver) -> None:
    ended = errand(receiver, demo_proof.case("test", NOW).happened)
    assert ended.returncode == 1
    assert msgspec.json.decode(ended.stdout, type=ErrandDone).failures


def test_the_client_is_given_web_chat_and_voice() -> None:
    calls = client_calls(NOW)
    channels = {call["properties"].get("channel", "web") for call in calls if call["type"] == "track"}
    assert channels == {"web", "chat", "voice"}
    assert 100 < len(calls) < 1_000


def test_nothing_that_happens_in_the_proof_carries_identifiers_of_two_of_the_three() -> None:
    proof = demo_proof.case("test", NOW)
    sets = [{proof.visitor}, {proof.caller}, set(proof.payer)]
    values = [{key.partition(":")[2] for key in keys} for keys in sets]
    for said in [*proof.happened, proof.payment]:
        text = json.dumps(said)
        assert sum(any(value in text for value in of) for of in values) <= 1, text


def test_each_link_of_the_proof_is_between_the_account_and_one_of_the_three() -> None:
    proof = demo_proof.case("test", NOW)
    phone, email = (link["traits"] for link in proof.links)
    assert phone == {"phone": proof.caller.removeprefix("phone:")}
    assert f"email:{email['email']}" in proof.payer
    assert len({link["userId"] for link in proof.links}) == 1


def test_cases_of_the_proof_share_no_identifier() -> None:
    cases = [demo_proof.case(name, NOW, phone=f"+1555000000{i}") for i, name in enumerate("abc")]
    for one, other in combinations(cases, 2):
        assert not set(one.keys) & set(other.keys)


def test_a_finding_holds_only_for_one_customer_one_journey_and_all_of_it() -> None:
    found = demo_proof.Finding(
        owners={"a": "x", "b": "x"}, customers=["x"], journeys=["j"], touchpoints=[], missing=[]
    )
    assert found.holds
    for change in ({"owners": {"a": "x", "b": "y"}}, {"customers": ["x", "y"]}, {"journeys": ["j", "k"]},
                   {"journeys": []}, {"missing": ["purchase"]}):  # fmt: skip
        assert not msgspec.structs.replace(found, **change).holds


def test_every_documented_stripe_event_is_in_the_story_in_the_order_of_time() -> None:
    told = demo_stripe.story(NOW)
    assert len(told) == len(demo_stripe.STORY_MS) == 8
    created = [event["created"] for event in told]
    assert created == sorted(created)
    assert created[0] > NOW // 1000 - 13 * 86_400
    assert created[-1] < NOW // 1000
    assert len({event["id"] for event in told}) == 8


def test_all_instants_of_an_event_are_moved_alike_and_amounts_are_not() -> None:
    before, after = (
        demo_stripe.documented("invoice_paid"),
        demo_stripe.moved(demo_stripe.documented("invoice_paid"), NOW),
    )
    by = NOW // 1000 - before["created"]
    was, now = before["data"]["object"], after["data"]["object"]
    assert now["created"] == was["created"] + by
    assert now["status_transitions"]["paid_at"] == was["status_transitions"]["paid_at"] + by
    assert now["amount_paid"] == was["amount_paid"] == 2900


def test_what_is_expected_counts_copies_as_arrivals_and_not_as_touchpoints() -> None:
    coming, touchpoints = expected(past_traffic(200, now=NOW))
    plain = msgspec.structs.replace(past_traffic(200, now=NOW), late_share=0.0, duplicate_share=0.0)
    assert expected(plain)[0] > expected(plain)[1]  # identifications
    assert coming > touchpoints > 500


def running(collector: str) -> Running:
    """A pipeline whose collector is there, and nothing else is."""
    urls = Urls(
        pages="",
        collector=collector,
        warehouse="",
        warehouse_reader=f"http://reader@127.0.0.1:{free_port()}/desireline",
        broker="",
    )
    return Running(
        data_dir=".",
        supervisor=Child("up", 0, 0.0),
        urls=urls,
        write_keys={"key": "demo"},
        stripe_secret="whsec_x",
    )


def failing(pipeline: Running) -> str:
    """What the demo says when it fails on that pipeline."""
    said = io.StringIO()
    assert run_demo(Context(pipeline, Console(file=said, width=200)), once=True) == 1
    return said.getvalue()


def test_the_demo_names_a_collector_that_does_not_answer() -> None:
    url = f"http://127.0.0.1:{free_port()}"
    assert f"the demo failed: the collector at {url} does not answer" in failing(running(url))


@pytest.mark.parametrize("receiver", [401], indirect=True)
def test_the_demo_names_the_event_that_was_not_accepted(receiver: Receiver) -> None:
    assert "Stripe's invoice.sent was not accepted: 401" in failing(running(receiver.url))
