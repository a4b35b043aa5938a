"""One customer's whole story, whichever of their identifiers is given."""

import pandas as pd
from sqlalchemy import Engine, func, literal_column, select, text

from models.identifier import IdentifierOrder
from models.journey_model import default_model
from warehouse import views
from warehouse.answer import Answer, QuestionError, answer, ask
from warehouse.identities import spellings, unknown


def customer(connection: Engine, identifier: str) -> Answer:
    """One row per touchpoint, in order. `identifier`: `kind:value`, or the value alone if it is one person's.

    Columns: occurred_at, channel, type, phase, phase_move, emotion (−1…1), pain_points, delights, attempts,
    journey_id, customer_id, id. QuestionError if nobody, or more than one customer, goes by it.
    """
    owner = customer_of(connection, identifier)
    t = views.touchpoints.c
    return ask(
        connection,
        select(
            t.occurred_at,
            t.channel,
            t.type,
            t.phase,
            t.phase_move,
            func.round(func.toFloat64(t.weight), 2).label("emotion"),
            t.pain_kinds.label("pain_points"),
            t.delight_kinds.label("delights"),
            literal_column("arrayMap((k, o) -> concat(k, ' ', o), attempt_kinds, attempt_outcomes)").label(
                "attempts"
            ),
            t.journey_id,
            t.customer_id,
            t.id,
        )
        .where(t.customer_id == owner)
        .order_by(t.occurred_at, t.id),
    )


def identifiers(connection: Engine, identifier: str) -> Answer:
    """Everything the same customer goes by, the strongest first. Columns: identifier, first_linked_at (NaT:
    never linked), household_id.
    """
    i = views.identities.c
    owner = customer_of(connection, identifier)
    question = select(i.identifier, i.first_linked_at, i.household_id).where(i.customer_id == owner)
    found = ask(connection, question.order_by(i.identifier))
    rank = IdentifierOrder().rank
    ordered = found.sort_values("identifier", key=lambda names: names.map(rank), ignore_index=True)
    return answer(ordered, found.sql(), found.watermark)


def journeys(connection: Engine, identifier: str) -> Answer:
    """The customer's journeys, in order. Columns: started_at, ended_at, touchpoints, furthest_phase,
    current_phase, converted_at (NaT: not yet), campaign_first, pain_points, delights, attempts_abandoned,
    drop_off_at (NaT: none), recoveries, closed, journey_id.
    """
    j = views.journeys.c
    question = select(
        j.started_at,
        j.ended_at,
        func.length(j.types).label("touchpoints"),
        j.furthest_phase,
        j.current_phase,
        j.converted_at,
        j.campaign_first,
        j.pain_points,
        j.delights,
        j.attempts_abandoned,
        j.drop_off_at,
        j.recoveries,
        j.closed,
        j.journey_id,
    )
    owner = customer_of(connection, identifier)
    return ask(connection, question.where(j.customer_id == owner).order_by(j.started_at, j.id))


def links(connection: Engine, identifier: str) -> Answer:
    """How the customer's identifiers were joined: which were seen together, or told to be the same or not.

    One row per pair and way, the first time first. Columns: at (the first time), identifier_a (the stronger
    one), identifier_b, how (channel and type of the touchpoint, or the reason of the identification or
    correction), times.
    """
    owner = customer_of(connection, identifier)
    names = [str(name) for name in identifiers(connection, owner)["identifier"]]
    found = ask(connection, text(_SEEN_TOGETHER), {"customer": owner, "names": names})
    pairs = [
        {"at": at, "identifier_a": a, "identifier_b": b, "how": how, "times": times}
        for at, together, how, times in found.itertuples(index=False, name=None)
        for a in [min(together, key=IdentifierOrder().rank)]
        for b in together
        if b != a
    ]
    frame = pd.DataFrame(pairs, columns=["at", "identifier_a", "identifier_b", "how", "times"])
    by_pair = frame.groupby(["identifier_a", "identifier_b", "how"], as_index=False)
    frame = by_pair.agg(at=("at", "min"), times=("times", "sum"))
    frame = frame[["at", "identifier_a", "identifier_b", "how", "times"]]
    frame = frame.sort_values(["at", "identifier_a", "identifier_b", "how"], ignore_index=True)
    return answer(frame, found.sql(), found.watermark)


_SEEN_TOGETHER = """
select min(seen_at) as at, together, how, count() as times
from (
    select occurred_at as seen_at, identifiers as together, concat(channel, ' ', type) as how
    from touchpoints where customer_id = :customer
    union all
    select at as seen_at, identifiers as together,
           if(kind != 'identification', kind,
              if(JSONHas(element, 'reason'), JSONExtractString(element, 'reason'), 'identify')) as how
    from identification_rows final where hasAny(identifiers, :names)
)
where length(together) > 1
group by together, how
"""


def customer_of(connection: Engine, identifier: str) -> str:
    """The customer that an identifier belongs to, as it was sent or in its normal form.

    QuestionError if nobody, or more than one, goes by it.
    """
    i = views.identities.c
    value = func.substring(i.identifier, func.position(i.identifier, ":") + 1)
    for named in (i.identifier.in_(spellings(identifier, default_model())), value == identifier):
        found = ask(connection, select(i.customer_id).where(named).group_by(i.customer_id))
        owners = sorted(str(owner) for owner in found["customer_id"])
        if len(owners) > 1:
            raise QuestionError(
                f'"{identifier}" names {len(owners)} customers: {", ".join(owners[:5])}',
                remedy="Write kind:value.",
            )
        if owners:
            return owners[0]
    raise unknown(connection, identifier)
