"""One group of records into the warehouse: rows first, then the buckets that they touched.

Facts go into the tables of the journey model that they were judged under, whichever is current. Facts of a model
that has no tables (any more) go among the rejected: they are in nobody's way there, and are not lost.

Every step may be done again after `WarehouseAway`, and does then what it did not finish.
"""

import gc
from collections import defaultdict
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import cached_property
from typing import Literal, NamedTuple

import msgspec
from clickhouse_connect.driver.client import Client

from models.alerts import Abandonment, Alert
from models.verdict import Facts
from warehouse.aggregates import Aggregates, Touched
from warehouse.connection import client
from warehouse.expectation import Expectation
from warehouse.journey_models import registered
from warehouse.judged_tables import LIVE, JudgedTables, judged_tables
from warehouse.rows import Rejected, Rows, Unloadable
from warehouse.write_errors import TablesSwitched, warehouse_errors
from warehouse.writer import Writer, content_token

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

    @cached_property
    def token(self) -> str:
        """The same for the same records."""
        return content_token(value for _, value in self._records)

    def decoded(self) -> tuple[dict[str, Rows], list[Unloadable]]:
        """What they hold, by the fingerprint of the journey model, and the records that nobody can read.

        What does not follow from a model is under the empty fingerprint.
        """
        rows: dict[str, Rows] = defaultdict(Rows)
        unreadable = []
        for kind, value in self._records:
            try:
                if kind == "facts":
                    facts = _facts.decode(value)
                    rows[facts.model].add(facts)
                elif kind == "rejection":
                    rows[""].rejected.append(_rejected.decode(value))
                else:
                    rows[""].alerts.append(_alert.decode(value))
            except (msgspec.DecodeError, UnicodeDecodeError) as error:
                unreadable.append(Unloadable(kind, value, f"{type(error).__name__}: {error}"))
        return rows, unreadable

    def judged_under(self, fingerprint: str) -> list[Unloadable]:
        """The facts that were judged under a model that has no tables."""
        reason = f"judged under journey model {fingerprint}, of which there are no tables (any more)"
        return [
            Unloadable(kind, value, reason)
            for kind, value in self._records
            if kind == "facts" and _facts.decode(value).model == fingerprint
        ]


class _Target(NamedTuple):
    """Where the rows of one journey model go."""

    tables: JudgedTables
    writer: Writer
    aggregates: Aggregates


class _Warehouse:
    """A connection, and where the rows of each journey model go, by its fingerprint, as it was when looked at."""

    def __init__(self, url: str, phases: Sequence[str]) -> None:
        self._phases = phases
        with warehouse_errors("the warehouse"):
            self._client: Client = client(url)
        self.expectation = Expectation(self._client)
        self.targets: dict[str, _Target] = {}

    def look(self) -> None:
        """Ask which models are there, and what their tables are called now."""
        with warehouse_errors("the warehouse"):
            tables = judged_tables(self._client)
            known = registered(self._client)
        current = next((of for of in tables.values() if of.current), LIVE)
        targets = {"": self._target(current, self._phases)}
        for model in known:
            if model.number in tables:
                targets[model.fingerprint] = self._target(tables[model.number], model.model.phases)
                if model.number == current.number:
                    targets[""] = targets[model.fingerprint]
        self.targets = targets

    def of(self, fingerprint: str) -> _Target | None:
        """Where rows go that were judged under this model; None: it has no tables."""
        if fingerprint not in self.targets:
            self.look()  # it may be new
        return self.targets.get(fingerprint)

    def _target(self, tables: JudgedTables, phases: Sequence[str]) -> _Target:
        writer = Writer(self._client, tables)
        return _Target(tables, writer, Aggregates(self._client, writer, phases, tables))


class Loading:
    """Writes groups and settles their buckets through one client. Not for several threads at once.

    `phases`: names of the phases in the order of the journey model, where none is registered.
    """

    def __init__(self, warehouse_url: str, phases: Sequence[str]) -> None:
        self._url = warehouse_url
        self._phases = phases
        self._known: _Warehouse | None = None
        self._touched: dict[str, Touched] = {}

    def write(self, group: Group, now: int) -> list[Unloadable]:
        """Insert the rows of a group. Its buckets are announced, and recomputed by the next `settle`.

        Rows that the warehouse refuses go among the rejected, with the reason, and are given back. `now`: wall
        clock, UTC ms.
        """
        with _collector_paused(), self._looking_again() as there:
            touched, unloadable = self._write_rows(group, there)
            if unloadable:
                rejected = Rows(rejected=[row.rejected(now) for row in unloadable])
                there.targets[""].writer.write(rejected, f"{group.token}:unloadable")
        for fingerprint, some in touched.items():
            self._touched.setdefault(fingerprint, Touched()).update(some)
        return unloadable

    def settle(self, now: int) -> list[Abandonment]:
        """Recompute all buckets touched since the last time; those of abandonment that are recent.

        `now`: wall clock, UTC ms.
        """
        abandonment: list[Abandonment] = []
        with self._looking_again() as there:
            for fingerprint, touched in self._touched.items():
                target = there.of(fingerprint)
                if target is None:
                    continue  # its tables were dropped since
                buckets = target.aggregates.settle(touched)
                if target.tables.current:
                    abandonment += there.expectation.abandonment(buckets.get("attempts_1m", ()), now)
        self._touched = {}
        return abandonment

    @staticmethod
    def _write_rows(group: Group, there: _Warehouse) -> tuple[dict[str, Touched], list[Unloadable]]:
        """The buckets that they touch, and what cannot be loaded. When it returns, nothing holds the rows any more:
        the collector that is paused meanwhile would look through them as soon as it goes on.
        """
        touched: dict[str, Touched] = {}
        decoded, unloadable = group.decoded()
        for fingerprint, rows in decoded.items():
            target = there.of(fingerprint)
            if target is None:
                unloadable += group.judged_under(fingerprint)
                continue
            if not target.tables.current:
                rows.watermarks = {}  # they say up to where the rows are true that people read
            token = f"{group.token}{fingerprint}"
            touched[fingerprint] = target.aggregates.announce(rows, token)
            unloadable += target.writer.write(rows, token)
        return touched, unloadable

    @contextmanager
    def _looking_again(self) -> Iterator[_Warehouse]:
        """The warehouse; where its tables were switched, it is looked at anew the next time."""
        if self._known is None:
            self._known = _Warehouse(self._url, self._phases)
        if not self._known.targets:
            self._known.look()
        try:
            yield self._known
        except TablesSwitched:
            self._known.targets = {}
            raise
