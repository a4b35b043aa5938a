"""Personas: what is said goes before what the rules of the model decide; of these the first that holds."""

from collections.abc import Sequence

import pytest

from models.fold import Household
from models.household import verdicts
from models.identifier import Identifier
from models.journey_model import load_model, template
from models.touchpoint import Campaign, Element, Identification, Touchpoint
from tests.histories import touchpoint

RULES = """
personas:
  - {name: business, segments: [b2b, sme]}
  - curious
  - {name: thrifty, campaigns: [sale], channels: [web]}
  - {name: thrifty, types: [coupon_denied]}
  - {name: pro, properties: {plan: [pro, 1]}, outcomes: [success]}
"""
MODEL = load_model(template("default").replace("personas: []", RULES), where="personas.yaml")
SALE = Campaign(name="sale")


def told(persona: str, at: int) -> Identification:
    return Identification(
        id=f"i{at}", source="segment", source_instance="shop", channel="web", at=at, received_at=at,
        identifiers=(Identifier("user_id", "a"),), persona=persona,
    )  # fmt: skip


CASES: dict[str, tuple[Sequence[Element], str | None]] = {
    "nobody says, no rule holds": ([touchpoint("t1", 0, "search")], None),
    "a segment": ([touchpoint("t1", 0, "search", segments=("vip", "sme"))], "business"),
    "another segment": ([touchpoint("t1", 0, "search", segments=("vip",))], None),
    "a campaign": ([touchpoint("t1", 0, "search", campaign=SALE)], "thrifty"),
    "all conditions must hold": ([touchpoint("t1", 0, "search", "chat", campaign=SALE)], None),
    "a name may have several rules": ([touchpoint("t1", 0, "coupon_denied")], "thrifty"),
    "a property and an outcome": (
        [touchpoint("t1", 0, "search", outcome="success", properties={"plan": 1})], "pro",
    ),
    "true is not 1": ([touchpoint("t1", 0, "search", outcome="success", properties={"plan": True})], None),
    "not of two touchpoints together": (
        [touchpoint("t1", 0, "search", outcome="success"), touchpoint("t2", 1, "search", properties={"plan": 1})],
        None,
    ),
    "the first rule, not the first touchpoint": (
        [touchpoint("t1", 0, "coupon_denied"), touchpoint("t2", 1, "search", segments=("b2b",))], "business",
    ),
    "a later touchpoint of a lesser rule changes nothing": (
        [touchpoint("t1", 0, "search", segments=("b2b",)), touchpoint("t2", 1, "coupon_denied")], "business",
    ),
    "what a touchpoint says goes before": (
        [touchpoint("t1", 0, "search", persona="curious"), touchpoint("t2", 1, "coupon_denied")], "curious",
    ),
    "the latest touchpoint that says": (
        [touchpoint("t1", 0, "search", persona="curious"), touchpoint("t2", 1, "search", persona="hurried")],
        "hurried",
    ),
    "what an identification says goes before the rules": (
        [touchpoint("t1", 0, "coupon_denied"), told("curious", 5)], "curious",
    ),
    "and after what a touchpoint says": (
        [touchpoint("t1", 0, "search", persona="hurried"), told("curious", 5)], "hurried",
    ),
    "the latest identification": ([touchpoint("t1", 0, "search"), told("a", 6), told("b", 5)], "a"),
    "nobody need know the name": ([touchpoint("t1", 0, "search", persona="never heard of")], "never heard of"),
}  # fmt: skip


@pytest.mark.parametrize(("happened", "persona"), CASES.values(), ids=CASES.keys())
def test_a_journey_has_a_persona(happened: Sequence[Element], persona: str | None) -> None:
    (row,) = verdicts(happened, 0, MODEL).journeys
    assert row.persona == persona


def test_a_rule_looks_at_one_journey_alone() -> None:
    far = 40 * 86_400_000
    rows = verdicts(
        [touchpoint("t1", 0, "coupon_denied"), touchpoint("t2", far, "search")], 0, MODEL
    ).journeys
    assert [row.persona for row in rows] == ["thrifty", None]


def test_a_touchpoint_that_decides_has_its_journey_said_again() -> None:
    held = Household("user_id:a", MODEL)
    held.add([touchpoint("t1", 0, "search"), touchpoint("t3", 9, "search")])
    assert [row.persona for row in held.judge(0).journeys] == [None]
    late: Touchpoint = touchpoint("t2", 5, "search", segments=("b2b",))
    held.add([late])
    assert [row.persona for row in held.judge(0).journeys] == ["business"]


def test_names_are_listed_once_in_the_order_of_the_model() -> None:
    assert MODEL.personas == ("business", "curious", "thrifty", "pro")
