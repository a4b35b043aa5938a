"""Tests and ratios of two rates, against values worked out by hand or printed in books."""

from math import isnan

import pytest

from warehouse.statistics import association, false_discovery, odds_ratio, relative_risk

P_VALUES = {
    "the lady tasting tea, whom Fisher asked": ((3, 4, 1, 4), 0.4857),
    "Pearson's where enough are expected": ((20, 100, 40, 100), 0.00203),
    "equal rates": ((10, 100, 20, 200), 1.0),
    "no trials of one": ((0, 0, 5, 9), 1.0),
    "all succeed": ((5, 5, 9, 9), 1.0),
    "none succeeds": ((0, 5, 0, 9), 1.0),
}


@pytest.mark.parametrize(("counts", "p"), P_VALUES.values(), ids=P_VALUES.keys())
def test_association(counts: tuple[int, int, int, int], p: float) -> None:
    assert association(*counts) == pytest.approx(p, abs=1e-4)


def test_association_refuses_what_cannot_be() -> None:
    with pytest.raises(ValueError, match="3 of 2"):
        association(3, 2, 1, 2)


def test_false_discovery_is_that_of_benjamini_and_hochberg() -> None:
    assert false_discovery([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.02, 0.04, 0.04, 0.02])
    assert false_discovery([]) == []


def test_relative_risk_with_the_interval_of_katz() -> None:
    assert relative_risk(30, 100, 15, 100) == pytest.approx((2.0, 1.1489, 3.4817), abs=2e-4)


@pytest.mark.parametrize("counts", [(0, 0, 1, 2), (1, 2, 0, 0), (0, 5, 0, 5)])
def test_a_ratio_that_cannot_be_told_is_nan(counts: tuple[int, int, int, int]) -> None:
    assert isnan(relative_risk(*counts)[0])


def test_odds_ratio_is_finite_where_a_count_is_none() -> None:
    assert odds_ratio(9, 19, 4, 24) == pytest.approx(9.5 * 20.5 / (10.5 * 4.5))
    assert odds_ratio(5, 5, 0, 5) == pytest.approx(5.5 * 5.5 / (0.5 * 0.5))
