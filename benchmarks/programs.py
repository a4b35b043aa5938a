"""Programs that are measured run as processes of their own."""

import os
import re
import select
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil

from models.errors import DesirelineError


class BenchmarkError(DesirelineError):
    """A part did not do its work, so there is nothing to measure."""


@contextmanager
def program(name: str, *arguments: object) -> Iterator[subprocess.Popen[str]]:
    """A module of this package, as a process that is ended at the latest with the block."""
    command = [sys.executable, "-m", f"benchmarks.{name}", *map(str, arguments)]
    root = str(Path(__file__).parent.parent)
    process = subprocess.Popen(
        command, stdout=subprocess.PIPE, text=True, cwd=root, env={**os.environ, "PYTHONPATH": root}
    )
    try:
        yield process
    finally:
        process.terminate()
        try:
            process.communicate(timeout=10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.communicate()


def rate_of(process: subprocess.Popen[str], within_s: float) -> float:
    """The number in the first line, `rate NUMBER`. BenchmarkError if it ends or waits instead."""
    assert process.stdout is not None
    ready, _, _ = select.select([process.stdout], [], [], within_s)
    line = process.stdout.readline() if ready else ""
    if (found := re.search(r"rate ([\d.]+)", line)) is None:
        raise BenchmarkError(f"{process.args!r} did not say its rate within {within_s:g} s: {line!r}")
    return float(found[1])


def cpu_seconds(process: subprocess.Popen[str]) -> float:
    """User and system time that it has used."""
    times = psutil.Process(process.pid).cpu_times()
    return times.user + times.system


def free_port() -> int:
    """A port of loopback that is free just now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
