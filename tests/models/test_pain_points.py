"""Pain points: each kind at its threshold, and one step beside it."""

from typing import Any

import pytest

from models.verdict import PainPoint
from tests.histories import said_of, tell, touchpoint

HOUR = 3_600_000
AT_ONE_TOUCHPOINT: dict[str, tuple[str, dict[str, Any], list[tuple[str, float]]]] = {
    "nothing": ("page_view", {}, []),
    "a failed outcome": ("search", {"outcome": "failure"}, [("failure", 0.6)]),
    "an error that was seen": ("error_seen", {}, [("failure", 0.6)]),
    "a payment that failed": ("payment_failed", {}, [("payment_failed", 0.8)]),
    "and is a failure besides, if it says so": (
        "payment_failed", {"outcome": "failure"}, [("failure", 0.6), ("payment_failed", 0.8)],
    ),
    "a wait at the threshold": ("call_answered", {"wait_ms": 120_000}, [("long_wait", 0.4)]),
    "a wait below it": ("call_answered", {"wait_ms": 119_999}, []),
    "a wait hurts the more the longer it is": ("call_answered", {"wait_ms": 180_000}, [("long_wait", 0.6)]),
    "and at most 1": ("call_answered", {"wait_ms": 9_000_000}, [("long_wait", 1.0)]),
    "a wait in the chat is sooner long": ("chat_answered", {"wait_ms": 60_000}, [("long_wait", 0.4)]),
    "no wait on a page": ("page_view", {"wait_ms": 9_000_000}, []),
    "a hold at the threshold": ("call_resolved", {"hold_ms": 60_000}, [("long_hold", 0.4)]),
    "a hold below it": ("call_resolved", {"hold_ms": 59_999}, []),
    "a chat knows no hold": ("chat_answered", {"hold_ms": 9_000_000}, []),
    "csat at most 2": ("csat_submitted", {"csat": 2.0}, [("low_score", 0.7)]),
    "csat above": ("csat_submitted", {"csat": 2.1}, []),
    "nps at most 6": ("nps_submitted", {"nps": 6}, [("low_score", 0.7)]),
    "nps above": ("nps_submitted", {"nps": 7}, []),
    "ces at most 3": ("ces_submitted", {"ces": 3.0}, [("low_score", 0.7)]),
    "ces above": ("ces_submitted", {"ces": 3.1}, []),
    "two low scores are one pain point": ("csat_submitted", {"csat": 1.0, "nps": 0}, [("low_score", 0.7)]),
    "sentiment at most −0.3": ("call_analyzed", {"sentiment": -0.3}, [("negative_sentiment", 0.3)]),
    "sentiment above": ("call_analyzed", {"sentiment": -0.29}, []),
    "two transfers": ("call_resolved", {"transfers": 2}, [("transfer", 0.5)]),
    "one transfer": ("call_resolved", {"transfers": 1}, []),
    "a complaint by its type": ("dispute_opened", {}, [("complaint", 0.8)]),
    "a complaint by its topic": ("call_resolved", {"topic": "complaint"}, [("complaint", 0.8)]),
    "another topic is no complaint": ("call_resolved", {"topic": "billing"}, []),
    "a complaint by being opened again": ("ticket_reopened", {}, [("complaint", 0.8)]),
    "a refund": ("refund_issued", {}, [("refund", 0.5)]),
    "a refund asked for": ("refund_requested", {}, [("refund", 0.5)]),
    "sentiment at its worst": ("call_analyzed", {"sentiment": -1.0}, [("negative_sentiment", 1.0)]),
}  # fmt: skip

IN_A_STORY = {
    "a second contact within 7 d": ("0m chat_started/x, 7d chat_started/y", {"t2": "repeat_contact"}),
    "a second contact later": ("0m chat_started/x, 7d+1 chat_started/y", {}),
    "by another channel": ("0m chat_started/x, 1d call_queued/y", {"t2": "repeat_contact"}),
    "the same conversation is no second contact": ("0m call_queued/x, 1m call_queued/x", {}),
    "without a conversation each is its own": ("0m call_queued, 1d call_queued", {"t2": "repeat_contact"}),
    "answers begin nothing": ("0m chat_started/x, 1m chat_answered/y", {}),
    "from the page to the chat": ("0m page_view, 1m chat_started/x", {"t2": "channel_switch"}),
    "from the chat to the phone": ("0m chat_answered, 1m call_answered", {"t2": "channel_switch"}),
    "from the phone to the page is none": ("0m call_answered, 1m page_view", {}),
    "at the last ms of the transaction": ("0m page_view, 30m call_answered", {"t2": "channel_switch"}),
    "in another transaction it is none": ("0m page_view, 30m+1 call_answered", {}),
    "after something got done it is none": ("0m form_started, 1m form_submitted, 2m call_answered", {}),
    "what gets done by it does not count": ("0m page_view, 1m call_queued, 1m call_answered", {
        "t2": "channel_switch",
    }),
    "the third of its type": ("0m login, 1m login, 2m login, 3m login", {"t3": "loop", "t4": "loop"}),
    "not if something went further": ("0m login, 1m referral_sent, 2m login, 3m login", {}),
    "not if only the third goes on": ("0m login, 1m login, 2m login, 2m referral_sent, 3m login", {
        "t3": "loop",
    }),
    "a step back is no way out": ("0m login, 1m search, 2m login, 3m login", {"t4": "loop"}),
    "browsing is no loop": ("0m page_view, 1m page_view, 2m page_view", {}),
    "the third at the last ms of the transaction": ("0m login, 1m login, 31m login", {"t3": "loop"}),
    "in another transaction it counts anew": ("0m login, 1m login, 31m+1 login", {}),
}  # fmt: skip


@pytest.mark.parametrize(
    ("type_", "fields", "pains"), AT_ONE_TOUCHPOINT.values(), ids=AT_ONE_TOUCHPOINT.keys()
)
def test_a_touchpoint_hurts(type_: str, fields: dict[str, Any], pains: list[tuple[str, float]]) -> None:
    (verdict,) = said_of([touchpoint("t1", 0, type_, **fields)]).values()
    assert [(pain.kind, pain.severity) for pain in verdict.pain_points] == pains


@pytest.mark.parametrize(("story", "pains"), IN_A_STORY.values(), ids=IN_A_STORY.keys())
def test_a_story_hurts(story: str, pains: dict[str, str]) -> None:
    said = said_of(tell(story))
    hurting = {id: verdict.pain_points[0].kind for id, verdict in said.items() if verdict.pain_points}
    assert hurting == pains


def test_another_topic_is_no_repeat_contact() -> None:
    contacts = [
        touchpoint("t1", 0, "call_queued", topic="bill"),
        touchpoint("t2", HOUR, "call_queued", topic="move"),
        touchpoint("t3", 2 * HOUR, "call_queued"),
        touchpoint("t4", 3 * HOUR, "call_queued", topic="bill"),
    ]
    hurting = {id for id, verdict in said_of(contacts).items() if verdict.pain_points}
    assert hurting == {"t4"}


@pytest.mark.parametrize("story", ["0m checkout_started, 1m page_view", "0m checkout_started, 31m purchase"])
def test_an_abandoned_attempt_hurts_where_it_began_recovered_or_not(story: str) -> None:
    assert said_of(tell(story), now=HOUR)["t1"].pain_points == (PainPoint("abandonment", 0.6),)
    assert said_of(tell(story), now=HOUR // 2)["t1"].pain_points == ()
