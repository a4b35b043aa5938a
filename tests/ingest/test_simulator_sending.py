"""How simulated traffic is sent: batches with the write key, signed webhooks, patience with a busy door."""

import asyncio
import base64
import gzip
import json
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager

import msgspec
import pytest
import stripe
from aiohttp import web

from ingest.simulation.sender import Arrival, Door, Sender, SendingError, Sent, stripe_headers
from ingest.simulation.world import SEGMENT, STRIPE
from ingest.simulator import Traffic, arrivals

SECRET = "whsec_of_the_test"


class Collector:
    """A peer that keeps what it is sent and answers as it is told to: statuses in turn, then 200."""

    def __init__(self, *statuses: int, retry_after: str | None = None) -> None:
        self.statuses: Iterator[int] = iter(statuses)
        self.retry_after = retry_after
        self.requests: list[tuple[web.Request, bytes, float]] = []

    async def take(self, request: web.Request) -> web.Response:
        body = await request.read()
        self.requests.append((request, body, time.monotonic()))
        status = next(self.statuses, 200)
        if status != 200:
            headers = {"Retry-After": self.retry_after} if self.retry_after else {}
            return web.json_response({"code": "no", "message": "not now"}, status=status, headers=headers)
        said = json.loads(body)
        return web.json_response({"success": True, "accepted": len(said.get("batch", [1])), "rejected": 0})

    @asynccontextmanager
    async def listening(self) -> AsyncIterator[str]:
        app = web.Application()
        app.router.add_post("/{path:.*}", self.take)
        runner = web.AppRunner(app)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        try:
            yield f"http://127.0.0.1:{runner.addresses[0][1]}"
        finally:
            await runner.cleanup()

    @property
    def batches(self) -> list[list[dict[str, object]]]:
        return [
            json.loads(body)["batch"] for request, body, _ in self.requests if request.path == "/v1/batch"
        ]


def calls(n: int, door: int = SEGMENT) -> list[Arrival]:
    return [
        Arrival(i, door, {"type": "track", "event": "e", "messageId": str(i), "anonymousId": "a"})
        for i in range(n)
    ]


def send(
    collector: Collector,
    sent: list[Arrival],
    stopping: Callable[[], bool] = lambda: False,
    **door: object,
) -> Sent:
    async def run() -> Sent:
        async with collector.listening() as url:
            given = msgspec.structs.replace(
                Door(collector_url=url, write_key="key", stripe_secret=SECRET), **door
            )
            return await Sender(given, stopping=stopping).send(sent)

    return asyncio.run(run())


def test_calls_are_sent_in_batches_with_the_write_key() -> None:
    collector = Collector()
    sent = send(collector, calls(250))
    assert sorted(map(len, collector.batches)) == [50, 100, 100]
    assert {m["messageId"] for batch in collector.batches for m in batch} == {str(i) for i in range(250)}
    assert sent.calls == sent.accepted == 250
    key = base64.b64encode(b"key:").decode()
    assert all(request.headers["Authorization"] == f"Basic {key}" for request, _, _ in collector.requests)
    assert all("sentAt" in json.loads(body) for _, body, _ in collector.requests)


def test_one_connection_keeps_the_order() -> None:
    collector = Collector()
    send(collector, calls(250), connections=1)
    assert [m["messageId"] for batch in collector.batches for m in batch] == [str(i) for i in range(250)]


def test_nothing_to_send_sends_nothing() -> None:
    collector = Collector()
    assert send(collector, []).requests == 0
    assert collector.requests == []


def test_batches_may_be_compressed() -> None:
    collector = Collector()
    send(collector, calls(3), gzip=True)
    [(request, body, _)] = collector.requests
    assert request.headers["Content-Encoding"] == "gzip"
    # the server inflates what says that it is compressed
    assert len(json.loads(gzip.decompress(body) if body[:2] == b"\x1f\x8b" else body)["batch"]) == 3


def test_stripe_s_own_library_accepts_the_signature_of_each_event() -> None:
    collector = Collector()
    told = [d for d in arrivals(Traffic(start_at=0, customers=60)) if d.door == STRIPE][:20]
    sent = send(collector, told)
    assert sent.stripe_events == len(told) > 5
    for request, body, _ in collector.requests:
        assert request.path == "/webhooks/stripe"
        stripe.WebhookSignature.verify_header(body.decode(), request.headers["Stripe-Signature"], SECRET, 300)


def test_a_signature_says_its_own_time() -> None:
    assert stripe_headers(SECRET, b"{}", 1_709_631_000)["Stripe-Signature"].startswith("t=1709631000,v1=")


def test_without_a_secret_stripe_events_are_left_out() -> None:
    collector = Collector()
    sent = send(collector, calls(2, STRIPE) + calls(1), stripe_secret="")
    assert (sent.left_out, sent.stripe_events, sent.calls) == (2, 0, 1)


@pytest.mark.parametrize("status", [429, 503])
def test_a_busy_door_is_asked_again_when_it_says(status: int) -> None:
    collector = Collector(status, retry_after="0.3")
    sent = send(collector, calls(5))
    assert (sent.accepted, sent.retries) == (5, 1)
    (_, first, at), (_, second, again_at) = collector.requests
    assert first == second
    assert again_at - at >= 0.3


def test_a_refusal_for_good_ends_it_and_says_why() -> None:
    with pytest.raises(SendingError, match="401") as said:
        send(Collector(401), calls(5))
    assert "write key" in str(said.value)


def test_no_more_than_the_rate_is_sent() -> None:
    begun = time.monotonic()
    send(Collector(), calls(60), rate=100)
    assert 0.5 < time.monotonic() - begun < 3


def test_live_calls_wait_for_their_time() -> None:
    now = round(time.time() * 1000)
    collector = Collector()
    send(
        collector,
        [
            Arrival(now - 1000, SEGMENT, {"messageId": "past"}),
            Arrival(now + 700, SEGMENT, {"messageId": "to come"}),
        ],
        live=True,
    )
    assert [[m["messageId"] for m in batch] for batch in collector.batches] == [["past"], ["to come"]]
    assert time.time() * 1000 >= now + 700


def test_it_stops_when_it_is_told_to() -> None:
    now = round(time.time() * 1000)
    soon = time.monotonic() + 0.3
    sent = send(
        Collector(),
        [Arrival(now + 3_600_000, SEGMENT, {"messageId": "in an hour"})],
        live=True,
        stopping=lambda: time.monotonic() > soon,
    )
    assert sent.calls == 0
