"""One group of records into the warehouse: rows first, then the buckets that they touched.

Every step may be done again after `WarehouseAway`, and does then what it did not finish.
"""

import gc
import logging
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Literal

import msgspec
from clickhouse_connect.driver.client import Client

from models.alerts import Abandonment, Alert
from models.verdict import Facts
from warehouse.aggregates import Aggregates, Touched
from warehouse.connection import client
from warehouse.expectation import Expectation
from warehouse.writer import Rejected, Rows, Unloadable, Writer, content_token, warehouse_errors

log = logging.getLogger(__name__)

RecordKind = Literal["facts", "rejection", "alert"]

_facts = msgspec.msgpack.Decoder(Facts)
_alert = msgspec.json.Decoder(Alert)
_rejected = msgspec.json.Decoder(Rejected)


@contextmanager
def _collector_paused() -> Iterator[None]:
    """No cyclic garbage collection meanwhile.

    A group is hundreds of thousands of objects that live for a moment; looking through them, and through all
    households of the worker with them, again and again, took half of the loader's time.
    """
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()


class Group:
    """Records that are inserted together: MessagePack `Facts`, JSON rejections, JSON alerts."""

    def __init__(self, records: Sequence[tuple[RecordKind, bytes]]) -> None:
        self._records = records
        self.token = content_token(value for _, value in records)

    def decoded(self) -> tuple[Rows, list[Unloadable]]:
        """What they hold, and the records that nobody can read."""
        rows, unreadable = Rows(), []
        for kind, value in self._records:
            try:
                if kind == "facts":
                    rows.add(_facts.decode(value))
                elif kind == "rejection":
                    rows.rejected.append(_rejected.decode(value))
                else:
                    rows.alerts.append(_alert.decode(value))
            except (msgspec.DecodeError, UnicodeDecodeError) as error:
                unreadable.append(Unloadable(kind, value, f"{type(error).__name__}: {error}"))
        return rows, unreadable


class Loading:
    """Writes groups and settles their buckets through one client. Not for several threads at once.

    `phases`: names of the phases in the order of the journey model.
    """

    def __init__(self, warehouse_url: str, phases: Sequence[str]) -> None:
        self._url = warehouse_url
        self._phases = phases
        self._parts: tuple[Writer, Aggregates, Expectation] | None = None
        self._touched = Touched()

    def write(self, group: Group, now: int) -> None:
        """Insert the rows of a group. Its buckets are announced, and recomputed by the next `settle`.

        Rows that the warehouse refuses go among the rejected, with the reason. `now`: wall clock, UTC ms.
        """
        writer, aggregates, _ = self._connected()
        with _collector_paused():
            rows, unloadable = group.decoded()
            touched = aggregates.announce(rows, group.token)
            unloadable += writer.write(rows, group.token)
            del rows
        if unloadable:
            for row in unloadable:
                log.error("this cannot be loaded, see the rejected: %s: %s", row.what, row.reason)
            writer.write(
                Rows(rejected=[row.rejected(now) for row in unloadable]), f"{group.token}:unloadable"
            )
        self._touched.update(touched)

    def settle(self, now: int) -> list[Abandonment]:
        """Recompute all buckets touched since the last time; those of abandonment that are recent.

        `now`: wall clock, UTC ms.
        """
        _, aggregates, expectation = self._connected()
        buckets = aggregates.settle(self._touched)
        abandonment = expectation.abandonment(buckets.get("attempts_1m", ()), now)
        self._touched = Touched()
        return abandonment

    def _connected(self) -> tuple[Writer, Aggregates, Expectation]:
        if self._parts is None:
            with warehouse_errors("the warehouse"):
                connected: Client = client(self._url)
            writer = Writer(connected)
            self._parts = writer, Aggregates(connected, writer, self._phases), Expectation(connected)
        return self._parts
