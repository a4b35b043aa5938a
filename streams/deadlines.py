"""Deadlines of households: when patience runs out. The watermark of the partition fires them."""

from heapq import heapify, heappop, heappush

_SLACK = 1_000


class Deadlines:
    """One deadline per household, UTC ms."""

    def __init__(self) -> None:
        self._heap: list[tuple[int, str]] = []
        self._at: dict[str, int] = {}

    def __len__(self) -> int:
        return len(self._at)

    def set(self, household_id: str, at: int | None) -> None:
        """From now on the household's deadline is `at`; None: it has none."""
        if at is None:
            self._at.pop(household_id, None)
        elif self._at.get(household_id) != at:
            self._at[household_id] = at
            heappush(self._heap, (at, household_id))
            if len(self._heap) > 2 * len(self._at) + _SLACK:
                self._heap = [(at, household_id) for household_id, at in self._at.items()]
                heapify(self._heap)

    def before(self, watermark: int) -> bool:
        """Whether there may be a deadline before the watermark."""
        return bool(self._heap) and self._heap[0][0] < watermark

    def due(self, watermark: int) -> list[str]:
        """The households whose deadline lies before the watermark, and take them out."""
        found: list[str] = []
        while self._heap and self._heap[0][0] < watermark:
            at, household_id = heappop(self._heap)
            if self._at.get(household_id) == at:
                del self._at[household_id]
                found.append(household_id)
        return found
