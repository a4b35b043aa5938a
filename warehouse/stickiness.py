"""Stickiness: on how many days of a week or month customers are active, and how many in one day, in seven, in
thirty.
"""

from collections.abc import Collection, Iterator, Mapping
from typing import Annotated, Any, Literal, Unpack

import pandas as pd
from sqlalchemy import Engine, text
from typing_extensions import Doc

from warehouse import frames
from warehouse.among import Among, scope_of
from warehouse.analysis import analysis
from warehouse.answer import Answer, Measures, answer, ask, beside
from warehouse.binds import Binds
from warehouse.buckets import Unit, chosen, complete, first_day, number_of_day
from warehouse.doings import active_in, doing
from warehouse.scope import Scope
from warehouse.statistics import ClusterSums, clustered_rate
from warehouse.steps import check_names

_LONGEST = {"week": 7, "month": 31}
_WINDOWS = {"wau": 7, "mau": 30}
_DTYPES = {
    **dict.fromkeys(("days", "customers", "at_least", "active"), "int64"),
    **dict.fromkeys(
        ("share", "lo", "hi", "share_at_least", "share_at_least_lo", "share_at_least_hi"), "float64"
    ),
}
_BY_DAY = {
    "day": "str",
    **dict.fromkeys(("dau", "wau", "mau"), "int64"),
    **dict.fromkeys(("dau_wau", "dau_mau", "wau_mau"), "float64"),
    "complete": "bool",
}
_BY_PERIOD = {"period": "str", "active": "int64", "mean_days": "float64", "complete": "bool"}


@analysis("stickiness", hidden=("lo", "hi", "share_at_least_lo", "share_at_least_hi"))
def stickiness(
    connection: Engine,
    *,
    step: Annotated[
        str | Mapping[str, Any], Doc("Who is active: whoever has a touchpoint that takes this step.")
    ] = "*",
    per: Annotated[Literal["week", "month"], Doc("In what active days are counted.")] = "week",
    **among: Unpack[Among],
) -> Answer:
    """On how many days of a week or month customers are active, and how many are in a day, week and month.

    One row per number of days, 1 to 7 or 31, over all weeks or months that the range asked for touches, each
    counted whole, and that have ended at the watermark. Columns: days, customers (that were active on just so many;
    one counts in each week or month), at_least (on so many or more), active (on any), share and share_at_least
    (of the active, 0–1; NaN: nobody was), lo, hi, share_at_least_lo, share_at_least_hi (95 %; the weeks of one
    customer hang together; NaN: of one customer).

    `parts`: `by_period`: period (text: first day, ISO 8601), active, mean_days (of the active), complete; and `by_day`,
    a row for every day that the range touches: day, dau, wau and mau (customers active on the day, on one of the
    seven or thirty days that end with it), dau_wau, dau_mau, wau_mau (their ratios, 0–1; NaN: nobody was), complete.
    QuestionError.
    """
    scope = scope_of(connection, among)
    done = doing(step)
    check_names(connection, [done])
    binds = Binds()
    customers = active_in("day", done, scope, binds)
    of_days = ask(connection, text(_DAYS.format(customers=customers, **_WINDOWS)), binds)
    of_periods = ask(
        connection, text(_PERIODS.format(customers=customers, number=number_of_day("day", per))), binds
    )
    counted = {(bucket, days): n for bucket, days, n in of_periods.itertuples(index=False, name=None)}
    buckets = chosen(scope, per, {bucket for bucket, _ in counted}, of_periods.watermark)
    ended = [one for one in buckets if complete(one, per, scope.zone, of_periods.watermark)]
    binds = Binds()
    customers = active_in("day", done, scope, binds)
    between = f"{binds.bound(min(ended, default=0))} and {binds.bound(max(ended, default=-1))}"
    number = number_of_day("day", per)
    spread = ask(
        connection,
        text(_SPREAD.format(customers=customers, number=number, between=between, longest=_LONGEST[per])),
        binds,
    )
    frame = frames.frame(_shares(spread, _LONGEST[per]), _DTYPES)
    return answer(
        frame,
        ";\n\n".join(one.sql() for one in (spread, of_periods, of_days)),
        of_days.watermark,  # asked first
        measures=Measures(
            keys=("days",),
            intervals={
                "share": beside(frame, "lo", "hi"),
                "share_at_least": beside(frame, "share_at_least_lo", "share_at_least_hi"),
            },
            sums=("customers",),
        ),
        parts={
            "by_period": _of_periods(counted, buckets, per, ended),
            "by_day": _of_days(of_days, scope),
        },
        noun="days",
    )


def _shares(spread: Answer, longest: int) -> Iterator[tuple[Any, ...]]:
    """A row of the answer per number of days."""
    of = {row["days"]: row for row in spread.to_dict("records")}
    for days in range(1, longest + 1):
        if (row := of.get(days)) is None:
            yield (days, 0, 0, 0, *[None] * 6)
            continue
        clusters, active = int(row["clusters"]), int(row["active"])
        shares = []
        for name in ("just", "at_least"):
            n, squared, products = (int(row[f"{name}{sum_}"]) for sum_ in ("", "_squared", "_products"))
            sums = ClusterSums(clusters, n, active, squared, int(row["active_squared"]), products)
            # whoever is active is so on a day at least: that is no estimate
            certain = name == "at_least" and days == 1
            shares += [1.0, 1.0, 1.0] if certain else [n / active, *clustered_rate(sums)]
        yield (days, int(row["just"]), int(row["at_least"]), active, *shares)


def _of_periods(
    counted: Mapping[tuple[int, int], int], buckets: range, per: Unit, ended: Collection[int]
) -> pd.DataFrame:
    longest = range(1, _LONGEST[per] + 1)
    periods = []
    for bucket in buckets:
        of_bucket = [counted.get((bucket, days), 0) for days in longest]
        active = sum(of_bucket)
        mean = sum(days * n for days, n in zip(longest, of_bucket, strict=True)) / active if active else None
        periods.append((first_day(bucket, per).isoformat(), active, mean, bucket in ended))
    return frames.frame(periods, _BY_PERIOD)


def _of_days(found: Answer, scope: Scope) -> pd.DataFrame:
    """A customer is in a window from a day of activity on until it has passed, or until the next such day."""
    of: dict[int, Any] = {row["day"]: row for row in found.to_dict("records")}
    shown = chosen(scope, "day", of, found.watermark)
    rows = []
    within = dict.fromkeys(_WINDOWS, 0)
    for day in range(min([shown.start, *of]), shown.stop):
        begun = of.get(day)
        dau = begun["dau"] if begun else 0
        for name, length in _WINDOWS.items():
            left = of.get(day - length)
            within[name] += dau - (begun[f"{name}_again"] if begun else 0)
            within[name] -= left[f"{name}_gone"] if left else 0
        if day >= shown.start:
            ended = complete(day, "day", scope.zone, found.watermark)
            rows.append(
                (first_day(day, "day").isoformat(), dau, *within.values(), *_ratios(dau, **within), ended)
            )
    return frames.frame(rows, _BY_DAY)


def _ratios(dau: int, *, wau: int, mau: int) -> tuple[float | None, ...]:
    return tuple(part / whole if whole else None for part, whole in ((dau, wau), (dau, mau), (wau, mau)))


_DAYS = """
select day, count() as dau,
       countIf(day - before <= {wau}) as wau_again, countIf(after - day > {wau}) as wau_gone,
       countIf(day - before <= {mau}) as mau_again, countIf(after - day > {mau}) as mau_gone
from (
    select tupleElement(three, 1) as day, tupleElement(three, 2) as before, tupleElement(three, 3) as after
    from ({customers})
    array join arrayZip(
        active, arrayPushFront(arrayPopBack(active), -1000), arrayPushBack(arrayPopFront(active), 1000000)
    ) as three
)
group by day order by day
"""
_PERIODS = """
select tupleElement(pair, 1) as bucket, toInt64(tupleElement(pair, 2)) as days, count() as customers
from (
    select arrayMap(day -> {number}, active) as buckets from ({customers})
)
array join arrayMap(one -> (one, countEqual(buckets, one)), arrayDistinct(buckets)) as pair
group by bucket, days order by bucket, days
"""
# customers with as many days in their weeks, in whatever order, are counted together first
_SPREAD = """
select days, sum(customers) as clusters, sum(customers * n) as active, sum(customers * n * n) as active_squared,
       sum(customers * x) as just, sum(customers * x * x) as just_squared, sum(customers * x * n) as just_products,
       sum(customers * y) as at_least, sum(customers * y * y) as at_least_squared,
       sum(customers * y * n) as at_least_products
from (
    select customers, days, length(counts) as n, countEqual(counts, days) as x,
           arrayCount(one -> one >= days, counts) as y
    from (
        select arraySort(arrayMap(one -> countEqual(buckets, one), arrayDistinct(buckets))) as counts,
               count() as customers
        from (
            select arrayFilter(one -> one between {between}, arrayMap(day -> {number}, active)) as buckets
            from ({customers})
        )
        where notEmpty(buckets)
        group by counts
    )
    array join range(1, {longest} + 1) as days
)
group by days order by days
"""
