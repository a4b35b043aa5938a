"""Attempts: how one is opened, renewed, completed, abandoned and recovered."""

import pytest

from models.yaml_reader import parse_duration
from tests.histories import said_of, tell

# What is said of each attempt: opener kind outcome@end, >recovery, !by whom.
CASES = {
    "open while the watermark is within": ("0m add_to_cart", "24h", "t1 cart open"),
    "abandoned once it is past": ("0m add_to_cart", "24h+1", "t1 cart abandoned@24h"),
    "completed at the last ms": ("0m add_to_cart, 24h purchase", "9d", "t1 cart completed@24h!t2"),
    "one ms later is a recovery": ("0m add_to_cart, 24h+1 purchase", "9d", "t1 cart abandoned@24h>24h+1"),
    "no recovery before it is abandoned": ("0m add_to_cart, 24h+1 purchase", "24h", "t1 cart open"),
    "the first completing one counts": (
        "0m add_to_cart, 1h purchase, 2h purchase", "9d", "t1 cart completed@1h!t2",
    ),
    "the first recovery counts": (
        "0m add_to_cart, 2d purchase, 3d purchase", "9d", "t1 cart abandoned@24h>2d",
    ),
    "no recovery in another journey": ("0m add_to_cart, 31d purchase", "40d", "t1 cart abandoned@24h"),
    "completed also from another journey": (
        "0m invoice_sent, 30d invoice_paid", "40d", "t1 invoice completed@30d!t2",
    ),
    "another opening renews": ("0m add_to_cart, 20h add_to_cart", "44h", "t1 cart open"),
    "renewed patience ends too": ("0m add_to_cart, 20h add_to_cart", "44h+1", "t1 cart abandoned@44h"),
    "an opening at its end opens the next": (
        "0m add_to_cart, 24h add_to_cart", "24h+1", "t1 cart abandoned@24h, t2 cart open",
    ),
    "and both are completed at that instant": (
        "0m add_to_cart, 24h add_to_cart, 24h purchase",
        "9d", "t1 cart completed@24h!t3, t2 cart completed@24h!t3",
    ),
    "an opening after its end opens the next": (
        "0m add_to_cart, 25h add_to_cart, 26h purchase",
        "9d", "t1 cart abandoned@24h>26h, t2 cart completed@26h!t3",
    ),
    "an opening after completion": (
        "0m add_to_cart, 1h purchase, 2h add_to_cart", "3h", "t1 cart completed@1h!t2, t3 cart open",
    ),
    "an explicit end": ("0m call_queued/x, 1m call_abandoned/x", "0m", "t1 call abandoned@1m!t2"),
    "an explicit end at the last ms": (
        "0m call_queued/x, 60m call_abandoned/x", "0m", "t1 call abandoned@60m!t2",
    ),
    "an explicit end too late says nothing": (
        "0m call_queued/x, 60m+1 call_abandoned/x", "9d", "t1 call abandoned@60m",
    ),
    "recovered after an explicit end": (
        "0m call_queued/x, 1m call_abandoned/x, 2m call_answered/x", "0m", "t1 call abandoned@1m>2m!t2",
    ),
    "another conversation completes nothing": ("0m chat_started/x, 1m chat_answered/y", "2m", "t1 chat open"),
    "without a conversation any does": (
        "0m chat_started, 1m chat_answered/y", "2m", "t1 chat completed@1m!t2",
    ),
    "conversations are apart": (
        "0m chat_started/x, 1m chat_started/y, 2m chat_answered/x",
        "3m", "t1 chat completed@2m!t3, t2 chat open",
    ),
    "one completes several": (
        "0m add_to_cart, 1m checkout_started, 2m purchase",
        "9d", "t1 cart completed@2m!t3, t2 checkout completed@2m!t3",
    ),
    "an abandoned one waits for its recovery beside one of the journey before": (
        "0m call_queued, 30m subscription_cancelled, 60m call_queued, 61m call_abandoned, 62m call_queued, "
        "63m call_answered", "0m",
        "t1 call open, t3 call abandoned@61m>63m!t4, t5 call completed@63m!t6",
    ),
    "completion before opening at one time": ("5m purchase, 5m add_to_cart", "5m", "t2 cart open"),
    "equal times go by id": ("5m add_to_cart, 5m purchase", "5m", "t1 cart completed@5m!t2"),
}  # fmt: skip


def instant(text: str) -> int:
    duration, _, rest = text.partition("+")
    return (parse_duration(duration) or 0) + int(rest or 0)


@pytest.mark.parametrize(("story", "now", "attempts"), CASES.values(), ids=CASES.keys())
def test_each_attempt_ends_once(story: str, now: str, attempts: str) -> None:
    wanted = []
    for one in attempts.split(", "):
        opener, kind, rest = one.split()
        rest, _, by = rest.partition("!")
        rest, _, recovered = rest.partition(">")
        outcome, _, ended = rest.partition("@")
        ended_at = instant(ended) if ended else None
        wanted.append(
            (opener, kind, outcome, ended_at, instant(recovered) if recovered else None, by or None)
        )
    said = said_of(tell(story), now=instant(now))
    found = [
        (id, attempt.kind, attempt.outcome, attempt.ended_at, attempt.recovered_at, attempt.ended_by)
        for id, verdict in said.items()
        for attempt in verdict.attempts
    ]
    assert found == wanted
