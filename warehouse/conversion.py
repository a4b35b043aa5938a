"""Conversion from phase to phase: of the journeys that were in a phase, how many went on, went back,
stopped.
"""

from collections.abc import Sequence
from datetime import date, datetime

import pandas as pd
from sqlalchemy import Engine, func, select, text

from models.journey_model import default_model
from warehouse import views
from warehouse.answer import Answer, QuestionError, answer, ask, check_range
from warehouse.statistics import wilson

BY = ("day", "campaign", "channel", "persona")
NO_CAMPAIGN = "(none)"


def conversion(
    connection: Engine,
    *,
    by: str = "day",
    since: datetime | None = None,
    until: datetime | None = None,
    phases: Sequence[str] | None = None,
) -> Answer:
    """One row per day (the journey's first, UTC), campaign of first touch, first channel or persona, and
    phase.

    Columns: the one of `by`, phase, entered, forward, back, lost, open (journeys; one can be in forward
    and back),
    forward_rate (of those entered that are not open, 0–1), lo, hi (95 %), converted. The range selects
    journeys by
    their first day. `phases`: their order; the default model's if None. QuestionError for another `by`.
    """
    if by not in BY:
        raise QuestionError(f'conversion by "{by}" is not known', remedy=f"It is by one of {', '.join(BY)}.")
    found = (
        _stored(connection, by, since, until)
        if by in ("day", "campaign")
        else _worked_out(connection, by, since, until)
    )
    frame = pd.DataFrame(found)
    order = {name: place for place, name in enumerate(phases or default_model().phases)}
    frame["_order"] = [order.get(name, len(order)) for name in frame["phase"]]
    largest = frame.groupby(by)["entered"].transform("max")
    frame["_size"] = 0 if by == "day" else -largest
    frame = (
        frame.sort_values(["_size", by, "_order"]).drop(columns=["_order", "_size"]).reset_index(drop=True)
    )
    decided = frame["entered"] - frame["open"]
    bounds = [wilson(int(f), int(d)) for f, d in zip(frame["forward"], decided, strict=True)]
    frame.insert(
        7, "forward_rate", [f / d if d else None for f, d in zip(frame["forward"], decided, strict=True)]
    )
    frame.insert(8, "lo", [low for low, _ in bounds])
    frame.insert(9, "hi", [high for _, high in bounds])
    return answer(frame, found.sql(), found.watermark)


_MEASURES = ("entered", "forward", "back", "lost", "open", "converted")


def _stored(connection: Engine, by: str, since: datetime | None, until: datetime | None) -> Answer:
    s = views.stage_conversion_1d.c
    key = s.day if by == "day" else func.if_(s.campaign == "", NO_CAMPAIGN, s.campaign)
    sums = [func.sum(s[name]).label(name) for name in _MEASURES]
    question = select(key.label(by), s.phase, *sums).group_by(key, s.phase).having(func.sum(s.entered) > 0)
    check_range(since, until)
    return ask(connection, question.where(s.day >= _first(since), s.day < _end(until)))


def _first(since: datetime | None) -> date:
    return since.date() if since is not None else date(1970, 1, 1)


def _end(until: datetime | None) -> date:
    return until.date() if until is not None else date(2149, 1, 1)


_JOURNEYS = """
select key as {by}, phase, count() as entered, countIf(forward) as forward, countIf(back) as back,
       countIf(lost) as lost, countIf(open) as open, countIf(converted) as converted
from (
    select if(empty({key}), :none, {key}) as key, phase,
           indexOf(:phases, phase) as rank, arraySlice(phases, indexOf(phases, phase) + 1) as after,
           arrayExists(later -> indexOf(:phases, later) > rank, after) as forward,
           arrayExists(later -> indexOf(:phases, later) < rank, after) as back,
           drop_off_at is not null and drop_off_phase = phase as lost,
           current_phase = phase and not forward and not lost as open,
           converted_at is not null as converted
    from journeys array join arrayDistinct(phases) as phase
    where toDate(started_at) >= :since and toDate(started_at) < :until
)
group by key, phase
"""


def _worked_out(connection: Engine, by: str, since: datetime | None, until: datetime | None) -> Answer:
    check_range(since, until)
    return ask(
        connection,
        text(_JOURNEYS.format(by=by, key={"channel": "channels[1]", "persona": "persona"}[by])),
        {
            "none": NO_CAMPAIGN,
            "phases": list(default_model().phases),
            "since": _first(since),
            "until": _end(until),
        },
    )
