"""A customer's touchpoints cut into journeys and transactions, and the row of a journey.

The four levels: life cycle (all of a customer's journeys), `Journey`, service `Transaction`, and the
touchpoint (perception point) with its `Place` in the other three.
"""

from array import array
from collections.abc import Iterable
from decimal import Decimal, InvalidOperation
from hashlib import blake2b
from typing import NamedTuple

from models.attempts import AttemptState
from models.journey_model import JourneyModel, TypeProfile
from models.paved_path import begin, distance_and_steps
from models.phases import PhaseMove, shape
from models.touchpoint import Touchpoint
from models.verdict import Attempt, DropOff, JourneyRow, PainPoint, Verdict


def journey_id(customer_id: str, first_touchpoint_id: str) -> str:
    """Hash of the customer and the journey's first touchpoint, 32 hexadecimal digits."""
    return blake2b(f"{customer_id}\n{first_touchpoint_id}".encode(), digest_size=16).hexdigest()


class TypeCount:
    """How often a type came in a transaction, the phase of the first, and whether one since went further."""

    __slots__ = ("count", "moved_on", "phase")

    def __init__(self, phase: int) -> None:
        self.count = 1
        self.phase = phase
        self.moved_on = False


class Transaction:
    """Touchpoints of a journey within the transaction gap or of one conversation; `id`: its first one's."""

    __slots__ = ("channel", "completed", "id", "types")

    def __init__(self, id: str) -> None:
        self.id = id
        self.channel = ""  # of its latest touchpoint
        self.completed = False  # an attempt was completed in it
        self.types: dict[str, TypeCount] = {}

    def take(self, type_: str, phase: int) -> int:
        """A touchpoint of this type and phase comes: how many of its type since nobody went further, or 0."""
        known = self.types.get(type_)
        for count in self.types.values():
            if not count.moved_on and count.phase < phase and count is not known:
                count.moved_on = True
        if known is None:
            self.types[type_] = TypeCount(phase)
            return 1
        known.count += 1
        reached = 0 if known.moved_on else known.count
        if known.phase < phase:
            known.moved_on = True
        return reached


class Journey:
    """A journey as far as it is known."""

    __slots__ = ("changed", "conversations", "furthest", "id", "pain", "paved", "persona_rule", "places")

    def __init__(self, id: str, model: JourneyModel) -> None:
        self.id = id
        self.places: list[Place] = []
        self.conversations: dict[str, Transaction] = {}
        self.furthest = 0
        self.persona_rule = len(model.persona_rules)  # place of the first one that held so far
        self.pain: NearestPain | None = None
        self.paved: array[int] | None = begin(model.paved_costs) if model.paved_costs else None
        self.changed = False  # its row is to be sent


class NearestPain(NamedTuple):
    """The latest pain point of a journey; of several at one touchpoint the worst, then the first by name."""

    ordinal: int
    severity: float
    kind: str
    id: str  # of the touchpoint

    def yields_to(self, other: "NearestPain") -> bool:
        """Whether the other one is nearer to what follows."""
        mine, its = (self.ordinal, self.severity), (other.ordinal, other.severity)
        return mine < its or (mine == its and other.kind < self.kind)


class Place:
    """A touchpoint's place in its customer's life cycle, and what is said of it so far."""

    __slots__ = (
        "already", "attempts", "delights", "drop_off", "journey", "move", "ordinal", "pain", "pains", "phase",
        "profile", "stale", "touchpoint", "transaction", "verdict", "weight",
    )  # fmt: skip

    def __init__(self, touchpoint: Touchpoint, profile: TypeProfile, journey: Journey, already: bool) -> None:
        self.touchpoint = touchpoint
        self.profile = profile
        self.journey = journey
        self.ordinal = len(journey.places) + 1
        self.already = already
        self.phase = 0
        self.move: PhaseMove = "enter"
        self.transaction: Transaction
        self.weight = 0.0
        self.pains: tuple[PainPoint, ...] = ()  # abandonment is not among them: it hangs on `attempts`
        self.delights: tuple[str, ...] = ()
        self.attempts: tuple[AttemptState, ...] = ()
        self.drop_off: DropOff | None = None
        self.pain: NearestPain | None = None  # nearest before a drop-off that follows this touchpoint
        self.verdict: Verdict | None = None  # as it was last sent
        self.stale = True  # to be looked at when the customer is judged next


def untie(places: Iterable[Place]) -> None:
    """Nothing more is asked of these places, and they need not wait for the garbage collector.

    Journeys, attempts and places refer to each other in circles; a collector that finds them looks through the
    whole state of a worker each time.
    """
    for place in places:
        place.attempts = ()
        place.journey.places = []


def tombstone(id: str, started_at: int, version: int) -> JourneyRow:
    """Says that a touchpoint begins no journey (any more)."""
    return JourneyRow(id=id, started_at=started_at, version=version, deleted=True)


def journey_row(
    journey: Journey, customer_id: str, persona: str | None, version: int, model: JourneyModel
) -> JourneyRow:
    """The row of a journey whose places all have their verdicts.

    `persona` is what was said of the customer outside any touchpoint; it counts where none in the journey
    says. Where nobody says, the rules of the model do.
    """
    places = journey.places
    columns: list[tuple[str, int, str, str, str, float, str]] = []
    converting: list[int] = []
    campaigns: list[str] = []
    valued: list[Place] = []
    attempts: list[Attempt] = []
    pain_points = delights = recoveries = 0
    said_persona: str | None = None
    verdicts = [place.verdict for place in places if place.verdict is not None]
    # the row is made anew each time that something changes, so the journey is read once
    for place, verdict in zip(places, verdicts, strict=True):
        t = place.touchpoint
        columns.append(
            (t.id, t.occurred_at, t.type, t.channel, verdict.phase, place.weight, verdict.transaction_id)
        )
        if place.profile.converts:
            converting.append(t.occurred_at)
        if t.amount is not None:
            valued.append(place)
        if t.campaign is not None and t.campaign.name is not None:
            campaigns.append(t.campaign.name)
        if t.persona is not None:
            said_persona = t.persona
        if verdict.pain_points:
            pain_points += len(verdict.pain_points)
        if verdict.delights:
            delights += len(verdict.delights)
        if verdict.attempts:
            attempts += verdict.attempts
        if verdict.drop_off is not None and verdict.drop_off.recovered_at is not None:
            recoveries += 1
    ids, ats, types, channels, phases, weights, transaction_ids = zip(*columns, strict=True)
    if said_persona is not None:
        persona = said_persona
    elif persona is None and journey.persona_rule < len(model.persona_rules):
        persona = model.persona_rules[journey.persona_rule].persona
    outcomes = [attempt.outcome for attempt in attempts]
    silence = verdicts[-1].drop_off
    distance, steps = distance_and_steps(journey.paved) if journey.paved is not None else (None, 0)
    return JourneyRow(
        id=ids[0],
        started_at=ats[0],
        version=version,
        deleted=False,
        journey_id=journey.id,
        customer_id=customer_id,
        ended_at=ats[-1],
        closed=places[-1].profile.closes,
        touchpoint_ids=ids,
        ats=ats,
        types=types,
        channels=channels,
        phases=phases,
        weights=weights,
        transaction_ids=transaction_ids,
        current_phase=phases[-1],
        furthest_phase=model.phases[journey.furthest],
        converted_at=converting[0] if converting else None,
        conversions=len(converting),
        customer_already=places[0].already,
        campaign_first=campaigns[0] if campaigns else None,
        campaign_last=campaigns[-1] if campaigns else None,
        persona=persona,
        pain_points=pain_points,
        delights=delights,
        attempts_completed=outcomes.count("completed"),
        attempts_abandoned=outcomes.count("abandoned"),
        attempts_open=outcomes.count("open"),
        drop_off_at=silence.at if silence is not None else None,
        drop_off_phase=phases[-1] if silence is not None else None,
        recoveries=recoveries,
        values=_values(valued) if valued else {},
        shape=shape([place.phase for place in places]),
        paved_path_distance=distance,
        paved_path_steps=steps,
    )


def _values(places: list[Place]) -> dict[str, str]:
    """Currency to amount: converting touchpoints added, refunds subtracted, by decimal arithmetic."""
    sums: dict[str, Decimal] = {}
    for place in places:
        amount, currency = place.touchpoint.amount, place.touchpoint.currency
        if amount is None or currency is None or not (place.profile.converts or place.profile.refunds):
            continue
        try:
            value = Decimal(amount)
        except InvalidOperation:
            continue
        if value.is_finite():
            signed = value if place.profile.converts else -value
            sums[currency] = sums.get(currency, Decimal(0)) + signed
    return {currency: format(sums[currency], "f") for currency in sorted(sums)}
