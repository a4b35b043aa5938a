"""Drop-offs: silence in the middle of a journey, longer than the patience of its phase.

A drop-off is dated at the touchpoint before it plus that patience, and carries the pain point nearest before
it. An abandonment counts among these only if a touchpoint had declared it by then: a patience that ran out is
the same silence under another name, and explains nothing.
"""

from models.journey import Place
from models.verdict import DropOff


def drop_off(place: Place, patience_ms: int, recovered_at: int | None) -> DropOff:
    """The drop-off after a touchpoint; `recovered_at`: when the customer came back within the journey."""
    nearest = place.pain
    return DropOff(
        place.touchpoint.occurred_at + patience_ms,
        recovered_at,
        nearest.kind if nearest else None,
        nearest.id if nearest else None,
    )
