"""Which of some elements the warehouse has: by their ids, asked for in chunks."""

from collections.abc import Iterable, Iterator, Sequence
from datetime import UTC, date, datetime, timedelta
from itertools import islice
from typing import TYPE_CHECKING, TypeVar

from models.touchpoint import Element, Touchpoint

if TYPE_CHECKING:
    from clickhouse_connect.driver.client import Client

CHUNK = 2_000
"""Ids per question: as text they stay below the 256 kB that ClickHouse reads of a query."""

_TOUCHPOINTS = """
    select id from touchpoint_rows where occurred_on in {days:Array(Date)} and id in {ids:Array(String)}
"""
_ANYWHERE = "select id from touchpoint_rows where id in {ids:Array(String)}"
_IDENTIFICATIONS = "select id from identification_rows where id in {ids:Array(String)}"
_REJECTED = "select id from rejected_touchpoint_rows where id in {ids:Array(String)}"

T = TypeVar("T")


def missing(client: "Client", elements: Iterable[Element]) -> list[Element]:
    """The elements that the warehouse has neither among its rows nor among the rejected ones, in order."""
    left: list[Element] = []
    for chunk in chunks(elements, CHUNK):
        there = _present(client, chunk)
        left.extend(element for element in chunk if element.id not in there)
    return left


def missing_rejections(client: "Client", ids: Iterable[str]) -> list[str]:
    """The ids of rejections that the warehouse does not have."""
    left: list[str] = []
    for chunk in chunks(ids, CHUNK):
        there = _ids(client, _REJECTED, chunk)
        left.extend(id for id in chunk if id not in there)
    return left


def chunks(items: Iterable[T], size: int) -> Iterator[list[T]]:
    """The items in lists of `size`, the last one shorter."""
    rest = iter(items)
    while chunk := list(islice(rest, size)):
        yield chunk


def _present(client: "Client", elements: Sequence[Element]) -> set[str]:
    touchpoints = [element for element in elements if isinstance(element, Touchpoint)]
    others = [element.id for element in elements if not isinstance(element, Touchpoint)]
    there: set[str] = set()
    if touchpoints:
        # the day is the first part of the key, so that a thousand ids do not read the whole table
        days = sorted({_day(touchpoint.occurred_at) for touchpoint in touchpoints})
        ids = [touchpoint.id for touchpoint in touchpoints]
        there |= _ids(client, _TOUCHPOINTS, ids, days=days)
        # another copy of a touchpoint may count, on another day; and what no row can hold is rejected
        if elsewhere := [id for id in ids if id not in there]:
            there |= _ids(client, _ANYWHERE, elsewhere)
        if nowhere := [id for id in ids if id not in there]:
            there |= _ids(client, _REJECTED, nowhere)
    if others:
        there |= _ids(client, _IDENTIFICATIONS, others)
    return there


def _ids(client: "Client", question: str, ids: Sequence[str], **parameters: object) -> set[str]:
    answer = client.query(question, parameters={"ids": list(ids), **parameters})
    return {row[0] for row in answer.result_rows}


def _day(at: int) -> date:
    return (datetime(1970, 1, 1, tzinfo=UTC) + timedelta(milliseconds=at)).date()
