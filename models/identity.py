"""Who is one customer: a household's links and corrections in, its customers and identity conflicts out.

Links are joined in the order (event time, stronger identifier, weaker identifier), except where a join would
put two identifiers of an exclusive kind, or two that somebody decided are not the same, into one customer.
Decisions that two are the same join before all links, even across an exclusive kind: they are how a person
says that two logins are one customer. A customer is called by its smallest identifier.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import cache
from typing import Literal, NamedTuple

import msgspec

from models.identifier import Identifier
from models.journey_model import JourneyModel
from models.touchpoint import Correction

Pair = tuple[str, str]  # keys of two identifiers, the stronger one first


Reason = Literal["exclusive_kind", "not_same"]
_Turn = tuple[int, tuple[int, str], tuple[int, str]]  # a link's place in the order
_NONE: frozenset[str] = frozenset()


@cache
def _only(kind: str) -> frozenset[str]:
    """The set of one kind, of which one serves all households."""
    return frozenset((kind,))


class Refusal(NamedTuple):
    """A link, or a decision that two are the same, that was not joined."""

    pair: Pair
    at: int
    reason: Reason


class Renaming(NamedTuple):
    """The identifiers of customer `gone` now belong to customer `keep`."""

    keep: str
    gone: str


class Resolution(NamedTuple):
    """The customers, and what was refused (each pair once, for its first reason)."""

    customers: "Customers"
    refusals: dict[Pair, Refusal]


def standing(
    corrections: Iterable[Correction], rank: Callable[[str], tuple[int, str]]
) -> dict[Pair, Correction]:
    """The decision that holds for each pair: the latest by (at, id), unless it was undone."""
    latest: dict[Pair, tuple[tuple[int, str, bytes], Correction]] = {}
    for correction in corrections:
        first, second = sorted((identifier.key for identifier in correction.identifiers), key=rank)
        place = correction.at, correction.id, msgspec.json.encode(correction)
        if first != second and ((first, second) not in latest or place > latest[first, second][0]):
            latest[first, second] = place, correction
    return {pair: decision for pair, (_, decision) in latest.items() if decision.relation != "undone"}


def resolve(
    identifiers: Iterable[str],
    links: Mapping[Pair, int],
    corrections: Iterable[Correction],
    model: JourneyModel,
) -> Resolution:
    """The customers among `identifiers`; `links` maps each pair to its earliest event time.

    A household of more than `max_household` identifiers joins no links at all, decisions only: each of its
    touchpoints belongs to whom its strongest identifier alone names.
    """
    rank = model.identifier_order.rank
    customers = Customers(model)
    for identifier in identifiers:
        customers.add(identifier)
    decisions = standing(corrections, rank)
    for (a, b), decision in decisions.items():
        if decision.relation == "not_same":
            customers.keep_apart(a, b)

    def in_order(at_by_pair: Mapping[Pair, int]) -> list[tuple[int, Pair]]:
        return sorted(
            ((at, pair) for pair, at in at_by_pair.items()),
            key=lambda entry: (entry[0], rank(entry[1][0]), rank(entry[1][1])),
        )

    refusals: dict[Pair, Refusal] = {}
    same = {pair: decision.at for pair, decision in decisions.items() if decision.relation == "same"}
    for at, pair in in_order(same):
        if isinstance(reason := customers.join(*pair, exclusive=False), str):
            refusals.setdefault(pair, Refusal(pair, at, reason))
    if len(customers.of) <= model.max_household:
        for at, pair in in_order(links):
            if isinstance(reason := customers.join(*pair), str):
                refusals.setdefault(pair, Refusal(pair, at, reason))
    return Resolution(customers, refusals)


class Customers:
    """Identifiers grouped under the smallest of each group. `of`: the customer of each identifier."""

    __slots__ = ("_apart", "_exclusive", "_exclusive_kinds", "_members", "_rank", "of")

    def __init__(self, model: JourneyModel) -> None:
        self.of: dict[str, str] = {}
        self._rank = model.identifier_order.rank
        self._exclusive_kinds = model.exclusive_kinds
        self._members: dict[str, list[str]] = {}
        self._exclusive: dict[str, frozenset[str]] = {}  # by customer, the exclusive kinds that it has
        self._apart: dict[str, set[str]] = {}

    def add(self, key: str) -> None:
        """An identifier that is a customer of its own as yet."""
        self.of[key] = key
        self._members[key] = [key]
        if (kind := key.partition(":")[0]) in self._exclusive_kinds:
            self._exclusive[key] = _only(kind)

    def keep_apart(self, a: str, b: str) -> None:
        """No join makes these two one."""
        self._apart.setdefault(a, set()).add(b)
        self._apart.setdefault(b, set()).add(a)

    def members(self, customer: str) -> Sequence[str]:
        """The identifiers of a customer."""
        return self._members[customer]

    def join(self, a: str, b: str, *, exclusive: bool = True) -> Renaming | Reason | None:
        """Make a's and b's customers one, or say why not; None: they are one already."""
        of = self.of
        keep, gone = of[a], of[b]
        if keep == gone:
            return None
        if self._rank(gone) < self._rank(keep):
            keep, gone = gone, keep
        kinds = self._exclusive.get(gone)
        if exclusive and kinds and not kinds.isdisjoint(self._exclusive.get(keep, ())):
            return "exclusive_kind"
        apart = self._apart
        if apart and any(of[other] == keep for key in self._members[gone] for other in apart.get(key, ())):
            return "not_same"
        for key in self._members[gone]:
            of[key] = keep
        self._members[keep] += self._members.pop(gone)
        if kinds:
            self._exclusive[keep] = self._exclusive.get(keep, _NONE) | self._exclusive.pop(gone)
        return Renaming(keep, gone)


class Identities:
    """The identities of one household as elements come in; says `resolve` of all that came, at less cost.

    A link is joined at once where that cannot differ from its turn in the order: where nothing can be refused
    (one identifier of each exclusive kind, no decisions), where it is the last one in the order, and where
    it brings an identifier that nothing else hangs on. One that comes late into a contested household sets
    `unresolved` until `settle`.
    """

    def __init__(self, model: JourneyModel) -> None:
        self.first_linked_at: dict[str, int] = {}
        self.links: dict[Pair, int] = {}
        self.corrections: list[Correction] = []
        self.refusals: dict[Pair, Refusal] = {}
        self.unresolved = False
        # Dicts for sets: there are as many of these as households, and an empty set is three times as large.
        self.stale: dict[str, None] = {}  # identifiers of whom something new is to be said
        self.stale_pairs: dict[Pair, None] = {}  # pairs of whose refusal something new is to be said
        self.contested = False
        self._model = model
        self.strongest = model.identifier_order.strongest
        self._customers = Customers(model)
        self.customer_of = self._customers.of
        self._exclusive = _NONE  # kinds of which one identifier was seen
        self._refused: dict[str, list[Pair]] = {}  # by identifier, the pairs of its refusals
        self._last: _Turn | None = None  # no link's turn is later; known where it matters

    def see(self, strongest: str, identifiers: Sequence[Identifier], at: int) -> list[Renaming]:
        """Identifiers were seen together at `at`; who became one with whom at once."""
        if len(identifiers) == 1:
            if strongest not in self.customer_of:
                self._add(strongest)
            return []
        renamings: list[Renaming] = []
        for identifier in identifiers:
            weaker = f"{identifier.kind}:{identifier.value}"
            if weaker == strongest:
                if weaker not in self.customer_of:
                    self._add(weaker)
                continue
            pair = strongest, weaker
            known = self.links.get(pair)
            if known is None or at < known:
                renamings += self._link(pair, at, known is None)
        return renamings

    def correct(self, correction: Correction) -> None:
        """Somebody decided about two identifiers."""
        self.corrections.append(correction)
        for identifier in correction.identifiers:
            if identifier.key not in self.customer_of:
                self._add(identifier.key)
        self.contested = self.unresolved = True

    def know(self, identifiers: Iterable[str], links: Mapping[Pair, int]) -> list[Renaming]:
        """Of elements that are not held any more: whom they named, and who was seen together, when at first."""
        for key in identifiers:
            if key not in self.customer_of:
                self._add(key)
        renamings: list[Renaming] = []
        for pair, at in links.items():
            known = self.links.get(pair)
            if known is None or at < known:
                renamings += self._link(pair, at, known is None)
        return renamings

    def possible_refusals(self) -> Iterator[tuple[Pair, int]]:
        """Every pair that some part of the set may have refused, with an instant of it."""
        rank = self._model.identifier_order.rank
        for correction in self.corrections:
            a, b = sorted((identifier.key for identifier in correction.identifiers), key=rank)
            yield (a, b), correction.at
        yield from self.links.items()

    def settle(self) -> bool:
        """Resolve what could not be joined at once; whether an identifier changed its customer."""
        self.unresolved = False
        before = self.customer_of
        self.stale_pairs.update(dict.fromkeys(self.refusals))
        self._customers, refusals = resolve(before, self.links, self.corrections, self._model)
        self.customer_of = self._customers.of
        self.refusals, self._refused = {}, {}
        for refusal in refusals.values():
            self._refuse(refusal)
        self._last = None
        moved = [key for key, customer in self.customer_of.items() if customer != before[key]]
        self.stale.update(dict.fromkeys(moved))
        return bool(moved)

    def _add(self, key: str) -> None:
        self._customers.add(key)
        self.stale[key] = None
        kind = key.partition(":")[0]
        if kind in self._model.exclusive_kinds:
            if kind in self._exclusive:
                self.contested = True
            self._exclusive = self._exclusive | _only(kind) if self._exclusive else _only(kind)
        if len(self.customer_of) == self._model.max_household + 1:
            self.contested = self.unresolved = True

    def _link(self, pair: Pair, at: int, new: bool) -> list[Renaming]:
        strongest, weaker = pair
        leaf = weaker not in self.customer_of
        if strongest not in self.customer_of:
            self._add(strongest)
        if leaf:
            self._add(weaker)
        in_time = self._in_time(pair, at, new, leaf)
        self.links[pair] = at
        for key in pair:
            if at < self.first_linked_at.get(key, at + 1):
                self.first_linked_at[key] = at
                self.stale[key] = None
        return self._join(pair, at) if in_time else []

    def _in_time(self, pair: Pair, at: int, new: bool, leaf: bool) -> bool:
        """Whether a link may be joined now; if it comes too late for that, `unresolved` is set."""
        if not self.contested:
            return new
        if len(self.customer_of) > self._model.max_household:
            return False  # no link is joined any more, and none that was is since it was settled
        if self.unresolved:
            return False
        rank = self._model.identifier_order.rank
        if self._last is None:
            turns = ((seen_at, rank(a), rank(b)) for (a, b), seen_at in self.links.items())
            self._last = max(turns, default=(-1, (0, ""), (0, "")))
        turn = at, rank(pair[0]), rank(pair[1])
        is_last = turn > self._last
        if is_last:
            self._last = turn
        # Whatever its turn, a leaf that can be no reason for a refusal joins what its neighbour belongs to.
        if is_last or (leaf and pair[1].partition(":")[0] not in self._model.exclusive_kinds):
            return True
        self.unresolved = True
        return False

    def _join(self, pair: Pair, at: int) -> list[Renaming]:
        customers, of = self._customers, self.customer_of
        members = {of[key]: customers.members(of[key]) for key in pair}
        joined = customers.join(*pair)
        if joined is None:
            return []
        if isinstance(joined, Renaming):
            moved = members[joined.gone]
            self.stale.update(dict.fromkeys(moved))
            if self.refusals:
                for key in moved:
                    self.stale_pairs.update(dict.fromkeys(self._refused.get(key, ())))
            return [joined]
        if pair not in self.refusals:
            self._refuse(Refusal(pair, at, joined))
        return []

    def _refuse(self, refusal: Refusal) -> None:
        self.refusals[refusal.pair] = refusal
        self.stale_pairs[refusal.pair] = None
        for key in refusal.pair:
            self._refused.setdefault(key, []).append(refusal.pair)
