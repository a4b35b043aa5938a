"""Which values of a breakdown convert otherwise than the rest, more than by chance."""

from collections.abc import Mapping

import pandas as pd

from warehouse import frames
from warehouse.statistics import association, false_discovery, rate_difference

_COLUMNS = ("rate", "rate_of_others", "difference", "lo", "hi", "p_value")


def differences(by: str, ends: Mapping[str, tuple[int, int]]) -> pd.DataFrame:
    """Each value against all others together, from (converted, decided) of each.

    Columns: the field, rate, rate_of_others (0–1), difference, lo, hi (95 %, Newcombe), p_value (that both are the
    same; chi-squared, Fisher's exact test where there are few; corrected for so many comparisons by Benjamini and
    Hochberg), significant (p_value < 0.05). Values are left out where either side has nobody decided.
    """
    converted, decided = (sum(of) for of in zip(*ends.values(), strict=True)) if ends else (0, 0)
    rows, chances = [], []
    for value, (successes, trials) in ends.items():
        others, of_others = converted - successes, decided - trials
        if not trials or not of_others:
            continue
        rate, rest = successes / trials, others / of_others
        rows.append((value, rate, rest, rate - rest, *rate_difference(others, of_others, successes, trials)))
        chances.append(association(successes, trials, others, of_others))
    frame = frames.frame(
        [(*row, chance) for row, chance in zip(rows, false_discovery(chances), strict=True)],
        {by: "str", **dict.fromkeys(_COLUMNS, "float64")},
    )
    return frame.assign(significant=frame["p_value"] < 0.05)
