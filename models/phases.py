"""Which phase a touchpoint stands for, and how a journey moves through the phases."""

from models.journey import PhaseMove
from models.journey_model import TypeProfile, matches
from models.touchpoint import Touchpoint


def phase_of(touchpoint: Touchpoint, profile: TypeProfile, customer_already: bool) -> int | None:
    """Place of the phase that the first matching rule gives; None: none does, the journey keeps its own."""
    if profile.phase_known:
        return profile.phase_already if customer_already else profile.phase
    for rule, place in profile.rules:
        if matches(rule, touchpoint, customer_already):
            return place
    return None


def move(before: int, now: int) -> PhaseMove:
    """How a journey moved from the phase of the touchpoint before."""
    if now > before:
        return "forward"
    return "back" if now < before else "stay"
