"""What people decide about identities: two identifiers are one customer, or are not, or neither any more.

Unlike touchpoints they are taken by a route of their own, from those alone who may correct identities: a write
key that stands in a web page may say what happened, but not who is who. One that is wrong costs the whole body,
since somebody is there to read the answer.
"""

from typing import Any

import msgspec

from ingest.instants import in_range, instant
from ingest.mapped import Delivery, Mapped, deterministic_id
from ingest.rejection import NotTaken, Rejection
from ingest.sources import reader as read
from ingest.sources.reader import Names, names_of
from models.identifier import KINDS, Identifier
from models.touchpoint import Correction, Record

SOURCE = "correction"
RELATIONS = ("same", "not_same", "undone")

_FIELDS = frozenset({"schema", "id", "relation", "identifiers", "at", "author", "reason"})


def map_corrections(body: Any, delivery: Delivery) -> Mapped:
    """An array of corrections, or one: relation (same, not_same, undone), two identifiers {kind, value}, author.

    `at` is when it was decided, else now; of several about two identifiers the latest holds. `reason` is for
    people. Without an `id` the same decision sent again is the same element. The stronger identifier of the two
    comes first.
    """
    records: list[Record] = []
    rejected: list[Rejection] = []
    for index, said in enumerate(body if isinstance(body, list) else [body]):
        try:
            records.append(_correction(said, delivery, names_of(delivery.model)))
        except NotTaken as why:
            rejected.append(delivery.reject(why, said, source=SOURCE, index=index))
    return Mapped(records, rejected)


def _correction(said: Any, delivery: Delivery, names: Names) -> Correction:
    if not isinstance(said, dict):
        raise NotTaken("invalid_field", "a correction is an object")
    delivery.check_size(msgspec.json.encode(said))
    if unknown := sorted(said.keys() - _FIELDS):
        raise NotTaken("invalid_field", f"a correction has no {unknown[0][:40]!r}")
    relation = said.get("relation")
    if relation not in RELATIONS:
        raise NotTaken("invalid_field", f"relation is one of {', '.join(RELATIONS)}")
    author = read.text_of(said.get("author"))
    if author is None:
        raise NotTaken("invalid_field", "author is missing: who decided it")
    a, b = sorted(_two(said.get("identifiers"), names), key=_rank(delivery))
    at = delivery.received_at
    if said.get("at") is not None:
        # no decision comes from the future: it would hold against those made until then
        at = min(in_range(instant(said["at"], "at"), delivery.received_at, "at"), delivery.received_at)
    return Correction(
        id=read.text_of(said.get("id"))
        or deterministic_id(SOURCE, author, f"{a.key}\x1f{b.key}", at, str(relation)),
        relation=relation,
        identifiers=(a, b),
        at=at,
        author=author,
        reason=read.free_text(said.get("reason")),
    )


def _rank(delivery: Delivery) -> Any:
    order = delivery.model.identifier_order
    return lambda identifier: order.rank(identifier.key)


def _two(listed: Any, names: Names) -> tuple[Identifier, Identifier]:
    """The identifiers that are meant; a placeholder names nobody, so nothing can be decided about it."""
    if not isinstance(listed, list) or len(listed) != 2 or not all(isinstance(one, dict) for one in listed):
        raise NotTaken("invalid_field", "identifiers are two of {kind, value}")
    found: list[Identifier] = []
    for one in listed:
        kind, value = one.get("kind"), one.get("value")
        if kind not in KINDS:
            raise NotTaken("invalid_field", f"an identifier has a kind of {', '.join(KINDS)} and a value")
        identifier = names.identifier(kind, value)
        if identifier is None:
            raise NotTaken("missing_identity", f"a {kind} is a placeholder, or no {kind}: it names nobody")
        found.append(identifier)
    if found[0].key == found[1].key:
        raise NotTaken("invalid_field", "the two identifiers are the same one")
    return found[0], found[1]
