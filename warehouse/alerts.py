"""Alerts: spikes of abandonment, open and resolved."""

from datetime import datetime
from typing import Annotated

from sqlalchemy import Engine, select
from typing_extensions import Doc

from warehouse import views
from warehouse.analysis import analysis
from warehouse.answer import Answer, ask, between

_HIDDEN = ("id", "observed_rate", "expected_rate", "attempts", "abandoned", "probability")


@analysis("alerts", hidden=_HIDDEN)
def alerts(
    connection: Engine,
    *,
    since: Annotated[datetime | None, Doc("Opened from this time on: 2026-11-02, or 7d ago.")] = None,
    until: Annotated[datetime | None, Doc("Opened before this time.")] = None,
    open_only: Annotated[bool, Doc("Only those that are not resolved.")] = False,
) -> Answer:
    """Spikes of abandonment, open and resolved.

    One row per alert, the newest first. Columns: opened_at, resolved_at (NaT: open), kind, channel,
    observed_rate, expected_rate (0–1), attempts, abandoned, probability (of so many by luck), message, id.
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
