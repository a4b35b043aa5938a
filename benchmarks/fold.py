"""The journey logic alone: one household at a time, every element judged as it comes. No I/O, one core."""

import gc
import time

from benchmarks.figures import Figure
from benchmarks.traffic import MODEL, households
from models.fold import Household
from models.touchpoint import Touchpoint

ELEMENTS = 200_000


def measure() -> list[Figure]:
    """Elements per second, wall clock of one core."""
    said = households(ELEMENTS)
    known: dict[str, Household] = {}
    lateness = MODEL.allowed_lateness_ms
    watermark = 0
    gc.collect()
    gc.freeze()
    begun = time.perf_counter()
    for key, element in said:
        household = known.get(key)
        if household is None:
            household = known[key] = Household(key, MODEL)
        if isinstance(element, Touchpoint):
            watermark = max(watermark, element.occurred_at - lateness)
        household.add((element,))
        household.judge(watermark, journeys=False)
    seconds = time.perf_counter() - begun
    gc.unfreeze()
    return [Figure("fold_alone", len(said) / seconds, "touchpoints/s", "one core, no Kafka, no store")]
