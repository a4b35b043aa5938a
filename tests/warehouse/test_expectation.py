"""What abandonment is usual at an hour: that hour's past, all hours where it is thin, and a broad prior."""

import pytest

from warehouse.expectation import ALL_HOURS_TRIALS, PRIOR_RATE, PRIOR_TRIALS, usual


def test_with_no_past_nothing_is_known():
    assert usual([], 9) == usual([], 0)
    assert usual([], 9).rate == PRIOR_RATE
    assert usual([], 9).trials == PRIOR_TRIALS


def test_a_rich_past_of_the_hour_decides():
    busy = [(hour, 1_000.0, 100.0 if hour == 9 else 500.0) for hour in range(24) if hour not in (8, 10)]
    assert usual(busy, 9).rate == pytest.approx(0.1, abs=0.03)
    assert usual(busy, 9).trials == pytest.approx(1_000 + ALL_HOURS_TRIALS)


def test_a_thin_past_of_the_hour_leans_on_all_hours():
    past = [(hour, 1_000.0, 200.0) for hour in range(10, 20)] + [(3, 4.0, 4.0)]
    assert usual(past, 3).rate == pytest.approx(0.2, abs=0.1)
    assert usual(past, 3).trials == pytest.approx(4 + ALL_HOURS_TRIALS)


def test_neighbouring_hours_count_by_half_also_over_midnight():
    assert usual([(23, 100.0, 0.0)], 0) == usual([(1, 100.0, 0.0)], 0)
    assert usual([(23, 100.0, 0.0)], 0).trials == pytest.approx(50 + ALL_HOURS_TRIALS)
