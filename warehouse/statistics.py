"""How far a number can be trusted."""

from collections.abc import Sequence
from math import nan, sqrt
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pandas as pd


def wilson(successes: int, trials: int, *, z: float = 1.96) -> tuple[float, float]:
    """Confidence interval of a rate, (low, high) in 0–1; `z` is the normal quantile (1.96: 95 %).

    No trials give (0.0, 1.0): nothing is known. ValueError unless 0 ≤ successes ≤ trials.
    Source: E. B. Wilson, JASA 22 (1927), 209–212.
    """
    if not 0 <= successes <= trials:
        raise ValueError(f"{successes} successes in {trials} trials")
    if not trials:
        return 0.0, 1.0
    rate = successes / trials
    centre = rate + z * z / (2 * trials)
    spread = z * sqrt(rate * (1 - rate) / trials + z * z / (4 * trials * trials))
    scale = 1 + z * z / trials
    return max(0.0, (centre - spread) / scale), min(1.0, (centre + spread) / scale)


def rate_difference(
    successes_a: int, trials_a: int, successes_b: int, trials_b: int, *, z: float = 1.96
) -> tuple[float, float]:
    """Confidence interval of the rate of b less that of a, (low, high) in −1…1.

    Without trials of one of them its rate may be anything. ValueError as of `wilson`.
    Source: R. G. Newcombe, Statistics in Medicine 17 (1998), 873–890, method 10.
    """
    low_a, high_a = wilson(successes_a, trials_a, z=z)
    low_b, high_b = wilson(successes_b, trials_b, z=z)
    if not trials_a or not trials_b:
        return low_b - high_a, high_b - low_a
    a, b = successes_a / trials_a, successes_b / trials_b
    return (
        max(-1.0, b - a - sqrt((b - low_b) ** 2 + (high_a - a) ** 2)),
        min(1.0, b - a + sqrt((high_b - b) ** 2 + (a - low_a) ** 2)),
    )


def poisson_difference(a: int, b: int, *, z: float = 1.96) -> tuple[float, float]:
    """Confidence interval of what is expected of count b less what is of count a, (low, high).

    Of each the square-root interval is taken, which holds for counts of 0, too, and the two are combined as
    those of rates are. ValueError for negative counts.
    """
    if a < 0 or b < 0:
        raise ValueError(f"counts {a} and {b}")
    (low_a, high_a), (low_b, high_b) = (
        (max(0.0, sqrt(n) - z / 2) ** 2, (sqrt(n + 1) + z / 2) ** 2) for n in (a, b)
    )
    return (
        b - a - sqrt((b - low_b) ** 2 + (high_a - a) ** 2),
        b - a + sqrt((high_b - b) ** 2 + (a - low_a) ** 2),
    )


def mean_difference(
    a: tuple[float, float, int], b: tuple[float, float, int], *, confidence: float = 0.95
) -> tuple[float, float]:
    """Confidence interval of the mean of b less that of a, each (mean, standard deviation, number > 1).

    Source: B. L. Welch, Biometrika 34 (1947), 28–35.
    """
    from scipy.stats import t

    (mean_a, deviation_a, number_a), (mean_b, deviation_b, number_b) = a, b
    spread_a, spread_b = deviation_a**2 / number_a, deviation_b**2 / number_b
    spread = spread_a + spread_b
    if not spread:
        return mean_b - mean_a, mean_b - mean_a
    freedom = spread**2 / (spread_a**2 / (number_a - 1) + spread_b**2 / (number_b - 1))
    reach = float(t.ppf((1 + confidence) / 2, freedom)) * sqrt(spread)
    return mean_b - mean_a - reach, mean_b - mean_a + reach


def association(successes_a: int, trials_a: int, successes_b: int, trials_b: int) -> float:
    """Probability of rates as far apart as these, or farther, if both were of one: the p-value, 0–1.

    Fisher's exact test where fewer than five are expected somewhere, else Pearson's. 1 without trials, and where all
    or none succeed. ValueError unless 0 ≤ successes ≤ trials.
    """
    from scipy.stats import chi2_contingency, fisher_exact

    if not (0 <= successes_a <= trials_a and 0 <= successes_b <= trials_b):
        raise ValueError(f"{successes_a} of {trials_a} and {successes_b} of {trials_b}")
    successes, trials = successes_a + successes_b, trials_a + trials_b
    if not trials_a or not trials_b or successes in (0, trials):
        return 1.0
    table = [[successes_a, trials_a - successes_a], [successes_b, trials_b - successes_b]]
    rarest = min(successes, trials - successes) * min(trials_a, trials_b) / trials
    if rarest < 5:
        return float(fisher_exact(table).pvalue)
    return float(chi2_contingency(table, correction=False).pvalue)


def false_discovery(p_values: Sequence[float]) -> list[float]:
    """Each p-value after correction for their number: of those up to 0.05 a twentieth is expected to be chance.

    Source: Y. Benjamini, Y. Hochberg, Journal of the Royal Statistical Society B 57 (1995), 289–300.
    """
    from scipy.stats import false_discovery_control

    return [float(q) for q in false_discovery_control(p_values)] if len(p_values) else []


def odds_ratio(successes_a: int, trials_a: int, successes_b: int, trials_b: int) -> float:
    """Odds of a success of a, as a multiple of those of b; half a one is added to each count, so that it is finite.

    Source: J. B. S. Haldane, Annals of Human Genetics 20 (1956), 309–311.
    """
    return ((successes_a + 0.5) * (trials_b - successes_b + 0.5)) / (
        (trials_a - successes_a + 0.5) * (successes_b + 0.5)
    )


def relative_risk(
    successes_a: int, trials_a: int, successes_b: int, trials_b: int
) -> tuple[float, float, float]:
    """The rate of a as a multiple of that of b, and its 95 % interval: (ratio, low, high), each 0 to infinity.

    NaN where it cannot be told: without trials, or without successes of both; high, without those of one.
    Source: D. Katz et al., Biometrics 34 (1978), 469–474, as in scipy.
    """
    from scipy.stats.contingency import relative_risk as ratio

    if not trials_a or not trials_b or not successes_a + successes_b:
        return nan, nan, nan
    found = ratio(successes_a, trials_a, successes_b, trials_b)
    interval = found.confidence_interval(0.95)
    return float(found.relative_risk), float(interval.low), float(interval.high)


def mean_intervals(
    means: "pd.Series[float]",
    deviations: "pd.Series[float]",
    numbers: "pd.Series[int]",
    *,
    confidence: float = 0.95,
) -> "tuple[pd.Series[float], pd.Series[float]]":
    """Confidence intervals of means, (low, high), by Student's t, as if what was measured were independent.

    NaN where there are less than two: nothing is known of their spread.
    """
    from scipy.stats import t

    freedom = (numbers - 1).where(numbers > 1).astype("float64")
    reach = t.ppf((1 + confidence) / 2, freedom) * deviations / numbers**0.5
    return means - reach, means + reach
