"""How journeys pass through the phases: where they come from, how long they stay, where they go.

A visit is an unbroken stay in one phase: a journey that comes back visits it again. The time from a touchpoint to
the next belongs to the phase of the first of the two.
"""

# ruff: noqa: S608  the SQL is put together from names of ours; values are bound

import pandas as pd
from sqlalchemy import Engine, text

from models.journey_model import JourneyModel
from warehouse.answer import Answer, ask
from warehouse.binds import Binds
from warehouse.map_touchpoints import Places
from warehouse.scope import where

BEGIN, END, LOST, OPEN = "(begin)", "(end)", "(lost)", "(open)"
"""Where journeys come from and go to besides phases: the journey's beginning; its end, closed or past the gap that
cuts journeys; silence beyond the patience of the phase; still there.
"""


def stays(connection: Engine, places: Places, model: JourneyModel) -> Answer:
    """Per place, of the journeys that began in the period and were in the phase: journeys, journeys_forward,
    journeys_lost, journeys_open (by the rules of `warehouse.conversion`: each is one of the three),
    journeys_converted; time in the phase: mean_ms, sd_ms, p10_ms, median_ms, p90_ms (over journeys, all visits).
    """
    binds = Binds()
    return ask(
        connection,
        text(f"""
            select {places.key}, count() as journeys, countIf(forward) as journeys_forward,
                   countIf(not forward and ended) as journeys_lost,
                   countIf(not forward and not ended) as journeys_open,
                   countIf(converted) as journeys_converted,
                   avg(in_phase_ms) as mean_ms, if(count() > 1, stddevSampStable(in_phase_ms), nan) as sd_ms,
                   quantilesExactInclusive(0.1, 0.5, 0.9)(in_phase_ms) as spread,
                   spread[1] as p10_ms, spread[2] as median_ms, spread[3] as p90_ms
            from ({in_phase(places, model, binds)})
            group by {places.key} order by {places.key}"""),
        binds,
    )


def in_phase(places: Places, model: JourneyModel, binds: Binds) -> str:
    """SQL: a row per journey that began in the period and phase that it was in: phase, persona, ended, converted,
    forward, in_phase_ms.
    """
    order = f"[{', '.join(binds.bound(phase) for phase in model.phases)}]"
    return f"""
        select toString(one) as phase, persona, closed or drop_off_at is not null as ended,
               converted_at is not null as converted,
               arrayExists(later -> indexOf({order}, later) > indexOf({order}, one),
                           arraySlice(phases, indexOf(phases, one) + 1)) as forward,
               arraySum((gap, of) -> if(of = one, gap, 0),
                        arrayMap(n -> toUnixTimestamp64Milli(ats[n + 1]) - toUnixTimestamp64Milli(ats[n]),
                                 range(1, length(ats))),
                        arrayPopBack(phases)) as in_phase_ms
        from journeys array join arrayDistinct(phases) as one {_chosen(places, binds)}"""


def flows(connection: Engine, places: Places, model: JourneyModel) -> tuple[pd.DataFrame, pd.DataFrame, str]:
    """Entries and exits of the visits to each phase, by journeys that began in the period; and their SQL.

    Entries: the place, came_from (a phase or `(begin)`), visits, share (of all visits to the phase, 0–1). Exits: the
    place, went_to (a phase, `(end)`, `(lost)` or `(open)`), visits, share. The most walked first.
    """
    binds = Binds()
    gap = binds.bound(model.journey_gap_ms)
    found = ask(
        connection,
        text(f"""
            select {places.key}, came_from, went_to, count() as visits
            from (
                select persona, arrayMap(one -> toString(one), arrayCompact(phases)) as visited,
                       multiIf(drop_off_at is not null, '{LOST}',
                               closed or addMilliseconds(ended_at, {gap}) < up_to, '{END}', '{OPEN}') as ending
                from journeys
                cross join (select min(w) as up_to from
                            (select max(watermark) as w from watermarks group by `partition`)) as known
                {_chosen(places, binds)}
            )
            array join visited as phase, arrayPushFront(arrayPopBack(visited), '{BEGIN}') as came_from,
                       arrayPushBack(arrayPopFront(visited), ending) as went_to
            group by {places.key}, came_from, went_to"""),
        binds,
    )
    entries, exits = (_shares(pd.DataFrame(found), places, side) for side in ("came_from", "went_to"))
    return entries, exits, found.sql()


def _shares(visits: pd.DataFrame, places: Places, side: str) -> pd.DataFrame:
    keys = list(places.keys)
    summed = visits.groupby([*keys, side], as_index=False)[["visits"]].sum()
    summed["share"] = (summed["visits"] / summed.groupby(keys)["visits"].transform("sum")).astype("float64")
    return summed.sort_values(
        [*keys, "visits", side], ascending=[True] * len(keys) + [False, True], ignore_index=True
    )


def _chosen(places: Places, binds: Binds) -> str:
    scope = places.scope
    return where(scope.period("started_at", "started_on", binds), scope.of_journeys(binds))
