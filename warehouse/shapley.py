"""What each player of a game brings: the mean of its gains over all orders in which the players may come.

Sources: L. S. Shapley, in Contributions to the Theory of Games II (1953), 307–317; sampled: J. Castro, D. Gómez,
J. Tejada, Computers & Operations Research 36 (2009), 1726–1730.
"""

from collections.abc import Callable
from math import comb

import msgspec
import numpy as np
from numpy.typing import NDArray

Numbers = NDArray[np.float64]
Order = NDArray[np.int64]
Gains = Callable[[Order], Numbers]
"""Given an order of (some of) the players, what each of them gains when they come in it; by the player's number."""

MOST_EXACT = 10
ORDERS = 400
_SURE = 1.96  # 95 %


class Shapley(msgspec.Struct, frozen=True):
    """The value of each player; `orders` that were sampled, 0: it is exact; `errors`: half widths of 95 % intervals."""

    values: Numbers
    errors: Numbers
    orders: int


def shapley(
    players: int, gains: Gains, *, seed: int, most_exact: int = MOST_EXACT, orders: int = ORDERS
) -> Shapley:
    """Exact up to `most_exact` players; of more, over `orders` random ones, each with its reverse.

    The values sum to what all gain together, exact or sampled. The same seed gives the same values.
    """
    if players <= most_exact:
        return Shapley(exact(players, gains), np.zeros(players), 0)
    random = np.random.default_rng(seed)
    pairs = np.empty((orders // 2, players))
    for pair in pairs:
        order = random.permutation(players)
        # who comes late in the one comes early in the other, so their mean varies less
        pair[:] = (gains(order) + gains(order[::-1])) / 2
    errors = _SURE * pairs.std(axis=0, ddof=1) / np.sqrt(len(pairs))
    return Shapley(pairs.mean(axis=0), errors, 2 * len(pairs))


def exact(players: int, gains: Gains) -> Numbers:
    """The values, from what each of the 2ⁿ sets of players is worth."""
    worths = _worths(players, gains)
    values = np.zeros(players)
    sets = np.arange(1 << players)
    sizes = np.array([one.bit_count() for one in range(1 << players)])
    weights = np.array([1 / (players * comb(players - 1, size)) for size in range(players)])
    for player in range(players):
        without = sets[sets & (1 << player) == 0]
        gained = worths[without | (1 << player)] - worths[without]
        values[player] = gained @ weights[sizes[without]]
    return values


def _worths(players: int, gains: Gains) -> Numbers:
    """What every set (as bits) is worth: the sum of what its players gain, one after the other."""
    worths = np.full(1 << players, np.nan)
    worths[0] = 0
    for whole in range((1 << players) - 1, 0, -1):
        if np.isnan(worths[whole]):
            order = np.array([player for player in range(players) if whole >> player & 1], dtype=np.int64)
            gained = gains(order)
            reached, worth = 0, 0.0
            for player in order:
                reached, worth = reached | 1 << int(player), worth + gained[player]
                worths[reached] = worth
    return worths
