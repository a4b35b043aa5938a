"""Segment's calls, as its clients, RudderStack's and our simulator send them.

`track`, `page` and `screen` are touchpoints; `identify`, `alias` and `group` link identifiers. Chat and voice
come as `track` calls named by our vocabulary ("Call Queued" or "call_queued"), with `properties.channel` if
the word alone does not say it. An odd property costs itself and not its event: it stays a property.
https://segment.com/docs/connections/spec/
"""

import hashlib
import logging
from collections.abc import Callable
from typing import Any, NamedTuple

import msgspec

from ingest import privacy, skew
from ingest.instants import in_range, instant
from ingest.mapped import Delivery, Mapped, as_bytes, deterministic_id
from ingest.rejection import NotTaken, Rejection
from ingest.sources import reader as read
from ingest.sources.reader import Names, names_of
from ingest.sources.segment_events import type_of_event, type_of_page
from ingest.sources.segment_orders import items_of, take_amount
from ingest.sources.segment_pages import campaign_of, page_of
from models.touchpoint import Agent, Consent, Device, Identification, Page, Record, Touchpoint
from models.vocabulary import OUTCOMES

log = logging.getLogger(__name__)

SOURCE = "segment"
TYPES_OF_CALL = ("track", "page", "screen", "identify", "group", "alias")

# property -> (field, how it is read); what cannot be read stays a property
_FIELDS: dict[str, tuple[str, Callable[[object], object]]] = {
    "conversation_id": ("conversation_id", read.text_of),
    "conversationId": ("conversation_id", read.text_of),
    "call_id": ("conversation_id", read.text_of),
    "chat_id": ("conversation_id", read.text_of),
    "ticket_id": ("conversation_id", read.text_of),
    "session_id": ("session_id", read.text_of),
    "sessionId": ("session_id", read.text_of),
    "direction": ("direction", read.one_of(("inbound", "outbound", "internal"))),
    "outcome": ("outcome", read.one_of(OUTCOMES)),
    "outcome_reason": ("outcome_reason", read.text_of),
    "wait_ms": ("wait_ms", read.count_of),
    "hold_ms": ("hold_ms", read.count_of),
    "talk_ms": ("talk_ms", read.count_of),
    "duration_ms": ("duration_ms", read.count_of),
    "transfers": ("transfers", read.count_of),
    "attempts": ("attempts", read.count_of),
    "csat": ("csat", read.csat),
    "nps": ("nps", read.nps),
    "ces": ("ces", read.ces),
    "sentiment": ("sentiment", read.sentiment),
    "topic": ("topic", read.text_of),
    "text": ("text", read.free_text),
    "persona": ("persona", read.text_of),
    "segments": ("segments", read.texts_of),
    "queue": ("agent.queue", read.text_of),
    "team": ("agent.team", read.text_of),
    "agent_id": ("agent.id", read.text_of),
}
_IDENTIFIERS = {
    "user_id": "user_id", "customer_id": "customer_id", "account_id": "account_id", "account": "account_id",
    "email": "email", "phone": "phone", "contact_id": "contact_id", "device_id": "device_id",
}  # fmt: skip
_SCORES = {"csat_submitted": "csat", "nps_submitted": "nps", "ces_submitted": "ces"}


class _Batch(msgspec.Struct):
    batch: list[msgspec.Raw]
    sentAt: Any = None
    writeKey: Any = None
    context: Any = None


class _Call(msgspec.Struct):
    sentAt: Any = None
    writeKey: Any = None


class Calls(NamedTuple):
    """A body: the calls in it, each as it was written (or read already), and what is said of all of them."""

    messages: list[Any]
    type: str | None  # of every call, where the path says it
    sent_at: object
    write_key: object
    context: dict[str, Any]


_batch = msgspec.json.Decoder(_Batch)
_call = msgspec.json.Decoder(_Call)
_message = msgspec.json.Decoder()


def parse(body: bytes, route: str) -> Calls:
    """The calls of a body; `route` is the last part of the path: `batch`, or the type of the one call.

    NotTaken `invalid_json` if it is no JSON, `invalid_field` if it is not what the route takes. A call that
    is not what it must be is found when it is mapped: its neighbours go on.
    """
    decoder: msgspec.json.Decoder[Any] = _batch if route == "batch" else _call
    try:
        said = decoder.decode(body)
    except msgspec.ValidationError as error:
        _read_message(body)  # it is only looked at so far; what follows may be no JSON at all
        raise NotTaken("invalid_field", f"the body is no {route}: {error}") from error
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise NotTaken("invalid_json", str(error)) from error
    if isinstance(said, _Batch):
        return Calls(said.batch, None, said.sentAt, said.writeKey, read.object_of(said.context))
    return Calls([msgspec.Raw(body)], route, said.sentAt, said.writeKey, {})


def map_batch(body: dict[str, Any], delivery: Delivery) -> Mapped:
    """The calls of a batch that was read already. NotTaken if it is none."""
    if not isinstance(body.get("batch"), list):
        raise NotTaken("invalid_field", 'the body is no batch: it has no list "batch"')
    context = read.object_of(body.get("context"))
    return map_calls(Calls(body["batch"], None, body.get("sentAt"), None, context), delivery)


def map_calls(calls: Calls, delivery: Delivery) -> Mapped:
    """Elements and rejections, one for each call. Never raises: a fault of ours is a `mapping_error`."""
    records: list[Record] = []
    rejected: list[Rejection] = []
    names = names_of(delivery.model)
    batch_sent_at = _sent_at(calls.sent_at)
    for index, raw in enumerate(calls.messages):
        try:
            records.append(_element(raw, index, calls, batch_sent_at, delivery, names))
        except NotTaken as why:
            rejected.append(delivery.reject(why, raw, source=SOURCE, index=index, channel="web"))
        except Exception as error:  # one call of a kind nobody thought of must not cost its batch
            log.exception("a call could not be mapped, see the rejected: %s", delivery.place(index))
            fault = NotTaken("mapping_error", type(error).__name__)
            rejected.append(delivery.reject(fault, raw, source=SOURCE, index=index, channel="web"))
    return Mapped(records, rejected, taken=len(records))


def _read_message(raw: bytes | msgspec.Raw) -> Any:
    try:
        return _message.decode(raw)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise NotTaken("invalid_json", str(error)) from error


def _element(
    raw: Any, index: int, calls: Calls, batch_sent_at: int | None, delivery: Delivery, names: Names
) -> Record:
    delivery.check_size(raw)
    message = raw
    if isinstance(raw, msgspec.Raw):
        message = _read_message(raw)
    if not isinstance(message, dict):
        raise NotTaken("invalid_field", "a call is an object")
    kind = calls.type or message.get("type")
    if kind is None:
        raise NotTaken("missing_type", 'it has no "type"')
    if kind not in TYPES_OF_CALL:
        raise NotTaken("unknown_type", f"the types are {', '.join(TYPES_OF_CALL)}")
    context = read.object_of(message.get("context"))
    if calls.context:
        context = {**calls.context, **context}
    at, quality = _occurred_at(message, batch_sent_at, delivery)
    if kind in ("identify", "group", "alias"):
        return _identification(kind, message, context, at, raw, index, delivery, names)
    return _touchpoint(kind, message, context, at, quality, raw, index, delivery, names)


def _sent_at(said: object) -> int | None:
    """The sender's clock is a hint: one that cannot be read is none."""
    try:
        return instant(said, "sentAt") if isinstance(said, str) else None
    except NotTaken:
        return None


def _occurred_at(message: dict[str, Any], batch_sent_at: int | None, delivery: Delivery) -> tuple[int, Any]:
    # where both are there, originalTimestamp may be the time of the call and timestamp the time meant
    said = message.get("timestamp")
    name = "timestamp"
    if said is None:
        said = message.get("originalTimestamp")
        name = "originalTimestamp"
    if said is None:
        return delivery.received_at, "received"
    own = message.get("sentAt")
    sent_at = batch_sent_at if own is None else _sent_at(own)
    if not isinstance(said, str):  # numbers are seconds to some senders and milliseconds to others
        raise NotTaken("bad_timestamp", f"{name} is {type(said).__name__}; write RFC 3339")
    at = instant(said, name)
    at, quality = skew.corrected(at, sent_at, delivery.received_at, retries=delivery.attempt - 1)
    return in_range(at, delivery.received_at, name), quality


def _event_id(message: dict[str, Any], raw: Any, index: int, delivery: Delivery) -> str:
    """The sender's id, else one of the content; without a time of its own, also of when and where it came."""
    said = message.get("messageId")
    if said is not None and (text := read.text_of(said)):
        return text
    digest = hashlib.sha256(as_bytes(raw))
    if message.get("timestamp") is None and message.get("originalTimestamp") is None:
        digest.update(f"\x1f{delivery.received_at}\x1f{index}".encode())
    return f"sha256:{digest.hexdigest()}"


def _identification(
    kind: str,
    message: dict[str, Any],
    context: dict[str, Any],
    at: int,
    raw: Any,
    index: int,
    delivery: Delivery,
    names: Names,
) -> Identification:
    traits = read.object_of(context.get("traits"))
    pairs: list[tuple[str, object]] = [("user_id", message.get("userId"))]
    if kind == "alias":
        # what somebody was called before they had an account; two accounts are never one customer
        pairs.append(("anonymous_id", message.get("previousId")))
        if message.get("previousId") is None or message.get("userId") is None:
            raise NotTaken("missing_identity", "an alias needs userId and previousId")
    pairs.append(("anonymous_id", message.get("anonymousId")))
    if kind == "group":
        if message.get("groupId") is None:
            raise NotTaken("missing_identity", "a group call needs groupId")
        pairs.append(("account_id", message.get("groupId")))
    elif kind == "identify":
        traits = {**traits, **read.object_of(message.get("traits"))}
        pairs += [(of, traits.get(name)) for name, of in _IDENTIFIERS.items() if name in traits]
    device = read.object_of(context.get("device"))
    pairs.append(("device_id", device.get("id")))
    event_id = _event_id(message, raw, index, delivery)
    return Identification(
        id=deterministic_id(SOURCE, delivery.source_instance, event_id, 0, kind),
        source=SOURCE,
        source_instance=delivery.source_instance,
        channel="web",
        at=at,
        received_at=delivery.received_at,
        identifiers=names.identifiers(pairs),
        reason=kind,
        persona=read.text_of(traits.get("persona")),
        segments=read.texts_of(traits.get("segments")) or (),
        raw_ref=delivery.place(index),
    )


def _touchpoint(
    kind: str,
    message: dict[str, Any],
    context: dict[str, Any],
    at: int,
    quality: Any,
    raw: Any,
    index: int,
    delivery: Delivery,
    names: Names,
) -> Touchpoint:
    properties = read.object_of(message.get("properties"))
    fields: dict[str, Any] = {}
    agent: dict[str, str] = {}
    rest: dict[str, Any] = {}
    pairs: list[tuple[str, object]] = [
        ("user_id", message.get("userId")),
        ("anonymous_id", message.get("anonymousId")),
    ]
    channel: str | None = None
    for name, value in properties.items():
        if value is None:
            continue
        if name in _FIELDS:
            field, reading = _FIELDS[name]
            taken = reading(value)
            if taken is not None:
                if field.startswith("agent."):
                    agent[field[6:]] = str(taken)
                else:
                    fields.setdefault(field, taken)
                continue
        elif name in _IDENTIFIERS:
            pairs.append((_IDENTIFIERS[name], value))
            continue
        elif name == "channel" and isinstance(value, str):
            channel = read.channel_named(value, delivery.model)
            if channel is not None:
                continue
        if not privacy.unwanted(name):
            rest[name] = privacy.cleaned(value)

    _from_context(context, pairs, fields)
    if kind == "track":
        event = message.get("event")
        if not isinstance(event, str) or not event.strip():
            raise NotTaken("missing_event_name", "a track call needs event")
        type_ = type_of_event(event)
        if type_ is None:
            if delivery.strict:
                raise NotTaken("unmapped_event", f'no type of touchpoint is known for "{event[:100]}"')
            type_ = "custom"
        source_type = f"track:{event[:200]}"
        page = page_of(read.object_of(context.get("page")), {})
        if (score := _SCORES.get(type_)) and score not in fields and (said := rest.get("score")) is not None:
            fields[score] = getattr(read, score)(said)
    else:
        title = read.text_of(message.get("name"))
        category = read.text_of(message.get("category")) or read.text_of(properties.get("category"))
        page = page_of(read.object_of(context.get("page")), rest)
        source_type = f"{kind}:{title}" if title else kind
        if category:
            rest["category"] = category
        type_ = type_of_page(category)
        if title and (page is None or page.title is None):
            page = msgspec.structs.replace(page or Page(), title=title)
    campaign, clicked = campaign_of(read.object_of(context.get("campaign")), page)
    if kind == "page" and clicked:
        type_ = "ad_click"
    if not fields.get("session_id"):
        fields["session_id"] = read.text_of(context.get("sessionId"))
    if "currency" in rest:
        take_amount(rest, fields)
    if "products" in rest and (items := items_of(rest["products"])):
        fields["items"] = items
        del rest["products"]
    if rest and len(msgspec.json.encode(rest)) > read.PROPERTIES_BYTES:
        rest = _bounded(rest)
    if agent:
        fields["agent"] = Agent(**agent)
    event_id = _event_id(message, raw, index, delivery)
    return Touchpoint(
        id=deterministic_id(SOURCE, delivery.source_instance, event_id, 0, type_),
        source=SOURCE,
        source_instance=delivery.source_instance,
        source_event_id=event_id,
        source_type=source_type,
        channel=channel or read.usual_channel(type_),
        type=type_,
        occurred_at=at,
        received_at=delivery.received_at,
        identifiers=names.identifiers(pairs),
        time_quality=quality,
        page=page,
        campaign=campaign,
        properties=rest,
        raw_ref=delivery.place(index),
        **fields,
    )


def _from_context(context: dict[str, Any], pairs: list[tuple[str, object]], fields: dict[str, Any]) -> None:
    """What the context says of the person and of the device in their hand."""
    traits = context.get("traits")
    if isinstance(traits, dict):
        pairs += [(of, traits.get(name)) for name, of in _IDENTIFIERS.items() if name in traits]
        if "persona" in traits:
            fields.setdefault("persona", read.text_of(traits["persona"]))
        if "segments" in traits:
            fields.setdefault("segments", read.texts_of(traits["segments"]) or ())
    pairs.append(("account_id", context.get("groupId")))
    device = read.object_of(context.get("device"))
    system = read.object_of(context.get("os"))
    agent = context.get("userAgent")
    if device or system or agent:
        pairs.append(("device_id", device.get("id")))
        fields["device"] = Device(
            type=read.text_of(device.get("type")),
            os=read.text_of(system.get("name")),
            user_agent=read.text_of(agent),
        )
    fields["locale"] = read.text_of(context.get("locale"))
    fields["timezone"] = read.text_of(context.get("timezone"))
    consent = read.object_of(read.object_of(context.get("consent")).get("categoryPreferences"))
    if consent:
        said = {name.lower(): value for name, value in consent.items() if isinstance(value, bool)}
        fields["consent"] = Consent(
            analytics=said.get("analytics"),
            marketing=said.get("marketing", said.get("advertising")),
            personalisation=said.get("personalisation", said.get("personalization")),
        )


def _bounded(rest: dict[str, Any]) -> dict[str, Any]:
    """The properties that fit, the small ones first; the payload itself has them all."""
    sizes = sorted((len(msgspec.json.encode(value)) + len(name), name) for name, value in rest.items())
    kept: set[str] = set()
    left = read.PROPERTIES_BYTES
    for size, name in sizes:
        left -= size + 6
        if left < 0:
            break
        kept.add(name)
    return {name: value for name, value in rest.items() if name in kept}
