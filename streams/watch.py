"""The watch on Faust: offsets skipped, commits that stall, recoveries that hang, consumers that die.

A set absorbs repeats and any order, but not a record that was never delivered. Where Faust goes wrong the
worker says so and stops; the next one starts from what was committed.
"""

import asyncio
import logging
import os
import threading
import time
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any, cast

from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.errors import KafkaError
from faust.transport.drivers.aiokafka import Consumer
from faust.types import AppT

from models.errors import DesirelineError

if TYPE_CHECKING:
    from streams.changelog import Households
    from streams.stitch import Stitcher

log = logging.getLogger(__name__)

_LOOKS = 8  # within the patience
_LOOK_AT_MOST_EVERY_S = 5.0
_ASK_ENDS_AT_MOST_EVERY_S = 30.0
_TOLD_WITHIN_S = 60.0
_ENDS_WITHIN_S = 10.0


class WorkerStuck(DesirelineError):
    """The worker cannot go on without harm and must be started again."""


class OffsetGaps:
    """Which record comes next in each partition."""

    def __init__(self) -> None:
        self._next: dict[tuple[str, int], int] = {}

    def begin(self, topic: str, partition: int, offset: int) -> None:
        """The partition is read from `offset` on."""
        self._next[topic, partition] = offset

    def next_of(self, topic: str, partition: int) -> int | None:
        """The offset that should come next; None where nothing is known."""
        return self._next.get((topic, partition))

    def missing(self, topic: str, partition: int, offset: int) -> int | None:
        """A record came. The offset that should have come, if it is an earlier one; repeats are no fault."""
        expected = self._next.get((topic, partition))
        self._next[topic, partition] = offset + 1
        return expected if expected is not None and offset > expected else None

    def forget(self) -> None:
        """Partitions are handed over."""
        self._next = {}


async def check_gap(bootstrap_servers: str, topic: str, partition: int, expected: int, came: int) -> None:
    """Offsets `expected` up to `came` were not delivered: are there records?

    None are where a transaction ended. Those that retention deleted are lost to us, which is logged.
    WorkerStuck if there are.
    """
    place = TopicPartition(topic, partition)
    consumer = AIOKafkaConsumer(bootstrap_servers=bootstrap_servers, enable_auto_commit=False)
    await consumer.start()
    try:
        consumer.assign([place])
        earliest = (await consumer.beginning_offsets([place]))[place]
        if earliest > expected:
            log.error(
                "%s partition %d: offsets %d to %d were deleted before they were handled; "
                "`desireline reconcile` names what the warehouse lacks",
                topic, partition, expected, min(earliest, came) - 1,
            )  # fmt: skip
        start = max(earliest, expected)
        if start >= came:
            return
        consumer.seek(place, start)
        first = await consumer.getone(place)
    finally:
        await consumer.stop()
    if first.offset < came:
        raise WorkerStuck(
            f"{topic} partition {partition}: offset {came} came where {expected} was due",
            remedy="The worker is started again and reads from what was committed.",
        )


def end_for_sure(error: BaseException) -> None:
    """After this error be gone within seconds also where stopping hangs, as it does on a commit that never returns.

    What was not committed is read again, as after any other death.
    """

    def end() -> None:
        log.error("the worker does not stop by itself, and is ended: %s", error)
        os._exit(1)

    timer = threading.Timer(_ENDS_WITHIN_S, end)
    timer.daemon = True
    timer.start()


class Watch:
    """Looks every few seconds whether the worker gets on."""

    def __init__(
        self,
        app: AppT,
        households: "Households",
        stitcher: "Stitcher",
        *,
        patience_s: float,
        failed: Callable[[BaseException], Awaitable[None]],
    ) -> None:
        self._app = app
        self._households = households
        self._stitcher = stitcher
        self._patience_s = patience_s
        self._look_every_s = min(_LOOK_AT_MOST_EVERY_S, patience_s / _LOOKS)
        self._ask_ends_every_s = min(_ASK_ENDS_AT_MOST_EVERY_S, 2 * self._look_every_s)
        self._failed = failed
        self._ask_ends_at = 0.0
        self._progress: dict[object, tuple[Any, float]] = {}

    async def run(self) -> None:
        """Until cancelled, or until something is wrong."""
        while True:
            await asyncio.sleep(self._look_every_s)
            try:
                await self._look()
            except WorkerStuck as error:
                await self._failed(error)
                return

    async def _look(self) -> None:
        if not self._households.nodes:
            self._progress = {}  # no partition is ours yet, or none is left for us
            return
        if self._households.recovering:
            self._progress = {key: at for key, at in self._progress.items() if key == "recovery"}
            complaint = "the recovery of the state does not get on"
            self._must_move(
                "recovery",
                (self._households.generation, self._households.entries_left, self._folded()),
                complaint,
            )
            return
        self._stitcher.observe()
        self._progress.pop("recovery", None)
        committed = cast(Consumer, self._app.consumer)._committed_offset
        for tp, released in self._stitcher.released.items():
            stands = committed.get(tp) or 0
            if stands < released:
                complaint = f"{tp.topic} partition {tp.partition} is not committed"
                self._must_move(("commit", tp), stands, complaint)
            else:
                self._progress.pop(("commit", tp), None)
        if time.monotonic() < self._ask_ends_at:
            return
        self._ask_ends_at = time.monotonic() + self._ask_ends_every_s
        try:
            lag = await asyncio.wait_for(self._stitcher.lag(), _TOLD_WITHIN_S)
        except (KafkaError, TimeoutError) as error:  # no fault of ours, and no reason to start again
            log.warning("the broker does not tell where topics end: %s", error or type(error).__name__)
            return
        for tp, left in lag.items():
            if left > 0:
                complaint = f"{tp.topic} partition {tp.partition} is not read"
                self._must_move(("read", tp), self._stitcher.next_of(tp), complaint)
            else:
                self._progress.pop(("read", tp), None)

    def _folded(self) -> int:
        return sum(len(nodes.households) for nodes in self._households.nodes.values())

    def _must_move(self, key: object, stands: object, complaint: str) -> None:
        now = time.monotonic()
        before = self._progress.get(key)
        if before is None or before[0] != stands:
            self._progress[key] = stands, now
        elif now - before[1] > self._patience_s:
            raise WorkerStuck(
                f"{complaint} since {now - before[1]:.0f} s (stands at {stands})",
                remedy="The worker is started again and reads from what was committed.",
            )
