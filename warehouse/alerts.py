"""Alerts: spikes of abandonment, open and resolved."""

from datetime import datetime

from sqlalchemy import Engine, select

from warehouse import views
from warehouse.answer import Answer, ask, between


def alerts(
    connection: Engine,
    *,
    since: datetime | None = None,
    until: datetime | None = None,
    open_only: bool = False,
) -> Answer:
    """One row per alert, the newest first; the range is of its opening.

    Columns: opened_at, resolved_at (NaT: open), kind, channel, observed_rate, expected_rate (0–1), attempts,
    abandoned, probability (of so many by luck), message, id.
    """
    a = views.alerts.c
    question = select(
        a.opened_at,
        a.resolved_at,
        a.kind,
        a.channel,
        a.observed_rate,
        a.expected_rate,
        a.attempts,
        a.abandoned,
        a.probability,
        a.message,
        a.id,
    ).where(*between(a.opened_at, since, until))
    if open_only:
        question = question.where(a.resolved_at.is_(None))
    return ask(connection, question.order_by(a.opened_at.desc(), a.id))
