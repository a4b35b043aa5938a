"""Attempts: how many are abandoned, of which kind, where and when; and who completes one after all."""

from collections.abc import Sequence
from typing import Annotated

import pandas as pd
from sqlalchemy import Engine, text
from typing_extensions import Doc, Unpack

from warehouse.among import Among, scope_of
from warehouse.analysis import analysis
from warehouse.answer import Answer, Measures, answer, ask
from warehouse.binds import Binds
from warehouse.breakdown import Breakdown, comma, grouped
from warehouse.counting import Counted, joined, totals, trends
from warehouse.rates import rate_of
from warehouse.scope import Scope, where
from warehouse.trend import Every

BY = ("kind", "phase", "channel", "type", "queue", "campaign", "persona")
_COUNTS = ("completed", "abandoned", "recovered")
_ENDED = Counted(
    rows="attempts",
    at="assumeNotNull(ended_at)",
    only=["outcome != 'open'"],
    counts={
        "completed": "countIf(outcome = 'completed')",
        "abandoned": "countIf(outcome = 'abandoned')",
        "recovered": "countIf(recovered_at is not null)",
    },
    minutes="attempts_1m",
    of_minutes=("kind", "channel"),
    sums={name: f"of_minute.{name}" for name in _COUNTS},
)


@analysis("attempts")
def attempts(
    connection: Engine,
    *,
    by: Annotated[Sequence[str], Doc(f"Split by these, in this order: {', '.join(BY)}.")] = ("kind",),
    every: Annotated[Every, Doc("The length of the steps of the trend.")] = "day",
    **among: Unpack[Among],
) -> Answer:
    """How many attempts were abandoned, by what they were and where, and who completed one after all.

    One row per value of `by`, the most abandoned first. Columns: those of `by`, attempts (that ended),
    completed, abandoned, recovered (abandoned, and completed after all), open (at the watermark; in no rate),
    abandonment_rate (abandoned of ended, 0–1; NaN: none ended), lo, hi (95 %), recovery_rate (recovered of
    abandoned). Phase, channel, type and queue are those of the touchpoint that opened the attempt; campaign and
    persona its journey's. The period selects attempts by their end; open ones, which have none, by their opening
    before `until`.

    Parts: `trend`, a row per hour, day or week: at, complete, completed, abandoned, recovered, abandonment_rate,
    lo, hi; `trends`, the same of each of the first rows of the answer. QuestionError for an unknown field.
    """
    scope = scope_of(connection, among)
    breakdown = Breakdown.of(by, BY)
    counted = _ENDED.ask(connection, breakdown, every, scope)
    binds = Binds()
    undecided = ask(connection, text(_open(breakdown, scope, binds)), binds)

    keys = breakdown.keys
    frame = joined(totals(pd.DataFrame(counted), keys), pd.DataFrame(undecided), keys)
    frame.insert(len(keys), "attempts", frame["completed"] + frame["abandoned"])
    frame = rate_of(frame, "abandonment_rate", "abandoned", "attempts")
    frame = rate_of(frame, "recovery_rate", "recovered", "abandoned", bounds=())
    frame = frame.sort_values(
        ["abandoned", "attempts", *keys], ascending=[False, False, *[True] * len(keys)], ignore_index=True
    )
    return answer(
        breakdown.named(frame),
        f"{counted.sql()};\n\n{undecided.sql()}",
        counted.watermark,
        measures=Measures(
            keys=breakdown.fields,
            counts=("attempts", *_COUNTS, "open"),
            rates={
                "abandonment_rate": ("abandoned", "attempts"),
                "recovery_rate": ("recovered", "abandoned"),
            },
        ),
        parts=trends(counted, breakdown, frame, every, scope, _rated),
        noun="attempts",
    )


def _rated(trend: pd.DataFrame) -> pd.DataFrame:
    ended = trend.assign(_ended=trend["completed"] + trend["abandoned"])
    return rate_of(ended, "abandonment_rate", "abandoned", "_ended").drop(columns="_ended")


def _open(breakdown: Breakdown, scope: Scope, binds: Binds) -> str:
    before = [] if scope.until is None else [f"opened_at < {binds.bound(scope.until)}"]
    chosen = where(["outcome = 'open'"], before, scope.of_touchpoints(binds))
    return (
        f"select {comma(breakdown.selected(), ['count() as open'])}"  # noqa: S608  names of ours
        f" from {breakdown.source('attempts', chosen)} {grouped(breakdown.keys)}"
    )
