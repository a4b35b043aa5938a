"""Costs: what pain points, abandoned attempts and drop-offs cost in conversions, and in money."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Annotated, Any

import numpy as np
import pandas as pd
from sqlalchemy import Engine, text
from typing_extensions import Doc, Unpack

from models.yaml_reader import parse_duration
from warehouse import frames
from warehouse.among import Among, scope_of
from warehouse.analysis import analysis
from warehouse.answer import Answer, Measures, QuestionError, answer, ask, beside
from warehouse.basis import model_of, watermark
from warehouse.binds import Binds
from warehouse.blocks import BLOCKS
from warehouse.breakdown import Breakdown
from warehouse.exposures import LIKE, Exposures, Hitting
from warehouse.scope import Scope, where
from warehouse.stratified import Difference, risk_difference

BY = ("kind", "phase", "channel", "type")
_DIFFERENCE = ("rate", "rate_of_like", "lost_rate", "lo", "hi")
_LOST = ("conversions_lost", "conversions_lo", "conversions_hi", "cost", "cost_lo", "cost_hi")


@analysis("costs", hidden=("compared", "rate", "rate_of_like"))
def costs(
    connection: Engine,
    of: Annotated[Hitting, Doc("What costs: pain points, abandoned attempts, or drop-offs.")] = "pain-points",
    *,
    by: Annotated[Sequence[str], Doc(f"Split by these, in this order: {', '.join(BY)}.")] = (
        "kind",
        "phase",
        "channel",
    ),
    within: Annotated[str, Doc("Who converts so soon after it has converted, e.g. 7d.")] = "7d",
    like: Annotated[
        Sequence[str], Doc(f"Compared with others of the same of these: {', '.join(LIKE)}.")
    ] = LIKE[:6],
    value: Annotated[
        float | None,
        Doc("What a conversion is worth; left out: the mean of those in the commonest currency."),
    ] = None,
    least: Annotated[int, Doc("Fewer that can be compared are too few to be ranked.")] = 30,
    **among: Unpack[Among],
) -> Answer:
    """What pain points, abandoned attempts or drop-offs cost, against customers like those they hit.

    One row per value of `by`, the costliest first. Columns: those of `by`, hit (journeys, each by the first of a
    kind; of drop-offs each counts), compared (of which the time `within` is over, and that others are like),
    rate (of these that converted, 0–1), rate_of_like (of the others), lost_rate (rate_of_like less rate), lo, hi
    (95 %), conversions_lost (hit × lost_rate), conversions_lo, conversions_hi, cost (× value), cost_lo, cost_hi.
    What is compared too little has NaN there, and stands last. The period selects the touchpoints that were hit.

    The others are all touchpoints that the same had not hit so far, and that have in common what `like` says; the
    strata are weighted as Mantel and Haenszel do (`warehouse.stratified`). A difference is no proof of a cause.
    Part `value`: of a conversion, its currency, and how many conversions say so. QuestionError for an unknown
    field, or a time that is none.
    """
    scope = scope_of(connection, among)
    by = tuple(field for field in by if of != "drop-offs" or field != "kind")
    breakdown, alike = Breakdown.of(by, BY), Breakdown.of(like, LIKE)
    within_ms = parse_duration(within)
    if not within_ms:
        raise QuestionError(f'"{within}" is no duration', remedy="Write e.g. 12h, 7d, 4w.")
    worth = _value(connection, scope, value)
    up_to = watermark(connection)
    rows: list[tuple[Any, ...]] = []
    said = ""
    if up_to is not None:
        exposures = Exposures(
            hitting=of, by=breakdown.fields, like=alike.fields, within_ms=within_ms,
            converting=sorted(model_of(connection).converting_types), scope=scope, up_to=up_to,
        )  # fmt: skip
        hit_binds, binds = Binds(), Binds()
        hit = ask(connection, text(exposures.hit(hit_binds)), hit_binds)
        moments = ask(connection, text(exposures.all(binds)), binds)
        said = f"{hit.sql()};\n\n{moments.sql()}"
        rows = [
            (*key, *_row(count, found, worth["value"], least))
            for key, count, found in _differences(pd.DataFrame(hit), pd.DataFrame(moments), breakdown.keys)
        ]
    columns = {
        **dict.fromkeys(breakdown.fields, "str"),
        **dict.fromkeys(("hit", "compared"), "int64"),
        **dict.fromkeys((*_DIFFERENCE, *_LOST), "float64"),
    }
    frame = frames.frame(rows, columns).sort_values(
        ["cost", "conversions_lost", "hit", *breakdown.fields],
        ascending=[False, False, False, *[True] * len(breakdown.fields)],
        ignore_index=True,
    )
    return answer(
        frame,
        said,
        up_to,
        measures=Measures(
            keys=breakdown.fields,
            counts=("hit",),
            intervals={
                "lost_rate": beside(frame, "lo", "hi"),
                "conversions_lost": beside(frame, "conversions_lo", "conversions_hi"),
                "cost": beside(frame, "cost_lo", "cost_hi"),
            },
        ),
        parts={"value": worth},
        noun="costs",
    )


def _row(hit: int, found: Difference, value: float | None, least: int) -> tuple[Any, ...]:
    """What stands in a row beside its key."""
    if found.compared < max(least, 1):
        return (hit, found.compared, *[None] * (len(_DIFFERENCE) + len(_LOST)))
    rates = (-found.difference, -found.high, -found.low)
    conversions = tuple(hit * rate for rate in rates)
    money = tuple(None if value is None else one * value for one in conversions)
    return (hit, found.compared, found.exposed_rate, found.others_rate, *rates, *conversions, *money)


def _differences(
    hit: pd.DataFrame, moments: pd.DataFrame, keys: Sequence[str]
) -> Iterator[tuple[tuple[str, ...], int, Difference]]:
    """Of each value of the breakdown: itself, how many were hit, and the difference to those like them."""
    everyone = _table(moments)
    for kind, of_kind in hit.groupby("_kind", sort=True):
        spent = _table(of_kind)
        begun = of_kind[of_kind["begins"] == 1].assign(_kind=kind)
        for key, exposed in begun.groupby(list(keys)) if keys else [((), begun)]:
            mine = _table(exposed)
            strata = [one for one in mine if mine[one][:, 0].any()]
            nobody = np.zeros((BLOCKS, 2), dtype=np.int64)
            ours = np.array([mine[one] for one in strata]).reshape(-1, BLOCKS, 2)
            others = np.array([everyone.get(one, nobody) - spent.get(one, nobody) for one in strata]).reshape(
                -1, BLOCKS, 2
            )
            # journeys are written a few seconds after their touchpoints: never fewer than none
            others = np.maximum(others, 0)
            others[..., 1] = np.minimum(others[..., 1], others[..., 0])
            found = risk_difference(ours[..., 0].T, ours[..., 1].T, others[..., 0].T, others[..., 1].T)
            yield tuple(map(str, key)), int(exposed["hit"].sum()), found


def _table(counted: pd.DataFrame) -> Mapping[int, Any]:
    """Counts and successes by stratum: arrays of the shape (blocks, 2)."""
    strata, places = np.unique(counted["stratum"].to_numpy(dtype=np.int64), return_inverse=True)
    table = np.zeros((len(strata), BLOCKS, 2), dtype=np.int64)
    blocks = counted["block"].to_numpy(dtype=np.int64)
    for place, column in enumerate(("counted", "successes")):
        # one row per stratum, block and what else it is told apart by: rows of one place are added up
        flat = np.bincount(
            places * BLOCKS + blocks, weights=counted[column], minlength=table[..., place].size
        )
        table[..., place] = flat.reshape(-1, BLOCKS)
    return dict(zip(strata.tolist(), table, strict=True))


def _value(connection: Engine, scope: Scope, given: float | None) -> Mapping[str, Any]:
    """The value of a conversion: what it is, its currency, how many conversions say so. None: nothing does."""
    if given is not None:
        return {"value": given, "currency": "", "conversions": 0}
    binds = Binds()
    chosen = where(
        ["conversions > 0"], scope.period("started_at", "started_on", binds), scope.of_journeys(binds)
    )
    found = ask(
        connection,
        text(
            "select currency, sum(conversions) as conversions, toFloat64(sum(`values`[currency])) as worth"  # noqa: S608
            f" from (select conversions, `values` from journeys {chosen})"
            " array join mapKeys(`values`) as currency group by currency order by conversions desc, currency limit 1"
        ),
        binds,
    )
    if found.empty:
        return {"value": None, "currency": "", "conversions": 0}
    [row] = found.to_dict("records")
    return {
        "value": row["worth"] / row["conversions"],
        "currency": str(row["currency"]),
        "conversions": int(row["conversions"]),
    }
