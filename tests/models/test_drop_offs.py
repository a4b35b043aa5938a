"""Drop-offs: silence longer than the patience of its phase."""

import pytest

from models.journey_model import load_model, template
from models.verdict import DropOff
from models.yaml_reader import parse_duration
from tests.histories import said_of, tell

DAY = 86_400_000
CASES = {
    "within patience there is none": ("0m add_to_cart", "1d", "t1", None),
    "past it there is one": ("0m add_to_cart", "2d", "t1", DropOff(DAY)),
    "the last ms is within": ("0m add_to_cart, 1d page_view", "1d", "t1", None),
    "one ms later the customer came back": (
        "0m add_to_cart, 1d+1 page_view", "0m", "t1", DropOff(DAY, DAY + 1),
    ),
    "a later journey is no coming back": ("0m add_to_cart, 31d page_view", "2d", "t1", DropOff(DAY)),
    "nor does it bring the drop-off forward": ("0m add_to_cart, 31d page_view", "1d", "t1", None),
    "patience is that of the phase kept": ("0m ad_click, 1m page_view", "6d", "t2", None),
    "what closes a journey is followed by none": ("0m subscription_cancelled", "99d", "t1", None),
    "the nearest pain point before it": (
        "0m error_seen, 1m add_to_cart", "2d", "t2", DropOff(DAY + 60_000, None, "failure", "t1"),
    ),
    "its own pain point is nearest": (
        "0m error_seen, 1m payment_failed", "2d", "t2", DropOff(DAY + 60_000, None, "payment_failed", "t2"),
    ),
    "an abandonment that was declared": (
        "0m call_queued/x, 1m call_abandoned/x",
        "4d", "t2", DropOff(3 * DAY + 60_000, None, "abandonment", "t1"),
    ),
    "nor one of another journey": (
        "0m call_queued, 1m subscription_cancelled, 2m call_abandoned", "4d",
        "t3", DropOff(3 * DAY + 120_000),
    ),
    "no abandonment by silence, which it is itself": ("0m checkout_started", "2d", "t1", DropOff(DAY)),
}  # fmt: skip


@pytest.mark.parametrize(("story", "now", "id", "drop_off"), CASES.values(), ids=CASES.keys())
def test_silence_is_a_drop_off(story: str, now: str, id: str, drop_off: DropOff | None) -> None:
    assert said_of(tell(story), now=parse_duration(now) or 0)[id].drop_off == drop_off


def test_the_watermark_must_be_past_the_patience() -> None:
    assert said_of(tell("0m add_to_cart"), now=DAY)["t1"].drop_off is None
    assert said_of(tell("0m add_to_cart"), now=DAY + 1)["t1"].drop_off == DropOff(DAY)


def test_a_final_phase_ends_well() -> None:
    final = template("default").replace("{name: Purchase, patience: 1d}", "{name: Purchase, final: true}")
    model = load_model(final, where="final.yaml")
    assert said_of(tell("0m purchase"), now=99 * DAY, model=model)["t1"].drop_off is None
