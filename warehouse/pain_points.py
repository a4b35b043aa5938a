"""Pain points: what hurts, where, how often and how badly."""

from collections.abc import Sequence
from typing import Annotated, Literal

import pandas as pd
from sqlalchemy import Engine, text
from typing_extensions import Doc, Unpack

from warehouse.among import Among, scope_of
from warehouse.analysis import analysis
from warehouse.answer import Answer, Measures, answer, ask
from warehouse.binds import Binds
from warehouse.breakdown import Breakdown, comma, grouped
from warehouse.counting import Counted, joined, totals, trends
from warehouse.places import seen
from warehouse.rates import at_least, rate_of
from warehouse.scope import Scope, where
from warehouse.trend import Every

BY = ("kind", "phase", "channel", "type", "queue", "campaign", "persona")
_PAINS = Counted(
    rows="pain_points",
    at="at",
    # severities are added up in thousandths, as in the minutes: sums of fractions depend on their order
    counts={"pain_points": "count()", "severity_milli": "sum(toUInt64(round(severity * 1000)))"},
    minutes="pain_points_1m",
    of_minutes=("kind", "phase", "channel"),
    sums={"pain_points": "of_minute.pain_points", "severity_milli": "of_minute.severity_milli"},
)


@analysis("pain-points", hidden=("of",))
def pain_points(
    connection: Engine,
    *,
    by: Annotated[Sequence[str], Doc(f"Split by these, in this order: {', '.join(BY)}.")] = (
        "kind",
        "phase",
        "channel",
    ),
    per: Annotated[
        Literal["touchpoint", "journey"], Doc("The rate is of the touchpoints or of the journeys there.")
    ] = "touchpoint",
    every: Annotated[Every, Doc("The length of the steps of the trend.")] = "day",
    **among: Unpack[Among],
) -> Answer:
    """What hurts, where, how often and how badly.

    One row per value of `by`, what hurts most first. Columns: those of `by`, pain_points, customers, hit
    (touchpoints or journeys that hurt there; one may hurt in several ways), of (all that there are at that place,
    of any kind), rate (hit of those, 0–1), lo, hi (95 %), severity (mean, 0–1), hurt (sum of severities). Phase,
    channel, type and queue are those of the touchpoint; campaign and persona its journey's. The period is of the
    touchpoint's time.

    Parts: `trend`, a row per hour, day or week: at, complete, pain_points, hurt, severity (NaN: nothing hurt);
    `trends`, the same of each of the first rows of the answer. QuestionError for an unknown field.
    """
    scope = scope_of(connection, among)
    breakdown = Breakdown.of(by, BY)
    counted = _PAINS.ask(connection, breakdown, every, scope)
    hit_binds, place_binds = Binds(), Binds()
    hit = ask(connection, text(_hit(breakdown, per, scope, hit_binds)), hit_binds)
    place = Breakdown(tuple(field for field in breakdown.fields if field != "kind"))
    places = ask(connection, text(seen(place, scope, place_binds)), place_binds)

    keys = breakdown.keys
    frame = joined(totals(pd.DataFrame(counted), keys), pd.DataFrame(hit), keys)
    there = pd.DataFrame(places).rename(columns={f"{per}s": "of"})[[*place.keys, "of"]]
    frame = frame.merge(there, how="left", on=place.keys) if place.keys else frame.merge(there, how="cross")
    frame["of"] = at_least(frame["of"].fillna(0).astype("int64"), frame["hit"])
    frame = _felt(rate_of(frame, "rate", "hit", "of"))
    if keys:
        frame = frame[frame["pain_points"] > 0]
    frame = frame.sort_values(
        ["hurt", "pain_points", *keys], ascending=[False, False, *[True] * len(keys)], ignore_index=True
    )
    columns = ["pain_points", "customers", "hit", "of", "rate", "lo", "hi", "severity", "hurt"]
    return answer(
        breakdown.named(frame[[*keys, *columns]]),
        ";\n\n".join(one.sql() for one in (counted, hit, places)),
        counted.watermark,
        measures=Measures(
            keys=breakdown.fields,
            counts=("pain_points", "customers", "hit", "of"),
            rates={"rate": ("hit", "of")},
            sums=("hurt",),
            figures=("severity",),
        ),
        parts=trends(counted, breakdown, frame, every, scope, _felt),
        noun="pain_points",
    )


def _felt(frame: pd.DataFrame) -> pd.DataFrame:
    hurt = frame["severity_milli"] / 1000
    severity = (hurt / frame["pain_points"].where(frame["pain_points"] > 0)).astype("float64")
    return frame.drop(columns="severity_milli").assign(severity=severity, hurt=hurt)


def _hit(breakdown: Breakdown, per: str, scope: Scope, binds: Binds) -> str:
    chosen = where(scope.period("at", None, binds), scope.of_touchpoints(binds))
    counts = [
        "uniqExact(cityHash64(customer_id)) as customers",  # 64 bits of a name tell people apart
        f"uniqExact(cityHash64({per}_id)) as hit",
    ]
    return (
        f"select {comma(breakdown.selected(), counts)} from {breakdown.source('pain_points', chosen)}"  # noqa: S608
        f" {grouped(breakdown.keys)}"
    )
