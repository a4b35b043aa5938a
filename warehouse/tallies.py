"""Counted tries of a funnel, added up: by value of the breakdown, by step, by time of entry."""

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import msgspec
import numpy as np
import numpy.typing as npt
from sqlalchemy import ColumnClause, Engine, Select, TextClause, column, func, select, text

from warehouse.answer import ask
from warehouse.binds import Binds
from warehouse.funnel_question import Question, Try
from warehouse.trends import Trend

OTHER = "(other)"
Milliseconds = npt.NDArray[np.int64]


class Tally(msgspec.Struct):
    """Units of one value: per step, how many took it, how many are open and how many ended there (the last step:
    converted); ms since the step taken before, of all who took it; ms from entry to end of all who converted;
    and by bucket of entry how many entered, converted, are open.
    """

    reached: list[int]
    still: list[int]
    ended: list[int]
    gaps: list[Milliseconds]
    totals: Milliseconds
    trend: dict[int, tuple[int, int, int]]

    @classmethod
    def empty(cls, last: int) -> "Tally":
        """Nobody."""
        nothing = np.empty(0, np.int64)
        return cls([0] * last, [0] * last, [0] * last, [nothing] * last, nothing, {})

    @classmethod
    def of(cls, tries: Iterable[Try], last: int, bucket: Callable[[int], int] | None) -> "Tally":
        """Of these tries."""
        tally = cls.empty(last)
        gaps: list[list[int]] = [[] for _ in range(last)]
        totals = []
        for one in tries:
            before = 0
            for step, at in enumerate(one.times):
                if at:
                    tally.reached[step] += 1
                    if before:
                        gaps[step].append(at - before)
                    before = at
            level = len(one.times) - 1
            (tally.still if one.undecided else tally.ended)[level] += 1
            converted = len(one.times) == last
            if converted:
                totals.append(one.times[-1] - one.times[0])
            if bucket is not None:
                entered = bucket(one.times[0])
                there = tally.trend.get(entered, (0, 0, 0))
                tally.trend[entered] = (there[0] + 1, there[1] + converted, there[2] + one.undecided)
        tally.gaps = [np.array(of, np.int64) for of in gaps]
        tally.totals = np.array(totals, np.int64)
        return tally

    @classmethod
    def together(cls, tallies: Sequence["Tally"], last: int) -> "Tally":
        """All of them as one."""
        if len(tallies) == 1:
            return tallies[0]
        trend: defaultdict[int, tuple[int, int, int]] = defaultdict(lambda: (0, 0, 0))
        for one in tallies:
            for at, (entered, converted, undecided) in one.trend.items():
                sums = trend[at]
                trend[at] = (sums[0] + entered, sums[1] + converted, sums[2] + undecided)
        nobody = cls.empty(last)
        everybody = (nobody, *tallies)
        reached, still, ended = (
            [sum(counts) for counts in zip(*(getattr(one, name) for one in everybody), strict=True)]
            for name in ("reached", "still", "ended")
        )
        gaps = [np.concatenate(of) for of in zip(*(one.gaps for one in everybody), strict=True)]
        totals = np.concatenate([one.totals for one in everybody])
        return cls(reached, still, ended, gaps, totals, dict(trend))

    def missed(self, before: int, step: int) -> int:
        """How many are open at the steps from `before` until before `step`."""
        return sum(self.still[before:step])


def tallies(
    connection: Engine, question: Question, now: int, *, most: int, trend: Trend | None
) -> tuple[dict[str, Tally], str]:
    """By value of the breakdown, the most frequent first, and the SQL that was asked.

    `most`: so many values are kept apart, the rest is `OTHER`.
    """
    walked = question.walked(connection, now)
    binds = Binds()
    bucket = None if trend is None else trend.sql
    # with walked tries it is not known yet which values are the most frequent
    kept_apart = most if question.by and not walked else None
    found = ask(connection, _asked(question, binds, now, bucket, kept_apart), binds)
    of: dict[str, list[Tally]] = {}
    for value, reached, still, ended, gaps, totals, buckets in found.itertuples(index=False, name=None):
        if not reached:
            continue  # nobody at all
        of.setdefault(value, []).append(
            Tally(
                list(reached),
                list(still),
                list(ended),
                [np.empty(0, np.int64), *(np.array(gap, np.int64) for gap in gaps)],
                np.array(totals, np.int64),
                {at: counts for at, *counts in zip(*buckets, strict=True)},  # type: ignore[misc]
            )
        )
    by_value: defaultdict[str, list[Try]] = defaultdict(list)
    for one in walked:
        by_value[one.value].append(one)
    for value, tries in by_value.items():
        of.setdefault(value, []).append(
            Tally.of(tries, question.last, None if trend is None else trend.bucket)
        )
    added = {value: Tally.together(some, question.last) for value, some in of.items()}
    return _ranked(added, question.last, most), found.sql()


def _ranked(of: Mapping[str, Tally], last: int, most: int) -> dict[str, Tally]:
    """The most frequent values, first; then the others together."""
    order = sorted(of, key=lambda value: (value == OTHER, -of[value].reached[0], value))
    kept = {value: of[value] for value in order[:most] if value != OTHER}
    others = [of[value] for value in order if value not in kept]
    return kept | ({OTHER: Tally.together(others, last)} if others else {})


def _asked(
    question: Question, binds: Binds, now: int, bucket: str | None, most: int | None
) -> Select[Any] | TextClause:
    """A row per value; one without a breakdown, of empty arrays where nobody is. `most`: so many values are kept apart;
    None: all.
    """
    per_value = _per_value(question, binds, now, bucket)
    if not question.by:
        return text(per_value)
    names = ("value", "reached", "still", "ended", "gaps", "totals", "trend")
    columns: list[ColumnClause[Any]] = [column(name) for name in names]
    if most is None:
        return select(*columns).select_from(text(f"({per_value} group by value)"))
    _, *of_steps, gaps, totals, trend = columns
    of_buckets = [func.tupleElement(trend, n) for n in range(1, 5)]
    added = func.any(trend) if bucket is None else func.sumMap(*of_buckets)
    # the others come last
    place = f"row_number() over (order by value = '{OTHER}', reached[1] desc, value)"
    ranked = f"""
        select reached, still, ended, gaps, totals, trend, if({place} > {most}, '{OTHER}', value) as shown
        from ({per_value} group by value)"""  # noqa: S608
    return (
        select(
            column("shown"),
            *(func.sumForEach(one) for one in of_steps),
            func.groupArrayArrayForEach(gaps),
            func.groupArrayArray(totals),
            added,
        )
        .select_from(text(f"({ranked})"))
        .group_by(column("shown"))
    )


def _per_value(question: Question, binds: Binds, now: int, bucket: str | None) -> str:
    """SQL without its group by. Whatever is of each step is one aggregate over arrays, however many steps there are."""
    last = question.last
    steps = f"range(1, {last + 1})"
    # what was not taken is 0, and so is what lies beyond an array's end
    before = (
        "arrayMax(arraySlice(times, 1, k - 1))"
        if any(step.optional for step in question.steps)
        else "times[k - 1]"
    )
    gap = f"if(times[k] > 0, toInt64(times[k]) - toInt64({before}), null)"
    trend = "([], [], [], [])"
    if bucket is not None:
        at = bucket.format("times[1]")
        trend = f"sumMap([{at}], [toUInt64(1)], [toUInt64(level = {last})], [toUInt64(undecided)])"
    return f"""
        select {"value" if question.by else "''"} as value,
               sumForEach(arrayMap(k -> toUInt64(times[k] > 0), {steps})) as reached,
               sumForEach(arrayMap(k -> toUInt64(if(k = level, undecided, 0)), {steps})) as still,
               sumForEach(arrayMap(k -> toUInt64(if(k = level, not undecided, 0)), {steps})) as ended,
               groupArrayForEach(arrayMap(k -> {gap}, range(2, {last + 1}))) as gaps,
               groupArrayIf(toInt64(times[{last}]) - toInt64(times[1]), level = {last}) as totals,
               {trend} as trend
        from ({question.units(binds, now)})"""  # noqa: S608  values are bound, names are ours
