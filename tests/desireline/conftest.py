"""Pipelines of one test."""

import contextlib
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest

from tests.desireline.ups import Up


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
