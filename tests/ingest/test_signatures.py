"""Stripe's signatures, made by Stripe's own library."""

import pytest
import stripe

from ingest.rejection import NotTaken
from ingest.signatures import verify_stripe
from tests.ingest.fixtures import fixture

SECRET = "whsec_test_secret"
BODY = b'{"id": "evt_1"}'
NOW = 1_709_631_000


def signed(at: int = NOW, secret: str = SECRET, body: bytes = BODY) -> str:
    made = stripe.WebhookSignature._compute_signature(f"{at}.{body.decode()}", secret)
    return f"t={at},v1={made}"


def why(header: str, body: bytes = BODY, secrets: list[str] | None = None) -> str:
    with pytest.raises(NotTaken) as caught:
        verify_stripe(body, header, secrets or [SECRET], NOW)
    return caught.value.reason


def test_a_signature_of_stripes_library_holds() -> None:
    verify_stripe(BODY, signed(), [SECRET], NOW)


@pytest.mark.parametrize("name", ["billing_stripe_invoice_paid", "billing_stripe_checkout_completed"])
def test_the_fixtures_hold(name: str) -> None:
    one = fixture(name)
    header = one["request"]["headers"]["Stripe-Signature"]
    verify_stripe(one["raw_body"].encode(), header, one["test_secret"], NOW)


def test_any_of_several_signatures_and_secrets_may_match() -> None:
    other = signed(secret="whsec_new").partition("v1=")[2]
    verify_stripe(BODY, f"{signed(secret='whsec_x')},v1={other},v0=abc", [SECRET, "whsec_new"], NOW)


@pytest.mark.parametrize("at", [NOW - 300, NOW, NOW + 300])
def test_five_minutes_either_way_hold(at: int) -> None:
    verify_stripe(BODY, signed(at), [SECRET], NOW)


@pytest.mark.parametrize("at", [NOW - 301, NOW + 301])
def test_a_second_more_is_stale(at: int) -> None:
    assert why(signed(at)) == "signature_stale"


def test_a_wrong_one_is_invalid_however_old() -> None:
    assert why(signed(at=5, secret="whsec_other")) == "signature_invalid"


@pytest.mark.parametrize(
    "header", ["", "t=1", "v1=ab", "t=x,v1=ab", "nonsense", "t=1709631000,v1=é", f"t={'9' * 99},v1=a"]
)
def test_a_header_that_is_none_is_invalid(header: str) -> None:
    assert why(header) == "signature_invalid"


def test_the_bytes_are_signed_and_not_what_they_mean() -> None:
    assert why(signed(), body=b'{"id":"evt_1"}') == "signature_invalid"
