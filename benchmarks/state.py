"""What is kept of a customer: bytes in a worker's memory, and bytes of changelog that a touchpoint costs."""

import gc
import tracemalloc

import lz4.block
import msgspec

from benchmarks.figures import Figure
from benchmarks.histories import LENGTHS, histories
from benchmarks.traffic import MODEL
from models.fold import Household
from models.touchpoint import Touchpoint
from streams.protocol import Nodes, Position

_CUSTOMERS = 1_000
_TYPICAL = 10
_TOUCHPOINTS = 2_000

_encode = msgspec.msgpack.Encoder().encode
_decoder = msgspec.msgpack.Decoder(list[Touchpoint])


def measure() -> list[Figure]:
    """Bytes of a customer with ten touchpoints, and of changelog per touchpoint of long and short journeys."""
    return [*_memory(), *(_changelog(length) for length in LENGTHS)]


def _memory() -> list[Figure]:
    encoded = [_encode(touchpoints) for touchpoints in histories(_TYPICAL, _CUSTOMERS)]
    gc.collect()
    tracemalloc.start()
    households = [_household(_decoder.decode(one)) for one in encoded]
    gc.collect()
    awake, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    resting = sum(len(lz4.block.compress(household.held().encode())) for household in households)
    what = f"a customer of {_TYPICAL} touchpoints"
    return [
        Figure("state_awake", awake / _CUSTOMERS, "bytes", f"{what}, as objects"),
        Figure("state_resting", resting / _CUSTOMERS, "bytes", f"{what}, encoded"),
    ]


def _household(touchpoints: list[Touchpoint]) -> Household:
    household = Household(touchpoints[0].identifiers[0].key, MODEL)
    household.add(touchpoints)
    household.judge(touchpoints[-1].occurred_at - MODEL.allowed_lateness_ms)
    return household


def _changelog(length: int) -> Figure:
    """Each touchpoint comes in a record of its own, as live ones of one customer do."""
    nodes = Nodes(0, 1, MODEL)
    nodes.guard({}, {}, said_before=False, trusting=True)
    written = touchpoints = size = 0
    for customer in histories(length, max(2, _TOUCHPOINTS // length)):
        for touchpoint in customer:
            effects = nodes.receive((touchpoint,), Position("touchpoints.web", touchpoints))
            nodes.say_all()
            touchpoints += 1
            written += sum(len(key) + len(value or b"") for key, value in effects.entries)
            size += len(_encode(touchpoint))
    return Figure(
        f"changelog_{length}",
        written / touchpoints,
        "bytes/touchpoint",
        f"journeys of {length:,}; the touchpoint itself: {size / touchpoints:.0f}",
    )
