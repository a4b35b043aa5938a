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
