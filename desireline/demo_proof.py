"""The cross-channel proof: three sets of identifiers, one customer, one journey, read from the warehouse.

A visitor adds to the cart anonymously on the web, calls the contact centre from a phone number, then pays by
card. Nothing that happens carries identifiers of two of the three; two identifications link them.
"""

from typing import TYPE_CHECKING, Any

import msgspec

from desireline.demo_stripe import documented, moved

if TYPE_CHECKING:
    from sqlalchemy import Engine

MINUTE_MS = 60_000

_OWNERS = """
    select identifier, customer_id from identities where identifier in :keys
"""
_STORY = """
    select type, channel, journey_id, customer_id from touchpoints
    where hasAny(identifiers, :keys) order by occurred_at, id
"""


class Proof(msgspec.Struct, frozen=True, kw_only=True):
    """One case: what is sent through which door, and the keys of the three sets of identifiers.

    `happened`: Segment calls of what happened, `links`: of who is who; `payment`: the Stripe event.
    """

    visitor: str
    caller: str
    payer: tuple[str, ...]
    happened: list[dict[str, Any]]
    links: list[dict[str, Any]]
    payment: dict[str, Any]

    @property
    def keys(self) -> tuple[str, ...]:
        """The identifiers that must turn out to be one customer."""
        return (self.visitor, self.caller, *self.payer)


class Finding(msgspec.Struct, frozen=True, kw_only=True):
    """What the warehouse says of a proof: whom each identifier belongs to, and what is in whose journey."""

    owners: dict[str, str]
    customers: list[str]
    journeys: list[str]
    touchpoints: list[tuple[str, str]]  # type, channel
    missing: list[str]

    @property
    def holds(self) -> bool:
        """Whether it is one customer and one journey, with all of it in."""
        owners = set(self.owners.values()) | set(self.customers)
        return not self.missing and len(owners) == 1 and len(self.journeys) == 1


def case(name: str, now: int, *, phone: str = "+442079460123") -> Proof:
    """A proof with identifiers of its own; it happens in the two hours before `now` (UTC ms)."""
    visitor, user, email = f"visitor-{name}", f"account-{name}", f"grace.{name}@example.com"
    contact, customer = f"call-{name}", f"cus_{name}"
    begun = now - 120 * MINUTE_MS
    lamp = {"product_id": "desk-lamp", "name": "Desk lamp", "price": 49.0, "quantity": 1}
    said = {"channel": "voice", "conversation_id": contact, "phone": phone, "queue": "Sales"}

    def call(minute: int, kind: str, **fields: Any) -> dict[str, Any]:
        at = begun + minute * MINUTE_MS
        return {"type": kind, "messageId": f"{name}-{minute}-{kind}", "timestamp": _iso(at), **fields}

    payment = moved(documented("checkout_completed"), begun + 50 * MINUTE_MS)
    session = payment["data"]["object"]
    payment["id"] = f"evt_{name}"
    payment["data"]["object"] = {
        **session,
        "id": f"cs_{name}",
        "client_reference_id": None,
        "metadata": {},
        "customer": customer,
        "customer_email": email,
        "customer_details": {**session["customer_details"], "email": email, "name": "Grace", "phone": None},
        "payment_intent": f"pi_{name}",
    }
    return Proof(
        visitor=f"anonymous_id:{visitor}",
        caller=f"phone:{phone}",
        payer=(f"customer_id:{customer}", f"email:{email}"),
        happened=[
            call(0, "track", event="Product Viewed", anonymousId=visitor, properties=lamp),
            call(3, "track", event="Product Added", anonymousId=visitor, properties=lamp),
            call(20, "track", event="call_queued", anonymousId=contact, properties=said),
            call(
                21, "track", event="call_answered", anonymousId=contact,
                properties={**said, "wait_ms": MINUTE_MS},
            ),
        ],
        links=[
            call(26, "identify", anonymousId=contact, userId=user, traits={"phone": phone}),
            call(45, "identify", anonymousId=visitor, userId=user, traits={"email": email}),
        ],
        payment=payment,
    )  # fmt: skip


def find(connection: "Engine", proof: Proof) -> Finding:
    """Look the proof up in the warehouse."""
    from sqlalchemy import text

    keys = list(proof.keys)
    with connection.connect() as asking:
        owners = {row[0]: row[1] for row in asking.execute(text(_OWNERS), {"keys": tuple(keys)})}
        story = [tuple(row) for row in asking.execute(text(_STORY), {"keys": keys})]
    types = {row[0] for row in story}
    return Finding(
        owners=owners,
        customers=sorted({row[3] for row in story}),
        journeys=sorted({row[2] for row in story}),
        touchpoints=[(row[0], row[1]) for row in story],
        missing=[
            *(key for key in keys if key not in owners),
            *(type for type in ("add_to_cart", "call_queued", "purchase") if type not in types),
        ],
    )


def _iso(at: int) -> str:
    from datetime import UTC, datetime

    return datetime.fromtimestamp(at / 1000, UTC).isoformat(timespec="milliseconds")
