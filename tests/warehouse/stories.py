"""Touchpoints and journeys for the warehouse, from short text."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from clickhouse_connect.driver.client import Client

from warehouse import schema

MINUTE_MS = 60_000
EPOCH_MS = 1_767_225_600_000  # 2026-01-01T00:00Z, minute 0 of every story


@dataclass(frozen=True)
class Told:
    """A touchpoint of a story: `at` in ms, further columns in `fields`; `id` orders equal times."""

    customer: str
    at: int
    type: str
    id: str
    fields: dict[str, Any] = field(default_factory=dict)


def story(customer: str, text: str) -> list[Told]:
    """`0 view, 10 buy channel=chat`: minute, type, fields. Ids are in the order of the text."""
    told = []
    for place, part in enumerate(text.split(",")):
        if part.strip():
            minute, type_, *fields = part.split()
            told.append(
                Told(
                    customer,
                    EPOCH_MS + round(float(minute) * MINUTE_MS),
                    type_,
                    f"{customer}-{place:02}",
                    dict(one.split("=", 1) for one in fields),
                )
            )
    return told


def empty(loader: Client, *tables: str) -> None:
    """Without rows, all tables or these."""
    for name in tables or [name for name in schema.metadata.tables if name != "migrations"]:
        loader.command(f"truncate table {name}")


def moment(ms: int) -> datetime:
    return datetime.fromtimestamp(ms / 1000, UTC)


def load(
    loader: Client, told: Iterable[Told], *, gap_ms: int = 30 * 86_400_000, version: int = 1
) -> list[dict[str, Any]]:
    """Insert touchpoints and their journeys, cut where the gap is longer; gives the journeys."""
    of: dict[str, list[Told]] = {}
    for one in sorted(told, key=lambda t: (t.at, t.id)):
        of.setdefault(one.customer, []).append(one)
    rows, journeys = [], []
    for customer, all_ in of.items():
        pieces: list[list[Told]] = []
        for one in all_:
            if not pieces or one.at - pieces[-1][-1].at > gap_ms:
                pieces.append([])
            pieces[-1].append(one)
        for piece in pieces:
            journey = f"j-{piece[0].id}"
            journeys.append(_journey(customer, journey, piece, version))
            rows += [_row(customer, journey, place, one, version) for place, one in enumerate(piece, start=1)]
    insert(loader, "touchpoint_rows", rows)
    insert(loader, "journey_rows", journeys)
    return journeys


def insert(loader: Client, table: str, rows: Sequence[dict[str, Any]]) -> None:
    """Insert rows; columns that no row has keep their defaults."""
    if rows:
        names = list({name: None for row in rows for name in row})
        loader.insert(
            table,
            [[row.get(name) for name in names] for row in rows],
            column_names=names,
            settings={"max_partitions_per_insert_block": 0},
        )


def set_watermark(loader: Client, *at: int) -> None:
    """One partition per instant, UTC ms."""
    empty(loader, "watermarks")
    insert(loader, "watermarks", [{"partition": n, "watermark": moment(ms)} for n, ms in enumerate(at)])


_PLAIN = {
    "channel": "web", "phase": "Awareness", "queue": "", "campaign": "", "outcome": "", "persona": "",
    "amount": None, "properties": "{}", "transaction_id": "",
}  # fmt: skip


def _row(customer: str, journey: str, ordinal: int, one: Told, version: int) -> dict[str, Any]:
    return {
        "occurred_on": moment(one.at).date(), "id": one.id, "occurred_at": moment(one.at), "type": one.type,
        "customer_id": customer, "journey_id": journey, "ordinal": ordinal, "version": version,
        **_PLAIN, **one.fields,
    }  # fmt: skip


def _journey(customer: str, journey: str, piece: list[Told], version: int) -> dict[str, Any]:
    first = piece[0]
    return {
        "started_on": moment(first.at).date(), "id": first.id, "started_at": moment(first.at),
        "version": version, "journey_id": journey, "customer_id": customer, "ended_at": moment(piece[-1].at),
        "touchpoint_ids": [t.id for t in piece], "ats": [moment(t.at) for t in piece],
        "types": [t.type for t in piece],
        "channels": [t.fields.get("channel", "web") for t in piece],
        "phases": [t.fields.get("phase", "Awareness") for t in piece],
        "current_phase": piece[-1].fields.get("phase", "Awareness"),
        "persona": next((t.fields["persona"] for t in reversed(piece) if t.fields.get("persona")), ""),
    }  # fmt: skip
