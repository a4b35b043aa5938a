"""What was not taken, with its reason."""

from datetime import datetime

from sqlalchemy import Engine, select

from warehouse import views
from warehouse.answer import Answer, ask, between


def rejected(
    connection: Engine,
    *,
    reason: str | None = None,
    limit: int = 50,
    since: datetime | None = None,
    until: datetime | None = None,
) -> Answer:
    """The latest first. Columns: received_at, reason, source, source_instance, channel, detail, id."""
    r = views.rejected_touchpoints.c
    question = select(r.received_at, r.reason, r.source, r.source_instance, r.channel, r.detail, r.id)
    question = question.where(*between(r.received_at, since, until))
    if reason is not None:
        question = question.where(r.reason == reason)
    return ask(connection, question.order_by(r.received_at.desc(), r.id).limit(limit))


def rejection(connection: Engine, id: str) -> Answer:
    """One of them whole, with what was sent; no row if there is none of that id."""
    r = views.rejected_touchpoints
    return ask(connection, select(r).where(r.c.id == id))
