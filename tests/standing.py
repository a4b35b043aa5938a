"""What must stand in the warehouse, by the oracle, and what stands there: every table and view, row by row.

A column is compared if the oracle determines it. Those that carry a name of the oracle's (of a verdict, of a
journey's row, of a touchpoint) are found by that name, so that a new one is compared without a word here.
"""

import struct
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from fractions import Fraction
from hashlib import sha256
from typing import Any, NamedTuple

import msgspec
from clickhouse_connect.driver.client import Client

from models.journey_model import JourneyModel
from models.touchpoint import Correction, Element, Identification, Touchpoint
from models.verdict import Verdict
from tests import oracle
from tests.histories import households
from tests.oracle import Said

DAY_MS = 86_400_000
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
MILLISECOND = timedelta(milliseconds=1)

Key = tuple[Any, ...]
Row = dict[str, Any]
Rows = dict[Key, Row]


class Difference(NamedTuple):
    """A row, or one column of it, that stands otherwise than it must. None as the row: there is none."""

    table: str
    key: Key
    column: str
    wanted: Any
    found: Any

    def __str__(self) -> str:
        return f"{self.table} {self.key} {self.column}: wanted {self.wanted!r}, found {self.found!r}"


class OneOf(list[Any]):
    """Any of these may stand: the table keeps one of several and does not say which."""


class Shown(NamedTuple):
    """How a table is read: its key, the query, and what the oracle says of it."""

    key: tuple[str, ...]
    query: str
    wanted: Callable[[Said, JourneyModel], Rows]
    zeros: bool = False  # a row of nothing but zeros says as much as none


def judged(elements: Sequence[Element], watermark: int, model: JourneyModel) -> Said:
    """The oracle's answer for many households, one after the other."""
    together = Said()
    for household in households(elements):
        said = oracle.judge(household, watermark, model)
        together.touchpoints |= said.touchpoints
        together.journeys |= said.journeys
        together.identities |= said.identities
        together.conflicts |= said.conflicts
        together.duplicates |= said.duplicates
        together.identifications |= said.identifications
        together.corrections |= said.corrections
        together.copies |= said.copies
        together.count += said.count
    return together


def differences(connected: Client, said: Said, model: JourneyModel) -> list[Difference]:
    """Everything that stands otherwise than the oracle says, in all tables and views."""
    return [found for name in TABLES for found in differences_of(connected, name, said, model)]


def differences_of(connected: Client, name: str, said: Said, model: JourneyModel) -> list[Difference]:
    """The same of one table or view."""
    shown = TABLES[name]
    result = connected.query(shown.query or f"select * from {name}")
    kinds = dict(zip(result.column_names, (kind.name for kind in result.column_types), strict=True))
    found: Rows = {}
    different: list[Difference] = []
    for values in result.result_rows:
        row = {
            column: as_told(value, kinds[column])
            for column, value in zip(result.column_names, values, strict=True)
        }
        key = tuple(row[column] for column in shown.key)
        if key in found:
            different.append(Difference(name, key, "*", "one row", "another row of the same key"))
        found[key] = row
    wanted = shown.wanted(said, model)
    for key in sorted(wanted.keys() | found.keys(), key=repr):
        want, got = wanted.get(key), found.get(key)
        if want is None or got is None:
            if shown.zeros and not any(_measures(got or want or {}, shown.key)):
                continue
            different.append(Difference(name, key, "*", want, got))
            continue
        for column, value in want.items():
            if column not in got:
                different.append(Difference(name, key, column, value, "no such column"))
                continue
            stored = [
                as_stored(one, kinds[column]) for one in (value if isinstance(value, OneOf) else [value])
            ]
            if got[column] not in stored:
                different.append(
                    Difference(name, key, column, stored[0] if len(stored) == 1 else stored, got[column])
                )
    return different


def watermark_differences(connected: Client, partitions: int, watermark: int) -> list[Difference]:
    """Partitions whose watermark stands elsewhere than at `watermark`, UTC ms."""
    asked = "select partition, toUnixTimestamp64Milli(watermark) from watermarks final"
    found = dict(connected.query(asked).result_rows)
    return [
        Difference("watermarks", (partition,), "watermark", watermark, found.get(partition))
        for partition in range(partitions)
        if found.get(partition) != watermark
    ]


def _measures(row: Row, key: tuple[str, ...]) -> Iterable[Any]:
    return (value for column, value in row.items() if column not in key)


# --- values ---


def as_stored(value: Any, kind: str) -> Any:
    """What a column of this ClickHouse type holds after the oracle's value was written to it."""
    outer, inner = _taken_apart(kind)
    if outer == "Array":
        return [as_stored(one, inner) for one in value]
    if outer == "Nullable":
        return None if value is None else as_stored(value, inner)
    if outer == "LowCardinality":
        return as_stored(value, inner)
    if outer == "Map":
        return {name: Fraction(amount) for name, amount in value.items()}
    if outer == "Decimal":
        return Fraction(value)
    if outer == "Float32":
        return single(value)
    return "" if value is None and outer == "String" else value


def as_told(value: Any, kind: str) -> Any:
    """The oracle's form of what was read from a column of this ClickHouse type."""
    outer, inner = _taken_apart(kind)
    if value is None:
        return None
    if outer == "Array":
        return [as_told(one, inner) for one in value]
    if outer in ("Nullable", "LowCardinality"):
        return as_told(value, inner)
    if outer == "Map":
        return {name: Fraction(amount) for name, amount in value.items()}
    if isinstance(value, Decimal):
        return Fraction(value)
    if isinstance(value, datetime):
        return (value.replace(tzinfo=UTC) - EPOCH) // MILLISECOND
    if isinstance(value, date):
        return (value - EPOCH.date()).days
    return value


def single(value: float) -> float:
    """The float of 32 bits that is nearest."""
    nearest: float = struct.unpack("f", struct.pack("f", value))[0]
    return nearest


def _taken_apart(kind: str) -> tuple[str, str]:
    outer, _, rest = kind.partition("(")
    return outer, rest[:-1]


# --- what the oracle says of each table ---


def touchpoints(said: Said, _model: JourneyModel) -> Rows:
    return {(day, id): {**_happened(t), **_verdict(v)} for (id, day), (t, v) in said.touchpoints.items()}


def archive(said: Said, _model: JourneyModel) -> Rows:
    """Every content of every element, also the fields without a column."""
    rows: Rows = {}
    for content in sorted(said.copies | said.identifications | said.corrections):
        one = msgspec.json.decode(content, type=Element)
        at = one.occurred_at if isinstance(one, Touchpoint) else one.at
        row = rows.setdefault((oracle.day(at), one.id), {"contents": []})
        row["contents"].append(content.decode())
    return rows


def _happened(t: Touchpoint) -> Row:
    """The canonical fields by the names of their columns."""
    without = {"identifiers", "page", "campaign", "device", "agent", "properties"}
    uncolumned = {"attempts", "sentiment_source", "items", "consent"}
    row = {name: getattr(t, name) for name in t.__struct_fields__ if name not in without | uncolumned}
    row["identifiers"] = [f"{identifier.kind}:{identifier.value}" for identifier in t.identifiers]
    for name in ("url", "path", "title", "referrer"):
        row[f"page_{name}"] = t.page and getattr(t.page, name)
    row["campaign"] = t.campaign and t.campaign.name
    for name in ("source", "medium", "term", "content"):
        row[f"campaign_{name}"] = t.campaign and getattr(t.campaign, name)
    row["device_type"] = t.device and t.device.type
    row |= {"agent_id": t.agent and t.agent.id, "queue": t.agent and t.agent.queue}
    row["team"] = t.agent and t.agent.team
    row["properties"] = msgspec.json.encode(t.properties, order="deterministic").decode()
    return row


def _verdict(v: Verdict) -> Row:
    folded = {"pain_points", "delights", "attempts", "drop_off"}
    row = {name: getattr(v, name) for name in v.__struct_fields__ if name not in folded}
    row["pain_kinds"] = [pain.kind for pain in v.pain_points]
    row["pain_severities"] = [pain.severity for pain in v.pain_points]
    row["delight_kinds"] = v.delights
    for name in ("kind", "outcome", "ended_at", "recovered_at"):
        row[f"attempt_{name}s"] = [getattr(attempt, name) for attempt in v.attempts]
    drop_off = v.drop_off
    row["drop_off_at"] = drop_off and drop_off.at
    for name in ("recovered_at", "pain_kind", "pain_touchpoint_id"):
        row[f"drop_off_{name}"] = drop_off and getattr(drop_off, name)
    return row


def _context(t: Touchpoint, v: Verdict) -> Row:
    return {
        "customer_id": v.customer_id,
        "journey_id": v.journey_id,
        "transaction_id": v.transaction_id,
        "channel": t.channel,
        "type": t.type,
        "phase": v.phase,
        "queue": t.agent and t.agent.queue,
        "campaign": t.campaign and t.campaign.name,
        "persona": t.persona,
    }


def journeys(said: Said, _model: JourneyModel) -> Rows:
    return {(day, id): row for (id, day), row in said.journeys.items()}


def attempts(said: Said, _model: JourneyModel) -> Rows:
    return {
        (t.id, attempt.kind): {
            "opened_at": t.occurred_at,
            "outcome": attempt.outcome,
            "ended_at": attempt.ended_at,
            "recovered_at": attempt.recovered_at,
            **_context(t, v),
        }
        for t, v in said.touchpoints.values()
        for attempt in v.attempts
    }


def drop_offs(said: Said, _model: JourneyModel) -> Rows:
    return {
        (t.id,): {
            "at": v.drop_off.at,
            "last_seen_at": t.occurred_at,
            "recovered_at": v.drop_off.recovered_at,
            "pain_kind": v.drop_off.pain_kind,
            "pain_touchpoint_id": v.drop_off.pain_touchpoint_id,
            **_context(t, v),
        }
        for t, v in said.touchpoints.values()
        if v.drop_off is not None
    }


def pain_points(said: Said, _model: JourneyModel) -> Rows:
    return {
        (t.id, pain.kind): {"at": t.occurred_at, "severity": pain.severity, **_context(t, v)}
        for t, v in said.touchpoints.values()
        for pain in v.pain_points
    }


def delights(said: Said, _model: JourneyModel) -> Rows:
    return {
        (t.id, kind): {"at": t.occurred_at, **_context(t, v)}
        for t, v in said.touchpoints.values()
        for kind in v.delights
    }


def identities(said: Said, _model: JourneyModel) -> Rows:
    return {(identifier,): row for identifier, row in said.identities.items()}


def identity_conflicts(said: Said, _model: JourneyModel) -> Rows:
    return dict(said.conflicts)


def identifications(said: Said, _model: JourneyModel) -> Rows:
    """Links and corrections as they are archived; of several with one id, one."""
    rows: Rows = {}
    for content in sorted(said.identifications | said.corrections):
        one = msgspec.json.decode(content, type=Identification | Correction)
        row = {
            "at": one.at,
            "kind": one.relation if isinstance(one, Correction) else "identification",
            "identifiers": [f"{identifier.kind}:{identifier.value}" for identifier in one.identifiers],
            "element": content.decode(),
        }
        for column, value in row.items():
            rows.setdefault((one.id,), {}).setdefault(column, OneOf()).append(value)
    return rows


def rejected(said: Said, _model: JourneyModel) -> Rows:
    """Conflicting duplicates, and nothing else: no row was refused."""
    rows: Rows = {}
    for id, content in said.duplicates:
        loser = msgspec.json.decode(content, type=Touchpoint)
        digest = sha256(content.encode()).hexdigest()
        rows[(f"{id}:{digest[:16]}",)] = {
            "reason": "conflicting_duplicate",
            "received_at": loser.received_at,
            "source": loser.source,
            "channel": loser.channel,
            "content": content,
            "sha256": digest,
        }
    return rows


# --- the buckets, counted one touchpoint or journey after the other ---


def _minute(at: int) -> int:
    return at // 60_000 * 60_000


def _counted(entries: Iterable[tuple[Key, Mapping[str, int]]], measures: Sequence[str]) -> Rows:
    counts: dict[Key, Counter[str]] = {}
    for key, measured in entries:
        counts.setdefault(key, Counter()).update(measured)
    return {key: {name: count[name] for name in measures} for key, count in counts.items()}


def attempts_1m(said: Said, _model: JourneyModel) -> Rows:
    ended = [
        (
            (_minute(attempt.ended_at), attempt.kind, t.channel),
            {attempt.outcome: 1, "recovered": int(attempt.recovered_at is not None)},
        )
        for t, v in said.touchpoints.values()
        for attempt in v.attempts
        if attempt.ended_at is not None
    ]
    return _counted(ended, ("completed", "abandoned", "recovered"))


def drop_offs_1m(said: Said, _model: JourneyModel) -> Rows:
    fell_silent = [
        (
            (_minute(v.drop_off.at), v.phase, t.channel, t.type),
            {"drop_offs": 1, "recovered": int(v.drop_off.recovered_at is not None)},
        )
        for t, v in said.touchpoints.values()
        if v.drop_off is not None
    ]
    return _counted(fell_silent, ("drop_offs", "recovered"))


def pain_points_1m(said: Said, _model: JourneyModel) -> Rows:
    hurt = [
        (
            (_minute(t.occurred_at), pain.kind, v.phase, t.channel),
            {"pain_points": 1, "severity_milli": round(single(pain.severity) * 1000)},
        )
        for t, v in said.touchpoints.values()
        for pain in v.pain_points
    ]
    return _counted(hurt, ("pain_points", "severity_milli"))


STAGE_MEASURES = ("entered", "forward", "back", "lost", "open", "converted")


def stage_conversion_1d(said: Said, model: JourneyModel) -> Rows:
    passed: list[tuple[Key, dict[str, int]]] = []
    for (_, day), row in said.journeys.items():
        for phase in dict.fromkeys(row["phases"]):
            here = model.phases.index(phase)
            first = row["phases"].index(phase)
            after = [model.phases.index(later) for later in row["phases"][first + 1 :]]
            forward = any(place > here for place in after)
            ended = row["closed"] or row["drop_off_at"] is not None
            measured = {
                "entered": True,
                "forward": forward,
                "back": any(place < here for place in after),
                "lost": ended and not forward,
                "open": not ended and not forward,
                "converted": row["converted_at"] is not None,
            }
            counts = {name: int(held) for name, held in measured.items()}
            passed.append(((day, row["campaign_first"] or "", phase), counts))
    return _counted(passed, STAGE_MEASURES)


TABLES: dict[str, Shown] = {
    "touchpoints": Shown(("occurred_on", "id"), "", touchpoints),
    "element_rows": Shown(
        ("occurred_on", "id"),
        "select occurred_on, id, arraySort(groupUniqArray(element)) as contents from element_rows"
        " group by occurred_on, id",
        archive,
    ),
    "journeys": Shown(("started_on", "id"), "", journeys),
    "attempts": Shown(("touchpoint_id", "kind"), "", attempts),
    "drop_offs": Shown(("touchpoint_id",), "", drop_offs),
    "pain_points": Shown(("touchpoint_id", "kind"), "", pain_points),
    "delights": Shown(("touchpoint_id", "kind"), "", delights),
    "identities": Shown(("identifier",), "", identities),
    "identity_conflicts": Shown(("identifier_a", "identifier_b"), "", identity_conflicts),
    "identification_rows": Shown(("id",), "select * from identification_rows final", identifications),
    "rejected_touchpoints": Shown(("id",), "", rejected),
    "attempts_1m": Shown(("minute", "kind", "channel"), "", attempts_1m, zeros=True),
    "drop_offs_1m": Shown(("minute", "phase", "channel", "type"), "", drop_offs_1m, zeros=True),
    "pain_points_1m": Shown(("minute", "kind", "phase", "channel"), "", pain_points_1m, zeros=True),
    "stage_conversion_1d": Shown(("day", "campaign", "phase"), "", stage_conversion_1d, zeros=True),
}
