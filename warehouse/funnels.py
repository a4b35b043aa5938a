"""Funnels: how many customers reach each step, in order, within a window.

The rules. A try begins at a touchpoint of the first step (the entry; the range selects entries) and goes
on to the
next steps in order, in time no earlier than the step before, at most `within` after the entry, both ends
included.
One touchpoint takes one step only; touchpoints of equal time may be taken in either order. In between
others may
lie (`ordered`), or none of the customer's (`strict`). A customer counts once, at the deepest level that
any of
their entries allows. Whoever has not converted, and whose window has not ended at the watermark, is open,
which is not lost; rates are over those that are decided, with a 95 % interval (Wilson).
"""

from collections.abc import Sequence
from datetime import datetime
from typing import Any

import pandas as pd
from sqlalchemy import Engine, text

from warehouse import views
from warehouse.answer import Answer, QuestionError, answer, ask, check_range
from warehouse.statistics import wilson
from warehouse.steps import Step, check_field, check_names, duration_ms, parse

ORDERS = ("ordered", "strict")
MOST_STEPS = 20
_NUMERIC = ("<", ">", "<=", ">=")


def funnel(
    connection: Engine,
    steps: Sequence[str],
    *,
    within: str = "7d",
    order: str = "ordered",
    by: str | None = None,
    since: datetime | None = None,
    until: datetime | None = None,
    exclude: Sequence[str] = (),
) -> Answer:
    """One row per step (and per value of `by`, that of the customer's first entry).

    Columns: step (from 1), name, count, open, lost (stopped here), rate (of decided entries), lo, hi (95 %
    interval), rate_from_previous, median_s (from the step before). QuestionError names what cannot be asked.
    """
    question = Question(steps, within=within, order=order, by=by, since=since, until=until, exclude=exclude)
    check_names(connection, [*question.steps, *question.excluded])
    found = ask(connection, question.text(), question.binds)
    frame = pd.DataFrame(found)
    values = sorted(frame["value"].unique(), key=str) if by else [None]
    rows = [
        row
        for value in values
        for row in question.levels(frame if value is None else frame[frame["value"] == value], value)
    ]
    columns = [*([by] if by else []), *_COLUMNS]
    return answer(pd.DataFrame(rows, columns=columns), found.sql(), found.watermark)


# A try is the list of its times. An event: 1 time, 2 which steps it takes, 3 whether it is excluded, 4 the
# first step
# it takes (so that of equal times the earlier step comes first), 5 id, 6 value of the breakdown.
_SQL = """
with (select toUnixTimestamp64Milli(min(watermark)) from watermarks) as watermark
select value, level, level < {last} and latest_entry + :window >= watermark as open, count() as
customers{gaps} from (
    select events[arrayFirstIndex(e -> e.2[1] = 1, events)].6 as value,
           arrayFold(
               (acc, e) -> arrayMap(
                   k -> multiIf(
                       e.3, if(k = {last}, acc[k], emptyArrayUInt64()),
                       e.2[k] = 0, {kept},
                       k = 1, if({entry} and (k < {last} or empty(acc[k])), [e.1], {kept}),
                       notEmpty(acc[k - 1]) and e.1 - acc[k - 1][1] <= :window
                           and if(k = {last}, empty(acc[k]), empty(acc[k]) or acc[k - 1][1] >= acc[k][1]),
                       arrayPushBack(acc[k - 1], e.1),
                       {kept}
                   ),
                   range(1, {last} + 1)
               ),
               events,
               arrayMap(k -> emptyArrayUInt64(), range(1, {last} + 1))
           ) as tries,
           arrayMax(arrayMap((chain, k) -> if(notEmpty(chain), k, 0), tries, range(1, {last} + 1))) as level,
           tries[level] as times,
           arrayMax(arrayMap(chain -> chain[1], tries)) as latest_entry
    from (
        select arraySort(e -> (e.1, e.4, e.5), groupArray((at, flags, excluded, lowest, id, value))) as events
        from (
            select customer_id, id, toUInt64(toUnixTimestamp64Milli(occurred_at)) as at,
                   [{flags}] as flags, toUInt8({excluded}) as excluded,
                   if(has(flags, 1), indexOf(flags, 1), 255) as lowest, {value} as value
            from touchpoints
            where ({relevant}) {period}
        )
        group by customer_id
    )
)
where level > 0
group by value, level, open
order by value, level, open
"""

_COLUMNS = ("step", "name", "count", "open", "lost", "rate", "lo", "hi", "rate_from_previous", "median_s")


class Question:
    """A funnel as SQL: per customer, one pass over their matching touchpoints in order.

    `chains[k]` are the times of the try that reached level k with the latest entry. A touchpoint extends
    every chain at once, from what was there before it: so it never takes two steps.
    """

    def __init__(
        self,
        steps: Sequence[str],
        *,
        within: str,
        order: str,
        by: str | None,
        since: datetime | None,
        until: datetime | None,
        exclude: Sequence[str],
    ) -> None:
        if not 1 <= len(steps) <= MOST_STEPS:
            raise QuestionError(f"a funnel has 1 to {MOST_STEPS} steps, not {len(steps)}")
        if order not in ORDERS:
            raise QuestionError(f'order "{order}" is not known', remedy=f"It is one of {', '.join(ORDERS)}.")
        self.steps = [parse(step) for step in steps]
        self.excluded = [parse(step) for step in exclude]
        self.order = order
        self.by = check_field(by) if by else None
        self.window_ms = duration_ms(within)
        check_range(since, until)
        self.binds: dict[str, Any] = {"window": self.window_ms}
        self._since = since
        self._until = until

    def text(self) -> Any:
        """The SQL; everything that a user wrote is bound."""
        last = len(self.steps)
        flags = ", ".join(self._matches(step, f"s{n}") for n, step in enumerate(self.steps))
        excluded = " or ".join(self._matches(step, f"x{n}") for n, step in enumerate(self.excluded)) or "0"
        value = f"toString({self._field(self.by, 'by')})" if self.by is not None else "''"
        period, entry = [], "1"
        if self._since is not None:
            self.binds["since"] = _ms(self._since)
            period.append("and at >= :since")
        if self._until is not None:
            self.binds["until"] = _ms(self._until)
            period.append("and at < :until + :window")
            entry = "e.1 < :until"
        return text(
            _SQL.format(
                last=last,
                flags=flags,
                excluded=excluded,
                value=value,
                entry=entry,
                period=" ".join(period),
                # others may lie between the steps, or whatever takes no step ends the try
                relevant="has(flags, 1) or excluded" if self.order == "ordered" else "1",
                kept="acc[k]" if self.order == "ordered" else f"if(k = {last}, acc[k], emptyArrayUInt64())",
                gaps="".join(
                    f", groupArrayIf(times[{n}] - times[{n - 1}], level >= {n}) as gaps_{n}"
                    for n in range(2, last + 1)
                ),
            )
        )

    def levels(self, frame: pd.DataFrame, value: Any) -> list[tuple[Any, ...]]:
        """The rows of one value of the breakdown, from customers per level and whether they are open."""
        k = len(self.steps)
        reached = [int(frame.loc[frame["level"] >= n, "customers"].sum()) for n in range(1, k + 1)]
        still = [
            int(frame.loc[(frame["level"] == n) & frame["open"].astype(bool), "customers"].sum())
            for n in range(1, k + 1)
        ]
        rows = []
        for n in range(1, k + 1):
            count = reached[n - 1]
            after = reached[n] if n < k else count
            decided = reached[0] - sum(still[: n - 1])
            before = (reached[n - 2] - still[n - 2]) if n > 1 else count
            low, high = wilson(count, decided)
            gaps = sorted(gap for gaps in frame[f"gaps_{n}"] for gap in gaps) if n > 1 and len(frame) else []
            row = (
                n,
                self.steps[n - 1].name,
                count,
                still[n - 1],
                count - after - still[n - 1],
                count / decided if decided else None,
                low,
                high,
                count / before if before else None,
                _median(gaps) / 1000 if gaps else None,
            )
            rows.append((value, *row) if self.by else row)
        return rows

    def _matches(self, step: Step, name: str) -> str:
        """SQL: whether a touchpoint takes the step."""
        conditions = []
        if step.types is not None:
            self.binds[f"{name}_types"] = list(step.types)
            conditions.append(f"has(:{name}_types, type)")
        if step.phase is not None:
            self.binds[f"{name}_phase"] = step.phase
            conditions.append(f"phase = :{name}_phase")
        for number, condition in enumerate(step.where):
            bind = f"{name}_{number}"
            field = self._field(condition.field, bind)
            if condition.op in _NUMERIC:
                try:
                    self.binds[bind] = float(condition.value)
                except ValueError as error:
                    raise QuestionError(f'"{condition.value}" in step "{step.name}" is no number') from error
                conditions.append(f"ifNull(toFloat64OrNull(toString({field})) {condition.op} :{bind}, false)")
            else:
                self.binds[bind] = condition.value
                conditions.append(f"ifNull(toString({field}), '') {condition.op} :{bind}")
        return f"toUInt8({' and '.join(conditions) or 'true'})"

    def _field(self, field: str, bind: str) -> str:
        if field in views.touchpoints.c:
            return f"`{field}`"
        self.binds[f"{bind}_property"] = field.removeprefix("properties.")
        return f"JSON_VALUE(properties, concat('$.', :{bind}_property))"


def _ms(at: datetime) -> int:
    return round(at.timestamp() * 1000)


def _median(gaps: Sequence[int]) -> float:
    middle = len(gaps) // 2
    return float(gaps[middle]) if len(gaps) % 2 else (gaps[middle - 1] + gaps[middle]) / 2
