"""What a worker's memory holds with as many open customers as one machine is made for."""

from benchmarks.agent import stitch
from benchmarks.figures import Figure
from benchmarks.traffic import households, published

CUSTOMERS = 100_000
_PER_CUSTOMER = 10  # touchpoints, about
PARTITIONS = 8


def measure() -> list[Figure]:
    """Peak memory of the stitch worker while it comes to know all of them, and per customer."""
    elements = CUSTOMERS * _PER_CUSTOMER
    known = len({key for key, _ in households(elements)})
    stitched = stitch(published(elements, PARTITIONS), lies_ready=False)
    return [
        Figure("worker_memory", stitched.peak_bytes / 2**20, "MiB", f"{known:,} households; at most 1,024"),
        Figure("worker_memory_per_household", stitched.peak_bytes / known, "bytes"),
    ]
