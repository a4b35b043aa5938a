"""A part of `up`: one child process, how it is started, when it is ready, and what became of it."""

import contextlib
import logging
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil

from desireline import children
from desireline.errors import UpError
from desireline.running import Child
from desireline.settings import Settings, as_environment

log = logging.getLogger(__name__)

_BACKOFF_S = (0.2, 0.5, 1, 2, 5, 10, 30)  # before a restart; from the first again after a minute of health
_HEALTHY_S = 60.0


class Part:
    """One child, which appends what it says to `log_file`. `ready`: whether it can do its work by now."""

    def __init__(
        self,
        name: str,
        *arguments: str,
        log_file: Path,
        ready: Callable[[], bool] = lambda: True,
        patience_s: float = 60,
    ) -> None:
        self.name = name
        self.child: Child | None = None
        self.restart_at: float | None = None  # by the monotonic clock
        self._arguments = arguments
        self._log_file = log_file
        self._ready = ready
        self._patience_s = patience_s
        self._process: subprocess.Popen[bytes] | None = None
        self._started_at = 0.0
        self._failures = 0

    @property
    def alive(self) -> bool:
        """Whether it was started and has not ended."""
        return self._process is not None and self._process.poll() is None

    @property
    def process(self) -> psutil.Process | None:
        """Its process, if there is one."""
        return self.child.process() if self.child else None

    def spawn(self, settings: Settings) -> None:
        """Start it."""
        with self._log_file.open("ab") as output:
            self._process = subprocess.Popen(  # noqa: S603  our own command line
                children.command(*self._arguments),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                env={**children.environment(), **as_environment(settings)},
                start_new_session=True,  # Ctrl-C reaches `up` alone, which ends them in order
            )
        self.child = Child.of(self.name, self._process.pid)
        self._started_at = time.monotonic()
        self.restart_at = None

    def await_ready(self, stopping: threading.Event) -> None:
        """Wait until it is ready, or until all is stopping. UpError if it ends, or takes too long."""
        deadline = self._started_at + self._patience_s
        remedy = f'"{self._log_file}" says more.'
        while not self._ready():
            if stopping.is_set():
                return
            if not self.alive:
                raise UpError(f"the {self.name} ended while starting{self._last_words()}", remedy=remedy)
            if time.monotonic() > deadline:
                raise UpError(f"the {self.name} is not ready after {self._patience_s:.0f} s", remedy=remedy)
            time.sleep(0.05)
        log.info("%s is ready after %.1f s", self.name, time.monotonic() - self._started_at)

    def ended(self) -> None:
        """It was told to end, and has."""
        if self._process is not None:
            self._process.wait()
        self.child, self.restart_at = None, None

    def plan_restart(self) -> str:
        """It failed, and is to be started again at `restart_at`, later each time; how it ended."""
        lived = time.monotonic() - self._started_at
        self._failures = 1 if lived > _HEALTHY_S else self._failures + 1
        self.restart_at = time.monotonic() + _BACKOFF_S[min(self._failures, len(_BACKOFF_S)) - 1]
        code = self._process.returncode if self._process else None
        if code and code < 0:
            return f"was killed by signal {-code}"
        return f"ended with code {code}{self._last_words()}"

    @contextlib.contextmanager
    def paused(self) -> Iterator[None]:
        """Hold it still."""
        process = self.process
        if process:
            process.suspend()
        try:
            yield
        finally:
            if process and process.is_running():
                process.resume()

    def _last_words(self) -> str:
        lines = self._log_file.read_text(errors="replace").strip().splitlines()
        return f": {lines[-1].strip().rstrip('.')[:300]}" if lines else ""
