"""Device clocks: corrected only where delivery cannot explain the difference."""

from models.touchpoint import TimeQuality

SMALLEST_MS = 5 * 60_000
"""Less may be the delivery time of a slow batch; correcting by it would reorder a device's events."""
LARGEST_MS = 7 * 86_400_000
IMPORT_AFTER_MS = 48 * 3_600_000
"""An event that lies this far from the sending is an import: its time stands."""


def corrected(at: int, sent_at: int | None, received_at: int, *, retries: int = 0) -> tuple[int, TimeQuality]:
    """When it happened (UTC ms), and how that is known.

    The difference of receiving and sending is taken for the device's error where it is larger than 5 minutes
    and smaller than 7 days, and the event happened within 48 hours of the sending. `retries`: a client that
    sends again may not restamp `sent_at`, so that its delay would look like skew.
    """
    if sent_at is None or retries:
        return at, "source"
    skew = received_at - sent_at
    if not SMALLEST_MS < abs(skew) < LARGEST_MS or abs(at - sent_at) > IMPORT_AFTER_MS:
        return at, "source"
    return at + skew, "skew_corrected"
