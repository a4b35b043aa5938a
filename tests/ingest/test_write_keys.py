"""Whose request it is, and how fast they may send."""

import base64

import pytest

from ingest.write_keys import Allowance, instance_of, unknown_basic

KEYS = {"k1": "shop", "k2": "app"}


def basic(user: str) -> str:
    return "Basic " + base64.b64encode(user.encode()).decode()


CASES = {
    "Basic, with the colon": (basic("k1:"), None, "shop"),
    "Basic, without it": (basic("k1"), None, "shop"),
    "Basic, its padding left out": (basic("k1").rstrip("="), None, "shop"),
    "Basic, in whichever case": (basic("k1").replace("Basic", "bAsIc"), None, "shop"),
    "the body's key": (None, "k2", "app"),
    "Basic comes first": (basic("k1:"), "k2", "shop"),
    "a wrong Basic is not mended by the body": (basic("k3:"), "k2", None),
    "a Basic header that cannot be read is nobody's": ("Basic %%%", "k2", None),
    "a bearer token": ("Bearer k2", None, "app"),
    "the body comes before a bearer token": ("Bearer of-oauth", "k2", "app"),
    "no key": (None, None, None),
    "an empty key": (basic(":"), None, None),
    "a key that is no text": (None, 7, None),
    "an unknown key": (None, "k3", None),
}


@pytest.mark.parametrize(("header", "in_body", "instance"), CASES.values(), ids=CASES.keys())
def test_who_sends(header: str | None, in_body: object, instance: str | None) -> None:
    assert instance_of(header, in_body, KEYS) == instance


def test_a_body_need_not_be_read_if_its_header_is_nobodys() -> None:
    assert unknown_basic(basic("k3:"), KEYS)
    assert not unknown_basic(basic("k1:"), KEYS)
    assert not unknown_basic(None, KEYS)


def test_a_seconds_calls_may_come_at_once_and_then_as_fast_as_allowed() -> None:
    now = 0.0
    allowance = Allowance(100, lambda: now)
    assert allowance.wait_s("shop", 100) == 0
    assert allowance.wait_s("shop", 50) == 0.5
    assert allowance.wait_s("app", 50) == 0  # each has its own
    now = 0.5
    assert allowance.wait_s("shop", 50) == 0
    assert allowance.wait_s("shop", 1) > 0


def test_a_batch_of_more_than_a_second_passes_and_is_paid_off() -> None:
    now = 0.0
    allowance = Allowance(10, lambda: now)
    assert allowance.wait_s("shop", 30) == 0
    now = 1.0
    assert allowance.wait_s("shop", 1) > 0
    now = 2.1
    assert allowance.wait_s("shop", 1) == 0


def test_without_a_limit_nobody_waits() -> None:
    assert Allowance(None).wait_s("shop", 10**9) == 0
