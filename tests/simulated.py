"""Rows of simulated customers, for what is drawn or told of a warehouse that holds something believable."""

from ingest.mapped import Delivery
from ingest.simulation.world import STRIPE
from ingest.simulator import arrivals, past_traffic
from ingest.sources import segment, stripe
from models.household import verdicts
from models.journey_model import default_model
from models.touchpoint import Clock, Element
from tests.histories import households
from warehouse.rows import Rows

NOW = 1_772_000_000_000  # 2026-02-25
MODEL = default_model()


def simulated(customers: int, seed: int) -> Rows:
    """What is said of six simulated weeks, worked out in one go."""
    elements: list[Element] = []
    for number, sent in enumerate(arrivals(past_traffic(customers, now=NOW, seed=seed))):
        delivery = Delivery(source_instance="shop", received_at=NOW, raw_ref=f"spool:{number}", model=MODEL)
        mapped = (
            stripe.map_event(sent.call, delivery)
            if sent.door == STRIPE
            else segment.map_batch({"batch": [sent.call]}, delivery)
        )
        elements += [record for record in mapped.records if not isinstance(record, Clock)]
    rows = Rows(watermarks={0: NOW})
    for household in households(elements):
        rows.add(verdicts(household, NOW, MODEL))
    return rows
