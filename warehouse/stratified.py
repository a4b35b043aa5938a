"""What an exposure makes a rate differ by, among like: from counts by stratum and by block of customers. Pure.

Within a stratum those who were exposed and those who were not are alike in all that the stratum tells apart. The
difference is the Mantel-Haenszel risk difference: the differences of the strata, weighted by n₁n₀/(n₁+n₀), which
stays right where strata are many and small. Who was alone in a stratum is compared with nobody.

The counts of one customer hang together, since one journey has many touchpoints. So the variance of each side's
rate is taken from leaving out one block of customers after the other (the delete-a-group jackknife), and the rate
is given the interval (Wilson) of a simple sample that varies as much; never of one larger than there is, so that
none of thirty is not taken for never. The two are joined as Newcombe does.

Sources: S. Greenland, J. M. Robins, Biometrics 41 (1985), 55–68 (the difference); P. S. Kott, Journal of Official
Statistics 17 (2001), 521–526 (the jackknife); E. L. Korn, B. I. Graubard, Survey Methodology 24 (1998), 193–201 (the
effective sample size); X. Yan, X. G. Su, Statistics in Biopharmaceutical Research 2 (2010), 329–335 (the interval).
"""

from math import nan
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from warehouse.statistics import difference, wilson_score

Counts = NDArray[np.int64]
_Rates = NDArray[np.float64]


class Difference(msgspec.Struct, frozen=True):
    """Rates 0–1 of the exposed and of the others like them, weighted alike; their difference (exposed less others)
    with its 95 % interval. NaN: nobody to compare with; bounds NaN: not known from one block alone.
    `compared`: exposed ones that others are like.
    """

    compared: int
    exposed_rate: float
    others_rate: float
    difference: float
    low: float
    high: float


def risk_difference(
    exposed: Counts, exposed_successes: Counts, others: Counts, others_successes: Counts
) -> Difference:
    """From arrays of the shape (blocks, strata), each of counts. ValueError for successes beyond the trials."""
    for successes, trials in ((exposed_successes, exposed), (others_successes, others)):
        if successes.shape != exposed.shape or (successes < 0).any() or (successes > trials).any():
            raise ValueError("counts of other shapes, or more successes than trials")
    blocks = [
        array[(exposed + others).sum(axis=1) > 0]
        for array in (exposed, exposed_successes, others, others_successes)
    ]
    totals = [array.sum(axis=0, keepdims=True) for array in blocks]
    ours, theirs = (float(rate[0]) for rate in _weighted(*totals))
    compared = int(totals[0][totals[2] > 0].sum())
    if not compared:
        return Difference(0, nan, nan, nan, nan, nan)
    count = len(blocks[0])
    if count < 2:
        return Difference(compared, ours, theirs, ours - theirs, nan, nan)
    without = _weighted(*(total - block for total, block in zip(totals, blocks, strict=True)))
    if any(np.isnan(rates).any() for rates in without):  # all that is compared lies in one block
        return Difference(compared, ours, theirs, ours - theirs, nan, nan)
    weights = _weights(totals[0], totals[2])
    quantile = _quantile(count - 1)
    (low, high), (others_low, others_high) = (
        wilson_score(min(1.0, max(0.0, rate)), _effective(rate, rates, weights, total), z=quantile)
        for rate, rates, total in ((ours, without[0], totals[0]), (theirs, without[1], totals[2]))
    )
    return Difference(
        compared,
        ours,
        theirs,
        ours - theirs,
        *difference((theirs, others_low, others_high), (ours, low, high)),
    )


def _weights(exposed: Counts, others: Counts) -> _Rates:
    return np.asarray(exposed * others / np.maximum(exposed + others, 1), dtype=np.float64)


def _weighted(
    exposed: Counts, exposed_successes: Counts, others: Counts, others_successes: Counts
) -> tuple[_Rates, _Rates]:
    """The rates of both sides, one of each row; NaN where nobody is compared."""
    weights = _weights(exposed, others)
    whole = weights.sum(axis=1)
    whole[whole == 0] = nan
    return tuple(
        (weights * successes / np.maximum(trials, 1)).sum(axis=1) / whole
        for successes, trials in ((exposed_successes, exposed), (others_successes, others))
    )


def _effective(rate: float, without: _Rates, weights: _Rates, trials: Counts) -> float:
    """Size of a simple sample whose rate varies as much as the weighted one."""
    counted = weights > 0
    size = float(weights.sum() ** 2 / (weights[counted] ** 2 / trials[counted]).sum())
    variance = (len(without) - 1) / len(without) * float(((without - without.mean()) ** 2).sum())
    # where all went alike nothing varied: that says little of how it would
    return min(size, rate * (1 - rate) / variance) if variance and 0 < rate < 1 else size


def _quantile(freedom: int) -> float:
    from scipy.stats import t

    quantile: Any = t.ppf(0.975, freedom)
    return float(quantile)
