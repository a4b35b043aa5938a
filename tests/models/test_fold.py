"""The fold says again what became untrue, and nothing else: cases that chance seldom finds."""

import gc

from models.fold import Household
from models.identifier import Identifier
from models.journey_model import default_model
from models.touchpoint import Correction, Element, Identification, Touchpoint
from models.verdict import Attempt, Facts, row_version
from tests.histories import Standing, tell, touchpoint

HOUR, DAY = 3_600_000, 86_400_000
USER, OTHER = Identifier("user_id", "a"), Identifier("user_id", "b")
EMAIL, DEVICE = Identifier("email", "a@x.org"), Identifier("device_id", "d")


def household(*elements: Element, watermark: int = 0) -> Household:
    held = Household(USER.key, default_model())
    held.add(elements)
    held.judge(watermark)
    return held


def add(held: Household, *elements: Element, watermark: int = 0) -> Facts:
    held.add(elements)
    return held.judge(watermark)


def identification(*identifiers: Identifier, at: int = 0, persona: str | None = None) -> Identification:
    return Identification(
        id=f"i{at}", source="segment", source_instance="shop", channel="web", at=at, received_at=at,
        identifiers=identifiers, persona=persona,
    )  # fmt: skip


def attempts(facts: Facts) -> list[Attempt]:
    return [attempt for row in facts.touchpoints for attempt in row.verdict.attempts]


def test_a_touchpoint_at_the_end_says_itself_and_its_journey() -> None:
    held = household(*tell("0m page_view, 1m page_view"))
    said = add(held, touchpoint("t3", 2 * 60_000, "page_view"))
    assert [row.touchpoint.id for row in said.touchpoints] == ["t3"]
    assert [(row.id, row.touchpoint_ids) for row in said.journeys] == [("t1", ("t1", "t2", "t3"))]
    assert said.touchpoints[0].version == row_version(3, 0)
    assert (said.identities, said.conflicts, said.duplicates) == ([], [], [])


def test_a_touchpoint_in_the_past_says_what_comes_after_it_again() -> None:
    held = household(*tell("0m page_view, 2m page_view, 40d page_view"))
    said = add(held, touchpoint("t0", 60_000, "page_view"))
    assert sorted((row.touchpoint.id, row.verdict.ordinal) for row in said.touchpoints) == [
        ("t0", 2),
        ("t2", 3),
    ]
    assert [row.id for row in said.journeys] == ["t1"]


def test_a_late_touchpoint_may_begin_the_journey_of_others() -> None:
    held = household(*tell("1m page_view, 2m page_view"))
    said = add(held, touchpoint("t0", 0, "page_view"))
    assert sorted((row.id, row.deleted) for row in said.journeys) == [("t0", False), ("t1", True)]


def test_a_late_renewal_opens_an_abandoned_attempt_again_until_its_new_patience_ends() -> None:
    held = household(touchpoint("t1", 0, "add_to_cart"), watermark=30 * HOUR)
    assert held.next_deadline() is None
    said = add(held, touchpoint("t2", 20 * HOUR, "add_to_cart"), watermark=30 * HOUR)
    assert attempts(said) == [Attempt("cart", "open")]
    assert held.next_deadline() == 44 * HOUR
    assert attempts(held.judge(44 * HOUR)) == []
    assert attempts(held.judge(44 * HOUR + 1)) == [Attempt("cart", "abandoned", 44 * HOUR)]


def test_a_late_completion_takes_an_abandonment_back() -> None:
    held = household(touchpoint("t1", 0, "checkout_started"), watermark=DAY)
    said = add(held, touchpoint("t2", 60_000, "purchase"), watermark=DAY)
    assert Attempt("checkout", "completed", 60_000, None, "t2") in attempts(said)


def test_coming_back_late_takes_a_drop_off_back() -> None:
    held = household(touchpoint("t1", 0, "add_to_cart"), watermark=3 * DAY)
    said = add(held, touchpoint("t2", DAY, "page_view"), watermark=3 * DAY)
    drop_offs = {row.touchpoint.id: row.verdict.drop_off for row in said.touchpoints}
    assert drop_offs["t1"] is None
    assert drop_offs["t2"] is not None


def test_an_open_attempt_is_fired_by_the_watermark() -> None:
    held = household(touchpoint("t1", 0, "chat_started"))
    assert held.next_deadline() == 5 * 60_000
    assert attempts(held.judge(5 * 60_000)) == []
    assert attempts(held.judge(5 * 60_000 + 1)) == [Attempt("chat", "abandoned", 5 * 60_000)]


def test_a_journey_that_loses_its_last_touchpoint_is_said_again() -> None:
    held = household(
        touchpoint("t1", 10, "page_view", identifiers=(USER, DEVICE)),
        touchpoint("t2", 11, "page_view", identifiers=(DEVICE,)),
        touchpoint("t3", 12, "page_view", identifiers=(OTHER,)),
    )
    said = add(held, identification(OTHER, DEVICE, at=5))
    rows = {row.id: row.touchpoint_ids for row in said.journeys}
    assert rows == {"t1": ("t1",), "t2": ("t2", "t3"), "t3": ()}
    assert sorted(row.touchpoint.id for row in said.touchpoints) == ["t2", "t3"]
    assert [(row.identifier, row.customer_id) for row in said.identities if row.identifier == DEVICE.key] == [
        (DEVICE.key, OTHER.key)
    ]


def test_a_persona_told_by_an_identification_is_said_of_the_customers_journeys() -> None:
    held = household(*tell("0m page_view, 40d page_view"))
    said = add(held, identification(USER, at=5, persona="thrifty"))
    assert said.touchpoints == []
    assert [(row.id, row.persona) for row in said.journeys] == [("t1", "thrifty"), ("t2", "thrifty")]
    assert add(held, identification(USER, at=4, persona="hurried")).journeys == []


def test_a_persona_comes_with_the_identifier_it_was_told_of() -> None:
    held = household(touchpoint("t1", 0, "page_view"), identification(EMAIL, at=5, persona="thrifty"))
    said = add(held, identification(USER, EMAIL, at=6))
    assert [(row.id, row.persona) for row in said.journeys] == [("t1", "thrifty")]


def test_of_two_contents_the_later_update_counts_and_the_other_day_is_taken_back() -> None:
    first = touchpoint("t1", DAY - 1, "call_answered", source_updated_at=1)
    grown = touchpoint("t1", DAY + 1, "call_answered", source_updated_at=2, wait_ms=5)
    held, standing = Household(USER.key, default_model()), Standing()
    held.add([first])
    standing.load(held.judge(0))
    said = add(held, grown)
    standing.load(said)
    assert [(row.touchpoint, row.deleted) for row in said.touchpoints] == [(grown, False), (first, True)]
    assert [(row.started_at, row.deleted) for row in said.journeys] == [(DAY + 1, False), (DAY - 1, True)]
    assert said.duplicates == []
    assert list(standing.said(2).touchpoints) == [("t1", 1)]


def test_two_contents_of_one_age_conflict_until_a_later_update_settles_it() -> None:
    copies = [touchpoint("t1", 0, "page_view", text=text) for text in "ab"]
    held = household(copies[0])
    said = add(held, copies[1])
    assert (said.touchpoints, [row.deleted for row in said.duplicates]) == ([], [False])
    said = add(held, touchpoint("t1", 0, "page_view", text="c", source_updated_at=1))
    assert [row.touchpoint.text for row in said.touchpoints] == ["c"]
    assert [row.deleted for row in said.duplicates] == [True]


def test_the_same_touchpoint_sent_again_is_an_element_and_no_conflict() -> None:
    first = touchpoint("t1", 0, "page_view")
    again = Touchpoint(**{**{f: getattr(first, f) for f in first.__struct_fields__}, "received_at": 5_000})
    held = household(first)
    assert held.add([first]) == []
    assert held.add([again]) == [again]
    said = held.judge(0)
    assert (said.touchpoints, said.duplicates, held.count) == ([], [], 2)


def test_a_full_judgement_takes_back_what_somebody_may_have_said_who_knew_less() -> None:
    refused = Correction(id="k1", relation="not_same", identifiers=(EMAIL, DEVICE), at=1, author="ann")
    elements: list[Element] = [
        touchpoint("t1", 0, "page_view", identifiers=(EMAIL, DEVICE)),
        touchpoint("t2", 1, "page_view", identifiers=(EMAIL,)),
        touchpoint("t2", 1, "page_view", identifiers=(EMAIL,), text="a"),
        touchpoint("t2", 1 + DAY, "page_view", identifiers=(EMAIL,), source_updated_at=1),
        refused,
        Correction(id="k2", relation="undone", identifiers=(EMAIL, DEVICE), at=2, author="ann"),
    ]
    standing = Standing()
    for known in ([elements[0], refused], elements[1:2], elements[1:3]):
        less = Household(EMAIL.key, default_model())
        less.add(known)
        standing.load(less.judge(0))
    assert standing.said(0).conflicts
    assert standing.said(0).duplicates
    held = Household(EMAIL.key, default_model())
    held.add(elements)
    held.judge(0)  # lost on its way
    standing.load(held.judge(0, full=True))
    said = standing.said(0)
    assert (said.conflicts, said.duplicates) == ({}, set())
    assert list(said.touchpoints) == [("t1", 0), ("t2", 1)]
    assert list(said.journeys) == [("t1", 0)]


def test_journey_rows_may_wait() -> None:
    held = Household(USER.key, default_model())
    held.add(tell("0m page_view, 1m page_view"))
    assert held.judge(0, journeys=False).journeys == []
    held.add([touchpoint("t0", -1, "page_view")])
    assert held.judge(0, journeys=False).journeys == []
    assert [(row.id, row.deleted) for row in held.journey_rows()] == [("t0", False)]
    assert held.journey_rows() == []


def test_the_watermark_never_falls() -> None:
    held = household(touchpoint("t1", 0, "add_to_cart"), watermark=2 * DAY)
    assert held.judge(0).touchpoints == []
    assert held.watermark == 2 * DAY


def test_the_household_beyond_its_limit_knows_it() -> None:
    held = household(*[identification(USER, Identifier("device_id", str(n)), at=n) for n in range(5000)])
    assert held.oversized
    assert len(held.identifiers()) == 5001


def test_a_household_that_is_let_go_leaves_nothing_to_the_garbage_collector() -> None:
    gc.collect()
    gc.disable()
    try:
        held = household(
            *tell("0m add_to_cart, 5m page_view, 2d call_queued, 3d call_answered"), watermark=DAY
        )
        add(held, touchpoint("past", 60_000, "checkout_started"), watermark=9 * DAY)  # folds its life again
        held.let_go()
        del held
        assert gc.collect() == 0
    finally:
        gc.enable()
