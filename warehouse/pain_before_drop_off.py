"""Which pain came before which drop-off."""

from collections.abc import Sequence
from typing import Annotated, Any

import pandas as pd
from sqlalchemy import Engine, text
from typing_extensions import Doc, Unpack

from warehouse.among import Among, scope_of
from warehouse.analysis import analysis
from warehouse.answer import Answer, Measures, answer, ask, beside
from warehouse.binds import Binds
from warehouse.breakdown import NONE_SAID, Breakdown, comma, grouped
from warehouse.rates import rate_of
from warehouse.scope import where
from warehouse.statistics import association, false_discovery, relative_risk

BY = ("phase", "channel", "type", "queue", "campaign", "persona")
SIGNIFICANT = 0.05


@analysis("pain-before-drop-off", hidden=("silences", "p"))
def pain_before_drop_off(
    connection: Engine,
    *,
    by: Annotated[Sequence[str], Doc(f"Tell drop-offs apart by these: {', '.join(BY)}.")] = ("phase",),
    least: Annotated[int, Doc("Drop-offs after a kind of pain, of all places: fewer are left out.")] = 30,
    **among: Unpack[Among],
) -> Answer:
    """Which pain came before which drop-off, and how much oftener than before others.

    One row per place of a drop-off and kind of the pain point nearest before it in the journey ((none): nothing had
    hurt), by place, what is most special of it first. Columns: those of `by`, pain, drop_offs (after that pain, those
    that were recovered included), silences (drop-offs of the place), share (drop_offs of silences, 0–1), lo, hi (95
    %), lift (share over that of this pain in drop-offs elsewhere; NaN: there are none), lift_lo, lift_hi (95 %), p,
    q (p after Benjamini and Hochberg, over all rows), significant (q ≤ 0.05). Campaign and persona are those of the
    journey. The period selects drop-offs by their date. What came before need not have been the cause.

    Part `matrix`: drop_offs, a row per place, a column per pain. QuestionError for an unknown field.
    """
    scope = scope_of(connection, among)
    breakdown = Breakdown.of(by, BY)
    binds = Binds()
    chosen = where(scope.period("at", None, binds), scope.of_touchpoints(binds))
    pain = f"if(pain_kind = '', '{NONE_SAID}', toString(pain_kind)) as pain"
    found = ask(
        connection,
        text(
            f"select {comma(breakdown.selected(), [pain, 'count() as drop_offs'])}"  # noqa: S608  names of ours
            f" from {breakdown.source('drop_offs', chosen)} {grouped([*breakdown.keys, 'pain'])}"
        ),
        binds,
    )
    keys = breakdown.keys
    counted = pd.DataFrame(found)
    of_pain = counted.groupby("pain")["drop_offs"].transform("sum")
    places = counted.groupby(list(keys))["drop_offs"].transform("sum") if keys else counted["drop_offs"].sum()
    frame = counted.assign(silences=places, _of_pain=of_pain, _all=counted["drop_offs"].sum())
    frame = _compared(frame[frame["_of_pain"] >= least].reset_index(drop=True))
    frame = frame.sort_values(
        [*keys, "lift", "pain"], ascending=[*[True] * len(keys), False, True], ignore_index=True
    )
    shown = ["pain", "drop_offs", "silences", "share", "lo", "hi", "lift", "lift_lo", "lift_hi", "p", "q"]
    table = frame.pivot_table(
        index=keys or None, columns="pain", values="drop_offs", aggfunc="sum", fill_value=0
    )
    matrix = (table.reset_index() if keys else table.reset_index(drop=True)).rename_axis(columns=None)
    return answer(
        breakdown.named(frame[[*keys, *shown, "significant"]]),
        found.sql(),
        found.watermark,
        measures=Measures(
            keys=(*breakdown.fields, "pain"),
            counts=("drop_offs", "silences"),
            rates={"share": ("drop_offs", "silences")},
            intervals={"lift": beside(frame, "lift_lo", "lift_hi")},
        ),
        parts={"matrix": breakdown.named(matrix)},
        noun="pain_before_drop_off",
    )


def _compared(frame: pd.DataFrame) -> pd.DataFrame:
    """With what each pain's share is elsewhere."""
    frame = rate_of(
        frame.astype({"drop_offs": "int64", "silences": "int64"}), "share", "drop_offs", "silences"
    )
    counts = [
        (row["drop_offs"], row["silences"], row["_of_pain"] - row["drop_offs"], row["_all"] - row["silences"])
        for row in frame.to_dict("records")
    ]
    lifts = [relative_risk(*map(int, one)) for one in counts]
    p = [association(*map(int, one)) for one in counts]
    q = false_discovery(p)
    columns: dict[str, list[Any]] = {
        "lift": [
            one if elsewhere else None
            for (one, _, _), (_, _, elsewhere, _) in zip(lifts, counts, strict=True)
        ],
        "lift_lo": [low for _, low, _ in lifts],
        "lift_hi": [high for _, _, high in lifts],
        "p": p,
        "q": q,
    }
    for name, values in columns.items():
        frame[name] = pd.Series(values, dtype="float64")
    return frame.assign(significant=pd.Series([one <= SIGNIFICANT for one in q], dtype="bool"))
