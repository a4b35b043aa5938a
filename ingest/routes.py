"""From a delivery to touchpoints: which mapper a route means. Pure, so that an entry of the spool read again
gives the same."""

import logging
from typing import Any

import msgspec

from ingest.config import CollectorConfig
from ingest.mapped import Delivery, Mapped
from ingest.rejection import REASONS, NotTaken, Reason
from ingest.sources import canonical, corrections, segment, stripe
from ingest.spool import Delivered
from models.journey_model import JourneyModel

log = logging.getLogger(__name__)

TRACKING = segment.TYPES_OF_CALL
BATCH = "batch"
STRIPE = "stripe"
TOUCHPOINTS = "touchpoints"
CORRECTIONS = "corrections"
FROM_FILE = "file"
REFUSED = "refused"
"""Route of a body that could not even be read; header `reason` and `detail` say why."""

_decode = msgspec.json.Decoder().decode


def map_delivered(
    delivered: Delivered,
    model: JourneyModel,
    *,
    strict: bool = False,
    event_limit_bytes: int = 512 * 1024,
    body: Any = None,
) -> Mapped:
    """The records of one delivery, and what was not taken of it. Never raises.

    `body`: what `parse` made of it, if it was read already.
    """
    delivery = Delivery(
        source_instance=delivered.source_instance,
        received_at=delivered.received_at,
        raw_ref=f"spool:{delivered.id}",
        model=model,
        attempt=1 + _retries(delivered.headers),
        strict=strict,
        event_limit_bytes=event_limit_bytes,
        headers=delivered.headers,
    )
    route = delivered.route
    try:
        if route == REFUSED:
            reason: Any = delivered.headers.get("reason")
            detail = delivered.headers.get("detail", "")
            raise NotTaken(reason if reason in REASONS else "invalid_json", detail)
        if body is None:
            body = parse(route, delivered.body)
        if route in (TOUCHPOINTS, FROM_FILE):
            return canonical.map_records(body, delivery, from_file=route == FROM_FILE)
        if route == CORRECTIONS:
            return corrections.map_corrections(body, delivery)
        return stripe.map_event(body, delivery) if route == STRIPE else segment.map_calls(body, delivery)
    except NotTaken as why:
        route = delivered.headers.get("route", route)
        source, channel = source_of(route), "billing" if route == STRIPE else None
        return Mapped([], [delivery.reject(why, delivered.body, source=source, channel=channel)])
    except Exception as error:  # a body of a kind nobody thought of must be seen, not sent again for ever
        log.exception("a body could not be mapped, see the rejected: %s", delivery.raw_ref)
        fault = NotTaken("mapping_error", type(error).__name__)
        return Mapped([], [delivery.reject(fault, delivered.body, source=source_of(route))])


def map_with(config: CollectorConfig, delivered: Delivered, body: Any = None) -> Mapped:
    """The same, by the collector's configuration."""
    return map_delivered(
        delivered,
        config.model,
        strict=config.strict,
        event_limit_bytes=config.event_limit_bytes,
        body=body,
    )


def parse(route: str, body: bytes) -> Any:
    """The body as its mapper takes it. NotTaken if it cannot be read as a whole."""
    if route == STRIPE:
        return body
    if route in (TOUCHPOINTS, FROM_FILE, CORRECTIONS):
        try:
            return _decode(body)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            raise NotTaken("invalid_json", str(error)) from error
    if route == BATCH or route in TRACKING:
        return segment.parse(body, route)
    raise NotTaken("unknown_source", f'no route is called "{route}"')


def source_of(route: str) -> str:
    """The source of what comes through a route."""
    if route == STRIPE:
        return stripe.SOURCE
    if route == CORRECTIONS:
        return corrections.SOURCE
    return segment.SOURCE if route == BATCH or route in TRACKING else "generic"


def refused(reason: Reason, detail: str, route: str) -> dict[str, str]:
    """The headers of a `REFUSED` entry."""
    return {"reason": reason, "detail": detail[:500], "route": route}


def _retries(headers: dict[str, str]) -> int:
    said = headers.get("x-retry-count", "")
    return int(said) if said.isascii() and said.isdigit() and len(said) < 4 else 0
