"""Moments of truth: the touchpoints at which a good or a bad experience changes most what the customer does next."""

from collections.abc import Sequence
from typing import Annotated, Any, Literal

import pandas as pd
from sqlalchemy import Engine, text
from typing_extensions import Doc, Unpack

from models.journey_model import JourneyModel
from models.yaml_reader import parse_duration
from warehouse.among import Among, scope_of
from warehouse.analysis import analysis
from warehouse.answer import Answer, Measures, QuestionError, answer, ask, beside
from warehouse.basis import model_of, watermark
from warehouse.binds import Binds
from warehouse.breakdown import Breakdown, comma, grouped
from warehouse.experiences import pains
from warehouse.rates import rate_of
from warehouse.scope import Scope, where
from warehouse.statistics import association, false_discovery, rate_difference, relative_risk

BY = ("type", "channel", "phase")
SIGNIFICANT = 0.05


@analysis("moments", hidden=("good", "bad", "p", "declared"))
def moments(
    connection: Engine,
    *,
    by: Annotated[Sequence[str], Doc(f"Tell touchpoints apart by these: {', '.join(BY)}.")] = ("type",),
    outcome: Annotated[
        Literal["conversion", "return"],
        Doc("What may follow: a conversion, or that the customer comes back."),
    ] = "conversion",
    within: Annotated[str, Doc("So soon after the touchpoint it counts, e.g. 7d.")] = "7d",
    good: Annotated[
        float, Doc("A touchpoint of at least this weight was good, as is one that delighted.")
    ] = 0.3,
    bad: Annotated[float, Doc("A touchpoint of at most this weight was bad, as is one that hurt.")] = -0.3,
    least: Annotated[int, Doc("Of good and of bad experiences at least so many, else it is left out.")] = 30,
    **among: Unpack[Among],
) -> Answer:
    """At which touchpoints a good or a bad experience decides what follows: the moments of truth.

    One row per type of touchpoint (and channel, phase), what decides most first, significant ones before others.
    Columns: those of `by`, good, good_followed, good_rate (followed by the outcome, 0–1), bad, bad_followed,
    bad_rate, difference (good_rate less bad_rate), lo, hi (95 %, Newcombe), lift (good_rate over bad_rate; NaN: no
    bad one was followed), lift_lo, lift_hi (95 %), p, q (p after Benjamini and Hochberg, over all rows), significant
    (q ≤ 0.05), declared (the journey model calls it a moment of truth).

    A journey counts once in a row, by its first touchpoint of the kind in the period that was good or bad. Bad: it
    hurt in any way but an abandonment that only says that no conversion came, or its weight is at most `bad`; good:
    it did not, and delighted or has at least the weight `good`. A conversion is one of the same journey, after the
    touchpoint; coming back is a touchpoint of the same customer in another service transaction. Touchpoints of which
    `within` is not over at the watermark are left out. A difference is no proof of a cause. QuestionError for an
    unknown field, or a time that is none.
    """
    scope = scope_of(connection, among)
    breakdown = Breakdown.of(by, BY)
    within_ms = parse_duration(within)
    if not within_ms:
        raise QuestionError(f'"{within}" is no duration', remedy="Write e.g. 12h, 7d, 4w.")
    if good <= bad:
        raise QuestionError(
            f"weights from {good} are good and up to {bad} bad", remedy="Let good lie above bad."
        )
    binds = Binds()
    up_to = watermark(connection)
    over = binds.bound((int(up_to.timestamp() * 1000) if up_to else 0) - within_ms)
    model = model_of(connection)
    felt = _felt(breakdown, model, scope, (good, bad), over, binds)
    followed = (_converted if outcome == "conversion" else _returned)(felt, model, within_ms, scope, binds)
    counts = [f"countIf(felt {sign} 0) as {name}" for name, sign in (("good", ">"), ("bad", "<"))]
    counts += [
        f"countIf(felt {sign} 0 and followed) as {name}_followed"
        for name, sign in (("good", ">"), ("bad", "<"))
    ]
    least_of = binds.bound(max(least, 1))
    sql = (
        f"select {comma(breakdown.keys, counts, ['max(declared) as declared'])} from ({followed})"  # noqa: S608
        f" {grouped(breakdown.keys)} having good >= {least_of} and bad >= {least_of}"
    )
    found = ask(connection, text(sql), binds)
    frame = _compared(pd.DataFrame(found), breakdown.keys)
    return answer(
        breakdown.named(frame),
        found.sql(),
        found.watermark,
        measures=Measures(
            keys=breakdown.fields,
            counts=("good", "bad"),
            rates={"good_rate": ("good_followed", "good"), "bad_rate": ("bad_followed", "bad")},
            intervals={
                "difference": beside(frame, "lo", "hi"),
                "lift": beside(frame, "lift_lo", "lift_hi"),
            },
        ),
        noun="moments",
    )


def _compared(found: pd.DataFrame, keys: Sequence[str]) -> pd.DataFrame:
    frame = rate_of(found, "good_rate", "good_followed", "good", bounds=())
    frame = rate_of(frame, "bad_rate", "bad_followed", "bad", bounds=())
    counts: list[tuple[int, int, int, int]] = [
        (int(row["bad_followed"]), int(row["bad"]), int(row["good_followed"]), int(row["good"]))
        for row in frame.to_dict("records")
    ]
    p = [association(*one) for one in counts]
    q = false_discovery(p)
    spans = [rate_difference(*one) for one in counts]
    lifts = [relative_risk(*one[2:], *one[:2]) for one in counts]
    columns: dict[str, list[Any]] = {
        "lo": [low for low, _ in spans],
        "hi": [high for _, high in spans],
        "lift": [one if bad else None for (one, _, _), (bad, *_) in zip(lifts, counts, strict=True)],
        "lift_lo": [low for _, low, _ in lifts],
        "lift_hi": [high for _, _, high in lifts],
        "p": p,
        "q": q,
    }
    frame["difference"] = frame["good_rate"] - frame["bad_rate"]
    for name, values in columns.items():
        frame[name] = pd.Series(values, dtype="float64")
    frame["significant"] = pd.Series([one <= SIGNIFICANT for one in q], dtype="bool")
    frame["declared"] = frame["declared"].astype("bool")
    frame["_size"] = frame["difference"].abs()
    frame = frame.sort_values(
        ["significant", "_size", *keys], ascending=[False, False, *[True] * len(keys)], ignore_index=True
    )
    shown = ["good", "good_followed", "good_rate", "bad", "bad_followed", "bad_rate", "difference", *columns]
    return frame[[*keys, *shown, "significant", "declared"]]


def _felt(
    breakdown: Breakdown,
    model: JourneyModel,
    scope: Scope,
    thresholds: tuple[float, float],
    over: str,
    binds: Binds,
) -> str:
    """SQL. Of each journey the first touchpoint of a kind that was good (felt 1) or bad (−1): journey_id, keys, felt,
    n (place in the journey), at (ms), declared.
    """
    good, bad = (binds.bound(one) for one in thresholds)
    felt = (
        f"multiIf(notEmpty({pains(model, binds)}) or weight <= {bad}, -1,"
        f" notEmpty(delight_kinds) or weight >= {good}, 1, 0)"
    )
    at = "toUnixTimestamp64Milli(occurred_at)"
    chosen = where(
        ["_felt != 0"],
        [f"{at} < {over}"],
        scope.period("occurred_at", "occurred_on", binds),
        scope.of_touchpoints(binds),
    )
    columns = [*breakdown.selected(), f"{felt} as _felt", f"{at} as _at"]
    return (
        f"select {comma(['journey_id'], breakdown.keys)}, max(moment_of_truth) as declared,"  # noqa: S608
        " min(ordinal) as n, argMin(_felt, ordinal) as felt, argMin(_at, ordinal) as at from ("
        f"select journey_id, ordinal, moment_of_truth, {comma(columns)}"
        f" from touchpoints {chosen}) {grouped(['journey_id', *breakdown.keys])}"
    )


def _converted(felt: str, model: JourneyModel, within_ms: int, scope: Scope, binds: Binds) -> str:
    """SQL: the same with followed: a conversion comes after it in its journey."""
    types = ", ".join(binds.bound(one) for one in sorted(model.converting_types)) or "''"
    length = binds.bound(within_ms)
    conversions = (
        "select journey_id, arrayFilter(n -> types[n] in"  # noqa: S608  names of ours
        f" ({types}), arrayEnumerate(types)) as places,"
        " arrayMap(n -> toUnixTimestamp64Milli(ats[n]), places) as conversion_ats"
        f" from journeys {where(['conversions > 0'], scope.of_journeys(binds))}"
    )
    return (
        "select *, arrayExists((place, conversion_at) -> place > n and conversion_at - at <="  # noqa: S608
        f" {length}, places, conversion_ats) as followed"
        f" from ({felt}) as _felt left any join ({conversions}) as _conversions using journey_id"
    )


def _returned(felt: str, model: JourneyModel, within_ms: int, scope: Scope, binds: Binds) -> str:
    """SQL: the same with followed: the customer comes back, in another transaction, in this journey or the next."""
    length = binds.bound(within_ms)
    journeys = (
        "select journey_id, transaction_ids, arrayMap(one -> toUnixTimestamp64Milli(one), ats) as seen_ats,"  # noqa: S608
        " toUnixTimestamp64Milli(leadInFrame(started_at, 1, toDateTime64(0, 3, 'UTC')) over"
        " (partition by customer_id order by started_at, id rows between current row and unbounded following))"
        f" as next_journey_at from journeys {where(scope.of_journeys(binds))}"
    )
    return (
        "select *, (next_journey_at > 0 and next_journey_at - at <="  # noqa: S608  names of ours
        f" {length}) or arrayExists((place, id, seen_at) -> place > n and id != transaction_ids[n]"
        f" and seen_at - at <= {length}, arrayEnumerate(seen_ats), transaction_ids, seen_ats) as followed"
        f" from ({felt}) as _felt inner join ({journeys}) as _journeys using journey_id"
    )
