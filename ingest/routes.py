"""From a delivery to touchpoints: which mapper a route means. Pure, so that an entry of the spool read
again gives the same."""

from typing import Any

import msgspec

from ingest.config import CollectorConfig
from ingest.mapped import Delivery, Mapped
from ingest.rejection import NotTaken, Reason, rejection
from ingest.sources import canonical, segment, stripe
from ingest.spool import Delivered
from models.journey_model import JourneyModel

TRACKING = ("track", "page", "screen", "identify", "group", "alias")
REFUSED = "refused"
"""Route of a body that could not even be read; header `reason` and `detail` say why."""
FROM_FILE = "file"

_decode = msgspec.json.Decoder().decode


def map_delivered(
    delivered: Delivered,
    model: JourneyModel,
    *,
    strict: bool = False,
    event_limit_bytes: int = 512 * 1024,
    body: Any = None,
) -> Mapped:
    """The records of one delivery, and what was not taken of it. `body`: its JSON, if it was read already."""
    delivery = Delivery(
        source_instance=delivered.source_instance,
        received_at=delivered.received_at,
        raw_ref=f"spool:{delivered.id}",
        model=model,
        attempt=1 + _retries(delivered.headers),
        strict=strict,
        event_limit_bytes=event_limit_bytes,
    )
    try:
        if delivered.route == REFUSED:
            reason: Any = delivered.headers["reason"]
            raise NotTaken(reason, delivered.headers.get("detail", ""))
        if body is None:
            body = _decode(delivered.body)
        return _map(delivered.route, body, delivery)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        return _whole(NotTaken("invalid_json", str(error)), delivered, delivery)
    except NotTaken as why:
        return _whole(why, delivered, delivery)


def map_with(config: CollectorConfig, delivered: Delivered, body: Any = None) -> Mapped:
    """The same, by the collector's configuration."""
    return map_delivered(
        delivered,
        config.model,
        strict=config.strict,
        event_limit_bytes=config.event_limit_bytes,
        body=body,
    )


def _map(route: str, body: Any, delivery: Delivery) -> Mapped:
    if route == "batch":
        return segment.map_batch(body, delivery)
    if route in TRACKING:
        return segment.map_call(body, route, delivery)
    if route == "stripe":
        return stripe.map_event(body, delivery)
    if route in ("touchpoints", FROM_FILE):
        return canonical.map_records(body, delivery, from_file=route == FROM_FILE)
    raise NotTaken("unknown_source", f'no route is called "{route}"')


def _whole(why: NotTaken, delivered: Delivered, delivery: Delivery) -> Mapped:
    source = (
        "stripe"
        if delivered.route == "stripe"
        else "segment"
        if delivered.route in TRACKING
        else delivered.route
    )
    rejected = rejection(
        why,
        delivered.body,
        source=source if delivered.route != "batch" else "segment",
        source_instance=delivery.source_instance,
        channel=None,
        received_at=delivery.received_at,
        raw_ref=delivery.raw_ref,
        attempt=delivery.attempt,
    )
    return Mapped([], [rejected])


def _retries(headers: dict[str, str]) -> int:
    said = headers.get("x-retry-count", "")
    return int(said) if said.isascii() and said.isdigit() and len(said) < 4 else 0


def refused(reason: Reason, detail: str) -> dict[str, str]:
    """The headers of a `REFUSED` entry."""
    return {"reason": reason, "detail": detail[:500]}
