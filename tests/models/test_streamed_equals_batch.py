"""The promise: however a household's elements arrive, what stands in the end is what the oracle says."""

from random import Random

from hypothesis import given, settings
from hypothesis import strategies as st

from models import household
from models.fold import Household, Judgement
from models.held import Held
from models.journey_model import JourneyModel
from models.touchpoint import Element, Touchpoint
from tests import oracle
from tests.histories import MODELS, WATERMARKS, Standing, histories, root_of

EACH = settings().max_examples
"""Examples of each test, by the profile; of the promise itself, with shuffles and splits, seven times as many."""
SHUFFLES = st.integers(0, 2**32 - 1).map(Random)
"""A shuffle is one choice, and not one for each touchpoint; it shrinks no further for that."""


@settings(deadline=None)
@given(histories(), WATERMARKS, MODELS)
def test_the_batch_says_what_the_oracle_says(
    happened: list[Element], watermark: int, model: JourneyModel
) -> None:
    standing = Standing()
    standing.load(household.verdicts(happened, watermark, model))
    wanted = oracle.judge(happened, watermark, model)
    assert standing.said(wanted.count) == wanted


@settings(deadline=None, max_examples=7 * EACH)
@given(histories(), st.lists(WATERMARKS, min_size=1, max_size=6), MODELS, SHUFFLES)
def test_any_order_any_repeats_and_any_splits_into_records_give_what_the_oracle_says(
    happened: list[Element], watermarks: list[int], model: JourneyModel, random: Random
) -> None:
    arriving = random.sample(happened * 2, k=2 * len(happened))
    held, standing = Household(root_of(happened, model), model), Standing()
    for watermark in sorted(watermarks):
        size = random.randrange(len(arriving) + 1)
        record, arriving = arriving[:size], arriving[size:]
        held.add(record)
        standing.load(held.judge(watermark, full=random.random() < 0.1, journeys=random.random() < 0.5))
        if random.random() < 0.2:
            rested = Household.of(Held.decode(held.held().encode()), model)
            assert (rested.count, rested.watermark) == (held.count, held.watermark)
            held = rested
    held.add(arriving)
    standing.load(held.judge(max(watermarks)))
    assert standing.said(held.count) == oracle.judge(happened, max(watermarks), model)
    assert held.add(happened) == []
    assert held.judge(max(watermarks)) == Judgement()


def instant(element: Element) -> int:
    return element.occurred_at if isinstance(element, Touchpoint) else element.at


@settings(deadline=None)
@given(histories(), WATERMARKS, MODELS)
def test_one_at_a_time_in_the_order_of_time_gives_what_the_oracle_says(
    happened: list[Element], watermark: int, model: JourneyModel
) -> None:
    held, standing = Household(root_of(happened, model), model), Standing()
    for element in sorted(happened, key=instant):
        held.add([element])
        standing.load(held.judge(min(instant(element) - 2, watermark)))
    standing.load(held.judge(watermark))
    assert standing.said(held.count) == oracle.judge(happened, watermark, model)


@settings(deadline=None)
@given(histories(), WATERMARKS, WATERMARKS, MODELS, SHUFFLES)
def test_two_households_that_merge_end_as_one_that_was_always_one(
    happened: list[Element], earlier: int, watermark: int, model: JourneyModel, random: Random
) -> None:
    ours = [element for element in happened if random.random() < 0.6]
    theirs = [element for element in happened if element not in ours or random.random() < 0.1]
    left, right = Household(root_of(happened, model), model), Household("session_id:other", model)
    standing = Standing()
    left.add(ours)
    right.add(theirs)
    standing.load(left.judge(earlier))
    standing.load(right.judge(watermark))
    left.add(right.elements())
    standing.load(left.judge(right.watermark, full=True))
    assert standing.said(left.count) == oracle.judge(happened, max(earlier, watermark), model)


@settings(deadline=None)
@given(histories(), WATERMARKS, MODELS)
def test_nothing_new_is_said_before_the_next_deadline(
    happened: list[Element], watermark: int, model: JourneyModel
) -> None:
    held = Household(root_of(happened, model), model)
    held.add(happened)
    held.judge(watermark)
    while (deadline := held.next_deadline()) is not None:
        nothing = held.judge(deadline)
        assert nothing.touchpoints == []
        assert nothing.journeys == []
        assert held.judge(deadline + 1).touchpoints
    assert held.judge(watermark + 1_000_000).touchpoints == []
