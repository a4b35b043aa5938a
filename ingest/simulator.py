"""Believable traffic of multi-channel customers, seeded, sent through the same door as everyone's.

What happens is decided apart from sending it: `arrivals` is a function of its arguments.
"""

import asyncio
import heapq
from collections.abc import Callable, Iterator
from itertools import count
from typing import Any

import msgspec

from ingest.simulation.customers import live
from ingest.simulation.incidents import Incident
from ingest.simulation.sender import Arrival, Door, Sender, Sent
from ingest.simulation.world import BUSIEST, DAY, HOUR, MINUTE, SECOND, Strand, World

_CALLS_IN_FIRST_MINUTES = 3.5


class Traffic(msgspec.Struct, frozen=True, kw_only=True):
    """Who comes, and when. The same values give the same arrivals.

    `start_at`: when the first customer comes, UTC ms. `customers` of them (None: without end) come over about
    `over_ms`. Nothing arrives at or after `until_at` (None: each customer's story is told to its end).
    `steady`: no hour is busier than another. Shares are 0–1 of all calls: `late_share` is delivered minutes
    later, now and then hours; `duplicate_share` twice.
    """

    seed: int = 1
    start_at: int
    over_ms: int = 42 * DAY
    customers: int | None = 2_000
    until_at: int | None = None
    incidents: tuple[Incident, ...] = ()
    steady: bool = False
    late_share: float = 0.02
    duplicate_share: float = 0.01
    customers_of_span: int = 2_000  # how many come in `over_ms` if `customers` is None
    shared_phone_share: float = 0.02


class SimulationConfig(msgspec.Struct, frozen=True, kw_only=True):
    """What happens, and where it is sent."""

    traffic: Traffic
    door: Door


def simulate(
    config: SimulationConfig,
    progress: Callable[[Sent], None] = lambda sent: None,
    stopping: Callable[[], bool] = lambda: False,
) -> Sent:
    """Send simulated traffic until it ends or `stopping` says so; `progress` is told after each answer.

    SendingError if the collector refuses it for good or takes nothing for a minute.
    """
    return asyncio.run(Sender(config.door, progress, stopping).send(arrivals(config.traffic)))


def past_traffic(
    customers: int, *, now: int, weeks: int = 6, seed: int = 1, incidents: tuple[Incident, ...] = ()
) -> Traffic:
    """The last weeks of about so many customers, up to `now` (UTC ms)."""
    over_ms = weeks * 7 * DAY
    return Traffic(
        seed=seed,
        start_at=now - over_ms,
        over_ms=over_ms,
        customers=customers,
        until_at=now,
        incidents=incidents,
    )


def live_traffic(
    rate: float,
    *,
    now: int,
    backlog_ms: int = 10 * MINUTE,
    seed: int = 1,
    incidents: tuple[Incident, ...] = (),
) -> Traffic:
    """Customers without end from `now` (UTC ms) on, soon about `rate` calls per second, at any hour.

    Those of the last `backlog_ms` are delivered late, at once.
    """
    return Traffic(
        seed=seed,
        start_at=now - backlog_ms,
        over_ms=HOUR,
        customers=None,
        customers_of_span=max(1, round(rate * 3_600 / _CALLS_IN_FIRST_MINUTES)),
        incidents=incidents,
        steady=True,
    )


def arrivals(traffic: Traffic) -> Iterator[Arrival]:
    """Everything that is sent, in the order of arrival: event time, but for what is late or comes twice."""
    world = World(traffic.seed, traffic.start_at, traffic.incidents, steady=traffic.steady)
    random, until_at = world.random, traffic.until_at
    late, twice = traffic.late_share, traffic.late_share + traffic.duplicate_share
    newcomers = _newcomers(world, traffic)
    coming = next(newcomers, None)
    # next happening of every strand, and what waits to be delivered later (which has no strand)
    heap: list[tuple[int, int, int, dict[str, Any], Strand | None]] = []
    serial = count()
    while heap or coming:
        if coming and (not heap or coming[0] <= heap[0][0]):
            _begin(heap, serial, coming[1])
            coming = next(newcomers, None)
            continue
        at, _, door, call, strand = heap[0]
        if until_at is not None and at >= until_at:
            return
        if strand is None:
            heapq.heappop(heap)
            yield Arrival(at, door, call)
            continue
        following = next(strand, None)
        if following is None:
            heapq.heappop(heap)
        else:
            heapq.heapreplace(heap, (following[0], next(serial), following[1], following[2], strand))
        while world.begun:
            _begin(heap, serial, world.begun.pop())
        chance = random()
        if chance < twice:
            heapq.heappush(heap, (at + _delay(world), next(serial), door, call, None))
        if chance >= late:
            yield Arrival(at, door, call)


def _begin(
    heap: list[tuple[int, int, int, dict[str, Any], Strand | None]], serial: Iterator[int], strand: Strand
) -> None:
    first = next(strand, None)
    if first is not None:
        heapq.heappush(heap, (first[0], next(serial), first[1], first[2], strand))


def _newcomers(world: World, traffic: Traffic) -> Iterator[tuple[int, Strand]]:
    """When each customer comes for the first time, and their story."""
    at = float(traffic.start_at)
    gap = traffic.over_ms / (traffic.customers or traffic.customers_of_span)
    phone = None
    for number in count():
        if number == traffic.customers:
            return
        at += world.chance.expovariate(1.0) * gap / BUSIEST
        while not world.happens(world.busy(int(at)) / BUSIEST):
            at += world.chance.expovariate(1.0) * gap / BUSIEST
        customer, strand = live(
            world, number, int(at), phone if world.happens(traffic.shared_phone_share) else None
        )
        phone = customer.phone
        yield int(at), strand


def _delay(world: World) -> int:
    """How late: mostly minutes, one in twenty had no network for hours."""
    return SECOND + (world.about(8 * HOUR) if world.happens(0.05) else world.about(6 * MINUTE))
