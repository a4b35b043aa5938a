"""Simulated traffic: the same for the same arguments, believable, and what incidents do to it."""

from collections import Counter
from collections.abc import Iterable

import msgspec
import pytest

from ingest.simulation.incidents import DEFAULT_DURATION_MS, Incident, IncidentError, parse_incident
from ingest.simulation.sender import Arrival
from ingest.simulation.world import DAY, HOUR, MINUTE, SEGMENT, STRIPE, World, hour_of_week
from ingest.simulator import Traffic, arrivals, live_traffic, past_traffic

NOW = 1_772_000_000_000  # a Wednesday morning
SPAN = 42 * DAY


def traffic(customers: int = 400, **changes: object) -> Traffic:
    return msgspec.structs.replace(past_traffic(customers, now=NOW), **changes)


def named(found: Iterable[Arrival]) -> Counter[str]:
    """How often each kind of call occurs: the event of a track, else the type."""
    return Counter(d.call.get("event") or d.call["type"] for d in found)


def at(arrival: Arrival) -> int:
    from datetime import datetime

    if arrival.door == STRIPE:
        return int(arrival.call["created"]) * 1000
    return round(datetime.fromisoformat(arrival.call["timestamp"]).timestamp() * 1000)


@pytest.fixture(scope="module")
def month() -> list[Arrival]:
    return list(arrivals(traffic(2_000)))


def test_the_same_arguments_give_the_same_arrivals() -> None:
    assert list(arrivals(traffic())) == list(arrivals(traffic()))


def test_another_seed_and_another_start_have_other_customers() -> None:
    names = [
        {d.call.get("anonymousId") for d in arrivals(t)} - {None}
        for t in (traffic(50), traffic(50, seed=2), traffic(50, start_at=NOW - SPAN + 1))
    ]
    assert all(names)
    assert not names[0] & names[1]
    assert not names[0] & names[2]


def test_arrivals_are_in_order_and_end_in_time(month: list[Arrival]) -> None:
    ats = [d.arrives_at for d in month]
    assert ats == sorted(ats)
    assert ats[0] >= NOW - SPAN
    assert ats[-1] < NOW


def test_nothing_arrives_before_it_happened(month: list[Arrival]) -> None:
    assert all(at(d) <= d.arrives_at for d in month)


def test_some_are_late_and_some_come_twice(month: list[Arrival]) -> None:
    late = sum(d.arrives_at - at(d) > 5_000 for d in month)
    seen = Counter(d.call.get("messageId") or d.call["id"] for d in month)
    twice = sum(n == 2 for n in seen.values())
    assert 0.02 < late / len(month) < 0.045  # those that come twice are late the second time
    assert 0.005 < twice / len(seen) < 0.02
    assert max(seen.values()) == 2


def test_without_late_ones_and_duplicates_each_call_arrives_once_at_its_time() -> None:
    found = list(arrivals(traffic(late_share=0, duplicate_share=0)))
    assert all(d.arrives_at - at(d) < 1000 for d in found)  # Stripe tells whole seconds
    assert max(Counter(d.call.get("messageId") or d.call["id"] for d in found).values()) == 1


def test_a_copy_of_a_call_says_the_same(month: list[Arrival]) -> None:
    known: dict[str, bytes] = {}
    for d in month:
        said = msgspec.json.encode(d.call)
        assert known.setdefault(d.call.get("messageId") or d.call["id"], said) == said


def test_every_call_is_one_that_segment_or_stripe_would_send(month: list[Arrival]) -> None:
    for d in month:
        if d.door == SEGMENT:
            assert d.call["type"] in ("track", "page", "identify")
            assert d.call.get("anonymousId") or d.call.get("userId")
            assert d.call["type"] != "track" or d.call["event"]
        else:
            assert d.call["object"] == "event"
            assert d.call["data"]["object"]["customer"]


def test_all_that_customers_do_occurs(month: list[Arrival]) -> None:
    occurring = named(month)
    wanted = {
        "page", "identify", "Product Viewed", "Product Added", "Checkout Started", "Order Completed",
        "Signed Up",
        "call_queued", "call_answered", "call_abandoned", "call_transferred", "call_resolved", "chat_started",
        "chat_answered", "chat_abandoned", "chat_resolved", "csat_submitted", "nps_submitted",
        "Product Reviewed",
        "referral_sent", "refund_requested", "invoice.paid", "invoice.sent", "invoice.payment_failed",
        "customer.subscription.created", "customer.subscription.deleted", "checkout.session.completed",
        "charge.refunded",
    }  # fmt: skip
    assert wanted <= occurring.keys()


def test_more_look_than_put_into_the_cart_than_begin_to_pay_than_buy(month: list[Arrival]) -> None:
    occurring = named(month)
    bought = occurring["Order Completed"] + occurring["checkout.session.completed"]
    assert (
        occurring["Product Viewed"]
        > occurring["Product Added"]
        > occurring["Checkout Started"]
        > bought
        > 100
    )


def test_a_contact_shares_no_identifier_with_the_web_until_an_agent_finds_the_account(
    month: list[Arrival],
) -> None:
    tracked = [d.call for d in month if d.call["type"] == "track"]
    on_the_web = {call["anonymousId"] for call in tracked if "channel" not in call["properties"]}
    contacts = {call["anonymousId"] for call in tracked if "channel" in call["properties"]}
    found = contacts & {d.call["anonymousId"] for d in month if d.call["type"] == "identify"}
    assert not on_the_web & contacts
    assert 0.3 < len(found) / len(contacts) < 0.95


def test_some_phones_are_shared_by_two_customers(month: list[Arrival]) -> None:
    users: dict[str, set[str]] = {}
    for d in month:
        if d.call["type"] == "identify" and "phone" in d.call["traits"]:
            users.setdefault(d.call["traits"]["phone"], set()).add(d.call["userId"])
    assert any(len(of_phone) > 1 for of_phone in users.values())


def test_evenings_are_busier_than_nights(month: list[Arrival]) -> None:
    hours = Counter(hour_of_week(at(d)) % 24 for d in month)
    assert sum(hours[h] for h in (18, 19, 20)) > 4 * sum(hours[h] for h in (2, 3, 4))


def test_live_traffic_never_ends_and_comes_at_about_the_rate_asked_for() -> None:
    in_ten_minutes = 0
    for d in arrivals(live_traffic(20, now=NOW)):
        if d.arrives_at >= NOW + 10 * MINUTE:
            break
        in_ten_minutes += d.arrives_at >= NOW
    assert 14 < in_ten_minutes / 600 < 26


def during(kind: str | None, *names: str) -> list[int]:
    """How often each of them occurs in an hour, with this incident on."""
    incidents = (Incident(kind, NOW, NOW + HOUR),) if kind else ()
    occurring: Counter[str] = Counter()
    for d in arrivals(live_traffic(8, now=NOW, incidents=incidents)):
        if d.arrives_at >= NOW + HOUR:
            break
        if at(d) >= NOW:
            occurring[d.call.get("event") or d.call["type"]] += 1
    return [occurring[name] for name in names]


def test_in_a_queue_jam_most_callers_hang_up() -> None:
    queued, abandoned = during("queue_jam", "call_queued", "call_abandoned")
    assert abandoned > 0.5 * queued
    queued, abandoned = during(None, "call_queued", "call_abandoned")
    assert abandoned < 0.15 * queued


def test_with_a_checkout_bug_nobody_buys() -> None:
    assert during("checkout_bug", "Order Completed", "checkout.session.completed")[0] < 5
    assert during(None, "Order Completed")[0] > 20


def test_in_a_payment_outage_payments_fail() -> None:
    failed = during("payment_outage", "checkout.session.async_payment_failed", "invoice.payment_failed")
    usual = during(None, "checkout.session.async_payment_failed", "invoice.payment_failed")
    assert sum(failed) > 10 * sum(usual)


HALF_AN_HOUR = DEFAULT_DURATION_MS

INCIDENTS = {
    # the rule                             text                                          from NOW, for, ms
    "now, for half an hour":                ("queue_jam@now",                      0, HALF_AN_HOUR),
    "a dash is as good as an underscore":   ("queue-jam@now",                      0, HALF_AN_HOUR),
    "later":                                ("queue_jam@+5m",                      5 * MINUTE, HALF_AN_HOUR),
    "earlier, for so long":                 ("queue_jam@-2h/90s",                  -2 * HOUR, 90_000),
    "an instant is UTC":                    ("queue_jam@2026-02-25T06:13:20/1h",   0, HOUR),
    "unless it says otherwise":             ("queue_jam@2026-02-25T07:13:20+01:00/1h", 0, HOUR),
}  # fmt: skip


@pytest.mark.parametrize(("text", "start", "duration"), INCIDENTS.values(), ids=INCIDENTS.keys())
def test_an_incident_is_kind_at_time(text: str, start: int, duration: int) -> None:
    assert parse_incident(text, NOW) == Incident("queue_jam", NOW + start, NOW + start + duration)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("queue_jm@now", 'Did you mean "queue_jam"?'),
        ("queue_jam", "has no time"),
        ("queue_jam@soon", '"soon"'),
        ("queue_jam@now/long", '"long"'),
        ("queue_jam@now/0m", '"0m"'),
    ],
)
def test_what_is_wrong_with_an_incident_is_said(text: str, said: str) -> None:
    with pytest.raises(IncidentError, match=said.replace("?", r"\?")):
        parse_incident(text, NOW)


def test_an_incident_ends_just_before_its_end() -> None:
    world = World(1, 0, (Incident("queue_jam", 10, 20),))
    assert [world.incident("queue_jam", t) for t in (9, 10, 19, 20)] == [False, True, True, False]


@pytest.mark.parametrize("customers", [200, 2_000])
@pytest.mark.parametrize("steady", [True, False])
def test_half_of_the_customers_have_come_by_the_middle_however_many_there_are(
    customers: int, steady: bool
) -> None:
    asked = traffic(customers, steady=steady, until_at=None)
    first: dict[str, int] = {}
    for d in arrivals(asked):
        if d.call["type"] == "page":
            first.setdefault(d.call["anonymousId"].split("-")[2], at(d))
    early = sum(came < asked.start_at + SPAN / 2 for came in first.values())
    assert 0.37 < early / len(first) < 0.6
