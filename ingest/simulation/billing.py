"""What a payment provider tells: Stripe-shaped events, and the life of a subscription."""

from collections.abc import Iterator
from typing import Any

from ingest.simulation.customer import Customer
from ingest.simulation.world import DAY, HOUR, MINUTE, SECOND, STRIPE, Happening, World

CURRENCY = "eur"
_API_VERSION = "2026-10-28.endive"
_FEEDBACK = (
    "too_expensive",
    "unused",
    "switched_service",
    "missing_features",
    "low_quality",
    "customer_service",
)
_PLANS = (
    ("plan_monthly", 1900, 30 * DAY),
    ("plan_monthly_plus", 3900, 30 * DAY),
    ("plan_weekly_box", 1290, 7 * DAY),
)
_RETRIES_AT_MOST = 3


def event(
    world: World, at: int, kind: str, subject: dict[str, Any], previous: dict[str, Any] | None = None
) -> Happening:
    """A Stripe event of type `kind` about the object `subject`; `previous`: what the change replaced."""
    data: dict[str, Any] = {"object": subject}
    if previous is not None:
        data["previous_attributes"] = previous
    return (
        at,
        STRIPE,
        {
            "id": f"evt_{world.serial()}",
            "object": "event",
            "account": None,
            "api_version": _API_VERSION,
            "created": at // 1000,
            "data": data,
            "livemode": False,
            "pending_webhooks": 1,
            "request": {"id": None, "idempotency_key": None},
            "type": kind,
        },
    )


def invoice(
    c: Customer, at: int, cents: int, *, subscription: str | None = None, first: bool = False
) -> dict[str, Any]:
    """An open invoice; `cents`: the amount due in minor units."""
    world = c.world
    made: dict[str, Any] = {
        "id": f"in_{world.serial()}",
        "object": "invoice",
        "amount_due": cents,
        "amount_paid": 0,
        "amount_remaining": cents,
        "attempt_count": 0,
        "billing_reason": "manual"
        if subscription is None
        else "subscription_create"
        if first
        else "subscription_cycle",
        "collection_method": "send_invoice" if subscription is None else "charge_automatically",
        "created": at // 1000,
        "currency": CURRENCY,
        "customer": c.stripe_id,
        "customer_email": c.email,
        "customer_name": c.name,
        "customer_phone": None,
        "metadata": {},
        "parent": None,
        "status": "open",
        "total": cents,
    }
    if subscription is not None:
        made["parent"] = {
            "type": "subscription_details",
            "subscription_details": {"metadata": {"user_id": c.user_id}, "subscription": subscription},
        }
    return made


def paid(world: World, at: int, open_invoice: dict[str, Any]) -> Happening:
    """The invoice is paid."""
    cents = open_invoice["amount_due"]
    attempts = open_invoice["attempt_count"] + 1
    settled = {"amount_paid": cents, "amount_remaining": 0, "attempt_count": attempts, "status": "paid"}
    return event(world, at, "invoice.paid", {**open_invoice, **settled})


def declined(world: World, at: int, open_invoice: dict[str, Any], next_attempt_at: int | None) -> Happening:
    """A card was declined; the next try is at `next_attempt_at`, None if that was the last one."""
    open_invoice["attempt_count"] += 1
    return event(
        world, at, "invoice.payment_failed",
        {**open_invoice, "next_payment_attempt": next_attempt_at // 1000 if next_attempt_at else None},
    )  # fmt: skip


def checkout_session(
    c: Customer, at: int, cents: int, *, mode: str = "payment", known: bool = True
) -> dict[str, Any]:
    """A payment page that was begun. `known`: the shop told the provider which account it is."""
    return {
        "id": f"cs_{c.world.serial()}",
        "object": "checkout.session",
        "amount_total": cents,
        "client_reference_id": c.user_id if known else None,
        "created": at // 1000,
        "currency": CURRENCY,
        "customer": c.stripe_id,
        "customer_details": {"email": c.email, "name": c.name, "phone": None},
        "metadata": {"anonymous_id": c.anonymous_id},
        "mode": mode,
        "payment_status": "unpaid",
        "status": "open",
        "subscription": None,
    }


def refunded(c: Customer, at: int, cents: int) -> Happening:
    """The charge of an order is given back."""
    return event(
        c.world, at, "charge.refunded",
        {
            "id": f"ch_{c.world.serial()}",
            "object": "charge",
            "amount": cents,
            "amount_refunded": cents,
            "billing_details": {"email": c.email, "name": c.name, "phone": None},
            "created": at // 1000,
            "currency": CURRENCY,
            "customer": c.stripe_id,
            "metadata": {},
            "refunded": True,
            "status": "succeeded",
        },
        {"amount_refunded": 0, "refunded": False},
    )  # fmt: skip


def on_account(c: Customer, at: int, cents: int) -> Iterator[Happening]:
    """A bought order is billed: an invoice is sent, and paid some days later, late, or not at all."""
    world = c.world
    bill = invoice(c, at, cents)
    yield event(world, at, "invoice.sent", bill)
    if world.happens(0.93):
        delay = world.about(5 * DAY)
        if delay > 14 * DAY:
            yield event(world, at + 14 * DAY, "invoice.overdue", bill)
        yield paid(world, world.later(at + delay, 2 * HOUR), bill)
    else:
        yield event(world, at + 14 * DAY, "invoice.overdue", bill)


def subscription(c: Customer, at: int, *, begins: bool) -> Iterator[Happening]:
    """Cycle after cycle until the customer or their card ends it. `begins`: now; else it has for long."""
    world = c.world
    plan, cents, cycle = world.pick(_PLANS)
    name = f"sub_{world.serial()}"
    if begins:
        yield event(
            world, at, "customer.subscription.created", _subscribed(c, name, at, plan, cents, "active")
        )
        yield paid(world, at + 2 * SECOND, invoice(c, at, cents, subscription=name, first=True))
        at += cycle
    while True:
        bill = invoice(c, at, cents, subscription=name)
        tries = 0
        while world.incident("payment_outage", at) or world.happens(0.06 if tries == 0 else 0.35):
            tries += 1
            retry_at = at + (world.moment(2 * DAY) if tries > 1 else world.moment(18 * HOUR))
            yield declined(world, at, bill, retry_at if tries < _RETRIES_AT_MOST else None)
            if tries == _RETRIES_AT_MOST:
                ended = _subscribed(c, name, at, plan, cents, "canceled", reason="payment_failed")
                yield event(world, at + 5 * SECOND, "customer.subscription.deleted", ended)
                return
            at = retry_at
        yield paid(world, at, bill)
        if world.happens(0.05):
            at = world.later(at, 2 * DAY)
            feedback = world.pick(_FEEDBACK)
            scheduled = _subscribed(c, name, at, plan, cents, "active", feedback=feedback)
            scheduled["cancel_at_period_end"] = True
            yield event(
                world, at, "customer.subscription.updated", scheduled, {"cancel_at_period_end": False}
            )
            at += world.moment(5 * DAY)
            ended = _subscribed(c, name, at, plan, cents, "canceled", feedback=feedback)
            yield event(world, at, "customer.subscription.deleted", ended)
            return
        at += cycle - tries * HOUR + world.moment(10 * MINUTE)


def _subscribed(
    c: Customer, name: str, at: int, plan: str, cents: int, status: str,
    *, feedback: str | None = None, reason: str | None = None,
) -> dict[str, Any]:  # fmt: skip
    ended = status == "canceled"
    return {
        "id": name,
        "object": "subscription",
        "cancel_at_period_end": False,
        "canceled_at": at // 1000 if ended else None,
        "cancellation_details": {
            "comment": None,
            "feedback": feedback,
            "reason": reason or ("cancellation_requested" if feedback else None),
        },
        "created": at // 1000,
        "currency": CURRENCY,
        "customer": c.stripe_id,
        "ended_at": at // 1000 if ended else None,
        "items": {
            "object": "list",
            "data": [{"price": {"id": plan, "unit_amount": cents, "currency": CURRENCY}, "quantity": 1}],
        },
        "metadata": {"user_id": c.user_id},
        "status": status,
    }
