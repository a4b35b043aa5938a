"""The difference among like: against sums by hand, and against worlds in which the difference is known."""

from math import isnan

import numpy as np
import pytest

from warehouse.statistics import rate_difference
from warehouse.stratified import Difference, risk_difference

BLOCKS = 20


def table(*strata: tuple[int, int, int, int]) -> Difference:
    """Of one block: (successes, exposed, successes, others) by stratum."""
    counts = np.array(strata).T
    return risk_difference(counts[1:2], counts[0:1], counts[3:4], counts[2:3])


def test_strata_are_weighted_by_how_much_they_can_tell() -> None:
    # weights 10·10/20 = 5 and 20·30/50 = 12
    found = table((4, 10, 6, 10), (2, 20, 15, 30))
    assert found.difference == pytest.approx((5 * (0.4 - 0.6) + 12 * (0.1 - 0.5)) / 17)
    assert found.exposed_rate == pytest.approx((5 * 0.4 + 12 * 0.1) / 17)
    assert found.compared == 30


def test_who_is_alone_in_a_stratum_is_compared_with_nobody() -> None:
    assert table((4, 10, 6, 10), (9, 9, 0, 0), (0, 0, 7, 7)) == table((4, 10, 6, 10))
    nobody = table((9, 9, 0, 0), (0, 0, 7, 7))
    assert nobody.compared == 0
    assert isnan(nobody.difference)


def test_a_difference_that_strata_explain_is_none() -> None:
    # half of the frequent convert, a tenth of the others; the pain hits the others
    naive = (10 + 90) / (20 + 900) - (450 + 10) / (900 + 100)
    found = table((10, 20, 450, 900), (90, 900, 10, 100))
    assert naive == pytest.approx(-0.351, abs=1e-3)
    assert found.difference == pytest.approx(0)


def test_one_block_has_no_interval() -> None:
    assert isnan(table((4, 10, 6, 10)).low)


def test_more_successes_than_trials_cannot_be() -> None:
    with pytest.raises(ValueError, match="successes"):
        table((11, 10, 6, 10))


def test_none_of_thirty_is_not_never() -> None:
    exposed, others = np.full((BLOCKS, 1), 2), np.full((BLOCKS, 1), 100)
    found = risk_difference(exposed[:15], exposed[:15] * 0, others[:15], others[:15] // 10)
    assert found.high > found.difference + 0.08
    assert found.low < found.difference


def test_of_one_stratum_of_simple_samples_it_is_newcombes_interval() -> None:
    random = np.random.default_rng(1)
    exposed, others = np.full((200, 1), 10), np.full((200, 1), 30)
    counts = exposed, random.binomial(exposed, 0.3), others, random.binomial(others, 0.4)
    found = risk_difference(*counts)
    sums = [int(one.sum()) for one in counts]
    low, high = rate_difference(sums[3], sums[2], sums[1], sums[0])
    assert (found.low, found.high) == pytest.approx((low, high), abs=0.006)


def brute_force(exposed: np.ndarray, hits: np.ndarray, others: np.ndarray, like: np.ndarray) -> float:
    """One loop after the other."""
    above = below = 0.0
    for stratum in range(exposed.shape[1]):
        n1, n0 = sum(exposed[:, stratum]), sum(others[:, stratum])
        if n1 and n0:
            weight = n1 * n0 / (n1 + n0)
            above += weight * (sum(hits[:, stratum]) / n1 - sum(like[:, stratum]) / n0)
            below += weight
    return above / below


@pytest.mark.parametrize("seed", range(20))
def test_it_is_what_loops_give(seed: int) -> None:
    random = np.random.default_rng(seed)
    exposed, others = random.integers(0, 4, (BLOCKS, 9)), random.integers(0, 9, (BLOCKS, 9))
    hits, like = random.binomial(exposed, 0.3), random.binomial(others, 0.5)
    found = risk_difference(exposed, hits, others, like)
    assert found.difference == pytest.approx(brute_force(exposed, hits, others, like))
    assert found.low < found.difference < found.high


def world(random: np.random.Generator, effect: float) -> tuple[np.ndarray, ...]:
    """400 customers with up to eight touchpoints each. Each has a bent to convert of their own, and some strata
    convert more, and are hit more; who is hit converts less by `effect`.
    """
    shape = (BLOCKS, 6)
    counts = [np.zeros(shape, dtype=int) for _ in range(4)]
    for customer in range(400):
        bent = random.uniform(-0.1, 0.1)
        stratum = int(random.integers(0, 6))
        for _ in range(random.integers(1, 9)):
            hit = random.random() < 0.05 + 0.05 * stratum
            rate = 0.3 + 0.08 * stratum + bent - effect * hit
            converted = random.random() < rate
            at = customer % BLOCKS, stratum
            counts[0 if hit else 2][at] += 1
            counts[1 if hit else 3][at] += converted
            if hit:
                break
            if random.random() < 0.3:
                stratum = (stratum + 1) % 6
    return tuple(counts)


@pytest.mark.parametrize("effect", [0.0, 0.15])
def test_in_a_world_of_a_known_effect_the_intervals_hold_it_nineteen_times_of_twenty(effect: float) -> None:
    random = np.random.default_rng(77)
    found = [risk_difference(*world(random, effect)) for _ in range(200)]
    held = sum(one.low <= -effect <= one.high for one in found)
    assert 183 <= held <= 200  # of 200: 190 expected, binomial 99.9 %
    assert np.mean([one.difference for one in found]) == pytest.approx(-effect, abs=0.012)
    if effect:  # comparing without strata hides half of it
        assert sum(one.high < 0 for one in found) > 100
