"""The desire line: where people leave the path that was paved for them, and what the detours cost.

Each journey is laid beside the paved path of the journey model (`warehouse.alignment`). From a step that it walked it
went *straight* on if it walked the next step without a detour and missed none in between; it *came back* if it walked
a later step otherwise; and if it walked none, it has *completed* the path where only optional steps are left, is
*open* while the journey is, and *lost* else. Who came back or is lost has left the path there.

What a detour costs is said against those who went straight on from the same step: in time until the step that most of
these walk next, and in conversions after the step. A journey that took several detours from a step counts in each.
"""

from collections.abc import Iterator
from math import nan
from typing import Annotated, Any

import pandas as pd
from sqlalchemy import Engine, text
from typing_extensions import Doc, Unpack

from models.paved_path import PavedStep
from warehouse import frames
from warehouse.alignment import aligned
from warehouse.among import Among, scope_of
from warehouse.analysis import analysis
from warehouse.answer import Answer, Measures, QuestionError, answer, ask
from warehouse.basis import model_of
from warehouse.binds import Binds
from warehouse.medians import median_bounds
from warehouse.scope import where
from warehouse.shift import shift
from warehouse.statistics import rate_difference, wilson

_SAMPLE = 500


@analysis(
    "desire-line", hidden=("decided", "optional", "converted", "straight_rate", "extra_lo_s", "extra_hi_s")
)
def desire_line(
    connection: Engine,
    *,
    least: Annotated[int, Doc("Leave out detours that fewer journeys took.")] = 10,
    most: Annotated[int, Doc("Show so many of the detours that cost most.")] = 30,
    **among: Unpack[Among],
) -> Answer:
    """How people walk the paved path: where they leave it, by which detours, and what these cost.

    One row per step of the path, in its order. Columns: step (from 1), name, optional, reached (journeys that walked
    it), straight, came_back, lost, open, completed (of these; see above), decided (straight, came back or lost), rate
    (of the decided, those who left the path: came back or lost, 0–1), lo, hi (95 %), left (how many), median_s (to
    the next step, of those who went straight).

    `parts`: `detours`, the costliest first: step (it leads away from), name, detour (type of a touchpoint on it),
    count (journeys), came_back, converted, decided, rate, straight_rate (conversion after the step), difference (of
    the two), lo, hi (95 %), conversions_lost (the difference × decided), extra_s (median time more until the next
    step), extra_lo_s, extra_hi_s (95 %; of at most 500 journeys each; NaN: nobody came back to it). `whole`:
    journeys, walked_whole (without any difference), and the mean distance. The period is of the journey's beginning.
    QuestionError if the journey model has no paved path.
    """
    scope, binds = scope_of(connection, among), Binds()
    if least < 1 or most < 1:
        raise QuestionError(
            "no number of detours is below 1", remedy="Leave least and most out, or let them be 1 or more."
        )
    model = model_of(connection)
    steps = model.paved_path.steps
    if not steps:
        raise QuestionError(
            f'the journey model "{model.name}" has no paved path',
            remedy="Write paved_path into it (docs/journey-model.md).",
        )
    chosen = where(scope.period("started_at", "started_on", binds), scope.of_journeys(binds))
    going = _going(aligned(model, chosen, binds))
    found = ask(connection, text(_legs(going)), binds)
    legs = pd.DataFrame(found).astype({name: "int64" for name in _COUNTS})
    whole = ask(
        connection,
        text(f"""
            select count() as journeys, countIf(paved_path_distance = 0) as walked_whole,
                   avg(paved_path_distance) as mean_distance
            from journeys {chosen}"""),  # noqa: S608
        binds,
    )
    return answer(
        frames.frame(_steps(legs, steps), _DTYPES),
        found.sql(),
        found.watermark,
        measures=Measures(
            keys=("step", "name"),
            counts=("reached",),
            rates={"rate": ("left", "decided")},
            intervals={"median_s": lambda: _medians(connection, going, binds, legs, steps)},
        ),
        parts={
            "detours": _detours(legs, steps, least).head(most).reset_index(drop=True),
            "whole": {
                "journeys": int(whole["journeys"][0]),
                "walked_whole": int(whole["walked_whole"][0]),
                "mean_distance": None
                if whole["mean_distance"].isna()[0]
                else float(whole["mean_distance"][0]),
            },
        },
        noun="steps",
    )


_COUNTS = ("step", "next", "clear", "count", "converted", "decided", "open")


def _going(alignment: str) -> str:
    """SQL: a row per journey, step that it walked, and detour from there (empty: the step itself)."""
    return f"""
            select journey_id, going_on, leg.1 as step, leg.3 as next, last_conversion > leg.2 as converts,
                   ms[if(leg.4 = 0, length(ms), leg.4)] - ms[leg.2] as gap,
                   arraySlice(types, leg.2 + 1, if(leg.4 = 0, length(types), leg.4 - 1) - leg.2) as between,
                   arraySlice(fits, leg.2 + 1, length(between)) as between_fits,
                   arrayDistinct(arrayFilter((t, f) -> not bitTest(f, step - 1), between, between_fits)) as detours,
                   empty(detours) as clear, arrayJoin(arrayPushFront(arrayMap(t -> toString(t), detours), '')) as detour
            from (
                select *, arrayJoin(arrayMap(
                    (a, b) -> (a.1, a.2, b.1, b.2), walked, arrayPushBack(arrayPopFront(walked), (0, toInt64(0)))
                )) as leg
                from ({alignment}) where notEmpty(walked)
            )"""  # noqa: S608  values are bound, names are ours


def _legs(going: str) -> str:
    """SQL: a row per step, next step (0: none), whether nothing lay or was missed between, and detour (empty: all)."""
    return f"""
        select step, next, clear, detour, count() as count, countIf(converts) as converted,
               countIf(converts or not going_on) as decided, countIf(not converts and going_on) as open,
               groupArraySorted({_SAMPLE})((cityHash64(journey_id), gap)) as sample,
               quantileExactInclusive(0.5)(gap) as median_ms
        from ({going})
        group by step, next, clear, detour"""  # noqa: S608  values are bound, names are ours


def _medians(
    connection: Engine, going: str, binds: Binds, legs: pd.DataFrame, steps: tuple[PavedStep, ...]
) -> list[tuple[float, float]]:
    """Of each step the interval of the median time until the next, s; NaN where fewer than six went straight on."""
    found = ask(
        connection, text(median_bounds("step, next, clear", "gap", f"({going}) where detour = ''")), binds
    )
    rows = found.itertuples(index=False, name=None)
    of = {(step, next_): (low / 1000, high / 1000) for step, next_, clear, low, high in rows if clear}
    numbers = range(1, len(steps) + 1)
    usual = (_straight(legs, number, steps)["next"].head(1) for number in numbers)
    return [of.get((number, next_.max()), (nan, nan)) for number, next_ in zip(numbers, usual, strict=True)]


def _goes_straight(step: int, following: int, steps: tuple[PavedStep, ...]) -> bool:
    """Whether no step that is not optional lies between."""
    return all(one.optional for one in steps[step : (following - 1) if following else len(steps)])


def _straight(legs: pd.DataFrame, step: int, steps: tuple[PavedStep, ...]) -> pd.DataFrame:
    """The legs of those who went straight on from a step, the most walked first."""
    here = legs[(legs["step"] == step) & (legs["detour"] == "") & (legs["clear"] == 1) & (legs["next"] > 0)]
    direct = pd.Series(
        [_goes_straight(step, following, steps) for following in here["next"]], index=here.index, dtype=bool
    )
    return here[direct].sort_values(["count", "next"], ascending=[False, True])


def _steps(legs: pd.DataFrame, steps: tuple[PavedStep, ...]) -> Iterator[tuple[Any, ...]]:
    for number, step in enumerate(steps, start=1):
        here = legs[(legs["step"] == number) & (legs["detour"] == "")]
        direct = pd.Series(
            [_goes_straight(number, n, steps) for n in here["next"]], index=here.index, dtype=bool
        )
        onward = here["next"] > 0
        straight_legs = _straight(legs, number, steps)
        straight, onwards = int(straight_legs["count"].sum()), int(here[onward]["count"].sum())
        completed = int(here[~onward & direct]["count"].sum())
        stopped = here[~onward & ~direct]
        still = int(stopped["open"].sum())
        lost = int(stopped["count"].sum()) - still
        left, decided = onwards - straight + lost, onwards + lost
        usual = straight_legs["median_ms"].head(1)
        yield (
            number, name_of(step), step.optional, int(here["count"].sum()), straight, onwards - straight, lost, still,
            completed, decided, left / decided if decided else None, *wilson(left, decided), left,
            float(usual.iloc[0]) / 1000 if len(usual) else None,
        )  # fmt: skip


def _detours(legs: pd.DataFrame, steps: tuple[PavedStep, ...], least: int) -> pd.DataFrame:
    rows = []
    for number, step in enumerate(steps, start=1):
        of_step = legs[legs["step"] == number]
        straight = _straight(legs, number, steps)
        usual = straight.head(1)
        won, of = int(straight["converted"].sum()), int(straight["decided"].sum())
        for detour, taken in of_step[of_step["detour"] != ""].groupby("detour"):
            count = int(taken["count"].sum())
            if count < least:
                continue
            converted, decided = int(taken["converted"].sum()), int(taken["decided"].sum())
            rate = converted / decided if decided else None
            straight_rate = won / of if of else None
            difference = None if rate is None or straight_rate is None else rate - straight_rate
            bounds = (None, None) if difference is None else rate_difference(won, of, converted, decided)
            back = taken[taken["next"] == int(usual["next"].iloc[0])] if len(usual) else taken.head(0)
            extra = (
                tuple(value / 1000 for value in shift(_gaps(usual), _gaps(back)))
                if len(back)
                else (None, None, None)
            )
            rows.append((
                number, name_of(step), detour, count, int(taken[taken["next"] > 0]["count"].sum()), converted, decided,
                rate, straight_rate, difference, *bounds, None if difference is None else -difference * decided, *extra,
            ))  # fmt: skip
    return frames.frame(rows, _DETOUR_DTYPES).sort_values(
        ["conversions_lost", "extra_s", "step", "detour"],
        ascending=[False, False, True, True],
        na_position="last",
    )


def _gaps(legs: pd.DataFrame) -> list[float]:
    return [float(gap) for sample in legs["sample"] for _, gap in sample]


def name_of(step: PavedStep) -> str:
    """A step as the journey model has it, e.g. `@Purchase|login?`."""
    names = [*sorted(step.types), *(f"@{phase}" for phase in sorted(step.phases))]
    return "|".join(names) + "?" * step.optional


_DTYPES = {
    "step": "int64", "name": "str", "optional": "bool", "reached": "int64", "straight": "int64",
    "came_back": "int64", "lost": "int64", "open": "int64", "completed": "int64", "decided": "int64",
    "rate": "float64", "lo": "float64", "hi": "float64", "left": "int64", "median_s": "float64",
}  # fmt: skip
_DETOUR_DTYPES = {
    "step": "int64", "name": "str", "detour": "str", "count": "int64", "came_back": "int64",
    "converted": "int64", "decided": "int64", "rate": "float64", "straight_rate": "float64",
    "difference": "float64", "lo": "float64", "hi": "float64", "conversions_lost": "float64",
    "extra_s": "float64", "extra_lo_s": "float64", "extra_hi_s": "float64",
}  # fmt: skip
