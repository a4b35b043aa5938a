"""What is not taken, and why: the records of `touchpoints.rejected`."""

import base64
import hashlib
from typing import Literal, get_args

import msgspec

Reason = Literal[
    "invalid_json",
    "invalid_encoding",
    "body_too_large",
    "event_too_large",
    "missing_type",
    "unknown_type",
    "missing_event_name",
    "missing_identity",
    "bad_timestamp",
    "timestamp_out_of_range",
    "invalid_field",
    "unmapped_event",
    "mapping_error",
    "signature_invalid",
    "signature_stale",
    "unknown_source",
    "publish_failed",
]
REASONS: tuple[Reason, ...] = get_args(Reason)
RAW_BYTES = 256_000
"""A payload of at most so many bytes travels with its rejection; a larger one stays in the spool."""
_DETAIL_CHARACTERS = 1_000


class Rejection(msgspec.Struct, frozen=True, kw_only=True):
    """One thing that was not taken. The same fault of the same thing has the same `id`."""

    id: str
    reason: Reason
    detail: str
    source: str
    source_instance: str
    channel: str | None
    received_at: int  # UTC ms
    attempt: int
    raw_ref: str
    raw_base64: str | None
    headers: dict[str, str] = {}
    sha256: str


class NotTaken(Exception):
    """Raised by a mapper about one thing that was sent; becomes a `Rejection` with its payload.

    `detail` names no person.
    """

    def __init__(self, reason: Reason, detail: str) -> None:
        self.reason: Reason = reason
        self.detail = detail
        super().__init__(detail)


def rejection(
    why: NotTaken,
    raw: bytes,
    *,
    source: str,
    source_instance: str,
    channel: str | None,
    received_at: int,
    raw_ref: str,
    attempt: int = 1,
    headers: dict[str, str] | None = None,
) -> Rejection:
    """The record that says so; `raw`: what was sent. It is in the record unless it is itself too large."""
    digest = hashlib.sha256(raw).hexdigest()
    named = hashlib.sha256(f"{source}:{source_instance}:{raw_ref}:{digest}".encode()).hexdigest()
    inline = len(raw) <= RAW_BYTES and why.reason not in ("event_too_large", "publish_failed")
    return Rejection(
        id=named[:32],
        reason=why.reason,
        detail=why.detail[:_DETAIL_CHARACTERS],
        source=source,
        source_instance=source_instance,
        channel=channel,
        received_at=received_at,
        attempt=attempt,
        raw_ref=raw_ref,
        raw_base64=base64.b64encode(raw).decode() if inline else None,
        headers=headers or {},
        sha256=digest,
    )
