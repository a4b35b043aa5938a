"""The row of a journey, and its id."""

from decimal import Decimal, InvalidOperation
from hashlib import blake2b

from models.journey import Journey, Place
from models.journey_model import JourneyModel
from models.paved_path import distance_and_steps
from models.phases import shape
from models.verdict import Attempt, JourneyRow


def journey_id(customer_id: str, first_touchpoint_id: str) -> str:
    """Hash of the customer and the journey's first touchpoint, 32 hexadecimal digits."""
    return blake2b(f"{customer_id}\n{first_touchpoint_id}".encode(), digest_size=16).hexdigest()


def tombstone(id: str, started_at: int, version: int) -> JourneyRow:
    """Says that a touchpoint begins no journey (any more)."""
    return JourneyRow(id=id, started_at=started_at, version=version, deleted=True)


def journey_row(
    journey: Journey, customer_id: str, persona: str | None, version: int, model: JourneyModel
) -> JourneyRow:
    """The row of a journey whose places all have their verdicts.

    `persona` is what was said of the customer outside any touchpoint; it counts where none in the journey
    says. Where nobody says, the rules of the model do.
    """
    places = journey.places
    columns: list[tuple[str, int, str, str, str, float, str]] = []
    converting: list[int] = []
    campaigns: list[str] = []
    valued: list[Place] = []
    attempts: list[Attempt] = []
    pain_points = delights = recoveries = 0
    said_persona: str | None = None
    verdicts = [place.verdict for place in places if place.verdict is not None]
    # the row is made anew each time that something changes, so the journey is read once
    for place, verdict in zip(places, verdicts, strict=True):
        t = place.touchpoint
        columns.append(
            (t.id, t.occurred_at, t.type, t.channel, verdict.phase, place.weight, verdict.transaction_id)
        )
        if place.profile.converts:
            converting.append(t.occurred_at)
        if t.amount is not None:
            valued.append(place)
        if t.campaign is not None and t.campaign.name is not None:
            campaigns.append(t.campaign.name)
        if t.persona is not None:
            said_persona = t.persona
        if verdict.pain_points:
            pain_points += len(verdict.pain_points)
        if verdict.delights:
            delights += len(verdict.delights)
        if verdict.attempts:
            attempts += verdict.attempts
        if verdict.drop_off is not None and verdict.drop_off.recovered_at is not None:
            recoveries += 1
    ids, ats, types, channels, phases, weights, transaction_ids = zip(*columns, strict=True)
    if said_persona is not None:
        persona = said_persona
    elif persona is None and journey.persona_rule < len(model.persona_rules):
        persona = model.persona_rules[journey.persona_rule].persona
    outcomes = [attempt.outcome for attempt in attempts]
    silence = verdicts[-1].drop_off
    distance, steps = distance_and_steps(journey.paved) if journey.paved is not None else (None, 0)
    return JourneyRow(
        id=ids[0],
        started_at=ats[0],
        version=version,
        deleted=False,
        journey_id=journey.id,
        customer_id=customer_id,
        ended_at=ats[-1],
        closed=places[-1].profile.closes,
        touchpoint_ids=ids,
        ats=ats,
        types=types,
        channels=channels,
        phases=phases,
        weights=weights,
        transaction_ids=transaction_ids,
        current_phase=phases[-1],
        furthest_phase=model.phases[journey.furthest],
        converted_at=converting[0] if converting else None,
        conversions=len(converting),
        customer_already=places[0].already,
        campaign_first=campaigns[0] if campaigns else None,
        campaign_last=campaigns[-1] if campaigns else None,
        persona=persona,
        pain_points=pain_points,
        delights=delights,
        attempts_completed=outcomes.count("completed"),
        attempts_abandoned=outcomes.count("abandoned"),
        attempts_open=outcomes.count("open"),
        drop_off_at=silence.at if silence is not None else None,
        drop_off_phase=phases[-1] if silence is not None else None,
        recoveries=recoveries,
        values=_values(valued) if valued else {},
        shape=shape([place.phase for place in places]),
        paved_path_distance=distance,
        paved_path_steps=steps,
    )


def _values(places: list[Place]) -> dict[str, str]:
    """Currency to amount: converting touchpoints added, refunds subtracted, by decimal arithmetic."""
    sums: dict[str, Decimal] = {}
    for place in places:
        amount, currency = place.touchpoint.amount, place.touchpoint.currency
        if amount is None or currency is None or not (place.profile.converts or place.profile.refunds):
            continue
        try:
            value = Decimal(amount)
        except InvalidOperation:
            continue
        if value.is_finite():
            signed = value if place.profile.converts else -value
            sums[currency] = sums.get(currency, Decimal(0)) + signed
    return {currency: format(sums[currency], "f") for currency in sorted(sums)}
