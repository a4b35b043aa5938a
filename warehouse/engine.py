"""The engine of this process: chDB handles, one per running query, and the queries that run on them.

Calls on one handle wait for each other, so every running query has a handle of its own. A handle is made for
one access, database and choice of settings and keeps them; those that a query left as they were are used
again.
"""

import contextlib
import os
import re
import secrets
import sys
import tempfile
import threading
from collections import OrderedDict
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from warehouse import stitching
from warehouse.access import Access, Limits, configure, first_statements, open_handle
from warehouse.reading import checked
from warehouse.refusals import DataFolderTaken, EngineError
from warehouse.statement import InsertedData, Statement

_NAME = re.compile(r"\w+")
_IDLE_HANDLES = 64
_IN_MEMORY_BYTES = 64_000_000


class Handle:
    """One chDB handle; `spent` once a query changed what it is."""

    def __init__(
        self, connection: Any, access: Access, database: str, settings: Mapping[str, str], limits: Limits
    ) -> None:
        self.connection = connection
        self.access = access
        self.key = _key(access, database, settings)
        self.spent = False
        self.stand_in(database)
        for statement in first_statements(access, limits):
            self.run(statement)
        self.choose(settings)
        if access is Access.GET:
            self.run("SET readonly = 2")

    def run(self, text: str) -> None:
        """Run what gives no answer. EngineError."""
        with as_ours():
            self.connection.query(text, "TSV")

    def stand_in(self, database: str) -> None:
        """Unqualified names are of this database."""
        if database and database != "default":
            self.run(f"USE `{database.replace(chr(92), chr(92) * 2).replace('`', chr(92) + '`')}`")

    def choose(self, settings: Mapping[str, str]) -> None:
        """Set these. EngineError names an unknown one, and one that its user may not choose."""
        for name in settings:
            if not _NAME.fullmatch(name):
                raise EngineError(f"Code: 115. DB::Exception: Unknown setting {name!r}. (UNKNOWN_SETTING)")
        if settings:
            # `readonly` comes last, since it would refuse the others
            ordered = sorted(settings.items(), key=lambda item: item[0] == "readonly")
            self.run(f"SET {', '.join(f'{name} = {_literal(value)}' for name, value in ordered)}")

    def discard(self) -> None:
        """What a failed query had written so far, which the engine would give to the next one."""
        try:
            self.run("SELECT 1")
        except EngineError:
            self.spent = True

    def values(self, names: Iterable[str]) -> dict[str, str]:
        """What these settings are now."""
        with as_ours():
            known = self.connection.query(
                "SELECT name, value FROM system.settings WHERE name IN {names:Array(String)}",
                "TSVRaw",
                params={"names": f"[{','.join(map(_literal, names))}]"},
            )
        return dict(line.split("\t", 1) for line in known.bytes().decode().splitlines())


class Query:
    """A query under way: `pieces` of its answer, and the way to end it early."""

    def __init__(self, engine: "Engine", handle: Handle, statement: Statement) -> None:
        self.id = secrets.token_hex(16)
        self.rows_read = 0
        self.bytes_read = 0
        self.rows_written = 0
        self.bytes_written = 0
        self._engine = engine
        self._handle = handle
        self._statement = statement

    def pieces(self, form: str, parameters: Mapping[str, str], *, whole: bool = False) -> Iterator[bytes]:
        """Run it; the answer in `form`, in pieces as the engine makes them, or `whole`. EngineError."""
        statement, connection = self._statement, self._handle.connection
        text = statement.text
        if self._handle.access is Access.READ_ONLY:
            if statement.data is not None:
                raise EngineError(
                    "Code: 164. DB::Exception: reader: Cannot execute query in readonly mode. (READONLY)"
                )
            with as_ours():
                text = checked(connection, text, parameters)
        if not statement.leaves_no_trace:
            self._handle.spent = True
        if statement.data is not None:
            with in_a_file(statement.data) as path:
                self._note(connection.query, self._marked(statement.data.statement_from(path)), parameters)
            yield b""
            return
        text = self._marked(text)
        if statement.reads and not statement.totals and not whole and stitching.streams(form):
            begun = False
            for piece in stitching.stitched(form, self._stream(text, form, parameters)):
                begun = True
                yield piece
            if begun or not stitching.has_header(form):
                return
        yield self._note(connection.query, text, parameters, form)

    def _note(self, ask: Any, text: str, parameters: Mapping[str, str], form: str = "TSV") -> bytes:
        try:
            with as_ours():
                result = ask(text, form, params=dict(parameters))
        except EngineError:
            self._handle.discard()
            raise
        self.rows_read += result.rows_read()
        self.bytes_read += result.bytes_read()
        self.rows_written += result.rows_written()
        self.bytes_written += result.bytes_written()
        return result.bytes() or b""

    def _stream(self, text: str, form: str, parameters: Mapping[str, str]) -> Iterator[bytes]:
        with as_ours():
            streaming = self._handle.connection.send_query(text, form, params=dict(parameters))
        try:
            while True:
                with as_ours():
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
        """End it where it is; its `pieces` then fail with QUERY_WAS_CANCELLED."""
        with self._engine.handle(Access.READ_WRITE) as handle, contextlib.suppress(EngineError):
            handle.run(
                f"KILL QUERY WHERE position(query, 'desireline {self.id}') > 0"
                " AND query_kind != 'KillQuery' AND query NOT LIKE 'KILL%' ASYNC"
            )

    def _marked(self, text: str) -> str:
        # how the query is found among those that run
        mark = f"desireline {self.id}"
        return f"/* {mark} */ {text}" if self._statement.verb == "INSERT" else f"{text}\n-- {mark}"


class Engine:
    """The engine on one data folder. Thread-safe; one process per folder."""

    def __init__(self, path: str, limits: Limits) -> None:
        """Open the folder. DataFolderTaken if another process has it."""
        self._path = path
        self._limits = limits
        self._lock = threading.Lock()
        self._idle: OrderedDict[Any, list[Handle]] = OrderedDict()
        self._idle_count = 0
        with as_ours():
            configuration = configure(Path(path) / "server", limits)
        try:
            self._first = open_handle(f"{path}?config-file={configuration}")
        except Exception as error:
            raise DataFolderTaken(
                "the warehouse's data folder does not open",
                where=path,
                remedy="Is another desireline running on it? End that one, or choose another --data.",
            ) from error

    @contextmanager
    def handle(
        self, access: Access, database: str = "default", settings: Mapping[str, str] | None = None
    ) -> Iterator[Handle]:
        """A handle for the time of a `with`; kept for the next query unless this one changed or broke it."""
        handle = self._take(_key(access, database, settings or {})) or self.open(access, database, settings)
        try:
            yield handle
        except EngineError:
            self._give_back(handle)
            raise
        except BaseException:
            handle.connection.close()
            raise
        self._give_back(handle)

    def open(
        self, access: Access, database: str = "default", settings: Mapping[str, str] | None = None
    ) -> Handle:
        """A new handle, for as long as its owner likes."""
        connection = open_handle(self._path)
        try:
            return Handle(connection, access, database, settings or {}, self._limits)
        except BaseException:
            connection.close()
            raise

    def close(self) -> None:
        """Close the folder; what was answered is on disk already."""
        for handles in self._idle.values():
            for handle in handles:
                handle.connection.close()
        self._idle.clear()
        self._first.close()

    def _take(self, key: Any) -> Handle | None:
        with self._lock:
            handles = self._idle.get(key)
            if not handles:
                return None
            handle = handles.pop()
            self._idle_count -= 1
            if not handles:
                del self._idle[key]
            return handle

    def _give_back(self, handle: Handle) -> None:
        if handle.spent:
            handle.connection.close()
            return
        with self._lock:
            self._idle.setdefault(handle.key, []).append(handle)
            self._idle.move_to_end(handle.key)
            self._idle_count += 1
            if self._idle_count <= _IDLE_HANDLES:
                return
            key, handles = next(iter(self._idle.items()))
            oldest = handles.pop(0)
            self._idle_count -= 1
            if not handles:
                del self._idle[key]
        oldest.connection.close()


@contextmanager
def in_a_file(inserted: InsertedData) -> Iterator[str]:
    """The rows as a file, which the engine reads block by block; in memory unless they are many."""
    if sys.platform == "linux" and len(inserted.data) <= _IN_MEMORY_BYTES:
        descriptor = os.memfd_create("desireline-insert")
        try:
            with open(descriptor, "wb", closefd=False, buffering=0) as file:
                _write(file, inserted.data)
            yield f"/proc/self/fd/{descriptor}"
        finally:
            os.close(descriptor)
        return
    with tempfile.NamedTemporaryFile(prefix="desireline-insert-") as named:
        named.write(inserted.data)
        named.flush()
        yield named.name


@contextmanager
def as_ours() -> Iterator[None]:
    """The engine's exceptions become EngineError."""
    try:
        yield
    except EngineError:
        raise
    except Exception as error:
        if "Code: " in (said := str(error)):
            raise EngineError(said.removeprefix("Streaming query failed: ")) from error
        raise


def _write(file: Any, data: memoryview) -> None:
    while len(data):
        data = data[file.write(data) :]


def _key(access: Access, database: str, settings: Mapping[str, str]) -> tuple[Access, str, frozenset[Any]]:
    return access, database, frozenset(settings.items())


def _literal(value: str) -> str:
    return "'" + value.replace("\\", "\\\\").replace("'", "\\'") + "'"
