"""The watch on Faust: commits that stall, recoveries that hang, consumers that die.

Where Faust goes wrong the worker says so and stops; the next one starts from what was committed.
"""

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable
from typing import Any, cast

from aiokafka.errors import KafkaError
from faust.transport.drivers.aiokafka import Consumer
from faust.types import AppT

from streams.changelog import Households
from streams.stitch import Stitcher
from streams.stuck import WorkerStuck

log = logging.getLogger(__name__)

_LOOKS = 8  # within the patience
_LOOK_AT_MOST_EVERY_S = 5.0
_ASK_ENDS_AT_MOST_EVERY_S = 30.0
_TOLD_WITHIN_S = 60.0


class Watch:
    """Looks every few seconds whether the worker gets on."""

    def __init__(
        self,
        app: AppT,
        households: Households,
        stitcher: Stitcher,
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
