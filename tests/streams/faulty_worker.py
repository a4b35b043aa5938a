"""A worker whose consumer goes wrong, as Faust's did for others. The fault is put in; all else is the worker.

`faulty_worker.py FAULT BOOTSTRAP PARTITIONS [NAME=JSON …]`
"""

import asyncio
import sys
import time
from collections.abc import AsyncGenerator, Mapping
from typing import Any

from faust.transport.consumer import RecordMap
from faust.types import TP

from streams import changelog
from streams.changelog import Households
from streams.consumer import Consumer, ConsumerThread
from streams.recovery import Read, read_from_the_start
from streams.topics import CHANNEL_TOPICS
from tests.streams import worker_process

WEB = TP(CHANNEL_TOPICS[0], 0)
"""Where records are passed over, and deleted."""
PASSED_OVER = (1, 2)
DELETED_BEFORE = 3
LATE_S = 25.0


def skips_offsets() -> None:
    """faust#216: two records were fetched and are never seen."""
    fetched = Consumer._getmany

    async def without(self: Consumer, active_partitions: set[TP] | None, timeout: float) -> RecordMap:
        records = await fetched(self, active_partitions, timeout)
        return {
            tp: [one for one in some if (tp, one.offset) not in {(WEB, offset) for offset in PASSED_OVER}]
            for tp, some in records.items()
        }

    Consumer._getmany = without  # type: ignore[method-assign]


def commits_nothing() -> None:
    """faust#318: a commit that never comes back."""

    async def never(self: Consumer, offsets: Mapping[TP, int]) -> bool:
        await asyncio.Event().wait()
        return False

    Consumer._commit = never  # type: ignore[method-assign]


def fetches_no_touchpoints() -> None:
    """faust#175, #640: it lives, keeps its partitions, and reads no more."""
    fetched = Consumer._getmany

    async def dying(self: Consumer, active_partitions: set[TP] | None, timeout: float) -> RecordMap:
        records = await fetched(self, active_partitions, timeout)
        return {tp: some for tp, some in records.items() if tp.topic not in CHANNEL_TOPICS}

    Consumer._getmany = dying  # type: ignore[method-assign]


def recovers_nothing() -> None:
    """The changelog is asked for, and no record of it comes."""

    async def silent(*_arguments: Any) -> AsyncGenerator[Read, None]:
        await asyncio.Event().wait()
        yield Read([], 0)

    changelog.read_from_the_start = silent


def recovers_late() -> None:
    """A changelog that takes long to come: others join meanwhile."""
    asked_first = list[float]()

    async def late(*arguments: Any) -> AsyncGenerator[Read, None]:
        asked_first.append(time.monotonic())
        await asyncio.sleep(max(0.0, asked_first[0] + LATE_S - time.monotonic()))
        async for read in read_from_the_start(*arguments):
            yield read

    changelog.read_from_the_start = late


def calls_a_recovery_complete_before_it_began() -> None:
    """Partitions are handed over while Faust ends an earlier recovery: it says so of theirs, too."""
    rebalance = Households.on_rebalance

    async def rebalance_and_say(self: Households, *arguments: Any, **more: Any) -> None:
        await rebalance(self, *arguments, **more)
        await self.on_recovery_completed(set(), set())

    Households.on_rebalance = rebalance_and_say  # type: ignore[method-assign]


def retention_deleted() -> None:
    """The broker says that the first records are gone. The embedded one deletes none, so it is made to say so."""
    earliest = ConsumerThread.earliest_offsets

    async def later(self: ConsumerThread, *partitions: Any) -> Mapping[Any, int]:
        told = await earliest(self, *partitions)
        return {
            tp: DELETED_BEFORE if (tp.topic, tp.partition) == WEB else begin for tp, begin in told.items()
        }

    ConsumerThread.earliest_offsets = later  # type: ignore[method-assign]


FAULTS = {
    fault.__name__: fault
    for fault in (
        skips_offsets, commits_nothing, fetches_no_touchpoints, recovers_nothing, recovers_late,
        calls_a_recovery_complete_before_it_began, retention_deleted,
    )
}  # fmt: skip

if __name__ == "__main__":
    FAULTS[sys.argv.pop(1)]()
    sys.exit(worker_process.main())
