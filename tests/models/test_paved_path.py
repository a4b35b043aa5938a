"""The paved path: how far a journey is from the way that the company wants, and how it goes through the phases."""

import pytest

from models.household import verdicts
from models.journey_model import JourneyModel, load_model, template
from models.phases import shape
from tests.histories import tell

SHAPES = {
    "one phase": ([2, 2], "linear"),
    "forward, phases left out": ([0, 0, 1, 4], "linear"),
    "back into a phase that it had not been in": ([2, 1], "non_linear"),
    "back, and on to one further still": ([1, 0, 3], "non_linear"),
    "back into a phase that it had left": ([0, 1, 0], "cyclical"),
    "back, and on again through the one it came from": ([1, 0, 1], "cyclical"),
    "cyclical once, cyclical for good": ([0, 1, 0, 2, 3], "cyclical"),
}

# steps, passed over, story: distance and steps walked
PATHS = {
    "walked as wanted": ("search, add_to_cart, purchase", "", "search add_to_cart purchase", (0, 3)),
    "staying on a step costs nothing": ("search, purchase", "", "search search purchase purchase", (0, 2)),
    "a journey off the path": ("search, purchase", "", "login", (3, 0)),
    "a step that was missed": ("search, add_to_cart, purchase", "", "search purchase", (1, 2)),
    "steps still ahead are missed so far": ("search, add_to_cart, purchase", "", "search", (2, 1)),
    "a detour": ("search, purchase", "", "search login purchase", (1, 2)),
    "each touchpoint of a detour counts": ("search, purchase", "", "search login login purchase", (2, 2)),
    "on again after a detour is staying": ("search, purchase", "", "search login search purchase", (1, 2)),
    "going back is a detour": ("search, purchase", "", "search purchase search", (1, 2)),
    "the wrong way round": ("search, purchase", "", "purchase search", (2, 1)),
    "rather late and whole than early and in pieces": (
        "search, add_to_cart, purchase", "", "purchase search add_to_cart purchase", (1, 3),
    ),
    "an optional step may be left out": ("search, login?, purchase", "", "search purchase", (0, 2)),
    "an optional step that is walked is no detour": (
        "search, login?, purchase", "", "search login purchase", (0, 3),
    ),
    "either of two": ("search|login, purchase", "", "login search purchase", (0, 2)),
    "a phase is a step": ("@Consideration, purchase", "", "search product_view purchase", (0, 2)),
    "one touchpoint walks one step": ("search, @Consideration", "", "search", (1, 1)),
    "two steps alike are walked by two touchpoints": ("login, login", "", "login login", (0, 2)),
    "what is passed over is no detour": ("search, purchase", "login", "search login purchase", (0, 2)),
    "nor a step, whatever its phase": ("@Retention", "login", "login", (1, 0)),
    "a journey of what is passed over": ("search?, purchase", "login", "login", (1, 0)),
}  # fmt: skip


def model(steps: str, passed_over: str = "") -> JourneyModel:
    text, _, rest = template("default").partition("paved_path:\n")
    rest = rest.partition("passed_over: [page_view]\n")[2]
    quoted = ", ".join(f'"{step}"' for step in steps.split(", "))
    path = f"paved_path: {{steps: [{quoted}], passed_over: [{passed_over}]}}\n" if steps else ""
    return load_model(text + path + rest, where="paved.yaml")


@pytest.mark.parametrize(("phases", "said"), SHAPES.values(), ids=SHAPES.keys())
def test_a_journey_has_one_shape(phases: list[int], said: str) -> None:
    assert shape(phases) == said


@pytest.mark.parametrize(("steps", "passed_over", "types", "expected"), PATHS.values(), ids=PATHS.keys())
def test_a_journey_has_a_distance_from_the_paved_path(
    steps: str, passed_over: str, types: str, expected: tuple[int, int]
) -> None:
    story = ", ".join(f"{minute}m {type_}" for minute, type_ in enumerate(types.split()))
    (row,) = verdicts(tell(story), 0, model(steps, passed_over)).journeys
    assert (row.paved_path_distance, row.paved_path_steps) == expected


def test_each_journey_is_measured_by_itself() -> None:
    rows = verdicts(tell("0m search, 40d search, 40d purchase"), 0, model("search, purchase")).journeys
    assert [(row.paved_path_distance, row.paved_path_steps) for row in rows] == [(1, 1), (0, 2)]


def test_without_a_paved_path_there_is_no_distance() -> None:
    (row,) = verdicts(tell("0m search, 1m purchase, 2m search"), 0, model("")).journeys
    assert (row.shape, row.paved_path_distance, row.paved_path_steps) == ("cyclical", None, 0)
