"""Pain points: what hurts, where, how often and how badly."""

from datetime import datetime

from sqlalchemy import Engine, func, select

from warehouse import views
from warehouse.answer import Answer, ask, between


def pain_points(
    connection: Engine, *, since: datetime | None = None, until: datetime | None = None
) -> Answer:
    """One row per kind, phase and channel, what hurts most first.

    Columns: kind, phase, channel, pain_points, customers, severity (mean, 0–1), hurt (sum of severities).
    The range is of the touchpoint's time.
    """
    p = views.pain_points.c
    hurt = func.round(func.sum(p.severity), 2)
    question = (
        select(
            p.kind,
            p.phase,
            p.channel,
            func.count().label("pain_points"),
            func.uniqExact(p.customer_id).label("customers"),
            func.round(func.avg(p.severity), 3).label("severity"),
            hurt.label("hurt"),
        )
        .where(*between(p.at, since, until))
        .group_by(p.kind, p.phase, p.channel)
        .order_by(hurt.desc(), p.kind, p.phase, p.channel)
    )
    return ask(connection, question)
