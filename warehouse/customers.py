"""One customer's whole story, whichever of their identifiers is given."""

from sqlalchemy import Engine, func, literal_column, select

from warehouse import views
from warehouse.answer import Answer, QuestionError, ask


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
            func.round(t.weight, 2).label("emotion"),
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
    """Everything the same customer goes by. Columns: identifier, first_linked_at (NaT: never linked),
    household_id.
    """
    i = views.identities.c
    owner = customer_of(connection, identifier)
    question = select(i.identifier, i.first_linked_at, i.household_id).where(i.customer_id == owner)
    return ask(connection, question.order_by(i.identifier))


def customer_of(connection: Engine, identifier: str) -> str:
    """The customer that an identifier belongs to. QuestionError if nobody, or more than one, goes by it."""
    i = views.identities.c
    named = i.identifier == identifier
    if ":" not in identifier:
        named = func.substring(i.identifier, func.position(i.identifier, ":") + 1) == identifier
    found = sorted(
        {str(owner) for owner in ask(connection, select(i.customer_id).where(named))["customer_id"]}
    )
    if not found:
        raise QuestionError(
            f'nobody goes by "{identifier}"',
            remedy="Write kind:value, e.g. email:ada@example.com or phone:+442079460000.",
        )
    if len(found) > 1:
        raise QuestionError(
            f'"{identifier}" names {len(found)} customers: {", ".join(found[:5])}', remedy="Write kind:value."
        )
    return found[0]
