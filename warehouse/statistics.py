"""How far a number can be trusted."""

from math import sqrt


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
