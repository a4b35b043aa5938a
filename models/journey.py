"""The levels of a customer's life cycle: journeys, service transactions, and touchpoints at their places in both.

A journey knows its places, a place its journey and its transaction, an attempt the place that opened it.
"""

from array import array
from collections.abc import Iterable
from typing import NamedTuple

from models.journey_model import JourneyModel, TypeProfile
from models.model_sections import AttemptKind
from models.paved_path import begin
from models.phases import PhaseMove
from models.touchpoint import Touchpoint
from models.verdict import Attempt, DropOff, PainPoint, Verdict


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


class AttemptState:
    """One attempt, opened at `place`, with patience until `deadline`."""

    __slots__ = (
        "abandoned", "completed", "deadline", "ended_at", "ended_by", "expired", "kind", "place",
        "recovered_at", "scheduled",
    )  # fmt: skip

    def __init__(self, kind: AttemptKind, place: Place, deadline: int) -> None:
        self.kind = kind
        self.place = place
        self.deadline = deadline
        self.completed = False
        self.abandoned = False  # by an explicit touchpoint
        self.expired = False  # the watermark has passed the deadline
        self.scheduled = False  # it waits for the watermark
        self.ended_at = 0
        self.ended_by: str | None = None
        self.recovered_at: int | None = None  # meant only if it was abandoned

    @property
    def lost(self) -> bool:
        """Whether it is abandoned, as far as the watermark goes."""
        return self.abandoned or (self.expired and not self.completed)

    def said(self) -> Attempt:
        """What is said of it."""
        if self.completed:
            return Attempt(self.kind.kind, "completed", self.ended_at, None, self.ended_by)
        if self.abandoned:
            return Attempt(self.kind.kind, "abandoned", self.ended_at, self.recovered_at, self.ended_by)
        if self.expired:
            return Attempt(self.kind.kind, "abandoned", self.deadline, self.recovered_at)
        return Attempt(self.kind.kind, "open")


def untie(places: Iterable[Place]) -> None:
    """Nothing more is asked of these places, and they need not wait for the garbage collector.

    Journeys, attempts and places refer to each other in circles; a collector that finds them looks through the
    whole state of a worker each time.
    """
    for place in places:
        place.attempts = ()
        place.journey.places = []
