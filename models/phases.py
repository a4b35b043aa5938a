"""Which phase a touchpoint stands for, and how a journey moves through the phases."""

from collections.abc import Iterable
from typing import Literal

from models.journey_model import TypeProfile
from models.rules import matches
from models.touchpoint import Touchpoint

PhaseMove = Literal["enter", "forward", "back", "stay"]
Shape = Literal["linear", "non_linear", "cyclical"]


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


def shape(phases: Iterable[int]) -> Shape:
    """How a journey went through the phases, given the place of the phase of each touchpoint.

    `cyclical`: it came back into a phase that it had left. `non_linear`: it moved back, and entered no phase
    twice. `linear`: it never moved back; staying and leaving phases out are allowed.
    """
    entered: set[int] = set()
    last = -1
    moved_back = False
    for phase in phases:
        if phase == last:
            continue
        if phase in entered:
            return "cyclical"
        moved_back = moved_back or phase < last
        entered.add(phase)
        last = phase
    return "non_linear" if moved_back else "linear"
