"""Up to when one partition's events are taken as known: the watermark, in event time, UTC ms.

It only rises. Patience runs against it; what happened before it and comes later is never dropped, but
corrects what was said.
"""

from models.touchpoint import Touchpoint


class Watermark:
    """The watermark of one partition, `value`; starts from a persisted one.

    `allowed_lateness_ms`: how much later than its successors a touchpoint may usually come.
    `clock_tolerance_ms`: how far `occurred_at` may be ahead of `received_at` and still be believed.
    """

    __slots__ = ("allowed_lateness_ms", "clock_tolerance_ms", "value")

    def __init__(self, allowed_lateness_ms: int, clock_tolerance_ms: int, value: int = 0) -> None:
        self.allowed_lateness_ms = allowed_lateness_ms
        self.clock_tolerance_ms = clock_tolerance_ms
        self.value = value

    def observe(self, touchpoint: Touchpoint) -> int:
        """A touchpoint was read. It moves the watermark never beyond its `received_at`. Not for a file's."""
        at = touchpoint.occurred_at
        if at - self.allowed_lateness_ms <= self.value:  # most come after one that moved it further
            return self.value
        received_at = touchpoint.received_at
        if at > received_at + self.clock_tolerance_ms:
            at = received_at
        return self._raise_to(min(at - self.allowed_lateness_ms, received_at))

    def clock(self, at: int) -> int:
        """A clock record was read: whatever happened up to `at` has been sent."""
        return self._raise_to(at)

    def wall(self, now: int) -> int:
        """Live mode: `now` by the wall clock, and touchpoints come at most the allowed lateness late."""
        return self._raise_to(now - self.allowed_lateness_ms)

    def _raise_to(self, value: int) -> int:
        if value > self.value:
            self.value = value
        return self.value
