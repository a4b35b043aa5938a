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

TOGETHER = 20_000
"""Elements per question: each reads what was archived on their days, however few are asked for."""
_SETTINGS = {"max_query_size": 4_000_000, "max_threads": 1, "priority": 10}  # stands back for everybody else

_ARCHIVED = """
    select distinct element from element_rows
    where kind in ('touchpoint', 'copy', 'identification', 'correction')
      and occurred_on in {days:Array(Date)} and id in {ids:Array(String)}
"""


def lacking(client: "Client", elements: Iterable[Element]) -> list[Element]:
    """The elements that were lost, or are still on their way: publishing them again would tell something."""
    left: list[Element] = []
    for chunk in loaded.chunks(elements, TOGETHER):
        archived = _archived(client, chunk)
        unknown = [element for element in chunk if encoding(element).decode() not in archived]
        refused = loaded.rejected_later(client, map(_raw_ref, unknown))
        left.extend(element for element in unknown if _raw_ref(element) not in refused)
    return left


def _archived(client: "Client", elements: Sequence[Element]) -> set[str]:
    sought = {
        "ids": sorted({element.id for element in elements}),
        "days": sorted({_day(element) for element in elements}),
    }
    return {content for (content,) in client.query(_ARCHIVED, sought, _SETTINGS).result_rows}


def _raw_ref(element: Element) -> str | None:
    return getattr(element, "raw_ref", None)


def _day(element: Element) -> date:
    at = element.occurred_at if isinstance(element, Touchpoint) else element.at
    return datetime.fromtimestamp(at / 1000, UTC).date()
