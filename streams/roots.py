"""The households of one partition: those lately touched as objects, the others resting as bytes.

An object takes twenty times the memory of its bytes; waking one costs about as much as folding its touchpoints.
"""

from collections.abc import Iterator

import lz4.block

from models.fold import Household
from models.held import Held
from models.journey_model import JourneyModel
from models.trimming import Trimmed

HOUSEHOLD_WEIGHT = 4
"""A household without elements takes as much memory as so many elements."""

_LOOK_EVERY = 20
_WORTH_COMPRESSING = 1_500  # bytes: two or three elements
_PLAIN, _LZ4 = b"p", b"z"


class Roots:
    """Households by root. `awake_limit`: elements that may be held as objects; None: all."""

    def __init__(self, model: JourneyModel, awake_limit: int | None = None) -> None:
        self._model = model
        self._limit = awake_limit
        self._awake: dict[str, Household] = {}  # the one touched last comes last
        self._resting: dict[str, bytes] = {}
        self._floors: dict[str, int] = {}
        self._woken = 0  # weight that was added since some were last let rest
        self._look_at = 0
        self._looks = 0

    def __len__(self) -> int:
        return len(self._awake) + len(self._resting)

    def __contains__(self, root: object) -> bool:
        return root in self._awake or root in self._resting

    def __iter__(self) -> Iterator[str]:
        yield from self._resting
        yield from self._awake

    @property
    def crowded(self) -> bool:
        """Whether many more are awake than should be, since nothing was let rest for long."""
        return self._limit is not None and self._woken > self._limit // 4

    @property
    def resting(self) -> int:
        """How many rest."""
        return len(self._resting)

    @property
    def oversized(self) -> int:
        """How many of those awake have more identifiers than may be joined."""
        return sum(household.oversized for household in self._awake.values())

    def get(self, root: str) -> Household | None:
        """The household of a root, awake."""
        household = self._awake.pop(root, None)
        if household is None:
            data = self._resting.pop(root, None)
            if data is None:
                return None
            household = Household.of(Held.decode(_unpacked(data)), self._model)
            self._woken += household.count + HOUSEHOLD_WEIGHT
        self._awake[root] = household
        return household

    def __getitem__(self, root: str) -> Household:
        household = self.get(root)
        if household is None:
            raise KeyError(root)
        return household

    def create(self, root: str) -> Household:
        """A household that was not known."""
        household = self._awake[root] = Household(root, self._model)
        self._woken += HOUSEHOLD_WEIGHT
        return household

    def trim(self, household: Household) -> Trimmed | None:
        """Let what is old of an awake household leave; what is kept of it, or None if nothing is to leave."""
        left = household.trim()
        if left is None:
            return None
        household, gone = left
        self._awake[household.household_id] = household
        return gone

    def pop(self, root: str) -> Held | None:
        """Take a household out: what it held."""
        self._floors.pop(root, None)
        household = self._awake.pop(root, None)
        if household is not None:
            held = household.held()
            household.let_go()
            return held
        data = self._resting.pop(root, None)
        return None if data is None else Held.decode(_unpacked(data))

    def floor(self, root: str) -> int:
        """How many elements were seen of the household before its state was lost."""
        return self._floors.get(root, 0)

    def raise_to(self, household: Household, seen: int, watermark: int) -> None:
        """Before the state was lost, `seen` elements were judged at `watermark`.

        What is said from now on has seen more: as many as before, and those that are held. That is a function
        of what came and not of its order, as a version must be.
        """
        more = seen - self.floor(household.household_id)
        if more > 0:
            self._floors[household.household_id] = seen
            household.see(more)
        household.watermark = max(household.watermark, watermark)

    def rest(self) -> None:
        """Nothing is owed of any household: let those rest that were not touched lately, beyond the limit."""
        if self._limit is None:
            return
        self._looks += 1
        if len(self._awake) <= self._look_at and self._looks % _LOOK_EVERY and not self.crowded:
            return
        self._woken = 0
        weight = sum(household.count + HOUSEHOLD_WEIGHT for household in self._awake.values())
        if weight > self._limit:
            for root in list(self._awake):
                household = self._awake.pop(root)
                self._resting[root] = _packed(household.held().encode())
                household.let_go()
                weight -= household.count + HOUSEHOLD_WEIGHT
                if weight <= self._limit * 0.9:
                    break
        self._look_at = int(len(self._awake) * 1.05)


def _packed(data: bytes) -> bytes:
    # most are small, and each compression lets other threads run before it goes on
    return _PLAIN + data if len(data) < _WORTH_COMPRESSING else _LZ4 + lz4.block.compress(data)


def _unpacked(data: bytes) -> bytes:
    return data[1:] if data[:1] == _PLAIN else lz4.block.decompress(data[1:])
