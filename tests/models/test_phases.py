"""Phases: the first rule that matches, else the journey's own; and how a journey moves."""

from collections.abc import Sequence

import pytest

from models.household import verdicts
from models.journey_model import default_model, load_model, template
from tests.histories import said_of, tell, touchpoint

CASES = {
    "no rule and nothing before: the first phase": ("0m page_view", ["Awareness enter"]),
    "no rule: the journey's phase stays": (
        "0m add_to_cart, 1m page_view", ["Purchase enter", "Purchase stay"],
    ),
    "forward": ("0m ad_click, 1m add_to_cart", ["Awareness enter", "Purchase forward"]),
    "back is normal": ("0m add_to_cart, 1m search", ["Purchase enter", "Consideration back"]),
    "a new journey enters anew": ("0m add_to_cart, 31d page_view", ["Purchase enter", "Awareness enter"]),
    "who bought is a customer from then on": (
        "0m chat_started/x, 1m purchase, 2m chat_started/y",
        ["Consideration enter", "Purchase forward", "Retention forward"],
    ),
    "and in later journeys too": ("0m purchase, 31d page_view", ["Purchase enter", "Retention enter"]),
    "buying itself does not count": ("0m purchase", ["Purchase enter"]),
    "an unknown type keeps the phase": (
        "0m search, 1m never_heard_of", ["Consideration enter", "Consideration stay"],
    ),
}  # fmt: skip


@pytest.mark.parametrize(("story", "phases"), CASES.values(), ids=CASES.keys())
def test_a_touchpoint_stands_for_a_phase(story: str, phases: Sequence[str]) -> None:
    assert [f"{v.phase} {v.phase_move}" for v in said_of(tell(story)).values()] == phases


def test_the_furthest_phase_is_kept_when_a_journey_moves_back() -> None:
    (row,) = verdicts(tell("0m add_to_cart, 1m search"), 0, default_model()).journeys
    assert (row.current_phase, row.furthest_phase) == ("Consideration", "Purchase")


def test_a_rule_asks_for_channel_outcome_and_properties() -> None:
    rules = (
        "rules:\n  - {phase: Advocacy, types: [search], channels: [chat], outcomes: [success], "
        "properties: {plan: [pro, 1]}}\n"
    )
    model = load_model(template("default").replace("rules:\n", rules), where="asking.yaml")
    wanted = {"outcome": "success", "properties": {"plan": "pro"}}
    asked = [
        touchpoint("t1", 0, "search", "chat", **wanted),
        touchpoint("t2", 1, "search", "web", **wanted),
        touchpoint("t3", 2, "search", "chat", **{**wanted, "outcome": "failure"}),
        touchpoint("t4", 3, "search", "chat", **{**wanted, "properties": {"plan": True}}),
        touchpoint("t5", 4, "search", "chat", **{**wanted, "properties": {"plan": 1}}),
    ]
    phases = [verdict.phase for verdict in said_of(asked, model=model).values()]
    assert phases == ["Advocacy", "Consideration", "Consideration", "Consideration", "Advocacy"]
