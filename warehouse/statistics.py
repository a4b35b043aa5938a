"""How far a number can be trusted."""

from collections.abc import Sequence
from math import exp, hypot, nan, sqrt
from typing import TYPE_CHECKING, Any

import msgspec
import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    import pandas as pd

Values = NDArray[np.integer[Any] | np.floating[Any]]


def wilson(successes: int, trials: int, *, z: float = 1.96) -> tuple[float, float]:
    """Confidence interval of a rate, (low, high) in 0–1; `z` is the normal quantile (1.96: 95 %).

    No trials give (0.0, 1.0): nothing is known. ValueError unless 0 ≤ successes ≤ trials.
    Source: E. B. Wilson, JASA 22 (1927), 209–212.
    """
    if not 0 <= successes <= trials:
        raise ValueError(f"{successes} successes in {trials} trials")
    return wilson_score(successes / trials, trials, z=z) if trials else (0.0, 1.0)


def wilson_score(rate: float, size: float, *, z: float = 1.96) -> tuple[float, float]:
    """Wilson's interval of a rate of a sample of this size, which need not be whole."""
    centre = rate + z * z / (2 * size)
    spread = z * sqrt(rate * (1 - rate) / size + z * z / (4 * size * size))
    scale = 1 + z * z / size
    return max(0.0, (centre - spread) / scale), min(1.0, (centre + spread) / scale)


class ClusterSums(msgspec.Struct, frozen=True):
    """Trials and successes in clusters, whose own hang together: their number, and sums over them of successes x,
    trials n, and x², n², xn.
    """

    clusters: int
    successes: int
    trials: int
    successes_squared: int
    trials_squared: int
    products: int


def clustered_rate(of: ClusterSums, *, z: float = 1.96) -> tuple[float, float]:
    """Confidence interval of successes / trials, (low, high) in 0–1; NaN of less than two clusters.

    Wilson's, of the simple sample whose rate varies as much, and of no larger one than there is. Where all went
    alike nothing varied, which says little of how it would: then each cluster counts once.
    Source: E. L. Korn, B. I. Graubard, Survey Methodology 24 (1998), 193–201.
    """
    if of.clusters < 2:
        return nan, nan
    rate = of.successes / of.trials
    squares = of.successes_squared - 2 * rate * of.products + rate * rate * of.trials_squared
    variance = of.clusters / (of.clusters - 1) * squares / of.trials**2
    if not 0 < rate < 1:
        return wilson_score(rate, of.clusters, z=z)
    return wilson_score(
        rate, min(of.trials, rate * (1 - rate) / variance) if variance > 0 else of.clusters, z=z
    )


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
    low, high = difference((successes_a / trials_a, low_a, high_a), (successes_b / trials_b, low_b, high_b))
    return max(-1.0, low), min(1.0, high)


def difference(a: tuple[float, float, float], b: tuple[float, float, float]) -> tuple[float, float]:
    """Confidence interval of figure b less figure a, each (figure, low, high) with its own; NaN where one is not known.

    Source: G. Y. Zou, A. Donner, Statistics in Medicine 27 (2008), 1693–1702: of each the half that faces the other.
    """
    (at_a, low_a, high_a), (at_b, low_b, high_b) = a, b
    return (
        at_b - at_a - hypot(at_b - low_b, high_a - at_a),
        at_b - at_a + hypot(high_b - at_b, at_a - low_a),
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
    return difference((a, low_a, high_a), (b, low_b, high_b))


def quantile_interval(values: Values, quantile: float, *, confidence: float = 0.95) -> tuple[float, float]:
    """Confidence interval of a quantile (0–1) of what a sample is from, (low, high): two of its own values.

    NaN where so small a sample bounds it on one side only. Source: W. J. Conover, Practical Nonparametric Statistics,
    3rd ed. (1999), 3.2.
    """
    from scipy.stats import binom

    number = len(values)
    below, above = (1 - confidence) / 2, (1 + confidence) / 2
    low, high = (int(binom.ppf(one, number, quantile)) for one in (below, above)) if number else (0, 0)
    # the low-th smallest and the one after the high-th, counted from 1
    if low < 1 or high >= number:
        return nan, nan
    within = np.partition(values, (low - 1, high))
    return float(within[low - 1]), float(within[high])


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


def odds_ratio_interval(
    successes_a: int, trials_a: int, successes_b: int, trials_b: int, *, z: float = 1.96
) -> tuple[float, float]:
    """Confidence interval of that `odds_ratio`, (low, high), symmetric of its logarithm.

    Source: J. J. Gart, J. R. Zweifel, Biometrika 54 (1967), 181–187.
    """
    cells = successes_a, trials_a - successes_a, successes_b, trials_b - successes_b
    reach = exp(z * sqrt(sum(1 / (cell + 0.5) for cell in cells)))
    ratio = odds_ratio(successes_a, trials_a, successes_b, trials_b)
    return ratio / reach, ratio * reach


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
