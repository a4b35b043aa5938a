"""Facts to rows: what the stitching said, into ClickHouse, as columns.

A group of `Facts` becomes one insert per table, in ClickHouse's Native format. Every row is replaced as a whole by the
one of its key with the greater version, so inserting a group twice, or in part and then again, changes nothing; a
token made of the content lets ClickHouse leave out what a retry sends again.
"""

from collections import OrderedDict
from collections.abc import Callable, Iterable, Sequence
from hashlib import blake2b
from typing import Any, TypeVar

import msgspec
from clickhouse_connect.driver.client import Client
from clickhouse_connect.driver.exceptions import ClickHouseError, DataError
from sqlalchemy import Table
from urllib3.exceptions import HTTPError

from models.touchpoint import Identification, encoding
from models.verdict import JudgedTouchpoint
from warehouse import schema
from warehouse.columns import (
    Columns,
    alert_columns,
    conflict_columns,
    duplicate_columns,
    element_columns,
    identification_columns,
    identity_columns,
    journey_columns,
    rejection_columns,
    touchpoint_columns,
    watermark_columns,
)
from warehouse.judged_tables import LIVE, JudgedTables
from warehouse.rows import Archived, Rows, Unloadable
from warehouse.write_errors import RowsRefused, typed

Row = TypeVar("Row")

_ARCHIVED_REMEMBERED = 200_000

_SETTINGS = {
    "async_insert": 0,  # what is answered is there
    "optimize_on_insert": 0,  # hardly a row is there twice in one insert; readers take the greatest version
    "insert_distributed_sync": 1,
    "max_partitions_per_insert_block": 1000,
}

_json = msgspec.json.Encoder(order="deterministic").encode


class Writer:
    """Writes groups of rows through one client. Not for several threads at once.

    `tables`: those of the journey model that the rows were judged under; else they are the current one's.
    """

    def __init__(self, client: Client, tables: JudgedTables = LIVE) -> None:
        self._client = client
        self._tables = tables
        self._types: dict[str, tuple[list[str], list[Any]]] = {}
        # hashes of elements that were archived lately; a plain dict finds its first key ever more slowly
        self._archived: OrderedDict[int, None] = OrderedDict()

    def write(self, rows: Rows, token: str) -> list[Unloadable]:
        """Insert these rows. `token`: the same for a retry, another one for other content.

        Gives back the rows that the warehouse refuses, one by one; all others are in it then. WarehouseAway
        if it does not take rows now: some tables may have theirs already, and trying again gives them
        nothing twice.
        """
        unarchived = self._unarchived(rows)
        inserts: tuple[tuple[Table, Callable[[Sequence[Any]], Columns], Sequence[Any]], ...] = (
            (schema.element_rows, element_columns, unarchived),
            (schema.touchpoint_rows, touchpoint_columns, rows.touchpoints),
            (schema.journey_rows, journey_columns, rows.journeys),
            (schema.identity_rows, identity_columns, rows.identities),
            (schema.identity_conflict_rows, conflict_columns, rows.conflicts),
            (schema.identification_rows, identification_columns, rows.identifications),
            (schema.rejected_touchpoint_rows, duplicate_columns, rows.duplicates),
            (schema.rejected_touchpoint_rows, rejection_columns, rows.rejected),
            (schema.alert_rows, alert_columns, rows.alerts),
        )
        refused: list[Unloadable] = []
        for table, columns_of, some in inserts:
            refused += self._insert_rows(table, columns_of, some, f"{token}:{columns_of.__name__}")
        self._archived.update(dict.fromkeys(map(hash, unarchived)))
        while len(self._archived) > _ARCHIVED_REMEMBERED:
            self._archived.popitem(last=False)
        if rows.watermarks:
            self.insert(schema.watermarks, watermark_columns(rows.watermarks), f"{token}:watermarks")
        return refused

    def insert(self, table: Table, columns: Columns, token: str) -> None:
        """Insert columns of one length into a table. WarehouseAway, RowsRefused."""
        if table.name in self._tables.names:
            rows = len(next(iter(columns.values())))
            columns = {**columns, "model": [self._tables.number] * rows}
        values: list[list[Any]] = []
        try:
            names, types = self._column_types(table, columns)
            values += [columns[name] for name in names]
            self._client.insert(
                self._tables[table],
                values,
                column_names=names,
                column_types=types,
                column_oriented=True,
                settings={**_SETTINGS, "insert_deduplication_token": token},
            )
        except (DataError, OverflowError, TypeError, ValueError, AttributeError) as error:
            raise RowsRefused(table.name, f"{type(error).__name__}: {error}") from error
        except (ClickHouseError, HTTPError, OSError) as error:
            raise typed(error, table.name) from error
        finally:
            # the client's context refers to itself: it would keep all these values until it is found as garbage
            values.clear()

    def _unarchived(self, rows: Rows) -> list[Archived]:
        """The elements that may not be in the archive yet. More is said of one again and again."""
        touchpoints = [row.touchpoint for row in rows.touchpoints]
        elements = [Archived("touchpoint", one, encoding(one)) for one in touchpoints]
        elements += [Archived("copy", copy, encoding(copy)) for copy in rows.copies]
        for one in rows.identifications:
            kind = "identification" if isinstance(one, Identification) else "correction"
            elements.append(Archived(kind, one, encoding(one)))
        return [one for one in elements if hash(one) not in self._archived]

    def _insert_rows(
        self, table: Table, columns_of: Callable[[Sequence[Row]], Columns], rows: Sequence[Row], token: str
    ) -> list[Unloadable]:
        """Insert rows; where they are refused, find out which of them by halves."""
        if not rows:
            return []
        try:
            try:
                columns = columns_of(rows)
            except (ArithmeticError, ValueError, TypeError) as error:
                raise RowsRefused(table.name, f"{type(error).__name__}: {error}") from error
            self.insert(table, columns, token)
        except RowsRefused as refusal:
            if len(rows) == 1:
                raw_ref = rows[0].touchpoint.raw_ref if isinstance(rows[0], JudgedTouchpoint) else None
                return [Unloadable(table.name, _json(rows[0]), refusal.reason, raw_ref)]
            half = len(rows) // 2
            return self._insert_rows(table, columns_of, rows[:half], f"{token}<") + self._insert_rows(
                table, columns_of, rows[half:], f"{token}>"
            )
        return []

    def _column_types(self, table: Table, columns: Columns) -> tuple[list[str], list[Any]]:
        """Names and ClickHouse types of the columns, in the table's order; asked of the server once."""
        known = self._types.get(table.name)
        if known is None or known[0] != list(columns):
            names = list(columns)
            context = self._client.create_insert_context(
                self._tables[table], column_names=names, column_oriented=True
            )
            known = self._types[table.name] = (names, list(context.column_types))
        return known


def content_token(records: Iterable[bytes]) -> str:
    """The deduplication token of a group of records: a hash of their content.

    Not of their offsets: a broker that was renewed gives the same offsets to other records.
    """
    digest = blake2b(digest_size=16)
    for record in records:
        digest.update(len(record).to_bytes(4, "big"))
        digest.update(record)
    return digest.hexdigest()
