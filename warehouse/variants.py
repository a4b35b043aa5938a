"""Variants: whole journeys as the sequence of what they went through, and how each of them ended.

A journey has converted if it holds a conversion. It is open if it has not, is not closed, and no drop-off ends it so
far; rates are over the others.
"""

from typing import Annotated, Literal

import pandas as pd
from sqlalchemy import Engine, text
from typing_extensions import Doc, Unpack

from warehouse.among import Among, scope_of
from warehouse.analysis import analysis
from warehouse.answer import Answer, Measures, QuestionError, answer, ask
from warehouse.binds import Binds
from warehouse.scope import where
from warehouse.statistics import wilson

OTHER = "other"
BETWEEN = " > "
_ARRAYS = {"type": "types", "phase": "phases", "channel": "channels"}
_LARGEST = 10_000


@analysis("variants", hidden=("journeys", "decided"))
def variants(
    connection: Engine,
    *,
    of: Annotated[Literal["type", "phase", "channel"], Doc("What a journey is a sequence of.")] = "type",
    loops: Annotated[bool, Doc("Write what follows itself as often as it does; otherwise once.")] = False,
    most: Annotated[int, Doc("Show so many of the most frequent variants; the rest is other.")] = 20,
    **among: Unpack[Among],
) -> Answer:
    """Whole journeys by the sequence they walked, with share, conversion and duration.

    One row per variant, the most frequent first, and last "other" for the rest, if there is one. Columns: variant
    (names with " > " between), length (of the sequence; 0: other), count, journeys (all), share (count of
    journeys, 0–1), converted, decided (journeys that are not open), rate (converted of the decided, 0–1), lo, hi
    (95 %), median_s (from the first touchpoint to the last). The period is of the journey's beginning. QuestionError
    for a number of variants that cannot be.
    """
    scope, binds = scope_of(connection, among), Binds()
    if not 1 <= most <= _LARGEST:
        raise QuestionError(f"most is {most}", remedy=f"Let it be between 1 and {_LARGEST}.")
    chosen = where(scope.period("started_at", "started_on", binds), scope.of_journeys(binds))
    sequence = _ARRAYS[of] if loops else f"arrayCompact({_ARRAYS[of]})"
    lasted = "toUnixTimestamp64Milli(ended_at) - toUnixTimestamp64Milli(started_at)"
    found = ask(
        connection,
        text(f"""
            with journeys_ as (
                select {sequence} as sequence, {lasted} as lasted_ms, converted_at is not null as converts,
                       converts or closed or drop_off_at is not null as ended
                from journeys {chosen}
            ),
            frequent as (
                select sequence from journeys_ group by sequence
                order by count() desc, arrayStringConcat(sequence, {binds.bound(BETWEEN)}) limit {binds.bound(most)}
            )
            select sequence in (select sequence from frequent) as told_apart,
                   if(told_apart, arrayStringConcat(sequence, {binds.bound(BETWEEN)}), {binds.bound(OTHER)}) as variant,
                   if(told_apart, length(sequence), 0) as length, count() as count, countIf(converts) as converted,
                   countIf(ended) as decided, quantileExactInclusive(0.5)(lasted_ms) as median_ms
            from journeys_
            group by told_apart, variant, length
            order by told_apart desc, count desc, variant"""),  # noqa: S608  values are bound, names are ours
        binds,
    )
    frame = pd.DataFrame(found).astype({"count": "int64", "converted": "int64", "decided": "int64"})
    frame["journeys"] = frame["count"].sum()
    frame["share"] = frame["count"] / frame["journeys"]
    frame["rate"] = frame["converted"] / frame["decided"].where(frame["decided"] > 0)
    bounds = [wilson(c, d) for c, d in zip(frame["converted"], frame["decided"], strict=True)]
    frame["lo"], frame["hi"] = [low for low, _ in bounds], [high for _, high in bounds]
    frame["median_s"] = frame["median_ms"].astype("float64") / 1000
    return answer(
        frame[list(_DTYPES)].astype(_DTYPES),
        found.sql(),
        found.watermark,
        measures=Measures(
            keys=("variant",),
            counts=("count",),
            rates={"share": ("count", "journeys"), "rate": ("converted", "decided")},
            figures=("median_s",),
        ),
        noun="variants",
    )


_DTYPES = {
    "variant": "str", "length": "int64", "count": "int64", "journeys": "int64", "share": "float64",
    "converted": "int64", "decided": "int64", "rate": "float64", "lo": "float64", "hi": "float64",
    "median_s": "float64",
}  # fmt: skip
