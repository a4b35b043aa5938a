"""Two answers to one question set against each other: each figure of both, their difference, its interval.

Of rates: Newcombe's interval. Of means: Welch's. Of counts: what two Poisson counts of that size differ by chance,
as they are, not per day. Of what has an interval of its own, e.g. a cost or a median of a funnel: the two joined as
Newcombe's are. Of all else the question is asked again of all customers but some, and then of all but others
(`warehouse.blocks`): the difference varies as it does then. All of 95 %.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from math import nan
from typing import Any

import pandas as pd

from warehouse.answer import Answer, Measures, answer
from warehouse.asker import at_once
from warehouse.blocks import BLOCKS, jackknife, leaving_out
from warehouse.comparison import Comparison, read
from warehouse.statistics import difference, mean_difference, poisson_difference, rate_difference


def both(ask: Callable[..., Answer], said: str, among: Mapping[str, Any]) -> Answer:
    """Ask of both that `said` names (see `warehouse.comparison`) and set one against the other.

    One row per row of either and per measure. Columns: the keys of the rows, measure, a, b (NaN: it has no
    such row), difference (b − a), lo, hi (95 %; NaN: not known), significant (the interval does not hold 0).
    `parts`: `a` and `b`, the answers themselves, and `of`, their names.
    """
    comparison = read(said, among)
    a, b = _asked_of_both(ask, comparison)
    measures = a.measures
    keys = list(measures.keys)
    columns = [*keys, "measure", "a", "b", "difference", "lo", "hi", "significant"]
    fewer = list(_without_blocks(ask, comparison)) if measures.varying else []
    rows = [
        (*key, *row)
        for key, one, other in _pairs(_rows(a), _rows(b))
        for row in [*_measured(measures, one, other), *_varying(measures, key, one, other, fewer)]
    ]
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
_Rows = Mapping[tuple[Any, ...], _Row]


def _asked_of_both(ask: Callable[..., Answer], comparison: Comparison) -> tuple[Answer, Answer]:
    return at_once(partial(ask, **comparison.a), partial(ask, **comparison.b))


def _without_blocks(ask: Callable[..., Answer], comparison: Comparison) -> Iterator[tuple[_Rows, _Rows]]:
    """The rows of both, each time of all customers but one block of them."""
    for block in range(BLOCKS):
        with leaving_out(block):
            a, b = _asked_of_both(ask, comparison)
        yield _by_key(a.to_dict(orient="records"), a), _by_key(b.to_dict(orient="records"), b)


def _pairs(a: _Rows, b: _Rows) -> Iterator[tuple[tuple[Any, ...], _Row, _Row]]:
    """The rows of both by key, in the order of `a`, then what `b` alone has."""
    for key in [*a, *(key for key in b if key not in a)]:
        yield key, a.get(key, {}), b.get(key, {})


def _by_key(rows: list[dict[Any, Any]], of: Answer) -> _Rows:
    return {tuple(row[key] for key in of.measures.keys): row for row in rows}


def _rows(found: Answer) -> _Rows:
    """The rows by key, in which (name, "interval") is the interval of a figure that has one of its own."""
    rows: list[dict[Any, Any]] = found.to_dict(orient="records")
    for name, intervals in found.measures.intervals.items():
        for row, interval in zip(rows, intervals(), strict=True):
            row[name, "interval"] = interval
    return _by_key(rows, found)


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
    for name in measures.certain:
        yield _row(name, a.get(name), b.get(name), nothing)


def _varying(
    measures: Measures, key: tuple[Any, ...], a: _Row, b: _Row, fewer: Sequence[tuple[_Rows, _Rows]]
) -> Iterator[tuple[Any, ...]]:
    """`fewer`: the rows of both without one block of customers each."""
    for name in measures.varying:
        # of a sum nothing is 0, and what a part of the customers adds up to stands for all
        nothing, scale = (0.0, BLOCKS / (BLOCKS - 1)) if name in measures.sums else (nan, 1.0)
        without = [
            scale * _difference(name, of_a.get(key, {}), of_b.get(key, {}), nothing) for of_a, of_b in fewer
        ]
        bounds = jackknife(_difference(name, a, b, nothing), without)
        yield _row(name, a.get(name, nothing), b.get(name, nothing), bounds)


def _difference(name: str, a: _Row, b: _Row, nothing: float) -> float:
    of_a, of_b = (nothing if row.get(name) is None else float(row[name]) for row in (a, b))
    return of_b - of_a


def _row(name: str, a: Any, b: Any, bounds: tuple[float | None, float | None]) -> tuple[Any, ...]:
    low, high = bounds
    missing = a is None or b is None or a != a or b != b
    outside = low is not None and high is not None and (low > 0 or high < 0)  # and not where they are NaN
    return name, a, b, None if missing else float(b) - float(a), low, high, outside
