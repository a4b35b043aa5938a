"""Life cycle: of the customers of a day, week or month, who is new, who came again, who was back after a pause, and
who stayed away.
"""

from collections.abc import Mapping
from typing import Annotated, Any, Literal, Unpack

from sqlalchemy import Engine, text
from typing_extensions import Doc

from warehouse import frames
from warehouse.among import Among, scope_of
from warehouse.analysis import analysis
from warehouse.answer import Answer, Measures, answer, ask
from warehouse.binds import Binds
from warehouse.buckets import chosen, complete, first_day
from warehouse.doings import active_in, doing
from warehouse.statistics import wilson
from warehouse.steps import check_names

_COUNTS = ("new", "returning", "resurrected", "dormant", "active")
_DTYPES = {
    "period": "str",
    **dict.fromkeys((*_COUNTS, "active_before", "net"), "int64"),
    **dict.fromkeys(("quick_ratio", "rate", "lo", "hi"), "float64"),
    "complete": "bool",
}


@analysis("life-cycle", hidden=("active_before", "lo", "hi"))
def life_cycle(
    connection: Engine,
    *,
    step: Annotated[
        str | Mapping[str, Any], Doc("Who is active: whoever has a touchpoint that takes this step.")
    ] = "*",
    per: Annotated[Literal["day", "week", "month"], Doc("Length of a period.")] = "week",
    **among: Unpack[Among],
) -> Answer:
    """New, returning, resurrected and dormant customers of each day, week or month.

    One row per period that the range asked for touches, each counted whole. Columns: period (text: first day,
    ISO 8601), new (active for the first time ever), returning (active in the period before, too), resurrected (not
    in the one before, but earlier), dormant (active in the one before, and not now), active (new + returning +
    resurrected), active_before (in the period before: returning + dormant), net (active − active_before = new +
    resurrected − dormant), quick_ratio ((new + resurrected) / dormant; NaN: nobody is dormant), rate (returning
    of active_before, 0–1), lo, hi (95 %), complete (the period has ended at the watermark). Of a period that has
    not ended, who is dormant is not decided: quick_ratio, rate, lo and hi are NaN. QuestionError.
    """
    scope = scope_of(connection, among)
    done = doing(step)
    check_names(connection, [done])
    binds = Binds()
    found = ask(connection, text(_COUNTED.format(customers=active_in(per, done, scope, binds))), binds)
    of = {row[0]: row[1:] for row in found.itertuples(index=False, name=None)}
    rows = []
    for bucket in chosen(scope, per, of, found.watermark):
        active, new, returning = of.get(bucket, (0, 0, 0))
        before = of.get(bucket - 1, (0, 0, 0))[0]
        dormant, resurrected = before - returning, active - new - returning
        ended = complete(bucket, per, scope.zone, found.watermark)
        quick = (new + resurrected) / dormant if ended and dormant else None
        kept = returning / before if ended and before else None
        bounds = wilson(returning, before) if ended and before else (None, None)
        rows.append(
            (
                first_day(bucket, per).isoformat(), new, returning, resurrected, dormant, active, before,
                active - before, quick, kept, *bounds, ended,
            )
        )  # fmt: skip
    return answer(
        frames.frame(rows, _DTYPES),
        found.sql(),
        found.watermark,
        measures=Measures(
            keys=("period",),
            counts=_COUNTS,
            rates={"rate": ("returning", "active_before")},
            figures=("quick_ratio",),
        ),
        noun="periods",
    )


# buckets are numbered one after the other; before the first there is none
_COUNTED = """
select bucket, count() as active, countIf(before = 0) as new, countIf(before = bucket - 1) as returning
from (
    select tupleElement(pair, 1) as bucket, tupleElement(pair, 2) as before
    from ({customers})
    array join arrayZip(active, arrayPushFront(arrayPopBack(active), 0)) as pair
)
group by bucket order by bucket
"""
