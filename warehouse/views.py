"""What people read: each row once, whatever ClickHouse has merged so far.

`FINAL` inside the view picks the row that wins. It may look at each partition by itself, since the
partition is a
function of the key. `touchpoints` and `journeys` are the tables without their machinery; `attempts`,
`drop_offs`, `pain_points` and `delights` unfold what is said of touchpoints.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from clickhouse_connect.cc_sqlalchemy.datatypes.sqltypes import Bool, Float32, Nullable, String
from sqlalchemy import Column, MetaData, Table

from warehouse import schema
from warehouse.schema import INSTANT, WORD

metadata = MetaData()
_FINAL = "FINAL SETTINGS do_not_merge_across_partitions_select_final = 1"
JOURNEYS = f"{schema.journey_rows.name} final"
TOUCHPOINTS = f"{schema.touchpoint_rows.name} final"
"""What the views read, for questions of many layers: over a view the engine takes a third longer to plan one."""

_MACHINERY = frozenset({"version", "deleted", "element", "model"})


@dataclass(frozen=True)
class View:
    """A view: its columns as a SQLAlchemy table, and the query behind it."""

    table: Table
    query: str


VIEWS: list[View] = []


def _view(name: str, comment: str, query: str, columns: Sequence[Column[Any]]) -> Table:
    table = Table(name, metadata, *columns, comment=comment)
    VIEWS.append(View(table, query))
    return table


def _same(table: Table, *names: str) -> list[Column[Any]]:
    return [Column(c.name, c.type, comment=c.comment) for c in (table.c[name] for name in names)]


def _current(name: str, table: Table, comment: str) -> Table:
    """The rows of a table that count, without what makes them count."""
    kept = [c.name for c in table.c if c.name not in _MACHINERY]
    columns = ", ".join(f"`{name}`" for name in kept)
    return _view(name, comment, "SELECT " + columns + f" FROM {table.name} {_FINAL}", _same(table, *kept))  # noqa: S608  names of ours


touchpoints = _current(
    "touchpoints",
    schema.touchpoint_rows,
    "One row per touchpoint: what happened, and what the stitching says of it.",
)
journeys = _current(
    "journeys", schema.journey_rows, "One row per journey; arrays are in the order of its touchpoints."
)
identities = _current("identities", schema.identity_rows, "Whom each identifier belongs to.")
_CONFLICT = ("identifier_a", "identifier_b", "at", "reason", "customer_a", "customer_b")
identity_conflicts = _view(
    "identity_conflicts",
    "Links that were refused, since they would have fused two customers.",
    # a link's time is part of its key and may turn out to be earlier: what was said last of the pair counts
    f"SELECT {', '.join(_CONFLICT)} FROM (SELECT * FROM identity_conflict_rows"  # noqa: S608  names of ours
    " ORDER BY version DESC LIMIT 1 BY identifier_a, identifier_b) WHERE deleted = 0",
    _same(schema.identity_conflict_rows, *_CONFLICT),
)
identity_corrections = _view(
    "identity_corrections",
    "What people decided about two identifiers; of several decisions the latest holds, unless undone.",
    "SELECT id, at, kind AS relation, identifiers[1] AS identifier_a, identifiers[2] AS identifier_b,"
    " JSONExtractString(element, 'author') AS author, JSONExtractString(element, 'reason') AS reason,"
    " toBool(kind != 'undone' AND"
    " row_number() OVER (PARTITION BY arraySort(identifiers) ORDER BY at DESC, id DESC) = 1) AS holds"
    " FROM identification_rows FINAL WHERE kind != 'identification'",
    [
        Column("id", schema.identification_rows.c.id.type, comment="id of the decision"),
        Column("at", INSTANT, comment="when it was made, UTC"),
        Column("relation", WORD, comment="same, not_same, or undone: neither any more"),
        Column("identifier_a", String, comment="the stronger identifier"),
        Column("identifier_b", String, comment="the weaker one"),
        Column("author", String, comment="who decided it"),
        Column("reason", String, comment="why, for people; empty: not said"),
        Column("holds", Bool, comment="true: no later decision about the two, and not undone"),
    ],
)
rejected_touchpoints = _current(
    "rejected_touchpoints", schema.rejected_touchpoint_rows, "What was not taken, with its reason."
)
alerts = _current("alerts", schema.alert_rows, "Alerts about abandonment, open and resolved.")
cohorts = _current("cohorts", schema.cohort_rows, "Saved cohorts: who belongs together, as a definition.")
attempts_1m = _current("attempts_1m", schema.attempts_1m_rows, "Ended attempts by minute, kind and channel.")
drop_offs_1m = _current(
    "drop_offs_1m", schema.drop_offs_1m_rows, "Drop-offs by minute, phase, channel and type."
)
pain_points_1m = _current(
    "pain_points_1m", schema.pain_points_1m_rows, "Pain points by minute, kind, phase and channel."
)
stage_conversion_1d = _current(
    "stage_conversion_1d",
    schema.stage_conversion_1d_rows,
    "Journeys by day of beginning, campaign and phase: how they went on.",
)

_CONTEXT = (
    "customer_id",
    "journey_id",
    "transaction_id",
    "channel",
    "type",
    "phase",
    "queue",
    "campaign",
    "persona",
)


def _unfolded(name: str, comment: str, query: str, columns: Sequence[Column[Any]]) -> Table:
    context = _same(schema.touchpoint_rows, *_CONTEXT)
    named = [
        Column("touchpoint_id", schema.touchpoint_rows.c.id.type, comment="id of the touchpoint"),
        *columns,
        *context,
    ]
    return _view(name, comment, query.format(context=", ".join(_CONTEXT), final=_FINAL), named)


attempts = _unfolded(
    "attempts",
    "One row per attempt: a unit of work that can be abandoned.",
    "SELECT id AS touchpoint_id, kind, outcome, occurred_at AS opened_at, ended_at, recovered_at, {context}"
    " FROM touchpoint_rows FINAL"
    " ARRAY JOIN attempt_kinds AS kind, attempt_outcomes AS outcome, attempt_ended_ats AS ended_at,"
    " attempt_recovered_ats AS recovered_at SETTINGS do_not_merge_across_partitions_select_final = 1",
    [
        Column("kind", WORD, comment="kind of attempt: cart, checkout, form, chat, call, payment, invoice"),
        Column("outcome", WORD, comment="open, completed or abandoned"),
        Column("opened_at", INSTANT, comment="when it was opened, UTC"),
        Column(
            "ended_at",
            Nullable(INSTANT),
            comment="when it was completed or abandoned, UTC; NULL: open",
        ),
        Column(
            "recovered_at",
            Nullable(INSTANT),
            comment="when it was completed after having been abandoned, UTC; NULL: it was not",
        ),
    ],
)

drop_offs = _unfolded(
    "drop_offs",
    "One row per drop-off: silence in the middle of a journey.",
    "SELECT id AS touchpoint_id, assumeNotNull(drop_off_at) AS at, occurred_at AS last_seen_at,"
    " drop_off_recovered_at AS recovered_at, drop_off_pain_kind AS pain_kind,"
    " drop_off_pain_touchpoint_id AS pain_touchpoint_id, {context}"
    " FROM touchpoint_rows FINAL WHERE drop_off_at IS NOT NULL"
    " SETTINGS do_not_merge_across_partitions_select_final = 1",
    [
        Column("at", INSTANT, comment="when patience ran out, UTC"),
        Column("last_seen_at", INSTANT, comment="when the touchpoint before the silence happened, UTC"),
        Column(
            "recovered_at",
            Nullable(INSTANT),
            comment="when the customer came back, UTC; NULL: not so far",
        ),
        Column(
            "pain_kind", WORD, comment="kind of the nearest pain point before it in the journey; empty: none"
        ),
        Column(
            "pain_touchpoint_id",
            schema.touchpoint_rows.c.id.type,
            comment="touchpoint of that pain point; empty: none",
        ),
    ],
)

pain_points = _unfolded(
    "pain_points",
    "One row per pain point.",
    "SELECT id AS touchpoint_id, occurred_at AS at, kind, severity, {context}"
    " FROM touchpoint_rows FINAL ARRAY JOIN pain_kinds AS kind, pain_severities AS severity"
    " SETTINGS do_not_merge_across_partitions_select_final = 1",
    [
        Column("at", INSTANT, comment="when it hurt, UTC"),
        Column("kind", WORD, comment="kind of pain point"),
        Column("severity", Float32, comment="how much, 0 to 1"),
    ],
)

delights = _unfolded(
    "delights",
    "One row per delight.",
    "SELECT id AS touchpoint_id, occurred_at AS at, kind, {context}"
    " FROM touchpoint_rows FINAL ARRAY JOIN delight_kinds AS kind"
    " SETTINGS do_not_merge_across_partitions_select_final = 1",
    [
        Column("at", INSTANT, comment="when it pleased, UTC"),
        Column("kind", WORD, comment="kind of delight"),
    ],
)
