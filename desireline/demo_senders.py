"""The demo's senders: the real Segment client, Stripe's events by webhook, and live traffic.

Each says by `DemoFailed` that something did not reach the collector.
"""

import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from typing import IO, Any

import httpx
import msgspec

from desireline.demo_client import Errand, ErrandDone
from desireline.running import Running
from ingest.simulation.incidents import Incident
from ingest.simulation.sender import Door, Sent, stripe_headers
from ingest.simulation.world import HOUR, MINUTE, SEGMENT, STRIPE
from ingest.simulator import SimulationConfig, Traffic, arrivals, live_traffic, simulate
from models.errors import DesirelineError

CLIENT_CUSTOMERS = 30
LIVE_PER_S = 10.0
JAM_BACKLOG_MS = 5 * MINUTE
JAM_MS = 10 * MINUTE
SENDER_PATIENCE_S = 60.0
_COLLECTOR_SAYS = "The collector's log says why."


class DemoFailed(DesirelineError):
    """A part of the demo did not work."""


def door(running: Running, *, live: bool = False) -> Door:
    """The collector's, with the keys that `up` made."""
    return Door(
        collector_url=running.urls.collector,
        write_key=running.write_key,
        stripe_secret=running.stripe_secret,
        live=live,
    )


def expected(traffic: Traffic) -> tuple[int, int]:
    """How many arrivals there will be, and about how many touchpoints: copies and links are none."""
    total, seen = 0, set()
    for arrival in arrivals(traffic):
        total += 1
        if arrival.door == STRIPE or arrival.call["type"] != "identify":
            seen.add(arrival.call.get("messageId") or arrival.call["id"])
    return total, len(seen)


def client_calls(now: int) -> list[dict[str, Any]]:
    """Some customers of the last days, for the client to tell: web, chat and voice."""
    traffic = Traffic(
        seed=2, start_at=now - 72 * HOUR, over_ms=48 * HOUR, customers=CLIENT_CUSTOMERS, until_at=now - HOUR
    )
    return [arrival.call for arrival in arrivals(traffic) if arrival.door == SEGMENT]


class RealClient:
    """The real client in its own process, given its errand at once."""

    def __init__(self, running: Running, calls: list[dict[str, Any]]) -> None:
        errand = Errand(host=running.urls.collector, write_key=running.write_key, calls=calls)
        # files, since a pipe holds less than what is said
        self._said, self._errors = tempfile.TemporaryFile(), tempfile.TemporaryFile()  # noqa: SIM115  its own
        with tempfile.TemporaryFile() as given:
            given.write(msgspec.json.encode(errand))
            given.seek(0)
            self._process = subprocess.Popen(
                [sys.executable, "-P", "-m", "desireline.demo_client"],
                stdin=given,
                stdout=self._said,
                stderr=self._errors,
                start_new_session=True,  # Ctrl-C reaches us alone, and we end it
            )

    def __enter__(self) -> "RealClient":
        return self

    def __exit__(self, *_exception: object) -> None:
        self.end()

    def result(self) -> dict[str, int]:
        """Wait for it: how many calls it sent, by type."""
        try:
            code = self._process.wait(timeout=SENDER_PATIENCE_S)
        except subprocess.TimeoutExpired:
            self.end()
            raise DemoFailed(
                f"the Segment client did not end within {SENDER_PATIENCE_S:.0f} s", remedy=_COLLECTOR_SAYS
            ) from None
        said, errors = _content(self._said), _content(self._errors).decode(errors="replace")
        if code:
            last = errors.strip().splitlines()[-1:]
            why = msgspec.json.decode(said, type=ErrandDone).failures if said else last
            raise DemoFailed(
                f"the Segment client ended with {code}: {'; '.join(why)}", remedy=_COLLECTOR_SAYS
            )
        return msgspec.json.decode(said, type=ErrandDone).sent

    def end(self) -> None:
        """End it, if it still runs."""
        if self._process.poll() is None:
            self._process.kill()
        self._process.wait()
        self._said.close()
        self._errors.close()


def _content(file: IO[bytes]) -> bytes:
    file.seek(0)
    return file.read()


def send_stripe(running: Running, events: list[dict[str, Any]], sent: Callable[[], None]) -> int:
    """Sign and send each; how many were accepted, which is all."""
    url = f"{running.urls.collector}/webhooks/stripe"
    with httpx.Client(timeout=15) as client:
        for event in events:
            body = msgspec.json.encode(event)
            headers = stripe_headers(running.stripe_secret, body, int(time.time()))
            try:
                response = client.post(url, content=body, headers=headers)
            except httpx.HTTPError as error:
                raise DemoFailed(
                    f"the collector at {running.urls.collector} does not answer: {error}",
                    remedy=_COLLECTOR_SAYS,
                ) from error
            if response.status_code != 200 or response.json().get("rejected"):
                said = f"{response.status_code} {response.text[:200]}"
                raise DemoFailed(
                    f"Stripe's {event['type']} was not accepted: {said}",
                    remedy="`desireline rejected list` may say more.",
                )
            sent()
    return len(events)


class LiveTraffic:
    """Traffic of now in a thread of its own; its first minutes happened just before and come late."""

    def __init__(self, running: Running) -> None:
        self._running = running
        self._stopping = threading.Event()
        self._thread: threading.Thread | None = None
        self._failure: Exception | None = None
        self.sent = Sent()

    def start(self) -> None:
        """Begin; the queue jam is on from the first minute."""
        now = time.time_ns() // 1_000_000
        jam = Incident("queue_jam", now - JAM_BACKLOG_MS, now + JAM_MS)
        traffic = live_traffic(LIVE_PER_S, now=now, backlog_ms=JAM_BACKLOG_MS, seed=3, incidents=(jam,))
        config = SimulationConfig(traffic=traffic, door=door(self._running, live=True))
        self._thread = threading.Thread(target=self._run, args=(config,), name="live traffic", daemon=True)
        self._thread.start()

    def _run(self, config: SimulationConfig) -> None:
        try:
            simulate(config, self._progress, self._stopping.is_set)
        except Exception as error:
            self._failure = error

    def _progress(self, sent: Sent) -> None:
        self.sent = sent

    def check(self) -> None:
        """Raise what ended it, if something did."""
        if self._failure is not None:
            raise DemoFailed(f"live traffic ended: {self._failure}") from self._failure

    def stop(self) -> None:
        """End after what is under way."""
        self._stopping.set()
        if self._thread is not None:
            self._thread.join(timeout=20)
