"""A household folded step by step: what `household.verdicts` says of the same set, but only what is new.

A touchpoint at the end of its customer's life costs the same however long that life is. One in the past, a
link that makes two customers one, or a decision about identities folds the customers concerned again, and the
rows that come out otherwise are sent.
"""

from collections.abc import Iterable, Iterator, Mapping, Set
from typing import NamedTuple

import msgspec

from models.beside import Beside
from models.household import ElementSet
from models.identity import Identities, Renaming
from models.journey import Journey, Place, untie
from models.journey_model import JourneyModel
from models.journey_row import journey_row, tombstone
from models.leaving import describe, reaches_behind
from models.life_cycle import LifeCycle
from models.touchpoint import Correction, Element, Identification, Touchpoint
from models.trimming import (
    Origin,
    Told,
    Trimmed,
    decode_trimmed,
    element_mark,
    encode_trimmed,
    latest_told,
)
from models.verdict import (
    Facts,
    JourneyRow,
    JudgedTouchpoint,
    row_version,
)

DAY_MS = 86_400_000
_TRIMS_PER_HISTORY = 32

Judgement = Facts
"""What is said: one record of `journeys.facts`, without watermarks."""


class _Encoded(msgspec.Struct, array_like=True):
    household_id: str
    count: int
    watermark: int
    unsaid: bool
    elements: list[Element]
    trimmed: bytes = b""
    wants_past: bool = False


class Held(NamedTuple):
    """All that a household is made of. `seen`: its `count`; `trimmed`: see `models.trimming`."""

    seen: int
    elements: list[Element]
    watermark: int
    trimmed: bytes

    @classmethod
    def decode(cls, data: bytes) -> "Held":
        """What a household that rests holds, without folding it."""
        encoded = _decoder.decode(data)
        return cls(encoded.count, encoded.elements, encoded.watermark, encoded.trimmed)


_encoder = msgspec.msgpack.Encoder()
_decoder = msgspec.msgpack.Decoder(_Encoded)


class Household:
    """The state of one household: its set of elements and the watermark it was last judged at.

    `add` elements in any order and as often as they come, then `judge`. `household_id` is the identifier that
    the household is kept under; every element's strongest identifier is linked to it.
    """

    __slots__ = (
        "_begun",
        "_beside",
        "_elements",
        "_former",
        "_identities",
        "_journeys_full",
        "_lives",
        "_loose",
        "_model",
        "_outdated",
        "_owes_full",
        "_passed_over",
        "_persona_by_identifier",
        "_personas",
        "_personas_stale",
        "_refold",
        "_trim_tried_at",
        "_trimmed",
        "_unplaced",
        "_was",
        "household_id",
        "wants_past",
        "watermark",
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
        self._persona_by_identifier: dict[str, Told] = {}  # the latest
        self._personas: dict[str, str] = {}  # by customer
        self._personas_stale = False
        self._beside = Beside()
        self._trimmed: Trimmed | None = None
        self._passed_over: dict[int, Element] = {}  # trimmed elements that came again while it was loaded
        self._trim_tried_at = 0
        self.wants_past = False  # something reaches behind what was trimmed: nothing is said until it is back

    @property
    def count(self) -> int:
        """|S|: how many distinct elements were ever added, those no longer held included."""
        return self._elements.count + (self._trimmed.count if self._trimmed is not None else 0)

    @property
    def trimmed(self) -> Trimmed | None:
        """What is kept of the elements that are not held any more."""
        return self._trimmed

    @property
    def oversized(self) -> bool:
        """Whether there are more identifiers than `max_household`, so that links are not joined any more."""
        return len(self._identities.customer_of) > self._model.max_household

    def identifiers(self) -> Set[str]:
        """Keys of all identifiers linked so far, the household's own included."""
        return self._identities.customer_of.keys() | {self.household_id}

    def unlinked(self, elements: Iterable[Element]) -> Set[str]:
        """Keys of the identifiers of elements that are not among `identifiers` yet."""
        linked = self._identities.customer_of
        unlinked = {
            key for element in elements for one in element.identifiers if (key := one.key) not in linked
        }
        unlinked.discard(self.household_id)
        return unlinked

    def elements(self) -> Iterator[Element]:
        """The whole set."""
        return iter(self._elements)

    def add(self, elements: Iterable[Element], *, loading: bool = False) -> list[Element]:
        """Add elements; which of them were new. Another copy of a touchpoint is new unless it is the same.

        Trimmed elements that come again are no news, unless the past is wanted. While `loading` they are kept
        at hand until the next judgement, which may want it.
        """
        new: list[Element] = []
        identities, held = self._identities, self._elements
        for element in elements:
            if self._trimmed is not None and self._was_trimmed(element, self._trimmed, loading):
                continue
            if not held.add(element):
                continue
            new.append(element)
            if isinstance(element, Touchpoint):
                strongest = identities.strongest(element.identifiers)
                for renaming in identities.see(strongest, element.identifiers, element.occurred_at):
                    self._rename(renaming)
                if held.losers(element.id):
                    self._beside.copied(element, held)
                    self._refold = self._refold or held.touchpoints[element.id] is element
                else:
                    self._unplaced.append((strongest, element))
            elif isinstance(element, Identification):
                self._identify(element)
            else:
                identities.correct(element)
                self._beside.came(element)
        if self.wants_past and self._trimmed is not None and not self._trimmed.archived:
            self._make_whole(self._trimmed)
        return new

    def held(self) -> Held:
        """What it holds."""
        trimmed = b"" if self._trimmed is None else encode_trimmed(self._trimmed)
        return Held(self.count, list(self._elements), self.watermark, trimmed)

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
        self._settle()
        if self.wants_past:
            self._owes_full = True
            return Judgement()
        full = full or self._owes_full
        self._owes_full = False
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
        if full or self._beside.pending(self._identities):
            self._beside.say(
                judgement, self.household_id, version, self._identities, self._elements, full=full
            )
        self._journeys_full = self._journeys_full or full
        if journeys:
            judgement.journeys = self.journey_rows()
        return judgement

    def journey_rows(self) -> list[JourneyRow]:
        """The rows of the journeys that changed since they were last asked for, as of the last judgement."""
        if self.wants_past:
            return []
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
        if self.wants_past:
            return None
        deadlines = [at for life in self._lives.values() if (at := life.next_deadline()) is not None]
        return min(deadlines, default=None)

    def encode(self) -> bytes:
        """The set as MessagePack, for a household that rests."""
        seen, elements, watermark, trimmed = self.held()
        return _encoder.encode(
            _Encoded(self.household_id, seen, watermark, self._unsaid(), elements, trimmed, self.wants_past)
        )

    @classmethod
    def decode(cls, data: bytes, model: JourneyModel) -> "Household":
        """A household that rested, as it was; if it had something left to say, the next judgement is full."""
        encoded = _decoder.decode(data)
        trimmed = decode_trimmed(encoded.trimmed) if encoded.trimmed else None
        household = cls(encoded.household_id, model)
        household._take_over(trimmed, encoded.wants_past, encoded.elements, encoded.count, encoded.watermark)
        household._owes_full = encoded.unsaid
        return household

    # --- what leaves the state, and comes back ---

    def next_trim(self) -> int | None:
        """The watermark beyond which `trim` may find something; None: nothing will be found."""
        if not self._lives or self.wants_past:
            return None
        ends = [life.journeys[0].places[-1].touchpoint.occurred_at for life in self._lives.values()]
        # what waits for something longer is looked at again now and then
        again = self._trim_tried_at + self._history_ms // _TRIMS_PER_HISTORY if self._trim_tried_at else 0
        return max(min(ends) + self._history_ms, again)

    def trim(self) -> "tuple[Household, Trimmed] | None":
        """The household without its closed journeys that are older than the model's history, and what is kept
        of them; None if there are none. Everything must have been said.
        """
        if self.wants_past or self._unsaid():
            return None
        self._trim_tried_at = self.watermark
        horizon = self.watermark - self._history_ms
        closed = {
            customer_id: count
            for customer_id, life in self._lives.items()
            if (count := life.closed_before(horizon))
        }
        if not closed:
            return None
        origins: dict[str, Origin] = {}
        leaving: set[str] = set()
        whole_at = 0 if self._trimmed is None else self._trimmed.whole_at
        strongest, told = self._identities.strongest, self._told_of()
        for customer_id, count in closed.items():
            life = self._lives[customer_id]
            left = [place.touchpoint for journey in life.journeys[:count] for place in journey.places]
            leaving.update(touchpoint.id for touchpoint in left)
            origin = life.first(count).as_origin({strongest(touchpoint.identifiers) for touchpoint in left})
            origin.persona = latest_told(origin.persona, told.get(customer_id))
            origin.seen = max(self.count, whole_at)
            origins[customer_id] = origin
        begins = [
            life.journeys[closed.get(customer_id, 0)].places[0].touchpoint.occurred_at
            for customer_id, life in self._lives.items()
            if len(life.journeys) > closed.get(customer_id, 0)
        ]
        kept = self._elements.without(leaving, min([*begins, horizon]))
        gone = describe(self._elements, kept, self._identities, self._persona_by_identifier)
        gone.origins, gone.whole_at = origins, whole_at
        household = Household(self.household_id, self._model)
        trimmed = gone if self._trimmed is None else self._trimmed.union(gone)
        household._take_over(trimmed, False, list(kept), self.count, self.watermark)
        if household.wants_past:  # two customers share a conversation: what stays needs what would leave
            return None
        household._trim_tried_at = self.watermark
        self.let_go()
        return household, gone

    def remember(self, trimmed: Trimmed) -> None:
        """What was trimmed of this household, here or of one that became part of it, is known from now on."""
        known = trimmed if self._trimmed is None else self._trimmed.union(trimmed)
        held = {element_mark(element) for element in self._elements}
        known.archived -= held
        known.lost -= held
        self._trimmed = known
        for renaming in self._identities.know(known.identifiers, known.links):
            self._rename(renaming)
        for identifier, told in known.personas.items():
            before = self._persona_by_identifier.get(identifier, told)
            self._persona_by_identifier[identifier] = max(told, before)
            self._personas_stale = True
        if known.archived:
            self._refold = True
        else:
            self._make_whole(known)

    def finish_loading(self, watermark: int) -> bool:
        """All was added that is known of it: judge it silently. Whether everything is to be said again."""
        self.watermark = max(self.watermark, watermark)
        self._settle()
        self._passed_over = {}
        owes_full = self._owes_full or self.wants_past
        self._judge_silently(watermark)
        self._owes_full = owes_full
        return owes_full

    def linked_by(self, elements: Iterable[Element]) -> bool:
        """Whether elements may say something new about who is one customer."""
        links, strongest_of = self._identities.links, self._identities.strongest
        for element in elements:
            if isinstance(element, Correction):
                return True
            if len(element.identifiers) > 1:
                at = element.occurred_at if isinstance(element, Touchpoint) else element.at
                strongest = strongest_of(element.identifiers)
                for identifier in element.identifiers:
                    key = identifier.key
                    if key != strongest and not links.get((strongest, key), at + 1) <= at:
                        return True
        return False

    @property
    def begins_at(self) -> int:
        """The earliest instant of what is held, UTC ms; 0 if nothing is."""
        touchpoints = self._elements.touchpoints
        copies = [
            *touchpoints.values(),
            *(c for id in self._elements.contested for c in self._elements.losers(id)),
        ]
        identified = [one.at for some in self._elements.identifications.values() for one in some]
        return min([*(copy.occurred_at for copy in copies), *identified], default=self.watermark)

    def want_past(self) -> None:
        """All of the household is to be said again, what was trimmed included."""
        self.wants_past = self.wants_past or (self._trimmed is not None and bool(self._trimmed.archived))

    def missed(self, marks: Set[int]) -> None:
        """The archive does not have the elements of these marks (any more): go on without them."""
        if self._trimmed is None or not (lost := self._trimmed.archived & marks):
            return
        self._trimmed.archived -= lost
        self._trimmed.lost |= lost
        if not self._trimmed.archived:
            self._make_whole(self._trimmed)

    @property
    def _history_ms(self) -> int:
        return max(self._model.history_ms, self._model.journey_gap_ms)

    def _take_over(
        self, trimmed: Trimmed | None, wants_past: bool, elements: list[Element], count: int, watermark: int
    ) -> None:
        """Be a household of which all of this was said before."""
        if trimmed is not None:
            self.remember(trimmed)
        self.wants_past = wants_past
        self.add(elements)
        self._elements.count += max(0, count - self.count)
        self._judge_silently(watermark)

    def _judge_silently(self, watermark: int) -> None:
        """All that `judge` says, rows of journeys included, was said before."""
        self.judge(watermark, journeys=False)
        if self.wants_past:
            return
        if self._personas_stale:
            self._settle_personas()
        for life in self._lives.values():
            for journey in life.journeys:
                journey.changed = False
                first = journey.places[0].touchpoint
                self._begun[first.id] = first.occurred_at
            life.changed = []
        self._former = set()
        self._journeys_full = False

    def _was_trimmed(self, element: Element, trimmed: Trimmed, loading: bool) -> bool:
        """Whether an element was held before and is not to be held now."""
        known = element_mark(element)
        if known in trimmed.archived:
            if self.wants_past:
                trimmed.archived.discard(known)
                trimmed.lost.discard(known)
                return False
            if loading:
                self._passed_over[known] = element
            return True
        if known in trimmed.lost:
            return True
        if trimmed.concerns(element):
            self.want_past()
        return False

    def _make_whole(self, trimmed: Trimmed) -> None:
        """All that was trimmed is held again."""
        self.wants_past = False
        trimmed.origins = {}
        trimmed.whole_at = max(trimmed.whole_at, self.count)
        trimmed.touchpoints = set()
        trimmed.conversations = set()
        self._refold = self._owes_full = True

    def _origin(self, customer_id: str) -> Origin | None:
        return None if self._trimmed is None or self.wants_past else self._trimmed.origins.get(customer_id)

    def _reaches_behind(self, origins: Mapping[str, Origin]) -> bool:
        told = self._told_of() if self._persona_by_identifier else {}
        return reaches_behind(origins, self._lives.values(), self._identities.customer_of, told)

    def _unsaid(self) -> bool:
        return bool(
            self._owes_full or self.wants_past or self._unplaced or self._refold or self._loose
            or self._journeys_full or self._personas_stale or self._former or self._outdated
            or self._identities.unresolved or self._beside.pending(self._identities)
            or any(life.stale or life.changed for life in self._lives.values())
        )  # fmt: skip

    def _identify(self, identification: Identification) -> None:
        self._beside.came(identification)
        strongest = self._identities.strongest(identification.identifiers)
        for renaming in self._identities.see(strongest, identification.identifiers, identification.at):
            self._rename(renaming)
        if identification.persona is not None:
            told = Told(identification.at, identification.id, identification.persona)
            before = self._persona_by_identifier.get(strongest)
            if before is None or told > before:
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
        if (
            self._trimmed is not None
            and not self.wants_past
            and (self._trimmed.doubtful or self._reaches_behind(self._trimmed.origins))
        ):
            self.want_past()
        if self._passed_over and self._trimmed is not None:
            # all that was trimmed is at hand: it came back, or its leaving was not finished
            self.wants_past = self.wants_past or self._trimmed.archived <= self._passed_over.keys()
        if self.wants_past and self._passed_over:
            again, self._passed_over = self._passed_over, {}
            self.add(again.values())
            self._settle()
            return
        if self._personas_stale:
            self._settle_personas()

    def _place(self) -> None:
        """Append what is new and comes last; what lies in the past takes its customer's life apart."""
        if len(self._unplaced) > 1:
            self._unplaced.sort(key=lambda entry: (entry[1].occurred_at, entry[1].id))
        customer_of = self._identities.customer_of
        for strongest, touchpoint in self._unplaced:
            customer_id = customer_of[strongest]
            if customer_id in self._loose:
                self._loose[customer_id].append(touchpoint)
                continue
            life = self._lives.get(customer_id)
            if life is None:
                origin = self._origin(customer_id)
                life = self._lives[customer_id] = LifeCycle(customer_id, self._model, origin)
            elif life.reaches_beyond(touchpoint):
                self._loosen(customer_id)
                self._loose[customer_id].append(touchpoint)
                continue
            life.append(touchpoint)

    def _fold_loose(self) -> None:
        for customer_id, touchpoints in self._loose.items():
            life = LifeCycle(customer_id, self._model, self._origin(customer_id))
            self._lives[customer_id] = life
            touchpoints.sort(key=lambda touchpoint: (touchpoint.occurred_at, touchpoint.id))
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
        personas = {customer_id: told.persona for customer_id, told in self._told_of().items()}
        for customer_id, life in self._lives.items():
            if personas.get(customer_id) != self._personas.get(customer_id):
                for journey in life.journeys:
                    life.change(journey)
        self._personas = personas
        self._personas_stale = False

    def _told_of(self) -> dict[str, Told]:
        """What was said last of each customer outside any touchpoint."""
        latest: dict[str, Told] = {}
        for identifier, told in self._persona_by_identifier.items():
            customer_id = self._identities.customer_of[identifier]
            latest[customer_id] = max(told, latest.get(customer_id, told))
        return latest

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


def _day(touchpoint: Touchpoint) -> int:
    return touchpoint.occurred_at // DAY_MS
