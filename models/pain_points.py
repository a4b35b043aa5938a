"""Pain points: what hurts at a touchpoint, by the thresholds of the journey model. One function per kind.

A function gives the severity 0–1, or None where nothing hurts. Abandonment is said by the attempt itself.
"""

from collections.abc import Iterable

from models.journey import AttemptState, Transaction
from models.journey_model import JourneyModel, TypeProfile
from models.model_sections import PainRules
from models.touchpoint import Touchpoint
from models.verdict import PainPoint


class Context:
    """What the touchpoints before it say of a touchpoint."""

    __slots__ = ("of_its_type", "previous_channel", "repeated_contact", "transaction")

    def __init__(
        self, transaction: Transaction, previous_channel: str, of_its_type: int, repeated_contact: bool
    ) -> None:
        self.transaction = transaction  # as it was before the touchpoint
        self.previous_channel = (
            previous_channel  # of the touchpoint before it in its transaction; "" at its begin
        )
        self.of_its_type = (
            of_its_type  # how many in its transaction, itself included; 0 once one went further
        )
        self.repeated_contact = repeated_contact


def failed(touchpoint: Touchpoint, profile: TypeProfile, rules: PainRules) -> bool:
    """Whether something did not work: failure or payment_failed."""
    return profile.failure or profile.payment_failed or touchpoint.outcome in rules.failure_outcomes


def failure(touchpoint: Touchpoint, profile: TypeProfile, rules: PainRules) -> float | None:
    """Something did not work."""
    if profile.failure or touchpoint.outcome in rules.failure_outcomes:
        return rules.severity["failure"]
    return None


def payment_failed(profile: TypeProfile, rules: PainRules) -> float | None:
    """A payment did not go through."""
    return rules.severity["payment_failed"] if profile.payment_failed else None


def long_wait(touchpoint: Touchpoint, rules: PainRules) -> float | None:
    """Waiting for a human at least as long as the channel's threshold."""
    return _beyond(
        touchpoint.wait_ms, rules.long_wait_ms.get(touchpoint.channel), rules.severity["long_wait"]
    )


def long_hold(touchpoint: Touchpoint, rules: PainRules) -> float | None:
    """On hold at least as long as the channel's threshold."""
    return _beyond(
        touchpoint.hold_ms, rules.long_hold_ms.get(touchpoint.channel), rules.severity["long_hold"]
    )


def _beyond(value_ms: int | None, least_ms: int | None, severity: float) -> float | None:
    """`severity` at the threshold, growing in proportion, at most 1."""
    if value_ms is None or least_ms is None or value_ms < least_ms:
        return None
    return round(min(1.0, severity * value_ms / least_ms), 6) if least_ms else 1.0


def low_score(touchpoint: Touchpoint, rules: PainRules) -> float | None:
    """A survey's score at or below its threshold."""
    low = (
        (touchpoint.csat is not None and touchpoint.csat <= rules.csat)
        or (touchpoint.nps is not None and touchpoint.nps <= rules.nps)
        or (touchpoint.ces is not None and touchpoint.ces <= rules.ces)
    )
    return rules.severity["low_score"] if low else None


def negative_sentiment(touchpoint: Touchpoint, rules: PainRules) -> float | None:
    """What was said or written sounds unhappy; as severe as it sounds."""
    sentiment = touchpoint.sentiment
    if sentiment is None or sentiment > rules.sentiment:
        return None
    return round(min(1.0, -sentiment), 6)


def repeat_contact(context: Context, rules: PainRules) -> float | None:
    """The customer began another conversation on the same topic not long before."""
    return rules.severity["repeat_contact"] if context.repeated_contact else None


def channel_switch(touchpoint: Touchpoint, context: Context, rules: PainRules) -> float | None:
    """The customer had to turn to people in the middle of a transaction that got nothing done."""
    if context.transaction.completed or (context.previous_channel, touchpoint.channel) not in rules.switches:
        return None
    return rules.severity["channel_switch"]


def transfer(touchpoint: Touchpoint, rules: PainRules) -> float | None:
    """Handed on again and again."""
    transfers = touchpoint.transfers
    return rules.severity["transfer"] if transfers is not None and transfers >= rules.transfers else None


def loop(profile: TypeProfile, context: Context, rules: PainRules) -> float | None:
    """The same again in one transaction, and nothing went further."""
    return rules.severity["loop"] if profile.may_loop and context.of_its_type >= rules.loop_least else None


def complaint(touchpoint: Touchpoint, profile: TypeProfile, rules: PainRules) -> float | None:
    """The customer says that something is wrong."""
    if profile.complaint or touchpoint.topic in rules.complaint_topics:
        return rules.severity["complaint"]
    return None


def refund(profile: TypeProfile, rules: PainRules) -> float | None:
    """Money goes back."""
    return rules.severity["refund"] if profile.refund else None


def abandonment(attempts: Iterable[AttemptState]) -> PainPoint | None:
    """Of the attempts that a touchpoint opened, the abandoned one that hurts most."""
    severity = max((attempt.kind.severity for attempt in attempts if attempt.lost), default=None)
    return None if severity is None else PainPoint("abandonment", severity)


def pain_points(
    touchpoint: Touchpoint, profile: TypeProfile, context: Context, model: JourneyModel
) -> tuple[PainPoint, ...]:
    """All pain points of a touchpoint but abandonment, in the order of `PAIN_KINDS`."""
    t, rules = touchpoint, model.pain
    found: list[tuple[str, float | None]] = []
    # Most touchpoints hurt in no way: what is absent is not asked about.
    if t.outcome is not None or profile.failure:
        found.append(("failure", failure(t, profile, rules)))
    if profile.payment_failed:
        found.append(("payment_failed", payment_failed(profile, rules)))
    if t.wait_ms is not None:
        found.append(("long_wait", long_wait(t, rules)))
    if t.hold_ms is not None:
        found.append(("long_hold", long_hold(t, rules)))
    if t.csat is not None or t.nps is not None or t.ces is not None:
        found.append(("low_score", low_score(t, rules)))
    if t.sentiment is not None:
        found.append(("negative_sentiment", negative_sentiment(t, rules)))
    if context.repeated_contact:
        found.append(("repeat_contact", repeat_contact(context, rules)))
    if context.previous_channel != t.channel:
        found.append(("channel_switch", channel_switch(t, context, rules)))
    if t.transfers is not None:
        found.append(("transfer", transfer(t, rules)))
    if context.of_its_type > 1:
        found.append(("loop", loop(profile, context, rules)))
    if t.topic is not None or profile.complaint:
        found.append(("complaint", complaint(t, profile, rules)))
    if profile.refund:
        found.append(("refund", refund(profile, rules)))
    if not found:
        return ()
    return tuple([PainPoint(kind, severity) for kind, severity in found if severity is not None])
