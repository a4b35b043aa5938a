"""Drop-offs: in which phase, and after what, journeys fall silent; and who comes back."""

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
from warehouse.places import decided_journeys
from warehouse.rates import at_least, rate_of
from warehouse.scope import Scope, where
from warehouse.trend import Every

BY = ("phase", "channel", "type", "queue", "campaign", "persona")
_SILENCES = Counted(
    rows="drop_offs",
    at="at",
    counts={
        "drop_offs": "countIf(recovered_at is null)",
        "recovered": "countIf(recovered_at is not null)",
    },
    minutes="drop_offs_1m",
    of_minutes=("phase", "channel", "type"),
    sums={"drop_offs": "of_minute.drop_offs - of_minute.recovered", "recovered": "of_minute.recovered"},
)


@analysis("drop-offs", hidden=("silences", "open", "recovery_rate"))
def drop_offs(
    connection: Engine,
    *,
    by: Annotated[Sequence[str], Doc(f"Split by these, in this order: {', '.join(BY)}.")] = (
        "phase",
        "channel",
        "type",
    ),
    every: Annotated[Every, Doc("The length of the steps of the trend.")] = "day",
    **among: Unpack[Among],
) -> Answer:
    """Where journeys fell silent, what hurt before, and who came back.

    One row per value of `by` at which one fell silent, the most frequent first. Columns: those of `by`, drop_offs
    (that have not come back), recovered (that have), silences (both), journeys (that were there, and went on or
    fell silent), open (that are there still, within patience, or where there is none), drop_off_rate (drop_offs
    of journeys, 0–1), lo, hi (95 %), recovery_rate (recovered of silences), pain_before (commonest kind of the
    nearest pain point before; empty: none). The place is that of the last touchpoint before the silence;
    campaign and persona are its journey's. The period selects drop-offs by their date, and whoever went on by
    when they did.

    Parts: `trend`, a row per hour, day or week: at, complete, drop_offs, recovered, recovery_rate, lo, hi;
    `trends`, the same of each of the first rows of the answer. QuestionError for an unknown field.
    """
    scope = scope_of(connection, among)
    breakdown = Breakdown.of(by, BY)
    counted = _SILENCES.ask(connection, breakdown, every, scope)
    pain_binds, place_binds = Binds(), Binds()
    pains = ask(connection, text(_pains(breakdown, scope, pain_binds)), pain_binds)
    places = ask(connection, text(decided_journeys(breakdown, scope, place_binds)), place_binds)

    keys = breakdown.keys
    frame = joined(totals(pd.DataFrame(counted), keys), pd.DataFrame(places), keys)
    frame["journeys"] = at_least(frame["journeys"], frame["drop_offs"])
    frame["silences"] = frame["drop_offs"] + frame["recovered"]
    frame = rate_of(frame, "drop_off_rate", "drop_offs", "journeys")
    frame = rate_of(frame, "recovery_rate", "recovered", "silences", bounds=())
    if keys:
        frame = frame[frame["silences"] > 0]
    frame["pain_before"] = _commonest(frame, pd.DataFrame(pains), keys)
    frame = frame.sort_values(["drop_offs", *keys], ascending=[False, *[True] * len(keys)], ignore_index=True)
    shown = [*keys, "drop_offs", "recovered", "silences", "journeys", "open", "drop_off_rate", "lo", "hi"]
    return answer(
        breakdown.named(frame[[*shown, "recovery_rate", "pain_before"]]),
        ";\n\n".join(one.sql() for one in (counted, places, pains)),
        counted.watermark,
        measures=Measures(
            keys=breakdown.fields,
            counts=("drop_offs", "recovered", "silences", "journeys", "open"),
            rates={
                "drop_off_rate": ("drop_offs", "journeys"),
                "recovery_rate": ("recovered", "silences"),
            },
        ),
        parts=trends(counted, breakdown, frame, every, scope, _rated),
        noun="drop_offs",
    )


def _rated(trend: pd.DataFrame) -> pd.DataFrame:
    silences = trend.assign(_silences=trend["drop_offs"] + trend["recovered"])
    return rate_of(silences, "recovery_rate", "recovered", "_silences").drop(columns="_silences")


def _pains(breakdown: Breakdown, scope: Scope, binds: Binds) -> str:
    chosen = where(["pain_kind != ''"], scope.period("at", None, binds), scope.of_touchpoints(binds))
    columns = comma(breakdown.selected(), ["toString(pain_kind) as kind", "count() as times"])
    return (
        f"select {columns} from {breakdown.source('drop_offs', chosen)}"  # noqa: S608  names of ours
        f" {grouped([*breakdown.keys, 'kind'])}"
    )


def _commonest(frame: pd.DataFrame, pains: pd.DataFrame, keys: Sequence[str]) -> "pd.Series[str]":
    """The commonest kind for each row of the frame, the first by name of several; empty: none."""
    most: dict[tuple[str, ...], str] = {}
    for row in pains.sort_values(["times", "kind"], ascending=[False, True]).to_dict("records"):
        most.setdefault(tuple(row[key] for key in keys), row["kind"])
    found = [most.get(tuple(row), "") for row in frame[list(keys)].itertuples(index=False)]
    return pd.Series(found, index=frame.index, dtype="str")
