"""Emotion: the weight of a touchpoint, and what delights."""

from typing import Any

import pytest

from models.emotion import phase_emotion
from tests.histories import said_of, tell, touchpoint

MINUTE = 60_000
WEIGHTS: dict[str, tuple[str, dict[str, Any], float]] = {
    "that of its type": ("purchase", {}, 1.0),
    "an unknown type weighs nothing": ("never_heard_of", {}, 0.0),
    "a wait up to two minutes": ("call_answered", {"wait_ms": 3 * MINUTE - 1}, 0.1),
    "each full minute beyond": ("call_answered", {"wait_ms": 3 * MINUTE}, 0.0),
    "at most −0.4": ("call_answered", {"wait_ms": 99 * MINUTE}, -0.3),
    "a hold of less than two minutes": ("call_resolved", {"hold_ms": 2 * MINUTE - 1}, 0.4),
    "a hold beyond one minute": ("call_resolved", {"hold_ms": 3 * MINUTE}, 0.2),
    "at most −0.3 for it": ("call_resolved", {"hold_ms": 99 * MINUTE}, 0.1),
    "the first transfer is free": ("call_resolved", {"transfers": 1}, 0.4),
    "each further one is not": ("call_resolved", {"transfers": 3}, 0.1),
    "the mean with a score": ("purchase", {"csat": 1.0}, 0.0),
    "the mean with the mean of scores": ("purchase", {"csat": 1.0, "nps": 10}, 0.5),
    "never above 1": ("purchase", {"csat": 5.0}, 1.0),
    "never below −1": ("call_abandoned", {"wait_ms": 99 * MINUTE, "hold_ms": 99 * MINUTE}, -1.0),
    "a survey weighs its score": ("csat_submitted", {"csat": 4.0}, 0.5),
    "no score, no weight": ("csat_submitted", {}, 0.0),
    "nps is cut": ("nps_submitted", {"nps": 0}, -1.0),
    "nps": ("nps_submitted", {"nps": 7}, -0.2),
    "ces": ("ces_submitted", {"ces": 7.0}, 1.0),
    "sentiment": ("call_analyzed", {"sentiment": -0.6}, -0.6),
    "a review's rating": ("review_posted", {"properties": {"rating": 5}}, 1.0),
    "a rating that is none": ("review_posted", {"properties": {"rating": "five"}}, 0.0),
}

DELIGHTS: dict[str, tuple[str, dict[str, Any], tuple[str, ...]]] = {
    "none": ("page_view", {}, ()),
    "csat at least 4": ("csat_submitted", {"csat": 4.0}, ("high_score",)),
    "csat below": ("csat_submitted", {"csat": 3.9}, ()),
    "nps at least 9": ("nps_submitted", {"nps": 9}, ("high_score",)),
    "nps below": ("nps_submitted", {"nps": 8}, ()),
    "ces at least 6": ("ces_submitted", {"ces": 6.0}, ("high_score",)),
    "ces below": ("ces_submitted", {"ces": 5.9}, ()),
    "sentiment at least 0.3": ("call_analyzed", {"sentiment": 0.3}, ("positive_sentiment",)),
    "sentiment below": ("call_analyzed", {"sentiment": 0.29}, ()),
    "a fast answer in the chat": ("chat_answered", {"wait_ms": 15_000}, ("fast_answer",)),
    "not so fast in the chat": ("chat_answered", {"wait_ms": 15_001}, ()),
    "high score and advocacy at once": ("referral_sent", {"nps": 10}, ("high_score", "advocacy")),
    "a fast answer": ("call_answered", {"wait_ms": 20_000}, ("fast_answer",)),
    "not so fast": ("call_answered", {"wait_ms": 20_001}, ()),
    "an unknown wait is not fast": ("call_answered", {}, ()),
    "a call given up soon is no answer": ("call_abandoned", {"wait_ms": 1_000}, ()),
    "a reward": ("loyalty_reward_earned", {}, ("reward",)),
    "advocacy": ("referral_sent", {}, ("advocacy",)),
}

FIRST_CONTACTS = {
    "solved by the first contact": ("0m call_queued/x, 1m call_resolved/x", ["t2"]),
    "not by a repeated one": ("0m call_queued/x, 1d call_queued/y, 1d+1 call_resolved/y", []),
    "not by one that nobody began": ("0m call_resolved/x", []),
    "a contact eight days later is a first one again": (
        "0m call_queued/x, 7d+1 call_queued/y, 8d call_resolved/y",
        ["t3"],
    ),
    "not without a conversation": ("0m call_queued, 1m call_resolved", []),
}


@pytest.mark.parametrize(("type_", "fields", "weight"), WEIGHTS.values(), ids=WEIGHTS.keys())
def test_a_touchpoint_weighs(type_: str, fields: dict[str, Any], weight: float) -> None:
    (verdict,) = said_of([touchpoint("t1", 0, type_, **fields)]).values()
    assert verdict.weight == weight


@pytest.mark.parametrize(("type_", "fields", "delights"), DELIGHTS.values(), ids=DELIGHTS.keys())
def test_a_touchpoint_delights(type_: str, fields: dict[str, Any], delights: tuple[str, ...]) -> None:
    (verdict,) = said_of([touchpoint("t1", 0, type_, **fields)]).values()
    assert verdict.delights == delights


@pytest.mark.parametrize(("story", "ids"), FIRST_CONTACTS.values(), ids=FIRST_CONTACTS.keys())
def test_solving_at_the_first_contact_delights(story: str, ids: list[str]) -> None:
    said = said_of(tell(story))
    assert [id for id, v in said.items() if "first_contact_resolution" in v.delights] == ids


@pytest.mark.parametrize(
    ("story", "weight"),
    [
        ("0m payment_failed, 7d payment_failed", -1.0),
        ("0m payment_failed, 7d+1 payment_failed", -0.8),
        ("0m error_seen, 1d error_seen", -0.5),
        ("0m error_seen, 1d payment_failed", -0.8),
    ],
)
def test_the_same_failure_again_within_seven_days_weighs_more(story: str, weight: float) -> None:
    assert said_of(tell(story))["t2"].weight == weight


def test_the_emotion_of_a_phase_is_the_mean_of_its_weights() -> None:
    assert phase_emotion([1.0, -0.5]) == 0.25
    assert phase_emotion([]) is None
