"""Funnels: how many reach each step, within a window; who is lost, and who is still open.

The rules. A try begins at a touchpoint of the first step, its entry; the range selects entries, and what
comes after its end but within the window counts. The try ends `within` after the entry, that instant
included.
- `ordered`: to the next steps in their order, each at a time no earlier than the step before. Others may lie
  between, those of equal time may be taken in either order, and one touchpoint takes one step only.
- `strict`: the very next touchpoint, in the order of (occurred_at, id), is the next step, or the try has ended.
- `any`: level k is k different steps, by k touchpoints; the entry is the first of them.

A step's `within` and `after` are counted from the step that was taken before. Without an optional step a try
goes on; it is taken whenever the counted try can.

A customer (journey, transaction, account) counts once, at the deepest level that any of their entries allows. Of
several such tries the one that is completed first counts, with the latest entry that it can have, then the one whose
steps come earliest; from it are the times and the value of a breakdown (of several touchpoints at that instant, the
smallest).

Something excluded strictly between reaching the steps of an exclusion, or the window's end where the second of them
is not reached, spoils a try. Whose deepest tries are all spoiled is not counted; in `any` order a spoiled try
does not count, and the deepest of the others does.

Who has not converted, and whose window after the latest entry has not ended at the watermark, is open, and
not lost. Rates are over the decided: all who entered but those who are open at an earlier step. With a 95 %
interval (Wilson).
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from itertools import chain
from typing import Annotated, Any, Literal, Unpack

import numpy as np
import pandas as pd
from sqlalchemy import Engine
from typing_extensions import Doc

from warehouse import frames
from warehouse.among import Among, scope_of
from warehouse.analysis import analysis
from warehouse.answer import Answer, Intervals, Measures, Parts, QuestionError, answer
from warehouse.basis import watermark
from warehouse.breakdowns import differences
from warehouse.funnel_question import Order, Question, ms
from warehouse.keys import Per
from warehouse.plain import plain
from warehouse.statistics import quantile_interval, wilson
from warehouse.tallies import Milliseconds, Tally, tallies
from warehouse.trends import trend_of

_MINUTE, _HOUR, _DAY = 60_000, 3_600_000, 86_400_000
_BINS = (
    0, 1_000, 10_000, 30_000, _MINUTE, 2 * _MINUTE, 5 * _MINUTE, 10 * _MINUTE, 30 * _MINUTE,
    _HOUR, 2 * _HOUR, 6 * _HOUR, 12 * _HOUR, _DAY, 2 * _DAY, 3 * _DAY, 7 * _DAY, 14 * _DAY, 30 * _DAY,
    60 * _DAY, 90 * _DAY, 180 * _DAY, 365 * _DAY, 20 * 365 * _DAY,
)  # fmt: skip
_QUANTILES = {"median_s": 0.5, "p10_s": 0.1, "p90_s": 0.9}
_COUNTS = ("step", "count", "open", "lost", "decided", "decided_before")
_FIGURES = ("median_s", "mean_s", "p10_s", "p90_s", "sd_s")
_COLUMNS = {
    "step": "int64",
    "name": "str",
    "count": "int64",
    "open": "int64",
    "lost": "int64",
    "rate": "float64",
    "lo": "float64",
    "hi": "float64",
    "rate_from_previous": "float64",
    **dict.fromkeys(_FIGURES, "float64"),
    "decided": "int64",
    "decided_before": "int64",
}
_Row = tuple[Any, ...]  # of these columns
HIDDEN = ("mean_s", "p10_s", "p90_s", "sd_s", "decided", "decided_before")


@analysis("funnel", hidden=HIDDEN)
def funnel(
    connection: Engine,
    steps: Annotated[
        Sequence[str | Mapping[str, Any]],
        Doc("Steps in order, e.g. add_to_cart[channel=web], @Purchase, 'a|b', 'b?', or JSON."),
    ],
    *,
    within: Annotated[str, Doc("Time from the first step to the last, e.g. 30m, 7d.")] = "7d",
    order: Annotated[
        Order, Doc("ordered: others may lie between the steps; strict: none may; any: in any order.")
    ] = "ordered",
    per: Annotated[Per, Doc("What is counted, each once.")] = "customer",
    by: Annotated[str | None, Doc("Split by this field, e.g. channel or properties.plan.")] = None,
    value_of: Annotated[
        str,
        Doc("Whose value it is split by: entry, last (step reached), every (step's), or a step's number."),
    ] = "entry",
    top: Annotated[int, Doc("Keep so many of the most frequent values apart; the rest is (other).")] = 10,
    exclude: Annotated[
        Sequence[str | Mapping[str, Any]],
        Doc("Who does this between the steps is left out; between the first and second: chat_started:1-2."),
    ] = (),
    trend: Annotated[
        Literal["hour", "day", "week"] | None, Doc("Also conversion by time of entry, by hour, day or week.")
    ] = None,
    **among: Unpack[Among],
) -> Answer:
    """How many reach each step, in order, within a window.

    One row per step, and per value of `by`, the most frequent first. Columns: the field of `by` (str), step (int,
    from 1), name (str), count, open, lost (stopped here) (int), rate (of decided entries, 0–1; NaN: none is), lo, hi
    (95 %), rate_from_previous, median_s, mean_s, p10_s, p90_s, sd_s (since the step taken before; NaN: nobody),
    decided (int, what rate is of), decided_before (what rate_from_previous is of).

    Parts: `steps` (with `by`: the same over all values), `breakdown` (value to its steps), `differences` (each value
    against all others), `trend`, `time_to_convert`, `total` (times from entry to conversion). The period selects
    entries. QuestionError says what of it cannot be asked.
    """
    scope = scope_of(connection, among)
    question = Question(
        steps, scope, within=within, order=order, per=per, by=by, value_of=value_of, exclude=exclude
    )
    if top < 1:
        raise QuestionError(f"{top} values cannot be kept apart", remedy="Let top be at least 1.")
    question.check_names(connection)
    up_to = watermark(connection)
    now = 0 if up_to is None else ms(up_to)  # before the first watermark nothing is decided
    trending = None if trend is None else trend_of(trend, scope.zone)
    of, sql = tallies(connection, question, now, most=top, trend=trending)
    whole = Tally.together([*of.values()], question.last) if of else Tally.empty(question.last)
    if question.every and by:
        # who has several values is in several of them, and once in the whole
        alone = Question(
            steps, scope, within=within, order=order, per=per, by=None, value_of="entry", exclude=exclude
        )
        found, _ = tallies(connection, alone, now, most=1, trend=trending)
        whole = found.get("", Tally.empty(question.last))
    shown = [*of.values()] if by else [whole]
    in_all = frame = frames.frame(_rows(whole, question), _COLUMNS)
    making: dict[str, Callable[[], Any]] = {}
    if by:
        per_value = {value: list(_rows(tally, question)) for value, tally in of.items()}
        frame = _by_value(by, per_value)
        making["steps"] = lambda: in_all
        making["breakdown"] = lambda: {value: {"steps": _listed(rows)} for value, rows in per_value.items()}
        if not question.every:
            ends = {
                value: (tally.reached[-1], _decided(tally, question.last - 1)) for value, tally in of.items()
            }
            making["differences"] = lambda: differences(by, ends)
    if trending is not None:
        # not later: there may be more rows than are given
        trend_rows = trending.rows(whole.trend, question.window_ms, question.range_ms, now)
        making["trend"] = lambda: trend_rows
    making["time_to_convert"] = lambda: _histogram(whole.totals, question.window_ms)
    making["total"] = lambda: dict(zip(_FIGURES, map(plain, _times(whole.totals)), strict=True))
    measures = Measures(
        keys=(*([by] if by else []), "step", "name"),
        counts=("count",),
        rates={"rate": ("count", "decided"), "rate_from_previous": ("count", "decided_before")},
        means={"mean_s": ("sd_s", "count")},
        intervals=_quantile_intervals(shown, question.last),
    )
    return answer(frame, sql, up_to, measures=measures, parts=Parts(**making), noun="steps")


def _rows(tally: Tally, question: Question) -> Iterator[_Row]:
    """A row of the answer per step."""
    for step, asked in enumerate(question.steps):
        count, decided = tally.reached[step], _decided(tally, step)
        before = step - 1
        while before > 0 and question.steps[before].optional:
            before -= 1
        decided_before = tally.reached[before] - tally.missed(before, step) if step else 0
        yield (
            step + 1,
            asked.name if question.order != "any" else f"any {step + 1} of {question.last}",
            count,
            tally.still[step],
            tally.ended[step] if step + 1 < question.last else 0,
            count / decided if decided else None,
            *wilson(count, decided),
            count / decided_before if decided_before else None,
            *_times(tally.gaps[step]),
            decided,
            decided_before,
        )


def _decided(tally: Tally, step: int) -> int:
    """All who entered but those who are open at an earlier step."""
    return tally.reached[0] - tally.missed(0, step)


def _times(gaps: Milliseconds) -> tuple[float | None, ...]:
    """Median, mean, p10, p90 and standard deviation, s; None where there are too few."""
    if not len(gaps):
        return (None,) * len(_FIGURES)
    p10, median, p90 = np.percentile(gaps, (10, 50, 90)) / 1000
    deviation = float(gaps.std(ddof=1)) / 1000 if len(gaps) > 1 else None
    return float(median), float(gaps.mean()) / 1000, float(p10), float(p90), deviation


def _quantile_intervals(shown: Sequence[Tally], last: int) -> Mapping[str, Intervals]:
    """Of the times of each row: the steps of one value after those of another."""

    def of(quantile: float) -> list[tuple[float, float]]:
        found = [quantile_interval(tally.gaps[step], quantile) for tally in shown for step in range(last)]
        return [(low / 1000, high / 1000) for low, high in found]

    return {name: partial(of, quantile) for name, quantile in _QUANTILES.items()}


def _histogram(totals: Milliseconds, window_ms: int) -> pd.DataFrame:
    """Columns: from_s, to_s (s; a bin holds its beginning and not its end, the last one both), count, share."""
    edges = [edge for edge in _BINS if edge < window_ms] + [window_ms]
    counts, _ = np.histogram(totals, bins=edges)
    frame = pd.DataFrame({"from_s": edges[:-1], "to_s": edges[1:], "count": counts})
    frame["share"] = frame["count"] / max(1, len(totals))
    frame[["from_s", "to_s"]] /= 1000
    return frame


def _by_value(by: str, per_value: Mapping[str, Sequence[_Row]]) -> pd.DataFrame:
    frame = frames.frame(chain.from_iterable(per_value.values()), _COLUMNS)
    values = [value for value, rows in per_value.items() for _ in rows]
    # a field may have the name of a column of ours
    frame.insert(0, by, pd.Series(values, dtype="str"), allow_duplicates=True)
    return frame


def _listed(rows: Sequence[_Row]) -> list[dict[str, Any]]:
    """Steps as JSON has them."""
    named = [dict(zip(_COLUMNS, map(plain, row), strict=True)) for row in rows]
    return [
        {
            "interval" if name == "lo" else name: [value, row["hi"]] if name == "lo" else value
            for name, value in row.items()
            if name != "hi"
        }
        for row in named
    ]
