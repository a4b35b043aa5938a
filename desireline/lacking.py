"""Which accepted elements the warehouse does not know yet, copies of touchpoints that it has included.

A row with an element's id is not enough: a source may have sent the touchpoint again with another content, and
that copy may have been lost on its way. The archive holds every content.
"""

from collections.abc import Iterable, Sequence
from datetime import UTC, date, datetime
from typing import TYPE_CHECKING

from desireline import loaded
from models.touchpoint import Element, Touchpoint, encoding

if TYPE_CHECKING:
    from clickhouse_connect.driver.client import Client

_ARCHIVED = """
    select distinct element from element_rows
    where kind in ('touchpoint', 'copy', 'identification', 'correction')
      and occurred_on in {days:Array(Date)} and id in {ids:Array(String)}
"""


def lacking(client: "Client", elements: Iterable[Element]) -> list[Element]:
    """The elements that were lost, or are still on their way: publishing them again would tell something."""
    left: list[Element] = []
    for chunk in loaded.chunks(elements, loaded.CHUNK):
        archived = _archived(client, chunk)
        unknown = [element for element in chunk if encoding(element).decode() not in archived]
        refused = loaded.find(client, [loaded.Sought.of(element) for element in unknown]).rejected
        left.extend(element for element in unknown if element.id not in refused)
    return left


def _archived(client: "Client", elements: Sequence[Element]) -> set[str]:
    sought = {
        "ids": sorted({element.id for element in elements}),
        "days": sorted({_day(element) for element in elements}),
    }
    return {content for (content,) in client.query(_ARCHIVED, parameters=sought).result_rows}


def _day(element: Element) -> date:
    at = element.occurred_at if isinstance(element, Touchpoint) else element.at
    return datetime.fromtimestamp(at / 1000, UTC).date()
