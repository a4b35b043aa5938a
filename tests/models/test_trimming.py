"""What is old leaves a household, and what stands in the end is what the oracle says all the same."""

from itertools import permutations
from random import Random

from hypothesis import event, given, settings
from hypothesis import strategies as st

from models.fold import Household
from models.journey_model import JourneyModel
from models.touchpoint import Element
from models.trimming import Origin, Trimmed, decode_trimmed, element_mark, encode_trimmed, union_of
from tests import oracle
from tests.histories import MODELS, WATERMARKS, Standing, histories, root_of


class Archived:
    """A household whose old journeys leave whenever they can, and what the archive holds of it."""

    def __init__(self, household: Household, model: JourneyModel, random: Random) -> None:
        self.household = household
        self.standing = Standing()
        self._model = model
        self._random = random
        self._added: list[Element] = []
        self._left: list[Trimmed] = []
        self.trims = self.returns = 0

    def take(self, record: list[Element], watermark: int) -> None:
        self._added += record
        self.household.add(record)
        self.say(watermark)
        if self._random.random() < 0.3:
            self._reload()

    def say(self, watermark: int) -> None:
        random = self._random
        self.standing.load(self.household.judge(watermark, full=random.random() < 0.1))
        while self.household.wants_past and random.random() < 0.8:
            self.returns += 1
            self.come_back()
            self.standing.load(self.household.judge(watermark))
        if random.random() < 0.7 and (left := self.household.trim()) is not None:
            self.trims += 1
            self.household, gone = left
            self._left.append(decode_trimmed(encode_trimmed(gone)))

    def come_back(self) -> None:
        assert self.household.trimmed is not None
        wanted = set(self.household.trimmed.archived)
        past = [element for element in self._added if element_mark(element) in wanted]
        self._random.shuffle(past)
        some = self._random.randrange(len(past) + 1)
        self.household.add(past[:some])
        self.household.add(past[some:])
        assert not self.household.wants_past

    def _reload(self) -> None:
        """A worker starts from the changelog; some entries of what was trimmed are not deleted yet."""
        before, random = self.household, self._random
        owed = before.wants_past
        loaded = Household(before.household_id, self._model)
        if (trimmed := union_of(self._left)) is not None:
            loaded.remember(trimmed)
        held = {element_mark(element) for element in before.elements()}
        share = random.choice((0, 0.5, 1))
        stale = [e for e in self._added if element_mark(e) in held or random.random() < share]
        loaded.add(stale, loading=True)
        assert loaded.finish_loading(before.watermark) or not owed
        if not loaded.wants_past:
            self.standing.load(loaded.judge(before.watermark))
        self.household = loaded


@settings(deadline=None)
@given(histories(), st.lists(WATERMARKS, min_size=1, max_size=8), MODELS, st.randoms(use_true_random=False))
def test_what_left_and_came_back_is_as_if_it_had_never_left(
    happened: list[Element], watermarks: list[int], model: JourneyModel, random: Random
) -> None:
    arriving = random.sample(happened * 2, k=2 * len(happened))
    if random.random() < 0.5:
        arriving.sort(key=lambda e: e.occurred_at if hasattr(e, "occurred_at") else e.at)
    archived = Archived(Household(root_of(happened, model), model), model, random)
    for watermark in sorted(watermarks):
        size = random.randrange(len(arriving) + 1)
        record, arriving = arriving[:size], arriving[size:]
        archived.take(record, watermark)
    archived.take(arriving, max(watermarks))
    while archived.household.wants_past:
        archived.say(max(watermarks))
    event(f"trims {min(archived.trims, 3)}, returns {min(archived.returns, 3)}")
    household = archived.household
    archived.standing.load(household.judge(max(watermarks)))
    assert archived.standing.said(household.count) == oracle.judge(happened, max(watermarks), model)


def test_an_origin_of_what_came_back_and_left_again_is_doubtful_in_whatever_order_they_are_put_together() -> (
    None
):
    def left(customer_id: str, seen: int, whole_at: int) -> Trimmed:
        origin = Origin(customer_id, {"phone:1"}, 0, "t", False, False, 0, [], [], seen=seen)
        return Trimmed(origins={customer_id: origin}, whole_at=whole_at)

    once, again = left("phone:1", 2, 0), left("user_id:a", 8, 7)
    assert not once.doubtful
    assert not again.doubtful
    for order in permutations([once, again]):
        together = union_of(decode_trimmed(encode_trimmed(one)) for one in order)
        assert together is not None
        assert together.doubtful
