"""Rows per second into the warehouse: the loader, beside clickhouse-connect alone.

The loader decodes facts, archives what was sent, writes every table and recounts the aggregates; clickhouse-connect
inserts ready columns of the same touchpoints, journeys and identities, and nothing else.
"""

import time
from itertools import groupby

import msgspec

from benchmarks.figures import Figure
from benchmarks.traffic import MODEL, households
from desireline.loaded import chunks
from models.fold import Household
from warehouse import schema
from warehouse.columns import identity_columns, journey_columns, touchpoint_columns
from warehouse.connection import client
from warehouse.embedded import EmbeddedWarehouse
from warehouse.loading import Group, Loading
from warehouse.migrations import migrate

_TOUCHPOINTS = 50_000
_TOGETHER = 500  # households
_WEEKS = 13


def measure() -> list[Figure]:
    """Rows of touchpoints, journeys and identities per second."""
    now = int(time.time() * 1000)
    groups = _groups(now)
    with EmbeddedWarehouse() as warehouse:
        migrate(warehouse.url)
        loading = Loading(warehouse.url, MODEL.phases)
        begun = time.perf_counter()
        for group in groups:
            loading.write(group, now)
        loading.settle(now)
        ours = time.perf_counter() - begun
    with EmbeddedWarehouse() as warehouse:
        migrate(warehouse.url)
        raw, rows = _raw(warehouse.url, groups)
    return [
        Figure("loader", rows / ours, "rows/s", "decoded, archived, written, aggregates recounted"),
        Figure(
            "clickhouse_connect",
            rows / raw,
            "rows/s",
            f"ready columns inserted; {ours / raw:.1f} × the loader",
        ),
    ]


def _groups(now: int) -> list[Group]:
    said = sorted(households(_TOUCHPOINTS, weeks=_WEEKS), key=lambda pair: pair[0])
    of = ([element for _, element in some] for _, some in groupby(said, key=lambda pair: pair[0]))
    groups = []
    for some in chunks(of, _TOGETHER):
        facts = []
        for elements in some:
            household = Household(min(one.key for e in elements for one in e.identifiers), MODEL)
            household.add(elements)
            facts.append(msgspec.msgpack.encode(household.judge(now, full=True)))
        groups.append(Group([("facts", one) for one in facts]))
    return groups


def _raw(url: str, groups: list[Group]) -> tuple[float, int]:
    """Seconds of the inserts, and how many rows they hold."""
    seconds, count = 0.0, 0
    with client(url) as connected:
        for group in groups:
            found, _ = group.decoded()
            for rows in found.values():
                for table, columns, number in (
                    (schema.touchpoint_rows, touchpoint_columns(rows.touchpoints), len(rows.touchpoints)),
                    (schema.journey_rows, journey_columns(rows.journeys), len(rows.journeys)),
                    (schema.identity_rows, identity_columns(rows.identities), len(rows.identities)),
                ):
                    if not number:
                        continue
                    begun = time.perf_counter()
                    connected.insert(
                        table.name,
                        list(columns.values()),
                        column_names=list(columns),
                        column_oriented=True,
                    )
                    seconds += time.perf_counter() - begun
                    count += number
    return seconds, count
