"""A household folded step by step: what `household.verdicts` says of the same set, but only what is new.

A touchpoint at the end of its customer's life costs the same however long that life is. One in the past, a
link that makes two customers one, or a decision about identities folds the customers concerned again, and the
rows that come out otherwise are sent.
"""

from collections.abc import Iterable, Iterator, Mapping, Set

from models.beside import Beside
from models.held import Held
from models.household import ElementSet
from models.identity import Identities, Renaming
from models.journey_model import JourneyModel
from models.leaving import leave, reaches_behind
from models.lives import Lives
from models.personas import Personas
from models.touchpoint import Correction, Element, Identification, Touchpoint
from models.trimming import (
    Origin,
    Told,
    Trimmed,
    decode_trimmed,
    element_mark,
    encode_trimmed,
)
from models.verdict import (
    Facts,
    JourneyRow,
    row_version,
)

_TRIMS_PER_HISTORY = 32

Judgement = Facts
"""What is said: one record of `journeys.facts`, without watermarks."""


class Household:
    """The state of one household: its set of elements and the watermark it was last judged at.

    `add` elements in any order and as often as they come, then `judge`. `household_id` is the identifier that
    the household is kept under; every element's strongest identifier is linked to it.
    """

    __slots__ = (
        "_beside",
        "_elements",
        "_identities",
        "_lives",
        "_model",
        "_owes_full",
        "_passed_over",
        "_personas",
        "_trim_tried_at",
        "_trimmed",
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
        self._lives = Lives(model)
        self._owes_full = False
        self._personas = Personas()
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
                    if held.touchpoints[element.id] is element:
                        self._lives.all_again = True
                else:
                    self._lives.take(strongest, element)
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
        elements = list(self._elements)
        return Held(
            self.household_id, self.count, self.watermark, self._unsaid(), elements, trimmed, self.wants_past
        )

    def see(self, more: int) -> None:
        """As if so many more elements had been added once that are no longer held."""
        self._elements.count += more

    def let_go(self) -> None:
        """Its encoding stands for it from now on: nothing more is asked of this object."""
        self._lives.let_go()

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
        said = self._lives.judge(self.watermark, version, full=full)
        said += self._lives.outdated_rows(version, self._elements, full=full)
        judgement = Judgement(touchpoints=said)
        if full or self._beside.pending(self._identities):
            self._beside.say(
                judgement, self.household_id, version, self._identities, self._elements, full=full
            )
        if journeys:
            judgement.journeys = self.journey_rows()
        return judgement

    def journey_rows(self) -> list[JourneyRow]:
        """The rows of the journeys that changed since they were last asked for, as of the last judgement."""
        if self.wants_past:
            return []
        if self._personas.stale:
            self._settle_personas()
        version = row_version(self.count, self.watermark)
        return self._lives.journey_rows(version, self._personas.of, self._elements)

    def next_deadline(self) -> int | None:
        """The smallest instant W at which judge(W + 1) may say something new; None: only elements can."""
        if self.wants_past:
            return None
        deadlines = [
            at for life in self._lives.by_customer.values() if (at := life.next_deadline()) is not None
        ]
        return min(deadlines, default=None)

    @classmethod
    def of(cls, held: Held, model: JourneyModel) -> "Household":
        """A household as it was; if it had something left to say, the next judgement is full."""
        trimmed = decode_trimmed(held.trimmed) if held.trimmed else None
        household = cls(held.household_id, model)
        household._take_over(trimmed, held.wants_past, held.elements, held.seen, held.watermark)
        household._owes_full = held.unsaid
        return household

    # --- what leaves the state, and comes back ---

    def next_trim(self) -> int | None:
        """The watermark beyond which `trim` may find something; None: nothing will be found."""
        if not self._lives.by_customer or self.wants_past:
            return None
        ends = [
            life.journeys[0].places[-1].touchpoint.occurred_at for life in self._lives.by_customer.values()
        ]
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
        whole_at = 0 if self._trimmed is None else self._trimmed.whole_at
        left = leave(
            self._elements, self._lives.by_customer, self._identities, self._personas, horizon,
            seen=max(self.count, whole_at),
        )  # fmt: skip
        if left is None:
            return None
        kept, gone = left
        gone.whole_at = whole_at
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
            self._personas.tell(identifier, told)
        if known.archived:
            self._lives.all_again = True
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
        """The earliest instant of what is held, UTC ms; the watermark if nothing is."""
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
        if self._personas.stale:
            self._settle_personas()
        self._lives.all_said()

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
        self._lives.all_again = self._owes_full = True

    def _origin(self, customer_id: str) -> Origin | None:
        return None if self._trimmed is None or self.wants_past else self._trimmed.origins.get(customer_id)

    def _reaches_behind(self, origins: Mapping[str, Origin]) -> bool:
        told = self._personas.latest(self._identities.customer_of)
        return reaches_behind(origins, self._lives.by_customer.values(), self._identities.customer_of, told)

    def _unsaid(self) -> bool:
        return bool(
            self._owes_full
            or self.wants_past
            or self._personas.stale
            or self._identities.unresolved
            or self._beside.pending(self._identities)
            or self._lives.unsaid
        )

    def _identify(self, identification: Identification) -> None:
        self._beside.came(identification)
        strongest = self._identities.strongest(identification.identifiers)
        for renaming in self._identities.see(strongest, identification.identifiers, identification.at):
            self._rename(renaming)
        if identification.persona is not None:
            self._personas.tell(strongest, Told(identification.at, identification.id, identification.persona))

    def _rename(self, renaming: Renaming) -> None:
        self._personas.regroup()
        self._lives.rename(renaming)

    def _settle(self) -> None:
        """Resolve identities, place what is new, fold again what must be."""
        identities = self._identities
        if identities.unresolved and identities.settle():
            self._lives.all_again = True
            self._personas.regroup()
        self._lives.settle(
            self._elements.touchpoints.values(), identities.strongest, identities.customer_of, self._origin
        )
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
        if self._personas.stale:
            self._settle_personas()

    def _settle_personas(self) -> None:
        """Journeys of customers of whom another persona is said now are to be sent."""
        for customer_id in self._personas.settle(self._identities.customer_of):
            if (life := self._lives.by_customer.get(customer_id)) is not None:
                for journey in life.journeys:
                    life.change(journey)
