"""Pipelines of one test, and a warehouse that holds something."""

import contextlib
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest

from tests.desireline.ups import Up
from tests.simulated import simulated
from warehouse.connection import client
from warehouse.embedded import EmbeddedWarehouse
from warehouse.migrations import migrate
from warehouse.writer import Writer


@pytest.fixture
def up(tmp_path: Path) -> Iterator[Callable[..., Up]]:
    """Starts pipelines; whatever the test leaves is ended."""
    started: list[Up] = []

    def start(*arguments: str, data: Path = tmp_path / "data", **variables: str) -> Up:
        started.append(Up(data, *arguments, **variables))
        return started[-1]

    yield start
    for one in started:
        left = []
        with contextlib.suppress(psutil.NoSuchProcess):
            left = one.processes()
        one.process.kill()
        one.process.wait()
        for process in left:
            with contextlib.suppress(psutil.NoSuchProcess):
                process.kill()


@pytest.fixture(scope="module")
def filled() -> Iterator[str]:
    """URL of a warehouse with some simulated customers."""
    with EmbeddedWarehouse() as running:
        migrate(running.url)
        with client(running.url) as writing:
            Writer(writing).write(simulated(40, seed=3), "simulated")
        yield running.url
