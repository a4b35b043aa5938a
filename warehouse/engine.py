"""The ClickHouse engine of this process: chDB handles, one per running query, and what each may do.

Calls on one handle wait for each other, so every running query has a handle of its own; handles cost
nothing to
make and are kept for the next query. A handle is made for one kind of access and never changes it: the
engine itself refuses writes on a read-only handle, and nothing can lift that.
"""

import re
import threading
import uuid
from collections.abc import Callable, Iterator, Mapping
from enum import Enum
from typing import Any

import chdb

from models.errors import DesirelineError
from warehouse.read_only import refuse_what_reads_the_machine

_CODE = re.compile(r"Code: (\d+)")
_STREAMED = re.compile(r"(?:\s|\(|--[^\n]*\n|/\*.*?\*/)*(?:SELECT|WITH)\b", re.IGNORECASE | re.DOTALL)
_NAME = re.compile(r"\w+")
# their pieces may simply follow each other; every other format has a beginning and an end
_PIECEWISE = frozenset(
    {
        *("Native", "RowBinary", "CSV", "JSONEachRow", "JSONCompactEachRow", "JSONStringsEachRow"),
        *("TabSeparated", "TSV", "TabSeparatedRaw", "TSVRaw", "LineAsString", "RawBLOB"),
    }
)
_open: Callable[[str], Any] = chdb.connect


class Access(Enum):
    """What a query may do."""

    READ_WRITE = 0
    READ_ONLY = 1  # no writes, no settings in the query, no files or addresses of the machine
    GET = 2  # no writes: what ClickHouse allows a GET request


class EngineError(DesirelineError):
    """The engine refused or failed a query; `code` is ClickHouse's own."""

    def __init__(self, message: str) -> None:
        found = _CODE.search(message)
        self.code = int(found[1]) if found else 1002  # UNKNOWN_EXCEPTION
        super().__init__(message)


class DataFolderTaken(DesirelineError):
    """Another process has the data folder open."""


class Query:
    """A query under way: `chunks` of its answer, and the way to end it early."""

    def __init__(self, engine: "Engine", handle: "Handle", text: str) -> None:
        self.id = str(uuid.uuid4())
        self.rows_read = 0
        self.bytes_read = 0
        self._engine = engine
        self._handle = handle
        self._text = text

    def chunks(self, form: str, parameters: Mapping[str, str]) -> Iterator[bytes]:
        """Run it; pieces of the answer in `form`, as the engine makes them. EngineError where it fails."""
        connection = self._handle.connection
        selects = _STREAMED.match(self._text) is not None
        # the mark is how the query is found again among those that run
        marked = f"{self._text.rstrip().rstrip(';')}\n-- {self._mark}" if selects else self._text
        if not selects or form not in _PIECEWISE:
            with _as_ours():
                result = connection.query(marked, form, params=dict(parameters))
            self.rows_read = result.rows_read()
            self.bytes_read = result.bytes_read()
            yield result.bytes() or b""
            return
        with _as_ours():
            streaming = connection.send_query(marked, form, params=dict(parameters))
        try:
            while True:
                with _as_ours():
                    piece = streaming.fetch()
                if piece is None:
                    return
                self.rows_read += piece.rows_read()
                self.bytes_read += piece.bytes_read()
                if data := piece.bytes():
                    yield data
        finally:
            streaming.close()

    def kill(self) -> None:
        """End it where it is; its `chunks` then fail with QUERY_WAS_CANCELLED."""
        with self._engine.handle(Access.READ_WRITE) as handle, _as_ours():
            handle.connection.query(
                "KILL QUERY WHERE position(query, {mark:String}) > 0 AND query NOT LIKE 'KILL%' ASYNC",
                "TSV",
                params={"mark": self._mark},
            )

    @property
    def _mark(self) -> str:
        return f"query {self.id}"


class Handle:
    """One chDB handle with what was set on it."""

    def __init__(self, connection: Any, access: Access) -> None:
        self.connection = connection
        self.access = access
        self._set: dict[str, str] = {}
        self._database = "default"

    def prepare(self, database: str, settings: Mapping[str, str]) -> None:
        """Make it stand in `database` with exactly these settings. EngineError names an unknown one."""
        if database != self._database:
            self._run(f"USE `{database.replace('`', '')}`")
            self._database = database
        for name in self._set.keys() - settings.keys():
            self._run(f"SET {name} = DEFAULT")
            del self._set[name]
        for name, value in settings.items():
            if self._set.get(name) != value:
                if not _NAME.fullmatch(name):
                    raise EngineError(
                        f"Code: 115. DB::Exception: Unknown setting {name!r}. (UNKNOWN_SETTING)"
                    )
                literal = value.replace("\\", "\\\\").replace("'", "\\'")
                self._run(f"SET {name} = '{literal}'")
                self._set[name] = value

    def _run(self, text: str) -> None:
        with _as_ours():
            self.connection.query(text, "TSV")


class Engine:
    """The engine on one data folder. Thread-safe; one process per folder."""

    def __init__(self, path: str) -> None:
        self._path = path
        self._lock = threading.Lock()
        self._idle: dict[Access, list[Handle]] = {access: [] for access in Access}
        try:
            self._first = _open(path)
        except Exception as error:
            raise DataFolderTaken(
                f"the warehouse's data folder does not open: {error}",
                where=path,
                remedy="Is another desireline running on it? End that one, or choose another --data.",
            ) from error

    def handle(self, access: Access) -> "_Borrowed":
        """A handle for the time of a `with`; given back afterwards, or closed where its query failed."""
        return _Borrowed(self, access)

    def query(self, handle: Handle, text: str, parameters: Mapping[str, str]) -> Query:
        """A query to run on `handle`. EngineError where its access does not allow it."""
        if handle.access is Access.READ_ONLY:
            with _as_ours():
                refuse_what_reads_the_machine(handle.connection, text, parameters)
        elif ";" in text.rstrip("; \t\r\n"):
            # the engine would run one after another; ClickHouse over HTTP takes one
            with _as_ours():
                handle.connection.query(
                    "SELECT formatQuery({text:String})", "TSV", params={"text": escaped(text)}
                )
        if "outfile" in text.lower():
            raise EngineError("Code: 1. DB::Exception: INTO OUTFILE is not for clients. (UNSUPPORTED_METHOD)")
        return Query(self, handle, text)

    def close(self) -> None:
        """Close the folder; what was answered is on disk already."""
        for handles in self._idle.values():
            for handle in handles:
                handle.connection.close()
        self._first.close()

    def _open(self, access: Access) -> Handle:
        handle = Handle(_open(self._path), access)
        if access is not Access.READ_WRITE:
            handle._run(f"SET readonly = {2 if access is Access.GET else 1}")
        return handle


class _Borrowed:
    def __init__(self, engine: Engine, access: Access) -> None:
        self._engine = engine
        self._access = access
        self._handle: Handle | None = None

    def __enter__(self) -> Handle:
        with self._engine._lock:
            idle = self._engine._idle[self._access]
            self._handle = idle.pop() if idle else None
        if self._handle is None:
            self._handle = self._engine._open(self._access)
        return self._handle

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        handle = self._handle
        assert handle is not None  # noqa: S101  # __enter__ made it
        if kind is None or issubclass(kind, EngineError):
            with self._engine._lock:
                self._engine._idle[self._access].append(handle)
        else:
            handle.connection.close()


def escaped(value: str) -> str:
    """A text as ClickHouse wants the value of a bound parameter."""
    return value.replace("\\", "\\\\").replace("\t", "\\t").replace("\n", "\\n")


class _as_ours:  # reads as a word of the `with`
    """Turns the engine's exceptions into EngineError."""

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: object) -> None:
        if isinstance(error, Exception) and not isinstance(error, DesirelineError) and "Code: " in str(error):
            raise EngineError(str(error)) from error
