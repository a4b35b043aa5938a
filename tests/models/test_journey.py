"""Journeys and transactions: where one ends and the next begins."""

from collections.abc import Sequence

import pytest

from models.household import verdicts
from models.journey_model import default_model
from models.touchpoint import Campaign
from models.verdict import Verdict
from tests.histories import said_of, tell, touchpoint

JOURNEYS = {
    "nothing happened": ("", []),
    "one touchpoint is a journey": ("0m page_view", ["t1"]),
    "the gap includes its last ms": ("0m page_view, 30d page_view", ["t1 t2"]),
    "one ms more begins another": ("0m page_view, 30d+1 page_view", ["t1", "t2"]),
    "the gap counts from the one before": ("0m page_view, 20d page_view, 40d page_view", ["t1 t2 t3"]),
    "a closing one ends its journey": ("0m subscription_cancelled, 0m+1 page_view", ["t1", "t2"]),
    "a closing one belongs to what it closes": ("0m page_view, 5m subscription_cancelled", ["t1 t2"]),
    "equal times go by id": ("5m page_view, 5m subscription_cancelled, 5m page_view", ["t1 t2", "t3"]),
    "the order of telling does not matter": ("40d page_view, 0m page_view", ["t2", "t1"]),
}  # fmt: skip

TRANSACTIONS = {
    "the gap includes its last ms": ("0m page_view, 30m page_view", ["t1 t2"]),
    "one ms more begins another": ("0m page_view, 30m+1 page_view", ["t1", "t2"]),
    "a conversation holds together": ("0m chat_started/x, 9h chat_resolved/x", ["t1 t2"]),
    "a conversation draws in what lies near": (
        "0m page_view, 5m chat_started/x, 9h chat_resolved/x, 9h+1 page_view", ["t1 t2 t3 t4"],
    ),
    "a conversation ends with its journey": ("0m chat_started/x, 31d chat_resolved/x", ["t1", "t2"]),
    "another conversation later is another": ("0m chat_started/x, 9h chat_started/y", ["t1", "t2"]),
    "the one before counts, not the latest": (
        "0m chat_started/x, 9h page_view, 10h chat_resolved/x, 10h+1 page_view", ["t1 t3 t4", "t2"],
    ),
}  # fmt: skip


def grouped(said: dict[str, Verdict], field: str) -> list[str]:
    found: dict[str, list[str]] = {}
    for id, verdict in said.items():
        found.setdefault(getattr(verdict, field), []).append(id)
    return [" ".join(ids) for ids in found.values()]


@pytest.mark.parametrize(("story", "journeys"), JOURNEYS.values(), ids=JOURNEYS.keys())
def test_touchpoints_are_cut_into_journeys(story: str, journeys: Sequence[str]) -> None:
    assert grouped(said_of(tell(story)), "journey_id") == journeys


@pytest.mark.parametrize(("story", "transactions"), TRANSACTIONS.values(), ids=TRANSACTIONS.keys())
def test_journeys_are_cut_into_transactions(story: str, transactions: Sequence[str]) -> None:
    assert grouped(said_of(tell(story)), "transaction_id") == transactions


def test_values_are_added_exactly_and_refunds_are_subtracted() -> None:
    facts = verdicts(
        [
            touchpoint("t1", 0, "purchase", amount="0.10", currency="EUR"),
            touchpoint("t2", 1, "purchase", amount="0.20", currency="EUR"),
            touchpoint("t3", 2, "refund_issued", amount="0.3", currency="EUR"),
            touchpoint("t4", 3, "subscription_started", amount="9", currency="USD"),
            touchpoint("t5", 4, "page_view", amount="5", currency="USD"),
            touchpoint("t6", 5, "purchase", amount="a lot", currency="USD"),
        ],
        0,
        default_model(),
    )
    assert facts.journeys[0].values == {"EUR": "0.00", "USD": "9"}


def test_a_journey_knows_its_first_and_last_campaign_and_latest_persona() -> None:
    spring, autumn = Campaign(name="spring"), Campaign(name="autumn")
    (row,) = verdicts(
        [
            touchpoint("t1", 0, "page_view", persona="curious"),
            touchpoint("t2", 1, "ad_click", campaign=spring),
            touchpoint("t3", 2, "ad_click", campaign=autumn, persona="thrifty"),
            touchpoint("t4", 3, "purchase", campaign=Campaign(source="news")),
        ],
        0,
        default_model(),
    ).journeys
    assert (row.campaign_first, row.campaign_last, row.persona) == ("spring", "autumn", "thrifty")
    assert (row.conversions, row.converted_at, row.current_phase, row.furthest_phase) == (
        1,
        3,
        "Purchase",
        "Purchase",
    )
