"""ClickHouse's HTTP interface over the embedded engine, as an ASGI application.

A request is read whole, its query runs in a thread, and its answer is sent piece by piece as the engine
makes it. A client that goes away ends its query.
"""

import asyncio
import base64
import contextlib
import hmac
import logging
import time
from collections.abc import Callable, Iterator, MutableMapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from email.parser import BytesParser
from email.policy import HTTP
from typing import Any
from urllib.parse import parse_qsl

import msgspec

from models.errors import DesirelineError
from warehouse import encodings
from warehouse.access import Access, Limits
from warehouse.answering import Sender, respond
from warehouse.engine import Engine, Handle, Query
from warehouse.refusals import EngineError
from warehouse.sessions import Sessions
from warehouse.statement import Statement, read

log = logging.getLogger(__name__)

READER = "reader"
# what a request says that is no setting of the engine
_NO_SETTINGS = frozenset(
    [
        "query",
        "database",
        "default_database",
        "user",
        "password",
        "default_format",
        "session_id",
        "session_timeout",
        "session_check",
        "query_id",
        "quota_key",
        "role",
        "compress",
        "decompress",
        "enable_http_compression",
        "http_zlib_compression_level",
        "client_protocol_version",
        "wait_end_of_query",
        "buffer_size",
        "send_progress_in_http_headers",
        "http_headers_progress_interval_ms",
        "cancel_http_readonly_queries_on_client_close",
        "add_http_cors_header",
        "http_make_head_request",
        "stacktrace",
        "http_write_exception_in_output_format",
        "close_session",
    ]
)
_KILL_AGAIN_S = 0.2
# ClickHouse, too, sends nothing before a buffer is full; most answers are whole by then
_TOGETHER_BYTES = 100_000
_MOST_BODY_BYTES = {Access.READ_ONLY: 4_000_000, Access.GET: 16_000_000, Access.READ_WRITE: 2_000_000_000}

Scope = MutableMapping[str, Any]


class Denied(DesirelineError):
    """Who asks is not known, or their password is not theirs."""


class Request(msgspec.Struct):
    """One request as ClickHouse's interface reads it."""

    method: str
    arguments: dict[str, str]
    headers: dict[str, str]
    body: bytes = b""

    def said(self, argument: str, header: str = "", default: str = "") -> str:
        """What the query string says, else a header."""
        return self.arguments.get(argument) or self.headers.get(header) or default

    def settings(self) -> dict[str, str]:
        return {
            name: value
            for name, value in self.arguments.items()
            if name not in _NO_SETTINGS and not name.startswith("param_")
        }

    def parameters(self) -> dict[str, str]:
        return {
            name.removeprefix("param_"): value
            for name, value in self.arguments.items()
            if name.startswith("param_")
        }


class HttpInterface:
    """The ASGI application over one engine; ends it with the lifespan."""

    def __init__(
        self, engine: Engine, *, password: str = "", reader_password: str = "", limits: Limits | None = None
    ) -> None:
        limits = limits or Limits()
        self.engine = engine
        self.sessions = Sessions(engine)
        self._passwords = {"default": password, READER: reader_password}
        # readers' queries wait for each other, and neither inserts nor the owner's queries for them
        self._asking = ThreadPoolExecutor(limits.reader_reading, thread_name_prefix="asking")
        self._reading = ThreadPoolExecutor(limits.reading, thread_name_prefix="reading")
        self._inserting = ThreadPoolExecutor(limits.inserting, thread_name_prefix="inserting")
        self._ending = ThreadPoolExecutor(4, thread_name_prefix="ending")
        self._running: set[_Run] = set()

    async def __call__(self, scope: Scope, receive: Any, send: Any) -> None:
        if scope["type"] == "lifespan":
            await self._lifespan(receive, send)
        elif scope["type"] == "http":
            await self._request(scope, receive, send)

    async def _request(self, scope: Scope, receive: Any, send: Any) -> None:
        if scope["path"] in ("/ping", "/replicas_status"):
            await respond(send, 200, b"Ok.\n")
            return
        if scope["path"] != "/":
            await respond(send, 404, b"There is no handler for this path. Ask on / or /ping.\n")
            return
        request = _begun(scope)
        try:
            access = self._access(request)
        except Denied as error:
            message = f"Code: 516. DB::Exception: {error} (AUTHENTICATION_FAILED)\n"
            await respond(send, 403, message.encode(), [(b"x-clickhouse-exception-code", b"516")])
            return
        body = await _body(receive, _MOST_BODY_BYTES[access])
        if body is None:
            return
        if len(body) > _MOST_BODY_BYTES[access]:
            await respond(
                send, 413, b"Code: 307. DB::Exception: the request's body is too long. (TOO_MANY_BYTES)\n"
            )
            return
        request.body = body
        if request.headers.get("content-type", "").startswith("multipart/form-data"):
            request.arguments.update(_form(request.headers["content-type"], body))
            request.body = b""
        if not request.body and not request.arguments.get("query"):
            await respond(send, 200, b"Ok.\n")
            return
        await self._answer(request, access, receive, send)

    def _access(self, request: Request) -> Access:
        user, password = _credentials(request)
        known = self._passwords.get(user)
        if known is None or not hmac.compare_digest(known.encode(), password.encode()):
            raise Denied(f"{user}: Authentication failed: password is incorrect, or there is no such user")
        if not known and _from_a_web_page(request):
            raise Denied("a page in a browser may ask only where there is a password")
        if user == READER:
            return Access.READ_ONLY
        return Access.READ_WRITE if request.method in ("POST", "PUT") else Access.GET

    async def _answer(self, request: Request, access: Access, receive: Any, send: Any) -> None:
        """Run the query in a thread and stream what it gives; end it when the client goes away."""
        run = _Run(self, request, access)
        self._running.add(run)
        loop = asyncio.get_running_loop()
        gone = asyncio.ensure_future(_disconnect(receive))
        sender = Sender(send, run, accepted=_accepted(request), query_id=request.said("query_id"))
        threads = self._threads(run, access)
        try:
            while True:
                piece = loop.run_in_executor(threads, run.next)
                waiting: set[asyncio.Future[Any]] = {piece, gone}
                await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
                if gone.done():
                    await self._end(run, piece)
                    return
                await sender.piece(await piece, last=run.closed)
                if run.closed:
                    return
        except EngineError as error:
            await self._close_run(run)
            await sender.failed(str(error), error.code)
        except Exception as error:
            log.exception("a query failed in a way that the engine does not explain")
            await self._close_run(run)
            await sender.failed(
                f"Code: 1002. DB::Exception: {type(error).__name__}. (UNKNOWN_EXCEPTION)", 1002
            )
        finally:
            gone.cancel()
            self._running.discard(run)
            await self._close_run(run)

    async def _close_run(self, run: "_Run") -> None:
        if not run.closed:
            await asyncio.shield(asyncio.get_running_loop().run_in_executor(self._ending, run.close))

    def _threads(self, run: "_Run", access: Access) -> ThreadPoolExecutor:
        if access is Access.READ_ONLY:
            return self._asking
        return self._inserting if run.inserts() else self._reading

    async def _end(self, run: "_Run", piece: "asyncio.Future[bytes]") -> None:
        """End what a client that is gone had asked; a handle is busy until its query has ended."""
        loop = asyncio.get_running_loop()
        while not piece.done():
            # it may not have begun when it is killed first
            await loop.run_in_executor(self._ending, run.kill)
            await asyncio.wait({piece}, timeout=_KILL_AGAIN_S)
        piece.exception()

    async def _lifespan(self, receive: Any, send: Any) -> None:
        while True:
            message = await receive()
            if message["type"] == "lifespan.shutdown":
                await asyncio.get_running_loop().run_in_executor(None, self._close)
            await send({"type": f"{message['type']}.complete"})
            if message["type"] == "lifespan.shutdown":
                return

    def _close(self) -> None:
        """What still runs had its time."""
        for run in list(self._running):
            run.kill()
        for threads in (self._asking, self._reading, self._inserting, self._ending):
            threads.shutdown(wait=True, cancel_futures=True)
        self.sessions.close()
        self.engine.close()


class _Run:
    """One query from its request to its last piece; its methods run in threads, `kill` beside the others."""

    def __init__(self, interface: HttpInterface, request: Request, access: Access) -> None:
        self._interface = interface
        self._request = request
        self._access = access
        self._stack = ExitStack()
        self._pieces: Iterator[bytes] | None = None
        self._whole = request.said("wait_end_of_query") in ("1", "true")
        self._ended = False
        self.closed = False
        self.began_at = time.monotonic()
        self.query: Query | None = None
        self.form = request.said("default_format", "x-clickhouse-format", "TabSeparated")

    def inserts(self) -> bool:
        """Whether it brings rows, as far as can be told before its body is read."""
        request = self._request
        begins = request.arguments.get("query", "").encode() or request.body[:200]
        encoded = not request.arguments.get("query") and "content-encoding" in request.headers
        return encoded or begins.lstrip()[:6].upper() == b"INSERT"

    def next(self) -> bytes:
        """The next of the answer, of at least `_TOGETHER_BYTES` before its end. With what is last, it is closed.

        EngineError.
        """
        if self._pieces is None:
            self._pieces = self._run()
        together, size = [], 0
        for piece in self._pieces:
            together.append(piece)
            size += len(piece)
            if size >= _TOGETHER_BYTES and not self._whole:
                break
        else:
            # before its client knows of the end: the next request may be in the same session
            self.close()
        return together[0] if len(together) == 1 else b"".join(together)

    def kill(self) -> None:
        """End the query wherever it is."""
        self._ended = True
        if self.query is not None:
            self.query.kill()

    def close(self) -> None:
        """Give the handle back; again it does nothing."""
        if self._pieces is not None:
            self._pieces.close()  # type: ignore[attr-defined]
        self._stack.close()
        self.closed = True

    def _run(self) -> Iterator[bytes]:
        request = self._request
        if request.said("decompress") in ("1", "true"):
            raise EngineError(
                "Code: 48. DB::Exception: ClickHouse's own block compression is not supported: "
                "use Content-Encoding. (NOT_IMPLEMENTED)"
            )
        try:
            body = encodings.decoded(
                request.body, request.headers.get("content-encoding", ""), _MOST_BODY_BYTES[self._access]
            )
        except ValueError as error:
            raise EngineError(f"Code: 354. DB::Exception: {error}. (ZLIB_INFLATE_FAILED)") from error
        statement = read(request.arguments.get("query", ""), body)
        self.form = statement.form or self.form
        handle = self._stack.enter_context(self._handle(statement))
        if self._ended:
            return
        self.query = Query(self._interface.engine, handle, statement)
        whole = self._whole or any(
            name in request.arguments for name in ("output_format_json_array_of_rows", "extremes")
        )
        pieces = self.query.pieces(self.form, request.parameters(), whole=whole)
        yield from pieces

    def _handle(self, statement: Statement) -> contextlib.AbstractContextManager[Handle]:
        request = self._request
        database = request.said("database", "x-clickhouse-database")
        session_id = request.said("session_id")
        if session_id and self._access is not Access.READ_ONLY:
            session = self._interface.sessions.of(session_id, statement)
            if session is not None:
                return session.handle(database, request.settings(), self._access)
        return self._interface.engine.handle(self._access, database or "default", request.settings())


def _begun(scope: Scope) -> Request:
    headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in scope["headers"]}
    arguments = dict(parse_qsl(scope["query_string"].decode("latin-1"), keep_blank_values=True))
    return Request(scope["method"], arguments, headers)


async def _body(receive: Any, most: int) -> bytes | None:
    """The body, or a little more than `most` of it; None if the client is gone."""
    pieces, size = [], 0
    while size <= most:
        message = await receive()
        if message["type"] == "http.disconnect":
            return None
        pieces.append(message.get("body", b""))
        size += len(pieces[-1])
        if not message.get("more_body"):
            break
    return pieces[0] if len(pieces) == 1 else b"".join(pieces)


def _form(content_type: str, body: bytes) -> dict[str, str]:
    """The fields of a multipart form: clients send long queries and parameters so."""
    parsed = BytesParser(policy=HTTP).parsebytes(
        b"Content-Type: " + content_type.encode() + b"\r\n\r\n" + body
    )
    fields = {}
    for part in parsed.iter_parts():
        name = part.get_param("name", header="content-disposition")
        if name:
            fields[str(name)] = bytes(part.get_payload(decode=True) or b"").decode()
    return fields


def _credentials(request: Request) -> tuple[str, str]:
    basic = request.headers.get("authorization", "")
    if basic.lower().startswith("basic "):
        try:
            user, _, password = base64.b64decode(basic[6:], validate=True).decode().partition(":")
        except ValueError as error:
            raise Denied("the Authorization header is no Basic one") from error
        return user or "default", password
    return (
        request.said("user", "x-clickhouse-user", "default"),
        request.said("password", "x-clickhouse-key"),
    )


def _from_a_web_page(request: Request) -> bool:
    """A page of any site can have the browser send requests to this machine; the browser says that it did."""
    return "origin" in request.headers or request.headers.get("sec-fetch-site", "none") != "none"


def _accepted(request: Request) -> tuple[str, Callable[[], encodings.Compressor]] | None:
    if request.said("enable_http_compression") not in ("1", "true"):
        return None
    return encodings.best(request.headers.get("accept-encoding", ""))


async def _disconnect(receive: Any) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
