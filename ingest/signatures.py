"""Signatures of webhooks, over the bytes as they came: text that was parsed and written again fails."""

import hashlib
import hmac
from collections.abc import Iterable

from ingest.rejection import NotTaken

TOLERANCE_S = 300


def verify_stripe(body: bytes, header: str, secrets: str | Iterable[str], now: int) -> None:
    """Check a `Stripe-Signature` (`t=<s>,v1=<hex>[,v1=…]`) by one or several secrets; any v1 may match.

    `now`: UTC s. NotTaken `signature_invalid`, or `signature_stale` over 300 s before or after `now`.
    Stripe's own library takes signatures from the future; we do not.
    """
    at: int | None = None
    signatures: list[bytes] = []
    for part in header.split(","):
        name, _, value = part.strip().partition("=")
        if name == "t" and value.isascii() and value.isdigit() and len(value) < 16:
            at = int(value)
        elif name == "v1":
            signatures.append(value.encode(errors="replace"))
    if at is None or not signatures:
        raise NotTaken("signature_invalid", "the Stripe-Signature header has no t or no v1")
    signed = f"{at}.".encode() + body
    wanted = [
        hmac.digest(secret.encode(), signed, hashlib.sha256).hex().encode()
        for secret in ([secrets] if isinstance(secrets, str) else secrets)
    ]
    if not any(hmac.compare_digest(one, signature) for one in wanted for signature in signatures):
        raise NotTaken(
            "signature_invalid", "no v1 of the Stripe-Signature matches; is it this endpoint's secret?"
        )
    if abs(now - at) > TOLERANCE_S:
        raise NotTaken("signature_stale", f"signed {now - at} s ago; more than {TOLERANCE_S} s is not taken")
