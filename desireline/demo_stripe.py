"""The demo's Stripe events: the documented ones, moved to the present and told to one customer, Ada."""

from collections.abc import Mapping
from importlib.resources import files
from typing import Any

import msgspec

DAY_MS, HOUR_MS = 86_400_000, 3_600_000

STORY_MS: Mapping[str, int] = {
    "invoice_sent": 12 * DAY_MS,
    "invoice_payment_failed": 9 * DAY_MS,
    "invoice_paid": 8 * DAY_MS,
    "checkout_expired": 6 * DAY_MS,
    "checkout_completed": 5 * DAY_MS,
    "charge_refunded": 2 * DAY_MS,
    "subscription_updated": 30 * HOUR_MS,
    "subscription_deleted": 3 * HOUR_MS,
}
"""Each event and how long ago it happened: an invoice fails and is paid, an order is refunded, Ada leaves."""

# Seconds since 1970 in the documented events lie between 2020 and 2030; amounts are far smaller
_INSTANTS_S = range(1_577_836_800, 1_893_456_000)


def documented(name: str) -> dict[str, Any]:
    """A Stripe event as documented, e.g. `invoice_paid`."""
    text = files("desireline").joinpath(f"demo_data/stripe_{name}.json").read_bytes()
    event: dict[str, Any] = msgspec.json.decode(text)
    return event


def moved(event: Mapping[str, Any], at: int) -> dict[str, Any]:
    """The event as if it had been created at `at` (UTC ms): all its instants are moved alike."""
    by_s = at // 1000 - event["created"]
    return {key: _moved(value, by_s) for key, value in event.items()}


def story(now: int) -> list[dict[str, Any]]:
    """The events of Ada's story up to `now` (UTC ms), oldest first; their ids are of this run."""
    told = []
    for name, ago_ms in STORY_MS.items():
        event = moved(documented(name), now - ago_ms)
        told.append({**event, "id": f"{event['id']}_{now:x}"})
    return sorted(told, key=lambda event: int(event["created"]))


def _moved(value: Any, by_s: int) -> Any:
    if isinstance(value, dict):
        return {key: _moved(item, by_s) for key, item in value.items()}
    if isinstance(value, list):
        return [_moved(item, by_s) for item in value]
    if isinstance(value, int) and not isinstance(value, bool) and value in _INSTANTS_S:
        return value + by_s
    return value
