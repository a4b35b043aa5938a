"""Who waits for an answer. When they are gone, their connection is cut, and the warehouse ends the query.

A query runs in a thread that waits for its answer; nothing else reaches it there.
"""

import socket
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from threading import Lock
from typing import Any

from clickhouse_connect.driver.httputil import get_pool_manager
from urllib3 import PoolManager
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.connectionpool import HTTPConnectionPool, HTTPSConnectionPool

from models.errors import DesirelineError

_now: ContextVar["Asker | None"] = ContextVar("asker", default=None)
_changing = Lock()  # a connection is one asker's at a time, and cut for nobody else


class NobodyWaits(DesirelineError):
    """Whoever asked is gone."""


class Asker:
    """Somebody who asks, maybe several questions, one after the other."""

    def __init__(self) -> None:
        self.gone = False
        self._connection: _Asked | None = None

    @contextmanager
    def asking(self) -> Iterator[None]:
        """What is asked in this context, and in threads that take it over, is theirs."""
        token = _now.set(self)
        try:
            yield
        finally:
            _now.reset(token)

    def leave(self) -> None:
        """End the query that runs for them; the next raises NobodyWaits."""
        with _changing:
            self.gone = True
            if self._connection is not None and self._connection.asker is self:
                self._connection.cut()

    def takes(self, connection: "_Asked") -> None:
        """This connection is theirs until another asker takes it. NobodyWaits."""
        with _changing:
            if self.gone:
                raise NobodyWaits("the question is not asked: whoever asked is gone")
            self._connection, connection.asker = connection, self


class _Asked:
    """A connection that knows who asks."""

    asker: Asker | None = None
    sock: socket.socket | None

    def cut(self) -> None:
        with suppress(OSError):
            if self.sock is not None:
                self.sock.shutdown(socket.SHUT_RDWR)

    def request(self, *arguments: Any, **named: Any) -> None:
        if (asker := _now.get()) is not None:
            asker.takes(self)
        else:
            with _changing:
                self.asker = None
        super().request(*arguments, **named)  # type: ignore[misc]


class _Connection(_Asked, HTTPConnection):
    pass


class _SecureConnection(_Asked, HTTPSConnection):
    pass


class _Pool(HTTPConnectionPool):
    ConnectionCls = _Connection


class _SecurePool(HTTPSConnectionPool):
    ConnectionCls = _SecureConnection


def connections(most: int) -> PoolManager:
    """Connections that are cut for askers who are gone; `most` are kept open."""
    manager: PoolManager = get_pool_manager(maxsize=most)
    manager.pool_classes_by_scheme = {"http": _Pool, "https": _SecurePool}
    return manager
