"""The answers of the collector, row by row, from a process that listens; no broker is there."""

import base64
import gzip
import json
import os
import signal
import time
import zlib
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import pytest
import stripe

from ingest.rejection import Rejection
from ingest.routes import map_delivered
from ingest.segments import segments
from ingest.spool import read_spool
from models.journey_model import default_model
from models.touchpoint import Record
from tests.ingest.collector_process import SECRET, CollectorProcess
from tests.ingest.fixtures import fixture

NOW_S = 1_709_631_000


def call(number: int = 1, **fields: Any) -> dict[str, Any]:
    said = {"type": "track", "event": "Product Added", "userId": f"u-{number}", "messageId": f"m-{number}"}
    return {**said, **fields}


def signed(body: bytes, at: int = NOW_S, secret: str = SECRET) -> str:
    return f"t={at},v1={stripe.WebhookSignature._compute_signature(f'{at}.{body.decode()}', secret)}"


EVENT = fixture("billing_stripe_invoice_paid")["raw_body"].encode()


@pytest.fixture(scope="module")
def collector(tmp_path_factory: pytest.TempPathFactory) -> Iterator[CollectorProcess]:
    spool = tmp_path_factory.mktemp("spool")
    with CollectorProcess(spool, clock_ms=NOW_S * 1000, body_limit_bytes=1_000_000) as running:
        yield running


@pytest.fixture(autouse=True)
def _remember(collector: CollectorProcess) -> None:
    """Each test looks at what came into the spool during it."""
    collector.begin = sum(1 for _ in read_spool(collector.spool))  # type: ignore[attr-defined]


def kept(collector: CollectorProcess) -> tuple[list[Record], list[Rejection]]:
    """What the spool holds of this test."""
    records: list[Record] = []
    rejected: list[Rejection] = []
    for entry in list(read_spool(collector.spool))[collector.begin :]:  # type: ignore[attr-defined]
        mapped = map_delivered(entry.delivered, default_model())
        records += mapped.records
        rejected += mapped.rejected
    return records, rejected


def is_error(response: httpx.Response, status: int, code: str) -> None:
    """As clients want it: rudder's and segment's read code and message, posthog's reads detail."""
    assert response.status_code == status, response.text
    said = response.json()
    assert said["code"] == code
    assert said["message"]
    assert said["detail"]


PATHS = ["track", "page", "screen", "identify", "group", "alias"]


@pytest.mark.parametrize("slash", ["", "/"])
@pytest.mark.parametrize("name", PATHS)
def test_a_call_is_taken_with_and_without_the_slash(
    collector: CollectorProcess, name: str, slash: str
) -> None:
    said = {"event": "Login", "userId": "u", "anonymousId": "a", "previousId": "p", "groupId": "g"}
    response = collector.post(f"/v1/{name}{slash}", said)
    assert response.status_code == 200
    assert response.json() == {"success": True, "accepted": 1, "rejected": 0}
    assert response.headers["content-type"] == "application/json"
    assert len(kept(collector)[0]) == 1


@pytest.mark.parametrize("path", ["/v1/batch", "/v1/batch/", "/batch", "/batch/", "/v1/b", "/v1/import"])
def test_a_batch_is_taken_on_every_path(collector: CollectorProcess, path: str) -> None:
    expected = 404 if path == "/v1/b" else 200
    response = collector.post(path, {"batch": [call(1), call(2)]})
    assert response.status_code == expected


@pytest.mark.parametrize("name", ["t", "p", "s", "i", "g", "a"])
def test_the_short_paths_of_browsers_are_taken(collector: CollectorProcess, name: str) -> None:
    said = {"event": "Login", "userId": "u", "previousId": "p", "groupId": "g"}
    assert collector.post(f"/v1/{name}", said).status_code == 200


def test_some_bad_events_do_not_fail_their_batch(collector: CollectorProcess) -> None:
    batch = [call(1), call(2, timestamp="soon"), {"type": "track"}, call(3)]
    response = collector.post("/v1/batch", {"batch": batch})
    assert response.status_code == 200
    assert response.json() == {"success": True, "accepted": 2, "rejected": 2}
    records, rejected = kept(collector)
    assert len(records) == 2
    assert [one.reason for one in rejected] == ["bad_timestamp", "missing_event_name"]
    assert base64.b64decode(rejected[0].raw_base64 or "") == json.dumps(batch[1]).encode()


def test_only_bad_events_are_answered_200_too(collector: CollectorProcess) -> None:
    response = collector.post("/v1/batch", {"batch": [{"type": "trak"}]})
    assert (response.status_code, response.json()["rejected"]) == (200, 1)


def test_an_unknown_event_is_kept_as_custom(collector: CollectorProcess) -> None:
    assert collector.post("/v1/track", call(event="Handshake")).json()["accepted"] == 1
    [record] = kept(collector)[0]
    assert record.type == "custom"  # type: ignore[union-attr]


def test_an_empty_batch_is_taken_and_nothing_is_written(collector: CollectorProcess) -> None:
    assert collector.post("/v1/batch", {"batch": []}).json() == {
        "success": True,
        "accepted": 0,
        "rejected": 0,
    }
    assert kept(collector) == ([], [])


ENCODINGS = {
    "gzip": gzip.compress,
    "deflate": zlib.compress,
    "identity": bytes,
}


@pytest.mark.parametrize(("encoding", "encode"), ENCODINGS.items(), ids=ENCODINGS.keys())
def test_a_body_may_be_encoded(collector: CollectorProcess, encoding: str, encode: Any) -> None:
    body = encode(json.dumps({"batch": [call(1), call(2)]}).encode())
    response = collector.post("/v1/batch", body, content_encoding=encoding)
    assert response.json()["accepted"] == 2
    assert len(kept(collector)[0]) == 2


@pytest.mark.parametrize("content_type", ["application/x-www-form-urlencoded", "text/plain", ""])
def test_whatever_content_type_it_says_it_is_json(collector: CollectorProcess, content_type: str) -> None:
    response = collector.post("/v1/track", call(), content_type=content_type)
    assert response.json()["accepted"] == 1


@pytest.mark.parametrize("body", [b"", b"{", b"no", b"\xff\xfe", b'{"batch":[1,]}', b"[" * 100_000])
def test_what_is_no_json_is_answered_400_and_dead_lettered(collector: CollectorProcess, body: bytes) -> None:
    is_error(collector.post("/v1/batch", body), 400, "invalid_json")
    records, [rejection] = kept(collector)
    assert not records
    assert rejection.reason == "invalid_json"
    assert base64.b64decode(rejection.raw_base64 or "") == body


def test_one_call_that_is_no_json_is_answered_400(collector: CollectorProcess) -> None:
    is_error(collector.post("/v1/track", b"{"), 400, "invalid_json")


@pytest.mark.parametrize("body", [{"batch": 5}, {"events": []}, [1], "text"])
def test_json_that_is_no_batch_is_answered_400_and_dead_lettered(
    collector: CollectorProcess, body: Any
) -> None:
    is_error(collector.post("/v1/batch", body), 400, "invalid_field")
    assert [one.reason for one in kept(collector)[1]] == ["invalid_field"]


BROKEN = {
    "no gzip at all": (b"nothing", "gzip"),
    "cut off": (gzip.compress(os.urandom(1000))[:500], "gzip"),
    "of a kind that nobody knows": (b"{}", "br"),
}


@pytest.mark.parametrize(("body", "encoding"), BROKEN.values(), ids=BROKEN.keys())
def test_an_encoding_that_is_broken_is_answered_400_and_dead_lettered(
    collector: CollectorProcess, body: bytes, encoding: str
) -> None:
    is_error(collector.post("/v1/batch", body, content_encoding=encoding), 400, "invalid_encoding")
    [rejection] = kept(collector)[1]
    assert base64.b64decode(rejection.raw_base64 or "") == body


def test_a_body_over_the_limit_is_answered_413(collector: CollectorProcess) -> None:
    is_error(collector.post("/v1/batch", b"x" * 1_000_001), 413, "body_too_large")
    assert [one.reason for one in kept(collector)[1]] == ["body_too_large"]


def test_a_body_without_a_length_is_read_up_to_the_limit(collector: CollectorProcess) -> None:
    pieces = (b"x" * 100_000 for _ in range(20))
    response = collector.client.post(
        f"{collector.url}/v1/batch", content=pieces, auth=("key-of-the-shop", "")
    )
    is_error(response, 413, "body_too_large")


def test_a_bomb_is_not_unpacked(collector: CollectorProcess) -> None:
    bomb = gzip.compress(b" " * 200_000_000, compresslevel=9)
    assert len(bomb) < 300_000
    began = time.monotonic()
    is_error(collector.post("/v1/batch", bomb, content_encoding="gzip"), 413, "body_too_large")
    assert time.monotonic() - began < 2


def test_an_event_over_its_limit_is_rejected_by_reference_and_its_neighbours_go_on(
    collector: CollectorProcess,
) -> None:
    large = call(2, properties={"x": "y" * 600_000})
    response = collector.post("/v1/batch", {"batch": [call(1), large]})
    assert response.json() == {"success": True, "accepted": 1, "rejected": 1}
    [rejection] = kept(collector)[1]
    assert (rejection.reason, rejection.raw_base64) == ("event_too_large", None)
    assert rejection.raw_ref.startswith("spool:")


def test_the_body_may_have_the_key(collector: CollectorProcess) -> None:
    assert collector.post("/v1/track", call(writeKey="key-of-the-app"), key=None).status_code == 200
    assert (
        collector.post("/v1/batch", {"batch": [call()], "writeKey": "key-of-the-app"}, key=None).status_code
        == 200
    )
    assert {record.source_instance for record in kept(collector)[0]} == {"app"}  # type: ignore[union-attr]


def test_the_key_of_the_header_comes_first(collector: CollectorProcess) -> None:
    assert collector.post("/v1/track", call(writeKey="key-of-the-app")).status_code == 200
    [record] = kept(collector)[0]
    assert record.source_instance == "shop"  # type: ignore[union-attr]


@pytest.mark.parametrize("path", ["/v1/batch", "/v1/track", "/v1/touchpoints"])
@pytest.mark.parametrize("key", [None, "nobodys", ""])
def test_nobody_we_know_is_answered_401_and_nothing_is_kept(
    collector: CollectorProcess, path: str, key: str | None
) -> None:
    is_error(
        collector.post(path, {"batch": [call()], "writeKey": "nobodys"}, key=key), 401, "unknown_write_key"
    )
    assert kept(collector) == ([], [])


def test_an_unreadable_body_of_nobody_is_answered_and_not_kept(collector: CollectorProcess) -> None:
    is_error(collector.post("/v1/batch", b"{", key="nobodys"), 401, "unknown_write_key")
    is_error(collector.post("/v1/batch", b"{", key=None), 400, "invalid_json")
    assert kept(collector) == ([], [])


def test_a_redirect_is_never_sent_and_other_paths_are_not_there(collector: CollectorProcess) -> None:
    for path in ("/v1", "/v1/tracks", "/v1//batch", "/webhooks/other", "/"):
        is_error(collector.post(path, {}), 404, "not_found")
    is_error(collector.client.get(f"{collector.url}/v1/batch"), 405, "method_not_allowed")


def test_a_browser_may_ask_first_and_hand_its_page_the_answer(collector: CollectorProcess) -> None:
    asked = collector.client.options(
        f"{collector.url}/v1/batch",
        headers={"Origin": "https://shop.example", "Access-Control-Request-Method": "POST"},
    )
    assert asked.status_code == 200
    assert "authorization" in asked.headers["access-control-allow-headers"].lower()
    assert collector.post("/v1/track", call()).headers["access-control-allow-origin"] == "*"


def test_canonical_records_are_taken(collector: CollectorProcess) -> None:
    record = {
        "source_event_id": "e", "type": "chat_started", "channel": "chat",
        "occurred_at": "2024-03-05T09:30:00Z",
        "identifiers": [{"kind": "email", "value": "a@b.org"}],
    }  # fmt: skip
    response = collector.post(
        "/v1/touchpoints",
        [record, {**record, "occurred_at": NOW_S * 1000}, {**record, "occurred_at": "soon"}],
    )
    assert response.json() == {"success": True, "accepted": 2, "rejected": 1}
    [first, _] = kept(collector)[0]
    assert first.source_instance == "shop"  # type: ignore[union-attr]


def test_a_signed_event_of_stripe_is_taken(collector: CollectorProcess) -> None:
    response = collector.post("/webhooks/stripe", EVENT, key=None, stripe_signature=signed(EVENT))
    assert response.json() == {"success": True, "accepted": 1, "rejected": 0}
    assert [record.type for record in kept(collector)[0]] == ["invoice_paid", "subscription_renewed"]  # type: ignore[union-attr]


def test_the_same_event_sent_again_is_the_same_touchpoint(collector: CollectorProcess) -> None:
    for _ in range(2):
        collector.post("/webhooks/stripe", EVENT, key=None, stripe_signature=signed(EVENT))
    assert len({record.id for record in kept(collector)[0]}) == 2  # type: ignore[union-attr]


SIGNATURES = {
    "none": (None, "signature_invalid"),
    "of another secret": (signed(EVENT, secret="whsec_other"), "signature_invalid"),
    "of another body": (signed(b"{}"), "signature_invalid"),
    "six minutes old": (signed(EVENT, NOW_S - 360), "signature_stale"),
    "six minutes ahead": (signed(EVENT, NOW_S + 360), "signature_stale"),
}


@pytest.mark.parametrize(("signature", "code"), SIGNATURES.values(), ids=SIGNATURES.keys())
def test_an_event_whose_signature_does_not_hold_is_answered_401_and_not_kept(
    collector: CollectorProcess, signature: str | None, code: str
) -> None:
    headers = {"stripe_signature": signature} if signature else {}
    is_error(collector.post("/webhooks/stripe", EVENT, key=None, **headers), 401, code)
    assert kept(collector) == ([], [])


def test_a_signed_body_that_is_no_json_is_answered_400_and_dead_lettered(collector: CollectorProcess) -> None:
    response = collector.post("/webhooks/stripe", b"{", key=None, stripe_signature=signed(b"{"))
    is_error(response, 400, "invalid_json")
    assert [(one.reason, one.source, one.channel) for one in kept(collector)[1]] == [
        ("invalid_json", "stripe", "billing")
    ]


def test_a_thin_event_is_answered_200_and_dead_lettered(collector: CollectorProcess) -> None:
    body = b'{"object": "v2.core.event", "type": "v1.billing.meter"}'
    response = collector.post("/webhooks/stripe", body, key=None, stripe_signature=signed(body))
    assert response.json() == {"success": True, "accepted": 0, "rejected": 1}
    assert [one.reason for one in kept(collector)[1]] == ["unknown_type"]


def test_a_service_may_look_whether_its_webhook_is_there(collector: CollectorProcess) -> None:
    for method in ("GET", "HEAD", "OPTIONS"):
        assert collector.client.request(method, f"{collector.url}/webhooks/stripe").status_code == 200


def test_metrics_count_and_name_nobody(collector: CollectorProcess) -> None:
    collector.post("/v1/track", call(userId="somebody@secret.example", anonymousId="anon-secret"))
    collector.post("/v1/batch", {"batch": [{"type": "trak"}]})
    said = collector.client.get(f"{collector.url}/metrics").text
    assert 'desireline_collector_accepted_total{channel="web",source="segment"}' in said
    assert 'desireline_collector_rejected_total{reason="unknown_type",source="segment"}' in said
    assert "desireline_collector_spool_bytes" in said
    assert "secret" not in said


def test_without_a_broker_it_is_ready_and_says_so(collector: CollectorProcess) -> None:
    assert collector.client.get(f"{collector.url}/healthz").status_code == 200
    deadline = time.monotonic() + 20
    while (said := collector.ready())["broker"] != "away":
        assert time.monotonic() < deadline, said
        time.sleep(0.1)
    assert said["ready"]
    assert said["fault"]
    assert said["unpublished_bytes"] > 0


def test_headers_that_matter_are_kept_and_no_others(collector: CollectorProcess) -> None:
    collector.post(
        "/v1/batch", {"batch": [{"type": "x"}]}, x_retry_count="2", cookie="secret", user_agent="sdk/1"
    )
    [rejection] = kept(collector)[1]
    assert rejection.attempt == 3
    assert rejection.headers["user-agent"] == "sdk/1"
    assert not {"cookie", "authorization", "host"} & rejection.headers.keys()


def test_a_full_spool_answers_503_with_a_time_and_readyz_says_it(tmp_path: Path) -> None:
    with CollectorProcess(tmp_path, spool_limit_bytes=20_000) as collector:
        answers = [collector.post("/v1/track", call(n, properties={"x": "y" * 2_000})) for n in range(20)]
        taken = [one for one in answers if one.status_code == 200]
        refused = [one for one in answers if one.status_code != 200]
        assert taken
        assert refused
        for response in refused:
            is_error(response, 503, "spool_full")
            assert int(response.headers["retry-after"]) > 0
        ready = collector.client.get(f"{collector.url}/readyz")
        assert (ready.status_code, ready.json()["ready"]) == (503, False)
        is_error(collector.post("/v1/batch", b"{"), 503, "spool_full")  # neither is that dead-lettered
    assert sum(1 for _ in read_spool(tmp_path)) == len(taken)


def test_too_fast_for_a_key_is_answered_429_with_a_time(tmp_path: Path) -> None:
    with CollectorProcess(tmp_path, calls_per_second=100) as collector:
        batch = {"batch": [call(n) for n in range(90)]}
        assert collector.post("/v1/batch", batch).status_code == 200
        refused = collector.post("/v1/batch", batch)
        is_error(refused, 429, "too_fast")
        assert int(refused.headers["retry-after"]) == 1
        assert collector.post("/v1/batch", batch, key="key-of-the-app").status_code == 200


def test_without_a_secret_there_is_no_webhook(tmp_path: Path) -> None:
    with CollectorProcess(tmp_path, stripe_secret="") as collector:
        response = collector.post("/webhooks/stripe", EVENT, key=None, stripe_signature=signed(EVENT))
        is_error(response, 404, "unknown_source")


def test_in_strict_mode_an_unknown_event_is_dead_lettered(tmp_path: Path) -> None:
    with CollectorProcess(tmp_path, strict=True) as collector:
        said = collector.post("/v1/track", call(event="Handshake")).json()
        assert said == {"success": True, "accepted": 0, "rejected": 1}


def test_what_was_answered_is_there_after_a_kill(tmp_path: Path) -> None:
    collector = CollectorProcess(tmp_path)
    collector.start()
    answered: set[str] = set()

    def send(worker: int) -> None:
        with httpx.Client(auth=("key-of-the-shop", "")) as client:
            for number in range(10_000):
                name = f"u{worker}-{number}"
                batch = {"batch": [call(0, messageId=name, userId=name)]}
                try:
                    response = client.post(f"{collector.url}/v1/batch", json=batch)
                except httpx.HTTPError:
                    return
                if response.status_code == 200:
                    answered.add(name)

    with ThreadPoolExecutor(8) as pool:
        running = [pool.submit(send, worker) for worker in range(8)]
        while len(answered) < 300:
            time.sleep(0.01)
        collector.kill()
        for one in running:
            one.result()
    collector.start()  # and it mends its spool and goes on
    assert collector.post("/v1/track", call(messageId="after")).status_code == 200
    collector.end()
    found = {
        record.source_event_id  # type: ignore[union-attr]
        for entry in read_spool(tmp_path)
        for record in map_delivered(entry.delivered, default_model()).records
    }
    assert answered | {"after"} <= found
    assert len(answered) >= 300


def test_it_ends_cleanly_and_says_what_is_under_way(tmp_path: Path) -> None:
    collector = CollectorProcess(tmp_path)
    collector.start()
    assert collector.post("/v1/track", call()).status_code == 200
    assert collector.end() in (0, -signal.SIGTERM)
    assert len(segments(tmp_path)) == 1
