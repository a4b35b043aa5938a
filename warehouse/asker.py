"""Who waits for an answer. When they are gone, their connection is cut, and the warehouse ends the query.

A query runs in a thread that waits for its answer; nothing else reaches it there.
"""

import socket
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from contextvars import ContextVar, copy_context
from threading import Lock
from typing import Any, TypeVar

from clickhouse_connect.driver.httputil import get_pool_manager
from urllib3 import PoolManager
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.connectionpool import HTTPConnectionPool, HTTPSConnectionPool

from models.errors import DesirelineError

First = TypeVar("First")
Second = TypeVar("Second")

_now: ContextVar["Asker | None"] = ContextVar("asker", default=None)
_changing = Lock()  # a connection is one asker's at a time, and cut for nobody else


class NobodyWaits(DesirelineError):
    """Whoever asked is gone."""


class Asker:
    """Somebody who asks, maybe several questions, some of them at once."""

    def __init__(self) -> None:
        self.gone = False
        self._connections: set[_Asked] = set()

    @contextmanager
    def asking(self) -> Iterator[None]:
        """What is asked in this context, and in threads that take it over, is theirs."""
        token = _now.set(self)
        try:
            yield
        finally:
            _now.reset(token)

    def leave(self) -> None:
        """End the queries that run for them; the next raises NobodyWaits."""
        with _changing:
            self.gone = True
            for connection in self._connections:
                if connection.asker is self:
                    connection.cut()

    def takes(self, connection: "_Asked") -> None:
        """This connection is theirs until another asker takes it. NobodyWaits."""
        with _changing:
            if self.gone:
                raise NobodyWaits("the question is not asked: whoever asked is gone")
            self._connections.add(connection)
            connection.asker = self


def at_once(first: Callable[[], First], second: Callable[[], Second]) -> tuple[First, Second]:
    """The answers to two questions that need nothing of each other, asked at the same time by who asks here."""
    with ThreadPoolExecutor(1) as beside:
        other = beside.submit(copy_context().run, second)
        return first(), other.result()


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
