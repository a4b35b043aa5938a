"""A data folder with millions of touchpoints: simulated households, written by the writer, multiplied by SQL.

Every copy has identifiers and ids of its own, in its elements' JSON, too, so that each is a household like any
other. Made once and kept: it takes minutes.
"""

import time
from itertools import groupby
from pathlib import Path

import msgspec
from clickhouse_connect.driver.client import Client

from benchmarks.traffic import households
from desireline.loaded import chunks
from models.fold import Household
from models.identifier import Identifier
from models.journey_model import default_model
from models.touchpoint import Element, Touchpoint
from models.verdict import Facts
from warehouse import schema
from warehouse.connection import client
from warehouse.embedded import EmbeddedWarehouse
from warehouse.loading import Group, Loading
from warehouse.migrations import migrate

_MODEL = default_model()
_WEEKS = 13
_MARK = "copy000"  # part of every name; another number makes it another copy's
_TOGETHER = 500  # households
_LEAST_PER_JOURNEY = (
    10  # touchpoints; without who looks in once, 20 on average: 10 million in 500,000 journeys
)
_PARTITIONS = 8

_NAMED = {
    schema.touchpoint_rows: (
        "id", "source_event_id", "session_id", "conversation_id", "customer_id",
        "drop_off_pain_touchpoint_id", "identifiers",
    ),
    schema.journey_rows: ("id", "customer_id", "touchpoint_ids"),
    schema.identity_rows: ("identifier", "customer_id", "household_id"),
    schema.identity_conflict_rows: ("identifier_a", "identifier_b", "customer_a", "customer_b"),
    schema.element_rows: ("id", "identifiers", "element"),
    schema.identification_rows: ("id", "identifiers", "element"),
    schema.rejected_touchpoint_rows: ("id", "content"),
    schema.bucket_places: ("id",),
    schema.row_places: (),
}  # fmt: skip
_LISTS = frozenset({"identifiers", "touchpoint_ids"})


def made(folder: Path, touchpoints: int, *, different: int = 140_000) -> int:
    """Have a data folder with about so many touchpoints, of copies of most of so many different ones; how many it
    holds.
    """
    with EmbeddedWarehouse(str(folder / "warehouse")) as warehouse:
        migrate(warehouse.url)
        with client(warehouse.url) as connected:
            if not _count(connected):
                _load(warehouse.url, different, int(time.time() * 1000))
                _multiply(connected, max(1, touchpoints // _count(connected)))
                _rest(connected)
            return _count(connected)


def _count(connected: Client) -> int:
    count: int = connected.query("select count() from touchpoint_rows").result_rows[0][0]
    return count


def _rest(connected: Client) -> None:
    """Leave it as an hour at rest does: the embedded warehouse merges what is older than that."""
    for table in _NAMED:
        connected.command(f"optimize table {table.name} final", settings={"max_execution_time": 0})


def _load(url: str, elements: int, now: int) -> None:
    loading = Loading(url, _MODEL.phases)
    said = [(key, _marked(element)) for key, element in households(elements, weeks=_WEEKS)]
    said.sort(key=lambda pair: pair[0])
    of_households = ([element for _, element in of] for _, of in groupby(said, key=lambda pair: pair[0]))
    judged = (_judged(elements, now) for elements in of_households)
    for some in chunks(filter(_is_eventful, judged), _TOGETHER):
        values = [msgspec.msgpack.encode(facts) for facts in some]
        loading.write(Group([("facts", value) for value in values]), now)
    loading.settle(now)
    with client(url) as connected:
        connected.command(
            f"insert into watermarks select number, fromUnixTimestamp64Milli({now - 60_000})"
            f" from numbers({_PARTITIONS})"
        )


def _judged(elements: list[Element], now: int) -> Facts:
    order = _MODEL.identifier_order
    smallest = min(
        (one for element in elements for one in element.identifiers), key=lambda one: order.rank(one.key)
    )
    household = Household(smallest.key, _MODEL)
    household.add(elements)
    return household.judge(now, full=True)


def _is_eventful(facts: Facts) -> bool:
    journeys = sum(not journey.deleted for journey in facts.journeys)
    return len(facts.touchpoints) >= _LEAST_PER_JOURNEY * journeys


def _marked(element: Element) -> Element:
    """Named so that its copies can be named otherwise."""
    identifiers = tuple(Identifier(one.kind, one.value + _MARK) for one in element.identifiers)
    marked = {"id": element.id + _MARK, "identifiers": identifiers}
    if isinstance(element, Touchpoint):
        marked |= {
            name: getattr(element, name) + _MARK
            for name in ("source_event_id", "session_id", "conversation_id")
            if getattr(element, name)
        }
    return msgspec.structs.replace(element, **marked)


def _multiply(connected: Client, copies: int) -> None:
    """Every table that names somebody, so many times, from what is in it now."""
    for table, named in _NAMED.items():
        first = f"first_{table.name}"
        connected.command(
            f"create table {first} engine = MergeTree order by tuple() as select * from {table.name}"
        )
        columns = ", ".join(f"`{column.name}`" for column in table.c)
        for number in range(1, copies):
            values = ", ".join(_renamed(column.name, named, f"copy{number:03}") for column in table.c)
            connected.command(
                f"insert into {table.name} ({columns}) select {values} from {first}",
                settings={"max_partitions_per_insert_block": 1000, "max_execution_time": 0},
            )
        connected.command(f"drop table {first}")


def _renamed(column: str, named: tuple[str, ...], name: str) -> str:
    """SQL: the value of a column in the copy of that name."""
    if column in ("journey_id", "transaction_id"):
        return f"concat(`{column}`, '{name}')"
    if column == "transaction_ids":
        return f"arrayMap(one -> concat(one, '{name}'), `{column}`)"
    if column == "row_hash":
        return f"cityHash64(row_hash, '{name}')"
    if column not in named:
        return f"`{column}`"
    if column in _LISTS:
        return f"arrayMap(one -> replaceAll(one, '{_MARK}', '{name}'), `{column}`)"
    return f"replaceAll(`{column}`, '{_MARK}', '{name}')"
