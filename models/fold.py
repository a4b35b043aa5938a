"""A household folded step by step: what `household.verdicts` says of the same set, but only what is new.

A touchpoint at the end of its customer's life costs the same however long that life is. One in the past, a
link that makes two customers one, or a decision about identities folds the customers concerned again, and the
rows that come out otherwise are sent.
"""

from collections.abc import Iterable, Iterator, Set

import msgspec

from models.household import ElementSet
from models.identity import Identities, Pair, Renaming
from models.journey import Journey, Place, journey_row, tombstone, untie
from models.journey_model import JourneyModel
from models.life_cycle import LifeCycle
from models.touchpoint import Correction, Element, Identification, Touchpoint
from models.verdict import (
    ConflictRow,
    DuplicateRow,
    Facts,
    IdentityRow,
    JourneyRow,
    JudgedTouchpoint,
    row_version,
)

DAY_MS = 86_400_000

Judgement = Facts
"""What is said: one record of `journeys.facts`, without watermarks."""


class _Encoded(msgspec.Struct, array_like=True):
    household_id: str
    count: int
    watermark: int
    unsaid: bool
    elements: list[Element]


_encoder = msgspec.msgpack.Encoder()
_decoder = msgspec.msgpack.Decoder(_Encoded)


class Household:
    """The state of one household: its set of elements and the watermark it was last judged at.

    `add` elements in any order and as often as they come, then `judge`. `household_id` is the identifier that
    the household is kept under; every element's strongest identifier is linked to it.
    """

    __slots__ = (
        "_begun", "_elements", "_former", "_identities", "_journeys_full", "_lives", "_loose", "_model",
        "_new_corrections", "_new_identifications", "_outdated", "_owes_full", "_persona_by_identifier",
        "_personas", "_personas_stale", "_refold", "_said_conflicts", "_said_duplicates", "_said_identities",
        "_unplaced", "_unsaid_duplicates", "_was", "household_id", "watermark",
    )  # fmt: skip

    def __init__(self, household_id: str, model: JourneyModel) -> None:
        self.household_id = household_id
        self.watermark = 0
        self._model = model
        self._elements = ElementSet()
        self._identities = Identities(model)
        self._lives: dict[str, LifeCycle] = {}  # by customer
        self._unplaced: list[tuple[str, Touchpoint]] = []  # strongest identifier, touchpoint
        # What has to be folded again, all or the touchpoints of some customers, and what was said of them.
        self._refold = False
        self._loose: dict[str, list[Touchpoint]] = {}
        self._was: dict[str, Place] = {}
        self._outdated: list[
            Touchpoint
        ] = []  # copies said to count, on another day than the one that counts now
        self._begun: dict[str, int] = {}  # id -> started_at of the journeys whose rows were sent
        self._former: set[str] = set()  # ids that began a journey when it was last folded
        self._journeys_full = False
        self._owes_full = False
        self._persona_by_identifier: dict[str, tuple[int, str, str]] = {}  # the latest (at, id, persona)
        self._personas: dict[str, str] = {}  # by customer
        self._personas_stale = False
        self._said_identities: dict[str, tuple[str, int | None]] = {}
        self._said_conflicts: dict[Pair, ConflictRow] = {}
        self._said_duplicates: dict[str, list[DuplicateRow]] = {}
        self._unsaid_duplicates: set[str] = set()
        self._new_identifications: list[Identification] = []
        self._new_corrections: list[Correction] = []

    @property
    def count(self) -> int:
        """|S|: how many distinct elements were ever added, those no longer held included."""
        return self._elements.count

    @property
    def oversized(self) -> bool:
        """Whether there are more identifiers than `max_household`, so that links are not joined any more."""
        return len(self._identities.customer_of) > self._model.max_household

    def identifiers(self) -> Set[str]:
        """Keys of all identifiers linked so far, the household's own included."""
        return self._identities.customer_of.keys() | {self.household_id}

    def elements(self) -> Iterator[Element]:
        """The whole set."""
        return iter(self._elements)

    def add(self, elements: Iterable[Element]) -> list[Element]:
        """Add elements; which of them were new. Another copy of a touchpoint is new unless it is the same."""
        new: list[Element] = []
        identities, held = self._identities, self._elements
        for element in elements:
            if not held.add(element):
                continue
            new.append(element)
            if isinstance(element, Touchpoint):
                strongest = identities.strongest(element.identifiers)
                for renaming in identities.see(strongest, element.identifiers, element.occurred_at):
                    self._rename(renaming)
                if held.losers(element.id):
                    self._unsaid_duplicates.add(element.id)
                    self._refold = self._refold or held.touchpoints[element.id] is element
                else:
                    self._unplaced.append((strongest, element))
            elif isinstance(element, Identification):
                self._identify(element)
            else:
                identities.correct(element)
                self._new_corrections.append(element)
        return new

    def see(self, more: int) -> None:
        """As if so many more elements had been added once that are no longer held."""
        self._elements.count += more

    def let_go(self) -> None:
        """Its encoding stands for it from now on: nothing more is asked of this object."""
        for life in self._lives.values():
            for journey in life.journeys:
                untie(journey.places)

    def judge(self, watermark: int, *, full: bool = False, journeys: bool = True) -> Judgement:
        """The rows that changed since the household was last judged, or all of them.

        The watermark never falls. With `journeys=False` their rows wait for `journey_rows`. A full judgement
        also says of each touchpoint that begins no journey that it begins none, and the like: somebody who
        knew less may have said so.
        """
        if watermark > self.watermark:
            self.watermark = watermark
        full = full or self._owes_full
        self._owes_full = False
        self._settle()
        version = row_version(self.count, self.watermark)
        said: list[JudgedTouchpoint] = []
        for life in self._lives.values():
            life.expire(self.watermark)
            places = life.stale
            if full:
                places = [place for journey in life.journeys for place in journey.places]
            for place in places:
                place.stale = False
                verdict = life.verdict(place)
                if full or verdict != place.verdict:
                    place.verdict = verdict
                    said.append(JudgedTouchpoint(place.touchpoint, verdict, version))
                    life.change(place.journey)
            life.stale = []
        judgement = Judgement(touchpoints=said)
        if full or self._outdated:
            said += self._outdated_rows(version, full)
        if full or self._identities.stale:
            judgement.identities = self._identity_rows(version, full)
        if full or self._identities.stale_pairs:
            judgement.conflicts = self._conflict_rows(version, full)
        if full or self._unsaid_duplicates:
            judgement.duplicates = self._duplicate_rows(version, full)
        if full or self._new_identifications or self._new_corrections:
            self._archive(judgement, full)
        self._journeys_full = self._journeys_full or full
        if journeys:
            judgement.journeys = self.journey_rows()
        return judgement

    def journey_rows(self) -> list[JourneyRow]:
        """The rows of the journeys that changed since they were last asked for, as of the last judgement."""
        version = row_version(self.count, self.watermark)
        rows: list[JourneyRow] = []
        full, self._journeys_full = self._journeys_full, False
        if self._personas_stale:
            self._settle_personas()
        for life in self._lives.values():
            changed = life.journeys if full else life.changed
            for journey in changed:
                journey.changed = False
                persona = self._personas.get(life.customer_id)
                rows.append(journey_row(journey, life.customer_id, persona, version, self._model))
            life.changed = []
        if full or self._former:
            rows += self._ended_journeys(version, full)
        for row in rows:
            if not row.deleted:
                self._begun[row.id] = row.started_at
        return rows

    def next_deadline(self) -> int | None:
        """The smallest instant W at which judge(W + 1) may say something new; None: only elements can."""
        deadlines = [at for life in self._lives.values() if (at := life.next_deadline()) is not None]
        return min(deadlines, default=None)

    def encode(self) -> bytes:
        """The set as MessagePack, for a household that rests."""
        return _encoder.encode(
            _Encoded(self.household_id, self.count, self.watermark, self._unsaid(), list(self._elements))
        )

    @classmethod
    def decode(cls, data: bytes, model: JourneyModel) -> "Household":
        """A household that rested, as it was; if it had something left to say, the next judgement is full."""
        encoded = _decoder.decode(data)
        household = cls(encoded.household_id, model)
        household.add(encoded.elements)
        household._elements.count = max(encoded.count, household.count)
        household.judge(encoded.watermark)
        household._owes_full = encoded.unsaid
        return household

    def _unsaid(self) -> bool:
        identities = self._identities
        return bool(
            self._owes_full or self._unplaced or self._refold or self._loose or self._unsaid_duplicates
            or self._journeys_full or self._personas_stale or self._former or self._outdated
            or identities.unresolved or identities.stale or identities.stale_pairs
            or self._new_corrections or self._new_identifications
            or any(life.stale or life.changed for life in self._lives.values())
        )  # fmt: skip

    def _identify(self, identification: Identification) -> None:
        self._new_identifications.append(identification)
        strongest = self._identities.strongest(identification.identifiers)
        for renaming in self._identities.see(strongest, identification.identifiers, identification.at):
            self._rename(renaming)
        if identification.persona is not None:
            told = identification.at, identification.id, identification.persona
            if told > self._persona_by_identifier.get(strongest, (-1, "", "")):
                self._persona_by_identifier[strongest] = told
                self._personas_stale = True

    def _rename(self, renaming: Renaming) -> None:
        """Two customers became one: their touchpoints are to be folded together."""
        keep, gone = renaming
        self._personas_stale = self._personas_stale or bool(self._persona_by_identifier)
        if gone in self._lives or gone in self._loose:
            self._loosen(keep)
            self._loosen(gone)
            self._loose[keep] += self._loose.pop(gone)

    def _loosen(self, customer_id: str) -> None:
        """Take a customer's life apart; what was said of it is kept for comparison."""
        loose = self._loose.setdefault(customer_id, [])
        life = self._lives.pop(customer_id, None)
        if life is None:
            return
        for journey in life.journeys:
            self._former.add(journey.places[0].touchpoint.id)
            for place in journey.places:
                loose.append(place.touchpoint)
                self._was[place.touchpoint.id] = place

    def _settle(self) -> None:
        """Resolve identities, place what is new, fold again what must be."""
        identities = self._identities
        if identities.unresolved and identities.settle():
            self._refold = True
            self._personas_stale = self._personas_stale or bool(self._persona_by_identifier)
        if self._refold:
            for customer_id in list(self._lives):
                self._loosen(customer_id)
            self._loose = {}
            for touchpoint in self._elements.touchpoints.values():
                customer_id = identities.customer_of[identities.strongest(touchpoint.identifiers)]
                self._loose.setdefault(customer_id, []).append(touchpoint)
            self._refold = False
        elif self._unplaced:
            self._place()
        self._unplaced = []
        if self._loose:
            self._fold_loose()
        if self._personas_stale:
            self._settle_personas()

    def _place(self) -> None:
        """Append what is new and comes last; what lies in the past takes its customer's life apart."""
        if len(self._unplaced) > 1:
            self._unplaced.sort(key=lambda entry: entry[1].order)
        customer_of = self._identities.customer_of
        for strongest, touchpoint in self._unplaced:
            customer_id = customer_of[strongest]
            if customer_id in self._loose:
                self._loose[customer_id].append(touchpoint)
                continue
            life = self._lives.get(customer_id)
            if life is None:
                life = self._lives[customer_id] = LifeCycle(customer_id, self._model)
            elif touchpoint.order < life.order:
                self._loosen(customer_id)
                self._loose[customer_id].append(touchpoint)
                continue
            life.append(touchpoint)

    def _fold_loose(self) -> None:
        for customer_id, touchpoints in self._loose.items():
            life = self._lives[customer_id] = LifeCycle(customer_id, self._model)
            touchpoints.sort(key=lambda touchpoint: touchpoint.order)
            for touchpoint in touchpoints:
                life.append(touchpoint)
            for journey in life.journeys:
                if self._compare(journey):
                    life.change(journey)
        self._loose = {}
        untie(self._was.values())
        self._was = {}

    def _compare(self, journey: Journey) -> bool:
        """Take over what was said of a journey's places; whether its row is to be said again in any case."""
        was = [self._was.get(place.touchpoint.id) for place in journey.places]
        for place, before in zip(journey.places, was, strict=True):
            if before is None:
                continue
            if before.touchpoint is place.touchpoint:
                place.verdict = before.verdict
            elif before.verdict is not None and _day(before.touchpoint) != _day(place.touchpoint):
                self._outdated.append(before.touchpoint)
        first = was[0]
        return first is None or first.journey.changed or first.journey.places != was

    def _settle_personas(self) -> None:
        """Journeys of customers of whom another persona is said now are to be sent."""
        latest: dict[str, tuple[int, str, str]] = {}
        for identifier, told in self._persona_by_identifier.items():
            customer_id = self._identities.customer_of[identifier]
            latest[customer_id] = max(told, latest.get(customer_id, told))
        personas = {customer_id: persona for customer_id, (_, _, persona) in latest.items()}
        for customer_id, life in self._lives.items():
            if personas.get(customer_id) != self._personas.get(customer_id):
                for journey in life.journeys:
                    life.change(journey)
        self._personas = personas
        self._personas_stale = False

    def _outdated_rows(self, version: int, full: bool) -> list[JudgedTouchpoint]:
        """Tombstones of the days on which copies that do not count (any more) say a touchpoint was."""
        copies = self._outdated
        if full:
            copies = [loser for id in self._elements.contested for loser in self._elements.losers(id)]
        counting = self._elements.touchpoints
        outdated = {(copy.id, _day(copy)): copy for copy in copies if _day(copy) != _day(counting[copy.id])}
        self._outdated = []
        verdicts = {
            place.touchpoint.id: place.verdict
            for life in self._lives.values()
            for journey in life.journeys
            for place in journey.places
        }
        rows: list[JudgedTouchpoint] = []
        for copy in outdated.values():
            verdict = verdicts[copy.id]
            if verdict is not None:
                rows.append(JudgedTouchpoint(copy, verdict, version, True))
        return rows

    def _ended_journeys(self, version: int, full: bool) -> list[JourneyRow]:
        """Tombstones of the touchpoints that begin no journey any more, or not on the day they did."""
        begins = {
            journey.places[0].touchpoint.id: journey.places[0].touchpoint
            for life in self._lives.values()
            for journey in life.journeys
        }
        ended: dict[tuple[str, int], int] = {}  # id and day -> started_at
        for id in self._former:
            began_at = self._begun.pop(id, None)
            if began_at is not None:
                ended[id, began_at // DAY_MS] = began_at
        if full:
            for touchpoint in self._elements.touchpoints.values():
                for copy in (touchpoint, *self._elements.losers(touchpoint.id)):
                    ended[copy.id, _day(copy)] = copy.occurred_at
        self._former = set()
        for id, touchpoint in begins.items():
            if ended.pop((id, _day(touchpoint)), None) is not None:
                self._begun[id] = touchpoint.occurred_at
        return [tombstone(id, started_at, version) for (id, _), started_at in ended.items()]

    def _identity_rows(self, version: int, full: bool) -> list[IdentityRow]:
        identities = self._identities
        stale = identities.customer_of.keys() if full else identities.stale
        rows: list[IdentityRow] = []
        for identifier in stale:
            now = identities.customer_of[identifier], identities.first_linked_at.get(identifier)
            if full or self._said_identities.get(identifier) != now:
                self._said_identities[identifier] = now
                rows.append(IdentityRow(identifier, now[0], self.household_id, version, now[1]))
        identities.stale = set()
        return rows

    def _conflict_rows(self, version: int, full: bool) -> list[ConflictRow]:
        identities, said = self._identities, self._said_conflicts
        customer_of = identities.customer_of
        refused_at: dict[Pair, int | None] = dict.fromkeys(identities.stale_pairs)
        if full:
            refused_at |= dict.fromkeys((*said, *identities.refusals))
            if identities.contested:
                refused_at |= dict(identities.possible_refusals())
        identities.stale_pairs = set()
        rows: list[ConflictRow] = []
        for pair, at in refused_at.items():
            a, b = pair
            before = said.pop(pair, None)
            refusal = identities.refusals.get(pair)
            if refusal is not None:
                row = ConflictRow(a, b, refusal.at, refusal.reason, customer_of[a], customer_of[b], version)
                if full or before is None or msgspec.structs.replace(before, version=version) != row:
                    rows.append(row)
                said[pair] = row
            elif before is not None:
                rows.append(msgspec.structs.replace(before, version=version, deleted=True))
            elif at is not None:
                rows.append(
                    ConflictRow(a, b, at, "exclusive_kind", customer_of[a], customer_of[b], version, True)
                )
        return rows

    def _duplicate_rows(self, version: int, full: bool) -> list[DuplicateRow]:
        rows: list[DuplicateRow] = []
        for id in list(self._elements.contested) if full else self._unsaid_duplicates:
            now = self._elements.duplicates(id, version)
            contents = {row.content for row in now}
            before = self._said_duplicates.get(id, [])
            said = {row.content for row in before}
            rows += [row for row in now if full or row.content not in said]
            settled = {row.content: row for row in before if row.content not in contents}
            if full:
                copies = (self._elements.touchpoints[id], *self._elements.losers(id))
                for row in self._elements.as_duplicates(copies, version):
                    if row.content not in contents:
                        settled[row.content] = row
            rows += [msgspec.structs.replace(row, version=version, deleted=True) for row in settled.values()]
            self._said_duplicates[id] = now
        self._unsaid_duplicates = set()
        return rows

    def _archive(self, judgement: Judgement, full: bool) -> None:
        judgement.identifications, self._new_identifications = self._new_identifications, []
        judgement.corrections, self._new_corrections = self._new_corrections, []
        if full:
            held = self._elements
            judgement.identifications = [one for copies in held.identifications.values() for one in copies]
            judgement.corrections = [one for copies in held.corrections.values() for one in copies]


def _day(touchpoint: Touchpoint) -> int:
    return touchpoint.occurred_at // DAY_MS
