"""The embedded warehouse: ClickHouse's HTTP interface over the chDB engine, one process on one folder.

To its clients it is a ClickHouse server: `POST /` and `GET /` with a query, `param_*`, settings, formats,
compressed
bodies both ways, exception codes, sessions with temporary tables, `/ping`. Users are `default`, who may do
everything, and `reader`, who may only read tables.

    python -P -m warehouse.embedded --path DIR --port 8123
"""

import argparse
import asyncio
import base64
import hmac
import logging
import os
import re
import secrets
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections import OrderedDict
from collections.abc import Iterator, MutableMapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl

import msgspec
import uvicorn

from models.errors import DesirelineError
from warehouse import encodings
from warehouse.engine import Access, DataFolderTaken, Engine, EngineError, Handle, Query
from warehouse.read_only import Refused

log = logging.getLogger(__name__)

READER = "reader"
# what an HTTP request says that is no setting of the engine
_NO_SETTINGS = frozenset(
    {
        *(
            "query",
            "query_id",
            "database",
            "default_database",
            "default_format",
            "quota_key",
            "role",
            "stacktrace",
        ),
        *("user", "password", "session_id", "session_timeout", "session_check", "readonly"),
        *("compress", "decompress", "enable_http_compression", "http_zlib_compression_level"),
        *("wait_end_of_query", "buffer_size", "client_protocol_version", "add_http_cors_header"),
        *("send_progress_in_http_headers", "http_headers_progress_interval_ms", "http_make_head_request"),
        *("cancel_http_readonly_queries_on_client_close", "http_write_exception_in_output_format"),
    }
)
_INSERTED = re.compile(
    rb"\s*INSERT\s+INTO\s+(?P<into>.*?)(?P<settings>\s+SETTINGS\s+[^\n]*?)?"
    rb"\s+FORMAT\s+(?P<format>\w+)[ \t]*;?(?:\r?\n|\s|$)",
    re.IGNORECASE | re.DOTALL,
)
_FORMAT = re.compile(r"\bFORMAT\s+(\w+)\s*(?:SETTINGS\b.*)?;?\s*$", re.IGNORECASE | re.DOTALL)
_WORTH_COMPRESSING = 1024
_SESSIONS = 64
_NOT_FOUND = {16, 36, 46, 47, 50, 56, 60, 81, 115}
_BAD_REQUEST = {6, 26, 27, 33, 38, 41, 42, 43, 44, 53, 62, 72, 117, 130, 131, 456, 457}

Scope = MutableMapping[str, Any]


class Limits(msgspec.Struct, frozen=True, kw_only=True):
    """What one query may take: memory in bytes, time in seconds. A reader may ask for less, never for
    more.
    """

    memory_bytes: int = 4_000_000_000
    reader_memory_bytes: int = 2_000_000_000
    reader_seconds: int = 60
    seconds: int = 3_600
    running: int = 32


class Denied(DesirelineError):
    """Who asks is not known, or their password is not theirs."""


class Request(msgspec.Struct):
    """One request as ClickHouse's interface reads it."""

    method: str
    arguments: dict[str, str]
    headers: dict[str, str]
    body: bytes

    def said(self, argument: str, header: str = "", default: str = "") -> str:
        return self.arguments.get(argument) or self.headers.get(header) or default


class Server:
    """The ASGI application over one engine."""

    def __init__(
        self, path: str, *, password: str = "", reader_password: str = "", limits: Limits | None = None
    ) -> None:
        self._engine = Engine(path)
        self._passwords = {"default": password, READER: reader_password}
        self._limits = limits or Limits()
        self._threads = ThreadPoolExecutor(self._limits.running, thread_name_prefix="query")
        self._housekeeping = ThreadPoolExecutor(2, thread_name_prefix="kill")
        self._sessions: OrderedDict[tuple[str, str], _Session] = OrderedDict()

    async def __call__(self, scope: Scope, receive: Any, send: Any) -> None:
        if scope["type"] == "lifespan":
            await self._lifespan(receive, send)
            return
        if scope["type"] != "http":
            return
        path = scope["path"]
        if path == "/ping" or path == "/replicas_status":
            await _respond(send, 200, b"Ok.\n")
            return
        request = await _read(scope, receive)
        if path != "/" or request is None:
            await _respond(send, 404, b"There is no handler for this path. Ask on / or /ping.\n")
            return
        if request.method in ("GET", "HEAD") and "query" not in request.arguments:
            await _respond(send, 200, b"Ok.\n")
            return
        try:
            access = self._access(request)
        except Denied as error:
            message = f"Code: 516. DB::Exception: {error} (AUTHENTICATION_FAILED)"
            await _respond(send, 403, message.encode(), [(b"x-clickhouse-exception-code", b"516")])
            return
        await self._answer(request, access, receive, send)

    def _access(self, request: Request) -> Access:
        user, password = _credentials(request)
        if user not in self._passwords or not hmac.compare_digest(
            self._passwords[user].encode(), password.encode()
        ):
            raise Denied(f"{user}: Authentication failed: password is incorrect, or there is no such user")
        if user == READER:
            return Access.READ_ONLY
        return Access.GET if request.method != "POST" else Access.READ_WRITE

    async def _answer(self, request: Request, access: Access, receive: Any, send: Any) -> None:
        """Run the query in a thread and stream what it gives; end it when the client goes away."""
        run = _Run(self, request, access)
        loop = asyncio.get_running_loop()
        gone: asyncio.Future[None] = asyncio.ensure_future(_disconnect(receive))
        started = time.monotonic()
        sender = _Sender(send, request, run, started)
        try:
            while True:
                piece: asyncio.Future[bytes | None] = asyncio.ensure_future(
                    loop.run_in_executor(self._threads, run.next)
                )
                under_way: list[asyncio.Future[Any]] = [piece, gone]
                await asyncio.wait(under_way, return_when=asyncio.FIRST_COMPLETED)
                if not piece.done():
                    # a handle is busy until its query has ended
                    await loop.run_in_executor(self._housekeeping, run.kill)
                    await asyncio.wait([piece])
                    piece.exception()
                    return
                if gone.done():
                    piece.exception()
                    return
                data = piece.result()
                if data is None:
                    await sender.finish()
                    return
                await sender.piece(data)
        except (EngineError, Refused) as error:
            await sender.failed(str(error))
        except DesirelineError as error:
            await sender.failed(f"Code: 36. DB::Exception: {error} (BAD_ARGUMENTS)")
        finally:
            gone.cancel()
            await loop.run_in_executor(self._threads, run.close)

    @contextmanager
    def handle_for(self, request: Request, access: Access) -> Iterator[Handle]:
        """The handle to run a request on: its session's, or one for just this query."""
        session_id = request.said("session_id")
        if not session_id:
            with self._engine.handle(access) as handle:
                yield handle
            return
        key = (f"{access}", session_id)
        session = self._sessions.get(key)
        if session is None:
            session = self._sessions[key] = _Session(self._engine, access)
            while len(self._sessions) > _SESSIONS:
                self._sessions.popitem(last=False)[1].close()
        self._sessions.move_to_end(key)
        with session.locked(session_id) as handle:
            yield handle

    def query(self, handle: Handle, text: str, parameters: dict[str, str]) -> Query:
        return self._engine.query(handle, text, parameters)

    def settings(self, request: Request, access: Access) -> dict[str, str]:
        """The settings of a request, within what its user may take."""
        said = {
            name: value
            for name, value in request.arguments.items()
            if name not in _NO_SETTINGS and not name.startswith("param_")
        }
        limits = self._limits
        if access is Access.READ_ONLY:
            # the handle is read-only for good: its limits were set before, and a lower wish is a courtesy
            return {}
        said.setdefault("max_memory_usage", str(limits.memory_bytes))
        said.setdefault("max_execution_time", str(limits.seconds))
        return said

    async def _lifespan(self, receive: Any, send: Any) -> None:
        while True:
            message = await receive()
            await send({"type": f"{message['type']}.complete"})
            if message["type"] == "lifespan.shutdown":
                self._threads.shutdown(wait=True)
                self._engine.close()
                return


class _Session:
    """A handle that a client keeps between its queries, with its temporary tables."""

    def __init__(self, engine: Engine, access: Access) -> None:
        self._stack = ExitStack()
        self._handle = self._stack.enter_context(engine.handle(access))
        self._busy = False

    @contextmanager
    def locked(self, session_id: str) -> Iterator[Handle]:
        if self._busy:
            raise EngineError(
                f"Code: 373. DB::Exception: Session {session_id} is locked by a concurrent client."
                " (SESSION_IS_LOCKED)"
            )
        self._busy = True
        try:
            yield self._handle
        finally:
            self._busy = False

    def close(self) -> None:
        # its temporary tables go with the handle, which therefore is not used again
        self._handle.connection.close()


class _Run:
    """One query from its request to its last piece; `next` and `close` are called from threads, one at
    a time.
    """

    def __init__(self, server: Server, request: Request, access: Access) -> None:
        self._server = server
        self._request = request
        self._access = access
        self._stack = ExitStack()
        self._pieces: Iterator[bytes] | None = None
        self.query: Query | None = None
        text = request.arguments.get("query", "")
        default = "TabSeparated"
        said = _FORMAT.search(text or request.body[-2000:].decode("utf-8", "replace"))
        self.form = said[1] if said else request.said("default_format", "x-clickhouse-format", default)

    def next(self) -> bytes | None:
        """The next piece of the answer; None at its end."""
        if self._pieces is None:
            self._pieces = self._start()
        return next(self._pieces, None)

    def kill(self) -> None:
        if self.query is not None:
            self.query.kill()

    def close(self) -> None:
        if self._pieces is not None:
            self._pieces.close()  # type: ignore[attr-defined]
        self._stack.close()

    def _start(self) -> Iterator[bytes]:
        server, request = self._server, self._request
        try:
            body = encodings.decoded(request.body, request.headers.get("content-encoding", ""))
        except ValueError as error:
            raise EngineError(f"Code: 354. DB::Exception: {error} (ZLIB_INFLATE_FAILED)") from error
        handle = self._stack.enter_context(server.handle_for(request, self._access))
        database = request.said("database", "x-clickhouse-database", "default")
        handle.prepare(database, server.settings(request, self._access))
        with _statement(request.arguments.get("query", ""), body) as text:
            parameters = {
                name.removeprefix("param_"): value
                for name, value in request.arguments.items()
                if name.startswith("param_")
            }
            self.query = server.query(handle, text, parameters)
            yield from self.query.chunks(self.form, parameters)


@contextmanager
def _statement(text: str, body: bytes) -> Iterator[str]:
    """The statement to run; the data of an INSERT lie in a file that lives as long as the `with`."""
    whole = (text.encode() + (b"\n" if text else b"") + body) if text or body else b""
    inserted = _INSERTED.match(whole)
    if inserted is None or b" FROM INFILE " in inserted["into"].upper():
        yield whole.decode("utf-8", "replace").strip()
        return
    with tempfile.NamedTemporaryFile(prefix="desireline-insert-", delete=True) as file:
        file.write(memoryview(whole)[inserted.end() :])
        file.flush()
        settings = (inserted["settings"] or b"").decode()
        yield (
            f"INSERT INTO {inserted['into'].decode()} FROM INFILE '{file.name}' COMPRESSION 'none'"
            f"{settings} FORMAT {inserted['format'].decode()}"
        )


class _Sender:
    """Sends pieces as they come; compresses them if the client wants that and they are worth it."""

    def __init__(self, send: Any, request: Request, run: _Run, started: float) -> None:
        self._send = send
        self._run = run
        self._started = started
        wants = request.said("enable_http_compression") in ("1", "true")
        self._encoding = encodings.best(request.headers.get("accept-encoding", "")) if wants else None
        self._compressor: encodings.Compressor | None = None
        self._begun = False

    async def piece(self, data: bytes) -> None:
        if not self._begun:
            if self._encoding and len(data) >= _WORTH_COMPRESSING:
                self._compressor = self._encoding[1]()
            await self._begin(200)
        await self._body(self._compressor.piece(data) if self._compressor else data, more=True)

    async def finish(self) -> None:
        if not self._begun:
            await self._begin(200)
        await self._body(self._compressor.finish() if self._compressor else b"", more=False)

    async def failed(self, message: str) -> None:
        code = EngineError(message).code
        if not self._begun:
            self._compressor = None
            await self._begin(_status(code), [(b"x-clickhouse-exception-code", str(code).encode())])
            await self._body(message.encode() + b"\n", more=False)
            return
        # the answer has begun: ClickHouse writes the exception into it, and readers look for it there
        await self._body(self._compressed(f"\n{message}\n".encode()), more=False)

    def _compressed(self, data: bytes) -> bytes:
        return self._compressor.piece(data) + self._compressor.finish() if self._compressor else data

    async def _begin(self, status: int, further: list[tuple[bytes, bytes]] | None = None) -> None:
        self._begun = True
        query = self._run.query
        summary = {
            "read_rows": str(query.rows_read if query else 0),
            "read_bytes": str(query.bytes_read if query else 0),
            "written_rows": "0",
            "written_bytes": "0",
            "total_rows_to_read": "0",
            "result_rows": "0",
            "result_bytes": "0",
            "elapsed_ns": str(int((time.monotonic() - self._started) * 1e9)),
        }
        headers = [
            (b"content-type", _content_type(self._run.form)),
            (b"x-clickhouse-format", self._run.form.encode()),
            (b"x-clickhouse-query-id", (query.id if query else secrets.token_hex(16)).encode()),
            (b"x-clickhouse-server-display-name", b"desireline"),
            (b"x-clickhouse-timezone", b"UTC"),
            (b"x-clickhouse-summary", msgspec.json.encode(summary)),
            *(further or []),
        ]
        if self._compressor and self._encoding:
            headers.append((b"content-encoding", self._encoding[0].encode()))
        await self._send({"type": "http.response.start", "status": status, "headers": headers})

    async def _body(self, data: bytes, *, more: bool) -> None:
        await self._send({"type": "http.response.body", "body": data, "more_body": more})


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


def _status(code: int) -> int:
    if code in _NOT_FOUND:
        return 404
    if code in _BAD_REQUEST:
        return 400
    return {164: 403, 516: 403, 48: 501, 373: 409, 159: 408}.get(code, 500)


def _content_type(form: str) -> bytes:
    if form.startswith("JSON") and "EachRow" not in form:
        return b"application/json; charset=UTF-8"
    return {
        "Native": b"application/octet-stream",
        "RowBinary": b"application/octet-stream",
        "Parquet": b"application/octet-stream",
        "Arrow": b"application/octet-stream",
        "JSONEachRow": b"application/x-ndjson; charset=UTF-8",
        "CSV": b"text/csv; charset=UTF-8; header=absent",
        "CSVWithNames": b"text/csv; charset=UTF-8; header=present",
    }.get(
        form,
        b"text/tab-separated-values; charset=UTF-8" if "Separated" in form else b"text/plain; charset=UTF-8",
    )


async def _read(scope: Scope, receive: Any) -> Request | None:
    pieces = []
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            return None
        pieces.append(message.get("body", b""))
        if not message.get("more_body"):
            break
    headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in scope["headers"]}
    body = b"".join(pieces)
    arguments = dict(parse_qsl(scope["query_string"].decode("latin-1"), keep_blank_values=True))
    if headers.get("content-type", "").startswith("multipart/form-data"):
        arguments.update(await _form(headers["content-type"], body))
        body = b""
    return Request(scope["method"], arguments, headers, body)


async def _form(content_type: str, body: bytes) -> dict[str, str]:
    """The fields of a multipart form: clients send long parameters so."""
    import email.policy
    from email.parser import BytesParser

    parsed = BytesParser(policy=email.policy.HTTP).parsebytes(
        b"Content-Type: " + content_type.encode() + b"\r\n\r\n" + body
    )
    fields = {}
    for part in parsed.iter_parts():
        name = part.get_param("name", header="content-disposition")
        if name:
            fields[str(name)] = bytes(part.get_payload(decode=True) or b"").decode()
    return fields


async def _respond(
    send: Any, status: int, body: bytes, headers: list[tuple[bytes, bytes]] | None = None
) -> None:
    start = [(b"content-type", b"text/plain; charset=UTF-8"), *(headers or [])]
    await send({"type": "http.response.start", "status": status, "headers": start})
    await send({"type": "http.response.body", "body": body})


async def _disconnect(receive: Any) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


def main(arguments: list[str] | None = None) -> int:
    """Serve until SIGTERM or SIGINT; running queries get 10 s to end. 1: the folder or the port is taken."""
    parser = argparse.ArgumentParser(prog="warehouse.embedded", description="ClickHouse over HTTP, embedded.")
    parser.add_argument("--path", required=True, help="data folder")
    parser.add_argument("--port", type=int, default=8123)
    parser.add_argument(
        "--host", default="127.0.0.1", help="address to listen on; beyond loopback a password is needed"
    )
    parser.add_argument("--password", default=os.environ.get("DESIRELINE_WAREHOUSE_PASSWORD", ""))
    parser.add_argument("--reader-password", default="")
    parser.add_argument(
        "--memory-bytes", type=int, default=Limits().memory_bytes, help="what one query may take"
    )
    said = parser.parse_args(arguments)
    try:
        serve(
            said.path,
            port=said.port,
            host=said.host,
            password=said.password,
            reader_password=said.reader_password,
            limits=Limits(memory_bytes=said.memory_bytes, reader_memory_bytes=said.memory_bytes // 2),
        )
    except DesirelineError as error:
        print(f"{error}", file=sys.stderr)
        return 1
    return 0


class NotLoopback(DesirelineError):
    """The warehouse would be open to others without a password."""


def serve(
    path: str,
    *,
    port: int,
    host: str = "127.0.0.1",
    password: str = "",
    reader_password: str = "",
    limits: Limits | None = None,
) -> None:
    """Serve the folder `path` until a signal. DataFolderTaken, NotLoopback; SystemExit if the port is
    taken.
    """
    if host not in ("127.0.0.1", "localhost", "::1") and not password:
        raise NotLoopback(
            f"the warehouse would listen on {host} without a password",
            remedy="Set DESIRELINE_WAREHOUSE_PASSWORD, or listen on 127.0.0.1.",
        )
    Path(path).mkdir(parents=True, exist_ok=True)
    server = Server(
        str(Path(path).absolute()),
        password=password,
        reader_password=reader_password or password,
        limits=limits,
    )
    # a relative name where a table belongs would be looked for as a file in the working folder
    with tempfile.TemporaryDirectory(prefix="desireline-empty-") as empty:
        os.chdir(empty)
        uvicorn.run(
            server,
            host=host,
            port=port,
            log_level="warning",
            access_log=False,
            loop="uvloop",
            lifespan="on",
            timeout_graceful_shutdown=10,
            timeout_keep_alive=75,
        )


class EmbeddedWarehouse:
    """The server as a child process, for tests, benchmarks and one-off questions; `url` names our
    database.
    """

    def __init__(self, path: str | None = None, *, port: int = 0, options: tuple[str, ...] = ()) -> None:
        self._own = tempfile.TemporaryDirectory(prefix="desireline-warehouse-") if path is None else None
        self.path = path or (self._own.name if self._own else "")
        self._given_port = port
        self._options = options
        self._process: subprocess.Popen[bytes] | None = None
        self.port = port

    @property
    def url(self) -> str:
        """Where our tables are, for `warehouse.connect`."""
        return f"http://127.0.0.1:{self.port}/desireline"

    @property
    def server_url(self) -> str:
        """The server itself, without a database."""
        return f"http://127.0.0.1:{self.port}"

    @property
    def pid(self) -> int:
        """Of the running process."""
        if self._process is None:
            raise RuntimeError("the warehouse is not running")
        return self._process.pid

    def __enter__(self) -> "EmbeddedWarehouse":
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()
        if self._own:
            self._own.cleanup()

    def start(self) -> None:
        """Start and wait until it answers. DataFolderTaken with what it said if it does not come up."""
        if not self.port:
            with socket.socket() as probe:
                probe.bind(("127.0.0.1", 0))
                self.port = probe.getsockname()[1]
        command = [
            sys.executable,
            "-P",
            "-m",
            "warehouse.embedded",
            "--path",
            self.path,
            "--port",
            str(self.port),
        ]
        self._process = subprocess.Popen([*command, *self._options], stderr=subprocess.PIPE)  # noqa: S603
        deadline = time.monotonic() + 30
        while time.monotonic() < deadline:
            if self._process.poll() is not None:
                said = self._process.stderr.read().decode() if self._process.stderr else ""
                raise DataFolderTaken(said.strip() or f"the warehouse ended with {self._process.returncode}")
            try:
                with urllib.request.urlopen(f"{self.server_url}/ping", timeout=1):  # noqa: S310
                    return
            except OSError:
                time.sleep(0.05)
        raise DataFolderTaken("the warehouse did not answer within 30 s", where=self.path)

    def stop(self, how: signal.Signals = signal.SIGTERM) -> None:
        """End it: SIGTERM lets running queries finish, SIGKILL does not."""
        if self._process is None:
            return
        self._process.send_signal(how)
        try:
            self._process.wait(timeout=20)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        if self._process.stderr:
            self._process.stderr.close()
        self._process = None


if __name__ == "__main__":
    sys.exit(main())
