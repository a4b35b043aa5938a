"""What Stripe's events say."""

import json
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ingest.mapped import Delivery, Mapped
from ingest.sources import stripe
from models.journey_model import default_model
from models.touchpoint import Identification, Touchpoint
from streams import channel_records
from tests.ingest.fixtures import FOLDER, fixture

SECONDS = 1_709_631_000
FIXTURES = sorted(path.stem for path in Path(FOLDER).glob("billing_stripe_*.json"))


def map_event(body: Any, **fields: Any) -> Mapped:
    given = {"source_instance": "stripe", "received_at": SECONDS * 1000 + 500, "raw_ref": "spool:x"}
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    return stripe.map_event(content, Delivery(**{**given, "model": default_model(), **fields}))


def event(kind: str, subject: dict[str, Any], previous: dict[str, Any] | None = None) -> dict[str, Any]:
    data = {"object": {"customer": "cus_1", "currency": "eur", **subject}}
    if previous is not None:
        data["previous_attributes"] = previous
    return {"id": "evt_1", "object": "event", "created": SECONDS, "type": kind, "data": data}


def said(kind: str, subject: dict[str, Any], previous: dict[str, Any] | None = None) -> list[Touchpoint]:
    mapped = map_event(event(kind, subject, previous))
    assert not mapped.rejected, mapped.rejected
    assert all(isinstance(record, Touchpoint) for record in mapped.records)
    return [record for record in mapped.records if isinstance(record, Touchpoint)]


def test_there_are_fixtures() -> None:
    assert len(FIXTURES) == 8


@pytest.mark.parametrize("name", FIXTURES)
def test_a_documented_event_says_what_is_expected(name: str) -> None:
    one = fixture(name)
    mapped = map_event(one["raw_body"].encode())
    assert not mapped.rejected
    # a cycle's invoice is a renewal, too; the fixtures name what the invoice itself says
    found = [
        record
        for record in mapped.records
        if isinstance(record, Touchpoint) and record.type != "subscription_renewed"
    ]
    expected = one["expected_touchpoints"]
    assert [{name: getattr(t, name) for name in e} for t, e in zip(found, expected, strict=True)] == expected


def test_who_it_is_about_is_read_wherever_the_object_has_it() -> None:
    keys = {
        name: {
            i.key
            for record in map_event(fixture(name)["raw_body"].encode()).records
            for i in record.identifiers
        }  # type: ignore[union-attr]
        for name in FIXTURES
    }
    assert keys["billing_stripe_invoice_payment_failed"] == {
        "customer_id:cus_1", "email:ada@example.com", "user_id:user-1",
    }  # fmt: skip
    assert keys["billing_stripe_checkout_completed"] == {
        "customer_id:cus_1", "email:ada@example.com", "user_id:user-1", "anonymous_id:anon-1",
    }  # fmt: skip
    assert keys["billing_stripe_charge_refunded"] == {
        "customer_id:cus_1", "email:ada@example.com", "phone:+442079460000",
    }  # fmt: skip
    assert keys["billing_stripe_subscription_deleted"] == {"customer_id:cus_1", "user_id:user-1"}


def items(cents: int, quantity: int = 1) -> dict[str, Any]:
    return {"items": {"data": [{"price": {"id": "p", "unit_amount": cents}, "quantity": quantity}]}}


SUB = {"object": "subscription", "id": "sub_1", "status": "active"}
INVOICE = {"object": "invoice", "id": "in_1"}
CASES: dict[str, tuple[str, dict[str, Any], dict[str, Any] | None, list[tuple[str, str | None]]]] = {
    "an invoice is sent": (
        "invoice.sent", {**INVOICE, "amount_due": 2900}, None, [("invoice_sent", "29.00")]
    ),
    "an automatic one is sent once it is final": (
        "invoice.finalized", {**INVOICE, "collection_method": "charge_automatically", "amount_due": 1},
        None, [("invoice_sent", "0.01")],
    ),
    "one that is sent says so itself": (
        "invoice.finalized", {**INVOICE, "collection_method": "send_invoice", "amount_due": 1}, None, []
    ),
    "an invoice is overdue": (
        "invoice.overdue", {**INVOICE, "amount_remaining": 50}, None, [("invoice_overdue", "0.50")]
    ),
    "an invoice is given up": (
        "invoice.marked_uncollectible", {**INVOICE, "amount_remaining": 50}, None,
        [("invoice_overdue", "0.50")],
    ),
    "a cycle's invoice is the renewal, its money counts once": (
        "invoice.paid", {**INVOICE, "amount_paid": 5, "billing_reason": "subscription_cycle"}, None,
        [("invoice_paid", "0.05"), ("subscription_renewed", None)],
    ),
    "the first invoice is no renewal": (
        "invoice.paid", {**INVOICE, "amount_paid": 5, "billing_reason": "subscription_create"}, None,
        [("invoice_paid", "0.05")],
    ),
    "a checkout that is paid is a purchase": (
        "checkout.session.completed", {"payment_status": "paid", "amount_total": 1000}, None,
        [("purchase", "10.00")],
    ),
    "a checkout that is to be paid later is none yet": (
        "checkout.session.completed", {"payment_status": "unpaid", "amount_total": 1000}, None, []
    ),
    "then it is": (
        "checkout.session.async_payment_succeeded", {"amount_total": 1000}, None, [("purchase", "10.00")]
    ),
    "or it fails": (
        "checkout.session.async_payment_failed", {"amount_total": 1000}, None, [("payment_failed", "10.00")]
    ),
    "a subscription begins": (
        "customer.subscription.created", {**SUB, **items(1900, 2)}, None, [("subscription_started", "38.00")]
    ),
    "a trial begins": (
        "customer.subscription.created", {**SUB, "status": "trialing"}, None, [("trial_started", None)]
    ),
    "nothing has begun before the first payment": (
        "customer.subscription.created", {**SUB, "status": "incomplete"}, None, []
    ),
    "the trial becomes a subscription": (
        "customer.subscription.updated", {**SUB, **items(5)}, {"status": "trialing"},
        [("subscription_started", "0.05")],
    ),
    "a cancellation is scheduled": (
        "customer.subscription.updated", {**SUB, "cancel_at_period_end": True},
        {"cancel_at_period_end": False}, [("subscription_cancel_scheduled", None)],
    ),
    "an upgrade": (
        "customer.subscription.updated", {**SUB, **items(5)}, items(4), [("subscription_upgraded", "0.05")]
    ),
    "a downgrade": (
        "customer.subscription.updated", {**SUB, **items(4)}, items(4, 2),
        [("subscription_downgraded", "0.04")],
    ),
    "past due is said by the invoice": (
        "customer.subscription.updated", {**SUB, "status": "past_due"}, {"status": "active"}, []
    ),
    "a refund is what came to it this time": (
        "charge.refunded", {"amount_refunded": 700}, {"amount_refunded": 200}, [("refund_issued", "5.00")]
    ),
    "yen have no cents": (
        "charge.refunded", {"amount_refunded": 700, "currency": "jpy"}, None, [("refund_issued", "700")]
    ),
    "dinars have a thousand fils": (
        "charge.refunded", {"amount_refunded": 700, "currency": "kwd"}, None, [("refund_issued", "0.700")]
    ),
    "a dispute": (
        "charge.dispute.created",
        {"customer": None, "amount": 5, "evidence": {"customer_email_address": "a@b.org"}}, None,
        [("dispute_opened", "0.05")],
    ),
    "an event of another kind is kept": ("payment_intent.canceled", {}, None, [("custom", None)]),
}  # fmt: skip


@pytest.mark.parametrize(("kind", "subject", "previous", "expected"), CASES.values(), ids=CASES.keys())
def test_event(
    kind: str,
    subject: dict[str, Any],
    previous: dict[str, Any] | None,
    expected: list[tuple[str, str | None]],
) -> None:
    found = said(kind, subject, previous)
    assert [(one.type, one.amount) for one in found] == expected
    assert len({one.id for one in found}) == len(found)
    assert all(one.occurred_at == SECONDS * 1000 and one.channel == "billing" for one in found)


def test_what_is_sent_fails_and_is_paid_of_one_invoice_is_one_conversation() -> None:
    kinds = ("invoice.sent", "invoice.payment_failed", "invoice.paid")
    assert {one.conversation_id for kind in kinds for one in said(kind, INVOICE)} == {"in_1"}


def test_the_subscription_is_found_in_both_shapes_of_an_invoice() -> None:
    parent = {"subscription_details": {"subscription": "sub_9", "metadata": {"user_id": "u"}}}
    new, old = (
        said("invoice.paid", {**INVOICE, "parent": parent}),
        said("invoice.paid", {**INVOICE, "subscription": "sub_9"}),
    )
    assert new[0].properties["subscription"] == old[0].properties["subscription"] == "sub_9"


def test_an_expanded_customer_is_read() -> None:
    [one] = said("invoice.sent", {**INVOICE, "customer": {"id": "cus_2", "email": "A@b.org"}})
    assert {i.key for i in one.identifiers} == {"customer_id:cus_2", "email:a@b.org"}


def test_a_customers_change_links_their_names() -> None:
    change = event("customer.updated", {"object": "customer", "id": "cus_3", "email": "c@d.org"})
    [record] = map_event(change).records
    assert isinstance(record, Identification)
    assert {i.key for i in record.identifiers} == {"customer_id:cus_3", "email:c@d.org"}


REJECTED = {
    "no JSON": (b"{", "invalid_json"),
    "no object": (b"[]", "invalid_field"),
    "no type": ({"object": "event", "data": {"object": {}}}, "missing_type"),
    "a thin event": ({"object": "v2.core.event", "type": "v1.billing"}, "unknown_type"),
    "no object in it": ({"type": "invoice.paid", "data": {}}, "invalid_field"),
    "nobody": (
        {"type": "invoice.paid", "created": SECONDS, "data": {"object": {"a": 1}}},
        "missing_identity",
    ),
    "no time": ({**event("invoice.paid", INVOICE), "created": "now"}, "bad_timestamp"),
    "a time to come": ({**event("invoice.paid", INVOICE), "created": SECONDS * 2}, "timestamp_out_of_range"),
    "too large": (b" " * 600_000, "event_too_large"),
}


@pytest.mark.parametrize(("body", "reason"), REJECTED.values(), ids=REJECTED.keys())
def test_rejected(body: Any, reason: str) -> None:
    mapped = map_event(body)
    assert [one.reason for one in mapped.rejected] == [reason]
    assert (mapped.records, mapped.accepted) == ([], 0)


def test_in_strict_mode_an_event_of_another_kind_is_rejected() -> None:
    mapped = map_event(event("payment_intent.canceled", {}), strict=True)
    assert [one.reason for one in mapped.rejected] == ["unmapped_event"]


json_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=9),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)
names = st.sampled_from(
    ["id", "object", "amount_due", "amount_paid", "amount_refunded", "currency", "customer", "items",
     "metadata", "parent", "status", "evidence", "customer_details", "attempt_count", "cancellation_details",
     "after_expiration"]
)  # fmt: skip


@given(
    st.sampled_from(sorted(stripe._TELLERS)) | st.text(max_size=9),
    st.dictionaries(names, json_values | st.sampled_from(["eur", "cus_1", 5]), max_size=8),
    st.dictionaries(names, json_values, max_size=4) | json_values,
    json_values | st.just(SECONDS),
)
def test_whatever_comes_is_taken_or_rejected(kind: str, subject: Any, previous: Any, created: Any) -> None:
    said = {
        "id": "e",
        "type": kind,
        "created": created,
        "data": {"object": subject, "previous_attributes": previous},
    }
    mapped = map_event(msgspec.json.encode(said))
    assert mapped.accepted + len(mapped.rejected) == 1
    assert not [one for one in mapped.rejected if one.reason == "mapping_error"]
    assert channel_records.decode(msgspec.json.encode(mapped.records)).records == mapped.records
    msgspec.msgpack.encode(mapped.records)
