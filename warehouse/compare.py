"""Two answers to one question set against each other: each figure of both, their difference, its interval.

Of rates: Newcombe's interval. Of means: Welch's. Of counts: what two Poisson counts of that size differ by chance,
as they are, not per day. Of what has an interval of its own, e.g. a cost or a median: the two joined as Newcombe's
are. All of 95 %. A figure whose spread is not known has a difference alone.
"""

from collections.abc import Callable, Iterator, Mapping
from typing import Any

import pandas as pd

from warehouse.answer import Answer, Measures, answer
from warehouse.comparison import read
from warehouse.statistics import difference, mean_difference, poisson_difference, rate_difference


def both(ask: Callable[..., Answer], said: str, among: Mapping[str, Any]) -> Answer:
    """Ask of both that `said` names (see `warehouse.comparison`) and set one against the other.

    One row per row of either and per measure. Columns: the keys of the rows, measure, a, b (NaN: it has no
    such row), difference (b − a), lo, hi (95 %; NaN: not known), significant (the interval does not hold 0).
    `parts`: `a` and `b`, the answers themselves, and `of`, their names.
    """
    comparison = read(said, among)
    a, b = (ask(**arguments) for arguments in (comparison.a, comparison.b))
    measures = a.measures
    keys = list(measures.keys)
    columns = [*keys, "measure", "a", "b", "difference", "lo", "hi", "significant"]
    rows = [(*key, *row) for key, one, other in _pairs(a, b, keys) for row in _measured(measures, one, other)]
    frame = pd.DataFrame(rows, columns=columns).astype(
        {**dict.fromkeys(("a", "b", "difference", "lo", "hi"), "float64"), "significant": "bool"}
    )
    up_to = None if a.watermark is None or b.watermark is None else min(a.watermark, b.watermark)
    return answer(
        frame,
        f"{a.sql()};\n\n{b.sql()}",
        up_to,
        parts={"of": {"a": comparison.names[0], "b": comparison.names[1]}, "a": a, "b": b},
    )


_Row = Mapping[Any, Any]


def _pairs(a: Answer, b: Answer, keys: list[str]) -> Iterator[tuple[tuple[Any, ...], _Row, _Row]]:
    """The rows of both by key, in the order of `a`, then what `b` alone has."""
    of_a, of_b = ({tuple(row[key] for key in keys): row for row in _rows(one)} for one in (a, b))
    for key in [*of_a, *(key for key in of_b if key not in of_a)]:
        yield key, of_a.get(key, {}), of_b.get(key, {})


def _rows(found: Answer) -> list[dict[Any, Any]]:
    """The rows, in which (name, "interval") is the interval of a figure that has one of its own."""
    rows: list[dict[Any, Any]] = found.to_dict(orient="records")
    for name, intervals in found.measures.intervals.items():
        for row, interval in zip(rows, intervals(), strict=True):
            row[name, "interval"] = interval
    return rows


def _measured(measures: Measures, a: _Row, b: _Row) -> Iterator[tuple[Any, ...]]:
    nothing = (None, None)
    for name in measures.counts:
        one, other = a.get(name, 0), b.get(name, 0)
        yield _row(name, one, other, poisson_difference(int(one), int(other)))
    for name, (successes, trials) in measures.rates.items():
        known = all(row and row[trials] for row in (a, b))
        bounds = (
            rate_difference(int(a[successes]), int(a[trials]), int(b[successes]), int(b[trials]))
            if known
            else nothing
        )
        yield _row(name, a.get(name), b.get(name), bounds)
    for name, (deviation, number) in measures.means.items():
        known = all(row and row[number] > 1 for row in (a, b))
        bounds = (
            mean_difference((a[name], a[deviation], int(a[number])), (b[name], b[deviation], int(b[number])))
            if known
            else nothing
        )
        yield _row(name, a.get(name), b.get(name), bounds)
    for name in measures.intervals:
        one, other = ((row[name], *row[name, "interval"]) if row else (None, None, None) for row in (a, b))
        bounds = nothing if one[0] is None or other[0] is None else difference(one, other)
        yield _row(name, one[0], other[0], bounds)
    for name in measures.figures:
        yield _row(name, a.get(name), b.get(name), nothing)


def _row(name: str, a: Any, b: Any, bounds: tuple[float | None, float | None]) -> tuple[Any, ...]:
    low, high = bounds
    missing = a is None or b is None or a != a or b != b
    outside = low is not None and high is not None and (low > 0 or high < 0)  # and not where they are NaN
    return name, a, b, None if missing else float(b) - float(a), low, high, outside
