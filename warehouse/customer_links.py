"""How one customer's identifiers were joined: by which links, by whose decision, and what was refused."""

from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple

import pandas as pd

from models.identifier import IdentifierOrder
from warehouse.answer import utc
from warehouse.customer_rows import Identities, Row
from warehouse.frames import INSTANT, frame


class _Link(NamedTuple):
    """Two identifiers of the customer, the stronger first, and what joined them."""

    at: Any
    a: str
    b: str
    how: str
    decided: bool


def links(story: Iterable[Row], known: Identities, order: IdentifierOrder) -> pd.DataFrame:
    """One row per pair and way in which they were joined, the first time first.

    Columns: at (the first time), identifier_a (the stronger one), identifier_b, how (channel and type of the
    touchpoint, reason of the identification, `same by AUTHOR`), times.
    """
    first: dict[tuple[str, str, str], Any] = {}
    times: dict[tuple[str, str, str], int] = {}
    for link in _links(story, known, order):
        key = link.a, link.b, link.how
        first[key] = min(first.get(key, link.at), link.at)
        times[key] = times.get(key, 0) + 1
    rows = sorted((at, *key, times[key]) for key, at in first.items())
    types = {"at": INSTANT, "identifier_a": "str", "identifier_b": "str", "how": "str", "times": "int64"}
    return frame(rows, types)


def identifiers(story: Iterable[Row], known: Identities, order: IdentifierOrder) -> pd.DataFrame:
    """Everything the customer goes by, the strongest first, with the first link that holds it to the others.

    Columns: identifier, kind, first_linked_at (NaT: never linked), joined_at, joined_with, joined_by (empty:
    nothing joins it).
    """
    first: dict[str, _Link] = {}
    # what people decided joins before what was seen
    for link in sorted(_links(story, known, order), key=lambda one: (not one.decided, *one[:4])):
        first.setdefault(link.a, link)
        first.setdefault(link.b, link)
    rows = []
    for row in sorted(known.names, key=lambda one: order.rank(one["identifier"])):
        key = row["identifier"]
        by = first.get(key)
        joined = (by.at, by.b if by.a == key else by.a, by.how) if by else (None, "", "")
        rows.append((key, key.partition(":")[0], row["first_linked_at"], *joined))
    types = {
        "identifier": "str", "kind": "str", "first_linked_at": INSTANT, "joined_at": INSTANT,
        "joined_with": "str", "joined_by": "str",
    }  # fmt: skip
    return frame(rows, types)


def corrections(known: Identities) -> pd.DataFrame:
    """What people decided about the customer's identifiers, in order; of several about two, the last holds.

    Columns: at, relation (same, not_same, undone), identifier_a, identifier_b, author, reason, holds, id.
    """
    holding = {row["id"] for row in _holding(known)}
    rows = [
        (row["at"], row["kind"], *row["identifiers"], row["author"], row["reason"], row["id"] in holding, row["id"])
        for row in _decisions(known)
    ]  # fmt: skip
    types = {
        "at": INSTANT, "relation": "str", "identifier_a": "str", "identifier_b": "str", "author": "str",
        "reason": "str", "holds": "bool", "id": "str",
    }  # fmt: skip
    return frame(rows, types)


def conflicts(known: Identities) -> pd.DataFrame:
    """Links that were refused at an identifier of the customer, and between which two customers."""
    names = ("at", "identifier_a", "identifier_b", "reason", "customer_a", "customer_b")
    rows = sorted(tuple(row[name] for name in names) for row in known.refused)
    return frame(rows, {**dict.fromkeys(names, "str"), "at": INSTANT})


def _links(story: Iterable[Row], known: Identities, order: IdentifierOrder) -> Iterator[_Link]:
    """Every pair of the customer's own identifiers, as often as something joined it."""
    own = {row["identifier"] for row in known.names}
    for t in story:
        how = f"{t['channel']} {t['type']}"
        yield from _pairs(t["occurred_at"], t["identifiers"], how, own, order)
    for row in known.seen:
        if row["kind"] == "identification":
            yield from _pairs(row["at"], row["identifiers"], row["reason"] or "identify", own, order)
    for row in _holding(known):
        if row["kind"] == "same":
            how = f"same by {row['author']}"
            yield from _pairs(row["at"], row["identifiers"], how, own, order, decided=True)


def _pairs(
    at: Any,
    together: Iterable[str],
    how: str,
    own: set[str],
    order: IdentifierOrder,
    *,
    decided: bool = False,
) -> Iterator[_Link]:
    """The strongest of them with each other one; only what belongs to the customer."""
    strongest, *others = sorted(set(together), key=order.rank) or [""]
    if strongest in own:
        yield from (_Link(utc(at), strongest, other, how, decided) for other in others if other in own)


def _decisions(known: Identities) -> list[Row]:
    decided = (row for row in known.seen if row["kind"] != "identification")
    return sorted(decided, key=lambda row: (row["at"], row["id"]))


def _holding(known: Identities) -> list[Row]:
    """Of the decisions about two identifiers the last, unless it undoes the others."""
    last = {tuple(sorted(row["identifiers"])): row for row in _decisions(known)}
    return [row for row in last.values() if row["kind"] != "undone"]
