"""What people read of a warehouse, line by line, to compare two of them."""

from collections.abc import Iterable

import msgspec
from clickhouse_connect.driver.client import Client

from models.household import verdicts
from models.journey_model import JourneyModel
from models.touchpoint import Element
from models.verdict import Facts
from warehouse import schema, views
from warehouse.aggregates import AGGREGATES, Aggregates
from warehouse.loading import Group, Loading
from warehouse.rows import Rows
from warehouse.writer import Writer

JUDGED = ("touchpoints", "journeys", "identities", "identity_conflicts")
DAY_MS = 86_400_000


def standing(client: Client) -> dict[str, list[str]]:
    """The rows of every view that follows from a journey model; buckets without those that say zero."""
    return {name: lines(client, name) for name in (*JUDGED, *(aggregate.name for aggregate in AGGREGATES))}


def differences(one: dict[str, list[str]], other: dict[str, list[str]]) -> dict[str, list[str]]:
    """Up to three lines per view that stand in one of them only, with < or > before them."""
    found = {}
    for name in one:
        here, there = set(one[name]), set(other[name])
        apart = [f"< {line}" for line in sorted(here - there)] + [
            f"> {line}" for line in sorted(there - here)
        ]
        if apart or len(one[name]) != len(other[name]):
            found[name] = apart[:3] + apart[-3:]
    return found


def lines(client: Client, view: str) -> list[str]:
    measures = next((aggregate.measures for aggregate in AGGREGATES if aggregate.name == view), ())
    some = " or ".join(f"{measure} > 0" for measure in measures) or "1"
    columns = ", ".join(f"`{column.name}`" for column in views.metadata.tables[view].c)
    answer = client.raw_query(f"select {columns} from {view} where {some} order by all format TSV")
    return answer.decode().splitlines()


def load(url: str, facts: Iterable[Facts], phases: tuple[str, ...]) -> None:
    """Through the loader, as a worker does."""
    loading = Loading(url, phases)
    loading.write(Group([("facts", msgspec.msgpack.encode(one)) for one in facts]), 0)
    loading.settle(0)


def load_batch(
    client: Client, households: Iterable[list[Element]], watermark: int, model: JourneyModel
) -> None:
    """All that a plain batch computation says of these households, and aggregates counted from all rows."""
    for table in schema.metadata.tables.values():
        if table.name not in ("migrations", "journey_models"):
            client.command(f"truncate table {table.name}")
    rows = Rows()
    for elements in households:
        rows.add(verdicts(elements, watermark, model))
    writer = Writer(client)
    assert not writer.write(rows, "batch")
    times = [row.touchpoint.occurred_at for row in rows.touchpoints]
    since, until = min(times) // DAY_MS * DAY_MS - DAY_MS, max(times) // DAY_MS * DAY_MS + 400 * DAY_MS
    Aggregates(client, writer, model.phases).recompute(since, until)
