"""What SQL cannot walk is walked as the rules say: one unit at a time, against the reference that tries every way."""

from collections.abc import Callable
from typing import Any, NamedTuple

from hypothesis import given, settings
from hypothesis import strategies as st

from tests.warehouse import funnel_reference as reference
from tests.warehouse.funnel_reference import NEVER, Asked, Exclusion, Step, Unit
from warehouse.tries import STEP_BITS
from warehouse.walked_tries import Rule, Rules, walk

LAST_INSTANT = 4
_END_OF_TIME = 1 << 43


class Happened(NamedTuple):
    """A touchpoint: which steps take it and which exclusions it meets, as bits."""

    id: int
    at: int
    taken: int
    met: int


def _bit(of: str, n: int) -> Callable[[Happened], bool]:
    return lambda t: bool(getattr(t, of) >> n & 1)


@st.composite
def units(draw: Callable[..., Any]) -> tuple[Rules, list[Happened]]:
    """A funnel, and what happened to one unit: few instants, so that equal times are the rule."""
    last = draw(st.sampled_from([1, 2, 3, 4, 4, 4]))
    any_order = draw(st.integers(0, 3)) == 0
    limit = st.sampled_from([None] * 6 + [0, 1, 2, 3])
    steps = [Rule()]
    for n in range(1, last):
        within, after = draw(limit), draw(limit)
        if within is not None and after is not None and within < after:
            within = None
        optional = n < last - 1 and draw(st.booleans())
        steps.append(Rule() if any_order else Rule(optional, within, after))
    ends = [n for n, step in enumerate(steps) if not step.optional]
    spans = [(a, b) for a in ends for b in ends if a < b] or [(0, last - 1)]
    spoiled = draw(st.lists(st.sampled_from([(0, last - 1)] if any_order else spans), max_size=2))
    since = draw(st.integers(0, 2))
    rules = Rules(
        steps=tuple(steps),
        window=draw(st.sampled_from([0, 1, 2, 3, 3, 3])),
        any_order=any_order,
        since=since,
        until=draw(st.sampled_from([since + 2, _END_OF_TIME])),
        spans=tuple(spoiled),
    )
    touchpoint = st.tuples(
        st.integers(1, LAST_INSTANT),
        st.integers(0 if spoiled else 1, (1 << last) - 1),
        st.sampled_from([0, 0, 0, *range(1 << len(spoiled))]),
    )
    told = draw(st.lists(touchpoint, min_size=draw(st.integers(0, 5)), max_size=7))
    return rules, [Happened(n, *one) for n, one in enumerate(told)]


@settings(max_examples=10 * settings.default.max_examples)
@given(units())
def test_a_unit_is_walked_as_the_reference_does(asked: tuple[Rules, list[Happened]]) -> None:
    rules, told = asked
    of_reference = Asked(
        steps=[
            Step(_bit("taken", n), one.optional, NEVER if one.within is None else one.within, one.after or 0)
            for n, one in enumerate(rules.steps)
        ],
        window=rules.window,
        order="any" if rules.any_order else "ordered",
        exclude=[Exclusion(_bit("met", n), a + 1, b + 1) for n, (a, b) in enumerate(rules.spans)],
        since=rules.since,
        until=rules.until,
    )
    expected = [
        tuple(at or 0 for at in one.times) for one in reference.counted([Unit("", told)], of_reference, 0)
    ]
    found = walk(
        [t.at << STEP_BITS | t.taken for t in told if t.taken],
        [t.at << STEP_BITS | t.met for t in told if t.met],
        rules,
    )
    assert ([] if found is None else [found.times]) == expected
