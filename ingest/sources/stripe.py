"""Stripe's events: invoices, checkouts, subscriptions, refunds, disputes. The signature is checked before.

An invoice is a conversation, so that what is sent, fails and is paid belong together. Payments of a checkout
have none: whatever the customer buys next completes them.
Both shapes are read, the current one and the one before API version 2025-03-31, where an invoice carried
`subscription` itself.
"""

import hashlib
import logging
from collections.abc import Callable, Iterator
from typing import Any

import msgspec

from ingest import privacy
from ingest.instants import in_range
from ingest.mapped import Delivery, Mapped, deterministic_id
from ingest.rejection import NotTaken
from ingest.sources import reader as read
from ingest.sources.reader import Names, names_of
from models.touchpoint import Identification, Record, Touchpoint
from models.vocabulary import TYPES

log = logging.getLogger(__name__)

SOURCE = "stripe"
CHANNEL = "billing"

Object = dict[str, Any]
_decoder = msgspec.json.Decoder()


class _Told(msgspec.Struct, frozen=True):
    """A touchpoint that an event tells of."""

    type: str
    fields: dict[str, Any] = {}
    properties: dict[str, Any] = {}


_Teller = Callable[[Object, Object], Iterator[_Told]]  # of the object, and of what the change replaced


def map_event(said: Any, delivery: Delivery) -> Mapped:
    """What an event says, its bytes or what was read from them; none or several touchpoints.

    Never raises: a fault of ours is a `mapping_error`.
    """
    try:
        return Mapped(_records(_parse(said, delivery), delivery), [], taken=1)
    except NotTaken as why:
        return Mapped([], [delivery.reject(why, said, source=SOURCE, channel=CHANNEL)])
    except Exception as error:  # an event of a shape that nobody thought of must be seen, not lost
        log.exception("an event could not be mapped, see the rejected: %s", delivery.place(0))
        fault = NotTaken("mapping_error", type(error).__name__)
        return Mapped([], [delivery.reject(fault, said, source=SOURCE, channel=CHANNEL)])


def _parse(said: Any, delivery: Delivery) -> Object:
    delivery.check_size(said)
    event = said
    if isinstance(said, bytes):
        try:
            event = _decoder.decode(said)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            raise NotTaken("invalid_json", str(error)) from error
    if not isinstance(event, dict):
        raise NotTaken("invalid_field", "an event is an object")
    if event.get("object") == "v2.core.event":
        raise NotTaken("unknown_type", "a thin event has no object in it; send snapshot events")
    if not isinstance(event.get("type"), str):
        raise NotTaken("missing_type", 'it has no "type"')
    if not isinstance(read.object_of(event.get("data")).get("object"), dict):
        raise NotTaken("invalid_field", "data.object is no object")
    return event


def _records(event: Object, delivery: Delivery) -> list[Record]:
    names = names_of(delivery.model)
    kind: str = event["type"]
    subject: Object = event["data"]["object"]
    previous = read.object_of(event["data"].get("previous_attributes"))
    at, quality = _occurred_at(event, delivery)
    event_id = read.text_of(event.get("id")) or _content_id(event)
    if kind in ("customer.created", "customer.updated"):
        return [_identification(kind, subject, event_id, at, delivery, names)]
    told = list(_TELLERS.get(kind, _unmapped)(subject, previous))
    if not told:
        return []
    if kind not in _TELLERS and delivery.strict:
        raise NotTaken("unmapped_event", f'no type of touchpoint is known for "{kind[:100]}"')
    identifiers = names.identifiers(_named(subject))
    invoice = subject.get("object") == "invoice"
    return [
        Touchpoint(
            id=deterministic_id(SOURCE, delivery.source_instance, event_id, index, one.type),
            source=SOURCE,
            source_instance=delivery.source_instance,
            source_event_id=event_id,
            source_type=kind[:200],
            channel=CHANNEL if CHANNEL in TYPES[one.type] else read.usual_channel(one.type),
            type=one.type,
            occurred_at=at,
            received_at=delivery.received_at,
            identifiers=identifiers,
            time_quality=quality,
            conversation_id=read.text_of(subject.get("id")) if invoice else None,
            properties=privacy.cleaned({**_references(subject), **one.properties}),
            raw_ref=delivery.place(0),
            **one.fields,
        )
        for index, one in enumerate(told)
    ]


def _occurred_at(event: Object, delivery: Delivery) -> tuple[int, Any]:
    created = event.get("created")
    if created is None:
        return delivery.received_at, "received"
    if isinstance(created, bool) or not isinstance(created, int):
        raise NotTaken("bad_timestamp", "created is no number of seconds")
    return in_range(created * 1000, delivery.received_at, "created"), "source"


def _content_id(event: Object) -> str:
    return f"sha256:{hashlib.sha256(msgspec.json.encode(event, order='deterministic')).hexdigest()}"


def _named(subject: Object) -> Iterator[tuple[str, object]]:
    """All that names the customer, wherever the kind of object has it."""
    metadata = [read.object_of(subject.get("metadata"))]
    parent = read.object_of(subject.get("parent"))
    for details in (parent.get("subscription_details"), subject.get("subscription_details")):
        metadata.append(read.object_of(read.object_of(details).get("metadata")))
    yield "user_id", subject.get("client_reference_id")
    for said in metadata:
        yield "user_id", said.get("user_id") or said.get("userId")
        yield "anonymous_id", said.get("anonymous_id") or said.get("anonymousId")
    customer = subject if subject.get("object") == "customer" else subject.get("customer")
    if isinstance(customer, dict):  # expanded
        yield "email", customer.get("email")
        yield "phone", customer.get("phone")
        customer = customer.get("id")
    yield "customer_id", customer
    yield "email", subject.get("customer_email")
    yield "phone", subject.get("customer_phone")
    for details in (subject.get("customer_details"), subject.get("billing_details")):
        yield "email", read.object_of(details).get("email")
        yield "phone", read.object_of(details).get("phone")
    yield "email", subject.get("delivery_email")
    yield "email", read.object_of(subject.get("evidence")).get("customer_email_address")


def _references(subject: Object) -> dict[str, Any]:
    """Which objects of the provider it is about."""
    said = {name: subject.get(name) for name in ("payment_intent", "charge", "number", "billing_reason")}
    said["subscription"] = _subscription(subject)
    said[str(subject.get("object") or "object")] = subject.get("id")
    return {name: value for name, value in said.items() if isinstance(value, str) and value}


def _subscription(subject: Object) -> object:
    details = read.object_of(read.object_of(subject.get("parent")).get("subscription_details"))
    return details.get("subscription") or subject.get("subscription")


def _identification(
    kind: str, subject: Object, event_id: str, at: int, delivery: Delivery, names: Names
) -> Identification:
    return Identification(
        id=deterministic_id(SOURCE, delivery.source_instance, event_id, 0, kind),
        source=SOURCE,
        source_instance=delivery.source_instance,
        channel=CHANNEL,
        at=at,
        received_at=delivery.received_at,
        identifiers=names.identifiers(
            [*_named(subject), ("email", subject.get("email")), ("phone", subject.get("phone"))]
        ),
        reason=kind,
        raw_ref=delivery.place(0),
    )


def _money(subject: Object, cents: object) -> dict[str, Any]:
    currency = read.currency_of(subject.get("currency"))
    amount = read.minor_units(cents, currency) if currency else None
    return {"amount": amount, "currency": currency} if amount is not None else {}


def _invoice_sent(invoice: Object, _previous: Object) -> Iterator[_Told]:
    yield _Told("invoice_sent", _money(invoice, invoice.get("amount_due")))


def _invoice_finalized(invoice: Object, previous: Object) -> Iterator[_Told]:
    if invoice.get("collection_method") != "send_invoice":  # else invoice.sent says it
        yield from _invoice_sent(invoice, previous)


def _invoice_paid(invoice: Object, _previous: Object) -> Iterator[_Told]:
    yield _Told("invoice_paid", _money(invoice, invoice.get("amount_paid")))
    # the first one of a subscription is told by customer.subscription.created
    if invoice.get("billing_reason") == "subscription_cycle":
        yield _Told("subscription_renewed")


def _invoice_failed(invoice: Object, _previous: Object) -> Iterator[_Told]:
    fields = _money(invoice, invoice.get("amount_due"))
    error = read.object_of(invoice.get("last_finalization_error"))
    fields["outcome_reason"] = read.text_of(error.get("decline_code") or error.get("code"))
    fields["attempts"] = read.count_of(invoice.get("attempt_count"))
    again = invoice.get("next_payment_attempt")
    yield _Told("payment_failed", fields, {"next_payment_attempt": again} if again else {})


def _invoice_overdue(invoice: Object, _previous: Object) -> Iterator[_Told]:
    yield _Told("invoice_overdue", _money(invoice, invoice.get("amount_remaining")))


def _checkout_completed(session: Object, _previous: Object) -> Iterator[_Told]:
    if session.get("payment_status") in ("paid", "no_payment_required") and session.get("mode") != "setup":
        yield _Told("purchase", {**_money(session, session.get("amount_total")), "outcome": "success"})


def _checkout_paid_later(session: Object, _previous: Object) -> Iterator[_Told]:
    yield _Told("purchase", {**_money(session, session.get("amount_total")), "outcome": "success"})


def _checkout_expired(session: Object, _previous: Object) -> Iterator[_Told]:
    recovery = read.object_of(read.object_of(session.get("after_expiration")).get("recovery")).get("url")
    fields = {**_money(session, session.get("amount_total")), "outcome": "abandoned"}
    yield _Told("checkout_abandoned", fields, {"recovery_url": recovery} if isinstance(recovery, str) else {})


def _checkout_failed(session: Object, _previous: Object) -> Iterator[_Told]:
    yield _Told("payment_failed", _money(session, session.get("amount_total")))


def _price(subscription: Object) -> int | None:
    """What a cycle costs, in minor units; None where it cannot be told."""
    items = read.object_of(subscription.get("items")).get("data")
    if not isinstance(items, list) or not items:
        return None
    total = 0
    for item in items:
        price = read.object_of(read.object_of(item).get("price")) or read.object_of(
            read.object_of(item).get("plan")
        )
        cents = price.get("unit_amount", price.get("amount"))
        quantity = read.object_of(item).get("quantity", 1)
        if type(cents) is not int or type(quantity) is not int:
            return None
        total += cents * quantity
    return total


def _plan(subscription: Object) -> dict[str, Any]:
    items = read.object_of(subscription.get("items")).get("data")
    first = read.object_of(items[0]) if isinstance(items, list) and items else {}
    plan = read.object_of(first.get("price")).get("id") or read.object_of(first.get("plan")).get("id")
    return {"plan": plan} if isinstance(plan, str) else {}


def _subscription_created(subscription: Object, _previous: Object) -> Iterator[_Told]:
    status = subscription.get("status")
    if status == "trialing":
        yield _Told("trial_started", {}, _plan(subscription))
    elif status not in ("incomplete", "incomplete_expired", "canceled"):  # else nothing has begun
        money = _money(subscription, _price(subscription))
        yield _Told("subscription_started", money, _plan(subscription))


def _subscription_updated(subscription: Object, previous: Object) -> Iterator[_Told]:
    money = _money(subscription, _price(subscription))
    plan = _plan(subscription)
    if previous.get("status") in ("incomplete", "trialing") and subscription.get("status") == "active":
        yield _Told("subscription_started", money, plan)
    if previous.get("cancel_at_period_end") is False and subscription.get("cancel_at_period_end") is True:
        yield _Told("subscription_cancel_scheduled", _why(subscription), plan)
    before, now = _price(previous), _price(subscription)
    if before is not None and now is not None and before != now:
        yield _Told("subscription_upgraded" if now > before else "subscription_downgraded", money, plan)


def _subscription_deleted(subscription: Object, _previous: Object) -> Iterator[_Told]:
    yield _Told("subscription_cancelled", _why(subscription), _plan(subscription))


def _why(subscription: Object) -> dict[str, Any]:
    details = read.object_of(subscription.get("cancellation_details"))
    return {
        "outcome_reason": read.text_of(details.get("feedback") or details.get("reason")),
        "text": read.free_text(details.get("comment")),
    }


def _charge_refunded(charge: Object, previous: Object) -> Iterator[_Told]:
    total, before = charge.get("amount_refunded"), previous.get("amount_refunded")
    refunded = total - before if type(total) is int and type(before) is int else total
    yield _Told("refund_issued", _money(charge, refunded))


def _dispute_opened(dispute: Object, _previous: Object) -> Iterator[_Told]:
    fields = {**_money(dispute, dispute.get("amount")), "outcome_reason": read.text_of(dispute.get("reason"))}
    due = read.object_of(dispute.get("evidence_details")).get("due_by")
    yield _Told("dispute_opened", fields, {"evidence_due_by": due} if isinstance(due, int) else {})


def _unmapped(_subject: Object, _previous: Object) -> Iterator[_Told]:
    yield _Told("custom")


_TELLERS: dict[str, _Teller] = {
    "invoice.payment_failed": _invoice_failed,
    "invoice.paid": _invoice_paid,
    "invoice.sent": _invoice_sent,
    "invoice.finalized": _invoice_finalized,
    "invoice.overdue": _invoice_overdue,
    "invoice.marked_uncollectible": _invoice_overdue,
    "checkout.session.completed": _checkout_completed,
    "checkout.session.async_payment_succeeded": _checkout_paid_later,
    "checkout.session.expired": _checkout_expired,
    "checkout.session.async_payment_failed": _checkout_failed,
    "customer.subscription.created": _subscription_created,
    "customer.subscription.updated": _subscription_updated,
    "customer.subscription.deleted": _subscription_deleted,
    "charge.refunded": _charge_refunded,
    "charge.dispute.created": _dispute_opened,
}
