"""Worker processes as a supervisor keeps them: started by environment settings, started again when they end."""

import os
import re
import signal
import subprocess
import sys
from pathlib import Path

from tests.converge.happenings import Happenings

ROOT = Path(__file__).parents[2]
SESSION_TIMEOUT_S = 6
REBALANCE_TIMEOUT_S = 3
ENDING_S = 15


class Workers:
    """`desireline worker`, up to as many as there are numbers; each has a data folder and a log of its own."""

    def __init__(self, folder: Path, settings: dict[str, str], happenings: Happenings) -> None:
        self._folder = folder
        self._settings = settings
        self._happenings = happenings
        self._running: dict[int, subprocess.Popen[bytes]] = {}
        self.frozen: set[int] = set()

    @property
    def numbers(self) -> list[int]:
        """Those that are wanted, frozen ones included."""
        return sorted(self._running)

    def start(self, number: int) -> None:
        """Start one that does not run."""
        environment = {key: value for key, value in os.environ.items() if not key.startswith("DESIRELINE_")}
        environment |= self._settings | {"DESIRELINE_DATA_DIR": str(self._folder / f"worker-{number}")}
        with self._log(number).open("ab") as log:
            self._running[number] = subprocess.Popen(
                [sys.executable, "-P", "-m", "desireline", "worker"],
                stdin=subprocess.DEVNULL, stdout=log, stderr=log, env=environment, cwd=ROOT,
            )  # fmt: skip

    def kill(self, number: int) -> None:
        """As if its machine had lost power."""
        process = self._running.pop(number)
        self.frozen.discard(number)
        process.kill()
        process.wait()

    def leave(self, number: int) -> None:
        """It ends as it is asked to, and says so to the group."""
        process = self._running.pop(number)
        process.terminate()
        try:
            process.wait(timeout=ENDING_S)
        except subprocess.TimeoutExpired:
            self._happenings.note("worker", "did not end when asked to", f"worker {number}")
            process.kill()
            process.wait()

    def freeze(self, number: int) -> None:
        """It stands still and does not know it."""
        self._running[number].send_signal(signal.SIGSTOP)
        self.frozen.add(number)

    def thaw(self, number: int) -> None:
        """It goes on, and does not know that others have its partitions."""
        if number in self.frozen:
            self.frozen.discard(number)
            self._running[number].send_signal(signal.SIGCONT)

    def tend(self) -> None:
        """Start those again that ended by themselves, which is what they do when going on would do harm."""
        for number, process in list(self._running.items()):
            if number not in self.frozen and (code := process.poll()) is not None:
                self._happenings.note("worker", "ended by itself", f"code {code}: {self.last_error(number)}")
                self.start(number)

    def end(self) -> None:
        """End all."""
        for number in self.numbers:
            self.kill(number)

    def last_error(self, number: int) -> str:
        """The last line of its log that speaks of an error."""
        lines = self._log(number).read_text(errors="replace").splitlines()
        told = [line for line in lines[-200:] if re.search(r"ERROR|Error:|failed", line)]
        return (told or lines or ["nothing was said"])[-1][:300]

    def _log(self, number: int) -> Path:
        return self._folder / f"worker-{number}.log"
