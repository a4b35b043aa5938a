"""The lives of a household's customers: touchpoints come to them, and what changes in the past is folded again.

A touchpoint that comes last in its customer's life is appended. One in the past, two customers that become one, or
another decision about who is who take the lives concerned apart: they are folded again, compared with what was said
of them, and the rows that come out otherwise are sent.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence

from models.household import ElementSet
from models.identifier import Identifier
from models.identity import Renaming
from models.journey import Journey, Place, untie
from models.journey_model import JourneyModel
from models.journey_row import journey_row, tombstone
from models.life_cycle import LifeCycle
from models.touchpoint import Touchpoint
from models.trimming import Origin
from models.verdict import JourneyRow, JudgedTouchpoint

DAY_MS = 86_400_000


class Lives:
    """The life cycles of some customers, whose touchpoints are `take`n in any order and `settle`d into them."""

    __slots__ = (
        "_all_rows", "_begun", "_former", "_loose", "_model", "_outdated", "_unplaced", "_was", "all_again",
        "by_customer",
    )  # fmt: skip

    def __init__(self, model: JourneyModel) -> None:
        self.by_customer: dict[str, LifeCycle] = {}
        self.all_again = False  # all lives are to be folded again
        self._model = model
        self._unplaced: list[tuple[str, Touchpoint]] = []  # strongest identifier, touchpoint
        self._loose: dict[str, list[Touchpoint]] = {}  # by customer, to be folded again
        self._was: dict[str, Place] = {}  # what was said of these, by touchpoint
        self._outdated: list[Touchpoint] = []  # said to count, on another day than the copy that counts now
        self._begun: dict[str, int] = {}  # id -> started_at of the journeys whose rows were sent
        self._former: list[str] = []  # ids that began a journey when it was last folded
        self._all_rows = False

    @property
    def unsaid(self) -> bool:
        """Whether something of them is left to be said."""
        return bool(
            self._unplaced or self.all_again or self._loose or self._all_rows or self._former or self._outdated
            or any(life.stale or life.changed for life in self.by_customer.values())
        )  # fmt: skip

    def take(self, strongest: str, touchpoint: Touchpoint) -> None:
        """A touchpoint that was not known, of the customer of this identifier."""
        self._unplaced.append((strongest, touchpoint))

    def rename(self, renaming: Renaming) -> None:
        """Two customers became one: their touchpoints are to be folded together."""
        keep, gone = renaming
        if gone in self.by_customer or gone in self._loose:
            self._loosen(keep)
            self._loosen(gone)
            self._loose[keep] += self._loose.pop(gone)

    def settle(
        self,
        touchpoints: Iterable[Touchpoint],
        strongest: Callable[[Sequence[Identifier]], str],
        customer_of: Mapping[str, str],
        origin_of: Callable[[str], Origin | None],
    ) -> None:
        """Place what is new, fold again what must be. `touchpoints`: all that count; `customer_of`: by identifier;
        `origin_of`: after which journeys that are not held any more a customer's life begins.
        """
        if self.all_again:
            for customer_id in list(self.by_customer):
                self._loosen(customer_id)
            self._loose = {}
            for touchpoint in touchpoints:
                self._loose.setdefault(customer_of[strongest(touchpoint.identifiers)], []).append(touchpoint)
            self.all_again = False
        elif self._unplaced:
            self._place(customer_of, origin_of)
        self._unplaced = []
        if self._loose:
            self._fold(origin_of)

    def judge(self, watermark: int, version: int, *, full: bool) -> list[JudgedTouchpoint]:
        """The touchpoints of which something else is said at this watermark than before, or all."""
        said: list[JudgedTouchpoint] = []
        for life in self.by_customer.values():
            life.expire(watermark)
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
        self._all_rows = self._all_rows or full
        return said

    def outdated_rows(self, version: int, elements: ElementSet, *, full: bool) -> list[JudgedTouchpoint]:
        """Tombstones of the days on which copies that do not count (any more) say a touchpoint was."""
        if not (full or self._outdated):
            return []
        copies = self._outdated
        if full:
            copies = [loser for id in elements.contested for loser in elements.losers(id)]
        counting = elements.touchpoints
        outdated = {(copy.id, _day(copy)): copy for copy in copies if _day(copy) != _day(counting[copy.id])}
        self._outdated = []
        verdicts = {
            place.touchpoint.id: place.verdict
            for life in self.by_customer.values()
            for journey in life.journeys
            for place in journey.places
        }
        rows: list[JudgedTouchpoint] = []
        for copy in outdated.values():
            verdict = verdicts[copy.id]
            if verdict is not None:
                rows.append(JudgedTouchpoint(copy, verdict, version, True))
        return rows

    def journey_rows(
        self, version: int, personas: Mapping[str, str], elements: ElementSet
    ) -> list[JourneyRow]:
        """The rows of the journeys that changed since they were last asked for; of all after a full judgement,
        and then also of each touchpoint that begins none. `personas`: by customer, said outside any touchpoint.
        """
        rows: list[JourneyRow] = []
        full, self._all_rows = self._all_rows, False
        for life in self.by_customer.values():
            changed = life.journeys if full else life.changed
            for journey in changed:
                journey.changed = False
                persona = personas.get(life.customer_id)
                rows.append(journey_row(journey, life.customer_id, persona, version, self._model))
            life.changed = []
        if full or self._former:
            rows += self._ended_journeys(version, elements, full)
        for row in rows:
            if not row.deleted:
                self._begun[row.id] = row.started_at
        return rows

    def all_said(self) -> None:
        """The rows of all journeys as they are were sent before."""
        for life in self.by_customer.values():
            for journey in life.journeys:
                journey.changed = False
                first = journey.places[0].touchpoint
                self._begun[first.id] = first.occurred_at
            life.changed = []
        self._former = []
        self._all_rows = False

    def let_go(self) -> None:
        """Nothing more is asked of them."""
        for life in self.by_customer.values():
            for journey in life.journeys:
                untie(journey.places)

    def _loosen(self, customer_id: str) -> None:
        """Take a customer's life apart; what was said of it is kept for comparison."""
        loose = self._loose.setdefault(customer_id, [])
        life = self.by_customer.pop(customer_id, None)
        if life is None:
            return
        for journey in life.journeys:
            self._former.append(journey.places[0].touchpoint.id)
            for place in journey.places:
                loose.append(place.touchpoint)
                self._was[place.touchpoint.id] = place

    def _place(self, customer_of: Mapping[str, str], origin_of: Callable[[str], Origin | None]) -> None:
        """Append what is new and comes last; what lies in the past takes its customer's life apart."""
        if len(self._unplaced) > 1:
            self._unplaced.sort(key=lambda entry: (entry[1].occurred_at, entry[1].id))
        for strongest, touchpoint in self._unplaced:
            customer_id = customer_of[strongest]
            if customer_id in self._loose:
                self._loose[customer_id].append(touchpoint)
                continue
            life = self.by_customer.get(customer_id)
            if life is None:
                origin = origin_of(customer_id)
                life = self.by_customer[customer_id] = LifeCycle(customer_id, self._model, origin)
            elif life.reaches_beyond(touchpoint):
                self._loosen(customer_id)
                self._loose[customer_id].append(touchpoint)
                continue
            life.append(touchpoint)

    def _fold(self, origin_of: Callable[[str], Origin | None]) -> None:
        for customer_id, touchpoints in self._loose.items():
            life = LifeCycle(customer_id, self._model, origin_of(customer_id))
            self.by_customer[customer_id] = life
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

    def _ended_journeys(self, version: int, elements: ElementSet, full: bool) -> list[JourneyRow]:
        """Tombstones of the touchpoints that begin no journey any more, or not on the day they did."""
        begins = {
            journey.places[0].touchpoint.id: journey.places[0].touchpoint
            for life in self.by_customer.values()
            for journey in life.journeys
        }
        ended: dict[tuple[str, int], int] = {}  # id and day -> started_at
        for id in self._former:
            began_at = self._begun.pop(id, None)
            if began_at is not None:
                ended[id, began_at // DAY_MS] = began_at
        if full:
            for touchpoint in elements.touchpoints.values():
                for copy in (touchpoint, *elements.losers(touchpoint.id)):
                    ended[copy.id, _day(copy)] = copy.occurred_at
        self._former = []
        for id, touchpoint in begins.items():
            if ended.pop((id, _day(touchpoint)), None) is not None:
                self._begun[id] = touchpoint.occurred_at
        return [tombstone(id, started_at, version) for (id, _), started_at in ended.items()]


def _day(touchpoint: Touchpoint) -> int:
    return touchpoint.occurred_at // DAY_MS
