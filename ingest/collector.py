"""The collector: reads, checks the key, maps, spools, answers. It waits for the disk, never for the broker.

Clients are particular about answers: anything but a 200 with a JSON object makes some of them send a batch
again, a redirect loses it, and errors must have `code`, `message` and `detail`.
"""

import asyncio
import math
import time
import uuid
import zlib
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from functools import partial
from typing import Any, NamedTuple

import msgspec
from fastapi import FastAPI, Request, Response
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect

from ingest import metrics
from ingest.config import CollectorConfig
from ingest.mapped import Mapped
from ingest.publisher import Publisher, needed_from
from ingest.rejection import NotTaken, Reason
from ingest.routes import (
    BATCH,
    CORRECTIONS,
    FROM_FILE,
    REFUSED,
    STRIPE,
    TOUCHPOINTS,
    TRACKING,
    map_with,
    parse,
    refused,
)
from ingest.signatures import verify_stripe
from ingest.sources import corrections
from ingest.sources.canonical import FILE_REQUEST_HEADER
from ingest.spool import Delivered, Spool, SpoolBroken, SpoolFull
from ingest.write_keys import Allowance, instance_of, unknown_basic
from models.touchpoint import Correction

_KEPT_HEADERS = ("content-type", "content-encoding", "user-agent", "x-retry-count", FILE_REQUEST_HEADER)
_LONGEST_HEADER = 500
_RETRY_AFTER_S = 5
_STRIPE_INSTANCE = "stripe"
_SHORT = {
    "t": "track",
    "p": "page",
    "s": "screen",
    "i": "identify",
    "g": "group",
    "a": "alias",
    "import": BATCH,
}
_STATUS: dict[Reason, int] = {"body_too_large": 413, "signature_invalid": 401, "signature_stale": 401}
_HEAVY_BYTES = 256 * 1024  # a larger body is read in a thread, since it would keep others waiting
# a browser gives its page the answer only if it says that any page may have it
_HEADERS = {"Access-Control-Allow-Origin": "*"}
_PREFLIGHT = {
    **_HEADERS,
    "Access-Control-Allow-Methods": "POST, OPTIONS",
    "Access-Control-Allow-Headers": "Authorization, Content-Type, Content-Encoding, X-Retry-Count",
    "Access-Control-Max-Age": "86400",
}

_encode = msgspec.json.Encoder().encode

Handler = Callable[[Request], Awaitable[Response]]


class Refusal(Exception):
    """Answered with an error. What it is about is not kept."""

    def __init__(
        self, status: int, code: str, message: str, detail: str = "", *, retry_after_s: int | None = None
    ) -> None:
        self.status = status
        self.code = code
        self.message = message
        self.detail = detail
        self.retry_after_s = retry_after_s
        super().__init__(message)


class _Checked(NamedTuple):
    """A body of somebody we know, as its mapper takes it."""

    route: str
    instance: str
    body: Any
    events: int


def create_app(
    config: CollectorConfig, now_ms: Callable[[], int] = lambda: time.time_ns() // 1_000_000
) -> FastAPI:
    """The ASGI application; spool and publisher start and end with it. `now_ms`: the clock, UTC ms."""
    collector = Collector(config, now_ms)

    @asynccontextmanager
    async def running(_: FastAPI) -> AsyncIterator[None]:
        await asyncio.to_thread(collector.start)
        yield
        await asyncio.to_thread(collector.stop)

    # with redirects off: clients follow one without the body, and lose it
    app = FastAPI(
        title="desireline collector", lifespan=running, redirect_slashes=False, openapi_url=None
    )  # fmt: skip
    for path, route in (
        *((f"/v1/{name}", name) for name in (BATCH, *TRACKING)),
        *((f"/v1/{short}", name) for short, name in _SHORT.items()),
        ("/batch", BATCH),
    ):
        _post(app, path, partial(collector.take, route, collector.check_calls))
    _post(app, "/v1/touchpoints", partial(collector.take, TOUCHPOINTS, collector.check_records))
    # no preflight: no page in a browser may correct identities
    app.add_route(
        "/v1/corrections", partial(collector.take, CORRECTIONS, collector.check_corrections), methods=["POST"]
    )
    _post(app, "/webhooks/stripe", partial(collector.take, STRIPE, collector.check_stripe))
    for path, answer in (
        ("/webhooks/stripe", _hello),
        ("/healthz", _hello),
        ("/readyz", collector.ready),
        ("/metrics", collector.metrics),
    ):
        app.add_route(path, answer, methods=["GET", "HEAD"])
    app.add_exception_handler(HTTPException, _no_such_thing)
    app.add_exception_handler(Exception, _our_fault)
    return app


def _post(app: FastAPI, path: str, handler: Handler) -> None:
    for each in (path, f"{path}/"):
        app.add_route(each, handler, methods=["POST"])
        app.add_route(each, _preflight, methods=["OPTIONS"])


class Collector:
    """What stands behind the routes."""

    def __init__(self, config: CollectorConfig, now_ms: Callable[[], int]) -> None:
        self._config = config
        self._now_ms = now_ms
        self._secrets = [secret.strip() for secret in config.stripe_secret.split(",") if secret.strip()]
        self._allowance = Allowance(config.calls_per_second)
        self._spool: Spool | None = None
        self.publisher = Publisher(config)

    def start(self) -> None:
        """Open the spool and begin to publish. SpoolTaken if another process has it."""
        self._spool = Spool(
            self._config.spool_dir,
            limit_bytes=self._config.spool_limit_bytes,
            on_commit=self.publisher.offer,
            needed_from=lambda: needed_from(self._config, self.publisher.position),
        )
        self.publisher.start(self._spool)

    def stop(self) -> None:
        """Write what was taken, and publish what the broker takes within seconds; the rest stays spooled."""
        if self._spool is not None:
            self._spool.close()
            self.publisher.stop()

    @property
    def spool(self) -> Spool:
        """The open spool."""
        if self._spool is None:
            raise SpoolBroken("the collector has not started")
        return self._spool

    async def ready(self, _request: Request) -> Response:
        """Whether touchpoints are taken. They are while the broker is away, too, and it says so."""
        fault = self.publisher.fault
        refusing = self.spool.fault or ("the spool is full" if self.spool.full else None)
        said = {
            "ready": refusing is None,
            "broker": "ok" if fault is None else "away",
            "fault": refusing or fault,
            "unpublished_bytes": self.publisher.unpublished_bytes,
            "spool_bytes": self.spool.size_bytes,
        }
        return _answer(200 if refusing is None else 503, said)

    async def metrics(self, _request: Request) -> Response:
        """For Prometheus."""
        metrics.UNPUBLISHED_BYTES.set(self.publisher.unpublished_bytes)
        metrics.SPOOL_BYTES.set(self.spool.size_bytes)
        metrics.BROKER_AWAY.set(self.publisher.fault is not None)
        return Response(generate_latest(), media_type=CONTENT_TYPE_LATEST)

    async def take(
        self, route: str, check: Callable[[Request, str, bytes, bytes], _Checked], request: Request
    ) -> Response:
        """Take what is sent to a route; 200 once it is on disk. `check` says who sent it and reads it."""
        try:
            response = await self._taken(route, check, request)
        except Refusal as refusal:
            metrics.REFUSED.labels(refusal.code).inc()
            response = _error(refusal)
        except (SpoolFull, SpoolBroken) as error:
            code = "spool_full" if isinstance(error, SpoolFull) else "spool_broken"
            response = _error(
                Refusal(503, code, "come again later", str(error), retry_after_s=_RETRY_AFTER_S)
            )
        except ClientDisconnect:
            response = _error(Refusal(400, "incomplete", "the body ended too early"))
        metrics.REQUESTS.labels(route, response.status_code).inc()
        return response

    async def _taken(
        self, route: str, check: Callable[[Request, str, bytes, bytes], _Checked], request: Request
    ) -> Response:
        limit = self._config.body_limit_bytes
        raw = b""
        try:
            if route != STRIPE and unknown_basic(_authorization(request), self._config.write_keys):
                raise _unknown_key()
            raw = await _body(request, limit)
            started = time.perf_counter()
            encoding = request.headers.get("content-encoding", "").strip().lower()
            heavy = len(raw) > _HEAVY_BYTES or encoding not in ("", "identity")
            plain = await asyncio.to_thread(_inflated, raw, encoding, limit) if heavy else raw
            heavy = len(plain) > _HEAVY_BYTES
            read = partial(check, request, route, raw, plain)
            checked = await asyncio.to_thread(read) if heavy else read()
        except NotTaken as why:
            return await self._refuse(request, route, raw, why)
        if not checked.events:
            return _accepted(0, 0)
        if wait_s := self._allowance.wait_s(checked.instance, checked.events):
            detail = f"{self._config.calls_per_second} calls per second are allowed"
            raise Refusal(429, "too_fast", "come again later", detail, retry_after_s=math.ceil(wait_s))
        delivered = self._delivered(request, checked.route, checked.instance, plain)
        map_it = partial(map_with, self._config, delivered, checked.body)
        mapped = await asyncio.to_thread(map_it) if heavy else map_it()
        if checked.route == CORRECTIONS and mapped.rejected:
            wrong = mapped.rejected[0]
            raise Refusal(400, wrong.reason, "the corrections are not taken", wrong.detail)
        await asyncio.wrap_future(self.spool.append(delivered, mapped))
        _count(mapped)
        metrics.REQUEST_S.observe(time.perf_counter() - started)
        whole = mapped.rejected[0] if checked.events == 1 and mapped.rejected else None
        if whole is not None and whole.reason == "invalid_json":
            return _error(Refusal(400, whole.reason, "the body is not taken", whole.detail))
        if checked.route == CORRECTIONS:
            return _corrected(mapped)
        return _accepted(mapped.accepted, len(mapped.rejected))

    def check_calls(self, request: Request, route: str, _raw: bytes, plain: bytes) -> _Checked:
        """Segment's calls: the key of the Basic header, else the body's `writeKey`, else a bearer token."""
        calls = parse(route, plain)
        instance = instance_of(_authorization(request), calls.write_key, self._config.write_keys)
        if instance is None:
            raise _unknown_key()
        return _Checked(route, instance, calls, len(calls.messages))

    def check_records(self, request: Request, route: str, _raw: bytes, plain: bytes) -> _Checked:
        """Records of our own form, also those of a file."""
        instance = instance_of(_authorization(request), None, self._config.write_keys)
        if instance is None:
            raise _unknown_key()
        if FILE_REQUEST_HEADER in request.headers:
            route = FROM_FILE
        records = parse(route, plain)
        return _Checked(route, instance, records, len(records) if isinstance(records, list) else 1)

    def check_corrections(self, request: Request, route: str, _raw: bytes, plain: bytes) -> _Checked:
        """Decisions about identities, of those who may make them: the key stands in a header."""
        instance = instance_of(_authorization(request), None, self._config.write_keys)
        if instance is None:
            raise _unknown_key()
        if instance not in self._config.identity_editors:
            raise Refusal(
                403,
                "not_allowed",
                f'the write key of "{instance}" may not correct identities',
                f"DESIRELINE_IDENTITY_EDITORS={instance} would allow it; not for a key that is in a web page.",
            )
        decided = parse(route, plain)
        return _Checked(route, instance, decided, len(decided) if isinstance(decided, list) else 1)

    def check_stripe(self, request: Request, _route: str, raw: bytes, plain: bytes) -> _Checked:
        """An event that Stripe has signed."""
        if not self._secrets:
            raise Refusal(404, "unknown_source", "the Stripe webhook is off", "Set DESIRELINE_STRIPE_SECRET.")
        header = request.headers.get("stripe-signature", "")
        try:
            verify_stripe(raw, header, self._secrets, self._now_ms() // 1000)
        except NotTaken as why:
            raise Refusal(401, why.reason, "the signature does not hold", why.detail) from why
        return _Checked(STRIPE, _STRIPE_INSTANCE, plain, 1)

    async def _refuse(self, request: Request, route: str, raw: bytes, why: NotTaken) -> Response:
        """Answer a body that is not taken as a whole; of a sender we know it is kept, with the reason."""
        # a webhook's sender is known by the signature, which nobody could look at
        keys = {} if route == STRIPE else self._config.write_keys
        instance = instance_of(_authorization(request), None, keys)
        if instance is None:
            metrics.REFUSED.labels(why.reason).inc()
        else:
            delivered = self._delivered(
                request, REFUSED, instance, raw, refused(why.reason, why.detail, route)
            )
            mapped = map_with(self._config, delivered)
            await asyncio.wrap_future(self.spool.append(delivered, mapped))
            _count(mapped)
        return _error(Refusal(_STATUS.get(why.reason, 400), why.reason, "the body is not taken", why.detail))

    def _delivered(
        self, request: Request, route: str, instance: str, body: bytes, said: dict[str, str] | None = None
    ) -> Delivered:
        headers = {
            name: request.headers[name][:_LONGEST_HEADER] for name in _KEPT_HEADERS if name in request.headers
        }
        id = f"{self.spool.name}{uuid.uuid4().hex[8:]}"
        return Delivered(id, self._now_ms(), route, instance, headers | (said or {}), body)


def _count(mapped: Mapped) -> None:
    counts: dict[tuple[str, str], int] = {}
    for record in mapped.records:
        of = getattr(record, "source", corrections.SOURCE), getattr(record, "channel", "")
        counts[of] = counts.get(of, 0) + 1
    for (source, channel), count in counts.items():
        metrics.ACCEPTED.labels(source, channel).inc(count)
    for one in mapped.rejected:
        metrics.REJECTED.labels(one.source, one.reason).inc()


def _unknown_key() -> Refusal:
    return Refusal(
        401,
        "unknown_write_key",
        "the write key is not known",
        "Send it as Basic user name, or as writeKey in the body.",
    )


def _authorization(request: Request) -> str | None:
    header: str | None = request.headers.get("authorization")
    return header


async def _body(request: Request, limit: int) -> bytes:
    announced = request.headers.get("content-length", "")
    if announced.isdecimal() and int(announced) > limit:
        raise _too_large(limit)
    pieces: list[bytes] = []
    size = 0
    async for piece in request.stream():
        size += len(piece)
        if size > limit:
            raise _too_large(limit)
        pieces.append(piece)
    return b"".join(pieces)


def _too_large(limit: int) -> NotTaken:
    return NotTaken("body_too_large", f"at most {limit:,} bytes, unpacked")


def _inflated(raw: bytes, encoding: str, limit: int) -> bytes:
    """The body unpacked; never more than `limit` bytes of it are."""
    if encoding in ("", "identity"):
        return raw
    if encoding not in ("gzip", "x-gzip", "deflate"):
        raise NotTaken("invalid_encoding", f'encoding "{encoding[:20]}" is not known; gzip, deflate or none')
    inflater = zlib.decompressobj(47)  # gzip or zlib, whichever its header says
    try:
        plain = inflater.decompress(raw, limit + 1)
    except zlib.error as error:
        raise NotTaken("invalid_encoding", f"the body does not unpack: {error}") from error
    if len(plain) > limit:
        raise _too_large(limit)
    if not inflater.eof:
        raise NotTaken("invalid_encoding", "the body is cut off: its gzip ends early")
    return plain


def _accepted(taken: int, not_taken: int) -> Response:
    return _answer(200, {"success": True, "accepted": taken, "rejected": not_taken})


def _corrected(mapped: Mapped) -> Response:
    """Which elements the decisions are, and where their effect is to be seen."""
    taken = [
        {"id": one.id, "see": f"desireline identity show {one.identifiers[0].key}"}
        for one in mapped.records
        if isinstance(one, Correction)
    ]
    return _answer(200, {"success": True, "accepted": len(taken), "rejected": 0, "corrections": taken})


def _answer(status: int, said: dict[str, Any]) -> Response:
    return Response(_encode(said), status, _HEADERS, media_type="application/json")


def _error(refusal: Refusal) -> Response:
    """Some clients read `code` and `message`, others `detail`; without them they blame the network."""
    response = _answer(
        refusal.status,
        {
            "success": False,
            "code": refusal.code,
            "message": refusal.message,
            "detail": refusal.detail or refusal.message,
        },
    )
    if refusal.retry_after_s is not None:
        response.headers["Retry-After"] = str(refusal.retry_after_s)
    return response


async def _preflight(_request: Request) -> Response:
    return Response(status_code=200, headers=_PREFLIGHT)


async def _hello(_request: Request) -> Response:
    return Response("ok\n", media_type="text/plain")


async def _no_such_thing(_request: Request, error: Exception) -> Response:
    status = error.status_code if isinstance(error, HTTPException) else 404
    code = "method_not_allowed" if status == 405 else "not_found"
    response = _error(Refusal(status, code, str(getattr(error, "detail", "")) or code))
    response.headers.update(getattr(error, "headers", None) or {})
    return response


async def _our_fault(_request: Request, _error_: Exception) -> Response:
    return _error(
        Refusal(500, "internal", "a fault of ours", "What was not answered with 200 may be sent again.")
    )
