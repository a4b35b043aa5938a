"""Retention: of those who came first in a day, week or month, how many came back so long afterwards."""

from collections.abc import Iterator, Mapping
from typing import Annotated, Any, Literal, Unpack

from sqlalchemy import Engine, text
from typing_extensions import Doc

from warehouse import frames
from warehouse.among import Among, scope_of
from warehouse.analysis import analysis
from warehouse.answer import Answer, Measures, QuestionError, answer, ask
from warehouse.binds import Binds
from warehouse.buckets import Unit, first_day, number, number_at
from warehouse.doings import doing, done_in_journey
from warehouse.filters import only_what_journeys_hold, takes
from warehouse.scope import Scope, where
from warehouse.statistics import wilson
from warehouse.step import Step
from warehouse.steps import check_names

CONVERSION = "conversion"
MOST_PERIODS = 400
ALL = "all"
_DTYPES = {
    "cohort": "str",
    **dict.fromkeys(("size", "period", "complete", "returned", "open", "open_returned"), "int64"),
    **dict.fromkeys(("rate", "lo", "hi"), "float64"),
}


@analysis("retention")
def retention(
    connection: Engine,
    *,
    start: Annotated[
        str | Mapping[str, Any],
        Doc(
            "Customers by their first touchpoint that takes this step; `conversion`: by their first conversion."
        ),
    ] = "*",
    back: Annotated[
        str | Mapping[str, Any], Doc("What coming back is: a touchpoint that takes this step.")
    ] = "*",
    per: Annotated[Literal["day", "week", "month"], Doc("Who began in the same one is a cohort.")] = "week",
    unit: Annotated[
        Literal["day", "week", "month"] | None, Doc("What periods since the beginning are; else as `per`.")
    ] = None,
    periods: Annotated[int, Doc("How many periods after the one of the beginning.")] = 8,
    rolling: Annotated[bool, Doc("Who came back in the period or any later one, not in it alone.")] = False,
    **among: Unpack[Among],
) -> Answer:
    """How many of those who began in a day, week or month came back so many later.

    One row per cohort and period since the beginning, then those of all cohorts together (`all`). Columns: cohort
    (text: first day, ISO 8601), size, period (0: the one of the beginning), complete (customers whose
    period has ended at the watermark), returned (of these), open (not ended), open_returned (of those, so far),
    rate (returned of complete, 0–1; NaN: no period has ended), lo, hi (95 %).

    The beginning is the first ever, whatever the period asked for, which selects beginnings; persona and campaign
    are those of the journey it lies in. Coming back is later than the beginning, in any journey. QuestionError.
    """
    if not 1 <= periods <= MOST_PERIODS:
        raise QuestionError(
            f"retention is over 1 to {MOST_PERIODS} periods, not {periods}", remedy="Ask for longer ones."
        )
    scope = scope_of(connection, among)
    begins = None if start == CONVERSION else doing(start)
    returns = doing(back)
    check_names(connection, [returns] if begins is None else [begins, returns])
    binds = Binds()
    sql = _question(begins, returns, per, unit or per, periods, rolling, scope, binds)
    found = ask(connection, text(sql), binds)
    # a period has ended if the one of the watermark comes after it
    now = None if found.watermark is None else number_at(found.watermark, unit or per, scope.zone)
    cells: dict[int | None, list[_Cell]] = {}
    for cohort, begun, size, returned in found.itertuples(index=False, name=None):
        for key in (cohort, None):
            for n, cell in enumerate(cells.setdefault(key, [_Cell() for _ in range(periods + 1)])):
                cell.add(size, returned[n], ended=now is not None and begun + n < now)
    cohorts = sorted(key for key in cells if key is not None)
    rows = [
        (ALL if key is None else first_day(key, per).isoformat(), *row)
        for key in [*cohorts, *([None] if cohorts else [])]
        for n, cell in enumerate(cells[key])
        for row in cell.row(n)
    ]
    return answer(
        frames.frame(rows, _DTYPES),
        found.sql(),
        found.watermark,
        measures=Measures(keys=("cohort", "period"), rates={"rate": ("returned", "complete")}),
        noun="cohorts",
    )


class _Cell:
    """Customers of a cohort and a period."""

    def __init__(self) -> None:
        self.complete = self.returned = self.open = self.open_returned = 0

    def add(self, size: int, returned: int, *, ended: bool) -> None:
        if ended:
            self.complete += size
            self.returned += returned
        else:
            self.open += size
            self.open_returned += returned

    def row(self, period: int) -> Iterator[tuple[Any, ...]]:
        rate = self.returned / self.complete if self.complete else None
        bounds = wilson(self.returned, self.complete) if self.complete else (None, None)
        yield (
            self.complete + self.open, period, self.complete, self.returned, self.open, self.open_returned,
            rate, *bounds,
        )  # fmt: skip


def _question(
    begins: Step | None,
    returns: Step,
    per: Unit,
    unit: Unit,
    periods: int,
    rolling: bool,
    scope: Scope,
    binds: Binds,
) -> str:
    """SQL: per cohort and period of the beginning how many began, and how many of them came back in which."""
    zone = binds.bound(scope.timezone)
    from_journeys = only_what_journeys_hold([returns, *([begins] if begins else [])], None)
    began = (_in_journeys if from_journeys else _in_touchpoints)(begins, returns, scope, binds)
    later = f"arrayMap(at -> {number('at', unit, zone)} - begun, arrayFilter(at -> at > began_at, backs))"
    came = "n <= arrayMax(arrayPushBack(after, -1))" if rolling else "has(after, n)"
    return f"""
        select cohort, begun, count() as size, sumForEach(arrayMap(n -> {came}, range({periods + 1}))) as returned
        from (
            select {number("began_at", per, zone)} as cohort, {number("began_at", unit, zone)} as begun,
                   arrayDistinct({later}) as after
            from ({began}) {where(["chosen"], scope.period("began_at", None, binds))}
        )
        group by cohort, begun order by cohort, begun"""  # noqa: S608


def _in_journeys(begins: Step | None, returns: Step, scope: Scope, binds: Binds) -> str:
    """SQL: began_at, whether it is `chosen`, and the times of coming back, of whoever began; from the arrays."""
    first, has = "converted_at", "converted_at is not null"
    if begins is not None:
        first, has = (
            f"arrayElement({done_in_journey(begins, binds)}, 1)",
            f"notEmpty({done_in_journey(begins, binds)})",
        )
    of_scope = " and ".join(scope.of_journeys(binds)) or "1"
    return f"""
        select customer_id, minIf(assumeNotNull(first), has) as began_at,
               argMinIf(of_scope, (assumeNotNull(first), started_at, id), has) as chosen,
               groupArrayArray(done) as backs
        from (
            select customer_id, started_at, id, {first} as first, {has} as has,
                   {of_scope} as of_scope, {done_in_journey(returns, binds)} as done
            from journeys
        )
        group by customer_id having countIf(has) > 0"""  # noqa: S608


def _in_touchpoints(begins: Step | None, returns: Step, scope: Scope, binds: Binds) -> str:
    """The same from the touchpoints themselves."""
    return f"""
        select customer_id, minIf(occurred_at, begins) as began_at,
               argMinIf(of_scope, (occurred_at, id), begins) as chosen, groupArrayIf(occurred_at, returns) as backs
        from (
            select customer_id, occurred_at, id, {"converts" if begins is None else takes(begins, binds)} as begins,
                   {takes(returns, binds)} as returns, {" and ".join(scope.of_touchpoints(binds)) or "1"} as of_scope
            from touchpoints
        )
        where begins or returns group by customer_id having countIf(begins) > 0"""  # noqa: S608
