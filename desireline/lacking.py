"""Which accepted elements the warehouse does not know yet, copies of touchpoints that it has included.

A row with an element's id is not enough: a source may have sent the touchpoint again with another content, and
that copy may have been lost on its way. It is known if it stands, or stood; or if the row that stands takes
precedence over it, it is shown as a conflict where it is one, and its identifiers are known to belong together.
"""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from hashlib import sha256
from typing import TYPE_CHECKING

import msgspec

from desireline import loaded
from models.household import ElementSet
from models.touchpoint import Element, Touchpoint, encoding

if TYPE_CHECKING:
    from clickhouse_connect.driver.client import Client

_COPIES = "select distinct id, element from touchpoint_rows where id in {ids:Array(String)}"
_HOUSEHOLDS = """
    select identifier, argMax(household_id, version) from identity_rows
    where identifier in {ids:Array(String)} group by identifier
"""

_touchpoint = msgspec.json.Decoder(Touchpoint)


def lacking(client: "Client", elements: Iterable[Element]) -> list[Element]:
    """The elements that were lost, or are still on their way: publishing them again would tell something."""
    left: list[Element] = []
    for chunk in loaded.chunks(elements, loaded.CHUNK):
        missing = {id(element) for element in loaded.missing(client, chunk)}
        missing |= {id(copy) for copy in _unknown_copies(client, chunk) if id(copy) not in missing}
        left.extend(element for element in chunk if id(element) in missing)
    return left


def _unknown_copies(client: "Client", elements: Sequence[Element]) -> list[Touchpoint]:
    """Touchpoints of which another copy stands, and which it does not make needless."""
    touchpoints = [element for element in elements if isinstance(element, Touchpoint)]
    known: dict[str, set[str]] = defaultdict(set)
    for touchpoint_id, content in _asked(client, _COPIES, {one.id for one in touchpoints}):
        known[touchpoint_id].add(content)
    others = [one for one in touchpoints if one.id in known and encoding(one).decode() not in known[one.id]]
    unknown: list[Touchpoint] = []
    conflicts: dict[str, Touchpoint] = {}
    linking: list[Touchpoint] = []
    for copy in others:
        held = ElementSet()
        for content in known[copy.id]:
            held.add(_touchpoint.decode(content))
        identifiers = {one.key for other in held for one in other.identifiers}
        held.add(copy)
        content = encoding(copy).decode()
        if held.touchpoints[copy.id] is copy:
            unknown.append(copy)
        elif any(duplicate.content == content for duplicate in held.duplicates(copy.id, 0)):
            conflicts[f"{copy.id}:{sha256(content.encode()).hexdigest()[:16]}"] = copy
        elif not {one.key for one in copy.identifiers} <= identifiers:
            linking.append(copy)
    not_shown = set(loaded.missing_rejections(client, conflicts))
    unknown += [copy for id, copy in conflicts.items() if id in not_shown]
    return unknown + _apart(client, linking)


def _apart(client: "Client", touchpoints: Sequence[Touchpoint]) -> list[Touchpoint]:
    """Those whose identifiers are not known to belong to one household."""
    identifiers = {one.key for touchpoint in touchpoints for one in touchpoint.identifiers}
    household = dict(_asked(client, _HOUSEHOLDS, identifiers))
    return [
        touchpoint
        for touchpoint in touchpoints
        if len(households := {household.get(one.key) for one in touchpoint.identifiers}) > 1
        or None in households
    ]


def _asked(client: "Client", question: str, ids: Iterable[str]) -> list[tuple[str, str]]:
    rows: list[tuple[str, str]] = []
    for some in loaded.chunks(sorted(ids), loaded.CHUNK):
        rows += [(row[0], row[1]) for row in client.query(question, parameters={"ids": some}).result_rows]
    return rows
