"""Segment's calls, as its clients, RudderStack's and our simulator send them.

`track`, `page` and `screen` are touchpoints; `identify`, `alias` and `group` link identifiers. Chat and
voice come as
`track` calls named by our vocabulary ("Call Queued" or "call_queued"), with `properties.channel` if the word alone
does not say it. https://segment.com/docs/connections/spec/
"""

import re
from collections.abc import Callable
from decimal import Decimal, InvalidOperation
from functools import lru_cache
from typing import Any
from urllib.parse import parse_qs, urlsplit

import msgspec

from ingest.instants import in_range, instant
from ingest.mapped import Delivery, Mapped, deterministic_id, identifiers
from ingest.privacy import without_secrets
from ingest.rejection import NotTaken, Rejection, rejection
from ingest.skew import corrected
from models.identifier import Identifier
from models.touchpoint import Agent, Campaign, Device, Identification, Page, Record, Touchpoint
from models.vocabulary import CHANNELS, OUTCOMES, TYPES

SOURCE = "segment"
CALLS = ("track", "page", "screen", "identify", "group", "alias")

# names of Segment's e-commerce specification, version 2 and the older ones, in lower case
_EVENTS = {
    "products searched": "search",
    "product list viewed": "page_view",
    "product list filtered": "search",
    "promotion viewed": "ad_impression",
    "viewed promotion": "ad_impression",
    "promotion clicked": "ad_click",
    "clicked promotion": "ad_click",
    "product clicked": "product_view",
    "product viewed": "product_view",
    "viewed product": "product_view",
    "clicked product": "product_view",
    "viewed product category": "page_view",
    "product added": "add_to_cart",
    "added product": "add_to_cart",
    "add-to-basket": "add_to_cart",
    "product removed": "remove_from_cart",
    "removed product": "remove_from_cart",
    "cart viewed": "page_view",
    "viewed cart": "page_view",
    "checkout started": "checkout_started",
    "started order": "checkout_started",
    "checkout step viewed": "page_view",
    "viewed checkout step": "page_view",
    "checkout step completed": "page_view",
    "payment info entered": "page_view",
    "order completed": "purchase",
    "completed order": "purchase",
    "order refunded": "refund_issued",
    "refunded order": "refund_issued",
    "order cancelled": "order_cancelled",
    "coupon denied": "coupon_denied",
    "product added to wishlist": "wishlist_added",
    "product shared": "referral_sent",
    "shared product": "referral_sent",
    "cart shared": "referral_sent",
    "shared cart": "referral_sent",
    "product reviewed": "review_posted",
    "reviewed product": "review_posted",
    "signed up": "signed_up",
    "signed in": "login",
    "logged in": "login",
    "error shown": "error_seen",
    "$exception": "error_seen",
}
_PAGE_CATEGORIES = {"blog": "content_view", "docs": "content_view", "help": "help_article_viewed"}
_CLICK_IDS = ("gclid", "fbclid", "msclkid")
_NOT_WORDS = re.compile(r"[^a-z0-9]+")
_OUTCOMES = frozenset(OUTCOMES)
_PROPERTIES_BYTES = 16_000
_TEXT_CHARACTERS = 2_000
# what has a field of its own, and is not kept among the properties again
_CONSUMED = frozenset(
    {
        *("channel", "email", "phone", "customer_id", "account_id", "contact_id", "device_id"),
        *("queue", "team", "agent_id", "topic", "conversation_id", "direction", "text"),
        *(
            "outcome",
            "outcome_reason",
            "wait_ms",
            "hold_ms",
            "talk_ms",
            "duration_ms",
            "transfers",
            "attempts",
        ),
        *("csat", "nps", "ces", "sentiment", "persona", "segments"),
        *("currency", "products", "total", "revenue", "value"),
        *("url", "path", "title", "referrer", "search"),
    }
)

_Mapper = Callable[[dict[str, Any], Delivery, int | None], Record]


def map_batch(body: Any, delivery: Delivery) -> Mapped:
    """All calls of a `/v1/batch` body that is JSON already. NotTaken if it is no batch at all."""
    if not isinstance(body, dict) or not isinstance(body.get("batch"), list):
        raise NotTaken("invalid_json", 'the body is no batch: it has no list "batch"')
    records: list[Record] = []
    rejected: list[Rejection] = []
    context = body.get("context")
    for index, message in enumerate(body["batch"]):
        if isinstance(message, dict) and isinstance(context, dict):
            message = {**message, "context": {**context, **(_object(message.get("context")))}}
        _map_one(message, None, delivery, body.get("sentAt"), index, records, rejected)
    return Mapped(records, rejected)


def map_call(body: Any, call: str, delivery: Delivery) -> Mapped:
    """One call of `/v1/track`, `/v1/page` …: its type is the path's."""
    records: list[Record] = []
    rejected: list[Rejection] = []
    _map_one(body, call, delivery, None, 0, records, rejected)
    return Mapped(records, rejected)


def _map_one(
    message: Any,
    call: str | None,
    delivery: Delivery,
    batch_sent_at: Any,
    index: int,
    records: list[Record],
    rejected: list[Rejection],
) -> None:
    try:
        records.append(_record(message, call, delivery, batch_sent_at, index))
    except NotTaken as why:
        channel = _object(_object(message).get("properties")).get("channel")
        rejected.append(
            rejection(
                why,
                msgspec.json.encode(message),
                source=SOURCE,
                source_instance=delivery.source_instance,
                channel=channel if channel in CHANNELS else "web",
                received_at=delivery.received_at,
                raw_ref=f"{delivery.raw_ref}:{index}",
                attempt=delivery.attempt,
            )
        )


def _record(message: Any, call: str | None, delivery: Delivery, batch_sent_at: Any, index: int) -> Record:
    if not isinstance(message, dict):
        raise NotTaken("invalid_field", f"a call is an object, not {type(message).__name__}")
    said = call or message.get("type")
    if said is None or said == "":
        raise NotTaken("missing_type", f'the call has no "type"; one of {", ".join(CALLS)}')
    mapper = _MAPPERS.get(said) if isinstance(said, str) else None
    if mapper is None:
        raise NotTaken("unknown_type", f'type "{str(said)[:40]}" is none of {", ".join(CALLS)}')
    sent = message.get("sentAt") or batch_sent_at
    sent_at = instant(sent, "sentAt") if sent else None
    record = mapper(message, delivery, sent_at)
    return msgspec.structs.replace(record, raw_ref=f"{delivery.raw_ref}:{index}")


def _time(message: dict[str, Any], delivery: Delivery, sent_at: int | None) -> tuple[int, Any]:
    # with both, `timestamp` is what the caller meant: some clients stamp the other one with the time of
    # the call
    said = message.get("timestamp") or message.get("originalTimestamp")
    if not said:
        return delivery.received_at, "received"
    at, quality = corrected(
        instant(said, "timestamp"), sent_at, delivery.received_at, first_attempt=delivery.attempt == 1
    )
    return in_range(at, delivery.received_at, "timestamp"), quality


def _message_id(message: dict[str, Any]) -> str:
    said = message.get("messageId")
    if said is None or said == "":
        # no id: what is said names it, so that our own retries stay one
        return "sha256:" + str(hash_of(message))
    return str(said)[:200]


def hash_of(message: Any) -> str:
    """A name for something that has no id."""
    import hashlib

    return hashlib.sha256(msgspec.json.encode(message, order="sorted")).hexdigest()


def _persons(
    message: dict[str, Any], delivery: Delivery, properties: dict[str, Any], traits: dict[str, Any]
) -> tuple[Identifier, ...]:
    context = _object(message.get("context"))
    return identifiers(
        delivery.model,
        ("user_id", message.get("userId")),
        ("customer_id", properties.get("customer_id")),
        ("email", properties.get("email") or traits.get("email")),
        ("phone", properties.get("phone") or traits.get("phone")),
        ("contact_id", properties.get("contact_id")),
        ("device_id", properties.get("device_id") or _object(context.get("device")).get("id")),
        ("anonymous_id", message.get("anonymousId")),
    )


def _touchpoint(message: dict[str, Any], delivery: Delivery, sent_at: int | None) -> Touchpoint:
    call = message.get("type")
    event = message.get("event")
    if not isinstance(event, str) or not event.strip():
        raise NotTaken("missing_event_name", 'a track call has a text "event"')
    type_ = type_of(event)
    if type_ == "custom" and delivery.strict:
        raise NotTaken("unmapped_event", f'event "{event[:80]}" is no word of the vocabulary')
    return _make(message, delivery, sent_at, type_, f"{call or 'track'}:{event}")


def _page(message: dict[str, Any], delivery: Delivery, sent_at: int | None) -> Touchpoint:
    properties = _object(message.get("properties"))
    category = message.get("category") or properties.get("category")
    type_ = _PAGE_CATEGORIES.get(str(category).lower(), "page_view") if category else "page_view"
    name = message.get("name")
    return _make(message, delivery, sent_at, type_, f"page:{name}" if name else "page", is_page=True)


def _make(
    message: dict[str, Any],
    delivery: Delivery,
    sent_at: int | None,
    type_: str,
    source_type: str,
    *,
    is_page: bool = False,
) -> Touchpoint:
    properties = _object(message.get("properties"))
    context = _object(message.get("context"))
    traits = _object(context.get("traits"))
    persons = _persons(message, delivery, properties, traits)
    if not persons:
        raise NotTaken("missing_identity", "neither userId nor anonymousId, email or phone names anybody")
    occurred_at, quality = _time(message, delivery, sent_at)
    page = _page_of(properties, context)
    campaign = _campaign_of(context, page)
    if is_page and campaign is not None and (campaign.click_ids or campaign.medium == "cpc"):
        type_ = "ad_click"
    event_id = _message_id(message)
    number = _Numbers(properties)
    outcome = properties.get("outcome")
    amount, currency = _amount(properties)
    rest = {key: value for key, value in properties.items() if key not in _CONSUMED}
    if rest and len(msgspec.json.encode(rest)) > _PROPERTIES_BYTES:
        raise NotTaken("event_too_large", f"properties are over {_PROPERTIES_BYTES} bytes")
    return Touchpoint(
        id=deterministic_id(SOURCE, delivery.source_instance, event_id, 0, type_),
        source=SOURCE,
        source_instance=delivery.source_instance,
        source_event_id=event_id,
        source_type=source_type[:200],
        channel=_channel(properties.get("channel"), type_),
        type=type_,
        occurred_at=occurred_at,
        received_at=delivery.received_at,
        identifiers=persons,
        time_quality=quality,
        session_id=_text(context.get("sessionId")),
        conversation_id=_text(properties.get("conversation_id")),
        direction=properties["direction"]
        if properties.get("direction") in ("inbound", "outbound", "internal")
        else None,
        outcome=outcome if isinstance(outcome, str) and outcome in _OUTCOMES else None,  # type: ignore[arg-type]
        outcome_reason=_text(properties.get("outcome_reason")),
        wait_ms=number.whole("wait_ms"),
        hold_ms=number.whole("hold_ms"),
        talk_ms=number.whole("talk_ms"),
        duration_ms=number.whole("duration_ms"),
        transfers=number.whole("transfers", 1_000),
        attempts=number.whole("attempts", 1_000),
        csat=number.score("csat", 1, 5),
        nps=_whole(number.score("nps", 0, 10)),
        ces=number.score("ces", 1, 7),
        sentiment=number.score("sentiment", -1, 1),
        amount=amount,
        currency=currency,
        items=_items(properties.get("products")),
        page=page,
        campaign=campaign,
        device=_device_of(context),
        locale=_text(context.get("locale")),
        timezone=_text(context.get("timezone")),
        persona=_text(properties.get("persona") or traits.get("persona")),
        segments=_texts(properties.get("segments") or traits.get("segments")),
        agent=_agent_of(properties),
        topic=_text(properties.get("topic")),
        text=_text(properties.get("text"), _TEXT_CHARACTERS),
        properties=rest,
    )


def _identify(message: dict[str, Any], delivery: Delivery, sent_at: int | None) -> Identification:
    # rudder-sdk-python puts traits into the context alone
    traits = {**_object(_object(message.get("context")).get("traits")), **_object(message.get("traits"))}
    persons = _persons(message, delivery, {}, traits)
    return _link(message, delivery, sent_at, persons, "identify", traits)


def _alias(message: dict[str, Any], delivery: Delivery, sent_at: int | None) -> Identification:
    previous, user = message.get("previousId"), message.get("userId")
    # an id that was given before anyone logged in is an anonymous one
    persons = identifiers(delivery.model, ("user_id", user), ("anonymous_id", previous))
    if len(persons) < 2:
        raise NotTaken("missing_identity", "alias needs both previousId and userId")
    return _link(message, delivery, sent_at, persons, "alias", {})


def _group(message: dict[str, Any], delivery: Delivery, sent_at: int | None) -> Identification:
    account = identifiers(delivery.model, ("account_id", message.get("groupId")))
    if not account:
        raise NotTaken("missing_identity", "group needs a groupId")
    persons = _persons(message, delivery, {}, {})
    return _link(message, delivery, sent_at, persons + account, "group", {})


def _link(
    message: dict[str, Any],
    delivery: Delivery,
    sent_at: int | None,
    persons: tuple[Identifier, ...],
    reason: str,
    traits: dict[str, Any],
) -> Identification:
    if not persons:
        raise NotTaken("missing_identity", f"{reason} names nobody")
    at, _ = _time(message, delivery, sent_at)
    return Identification(
        id=deterministic_id(SOURCE, delivery.source_instance, _message_id(message), 0, reason),
        source=SOURCE,
        source_instance=delivery.source_instance,
        channel="web",
        at=at,
        received_at=delivery.received_at,
        identifiers=persons,
        reason=reason,
        persona=_text(traits.get("persona")),
        segments=_texts(traits.get("segments")),
    )


_MAPPERS: dict[str, _Mapper] = {
    "track": _touchpoint,
    "page": _page,
    "screen": _page,
    "identify": _identify,
    "alias": _alias,
    "group": _group,
}


@lru_cache(maxsize=8_192)
def type_of(event: str) -> str:
    """The word of the vocabulary for a track call's event; `custom` if there is none."""
    lower = event.strip().lower()
    if lower in _EVENTS:
        return _EVENTS[lower]
    word = _NOT_WORDS.sub("_", lower).strip("_")
    return word if word in TYPES else "custom"


def _channel(said: Any, type_: str) -> str:
    if isinstance(said, str) and said in CHANNELS:
        return said
    return TYPES.get(type_, ("web",))[0]


def _object(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def _text(value: Any, most: int = 500) -> str | None:
    if value is None or value == "" or isinstance(value, dict | list | bool):
        return None
    return str(value)[:most]


def _texts(value: Any) -> tuple[str, ...]:
    return tuple(str(item)[:200] for item in value[:50]) if isinstance(value, list) else ()


class _Numbers:
    """Numbers among properties. NotTaken `invalid_field` names the one that is none, or out of its bounds."""

    def __init__(self, properties: dict[str, Any]) -> None:
        self._properties = properties

    def whole(self, name: str, most: int = 4_294_967_295) -> int | None:
        value = self._properties.get(name)
        if value is None:
            return None
        if type(value) is int and 0 <= value <= most:
            return value
        return round(self._between(name, value, 0, most))

    def score(self, name: str, least: float, most: float) -> float | None:
        value = self._properties.get(name)
        return None if value is None else self._between(name, value, least, most)

    @staticmethod
    def _between(name: str, value: Any, least: float, most: float) -> float:
        try:
            number = float(value)
        except (TypeError, ValueError) as error:
            raise NotTaken("invalid_field", f"{name} is no number") from error
        if not least <= number <= most:
            raise NotTaken("invalid_field", f"{name} {number} is not between {least} and {most}")
        return number


def _whole(score: float | None) -> int | None:
    return None if score is None else round(score)


def _amount(properties: dict[str, Any]) -> tuple[str | None, str | None]:
    value: Any = None
    for name in ("total", "revenue", "value"):
        if properties.get(name) is not None:
            value = properties[name]
            break
    products = properties.get("products")
    if value is None and isinstance(products, list):
        value = _sum_of(products)
    currency = properties.get("currency")
    if value is None or not isinstance(currency, str) or len(currency) != 3:
        return None, None
    try:
        amount = Decimal(str(value))
    except InvalidOperation as error:
        raise NotTaken("invalid_field", f'amount "{str(value)[:40]}" is no number') from error
    if not amount.is_finite() or abs(amount) >= Decimal("1e13"):
        raise NotTaken("invalid_field", f"amount {amount} is not one")
    return format(round(amount, 4) if amount.as_tuple().exponent < -4 else amount, "f"), currency.upper()  # type: ignore[operator]


def _sum_of(products: list[Any]) -> Decimal | None:
    total, priced = Decimal(0), False
    for product in products:
        try:
            total += Decimal(str(_object(product)["price"])) * Decimal(
                str(_object(product).get("quantity", 1))
            )
            priced = True
        except (KeyError, InvalidOperation):
            continue
    return total if priced else None


def _items(products: Any) -> tuple[dict[str, Any], ...]:
    if not isinstance(products, list):
        return ()
    names = ("product_id", "sku", "name", "price", "quantity")
    return tuple(
        {name: p[name] for name in names if name in p} for p in products[:100] if isinstance(p, dict)
    )


def _page_of(properties: dict[str, Any], context: dict[str, Any]) -> Page | None:
    page = _object(context.get("page"))
    url = properties.get("url") or page.get("url")
    path = properties.get("path") or page.get("path")
    if not isinstance(url, str) and not isinstance(path, str):
        return None
    address = without_secrets(url)[:2000] if isinstance(url, str) else None
    referrer = properties.get("referrer") or page.get("referrer")
    return Page(
        url=address,
        path=_text(path, 1000) or (urlsplit(address).path if address else None),
        title=_text(properties.get("title") or page.get("title")),
        referrer=without_secrets(referrer)[:2000] if isinstance(referrer, str) else None,
    )


def _campaign_of(context: dict[str, Any], page: Page | None) -> Campaign | None:
    said = _object(context.get("campaign"))
    query = _utm(page.url) if page and page.url and "?" in page.url else {}
    if not said and not query:
        return None
    clicks = {name: query[name] for name in _CLICK_IDS if name in query}
    campaign = Campaign(
        name=_text(said.get("name")) or query.get("utm_campaign"),
        source=_text(said.get("source")) or query.get("utm_source"),
        medium=_text(said.get("medium")) or query.get("utm_medium"),
        term=_text(said.get("term")) or query.get("utm_term"),
        content=_text(said.get("content")) or query.get("utm_content"),
        id=_text(said.get("id")) or query.get("utm_id"),
        click_ids=clicks,
    )
    return campaign if campaign != Campaign() else None


@lru_cache(maxsize=8_192)
def _utm(url: str) -> dict[str, str]:
    try:
        return {name: values[0][:200] for name, values in parse_qs(urlsplit(url).query).items()}
    except ValueError:
        return {}


def _device_of(context: dict[str, Any]) -> Device | None:
    device, system = _object(context.get("device")), _object(context.get("os"))
    agent = context.get("userAgent")
    if not device and not system and not agent:
        return None
    return Device(type=_text(device.get("type")), os=_text(system.get("name")), user_agent=_text(agent))


def _agent_of(properties: dict[str, Any]) -> Agent | None:
    agent, queue, team = properties.get("agent_id"), properties.get("queue"), properties.get("team")
    return Agent(id=_text(agent), queue=_text(queue), team=_text(team)) if agent or queue or team else None
