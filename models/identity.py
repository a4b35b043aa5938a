"""Who is one customer: a household's links and corrections in, its customers and identity conflicts out.

Links are joined in the order (event time, stronger identifier, weaker identifier), except where a join would
put two identifiers of an exclusive kind, or two that somebody decided are not the same, into one customer.
Decisions that two are the same join before all links, even across an exclusive kind: they are how a person
says that two logins are one customer. A customer is called by its smallest identifier.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Literal, NamedTuple

import msgspec

from models.identifier import Identifier
from models.journey_model import JourneyModel
from models.touchpoint import Correction

Pair = tuple[str, str]  # keys of two identifiers, the stronger one first


class Refusal(NamedTuple):
    """A link, or a decision that two are the same, that was not joined."""

    pair: Pair
    at: int
    reason: Literal["exclusive_kind", "not_same"]


class Resolution(NamedTuple):
    """Whom each identifier belongs to, and what was refused (each pair once, for its first reason)."""

    customer_of: dict[str, str]
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

    A household of more than `max_household` identifiers joins no links at all, decisions only.
    """
    rank = model.identifier_order.rank
    customers = _Customers(identifiers, model)
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
        if (reason := customers.join(*pair, exclusive=False)) is not None:
            refusals.setdefault(pair, Refusal(pair, at, reason))
    if len(customers.of) <= model.max_household:
        for at, pair in in_order(links):
            if (reason := customers.join(*pair, exclusive=True)) is not None:
                refusals.setdefault(pair, Refusal(pair, at, reason))
    return Resolution(customers.of, refusals)


class _Customers:
    """Identifiers grouped under the smallest of each group."""

    def __init__(self, identifiers: Iterable[str], model: JourneyModel) -> None:
        self.of = {key: key for key in identifiers}
        self._rank = model.identifier_order.rank
        self._members = {key: [key] for key in self.of}
        self._exclusive = {
            key: {kind} for key in self.of if (kind := key.partition(":")[0]) in model.exclusive_kinds
        }
        self._apart: dict[str, set[str]] = {}

    def keep_apart(self, a: str, b: str) -> None:
        self._apart.setdefault(a, set()).add(b)
        self._apart.setdefault(b, set()).add(a)

    def join(self, a: str, b: str, *, exclusive: bool) -> Literal["exclusive_kind", "not_same"] | None:
        """Make a's and b's customers one, or say why not."""
        keep, gone = sorted((self.of[a], self.of[b]), key=self._rank)
        if keep == gone:
            return None
        if exclusive and self._exclusive.get(keep, set()) & self._exclusive.get(gone, set()):
            return "exclusive_kind"
        if any(self.of[other] == keep for key in self._members[gone] for other in self._apart.get(key, ())):
            return "not_same"
        for key in self._members[gone]:
            self.of[key] = keep
        self._members[keep] += self._members.pop(gone)
        self._exclusive[keep] = self._exclusive.get(keep, set()) | self._exclusive.pop(gone, set())
        return None


class Renaming(NamedTuple):
    """The identifiers of customer `gone` now belong to customer `keep`."""

    keep: str
    gone: str


class Identities:
    """The identities of one household as elements come in; says `resolve` of all that came, at less cost.

    Where nothing can be refused (one identifier of each exclusive kind, no decisions), the order of links
    does not matter and a new one joins at once; otherwise `unresolved` is set until `settle`.
    """

    def __init__(self, model: JourneyModel) -> None:
        self.customer_of: dict[str, str] = {}
        self.first_linked_at: dict[str, int] = {}
        self.links: dict[Pair, int] = {}
        self.corrections: list[Correction] = []
        self.refusals: dict[Pair, Refusal] = {}
        self.unresolved = False
        self.stale: set[str] = set()  # identifiers of whom something new is to be said
        self._model = model
        self._strength = {kind: place for place, kind in enumerate(model.identifier_kinds)}
        self._weakest = len(model.identifier_kinds)
        self._members: dict[str, list[str]] = {}
        self._exclusive: set[str] = set()  # kinds of which one identifier was seen
        self.contested = False

    def strongest(self, identifiers: Sequence[Identifier]) -> str:
        """Key of the strongest identifier."""
        if len(identifiers) == 1:
            only = identifiers[0]
            return f"{only.kind}:{only.value}"
        strength, weakest = self._strength, self._weakest
        best = identifiers[0]
        best_rank = strength.get(best.kind, weakest), best.value
        for other in identifiers[1:]:
            rank = strength.get(other.kind, weakest), other.value
            if rank < best_rank:
                best, best_rank = other, rank
        return f"{best.kind}:{best.value}"

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
        resolution = resolve(self.customer_of, self.links, self.corrections, self._model)
        self.refusals = resolution.refusals
        moved = [key for key, customer in resolution.customer_of.items() if customer != self.customer_of[key]]
        if not moved:
            return False
        self.stale.update(moved)
        self.customer_of = resolution.customer_of
        self._members = {}
        for key, customer in self.customer_of.items():
            self._members.setdefault(customer, []).append(key)
        return True

    def _add(self, key: str) -> None:
        self.customer_of[key] = key
        self._members[key] = [key]
        self.stale.add(key)
        kind = key.partition(":")[0]
        if kind in self._model.exclusive_kinds:
            if kind in self._exclusive:
                self.contested = True
            self._exclusive.add(kind)
        if len(self.customer_of) == self._model.max_household + 1:
            self.contested = self.unresolved = True

    def _link(self, pair: Pair, at: int, new: bool) -> list[Renaming]:
        strongest, weaker = pair
        self.links[pair] = at
        for key in pair:
            if at < self.first_linked_at.get(key, at + 1):
                self.first_linked_at[key] = at
                self.stale.add(key)
        leaf = weaker not in self.customer_of
        if strongest not in self.customer_of:
            self._add(strongest)
        if leaf:
            self._add(weaker)
        if self.contested:
            # A leaf that can be no reason for a refusal joins whatever its neighbour belongs to.
            free = leaf and len(self.customer_of) <= self._model.max_household
            if not free or weaker.partition(":")[0] in self._model.exclusive_kinds or self.unresolved:
                self.unresolved = True
                return []
        elif not new:
            return []
        return self._join(*pair)

    def _join(self, a: str, b: str) -> list[Renaming]:
        keep, gone = sorted((self.customer_of[a], self.customer_of[b]), key=self._model.identifier_order.rank)
        if keep == gone:
            return []
        for key in self._members[gone]:
            self.customer_of[key] = keep
            self.stale.add(key)
        self._members[keep] += self._members.pop(gone)
        return [Renaming(keep, gone)]
