"""Stripe's webhook events. https://docs.stripe.com/api/events, API 2026-10-28 and the shapes before it."""

from decimal import Decimal
from typing import Any

import msgspec

from ingest.instants import in_range
from ingest.mapped import Delivery, Mapped, deterministic_id, identifiers
from ingest.rejection import NotTaken, rejection
from models.touchpoint import Record, Touchpoint

SOURCE = "stripe"
# ISO 4217 exponents other than 2; Stripe sends ISK and UGX times a hundred all the same
_ZERO_DECIMALS = frozenset(
    {
        *("BIF", "CLP", "DJF", "GNF", "JPY", "KMF", "KRW", "MGA"),
        *("PYG", "RWF", "VND", "VUV", "XAF", "XOF", "XPF"),
    }
)
_THREE_DECIMALS = frozenset(["BHD", "JOD", "KWD", "OMR", "TND"])
_NO_TOUCHPOINT = frozenset(
    {
        "charge.succeeded",
        "charge.updated",
        "customer.created",
        "customer.updated",
        "invoice.created",
        "invoice.updated",
        "invoice.payment_succeeded",  # invoice.paid says it
        "payment_intent.created",
        "payment_intent.succeeded",
        "payment_method.attached",
    }
)


class _Said(msgspec.Struct, frozen=True):
    """What an event means: type, amount in minor units, outcome, its reason."""

    type: str
    minor: Any = None
    outcome: str | None = None
    reason: str | None = None


def map_event(body: Any, delivery: Delivery) -> Mapped:
    """The touchpoint of one event; none for events that say nothing new. What cannot be mapped is
    rejected.
    """
    try:
        touchpoints = _touchpoints(body, delivery)
    except NotTaken as why:
        rejected = rejection(
            why,
            msgspec.json.encode(body),
            source=SOURCE,
            source_instance=delivery.source_instance,
            channel="billing",
            received_at=delivery.received_at,
            raw_ref=f"{delivery.raw_ref}:0",
        )
        return Mapped([], [rejected])
    return Mapped(touchpoints, [])


def _touchpoints(event: Any, delivery: Delivery) -> list[Record]:
    if not isinstance(event, dict):
        raise NotTaken("invalid_field", "an event is an object")
    kind = event.get("type")
    if not isinstance(kind, str):
        raise NotTaken("missing_type", 'the event has no "type"')
    data = _object(event.get("data"))
    subject = _object(data.get("object"))
    if event.get("object") == "v2.core.event" or not subject:
        raise NotTaken(
            "unknown_type", f'thin event "{kind[:80]}" comes without its object, and nothing fetches it'
        )
    said = _said(kind, subject, _object(data.get("previous_attributes")))
    if said is None:
        if kind in _NO_TOUCHPOINT or kind == "customer.subscription.updated":
            return []
        raise NotTaken("unknown_type", f'event type "{kind[:80]}" is not mapped')
    created = event.get("created")
    if not isinstance(created, int) or isinstance(created, bool) or abs(created) > 10**11:
        raise NotTaken("bad_timestamp", '"created" is no number of seconds')
    persons = _persons(subject, delivery)
    if not persons:
        raise NotTaken(
            "missing_identity", f"the {subject.get('object', 'object')} names no customer, email or phone"
        )
    event_id = str(event.get("id") or "")
    if not event_id:
        raise NotTaken("invalid_field", 'the event has no "id"')
    currency = str(subject.get("currency") or _price(subject).get("currency") or "").upper()
    amount = _major(said.minor, currency)
    details = _object(_object(subject.get("parent")).get("subscription_details"))
    chain = subject.get("subscription") or details.get("subscription")
    paid = Touchpoint(
        id=deterministic_id(SOURCE, delivery.source_instance, event_id, 0, said.type),
        source=SOURCE,
        source_instance=delivery.source_instance,
        source_event_id=event_id,
        source_type=kind,
        channel="billing",
        type=said.type,
        occurred_at=in_range(created * 1000, delivery.received_at, "created"),
        received_at=delivery.received_at,
        identifiers=persons,
        outcome=said.outcome,  # type: ignore[arg-type]
        outcome_reason=said.reason,
        attempts=_count(subject.get("attempt_count")),
        amount=amount,
        currency=currency if amount is not None else None,
        properties={
            name: value
            for name, value in {
                "object_id": subject.get("id"),
                "subscription": chain,
                "billing_reason": subject.get("billing_reason"),
                "next_payment_attempt": subject.get("next_payment_attempt"),
            }.items()
            if value is not None
        },
        raw_ref=f"{delivery.raw_ref}:0",
    )
    if kind != "invoice.paid" or subject.get("billing_reason") != "subscription_cycle":
        return [paid]
    # a cycle's invoice settles what is owed, and is the renewal; the money is counted once
    renewed = msgspec.structs.replace(
        paid,
        id=deterministic_id(SOURCE, delivery.source_instance, event_id, 1, "subscription_renewed"),
        type="subscription_renewed",
        amount=None,
        currency=None,
    )
    return [paid, renewed]


def _said(kind: str, subject: dict[str, Any], previous: dict[str, Any]) -> _Said | None:
    match kind:
        case "invoice.payment_failed":
            return _Said("payment_failed", subject.get("amount_due"), "failure")
        case "invoice.paid":
            return _Said("invoice_paid", subject.get("amount_paid"), "success")
        case "invoice.sent" | "invoice.finalized":
            return _Said("invoice_sent", subject.get("amount_due"))
        case "invoice.overdue" | "invoice.marked_uncollectible":
            return _Said("invoice_overdue", subject.get("amount_remaining"))
        case "checkout.session.completed":
            paid = subject.get("payment_status") in ("paid", "no_payment_required", None)
            return _Said("purchase", subject.get("amount_total"), "success") if paid else None
        case "checkout.session.expired":
            return _Said("checkout_abandoned", subject.get("amount_total"), "abandoned")
        case "checkout.session.async_payment_failed":
            return _Said("payment_failed", subject.get("amount_total"), "failure")
        case "customer.subscription.created":
            return _Said("subscription_started", _items_total(subject))
        case "customer.subscription.updated":
            return _subscription_change(subject, previous)
        case "customer.subscription.deleted":
            details = _object(subject.get("cancellation_details"))
            return _Said(
                "subscription_cancelled", None, None, _text(details.get("feedback") or details.get("reason"))
            )
        case "charge.refunded":
            refunded = subject.get("amount_refunded")
            before = previous.get("amount_refunded") or 0
            if isinstance(refunded, int) and isinstance(before, int):
                refunded -= before
            return _Said("refund_issued", refunded)
        case "charge.dispute.created":
            return _Said("dispute_opened", subject.get("amount"), None, _text(subject.get("reason")))
        case _:
            return None


def _subscription_change(subject: dict[str, Any], previous: dict[str, Any]) -> _Said | None:
    if previous.get("cancel_at_period_end") is False and subject.get("cancel_at_period_end") is True:
        details = _object(subject.get("cancellation_details"))
        return _Said("subscription_cancel_scheduled", None, None, _text(details.get("feedback")))
    if "items" in previous:
        before, after = _items_total(previous), _items_total(subject)
        if before is not None and after is not None and before != after:
            return _Said("subscription_upgraded" if after > before else "subscription_downgraded", after)
    return None


def _persons(subject: dict[str, Any], delivery: Delivery) -> tuple[Any, ...]:
    details = _object(subject.get("customer_details"))
    billing = _object(subject.get("billing_details"))
    metadata = {
        **_object(_object(_object(subject.get("parent")).get("subscription_details")).get("metadata")),
        **_object(subject.get("metadata")),
    }
    customer = subject.get("customer")
    if isinstance(customer, dict):
        customer = customer.get("id")
    return identifiers(
        delivery.model,
        ("user_id", subject.get("client_reference_id") or metadata.get("user_id")),
        ("customer_id", customer),
        ("email", subject.get("customer_email") or details.get("email") or billing.get("email")),
        ("phone", subject.get("customer_phone") or details.get("phone") or billing.get("phone")),
        ("anonymous_id", metadata.get("anonymous_id")),
    )


def _major(minor: Any, currency: str) -> str | None:
    if not isinstance(minor, int) or isinstance(minor, bool) or len(currency) != 3 or abs(minor) >= 10**15:
        return None
    exponent = 0 if currency in _ZERO_DECIMALS else 3 if currency in _THREE_DECIMALS else 2
    return format(Decimal(minor).scaleb(-exponent), "f")


def _items_total(subject: dict[str, Any]) -> int | None:
    items = _object(subject.get("items")).get("data")
    if not isinstance(items, list):
        return None
    total = 0
    for item in items:
        unit, quantity = (
            _object(_object(item).get("price")).get("unit_amount"),
            _object(item).get("quantity", 1),
        )
        if isinstance(unit, int) and isinstance(quantity, int):
            total += unit * quantity
    return total


def _price(subject: dict[str, Any]) -> dict[str, Any]:
    items = _object(subject.get("items")).get("data")
    return _object(_object(items[0]).get("price")) if isinstance(items, list) and items else {}


def _object(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def _text(value: Any) -> str | None:
    return str(value)[:200] if isinstance(value, str | int) and value != "" else None


def _count(value: Any) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 65_536 else None
