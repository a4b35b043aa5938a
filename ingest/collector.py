"""The collector: reads, checks the key, maps, spools, answers. Kafka may be away; the answer waits for the
disk alone.

Clients are particular about answers: anything but a 200 with a JSON object makes some of them send a batch
again, a redirect loses it, and errors must have `code`, `message` and `detail`.
"""

import asyncio
import time
import uuid
import zlib
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import msgspec
from fastapi import FastAPI, Request, Response
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest

from ingest import metrics
from ingest.config import CollectorConfig
from ingest.mapped import Mapped
from ingest.publisher import Publisher
from ingest.rejection import NotTaken, Reason
from ingest.routes import FROM_FILE, REFUSED, TRACKING, map_with, refused
from ingest.signatures import verify_stripe
from ingest.spool import Delivered, Spool, SpoolBroken, SpoolFull
from ingest.write_keys import basic_key, source_instance

_KEPT_HEADERS = ("user-agent", "x-retry-count", "content-encoding")
_RETRY_AFTER_S = 30
STRIPE_INSTANCE = "stripe"

_decode = msgspec.json.Decoder().decode
_encode = msgspec.json.Encoder().encode


class Refusal(Exception):
    """Answered with an error; `keep` (a reason) if the sender is known and the body is dead-lettered."""

    def __init__(self, status: int, code: str, message: str, detail: str, keep: Reason | None = None) -> None:
        self.status = status
        self.code = code
        self.message = message
        self.detail = detail
        self.keep = keep
        super().__init__(message)


def create_app(
    config: CollectorConfig, now_ms: Callable[[], int] = lambda: time.time_ns() // 1_000_000
) -> FastAPI:
    """The ASGI application; spool and publisher start with it and end with it. `now_ms`: the clock, UTC
    ms.
    """
    collector = Collector(config, now_ms)

    @asynccontextmanager
    async def running(_: FastAPI) -> AsyncIterator[None]:
        collector.start()
        yield
        await asyncio.to_thread(collector.stop)

    app = FastAPI(title="desireline collector", lifespan=running, redirect_slashes=False)
    for path, route in (
        ("/v1/batch", "batch"),
        ("/batch", "batch"),
        *((f"/v1/{call}", call) for call in TRACKING),
    ):
        _both(app, path, collector.handler(route))
    _both(app, "/v1/touchpoints", collector.handler("touchpoints"))
    _both(app, "/webhooks/stripe", collector.stripe)

    @app.get("/healthz", include_in_schema=False)
    async def healthz() -> Response:
        return Response("ok\n", media_type="text/plain")

    @app.get("/readyz", include_in_schema=False)
    async def readyz() -> Response:
        return _answer(200, collector.state())

    @app.get("/metrics", include_in_schema=False)
    async def prometheus() -> Response:
        metrics.UNPUBLISHED_BYTES.set(collector.publisher.unpublished_bytes)
        return Response(generate_latest(), media_type=CONTENT_TYPE_LATEST)

    return app


def _both(app: FastAPI, path: str, handler: Callable[[Request], Awaitable[Response]]) -> None:
    # with and without the slash: clients follow a redirect without the body, and lose it
    app.add_api_route(path, handler, methods=["POST"])
    app.add_api_route(f"{path}/", handler, methods=["POST"], include_in_schema=False)


class Collector:
    """What stands behind the routes."""

    def __init__(self, config: CollectorConfig, now_ms: Callable[[], int]) -> None:
        self._config = config
        self._now_ms = now_ms
        self.publisher = Publisher(config)
        self._spool: Spool | None = None

    def start(self) -> None:
        self._spool = Spool(
            self._config.spool_dir, limit_bytes=self._config.spool_limit_bytes, on_commit=self.publisher.offer
        )
        self.publisher.start(self._spool)

    def stop(self) -> None:
        if self._spool is not None:
            self._spool.close()
        self.publisher.stop()

    @property
    def spool(self) -> Spool:
        if self._spool is None:
            raise SpoolBroken("the collector has not started")
        return self._spool

    def state(self) -> dict[str, Any]:
        """For /readyz: touchpoints are taken also while the broker is away."""
        return {
            "ready": True,
            "broker": "ok" if self.publisher.broker_away_since is None else "away",
            "unpublished_bytes": self.publisher.unpublished_bytes,
            "spool_bytes": self.spool.size_bytes,
        }

    def handler(self, route: str) -> Callable[[Request], Awaitable[Response]]:
        """The handler of a route that is open to write keys."""

        async def take(request: Request) -> Response:
            return await self._answered(request, route, self._with_key)

        take.__doc__ = f"Take what a client sends to `{route}`; 200 once it is on disk."
        return take

    async def stripe(self, request: Request) -> Response:
        """Take a signed event of Stripe; 200 once it is on disk."""
        return await self._answered(request, "stripe", self._signed)

    async def _answered(self, request: Request, route: str, check: Any) -> Response:
        started = time.perf_counter()
        instance = None
        raw = b""
        try:
            raw = await _body(request, self._config.body_limit_bytes)
            instance = source_instance(
                basic_key(request.headers.get("authorization")), self._config.write_keys
            )
            plain = _inflated(raw, request.headers.get("content-encoding", ""), self._config.body_limit_bytes)
            instance, body = check(request, plain, instance)
            if route == "touchpoints" and request.headers.get("desireline-file"):
                route = FROM_FILE
            mapped = await self._keep(request, route, instance, plain, body)
        except Refusal as refusal:
            return await self._refuse(request, route, instance, raw, refusal)
        except SpoolFull as full:
            return _error(503, "spool_full", str(full), {"Retry-After": str(_RETRY_AFTER_S)})
        except SpoolBroken as broken:
            return _error(503, "spool_broken", str(broken), {"Retry-After": str(_RETRY_AFTER_S)})
        metrics.REQUEST_S.observe(time.perf_counter() - started)
        whole = mapped.rejected[0] if len(mapped.rejected) == 1 and not mapped.records else None
        if whole is not None and whole.reason == "invalid_json":
            return _error(400, "invalid_json", whole.detail)
        return _answer(
            200, {"success": True, "accepted": len(mapped.records), "rejected": len(mapped.rejected)}
        )

    def _with_key(self, _request: Request, plain: bytes, instance: str | None) -> tuple[str, Any]:
        """Who sent it, and its JSON: the key of the Basic header, else the body's `writeKey`."""
        try:
            body = _decode(plain)
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            if instance is None:
                raise _unknown_key() from error
            raise Refusal(
                400, "invalid_json", "the body is no JSON", str(error), keep="invalid_json"
            ) from error
        if instance is None and isinstance(body, dict):
            key = body.get("writeKey") or body.get("api_key")
            instance = source_instance(key if isinstance(key, str) else None, self._config.write_keys)
        if instance is None:
            raise _unknown_key()
        return instance, body

    def _signed(self, request: Request, plain: bytes, _instance: str | None) -> tuple[str, Any]:
        if not self._config.stripe_secret:
            raise Refusal(404, "unknown_source", "the Stripe webhook is off", "Set DESIRELINE_STRIPE_SECRET.")
        try:
            verify_stripe(
                plain,
                request.headers.get("stripe-signature", ""),
                self._config.stripe_secret,
                self._now_ms() // 1000,
            )
        except NotTaken as why:
            raise Refusal(401, why.reason, "the signature does not hold", why.detail) from why
        try:
            return STRIPE_INSTANCE, _decode(plain)
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            raise Refusal(
                400, "invalid_json", "the body is no JSON", str(error), keep="invalid_json"
            ) from error

    async def _keep(self, request: Request, route: str, instance: str, plain: bytes, body: Any) -> Mapped:
        headers = {name: request.headers[name] for name in _KEPT_HEADERS if name in request.headers}
        delivered = Delivered(uuid.uuid4().hex, self._now_ms(), route, instance, headers, plain)
        mapped = map_with(self._config, delivered, body)
        await asyncio.wrap_future(self.spool.append(delivered, mapped))
        for record in mapped.records:
            source = getattr(record, "source", "correction")
            metrics.ACCEPTED.labels(source, getattr(record, "channel", "")).inc()
        for rejected in mapped.rejected:
            metrics.REJECTED.labels(rejected.source, rejected.reason).inc()
        return mapped

    async def _refuse(
        self, request: Request, route: str, instance: str | None, raw: bytes, refusal: Refusal
    ) -> Response:
        metrics.REFUSED.labels(str(refusal.status)).inc()
        if refusal.keep is not None and (instance is not None or route == "stripe"):
            headers = {"route": route, **refused(refusal.keep, refusal.detail)}
            delivered = Delivered(
                uuid.uuid4().hex, self._now_ms(), REFUSED, instance or STRIPE_INSTANCE, headers, raw
            )
            try:
                await asyncio.wrap_future(self.spool.append(delivered))
            except (SpoolFull, SpoolBroken) as error:
                return _error(503, "spool_full", str(error), {"Retry-After": str(_RETRY_AFTER_S)})
        return _error(refusal.status, refusal.code, refusal.message, detail=refusal.detail)


def _unknown_key() -> Refusal:
    return Refusal(
        401,
        "unknown_write_key",
        "the write key is not known",
        "Send it as Basic user name, or as writeKey in the body.",
    )


async def _body(request: Request, limit: int) -> bytes:
    if int(request.headers.get("content-length") or 0) > limit:
        raise _too_large(limit)
    pieces, size = [], 0
    async for piece in request.stream():
        size += len(piece)
        if size > limit:
            raise _too_large(limit)
        pieces.append(piece)
    return b"".join(pieces)


def _too_large(limit: int) -> Refusal:
    return Refusal(413, "body_too_large", "the body is too large", f"at most {limit} bytes, unpacked")


def _inflated(raw: bytes, encoding: str, limit: int) -> bytes:
    """The body unpacked, at most `limit` bytes of it."""
    if encoding in ("", "identity"):
        return raw
    if encoding not in ("gzip", "deflate"):
        raise Refusal(
            400, "invalid_encoding", f"encoding {encoding[:20]} is not known", "gzip, deflate or none"
        )
    inflater = zlib.decompressobj(47)
    try:
        plain = inflater.decompress(raw, limit + 1)
    except zlib.error as error:
        raise Refusal(
            400, "invalid_encoding", "the body does not unpack", str(error), keep="invalid_encoding"
        ) from error
    if len(plain) > limit:
        raise _too_large(limit)
    if not inflater.eof:
        raise Refusal(
            400, "invalid_encoding", "the body is cut off", "gzip ends early", keep="invalid_encoding"
        )
    return plain


def _answer(status: int, said: dict[str, Any], headers: dict[str, str] | None = None) -> Response:
    return Response(_encode(said), status, headers, media_type="application/json")


def _error(
    status: int, code: str, message: str, headers: dict[str, str] | None = None, *, detail: str = ""
) -> Response:
    return _answer(
        status, {"success": False, "code": code, "message": message, "detail": detail or message}, headers
    )
