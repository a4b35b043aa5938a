"""Drop-offs: in which phase, and after what, journeys fall silent; and who comes back."""

from datetime import datetime

from sqlalchemy import ColumnElement, Engine, func, literal_column, select

from warehouse import views
from warehouse.answer import Answer, ask, between


def drop_offs(connection: Engine, *, since: datetime | None = None, until: datetime | None = None) -> Answer:
    """One row per phase, channel and type of the last touchpoint, the most frequent first.

    Columns: phase, channel, type, drop_offs (that have not come back), recovered, recovery_rate (of all,
    0–1), pain_before (commonest kind of the nearest pain point before; empty: none). The range is of the
    drop-off's date.
    """
    d = views.drop_offs.c
    silent = func.countIf(d.recovered_at.is_(None))
    # topK has its parameter in brackets of its own, which func cannot say
    pain: ColumnElement[str] = literal_column("topKIf(1)(pain_kind, pain_kind != '')[1]")
    question = (
        select(
            d.phase,
            d.channel,
            d.type,
            silent.label("drop_offs"),
            func.countIf(d.recovered_at.is_not(None)).label("recovered"),
            func.divide(func.countIf(d.recovered_at.is_not(None)), func.count()).label("recovery_rate"),
            pain.label("pain_before"),
        )
        .where(*between(d.at, since, until))
        .group_by(d.phase, d.channel, d.type)
        .order_by(silent.desc(), d.phase, d.channel, d.type)
    )
    return ask(connection, question)
