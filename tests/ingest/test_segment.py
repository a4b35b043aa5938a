"""What calls of Segment's clients say, and what becomes of bad ones."""

import json
from contextlib import suppress
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ingest.mapped import Delivery, Mapped
from ingest.rejection import REASONS, NotTaken
from ingest.sources import segment
from models.journey_model import default_model, load_model, template
from models.touchpoint import Identification, Record, Touchpoint
from streams import channel_records
from tests.ingest.fixtures import fixture

MODEL = default_model()
AT = 1_700_000_000_000  # 2023-11-14T22:13:20Z
TIME = "2023-11-14T22:13:20.000Z"
MINUTE = 60_000


def delivery(**fields: Any) -> Delivery:
    given = {"source_instance": "shop", "received_at": AT, "raw_ref": "spool:x", "model": MODEL}
    return Delivery(**{**given, **fields})


def batch(*calls: Any, **of_batch: Any) -> Mapped:
    said = {"batch": list(calls), **{k: v for k, v in of_batch.items() if k in ("sentAt", "context")}}
    fields = {k: v for k, v in of_batch.items() if k not in said}
    return segment.map_calls(segment.parse(json.dumps(said).encode(), "batch"), delivery(**fields))


def track(event: str = "Order Completed", properties: Any = None, **fields: Any) -> dict[str, Any]:
    return {
        "type": "track", "event": event, "userId": "u-1", "messageId": "m-1", "timestamp": TIME,
        "properties": properties or {}, **fields,
    }  # fmt: skip


def one(call: dict[str, Any], **of_batch: Any) -> Touchpoint:
    mapped = batch(call, **of_batch)
    assert not mapped.rejected, mapped.rejected
    [record] = mapped.records
    assert isinstance(record, Touchpoint)
    return record


def keys(record: Record) -> list[str]:
    assert isinstance(record, Touchpoint | Identification)
    return [identifier.key for identifier in record.identifiers]


@pytest.mark.parametrize(
    "name",
    [
        "web_segment_python_batch", "web_segment_python_batch_gzip", "web_segment_node_batch",
        "web_rudder_python_batch_gzip", "web_rudder_node_batch",
    ],
)  # fmt: skip
def test_recorded_batches_of_real_clients_are_taken_whole(name: str) -> None:
    body = json.dumps(fixture(name)["body"]).encode()
    mapped = segment.map_calls(segment.parse(body, "batch"), delivery(received_at=1_795_423_100_000))
    assert not mapped.rejected
    assert len(mapped.records) == len(fixture(name)["body"]["batch"]) == mapped.taken


def test_all_six_calls_of_the_python_client_say_what_they_mean() -> None:
    body = json.dumps(fixture("web_segment_python_batch")["body"]).encode()
    calls = segment.map_calls(segment.parse(body, "batch"), delivery(received_at=1_795_423_100_000)).records
    page, identify, order, screen, group, alias = calls
    assert isinstance(page, Touchpoint)
    assert (page.type, page.channel) == ("content_view", "web")  # its category is Docs
    assert page.page
    assert page.page.title == "Pricing"
    assert page.campaign
    assert page.campaign.name == "spring"
    assert keys(page) == ["anonymous_id:anon-1"]
    assert keys(identify) == [
        "user_id:user-1", "anonymous_id:anon-1", "email:ada@example.com", "phone:+442079460000",
    ]  # fmt: skip
    assert isinstance(order, Touchpoint)
    assert (order.type, order.amount, order.currency) == ("purchase", "99.90", "EUR")
    assert order.items == ({"product_id": "p1", "price": 99.9, "quantity": 1},)
    assert order.properties == {"order_id": "o-1"}
    assert order.time_quality == "source"  # years before it was sent: an import
    assert isinstance(screen, Touchpoint)
    assert screen.type == "page_view"
    assert keys(group) == ["user_id:user-1", "account_id:acct-1"]
    assert keys(alias) == ["user_id:user-1", "anonymous_id:anon-1"]


def test_rudders_python_client_has_traits_in_the_context_alone() -> None:
    body = json.dumps(fixture("web_rudder_python_batch_gzip")["body"]).encode()
    identify = segment.map_calls(
        segment.parse(body, "batch"), delivery(received_at=1_795_423_100_000)
    ).records[1]
    assert "email:ada@example.com" in keys(identify)


def test_rudders_node_client_stamps_the_call_beside_the_time_that_is_meant() -> None:
    body = json.dumps(fixture("web_rudder_node_batch")["body"]).encode()
    identify, order, *_ = segment.map_calls(
        segment.parse(body, "batch"), delivery(received_at=1_795_423_100_000)
    ).records
    assert isinstance(identify, Identification)
    assert identify.at == 1_709_631_000_000
    assert isinstance(order, Touchpoint)
    assert order.occurred_at == 1_709_631_000_000


EVENTS = {
    "Products Searched": "search", "Product List Viewed": "search", "Promotion Viewed": "ad_impression",
    "Promotion Clicked": "ad_click", "Product Clicked": "product_view", "Product Viewed": "product_view",
    "Viewed Product": "product_view", "product viewed": "product_view", "Product Added": "add_to_cart",
    "Product Removed": "remove_from_cart", "Cart Viewed": "page_view", "Checkout Started": "checkout_started",
    "Order Completed": "purchase", "Completed Order": "purchase", "Order Refunded": "refund_issued",
    "Order Cancelled": "order_cancelled", "Coupon Denied": "coupon_denied",
    "Product Added to Wishlist": "wishlist_added", "Product Shared": "referral_sent",
    "Cart Shared": "referral_sent", "Product Reviewed": "review_posted", "Signed Up": "signed_up",
    "Call Queued": "call_queued", "call_queued": "call_queued", "CALL-ANSWERED": "call_answered",
    "chat started": "chat_started", "Checkout Step Viewed": "custom", "Order Updated": "custom",
    "Something Of Ours": "custom",
}  # fmt: skip


@pytest.mark.parametrize(("event", "type_"), EVENTS.items(), ids=EVENTS.keys())
def test_an_events_name_means_a_type_however_it_is_written(event: str, type_: str) -> None:
    assert one(track(event)).type == type_


def test_a_call_comes_through_a_track_call_with_all_that_is_known_of_it() -> None:
    call = track(
        "Call Answered",
        {
            "channel": "voice", "phone": "+44 20 7946 0000", "conversation_id": "c-9", "queue": "Billing",
            "agent_id": "a-3", "wait_ms": 61_000, "hold_ms": "1500", "talk_ms": 9, "transfers": 2,
            "direction": "inbound", "outcome": "resolved", "topic": "billing", "sentiment": "NEGATIVE",
            "csat": 2, "ivr_path": "1>4",
        },
        userId=None, anonymousId="c-9",
    )  # fmt: skip
    said = one(call)
    assert (said.channel, said.type, said.conversation_id) == ("voice", "call_answered", "c-9")
    assert keys(said) == ["anonymous_id:c-9", "phone:+442079460000"]
    assert said.agent
    assert (said.agent.queue, said.agent.id) == ("Billing", "a-3")
    assert (said.wait_ms, said.hold_ms, said.talk_ms, said.transfers) == (61_000, 1500, 9, 2)
    assert (said.direction, said.outcome, said.topic) == ("inbound", "resolved", "billing")
    assert (said.csat, said.sentiment) == (2, -0.6)
    assert said.properties == {"ivr_path": "1>4"}


CHANNELS = {
    "the type's own": ("Chat Started", {}, "chat"),
    "the one that is said": ("csat_submitted", {"channel": "voice", "csat": 3}, "voice"),
    "another word for it": ("csat_submitted", {"channel": "Phone"}, "voice"),
    "one of billing": ("invoice_sent", {}, "billing"),
    "none that we know: the type's own": ("csat_submitted", {"channel": "retail"}, "web"),
}


@pytest.mark.parametrize(("event", "properties", "channel"), CHANNELS.values(), ids=CHANNELS.keys())
def test_the_channel_is(event: str, properties: dict[str, Any], channel: str) -> None:
    assert one(track(event, properties)).channel == channel


def test_a_channel_that_we_do_not_know_stays_a_property() -> None:
    assert one(track("csat_submitted", {"channel": "retail"})).properties == {"channel": "retail"}


def test_a_channel_of_the_models_own_is_one() -> None:
    model = load_model("channels: [store]\n" + template("default"), where="own.yaml")
    said = one(track("Order Completed", {"channel": "Store "}), model=model)
    assert (said.channel, said.properties) == ("store", {})


AMOUNTS = {
    "total before revenue": ({"total": 5, "revenue": 4, "currency": "eur"}, ("5.00", "EUR")),
    "revenue before value": ({"revenue": 4.5, "value": 1, "currency": "EUR"}, ("4.50", "EUR")),
    "the sum of the products": (
        {"products": [{"price": 1.1, "quantity": 3}, {"price": 2}], "currency": "USD"}, ("5.30", "USD")
    ),
    "a product's own price": ({"price": 9.5, "quantity": 2, "currency": "EUR"}, ("19.00", "EUR")),
    "no decimals in yen": ({"total": 500, "currency": "JPY"}, ("500", "JPY")),
    "no currency, no amount": ({"total": 5}, (None, None)),
    "no number, no amount": ({"total": "much", "currency": "EUR"}, (None, None)),
    "nothing infinite": ({"total": "1e999", "currency": "EUR"}, (None, None)),
}  # fmt: skip


@pytest.mark.parametrize(("properties", "amount"), AMOUNTS.values(), ids=AMOUNTS.keys())
def test_the_amount_is(properties: dict[str, Any], amount: tuple[Any, Any]) -> None:
    said = one(track(properties=properties))
    assert (said.amount, said.currency) == amount


def test_an_amount_that_is_not_taken_stays_a_property() -> None:
    assert one(track(properties={"total": 5})).properties == {"total": 5}


PAGES = {
    "a page": ({"name": "P"}, "page_view"),
    "an article": ({"name": "P", "category": "Blog"}, "content_view"),
    "a help page": ({"properties": {"category": "help"}}, "help_article_viewed"),
    "the landing page of an advert": (
        {"properties": {"url": "https://s.example/?utm_medium=cpc&utm_source=g"}}, "ad_click"
    ),
    "a click id": ({"properties": {"url": "https://s.example/?gclid=abc"}}, "ad_click"),
    "a later page of the same visit": (
        {"properties": {"url": "https://s.example/p"}, "context": {"campaign": {"medium": "cpc"}}},
        "page_view",
    ),
    "a newsletter's link": ({"properties": {"url": "https://s.example/?utm_medium=email"}}, "page_view"),
}  # fmt: skip


@pytest.mark.parametrize(("fields", "type_"), PAGES.values(), ids=PAGES.keys())
def test_a_page_call_is(fields: dict[str, Any], type_: str) -> None:
    assert one({"type": "page", "anonymousId": "a", "timestamp": TIME, **fields}).type == type_


def test_the_campaign_is_read_from_the_address_where_the_context_has_none() -> None:
    url = "https://s.example/?utm_source=n&utm_medium=email&utm_campaign=spring&fbclid=f#utm_source=x"
    said = one({"type": "page", "anonymousId": "a", "timestamp": TIME, "properties": {"url": url}})
    assert said.campaign
    assert (said.campaign.name, said.campaign.source, said.campaign.medium) == ("spring", "n", "email")
    assert said.campaign.click_ids == {"fbclid": "f"}


REJECTED = {
    "no type": ({"userId": "u"}, "missing_type"),
    "a type that is none": ({"type": "trak", "userId": "u"}, "unknown_type"),
    "a type that is no text": ({"type": {"a": 1}, "userId": "u"}, "unknown_type"),
    "no event": ({"type": "track", "userId": "u"}, "missing_event_name"),
    "an event of nothing": (track("  "), "missing_event_name"),
    "an event that is no text": ({**track(), "event": 5}, "missing_event_name"),
    "nobody": ({**track(), "userId": None}, "missing_identity"),
    "a placeholder": ({**track(), "userId": "undefined"}, "missing_identity"),
    "an endless name": ({**track(), "userId": "u" * 2_000}, "missing_identity"),
    "half an alias": ({"type": "alias", "userId": "u", "timestamp": TIME}, "missing_identity"),
    "a group of nobody": ({"type": "group", "userId": "u", "timestamp": TIME}, "missing_identity"),
    "no time at all": (track(timestamp="yesterday"), "bad_timestamp"),
    "a number for a time": (track(timestamp=1_700_000_000), "bad_timestamp"),
    "the last century": (track(timestamp="1999-12-31T23:59:59Z"), "timestamp_out_of_range"),
    "the year 1": (track(timestamp="0001-01-01T00:00:00+14:00"), "timestamp_out_of_range"),
    "the day after tomorrow": (track(timestamp="2023-11-16T22:13:20Z"), "timestamp_out_of_range"),
    "no object": ("track", "invalid_field"),
    "too large": (track(properties={"x": "y" * 600_000}), "event_too_large"),
}


@pytest.mark.parametrize(("call", "reason"), REJECTED.values(), ids=REJECTED.keys())
def test_rejected_alone_and_its_neighbours_go_on(call: Any, reason: str) -> None:
    mapped = batch(track(messageId="before"), call, track(messageId="after"))
    assert [record.raw_ref for record in mapped.records] == ["spool:x:0", "spool:x:2"]  # type: ignore[union-attr]
    [rejection] = mapped.rejected
    assert rejection.reason == reason
    assert rejection.raw_ref == "spool:x:1"
    assert (rejection.raw_base64 is None) == (reason == "event_too_large")


def test_a_time_out_of_range_is_shown_as_people_write_it() -> None:
    [rejection] = batch(track(timestamp="1999-12-31T23:59:59Z")).rejected
    assert "timestamp is 1999-12-31T23:59:59Z" in rejection.detail


def test_a_call_that_is_nested_too_deeply_costs_itself_alone() -> None:
    mapped = segment.map_calls(segment.parse(nested(100), "batch"), delivery())
    assert len(mapped.records) == 1
    assert [rejection.reason for rejection in mapped.rejected] == ["invalid_field"]


def test_a_body_that_no_decoder_can_follow_is_not_taken() -> None:
    with pytest.raises(NotTaken, match="recursion"):
        segment.parse(nested(50_000), "batch")


def nested(depth: int) -> bytes:
    deep = (
        b'{"type":"track","event":"e","userId":"u","properties":'
        + b'{"a":' * depth
        + b"1"
        + b"}" * (depth + 1)
    )
    return b'{"batch":[' + json.dumps(track()).encode() + b"," + deep + b"]}"


def test_the_edges_of_what_is_in_range_are_taken() -> None:
    assert one(track(timestamp="2000-01-01T00:00:00Z")).occurred_at == 946_684_800_000
    assert one(track(timestamp="2023-11-15T22:13:20Z")).occurred_at == AT + 86_400_000


def test_in_strict_mode_an_event_that_no_mapping_knows_is_rejected() -> None:
    mapped = batch(track("Something Of Ours"), track("Order Updated"), strict=True)
    assert [rejection.reason for rejection in mapped.rejected] == ["unmapped_event"]
    assert len(mapped.records) == 1


def test_an_odd_property_stays_one_and_its_event_is_taken() -> None:
    odd = {"csat": 9, "nps": 3.5, "wait_ms": -1, "direction": "up", "outcome": 7, "transfers": "many"}
    said = one(track(properties=odd))
    assert said.properties == odd
    assert (said.csat, said.nps, said.wait_ms, said.direction, said.outcome) == (None,) * 5


def test_a_score_may_be_called_score() -> None:
    assert one(track("nps_submitted", {"score": 9})).nps == 9
    assert one(track("csat_submitted", {"score": "4"})).csat == 4


def test_properties_beyond_their_limit_are_left_out_the_large_ones_first() -> None:
    said = one(track(properties={"small": 1, "large": "x" * 20_000, "order_id": "o"}))
    assert said.properties == {"small": 1, "order_id": "o"}


def test_secrets_and_addresses_are_left_out() -> None:
    said = one(
        track(
            properties={
                "password": "p", "ip": "1.2.3.4", "link": "https://s.example/?token=t&a=1",
                "deep": {"api_key": "k", "b": 2},
            },
            context={
                "ip": "1.2.3.4",
                "page": {
                    "url": "https://u:p@s.example/x?email=a@b.org&b=2",
                    "referrer": "https://r.example/?access_token=1",
                },
            },
        )
    )  # fmt: skip
    assert said.properties == {"link": "https://s.example/?a=1", "deep": {"b": 2}}
    assert said.page
    assert (said.page.url, said.page.referrer) == ("https://s.example/x?b=2", "https://r.example/")
    assert b"1.2.3.4" not in msgspec.json.encode(said)


def test_the_same_message_sent_again_is_the_same_touchpoint() -> None:
    first, again = one(track()), one(track(), received_at=AT + MINUTE, raw_ref="spool:y")
    assert first.id == again.id
    assert one(track(), source_instance="app").id != first.id
    assert one(track(messageId="m-2")).id != first.id


def test_without_a_message_id_the_content_names_it_and_without_a_time_also_when_it_came() -> None:
    timed = {**track(), "messageId": None}
    assert one(timed).id == one(timed, received_at=AT + 1).id
    untimed = {**timed, "timestamp": None}
    twice = batch(untimed, untimed).records
    assert len({record.id for record in twice}) == 2  # type: ignore[union-attr]
    assert one(untimed).id == one(untimed).id  # the same entry of the spool, read again


def test_what_has_no_time_happened_when_it_was_received() -> None:
    said = one({**track(), "timestamp": None})
    assert (said.occurred_at, said.time_quality) == (AT, "received")


def test_a_device_whose_clock_is_wrong_is_corrected_by_it() -> None:
    # the device is an hour behind: it says 21:13 for what was sent a minute later, and received at 22:13
    said = one(track(timestamp="2023-11-14T21:12:20Z"), sentAt="2023-11-14T21:13:20Z")
    assert (said.occurred_at, said.time_quality) == (AT - MINUTE, "skew_corrected")


def test_the_sent_at_of_a_call_comes_before_that_of_its_batch() -> None:
    said = one(track(timestamp="2023-11-14T21:12:20Z", sentAt=TIME), sentAt="2023-11-14T21:13:20Z")
    assert said.time_quality == "source"


def test_a_sent_at_that_cannot_be_read_is_none() -> None:
    assert one(track(), sentAt="soon").time_quality == "source"


def test_the_context_of_the_batch_holds_for_its_calls_and_theirs_comes_first() -> None:
    said = one(track(context={"locale": "de"}), context={"locale": "en", "timezone": "Europe/Berlin"})
    assert (said.locale, said.timezone) == ("de", "Europe/Berlin")


def test_a_number_that_the_workers_cannot_write_becomes_a_text() -> None:
    said = one(track(properties={"big": 10**30, "deep": [2**64]}))
    assert said.properties == {"big": str(10**30), "deep": [str(2**64)]}


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=12,
)
odd_properties = st.dictionaries(
    st.sampled_from(
        ["csat", "nps", "wait_ms", "channel", "email", "phone", "total", "currency", "products", "price",
         "url", "queue", "segments", "conversation_id", "score", "category", "account_id", "x"]
    ),
    json_values | st.sampled_from(["EUR", "voice", "5", "a@b.org", "https://s.example/?token=1"]),
    max_size=8,
)  # fmt: skip
odd_calls = st.fixed_dictionaries(
    {},
    optional={
        "type": st.sampled_from([*segment.TYPES_OF_CALL, "x"]) | json_values,
        "event": st.sampled_from(["Order Completed", "call_queued"]) | json_values,
        "userId": st.sampled_from(["u", 7, ""]) | json_values,
        "anonymousId": json_values,
        "previousId": json_values,
        "groupId": json_values,
        "messageId": json_values,
        "timestamp": st.sampled_from([TIME, "2023-11-14", "99999-01-01"]) | json_values,
        "originalTimestamp": json_values,
        "sentAt": json_values,
        "name": json_values,
        "category": json_values,
        "properties": odd_properties | json_values,
        "traits": odd_properties | json_values,
        "context": json_values
        | st.fixed_dictionaries(
            {},
            optional={
                name: json_values | odd_properties
                for name in ("traits", "page", "campaign", "device", "os", "consent", "userAgent", "groupId")
            },
        ),
    },
)


@given(st.lists(odd_calls | json_values, max_size=4), json_values)
def test_whatever_json_comes_each_call_is_taken_or_rejected_and_the_workers_can_read_it(
    calls: list[Any], sent_at: Any
) -> None:
    body = msgspec.json.encode({"batch": calls, "sentAt": sent_at})
    mapped = segment.map_calls(segment.parse(body, "batch"), delivery())
    assert len(mapped.records) + len(mapped.rejected) == len(calls)
    assert all(rejection.reason in REASONS for rejection in mapped.rejected)
    assert not [rejection for rejection in mapped.rejected if rejection.reason == "mapping_error"]
    read = channel_records.decode(msgspec.json.encode(mapped.records))
    assert not read.rejected
    assert read.records == mapped.records
    msgspec.msgpack.encode(mapped.records)


@given(st.binary(max_size=200) | st.text(max_size=200).map(str.encode), st.sampled_from(["batch", "track"]))
def test_whatever_bytes_come_they_are_read_or_not_taken(body: bytes, route: str) -> None:
    with suppress(NotTaken):
        segment.map_calls(segment.parse(body, route), delivery())
