"""Which of some elements the warehouse has: by their ids, asked for in chunks."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from itertools import islice
from typing import TYPE_CHECKING, NamedTuple, Self, TypeVar

from models.touchpoint import Element, Touchpoint

if TYPE_CHECKING:
    from clickhouse_connect.driver.client import Client

CHUNK = 2_000
"""Ids per question: as text they stay below the 256 kB that ClickHouse reads of a query."""

_ROWS = """
    select id, argMax(customer_id != '' and journey_id != '', version) as judged
    from touchpoint_rows where {days} id in {{ids:Array(String)}}
    group by occurred_on, id having argMax(deleted, version) = 0
"""
_ON_THEIR_DAYS = _ROWS.format(days="occurred_on in {days:Array(Date)} and")
_ON_ANY_DAY = _ROWS.format(days="")
_IDENTIFICATIONS = "select id from identification_rows where id in {ids:Array(String)}"
_REJECTED = "select id from rejected_touchpoint_rows where id in {ids:Array(String)}"
_REJECTED_LATER = """
    select raw_ref, any(reason) from rejected_touchpoint_rows where raw_ref in {ids:Array(String)} group by raw_ref
"""
_OF_SPOOL = """
    select id from touchpoint_rows
    where toYYYYMM(occurred_on) = {month:UInt32} and startsWith(raw_ref, {spool:String})
      and received_at >= fromUnixTimestamp64Milli({since:Int64})
"""
_FROM_ELSEWHERE = """
    select source, channel, countIf(not startsWith(raw_ref, 'spool:')) as foreign,
           countIf(startsWith(raw_ref, 'spool:') and not startsWith(raw_ref, {spool:String})) as other_spools
    from touchpoint_rows final group by source, channel having foreign + other_spools > 0 order by source, channel
"""

T = TypeVar("T")


class Sought(NamedTuple):
    """An element as it is looked up: a hundredth of its size."""

    id: str
    element: str  # touchpoint, identification, correction
    source: str
    channel: str
    day: date | None
    raw_ref: str | None

    @classmethod
    def of(cls, element: Element) -> Self:
        """What is needed to find it."""
        return cls(
            element.id,
            type(element).__name__.lower(),
            getattr(element, "source", ""),
            getattr(element, "channel", ""),
            _day(element.occurred_at) if isinstance(element, Touchpoint) else None,
            getattr(element, "raw_ref", None),
        )


@dataclass(frozen=True)
class Found:
    """Ids: with a row, with a row that says nothing of customer and journey, rejected after all (and why)."""

    there: set[str] = field(default_factory=set)
    unjudged: set[str] = field(default_factory=set)
    rejected: dict[str, str] = field(default_factory=dict)

    def __contains__(self, id: object) -> bool:
        return id in self.there or id in self.rejected


def find(client: "Client", elements: Sequence[Sought]) -> Found:
    """What became of elements."""
    found = Found()
    for chunk in chunks(elements, CHUNK):
        _find(client, chunk, found)
    return found


def missing(client: "Client", elements: Iterable[Element]) -> list[Element]:
    """The elements that the warehouse has neither among its rows nor among the rejected ones, in order."""
    left: list[Element] = []
    for chunk in chunks(elements, CHUNK):
        found = find(client, [Sought.of(element) for element in chunk])
        left.extend(element for element in chunk if element.id not in found)
    return left


def rejected_later(client: "Client", raw_refs: Iterable[str | None]) -> set[str | None]:
    """Of these payloads those of which an element was accepted, and rejected afterwards."""
    return {ref for chunk in chunks(raw_refs, CHUNK) for ref in _rejected_later(client, chunk)}


def missing_rejections(client: "Client", ids: Iterable[str]) -> list[str]:
    """The ids of rejections that the warehouse does not have."""
    left: list[str] = []
    for chunk in chunks(ids, CHUNK):
        there = _ids(client, _REJECTED, chunk)
        left.extend(id for id in chunk if id not in there)
    return left


def of_spool(client: "Client", name: str, since: int) -> Iterator[list[str]]:
    """The ids of all touchpoints that came through the spool of that name, received from `since` (UTC ms) on."""
    months = client.query("select distinct toYYYYMM(occurred_on) as m from touchpoint_rows order by m")
    for (month,) in months.result_rows:
        parameters = {"month": month, "spool": f"spool:{name}", "since": since}
        with client.query_column_block_stream(_OF_SPOOL, parameters=parameters) as stream:
            for (ids,) in stream:
                yield list(ids)


class Elsewhere(NamedTuple):
    """Touchpoints that did not come through the spool: published straight to Kafka, or through other spools."""

    source: str
    channel: str
    foreign: int
    other_spools: int


def from_elsewhere(client: "Client", name: str) -> list[Elsewhere]:
    """By source and channel, what did not come through the spool of that name."""
    rows = client.query(_FROM_ELSEWHERE, parameters={"spool": f"spool:{name}"}).result_rows
    return [Elsewhere(*row) for row in rows]


def chunks(items: Iterable[T], size: int) -> Iterator[list[T]]:
    """The items in lists of `size`, the last one shorter."""
    rest = iter(items)
    while chunk := list(islice(rest, size)):
        yield chunk


def _find(client: "Client", elements: Sequence[Sought], found: Found) -> None:
    others = [one.id for one in elements if one.day is None]
    if others:
        found.there.update(_ids(client, _IDENTIFICATIONS, others))
    touchpoints = [one for one in elements if one.day is not None]
    if touchpoints:
        # the day is the first part of the key, so that a thousand ids do not read the whole table
        _find_rows(client, _ON_THEIR_DAYS, touchpoints, found)
    # another copy of a touchpoint may count, on another day; and what no row can hold is rejected
    if elsewhere := [one for one in touchpoints if one.id not in found.there]:
        _find_rows(client, _ON_ANY_DAY, elsewhere, found)
    nowhere = [one for one in elements if one.id not in found.there]
    reasons = _rejected_later(client, (one.raw_ref for one in nowhere))
    found.rejected.update((one.id, reasons[one.raw_ref]) for one in nowhere if one.raw_ref in reasons)


def _find_rows(client: "Client", question: str, touchpoints: Sequence[Sought], found: Found) -> None:
    parameters = {
        "ids": [one.id for one in touchpoints],
        "days": sorted({one.day for one in touchpoints if one.day is not None}),
    }
    for id, judged in client.query(question, parameters=parameters).result_rows:
        found.there.add(id)
        if not judged:
            found.unjudged.add(id)


def _rejected_later(client: "Client", raw_refs: Iterable[str | None]) -> dict[str | None, str]:
    refs = sorted({ref for ref in raw_refs if ref})
    if not refs:
        return {}
    return dict(client.query(_REJECTED_LATER, parameters={"ids": refs}).result_rows)  # type: ignore[arg-type]


def _ids(client: "Client", question: str, ids: Sequence[str]) -> set[str]:
    return {row[0] for row in client.query(question, parameters={"ids": list(ids)}).result_rows}


def _day(at: int) -> date:
    return (datetime(1970, 1, 1, tzinfo=UTC) + timedelta(milliseconds=at)).date()
