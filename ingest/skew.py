"""Device clocks: corrected only where delivery cannot explain the difference."""

from models.touchpoint import TimeQuality

LEAST_SKEW_MS = 5 * 60_000
MOST_SKEW_MS = 7 * 86_400_000
_IMPORTED_MS = 48 * 3_600_000


def corrected(
    occurred_at: int, sent_at: int | None, received_at: int, *, first_attempt: bool
) -> tuple[int, TimeQuality]:
    """When it happened by our clock, and how that is known. All in UTC ms.

    The device's clock is off by `received_at − sent_at`. Less than 5 minutes may be a slow batch, and
    correcting by
    it would reorder a device's own touchpoints; more than 7 days, a retry, or a time far from `sent_at` is
    no skew.
    """
    if sent_at is None or not first_attempt or abs(occurred_at - sent_at) > _IMPORTED_MS:
        return occurred_at, "source"
    skew = received_at - sent_at
    if LEAST_SKEW_MS < abs(skew) < MOST_SKEW_MS:
        return occurred_at + skew, "skew_corrected"
    return occurred_at, "source"
