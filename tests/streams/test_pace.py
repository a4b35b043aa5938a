"""Work of which there is little is done often; of which there is much, together."""

from itertools import pairwise

import pytest

from streams.pace import pause_s, rest_s


@pytest.mark.parametrize("share", [0.1, 0.25, 1.0])
def test_work_takes_no_more_than_its_share_of_the_time(share: float) -> None:
    for took in (0.0, 0.01, 3.0):
        assert took == pytest.approx(share * (took + rest_s(took, share)))


def test_a_pause_grows_with_the_work_between_its_bounds() -> None:
    pauses = [pause_s(took / 100, 0.2, at_least_s=0.05, at_most_s=0.5) for took in range(100)]
    assert pauses[0] == 0.05
    assert pauses[5] == pytest.approx(0.2)
    assert pauses[-1] == 0.5
    assert all(some <= more for some, more in pairwise(pauses))
