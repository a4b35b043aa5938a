"""A life cycle: all touchpoints of one customer taken in order, each with what it does to what is said.

`append` takes the next touchpoint at a cost that does not depend on how many came before; `expire` lets the
watermark pass. Places about which something new may have to be said are in `stale`.
"""

from heapq import heappop, heappush

from models.attempts import Attempts
from models.drop_offs import drop_off
from models.emotion import delights, weight
from models.journey import AttemptState, Journey, NearestPain, Place, Transaction
from models.journey_model import JourneyModel
from models.journey_row import journey_id
from models.pain_points import Context, abandonment, failed, pain_points
from models.paved_path import advance
from models.phases import move, phase_of
from models.rules import first_persona
from models.touchpoint import Touchpoint
from models.trimming import Origin
from models.verdict import Verdict


class LifeCycle:
    """One customer's journeys, folded touchpoint by touchpoint."""

    __slots__ = (
        "_attempts", "_contacts", "_conversations", "_converted", "_deadlines", "_failures", "_model",
        "_profiles", "_pushed", "changed", "customer_id", "journeys", "last", "origin", "stale",
    )  # fmt: skip

    def __init__(self, customer_id: str, model: JourneyModel, origin: Origin | None = None) -> None:
        self.customer_id = customer_id
        self.origin = origin  # after which trimmed journeys it begins
        self.journeys: list[Journey] = []
        self.last: Place | None = None
        self.stale: list[Place] = []  # places of which something new may have to be said
        self.changed: list[Journey] = []  # journeys whose rows are to be sent
        self._model = model
        self._profiles = model.profiles
        self._converted = False
        self._attempts = Attempts()
        self._contacts: dict[str | None, int] = {}  # topic -> when a conversation on it was last begun
        self._conversations: dict[str, bool] = {}  # begun conversation -> whether it was a repeat contact
        self._failures: dict[str, int] = {}  # type -> when it last failed
        self._deadlines: list[tuple[int, int, AttemptState | Place]] = []
        self._pushed = 0
        if origin is not None:
            self._converted = origin.converted
            self._contacts = dict(origin.contacts)
            self._failures = dict(origin.failures)

    @property
    def reaches_behind(self) -> bool:
        """Whether what is held changes something in the journeys that were trimmed."""
        first = self.journeys[0].places[0].touchpoint if self.journeys else None
        return not (
            first is None or self.origin is None or self.origin.precedes(first, self._model.journey_gap_ms)
        )

    def reaches_beyond(self, touchpoint: Touchpoint) -> bool:
        """Whether its last touchpoint comes after this one in the order (occurred_at, id)."""
        if self.last is None:
            return False
        last, at = self.last.touchpoint, touchpoint.occurred_at
        return at < last.occurred_at or (at == last.occurred_at and touchpoint.id < last.id)

    def change(self, journey: Journey) -> None:
        """The row of a journey is to be sent."""
        if not journey.changed:
            journey.changed = True
            self.changed.append(journey)

    def append(self, touchpoint: Touchpoint) -> None:
        """Take the next touchpoint in the order (occurred_at, id)."""
        model, t, at = self._model, touchpoint, touchpoint.occurred_at
        profile = self._profiles.get(t.type) or model.other_profile
        already = self._converted
        previous = self.last
        if (
            previous is None
            or at - previous.touchpoint.occurred_at > model.journey_gap_ms
            or previous.profile.closes
        ):
            if previous is not None and previous.drop_off is None:
                self._await_drop_off(previous)
            previous = None
            journey = Journey(journey_id(self.customer_id, t.id), model)
            self.journeys.append(journey)
        else:
            journey = previous.journey
        place = Place(t, profile, journey, already)
        phase = phase_of(t, profile, already)
        if previous is None:
            place.phase = phase or 0
        else:
            place.phase = previous.phase if phase is None else phase
            place.move = move(previous.phase, place.phase)
            self._continue(previous, at)
        if place.phase > journey.furthest:
            journey.furthest = place.phase
        if journey.paved is not None and (fits := profile.fits[place.phase]) is not None:
            advance(journey.paved, fits, model.paved_costs)
        if journey.persona_rule:
            journey.persona_rule = first_persona(model.persona_rules, t, journey.persona_rule)

        transaction = self._transaction(t, previous, journey)
        place.transaction = transaction
        previous_channel, transaction.channel = transaction.channel, t.channel
        of_its_type = transaction.take(t.type, place.phase)

        repeated_contact = first_contact = False
        conversation = t.conversation_id
        if profile.contact and (conversation is None or conversation not in self._conversations):
            begun_at = self._contacts.get(t.topic)
            repeated_contact = begun_at is not None and at - begun_at <= model.pain.repeat_contact_ms
            self._contacts[t.topic] = at
            if conversation is not None:
                self._conversations[conversation] = repeated_contact
        if profile.resolves and conversation is not None:
            first_contact = not self._conversations.get(conversation, True)
        repeated_failure = False
        if failed(t, profile, model.pain):
            failed_at = self._failures.get(t.type)
            repeated_failure = failed_at is not None and at - failed_at <= model.modifiers.repeated_failure_ms
            self._failures[t.type] = at

        place.weight = weight(t, profile, repeated_failure, model)
        place.delights = delights(t, profile, first_contact, model)
        context = Context(transaction, previous_channel, of_its_type, repeated_contact)
        place.pains = pain_points(t, profile, context, model)
        for pain in place.pains:
            self._note(journey, NearestPain(place.ordinal, pain.severity, pain.kind, t.id))
        if profile.opens or profile.completes or profile.abandons:
            self._work(place)
        place.pain = journey.pain
        journey.places.append(place)
        self.last = place
        self.stale.append(place)
        if profile.converts:
            self._converted = True

    def expire(self, watermark: int) -> None:
        """Let the watermark pass: a patience that ran out before it is said to have run out."""
        last = self.last
        if last is not None and last.drop_off is None:
            end = self._silence_end(last)
            if end is not None and end < watermark:
                self._drop(last)
        deadlines = self._deadlines
        while deadlines and deadlines[0][0] < watermark:
            at, _, waiting = heappop(deadlines)
            if isinstance(waiting, Place):
                self._drop(waiting)
                continue
            waiting.scheduled = False
            if waiting.completed or waiting.abandoned:
                continue
            if waiting.deadline > at:  # renewed since
                self._schedule(waiting)
            else:
                waiting.expired = True
                self._touch(waiting.place)

    def next_deadline(self) -> int | None:
        """The first instant after which, by the watermark, something new may be said; None: there is none."""
        deadlines = self._deadlines
        while deadlines and isinstance(waiting := deadlines[0][2], AttemptState):
            if waiting.completed or waiting.abandoned:
                waiting.scheduled = False
            elif waiting.deadline > deadlines[0][0]:
                self._schedule(waiting)
            else:
                break
            heappop(deadlines)
        first = deadlines[0][0] if deadlines else None
        if self.last is not None and self.last.drop_off is None:
            end = self._silence_end(self.last)
            if end is not None and (first is None or end < first):
                return end
        return first

    def closed_before(self, horizon: int) -> int:
        """How many of its first journeys ended before `horizon` and wait for nothing any more.

        What is held after them depends on them by what an `Origin` keeps, and by nothing else.
        """
        count = 0
        for journey in self.journeys:
            last = journey.places[-1]
            waits = last.drop_off is None and self._silence_end(last) is not None
            if waits or last.touchpoint.occurred_at >= horizon or not all(map(_settled, journey.places)):
                break
            count += 1
        while count and not self._stands_without(count):
            count -= 1
        return count

    def first(self, count: int) -> "LifeCycle":
        """The life cycle as it was after its first `count` journeys."""
        life = LifeCycle(self.customer_id, self._model, self.origin)
        for journey in self.journeys[:count]:
            for place in journey.places:
                life.append(place.touchpoint)
        return life

    def as_origin(self, identifiers: set[str]) -> Origin:
        """What a life cycle that goes on depends on; `identifiers`: strongest ones of its touchpoints."""
        places = [place for journey in self.journeys for place in journey.places]
        last = places[-1]
        at = last.touchpoint.occurred_at
        contact_ms = self._model.pain.repeat_contact_ms
        failure_ms = self._model.modifiers.repeated_failure_ms
        waiting = [one.deadline for place in places for one in place.attempts if not one.completed]
        origin = Origin(
            self.customer_id,
            identifiers,
            at,
            last.touchpoint.id,
            last.profile.closes,
            self._converted,
            max(waiting, default=0),
            [(topic, begun_at) for topic, begun_at in self._contacts.items() if at - begun_at <= contact_ms],
            [
                (type_, failed_at)
                for type_, failed_at in self._failures.items()
                if at - failed_at <= failure_ms
            ],
        )
        return origin if self.origin is None else self.origin.joined(origin)

    def _stands_without(self, count: int) -> bool:
        """Whether what follows the first `count` journeys is said right without them."""
        following = [place.touchpoint for journey in self.journeys[count:] for place in journey.places]
        if not following:
            return True
        talks = {t.conversation_id for t in following if t.conversation_id is not None}
        parted = all(
            place.touchpoint.conversation_id not in talks
            for journey in self.journeys[:count]
            for place in journey.places
        )
        return parted and self.first(count).as_origin(set()).precedes(
            following[0], self._model.journey_gap_ms
        )

    def verdict(self, place: Place) -> Verdict:
        """All that is said of a place as far as the watermark went."""
        profile, attempts, pains = place.profile, place.attempts, place.pains
        if attempts and (lost := abandonment(attempts)) is not None:
            pains = (*pains, lost)
        return Verdict(
            self.customer_id,
            place.journey.id,
            place.ordinal,
            self._model.phases[place.phase],
            place.move,
            place.transaction.id,
            place.already,
            profile.converts,
            place.weight,
            profile.moment_of_truth,
            pains,
            place.delights,
            tuple([attempt.said() for attempt in attempts]) if attempts else (),
            place.drop_off,
        )

    def _transaction(self, t: Touchpoint, previous: Place | None, journey: Journey) -> Transaction:
        """The transaction that a touchpoint joins or begins; `previous`: the one before it in the journey."""
        conversation = t.conversation_id
        transaction = None if conversation is None else journey.conversations.get(conversation)
        if transaction is None:
            if previous is not None and (
                t.occurred_at - previous.touchpoint.occurred_at <= self._model.transaction_gap_ms
            ):
                transaction = previous.transaction
            else:
                transaction = Transaction(t.id)
            if conversation is not None:
                journey.conversations[conversation] = transaction
        return transaction

    def _continue(self, previous: Place, at: int) -> None:
        """The journey goes on at `at`: was there a silence before?"""
        end = self._silence_end(previous)
        dropped = None
        if end is not None and at > end:
            dropped = drop_off(previous, end - previous.touchpoint.occurred_at, at)
        if dropped != previous.drop_off:
            previous.drop_off = dropped
            self._touch(previous)

    def _silence_end(self, place: Place) -> int | None:
        """Until when the next touchpoint is awaited; None: it need not come."""
        patience_ms = self._model.phase_patience_ms[place.phase]
        if patience_ms is None or place.profile.closes:
            return None
        return place.touchpoint.occurred_at + patience_ms

    def _await_drop_off(self, place: Place) -> None:
        """The journey of this last touchpoint is over; its silence may still have to be said."""
        end = self._silence_end(place)
        if end is not None:
            self._pushed += 1
            heappush(self._deadlines, (end, self._pushed, place))

    def _drop(self, place: Place) -> None:
        end = self._silence_end(place)
        if end is not None:
            place.drop_off = drop_off(place, end - place.touchpoint.occurred_at, None)
            self._touch(place)

    def _work(self, place: Place) -> None:
        """What a touchpoint does to the customer's attempts."""
        changed, completed, opened = self._attempts.take(place, place.profile)
        for attempt in changed:
            self._touch(attempt.place)
            if attempt.ended_by is None:
                if not attempt.scheduled:  # it had run out and was renewed by a late touchpoint
                    self._schedule(attempt)
            elif attempt.abandoned and attempt.place.journey is place.journey:
                opener = attempt.place
                pain = NearestPain(opener.ordinal, attempt.kind.severity, "abandonment", opener.touchpoint.id)
                self._note(place.journey, pain)
        if completed:
            place.transaction.completed = True
        for attempt in opened:
            self._schedule(attempt)
        place.attempts = tuple(opened)

    def _note(self, journey: Journey, pain: NearestPain) -> None:
        if journey.pain is None or journey.pain.yields_to(pain):
            journey.pain = pain

    def _schedule(self, attempt: AttemptState) -> None:
        attempt.scheduled = True
        self._pushed += 1
        heappush(self._deadlines, (attempt.deadline, self._pushed, attempt))

    def _touch(self, place: Place) -> None:
        if not place.stale:
            place.stale = True
            self.stale.append(place)


def _settled(place: Place) -> bool:
    """Whether each attempt that was opened here has ended."""
    return all(one.completed or one.abandoned or one.expired for one in place.attempts)
