"""How ClickHouse answers over HTTP: status, headers, compression, and an exception in the middle of an
answer."""

import secrets
import time
from collections.abc import Callable
from typing import Any, Protocol

import msgspec

from warehouse import encodings

_WORTH_COMPRESSING = 1024
_NOT_FOUND = {16, 36, 46, 47, 50, 51, 56, 60, 63, 70, 78, 81, 107, 115}
_BAD_REQUEST = {6, 25, 26, 27, 33, 38, 41, 42, 43, 44, 53, 62, 69, 72, 117, 130, 131, 386, 427, 456, 457}
_STATUS = {
    48: 501,
    159: 408,
    160: 408,
    164: 403,
    192: 403,
    193: 403,
    307: 413,
    373: 409,
    497: 403,
    516: 403,
    **dict.fromkeys(_NOT_FOUND, 404),
    **dict.fromkeys(_BAD_REQUEST, 400),
}
_TYPES = {
    "Native": "application/octet-stream",
    "Parquet": "application/octet-stream",
    "Arrow": "application/octet-stream",
    "JSONEachRow": "application/x-ndjson; charset=UTF-8",
    "CSV": "text/csv; charset=UTF-8; header=absent",
    "CSVWithNames": "text/csv; charset=UTF-8; header=present",
}

Encoding = tuple[str, Callable[[], encodings.Compressor]]


class _Read(Protocol):
    id: str
    rows_read: int
    bytes_read: int
    rows_written: int
    bytes_written: int


class Answered(Protocol):
    """What is answered: a query under way, its format, when it began."""

    form: str
    began_at: float

    @property
    def query(self) -> _Read | None: ...


class Sender:
    """Sends pieces as they come; compresses them if the client takes that and they are worth it."""

    def __init__(self, send: Any, answered: Answered, *, accepted: Encoding | None, query_id: str) -> None:
        self._send = send
        self._answered = answered
        self._encoding = accepted
        self._query_id = query_id
        self._tag = secrets.token_hex(8)
        self._compressor: encodings.Compressor | None = None
        self._begun = False

    async def piece(self, data: bytes, *, last: bool) -> None:
        """Send a piece; the first one begins the answer. If it is the only one, its length is known."""
        compressor = self._compressor
        further: list[tuple[bytes, bytes]] = []
        if not self._begun and self._encoding and len(data) >= _WORTH_COMPRESSING:
            compressor = self._compressor = self._encoding[1]()
        if compressor:
            data = compressor.piece(data) + (compressor.finish() if last else b"")
        if not self._begun:
            if last:
                further.append((b"content-length", str(len(data)).encode()))
            await self._begin(200, further)
        await self._body(data, more=not last)

    async def failed(self, message: str, code: int) -> None:
        """Answer with the exception, or write it into the answer that has begun, as clients expect."""
        if not self._begun:
            await self._begin(
                _STATUS.get(code, 500), [(b"x-clickhouse-exception-code", str(code).encode())], exception=True
            )
            await self._body(message.encode() + b"\n", more=False)
            return
        said = message.encode() + b"\n"
        tag = self._tag.encode()
        block = b"\r\n__exception__\r\n%b\r\n%b%d %b\r\n__exception__\r\n" % (tag, said, len(said), tag)
        if self._compressor:
            block = self._compressor.piece(block) + self._compressor.finish()
        await self._body(block, more=False)

    async def _begin(
        self, status: int, further: list[tuple[bytes, bytes]] | None = None, *, exception: bool = False
    ) -> None:
        self._begun = True
        form = self._answered.form
        query = self._answered.query
        headers = [
            (b"content-type", b"text/plain; charset=UTF-8" if exception else content_type(form)),
            (b"x-clickhouse-format", form.encode()),
            (
                b"x-clickhouse-query-id",
                (self._query_id or (query.id if query else "")).encode("latin-1", "replace"),
            ),
            (b"x-clickhouse-server-display-name", b"desireline"),
            (b"x-clickhouse-timezone", b"UTC"),
            (b"x-clickhouse-exception-tag", self._tag.encode()),
            (b"x-clickhouse-summary", msgspec.json.encode(self._summary(query))),
            *(further or []),
        ]
        if self._compressor and self._encoding:
            headers.append((b"content-encoding", self._encoding[0].encode()))
        await self._send({"type": "http.response.start", "status": status, "headers": headers})

    def _summary(self, query: _Read | None) -> dict[str, str]:
        counts = {
            "read_rows": query.rows_read if query else 0,
            "read_bytes": query.bytes_read if query else 0,
            "written_rows": query.rows_written if query else 0,
            "written_bytes": query.bytes_written if query else 0,
            "total_rows_to_read": 0,
            "result_rows": query.rows_written if query else 0,
            "result_bytes": query.bytes_written if query else 0,
            "elapsed_ns": int((time.monotonic() - self._answered.began_at) * 1e9),
        }
        return {name: str(count) for name, count in counts.items()}

    async def _body(self, data: bytes, *, more: bool) -> None:
        await self._send({"type": "http.response.body", "body": data, "more_body": more})


def content_type(form: str) -> bytes:
    """What ClickHouse says for a format."""
    if form in _TYPES:
        return _TYPES[form].encode()
    if form.startswith("RowBinary"):
        return b"application/octet-stream"
    if form.startswith("JSON"):
        return (
            b"application/x-ndjson; charset=UTF-8"
            if "EachRow" in form
            else b"application/json; charset=UTF-8"
        )
    if "Separated" in form or form.startswith("TSV"):
        return b"text/tab-separated-values; charset=UTF-8"
    return b"text/plain; charset=UTF-8"


async def respond(
    send: Any, status: int, body: bytes, headers: list[tuple[bytes, bytes]] | None = None
) -> None:
    """A short answer of ours."""
    start = [
        (b"content-type", b"text/plain; charset=UTF-8"),
        (b"content-length", str(len(body)).encode()),
        *(headers or []),
    ]
    await send({"type": "http.response.start", "status": status, "headers": start})
    await send({"type": "http.response.body", "body": body})
