"""A whole pipeline on free ports, started as its users start it."""

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest

from desireline.running import DataFolder, Running

START_WITHIN_S = 90.0


def until(condition: Callable[[], object], *, within_s: float, what: str) -> None:
    """Wait for a condition; fail with its name after `within_s`."""
    deadline = time.monotonic() + within_s
    while not condition():
        assert time.monotonic() < deadline, f"{what} not within {within_s:.0f} s"
        time.sleep(0.1)


def environment() -> dict[str, str]:
    return {key: value for key, value in os.environ.items() if not key.startswith("DESIRELINE_")}


def desireline(*arguments: str | Path, timeout_s: float = 120) -> subprocess.CompletedProcess[str]:
    """Run one command to its end."""
    return subprocess.run(
        [sys.executable, "-P", "-m", "desireline", *map(str, arguments)],
        capture_output=True, text=True, timeout=timeout_s, env=environment(),
    )  # fmt: skip


class Up:
    """A running `desireline up` on free ports."""

    def __init__(self, data: Path, *arguments: str) -> None:
        self.folder = DataFolder(data)
        ports = [
            f"--{name}=0"
            for name in ("port", "collector-port", "warehouse-port", "broker-port", "worker-port")
        ]
        self.output = data.parent / f"{data.name}.out"
        with self.output.open("ab") as output:
            self.process = subprocess.Popen(
                [sys.executable, "-P", "-m", "desireline", "up", "--data", str(data), *ports, *arguments],
                stdout=output, stderr=output, stdin=subprocess.DEVNULL, env=environment(), start_new_session=True,
            )  # fmt: skip

    @property
    def running(self) -> Running:
        running = self.folder.running()
        assert running
        return running

    @property
    def said(self) -> str:
        return self.output.read_text()

    def await_ready(self) -> "Up":
        until(
            lambda: "Ctrl-C ends it" in self.said or self.process.poll() is not None,
            within_s=START_WITHIN_S,
            what="everything ready",
        )
        assert self.process.poll() is None, self.said
        return self

    def pid(self, name: str) -> int:
        return next(child.pid for child in self.running.children if child.name == name)

    def processes(self) -> list[psutil.Process]:
        """The supervisor's children and theirs."""
        return psutil.Process(self.process.pid).children(recursive=True)

    def end(self, how: signal.Signals = signal.SIGINT, *, within_s: float = 60) -> int:
        self.process.send_signal(how)
        return self.process.wait(timeout=within_s)


@pytest.fixture
def up(tmp_path: Path) -> Iterator[Callable[..., Up]]:
    """Starts pipelines; whatever the test leaves is ended."""
    started: list[Up] = []

    def start(*arguments: str, data: Path = tmp_path / "data") -> Up:
        started.append(Up(data, *arguments))
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
