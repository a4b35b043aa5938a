"""Sessions over HTTP: what `SET`, `USE` and temporary tables left is there for the client's next request.

Most clients name a session and leave nothing in it; a session gets a handle of its own with the first
statement that leaves something, and until then its requests run as any other's, at once if they come at
once.
"""

import threading
import time
from collections import OrderedDict
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from warehouse.access import Access
from warehouse.engine import Engine, Handle
from warehouse.refusals import EngineError, read_only
from warehouse.statement import Statement

_LEAVE_SOMETHING = frozenset({"SET", "USE"})
_IDLE_S = 600
_MOST = 64


class Sessions:
    """The sessions that hold something, by their id. Thread-safe."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._lock = threading.Lock()
        self._sessions: OrderedDict[str, Session] = OrderedDict()

    def of(self, session_id: str, statement: Statement) -> "Session | None":
        """The session to run a statement in; None where neither it nor one before it leaves anything."""
        with self._lock:
            session = self._sessions.get(session_id)
            if session is None:
                if not _leaves_something(statement):
                    return None
                session = self._sessions[session_id] = Session(
                    session_id, self._engine.open(Access.READ_WRITE)
                )
            self._sessions.move_to_end(session_id)
            session.used_at = time.monotonic()
            self._forget()
            return session

    def close(self) -> None:
        """End all of them."""
        with self._lock:
            while self._sessions:
                self._sessions.popitem()[1].close()

    def _forget(self) -> None:
        earliest = time.monotonic() - _IDLE_S
        for session_id, session in list(self._sessions.items())[:-1]:
            if (len(self._sessions) > _MOST or session.used_at < earliest) and session.close():
                del self._sessions[session_id]


class Session:
    """A handle that one client keeps."""

    def __init__(self, session_id: str, handle: Handle) -> None:
        self._id = session_id
        self._handle = handle
        self._busy = threading.Lock()
        self.used_at = time.monotonic()

    @contextmanager
    def handle(self, database: str, settings: Mapping[str, str], access: Access) -> Iterator[Handle]:
        """The handle for one request. EngineError while another one runs in the session."""
        if access is not Access.READ_WRITE:
            raise read_only("a session that holds something takes POST alone")
        if not self._busy.acquire(blocking=False):
            locked = f"Session {self._id} is locked by a concurrent client"
            raise EngineError(f"Code: 373. DB::Exception: {locked}. (SESSION_IS_LOCKED)")
        try:
            self._handle.stand_in(database)
            before = self._handle.values(settings) if settings else {}
            self._handle.choose(settings)
            try:
                yield self._handle
            finally:
                self._handle.choose(before)
        finally:
            self._busy.release()

    def close(self) -> bool:
        """End it with its temporary tables; False while a request runs in it."""
        if not self._busy.acquire(blocking=False):
            return False
        self._handle.connection.close()
        return True


def _leaves_something(statement: Statement) -> bool:
    return statement.verb in _LEAVE_SOMETHING or (
        statement.verb == "CREATE" and "TEMPORARY" in statement.text[:40].upper()
    )
