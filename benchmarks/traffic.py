"""The same simulated customers for everyone: as Kafka records, and as bodies for the collector's door."""

import itertools
import time
from collections.abc import Iterator
from typing import NamedTuple

from ingest.mapped import Delivery, Mapped
from ingest.packing import Packed, pack
from ingest.simulation.sender import Arrival
from ingest.simulation.world import STRIPE
from ingest.simulator import arrivals, past_traffic
from ingest.sources import segment, stripe
from models.journey_model import default_model
from models.routing import routing_key
from models.touchpoint import Clock, Element

MODEL = default_model()
_TOGETHER = 5_000  # as the collector publishes under load


class Published(NamedTuple):
    """What a collector would have published."""

    records: list[Packed]
    elements: int


def mapped(calls: Iterator[Arrival]) -> Iterator[Mapped]:
    """Each call as the collector maps it."""
    for number, sent in enumerate(calls):
        delivery = Delivery(
            source_instance="shop", received_at=sent.arrives_at, raw_ref=f"spool:{number}", model=MODEL
        )
        if sent.door == STRIPE:
            yield stripe.map_event(sent.call, delivery)
        else:
            yield segment.map_batch({"batch": [sent.call]}, delivery)


def past(elements: int, seed: int = 1, weeks: int = 6) -> Iterator[Mapped]:
    """The past of as many customers as it takes, in the order of arrival."""
    now = time.time_ns() // 1_000_000
    # a customer says about eleven things in six weeks, and more in more
    customers = max(200, elements // (10 if weeks <= 6 else 14))
    calls = arrivals(past_traffic(customers, now=now, weeks=weeks, seed=seed))
    said = 0
    for one in mapped(calls):
        yield one
        said += len(one.records)
        if said >= elements:
            return


def published(elements: int, partitions: int, seed: int = 1) -> Published:
    """So many elements, packed and routed."""
    records: list[Packed] = []
    said = past(elements, seed)
    while together := list(itertools.islice(said, _TOGETHER)):
        records += pack(together, MODEL.identifier_order, partitions)
    records = [one for one in records if one.topic != "touchpoints.rejected"]
    return Published(records, sum(len(one.items) for one in records))


def keyed(elements: int, seed: int = 1, weeks: int = 6) -> list[tuple[str, Element]]:
    """So many elements with their routing keys."""
    return [
        (routing_key(record.identifiers, MODEL.identifier_order), record)
        for one in past(elements, seed, weeks)
        for record in one.records
        if not isinstance(record, Clock)
    ]


def households(elements: int, seed: int = 1, weeks: int = 6) -> list[tuple[str, Element]]:
    """So many elements in the order of arrival, each with a key of the household that it ends up in."""
    said = keyed(elements, seed, weeks)
    parents: dict[str, str] = {}

    def root(key: str) -> str:
        while (parent := parents.setdefault(key, key)) != key:
            key = parent
        return key

    for key, element in said:
        for identifier in element.identifiers:
            parents[root(identifier.key)] = root(key)
    return [(root(key), element) for key, element in said]
