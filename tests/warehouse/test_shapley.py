"""What each player brings, against the mean over all orders; and how far a sample may be from it."""

from itertools import permutations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.warehouse.chains import PATHS, chain_of
from warehouse.shapley import Gains, exact, shapley

GAMES = st.integers(1, 5).flatmap(
    lambda players: st.lists(
        st.integers(-20, 20).map(float), min_size=1 << players, max_size=1 << players
    ).map(lambda worths: [0.0, *worths[1:]])
)
"""What each set of players is worth, by its bits."""


def gains_of(worths: list[float]) -> Gains:
    def gains(order: np.ndarray) -> np.ndarray:
        gained, reached = np.zeros((len(worths) - 1).bit_length()), 0
        for player in order:
            further = reached | 1 << int(player)
            gained[player] = worths[further] - worths[reached]
            reached = further
        return gained

    return gains


@given(GAMES)
def test_exact_values_are_the_mean_over_all_orders(worths: list[float]) -> None:
    players = (len(worths) - 1).bit_length()
    orders = [gains_of(worths)(np.array(order)) for order in permutations(range(players))]
    assert exact(players, gains_of(worths)).tolist() == pytest.approx(np.mean(orders, axis=0).tolist())


@given(GAMES, st.integers(0, 9))
def test_values_sum_to_what_all_gain_together_exact_or_sampled(worths: list[float], seed: int) -> None:
    players = (len(worths) - 1).bit_length()
    for most_exact in (0, 10):
        found = shapley(players, gains_of(worths), seed=seed, most_exact=most_exact, orders=8)
        assert found.values.sum() == pytest.approx(worths[-1], abs=1e-9)


@settings(max_examples=30)
@given(PATHS)
def test_a_sample_is_as_near_to_the_exact_values_as_it_says(paths: list[tuple[list[int], bool]]) -> None:
    chain = chain_of(paths)
    players = len(chain.begins)
    sampled = shapley(players, chain.gains, seed=7, most_exact=0, orders=2_000)
    assert sampled.orders == 2_000
    # a few of a hundred lie outside of a 95 % interval, none outside of three of them
    assert (np.abs(sampled.values - exact(players, chain.gains)) <= 3 * sampled.errors + 1e-9).all()


def test_the_same_seed_gives_the_same_sample_and_another_another() -> None:
    worths = [float(n * n % 7) for n in range(1 << 5)]
    worths[0] = 0.0
    one, again, other = (
        shapley(5, gains_of(worths), seed=seed, most_exact=0, orders=10).values.tolist() for seed in (1, 1, 2)
    )
    assert one == again != other


def test_few_players_are_worked_out_exactly_and_say_so() -> None:
    found = shapley(2, gains_of([0.0, 1.0, 2.0, 5.0]), seed=0)
    assert (found.values.tolist(), found.errors.tolist(), found.orders) == ([2.0, 3.0], [0.0, 0.0], 0)


def test_nobody_brings_nothing() -> None:
    assert shapley(0, gains_of([0.0]), seed=0).values.tolist() == []
