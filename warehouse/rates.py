"""Rates in frames: a column of rates with its 95 % interval beside it."""

from collections.abc import Sequence

import pandas as pd

from warehouse.statistics import wilson


def rate_of(
    frame: pd.DataFrame, rate: str, successes: str, trials: str, *, bounds: Sequence[str] = ("lo", "hi")
) -> pd.DataFrame:
    """The frame with columns for a rate, 0–1 (NaN: no trials), and the bounds of its interval (Wilson), if any."""
    pairs = [(int(s), int(t)) for s, t in zip(frame[successes], frame[trials], strict=True)]
    intervals = [wilson(s, t) for s, t in pairs] if bounds else []
    columns = {rate: [s / t if t else None for s, t in pairs]}
    columns |= {name: [one[place] for one in intervals] for place, name in enumerate(bounds)}
    return frame.assign(**{name: pd.Series(values, dtype="float64") for name, values in columns.items()})


def at_least(trials: "pd.Series[int]", successes: "pd.Series[int]") -> "pd.Series[int]":
    """Trials that are no fewer than the successes.

    Journeys are written a few seconds after their touchpoints: what is counted of the two may differ by as much.
    """
    return trials.where(trials >= successes, successes)
