"""Simulated calls on their way to a collector: Segment's in batches, Stripe's events signed, over HTTP."""

import asyncio
import base64
import gzip
import hashlib
import hmac
import time
from collections.abc import Callable, Iterable
from datetime import UTC, datetime
from typing import Any, NamedTuple

# aiohttp rather than httpx: 0.15 ms of CPU for a request instead of 1.0; a benchmark shares the machine
import aiohttp
import msgspec

from ingest.simulation.world import STRIPE
from models.errors import DesirelineError

PATIENCE_S = 60.0
"""How long a door that does not take anything is asked again."""

_FLUSH_EVERY_S = 0.25
_RETRYABLE = (408, 425, 429, 500, 502, 503, 504)


class SendingError(DesirelineError):
    """The collector does not take what is sent."""


class Arrival(NamedTuple):
    """One call as it reaches the door: UTC ms of its arrival, the door (SEGMENT or STRIPE), what is said."""

    arrives_at: int
    door: int
    call: dict[str, Any]


class Door(msgspec.Struct, frozen=True, kw_only=True):
    """Where and how calls are sent.

    `rate`: calls per second at most, None: as fast as they are taken. `live`: no call before its arrival
    by the wall clock. Without `stripe_secret` Stripe events are left out. Batches hold
    `batch_calls` calls at most.
    """

    collector_url: str
    write_key: str
    stripe_secret: str = ""
    rate: float | None = None
    live: bool = False
    batch_calls: int = 100
    connections: int = 4
    gzip: bool = False


class Sent(msgspec.Struct):
    """What became of it: calls sent, those that the collector's answers call accepted and rejected, retries.

    `reached_at`: UTC ms of the last arrival sent. `left_out`: Stripe events, for want of a secret.
    """

    calls: int = 0
    stripe_events: int = 0
    accepted: int = 0
    rejected: int = 0
    left_out: int = 0
    requests: int = 0
    retries: int = 0
    reached_at: int = 0
    seconds: float = 0.0

    @property
    def per_second(self) -> float:
        """Calls and events per second."""
        return (self.calls + self.stripe_events) / self.seconds if self.seconds else 0.0


class _Answer(msgspec.Struct):
    accepted: int = 0
    rejected: int = 0


class _Request(NamedTuple):
    door: int
    body: bytes
    calls: int
    reached_at: int


class Sender:
    """Sends arrivals through a door over several connections; `progress` is told after each answer.

    It ends early, after what is under way, once `stopping` says so. SendingError if the collector refuses a
    request for good, or takes nothing for `PATIENCE_S`.
    """

    def __init__(
        self,
        door: Door,
        progress: Callable[[Sent], None] = lambda sent: None,
        stopping: Callable[[], bool] = lambda: False,
    ) -> None:
        self._door = door
        self._progress = progress
        self._stopping = stopping
        self._sent = Sent()
        self._begun = time.monotonic()
        self._queue: asyncio.Queue[_Request | None] = asyncio.Queue(2 * door.connections)
        key = base64.b64encode(f"{door.write_key}:".encode()).decode()
        self._headers = {"Content-Type": "application/json", "Authorization": f"Basic {key}"}
        if door.gzip:
            self._headers["Content-Encoding"] = "gzip"
        self._url = door.collector_url.rstrip("/")

    async def send(self, arrivals: Iterable[Arrival]) -> Sent:
        """Send them all, in their order; over several connections they may overtake each other a little."""
        self._begun = time.monotonic()
        try:
            async with (
                aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=30)) as session,
                asyncio.TaskGroup() as group,
            ):
                for _ in range(self._door.connections):
                    group.create_task(self._post_queued(session))
                await self._enqueue(arrivals)
                for _ in range(self._door.connections):
                    await self._queue.put(None)
        except ExceptionGroup as failed:
            raise failed.exceptions[0] from None
        return self._sent

    async def _enqueue(self, arrivals: Iterable[Arrival]) -> None:
        door, taken, reached_at = self._door, 0, 0
        batch: list[dict[str, Any]] = []
        flushed_at = time.monotonic()
        for arrives_at, which, call in arrivals:
            if door.live or door.rate:
                while (ahead_s := self._ahead_s(arrives_at, taken)) > 0 and not self._stopping():
                    if batch and time.monotonic() - flushed_at >= _FLUSH_EVERY_S:
                        await self._put_batch(batch, reached_at)
                        batch, flushed_at = [], time.monotonic()
                    await asyncio.sleep(min(ahead_s, _FLUSH_EVERY_S))
            if self._stopping():
                break
            taken, reached_at = taken + 1, arrives_at
            if which == STRIPE:
                if door.stripe_secret:
                    await self._queue.put(_Request(STRIPE, msgspec.json.encode(call), 1, arrives_at))
                else:
                    self._sent.left_out += 1
                continue
            batch.append(call)
            if len(batch) >= door.batch_calls:
                await self._put_batch(batch, arrives_at)
                batch, flushed_at = [], time.monotonic()
        if batch:
            await self._put_batch(batch, reached_at)

    def _ahead_s(self, arrives_at: int, taken: int) -> float:
        """For how long the next call must wait, s."""
        ahead_s = 0.0
        if self._door.live:
            ahead_s = arrives_at / 1000 - time.time()
        if self._door.rate:
            ahead_s = max(ahead_s, taken / self._door.rate - (time.monotonic() - self._begun))
        return ahead_s

    async def _put_batch(self, batch: list[dict[str, Any]], reached_at: int) -> None:
        sent_at = datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
        body = msgspec.json.encode({"batch": batch, "sentAt": sent_at})
        if self._door.gzip:
            body = gzip.compress(body, compresslevel=1)
        await self._queue.put(_Request(0, body, len(batch), reached_at))

    async def _post_queued(self, session: aiohttp.ClientSession) -> None:
        while (request := await self._queue.get()) is not None:
            answer = await self._post(session, request)
            sent = self._sent
            sent.requests += 1
            if request.door == STRIPE:
                sent.stripe_events += request.calls
            else:
                sent.calls += request.calls
            sent.accepted += answer.accepted
            sent.rejected += answer.rejected
            sent.reached_at = max(sent.reached_at, request.reached_at)
            sent.seconds = time.monotonic() - self._begun
            self._progress(sent)

    async def _post(self, session: aiohttp.ClientSession, request: _Request) -> _Answer:
        path = "/webhooks/stripe" if request.door == STRIPE else "/v1/batch"
        give_up_at = time.monotonic() + PATIENCE_S
        pause_s = 0.1
        while True:
            headers = self._headers
            if request.door == STRIPE:
                headers = stripe_headers(self._door.stripe_secret, request.body, int(time.time()))
            try:
                async with session.post(self._url + path, data=request.body, headers=headers) as response:
                    content = await response.read()
                    status = response.status
                    pause_s = _retry_after_s(response.headers.get("Retry-After"), pause_s)
                why = f"it answers {status} to {path}: {content[:200].decode(errors='replace')}"
            except (aiohttp.ClientError, TimeoutError) as error:
                status, why = 503, str(error) or type(error).__name__
            if status == 200:
                return _answer(content)
            if status not in _RETRYABLE or time.monotonic() + pause_s > give_up_at or self._stopping():
                raise SendingError(
                    "the collector takes nothing", where=f"{self._url}: {why}", remedy=_remedy(status)
                )
            self._sent.retries += 1
            await asyncio.sleep(pause_s)
            pause_s = min(2 * pause_s, 5.0)


def stripe_headers(secret: str, body: bytes, at_s: int) -> dict[str, str]:
    """Headers of a webhook request as Stripe signs it; `at_s`: seconds since 1970."""
    signature = hmac.new(secret.encode(), f"{at_s}.".encode() + body, hashlib.sha256).hexdigest()
    return {
        "Content-Type": "application/json; charset=utf-8",
        "User-Agent": "Stripe/1.0 (+https://stripe.com/docs/webhooks)",
        "Stripe-Signature": f"t={at_s},v1={signature}",
    }


def _answer(content: bytes) -> _Answer:
    try:
        return msgspec.json.decode(content, type=_Answer)
    except msgspec.DecodeError:
        return _Answer()


def _retry_after_s(header: str | None, otherwise_s: float) -> float:
    try:
        return max(0.0, float(header)) if header else otherwise_s
    except ValueError:
        return otherwise_s


def _remedy(status: int) -> str:
    if status == 401:
        return "Check the write key and the Stripe secret."
    if status in _RETRYABLE:
        return "Is it running? `desireline up` starts one."
    return "`desireline rejected list` may say more."
