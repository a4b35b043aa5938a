"""Facts to rows: what the stitching said, into ClickHouse, as columns.

A group of `Facts` becomes one insert per table, in ClickHouse's Native format, built column by column: rows
of sixty columns as dictionaries would cost ten times as much. Every row is replaced as a whole by the one
of its key with the greater version, so inserting a group twice, or in part and then again, changes nothing;
a token made of the content lets ClickHouse leave out what a retry sends again.

What can go wrong is of two kinds. `WarehouseAway`: nothing is wrong with the rows; try again (as
`TablesSwitched`, after asking for the names of the tables again). `RowsRefused`: ClickHouse or its client cannot
take these values, and never will.
"""

import base64
from collections import OrderedDict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from decimal import Decimal
from hashlib import blake2b, sha256
from typing import Any, NamedTuple, TypeVar

import msgspec
from clickhouse_connect.driver.client import Client
from clickhouse_connect.driver.exceptions import ClickHouseError, DatabaseError, DataError
from sqlalchemy import Table
from urllib3.exceptions import HTTPError

from models.alerts import Alert
from models.errors import DesirelineError
from models.touchpoint import Correction, Element, Identification, Touchpoint, encoding
from models.verdict import ConflictRow, DuplicateRow, Facts, IdentityRow, JourneyRow, JudgedTouchpoint
from warehouse import schema
from warehouse.judged_tables import LIVE, JudgedTables

DAY_MS = 86_400_000
CONFLICTING_DUPLICATE = "conflicting_duplicate"
UNLOADABLE = "unloadable"

Columns = dict[str, list[Any]]

Row = TypeVar("Row")

_ARCHIVED_REMEMBERED = 200_000

_SETTINGS = {
    "async_insert": 0,  # what is answered is there
    "insert_distributed_sync": 1,
    "max_partitions_per_insert_block": 1000,
}

_json = msgspec.json.Encoder(order="deterministic").encode

# ClickHouse's codes for "this value I cannot take": https://github.com/ClickHouse/ClickHouse ErrorCodes.cpp
_REFUSALS = frozenset(
    {
        6,
        26,
        27,
        33,
        38,
        41,
        43,
        53,
        69,
        70,
        72,
        117,
        130,
        131,
        190,
        321,
        349,
        351,
        407,
        441,
        467,
        547,
        632,
        691,
    }
)


_SWITCHED = frozenset(
    {60, 469}
)  # no such table; the constraint by which a table refuses another model's rows


class WarehouseError(DesirelineError):
    """The warehouse did not take rows."""


class WarehouseAway(WarehouseError):
    """It cannot be reached, or cannot write now. The same rows may be sent again, and must be."""


class TablesSwitched(WarehouseAway):
    """The table that was named belongs to another journey model now, or is gone: its name must be asked again."""


class RowsRefused(WarehouseError):
    """It cannot take these values, however often they are sent."""

    def __init__(self, table: str, reason: str) -> None:
        super().__init__(f'table "{table}" does not take these rows: {reason}')
        self.reason = reason


class Rejected(msgspec.Struct, frozen=True):
    """A record of `touchpoints.rejected`, as far as it is shown; what else it holds is passed over."""

    id: str
    received_at: int
    reason: str
    detail: str | None = None
    source: str | None = None
    source_instance: str | None = None
    channel: str | None = None
    raw_ref: str | None = None
    raw_base64: str | None = None
    sha256: str | None = None

    @property
    def content(self) -> str:
        """The payload as text, for reading; empty where it is not in the record."""
        if not self.raw_base64:
            return ""
        try:
            return base64.b64decode(self.raw_base64).decode(errors="replace")
        except ValueError:
            return self.raw_base64


class Rows(msgspec.Struct):
    """What is inserted together."""

    touchpoints: list[JudgedTouchpoint] = []
    journeys: list[JourneyRow] = []
    identities: list[IdentityRow] = []
    conflicts: list[ConflictRow] = []
    identifications: list[Identification | Correction] = []
    duplicates: list[DuplicateRow] = []
    copies: list[Touchpoint] = []
    rejected: list[Rejected] = []
    alerts: list[Alert] = []
    watermarks: dict[int, int] = {}  # partition -> UTC ms

    def add(self, facts: Facts) -> None:
        """Add what one record of `journeys.facts` says."""
        self.touchpoints += facts.touchpoints
        self.journeys += facts.journeys
        self.identities += facts.identities
        self.conflicts += facts.conflicts
        self.identifications += facts.identifications
        self.identifications += facts.corrections
        self.duplicates += facts.duplicates
        self.copies += facts.copies
        for partition, watermark in facts.watermarks.items():
            self.watermarks[partition] = max(watermark, self.watermarks.get(partition, 0))


class Archived(NamedTuple):
    """An element, for the archive."""

    kind: str
    element: Element
    content: bytes

    def __hash__(self) -> int:
        return hash((self.kind, self.content))


class Unloadable(msgspec.Struct, frozen=True):
    """A row that the warehouse refuses, or a record that nobody can read, and why."""

    what: str  # name of the table, or kind of the record
    content: bytes
    reason: str
    raw_ref: str | None = None  # of a touchpoint

    def rejected(self, now: int) -> Rejected:
        """How it is shown among the rejected. `now`: UTC ms."""
        digest = sha256(self.content).hexdigest()
        return Rejected(
            id=f"{UNLOADABLE}:{digest[:32]}",
            received_at=now,
            reason=UNLOADABLE,
            detail=f"{self.what}: {self.reason}"[:2000],
            raw_base64=base64.b64encode(self.content).decode(),
            sha256=digest,
            raw_ref=self.raw_ref,
        )


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
        held: list[tuple[str, Element]] = [("touchpoint", row.touchpoint) for row in rows.touchpoints]
        held += [("copy", copy) for copy in rows.copies]
        for one in rows.identifications:
            held.append(("identification" if isinstance(one, Identification) else "correction", one))
        elements = [Archived(kind, element, encoding(element)) for kind, element in held]
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


def typed(error: Exception, table: str) -> WarehouseError:
    """What an error of the client means: rows that it refuses, or a warehouse that is away."""
    code = error.code if isinstance(error, DatabaseError) else None
    if code in _REFUSALS:
        return RowsRefused(table, str(error))
    if code in _SWITCHED:
        return TablesSwitched(
            f'table "{table}" is not where it was: {str(error)[:500]}', remedy="Its new name is asked for."
        )
    return WarehouseAway(
        f'table "{table}" cannot be written now: {type(error).__name__}: {str(error)[:500]}',
        remedy="Nothing is lost: it is tried again until it succeeds.",
    )


@contextmanager
def warehouse_errors(table: str) -> Iterator[None]:
    """Turns what the client raises into a `WarehouseError`."""
    try:
        yield
    except (ClickHouseError, HTTPError, OSError) as error:
        raise typed(error, table) from error


def content_token(records: Iterable[bytes]) -> str:
    """The deduplication token of a group of records: a hash of their content.

    Not of their offsets: a broker that was renewed gives the same offsets to other records.
    """
    digest = blake2b(digest_size=16)
    for record in records:
        digest.update(len(record).to_bytes(4, "big"))
        digest.update(record)
    return digest.hexdigest()


def element_columns(rows: Sequence[Archived]) -> Columns:
    """Columns of `element_rows`."""
    elements = [row.element for row in rows]
    instants = [one.occurred_at if isinstance(one, Touchpoint) else one.at for one in elements]
    return {
        "kind": [row.kind for row in rows],
        "occurred_on": [at // DAY_MS for at in instants],
        "id": [one.id for one in elements],
        "identifiers": [[identifier.key for identifier in one.identifiers] for one in elements],
        "element": [row.content.decode() for row in rows],
    }


def touchpoint_columns(rows: Sequence[JudgedTouchpoint]) -> Columns:
    """Columns of `touchpoint_rows`."""
    ts = [row.touchpoint for row in rows]
    vs = [row.verdict for row in rows]
    pages = [t.page for t in ts]
    campaigns = [t.campaign for t in ts]
    agents = [t.agent for t in ts]
    drops = [v.drop_off for v in vs]
    return {
        "occurred_on": [t.occurred_at // DAY_MS for t in ts],
        "id": [t.id for t in ts],
        "occurred_at": [t.occurred_at for t in ts],
        "received_at": [t.received_at for t in ts],
        "source": [t.source for t in ts],
        "source_instance": [t.source_instance for t in ts],
        "source_event_id": [t.source_event_id for t in ts],
        "source_type": [t.source_type for t in ts],
        "source_updated_at": [t.source_updated_at for t in ts],
        "channel": [t.channel for t in ts],
        "type": [t.type for t in ts],
        "identifiers": [[identifier.key for identifier in t.identifiers] for t in ts],
        "session_id": [t.session_id or "" for t in ts],
        "conversation_id": [t.conversation_id or "" for t in ts],
        "direction": [t.direction or "" for t in ts],
        "outcome": [t.outcome or "" for t in ts],
        "outcome_reason": [t.outcome_reason or "" for t in ts],
        "wait_ms": [t.wait_ms for t in ts],
        "hold_ms": [t.hold_ms for t in ts],
        "talk_ms": [t.talk_ms for t in ts],
        "duration_ms": [t.duration_ms for t in ts],
        "transfers": [t.transfers for t in ts],
        "csat": [t.csat for t in ts],
        "nps": [t.nps for t in ts],
        "ces": [t.ces for t in ts],
        "sentiment": [t.sentiment for t in ts],
        "amount": [None if t.amount is None else Decimal(t.amount) for t in ts],
        "currency": [t.currency or "" for t in ts],
        "page_url": [(p.url or "") if p else "" for p in pages],
        "page_path": [(p.path or "") if p else "" for p in pages],
        "page_title": [(p.title or "") if p else "" for p in pages],
        "page_referrer": [(p.referrer or "") if p else "" for p in pages],
        "campaign": [(c.name or "") if c else "" for c in campaigns],
        "campaign_source": [(c.source or "") if c else "" for c in campaigns],
        "campaign_medium": [(c.medium or "") if c else "" for c in campaigns],
        "campaign_term": [(c.term or "") if c else "" for c in campaigns],
        "campaign_content": [(c.content or "") if c else "" for c in campaigns],
        "device_type": [(t.device.type or "") if t.device else "" for t in ts],
        "locale": [t.locale or "" for t in ts],
        "timezone": [t.timezone or "" for t in ts],
        "persona": [t.persona or "" for t in ts],
        "segments": [t.segments for t in ts],
        "agent_id": [(a.id or "") if a else "" for a in agents],
        "queue": [(a.queue or "") if a else "" for a in agents],
        "team": [(a.team or "") if a else "" for a in agents],
        "topic": [t.topic or "" for t in ts],
        "text": [t.text or "" for t in ts],
        "properties": [_json(t.properties).decode() if t.properties else "{}" for t in ts],
        "time_quality": [t.time_quality for t in ts],
        "raw_ref": [t.raw_ref or "" for t in ts],
        "element": [_json(t).decode() for t in ts],
        "customer_id": [v.customer_id for v in vs],
        "journey_id": [v.journey_id for v in vs],
        "ordinal": [v.ordinal for v in vs],
        "phase": [v.phase for v in vs],
        "phase_move": [v.phase_move for v in vs],
        "transaction_id": [v.transaction_id for v in vs],
        "customer_already": [v.customer_already for v in vs],
        "converts": [v.converts for v in vs],
        "weight": [v.weight for v in vs],
        "moment_of_truth": [v.moment_of_truth for v in vs],
        "pain_kinds": [[p.kind for p in v.pain_points] for v in vs],
        "pain_severities": [[p.severity for p in v.pain_points] for v in vs],
        "delight_kinds": [v.delights for v in vs],
        "attempt_kinds": [[a.kind for a in v.attempts] for v in vs],
        "attempt_outcomes": [[a.outcome for a in v.attempts] for v in vs],
        "attempt_ended_ats": [[a.ended_at for a in v.attempts] for v in vs],
        "attempt_recovered_ats": [[a.recovered_at for a in v.attempts] for v in vs],
        "drop_off_at": [d and d.at for d in drops],
        "drop_off_recovered_at": [d and d.recovered_at for d in drops],
        "drop_off_pain_kind": [(d and d.pain_kind) or "" for d in drops],
        "drop_off_pain_touchpoint_id": [(d and d.pain_touchpoint_id) or "" for d in drops],
        "version": [row.version for row in rows],
        "deleted": [row.deleted for row in rows],
    }


def journey_columns(rows: Sequence[JourneyRow]) -> Columns:
    """Columns of `journey_rows`: the row as it is, and the day of its first touchpoint."""
    columns: Columns = {"started_on": [row.started_at // DAY_MS for row in rows]}
    for name in JourneyRow.__struct_fields__:
        columns[name] = [getattr(row, name) for row in rows]
    columns["campaign_first"] = [row.campaign_first or "" for row in rows]
    columns["campaign_last"] = [row.campaign_last or "" for row in rows]
    columns["persona"] = [row.persona or "" for row in rows]
    columns["drop_off_phase"] = [row.drop_off_phase or "" for row in rows]
    columns["values"] = [{c: Decimal(value) for c, value in row.values.items()} for row in rows]
    return columns


def identity_columns(rows: Sequence[IdentityRow]) -> Columns:
    """Columns of `identity_rows`."""
    return {name: [getattr(row, name) for row in rows] for name in IdentityRow.__struct_fields__}


def conflict_columns(rows: Sequence[ConflictRow]) -> Columns:
    """Columns of `identity_conflict_rows`."""
    return {name: [getattr(row, name) for row in rows] for name in ConflictRow.__struct_fields__}


def identification_columns(rows: Sequence[Identification | Correction]) -> Columns:
    """Columns of `identification_rows`."""
    return {
        "id": [row.id for row in rows],
        "at": [row.at for row in rows],
        "kind": [row.relation if isinstance(row, Correction) else "identification" for row in rows],
        "identifiers": [[identifier.key for identifier in row.identifiers] for row in rows],
        "element": [_json(row).decode() for row in rows],
    }


def duplicate_columns(rows: Sequence[DuplicateRow]) -> Columns:
    """Columns of `rejected_touchpoint_rows` for copies of a touchpoint that lost against another one."""
    digests = [sha256(row.content.encode()).hexdigest() for row in rows]
    return {
        "id": [f"{row.id}:{digest[:16]}" for row, digest in zip(rows, digests, strict=True)],
        "received_at": [row.received_at for row in rows],
        "reason": [CONFLICTING_DUPLICATE] * len(rows),
        "detail": [f"touchpoint {row.id} came with another content, which counts" for row in rows],
        "source": [row.source for row in rows],
        "source_instance": [""] * len(rows),
        "channel": [row.channel for row in rows],
        "raw_ref": [""] * len(rows),
        "content": [row.content for row in rows],
        "sha256": digests,
        "version": [row.version for row in rows],
        "deleted": [row.deleted for row in rows],
    }


def rejection_columns(rows: Sequence[Rejected]) -> Columns:
    """Columns of `rejected_touchpoint_rows`."""
    return {
        "id": [row.id for row in rows],
        "received_at": [row.received_at for row in rows],
        "reason": [row.reason for row in rows],
        "detail": [row.detail or "" for row in rows],
        "source": [row.source or "" for row in rows],
        "source_instance": [row.source_instance or "" for row in rows],
        "channel": [row.channel or "" for row in rows],
        "raw_ref": [row.raw_ref or "" for row in rows],
        "content": [row.content for row in rows],
        "sha256": [row.sha256 or "" for row in rows],
        "version": [1] * len(rows),
        "deleted": [False] * len(rows),
    }


def alert_columns(rows: Sequence[Alert]) -> Columns:
    """Columns of `alert_rows`."""
    return {
        "id": [row.id for row in rows],
        "kind": [row.kind for row in rows],
        "channel": [row.channel for row in rows],
        "opened_at": [row.opened_at for row in rows],
        "resolved_at": [row.resolved_at for row in rows],
        "observed_rate": [row.observed_rate for row in rows],
        "expected_rate": [row.expected_rate for row in rows],
        "attempts": [row.attempts for row in rows],
        "abandoned": [row.abandoned for row in rows],
        "probability": [f"{row.probability:.3g}" for row in rows],
        "message": [row.message for row in rows],
        "version": [1 if row.resolved_at is None else 2 for row in rows],
    }


def watermark_columns(watermarks: Mapping[int, int]) -> Columns:
    """Columns of `watermarks`: partition to UTC ms."""
    return {"partition": list(watermarks), "watermark": list(watermarks.values())}
