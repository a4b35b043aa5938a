"""Journeys and transactions: where one ends and the next begins."""

from collections.abc import Sequence

import pytest

from models.household import verdicts
from models.journey_model import default_model
from models.touchpoint import Campaign
from models.verdict import Verdict
from models.yaml_reader import parse_duration
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


# each: type, amount, currency
VALUES: dict[str, tuple[Sequence[tuple[str, str | None, str | None]], dict[str, str]]] = {
    "no money": ([("page_view", None, None)], {}),
    "a purchase": ([("purchase", "9.99", "EUR")], {"EUR": "9.99"}),
    "cents are added exactly": ([("purchase", "0.10", "EUR"), ("purchase", "0.20", "EUR")], {"EUR": "0.30"}),
    "a refund is subtracted": ([("purchase", "0.3", "EUR"), ("refund_issued", "0.30", "EUR")], {"EUR": "0.00"}),
    "more may go back than came": ([("refund_issued", "5", "EUR")], {"EUR": "-5"}),
    "currencies are kept apart": (
        [("purchase", "1", "USD"), ("subscription_started", "2", "EUR"), ("refund_issued", "1", "EUR")],
        {"EUR": "1", "USD": "1"},
    ),
    "what does not convert has no value": ([("invoice_paid", "5", "USD")], {}),
    "nor has what names no currency": ([("purchase", "5", None)], {}),
    "nor what is no number": ([("purchase", "a lot", "EUR"), ("purchase", "NaN", "EUR")], {}),
    "nor what has no end": ([("purchase", "Infinity", "EUR"), ("purchase", "1", "EUR")], {"EUR": "1"}),
}  # fmt: skip


@pytest.mark.parametrize(("told", "values"), VALUES.values(), ids=VALUES.keys())
def test_a_journey_has_a_value_in_each_currency(
    told: Sequence[tuple[str, str | None, str | None]], values: dict[str, str]
) -> None:
    happened = [
        touchpoint(f"t{at}", at, type_, amount=amount, currency=currency)
        for at, (type_, amount, currency) in enumerate(told)
    ]
    assert verdicts(happened, 0, default_model()).journeys[0].values == values


# story, watermark: recoveries, drop-off that ends it (its phase), attempts completed, abandoned, open
TOTALS = {
    "nothing special": ("0m page_view", "1m", (0, None, 0, 0, 0)),
    "silence at its last ms is none": ("0m ad_click, 7d ad_click", "7d", (0, None, 0, 0, 0)),
    "one ms more, and back": ("0m ad_click, 7d+1 ad_click", "8d", (1, None, 0, 0, 0)),
    "back twice": ("0m search, 4d search, 8d search", "9d", (2, None, 0, 0, 0)),
    "back, and silent for good": ("0m search, 4d search", "8d", (1, "Consideration", 0, 0, 0)),
    "one attempt of each outcome": (
        "0m form_started, 1m form_submitted, 2m checkout_started, 3m checkout_abandoned, 4m invoice_sent", "5m",
        (0, None, 1, 1, 1),
    ),
    "a recovered attempt stays abandoned": ("0m checkout_started, 31m purchase", "32m", (0, None, 0, 1, 0)),
    "an attempt counts where it was opened": ("0m invoice_sent, 30d+1 login", "30d+1", (0, None, 0, 1, 0)),
}  # fmt: skip


@pytest.mark.parametrize(("story", "now", "totals"), TOTALS.values(), ids=TOTALS.keys())
def test_a_journey_counts_recoveries_and_attempts(
    story: str, now: str, totals: tuple[int, str | None, int, int, int]
) -> None:
    duration, _, rest = now.partition("+")
    row = verdicts(tell(story), (parse_duration(duration) or 0) + int(rest or 0), default_model()).journeys[0]
    assert (
        row.recoveries, row.drop_off_phase, row.attempts_completed, row.attempts_abandoned, row.attempts_open
    ) == totals  # fmt: skip


def test_a_journey_counts_its_pain_points_and_delights() -> None:
    (row,) = verdicts(
        [
            touchpoint("t1", 0, "call_queued", conversation_id="x"),
            touchpoint("t2", 1, "call_answered", conversation_id="x", wait_ms=300_000, transfers=2),
            touchpoint("t3", 2, "csat_submitted", csat=5.0),
            touchpoint("t4", 3, "refund_requested", topic="complaint"),
        ],
        0,
        default_model(),
    ).journeys
    assert (row.pain_points, row.delights) == (4, 1)


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
