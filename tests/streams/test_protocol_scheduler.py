"""Streamed equals batch, whatever the order, the crashes, the zombies, if the whole broker is lost midway, and
although what is old leaves the state.

`PROTOCOL_SEEDS=100000` looks longer; `PROTOCOL_FIRST_SEED` repeats one.
"""

import os

import pytest

from tests.histories import MODEL, NOON
from tests.streams.scheduler import differences

SEEDS = int(os.environ.get("PROTOCOL_SEEDS", "5000"))
FIRST_SEED = int(os.environ.get("PROTOCOL_FIRST_SEED", "0"))
CHUNKS = 6


@pytest.mark.parametrize("chunk", range(CHUNKS))
def test_what_stands_in_the_end_is_what_the_batch_says(chunk: int) -> None:
    for seed in range(FIRST_SEED + chunk, FIRST_SEED + SEEDS, CHUNKS):
        _, wrong = differences(seed, MODEL, NOON)
        assert not wrong, f"seed {seed}"


def test_the_scheduler_does_crash_lose_leave_zombies_trim_and_bring_back() -> None:
    happened = [differences(seed, MODEL, NOON)[0] for seed in range(FIRST_SEED, FIRST_SEED + 60)]
    for what in ("crashes", "zombies", "losses", "trims", "returns"):
        assert sum(stats[what] for stats in happened) > 5, what
