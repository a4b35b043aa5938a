"""A household: the set that only grows, and `verdicts(set, watermark)`, all that is said of it at once.

`ElementSet` knows each touchpoint's counting copy: of several with one id the one with the greatest
`source_updated_at`, then the one whose canonical encoding is smallest. `fold.Household` says the same step by
step.
"""

from collections.abc import Iterable, Iterator, Set

import msgspec

from models.identity import Identities
from models.journey_model import JourneyModel
from models.journey_row import journey_row
from models.life_cycle import LifeCycle
from models.touchpoint import Correction, Element, Identification, Touchpoint, encoding
from models.verdict import ConflictRow, DuplicateRow, Facts, IdentityRow, JudgedTouchpoint, row_version


class ElementSet:
    """The elements of a household. `count`: how many distinct ones were ever added."""

    __slots__ = ("_losers", "corrections", "count", "identifications", "touchpoints")

    def __init__(self) -> None:
        self.count = 0
        self.touchpoints: dict[str, Touchpoint] = {}  # id -> the copy that counts
        self.identifications: dict[str, tuple[Identification, ...]] = {}
        self.corrections: dict[str, tuple[Correction, ...]] = {}
        self._losers: dict[str, tuple[Touchpoint, ...]] = {}

    def __iter__(self) -> Iterator[Element]:
        yield from self.touchpoints.values()
        for touchpoints in self._losers.values():
            yield from touchpoints
        for identifications in self.identifications.values():
            yield from identifications
        for corrections in self.corrections.values():
            yield from corrections

    def add(self, element: Element) -> bool:
        """Add an element; False if it is there already."""
        if isinstance(element, Touchpoint):
            new = element.id not in self.touchpoints or self._add_copy(element)
            if new:
                self.touchpoints.setdefault(element.id, element)
        elif isinstance(element, Identification):
            identifications = self.identifications.get(element.id, ())
            if new := not _among(element, identifications):
                self.identifications[element.id] = (*identifications, element)
        else:
            corrections = self.corrections.get(element.id, ())
            if new := not _among(element, corrections):
                self.corrections[element.id] = (*corrections, element)
        self.count += new
        return new

    def without(self, touchpoints: Set[str], identified_before: int) -> "ElementSet":
        """The elements that stay when these touchpoints (by id) and old identifications leave."""
        kept = ElementSet()
        for element in self:
            if isinstance(element, Touchpoint):
                leaves = element.id in touchpoints
            else:
                leaves = isinstance(element, Identification) and element.at < identified_before
            if not leaves:
                kept.add(element)
        return kept

    def losers(self, id: str) -> tuple[Touchpoint, ...]:
        """The copies of a touchpoint that do not count."""
        return self._losers.get(id, ())

    @property
    def contested(self) -> Iterable[str]:
        """Ids of which there are several copies."""
        return self._losers

    def duplicates(self, id: str, version: int) -> list[DuplicateRow]:
        """Conflicting copies: of other content and no older than the one that counts, each content once.

        A copy that differs in how it reached us only was sent again and is no conflict.
        """
        counting = self.touchpoints[id]
        told = {_content(counting)}
        conflicting: list[Touchpoint] = []
        for loser in sorted(self.losers(id), key=encoding):
            content = _content(loser)
            if loser.source_updated_at == counting.source_updated_at and content not in told:
                told.add(content)
                conflicting.append(loser)
        return self.as_duplicates(conflicting, version)

    @staticmethod
    def as_duplicates(copies: Iterable[Touchpoint], version: int) -> list[DuplicateRow]:
        """The rows that say of copies that they conflict."""
        return [
            DuplicateRow(
                copy.id, copy.source, copy.channel, copy.received_at, encoding(copy).decode(), version
            )
            for copy in copies
        ]

    def _add_copy(self, element: Touchpoint) -> bool:
        counting, losers = self.touchpoints[element.id], self._losers.get(element.id, ())
        if _among(element, (counting, *losers)):
            return False
        if _precedence(element) < _precedence(counting):
            self.touchpoints[element.id] = element
            element = counting
        self._losers[element.id] = (*losers, element)
        return True


def _among(element: Element, others: Iterable[Element]) -> bool:
    content = None
    for other in others:
        if other is element:
            return True
        content = content or encoding(element)
        if encoding(other) == content:
            return True
    return False


def _precedence(touchpoint: Touchpoint) -> tuple[bool, int, bytes]:
    """The smallest counts."""
    updated_at = touchpoint.source_updated_at
    return updated_at is None, -(updated_at or 0), encoding(touchpoint)


def _content(touchpoint: Touchpoint) -> bytes:
    return encoding(msgspec.structs.replace(touchpoint, received_at=0, raw_ref=None))


def verdicts(elements: Iterable[Element], watermark: int, model: JourneyModel) -> Facts:
    """All that stands of a household's elements at a watermark; rows that say no more are left out."""
    held = ElementSet()
    for element in elements:
        held.add(element)
    identities = Identities(model)
    personas: list[tuple[int, str, str, str]] = []  # at, id, persona, strongest identifier
    for element in held:
        if isinstance(element, Correction):
            identities.correct(element)
            continue
        strongest = identities.strongest(element.identifiers)
        if isinstance(element, Touchpoint):
            identities.see(strongest, element.identifiers, element.occurred_at)
        else:
            identities.see(strongest, element.identifiers, element.at)
            if element.persona is not None:
                personas.append((element.at, element.id, element.persona, strongest))
    identities.settle()
    customer_of = identities.customer_of
    said = {customer_of[strongest]: persona for _, _, persona, strongest in sorted(personas)}
    version = row_version(held.count, watermark)
    facts = Facts()
    lives: dict[str, LifeCycle] = {}
    for touchpoint in sorted(held.touchpoints.values(), key=lambda t: t.order):
        customer_id = customer_of[identities.strongest(touchpoint.identifiers)]
        lives.setdefault(customer_id, LifeCycle(customer_id, model)).append(touchpoint)
    for customer_id, life in lives.items():
        life.expire(watermark)
        for journey in life.journeys:
            for place in journey.places:
                place.verdict = life.verdict(place)
                facts.touchpoints.append(JudgedTouchpoint(place.touchpoint, place.verdict, version))
            facts.journeys.append(journey_row(journey, customer_id, said.get(customer_id), version, model))
    household_id = min(customer_of, key=model.identifier_order.rank, default="")
    for key, customer_id in customer_of.items():
        first_linked_at = identities.first_linked_at.get(key)
        facts.identities.append(IdentityRow(key, customer_id, household_id, version, first_linked_at))
    for (a, b), refusal in identities.refusals.items():
        row = ConflictRow(a, b, refusal.at, refusal.reason, customer_of[a], customer_of[b], version)
        facts.conflicts.append(row)
    for id in held.contested:
        facts.duplicates.extend(held.duplicates(id, version))
        facts.copies.extend(held.losers(id))
    facts.identifications.extend(one for copies in held.identifications.values() for one in copies)
    facts.corrections.extend(one for copies in held.corrections.values() for one in copies)
    return facts
