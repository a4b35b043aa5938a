"""A whole pipeline on free ports, started and asked as its users do."""

import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import psutil

from desireline.running import DataFolder, Running

START_WITHIN_S = 90.0
# not httpx.post, which reads in all certificates each time: asked again and again, it would take a core
HTTP = httpx.Client(limits=httpx.Limits(max_keepalive_connections=0))


def until(condition: Callable[[], object], *, within_s: float, what: str) -> None:
    """Wait for a condition; fail with its name after `within_s`."""
    deadline = time.monotonic() + within_s
    while not condition():
        assert time.monotonic() < deadline, f"{what} not within {within_s:.0f} s"
        time.sleep(0.1)


def not_ended(processes: Sequence[psutil.Process]) -> list[psutil.Process]:
    """Those that have not ended, whether or not anybody has asked how."""
    return [one for one in processes if one.is_running() and one.status() != psutil.STATUS_ZOMBIE]


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

    def __init__(self, data: Path, *arguments: str, **variables: str) -> None:
        self.folder = DataFolder(data)
        servers = ("port", "collector-port", "warehouse-port", "broker-port", "worker-port")
        ports = [f"--{name}=0" for name in servers]
        self.output = Path(tempfile.mkstemp(prefix="up-", suffix=".out", dir=data.parent)[1])
        with self.output.open("ab") as output:
            self.process = subprocess.Popen(
                [sys.executable, "-P", "-m", "desireline", "up", "--data", str(data), *ports, *arguments],
                stdout=output,
                stderr=output,
                stdin=subprocess.DEVNULL,
                env=environment() | variables,
                start_new_session=True,
            )

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

    def track(self, user: str, *names: str, minutes_ago: int = 60) -> None:
        """Send events through the door, as a client would; the first so long ago, a minute between them."""
        begin = datetime.now(UTC) - timedelta(minutes=minutes_ago)
        batch = [
            {"type": "track", "event": name, "userId": user, "messageId": f"{user}-{name}",
             "timestamp": (begin + timedelta(minutes=minute)).isoformat()}
            for minute, name in enumerate(names)
        ]  # fmt: skip
        answer = HTTP.post(
            f"{self.running.urls.collector}/v1/batch",
            json={"writeKey": self.running.write_key, "batch": batch},
            timeout=10,
        )
        assert answer.status_code == 200, answer.text
        assert answer.json() == {"success": True, "accepted": len(names), "rejected": 0}

    def tracked(self, user: str, *names: str, minutes_ago: int = 60) -> bool:
        """Whether the door took them."""
        try:
            self.track(user, *names, minutes_ago=minutes_ago)
        except httpx.TransportError:
            return False
        return True

    def ask(self, sql: str) -> list[Any]:
        """The first column of the warehouse's answer."""
        server, _, database = self.running.urls.warehouse_reader.rpartition("/")
        answer = HTTP.post(
            server, params={"database": database}, content=f"{sql} format JSONCompact", timeout=10
        )
        assert answer.status_code == 200, answer.text
        return [row[0] for row in answer.json()["data"]]

    def await_answer(self, sql: str, answer: list[Any], *, within_s: float = 60) -> None:
        """Until the warehouse answers so; it may be away meanwhile."""

        def answered() -> bool:
            try:
                return self.ask(sql) == answer
            except httpx.TransportError:
                return False

        until(answered, within_s=within_s, what=f"{answer} from {sql}")

    def await_touchpoints(self, count: int, *, within_s: float = 60) -> None:
        """Until so many are in the warehouse."""
        self.await_answer("select toInt32(count()) from touchpoints", [count], within_s=within_s)

    def await_published(self) -> None:
        """Until the broker has acknowledged all that is in the spool."""
        spooled = sum(path.stat().st_size for path in self.folder.spool.glob("*.spool"))
        until(
            lambda: (self.folder.spool / "published").read_text() == str(spooled),
            within_s=30,
            what="acknowledgement",
        )
