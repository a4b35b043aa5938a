"""Conversion from phase to phase: of the journeys in a phase, how many went on, went back, stopped."""

from collections.abc import Sequence
from datetime import UTC, datetime, time
from typing import Any

import pandas as pd
from sqlalchemy import Engine, Select, func, select, text

from models.journey_model import default_model
from warehouse import views
from warehouse.answer import Answer, QuestionError, answer, ask, check_range, utc
from warehouse.statistics import wilson

BY = ("day", "campaign", "channel", "persona")
NONE_SAID = "(none)"


def conversion(
    connection: Engine,
    *,
    by: str = "day",
    since: datetime | None = None,
    until: datetime | None = None,
    phases: Sequence[str] | None = None,
) -> Answer:
    """One row per phase and day (of the beginning, UTC), campaign of first touch, first channel or persona.

    Columns: the one of `by`, phase, entered, forward, back, lost, open (journeys; one can be in forward and
    back), forward_rate (of those entered that are not open, 0–1; NaN: none is), lo, hi (95 %), converted. The
    range selects journeys by their beginning. `phases`: their order, from the journey model; that of the
    default model if None. QuestionError for another `by`.
    """
    if by not in BY:
        raise QuestionError(f'conversion by "{by}" is not known', remedy=f"It is by one of {', '.join(BY)}.")
    check_range(since, until)
    in_order = list(phases or default_model().phases)
    if by in ("day", "campaign") and _midnight(since) and _midnight(until):
        found = ask(connection, _stored(by, since, until))
    else:
        found = ask(connection, text(_worked_out(by, since, until)), _binds(in_order, since, until))
    frame = pd.DataFrame(found)
    order = {name: place for place, name in enumerate(in_order)}
    frame["_order"] = [order.get(name, len(order)) for name in frame["phase"]]
    largest = frame.groupby(by)["entered"].transform("max")
    frame["_size"] = 0 if by == "day" else -largest
    frame = (
        frame.sort_values(["_size", by, "_order"]).drop(columns=["_order", "_size"]).reset_index(drop=True)
    )
    decided = frame["entered"] - frame["open"]
    rates = [f / d if d else None for f, d in zip(frame["forward"], decided, strict=True)]
    bounds = [wilson(int(f), int(d)) for f, d in zip(frame["forward"], decided, strict=True)]
    place = list(frame.columns).index("converted")
    frame.insert(place, "forward_rate", pd.Series(rates, dtype="float64"))
    frame.insert(place + 1, "lo", pd.Series([low for low, _ in bounds], dtype="float64"))
    frame.insert(place + 2, "hi", pd.Series([high for _, high in bounds], dtype="float64"))
    return answer(frame, found.sql(), found.watermark)


_MEASURES = ("entered", "forward", "back", "lost", "open", "converted")


def _midnight(at: datetime | None) -> bool:
    """Whether the bound is one of days."""
    return at is None or utc(at).timetz() == time(tzinfo=UTC)


def _stored(by: str, since: datetime | None, until: datetime | None) -> Select[Any]:
    """From the days that the stream keeps."""
    s = views.stage_conversion_1d.c
    key = s.day if by == "day" else func.if_(s.campaign == "", NONE_SAID, s.campaign)
    sums = [func.sum(s[name]).label(name) for name in _MEASURES]
    question = select(key.label(by), s.phase, *sums).group_by(key, s.phase).having(func.sum(s.entered) > 0)
    if since is not None:
        question = question.where(s.day >= utc(since).date())
    if until is not None:
        question = question.where(s.day < utc(until).date())
    return question


# A journey counts once in every phase that it was in, as in the days that the stream keeps.
_JOURNEYS = """
select key as {by}, phase, count() as entered, countIf(forward) as forward, countIf(back) as back,
       countIf(lost) as lost, countIf(open) as open, countIf(converted) as converted
from (
    select {key} as key, phase,
           indexOf(:phases, phase) as rank, arraySlice(phases, indexOf(phases, phase) + 1) as after,
           arrayExists(later -> indexOf(:phases, later) > rank, after) as forward,
           arrayExists(later -> indexOf(:phases, later) < rank, after) as back,
           drop_off_at is not null and drop_off_phase = phase as lost,
           current_phase = phase and not forward and not lost as open,
           converted_at is not null as converted
    from journeys array join arrayDistinct(phases) as phase
    {where}
)
group by key, phase
"""
_KEYS = {
    "day": "started_on",
    "campaign": "if(campaign_first = '', :none, campaign_first)",
    "channel": "channels[1]",
    "persona": "if(persona = '', :none, persona)",
}


def _worked_out(by: str, since: datetime | None, until: datetime | None) -> str:
    """From the journeys themselves."""
    conditions = []
    if since is not None:
        conditions.append("started_at >= :since and started_on >= toDate(:since_day)")
    if until is not None:
        conditions.append("started_at < :until and started_on <= toDate(:until_day)")
    where = f"where {' and '.join(conditions)}" if conditions else ""
    return _JOURNEYS.format(by=by, key=_KEYS[by], where=where)


def _binds(phases: list[str], since: datetime | None, until: datetime | None) -> dict[str, Any]:
    return {
        "none": NONE_SAID,
        "phases": phases,
        "since": since,
        "until": until,
        "since_day": None if since is None else utc(since).date().isoformat(),
        "until_day": None if until is None else utc(until).date().isoformat(),
    }
