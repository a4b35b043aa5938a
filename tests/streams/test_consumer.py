"""Faust's consumer, mended: what a fetch asks for stays what it was."""

import asyncio
from typing import Any

from faust.types import TP

from streams.consumer import Consumer

CHANGELOG, TOUCHPOINTS = TP("changelog", 0), TP("touchpoints.web", 0)


class Slow:
    """The consumer's thread, which gets to a fetch after the recovery has ended; nothing asked for is all."""

    def __init__(self, active: set[TP]) -> None:
        self.active = active

    async def getmany(self, asked: set[TP] | None, _timeout: float) -> dict[TP, list[Any]]:
        self.active.clear()
        return {tp: [] for tp in asked or {CHANGELOG, TOUCHPOINTS}}


def test_a_fetch_on_its_way_while_recovery_ends_fetches_no_touchpoints() -> None:
    active = {CHANGELOG}
    consumer = object.__new__(Consumer)
    consumer._thread = Slow(active)  # type: ignore[assignment]
    assert asyncio.run(consumer._getmany(active, 1.0)) == {CHANGELOG: []}
