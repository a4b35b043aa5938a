"""What falls away without a touch, against a chain that is walked step by step."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.warehouse.chains import PATHS, chain_of, chance
from warehouse.removal_effect import Chain


def test_a_touch_that_every_conversion_needs_is_worth_all_of_them() -> None:
    assert chain_of([([0, 1], True), ([0], False)]).removal_effects().tolist() == pytest.approx([1.0, 1.0])


def test_a_touch_that_leads_nowhere_is_worth_nothing() -> None:
    assert chain_of([([0], True), ([1], False)]).removal_effects().tolist() == pytest.approx([1.0, 0.0])


def test_where_nothing_converts_nothing_is_worth_anything() -> None:
    assert chain_of([([0, 1, 0], False)]).removal_effects().tolist() == [0.0, 0.0]


def test_of_nobody_nothing_is_known() -> None:
    assert Chain.counted(0, []).removal_effects().tolist() == []


@given(PATHS)
def test_the_chance_of_the_chain_is_the_share_of_paths_that_converted(
    paths: list[tuple[list[int], bool]],
) -> None:
    assert chain_of(paths).chance() == pytest.approx(sum(converted for _, converted in paths) / len(paths))


@given(PATHS)
def test_without_a_touch_as_many_are_lost_as_in_a_chain_that_is_walked(
    paths: list[tuple[list[int], bool]],
) -> None:
    chain = chain_of(paths)
    everyone = set(range(len(chain.begins)))
    whole = chance(paths, everyone)
    expected = [1 - chance(paths, everyone - {one}) / whole if whole else 0.0 for one in sorted(everyone)]
    assert chain.removal_effects().tolist() == pytest.approx(expected, abs=1e-6)


@given(PATHS, st.randoms(use_true_random=False))
def test_what_each_gains_in_any_order_is_the_difference_of_two_chains(
    paths: list[tuple[list[int], bool]], random: object
) -> None:
    chain = chain_of(paths)
    order = list(range(len(chain.begins)))
    random.shuffle(order)  # type: ignore[attr-defined]
    some = order[: len(order) // 2 + 1]
    gains = chain.gains(np.array(some))
    expected = [0.0] * len(order)
    for place, one in enumerate(some):
        expected[one] = chance(paths, set(some[: place + 1])) - chance(paths, set(some[:place]))
    assert gains.tolist() == pytest.approx(expected, abs=1e-6)
    assert (gains >= -1e-12).all()
