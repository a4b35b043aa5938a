"""Households that are loaded as they come: first some of what happened, then all of it, which corrects the past.

So customers have been merged, touchpoints were late, moved to another day or journey, and rows have become tombstones.
"""

from collections.abc import Sequence
from typing import TypeVar
from uuid import uuid4

import msgspec
from clickhouse_connect.driver.client import Client

from models.fold import Household
from models.identifier import Identifier
from models.touchpoint import Element
from models.verdict import IdentityRow, JourneyRow, JudgedTouchpoint
from tests.histories import DAY_MS, MODEL, MODEL_TEXT, NOON, root_of
from tests.warehouse.stories import empty
from warehouse.aggregates import Aggregates
from warehouse.journey_models import register_first
from warehouse.rows import Rows
from warehouse.writer import Writer

WATERMARK = NOON + 60
Row = TypeVar("Row", JudgedTouchpoint, JourneyRow, IdentityRow)


class Truth(msgspec.Struct):
    """What stands in the end: of each key the row of the greatest version, tombstones left out."""

    touchpoints: list[JudgedTouchpoint]
    journeys: list[JourneyRow]
    owners: dict[str, str]  # identifier -> customer


def load_twice(loader: Client, histories: Sequence[list[Element]]) -> Truth:
    """Load these households, each one apart from the others, in two parts; what stands."""
    empty(loader)
    register_first(loader, MODEL_TEXT, where="short.yaml")
    rows = [Rows(), Rows(watermarks={0: WATERMARK})]
    for number, history in enumerate(histories):
        elements = [_of_household(element, number) for element in history]
        if elements:
            household = Household(root_of(elements, MODEL), MODEL)
            middle = len(elements) // 2
            for part, some, at in ((0, elements[:middle], NOON + 20), (1, elements[middle:], WATERMARK)):
                household.add(some)
                rows[part].add(household.judge(at, full=True))
    writer = Writer(loader)
    for number, some in enumerate(rows):
        writer.write(some, f"part {number} {uuid4()}")
    Aggregates(loader, writer, MODEL.phases).recompute(NOON - DAY_MS, WATERMARK + DAY_MS)
    every = [row for some in rows for row in some.touchpoints]
    touchpoints = {(t.touchpoint.id, t.touchpoint.occurred_at // 86_400_000): t for t in _by_version(every)}
    began = _by_version([row for some in rows for row in some.journeys])
    journeys = {(j.id, j.started_at // 86_400_000): j for j in began}
    identities = _by_version([row for some in rows for row in some.identities])
    return Truth(
        [t for t in touchpoints.values() if not t.deleted],
        [j for j in journeys.values() if not j.deleted],
        {row.identifier: row.customer_id for row in identities},
    )


def _by_version(rows: list[Row]) -> list[Row]:
    return sorted(rows, key=lambda row: row.version)


def _of_household(element: Element, number: int) -> Element:
    """Under names that no other household has."""
    identifiers = tuple(Identifier(one.kind, f"{one.value}{number}") for one in element.identifiers)
    return msgspec.structs.replace(element, id=f"{number}-{element.id}", identifiers=identifiers)
