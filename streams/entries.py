"""Which changelog entries hold the elements of each household, so that they can be deleted when it was trimmed.

Two numbers an entry: where the record stands that it came from, and the latest event time in it.
"""

from array import array
from collections.abc import Iterable, Iterator
from typing import NamedTuple

from models.touchpoint import Element, Identification, Touchpoint

_NEVER = (1 << 63) - 1
_OFFSET_BITS, _PART_BITS = 46, 12
_MOST_PARTS = 1 << _PART_BITS


class Place(NamedTuple):
    """What an entry's key says beside its node."""

    topic: str
    offset: int
    part: int


class EntryIndex:
    """The entries of the nodes of one partition, 16 bytes each."""

    def __init__(self) -> None:
        self._entries: dict[str, array[int]] = {}
        self._topics: list[str] = []

    def add(self, node: str, place: Place, elements: Iterable[Element], *, lasting: bool) -> None:
        """An entry was written. `lasting`: it says more than its elements, and is never deleted."""
        topic_name, offset, part = place
        if part >= _MOST_PARTS or offset >> _OFFSET_BITS:
            return
        if topic_name not in self._topics:
            self._topics.append(topic_name)
        topic = self._topics.index(topic_name)
        packed = topic << (_OFFSET_BITS + _PART_BITS) | part << _OFFSET_BITS | offset
        latest = _NEVER if lasting else max(map(_instant, elements), default=_NEVER)
        entries = self._entries.get(node)
        if entries is None:
            self._entries[node] = array("q", (packed, latest))
        else:
            entries.append(packed)
            entries.append(latest)

    def pop(self, node: str) -> None:
        """The node is a root no more."""
        self._entries.pop(node, None)

    def pop_before(self, node: str, instant: int) -> Iterator[Place]:
        """Take out the entries of a node all of whose elements happened before an instant (UTC ms)."""
        entries = self._entries.get(node)
        if entries is None:
            return
        staying = array("q")
        for place in range(0, len(entries), 2):
            packed, latest = entries[place], entries[place + 1]
            if latest < instant:
                topic = self._topics[packed >> (_OFFSET_BITS + _PART_BITS)]
                part = packed >> _OFFSET_BITS & (_MOST_PARTS - 1)
                yield Place(topic, packed & ((1 << _OFFSET_BITS) - 1), part)
            else:
                staying.append(packed)
                staying.append(latest)
        self._entries[node] = staying


def _instant(element: Element) -> int:
    """When it happened; a correction never leaves."""
    if isinstance(element, Touchpoint):
        return element.occurred_at
    return element.at if isinstance(element, Identification) else _NEVER
