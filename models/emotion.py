"""How a touchpoint feels: its weight from pain −1 to delight +1, its delights, and the emotion of a phase."""

from collections.abc import Sequence

from models.journey_model import JourneyModel, TypeProfile
from models.touchpoint import Touchpoint

DECIMALS = 6
"""Weights and severities are rounded to this many: equal ones are equal however they were added up."""


def csat_weight(csat: float) -> float:
    """1…5 on the scale −1…1."""
    return _cut((csat - 3) / 2)


def nps_weight(nps: float) -> float:
    """0…10 on the scale −1…1: passives (7, 8) about nought."""
    return _cut((nps - 7.5) / 2.5)


def ces_weight(ces: float) -> float:
    """1…7 on the scale −1…1."""
    return _cut((ces - 4) / 3)


def weight(
    touchpoint: Touchpoint, profile: TypeProfile, repeated_failure: bool, model: JourneyModel
) -> float:
    """The type's weight, moved by wait, hold, transfers and repeated failure; then the mean with scores.

    A repeated failure makes pain worse and no delight greater.
    """
    t, by = touchpoint, model.modifiers
    value = profile.weight if profile.score is None else _scored(t, profile)
    if t.wait_ms is not None and t.wait_ms > by.wait_beyond_ms:
        value += max(by.wait_most, by.wait_weight * ((t.wait_ms - by.wait_beyond_ms) // by.wait_each_ms))
    if t.hold_ms is not None and t.hold_ms > by.hold_beyond_ms:
        value += max(by.hold_most, by.hold_weight * ((t.hold_ms - by.hold_beyond_ms) // by.hold_each_ms))
    if t.transfers is not None and t.transfers > by.transfers_beyond:
        value += by.transfer_weight * (t.transfers - by.transfers_beyond)
    if repeated_failure and value < 0:
        value *= by.repeated_failure_factor
    if t.csat is not None or t.nps is not None or t.sentiment is not None:
        scores = []
        if t.csat is not None:
            scores.append(csat_weight(t.csat))
        if t.nps is not None:
            scores.append(nps_weight(t.nps))
        if t.sentiment is not None:
            scores.append(_cut(t.sentiment))
        value = (value + sum(scores) / len(scores)) / 2
    return round(_cut(value), DECIMALS) + 0.0  # + 0.0: there is one nought


def _scored(t: Touchpoint, profile: TypeProfile) -> float:
    """The weight of a type that is a score; nought where the score is missing."""
    if profile.score == "csat":
        return csat_weight(t.csat) if t.csat is not None else 0.0
    if profile.score == "nps":
        return nps_weight(t.nps) if t.nps is not None else 0.0
    if profile.score == "ces":
        return ces_weight(t.ces) if t.ces is not None else 0.0
    if profile.score == "sentiment":
        return _cut(t.sentiment) if t.sentiment is not None else 0.0
    rating = t.properties.get("rating")
    return csat_weight(rating) if isinstance(rating, int | float) and not isinstance(rating, bool) else 0.0


def delights(
    touchpoint: Touchpoint, profile: TypeProfile, first_contact: bool, model: JourneyModel
) -> tuple[str, ...]:
    """What delights at a touchpoint, in the order of `DELIGHT_KINDS`.

    `first_contact`: its conversation was begun by the customer and was no repeat contact.
    """
    t, rules = touchpoint, model.delight
    found: list[str] = []
    if (
        (t.csat is not None and t.csat >= rules.csat)
        or (t.nps is not None and t.nps >= rules.nps)
        or (t.ces is not None and t.ces >= rules.ces)
    ):
        found.append("high_score")
    if t.sentiment is not None and t.sentiment >= rules.sentiment:
        found.append("positive_sentiment")
    if profile.fast_answer and t.wait_ms is not None and t.wait_ms <= rules.fast_answer_ms.get(t.channel, -1):
        found.append("fast_answer")
    if profile.resolves and first_contact and rules.first_contact_resolution and not t.transfers:
        found.append("first_contact_resolution")
    return (*found, *profile.type_delights) if found else profile.type_delights


def phase_emotion(weights: Sequence[float]) -> float | None:
    """Emotion of a phase: the mean weight of its touchpoints; None if it has none."""
    return sum(weights) / len(weights) if weights else None


def _cut(value: float) -> float:
    return max(-1.0, min(1.0, value))
