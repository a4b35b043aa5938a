"""Processes that live no longer than the one that started them, and no process left behind."""

import contextlib
import ctypes
import os
import signal
import sys
import time
from collections.abc import Iterable, Sequence

import psutil

_PR_SET_PDEATHSIG = 1
_LOOK_EVERY_S = 0.02


def command(*arguments: str) -> list[str]:
    """The command line of a child of this process.

    `-P`: without it a `models.py` in the user's folder would be imported instead of ours.
    """
    return [sys.executable, "-P", "-m", "desireline", "--parent", str(os.getpid()), *arguments]


def end_with(parent: int) -> None:
    """From now on the system kills this process as soon as `parent` is gone, however that ended.

    Kept over `exec`. SIGKILL, since whatever runs under `up` must stand being killed anyway, and a clean end
    could wait for ever for a part that was killed at the same moment. On systems other than Linux nothing
    happens: there the next `up` ends what was left behind.
    """
    if sys.platform == "linux":
        ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:  # it ended before we asked
        sys.exit(1)


def end(processes: Iterable[psutil.Process], *, patience_s: float) -> None:
    """SIGTERM, and after `patience_s` SIGKILL, for the processes and all that they started."""
    family = [member for process in processes for member in _family(process)]
    for member in family:
        _send(member, signal.SIGTERM)
    for member in (alive := _left(family, after_s=patience_s)):
        _send(member, signal.SIGKILL)
    _left(alive, after_s=5)


def _left(processes: Sequence[psutil.Process], *, after_s: float) -> Sequence[psutil.Process]:
    """Those that have not ended after so long."""
    deadline = time.monotonic() + after_s
    while True:
        _, there = psutil.wait_procs(processes, timeout=0)
        left = [process for process in there if not _waits_to_be_forgotten(process)]
        if not left or time.monotonic() > deadline:
            return left
        time.sleep(_LOOK_EVERY_S)


def _waits_to_be_forgotten(process: psutil.Process) -> bool:
    """Whether it has ended, and its parent has not asked how: in a container perhaps nobody ever does."""
    try:
        return bool(process.status() == psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return True


def _family(process: psutil.Process) -> Sequence[psutil.Process]:
    try:
        return [process, *process.children(recursive=True)]
    except psutil.NoSuchProcess:
        return []


def _send(process: psutil.Process, what: signal.Signals) -> None:
    with contextlib.suppress(psutil.NoSuchProcess):
        process.send_signal(what)  # psutil checks that the pid was not used again


def environment() -> dict[str, str]:
    """This process's environment without our own variables: a child is told all its settings by us."""
    return {key: value for key, value in os.environ.items() if not key.startswith("DESIRELINE_")}
