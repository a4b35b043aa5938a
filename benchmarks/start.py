"""How long people wait after `desireline up` on a folder with ten million touchpoints.

The folder is made first and kept, in BENCH_START_FOLDER or beside other temporary files: that takes ten
minutes, and each start one or two. All waits are from the start of the command; everybody asks at once.
"""

import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import uuid4

import httpx
from clickhouse_connect.driver.client import Client
from playwright.sync_api import sync_playwright

from benchmarks import large_folder
from benchmarks.figures import Figure
from benchmarks.programs import BenchmarkError
from desireline import progress
from desireline.running import DataFolder, Running
from warehouse.connection import client

TOUCHPOINTS = int(os.environ.get("BENCH_START_TOUCHPOINTS", "10000000"))
_PLACE = Path(os.environ.get("BENCH_START_FOLDER", Path(tempfile.gettempdir()) / "desireline-bench-start"))
_WITHIN_S = 600.0
_LOOK_EVERY_S = 0.2  # often enough, and no load of its own
_PORTS = ("port", "collector-port", "warehouse-port", "broker-port", "worker-port")
# not httpx.get, which reads in all certificates each time: nine who ask would take a core
_HTTP = httpx.Client(timeout=_WITHIN_S, limits=httpx.Limits(max_keepalive_connections=0))
_BROWSERS = ("chromium", "google-chrome")


def measure() -> list[Figure]:
    """Seconds from the start until each thing that people wait for."""
    touchpoints = large_folder.made(_PLACE, TOUCHPOINTS)
    with _up(_PLACE) as start, ThreadPoolExecutor(len(MEANINGS)) as waiting:
        asked = {what: waiting.submit(start.wait, what, condition) for what, condition in start.conditions()}
        waits = {what: future.result() for what, future in asked.items()}
    return [
        Figure(f"start_{name}_s", waits[name], "s", f"{meaning}, {touchpoints:,} touchpoints there")
        for name, meaning in MEANINGS.items()
    ]


MEANINGS = {
    "warehouse": "the warehouse answers",
    "collector": "the collector answers",
    "worker": "the worker is ready",
    "page": "the frame of the page",
    "numbers": "numbers on the page, in a browser",
    "summary": "first answer of /api/summary",
    "map": "first answer of /api/map for 30 days",
    "touchpoint": "a new touchpoint is in the warehouse",
    "put_back": "the first household is put back",
}


class _Start:
    """An `up` that has just been started, and what is waited for."""

    def __init__(self, folder: Path, process: "subprocess.Popen[bytes]", begun: float) -> None:
        self._folder = DataFolder(folder)
        self._process = process
        self._begun = begun
        self._probe = f"bench-{uuid4()}"
        self._posted = False
        self._asking: Client | None = None

    def wait(self, what: str, condition: Callable[[], object]) -> float:
        """Seconds from the start until a condition holds. BenchmarkError if that takes for ever."""
        while not self._holds(condition):
            waited = time.monotonic() - self._begun
            if waited > _WITHIN_S or self._process.poll() is not None:
                raise BenchmarkError(f"{what}: not within {waited:.0f} s of the start")
            time.sleep(_LOOK_EVERY_S)
        return time.monotonic() - self._begun

    def conditions(self) -> Iterator[tuple[str, Callable[[], object]]]:
        """What is waited for."""
        month = (datetime.now(UTC) - timedelta(days=30)).isoformat()
        yield "warehouse", lambda: self._get(self._running.urls.warehouse.rpartition("/")[0], "/ping")
        yield "collector", lambda: self._get(self._running.urls.collector, "/healthz")
        yield "worker", lambda: self._get(str(self._running.urls.worker), "/readyz")
        yield "page", lambda: self._get(self._running.urls.pages, "/")
        yield "numbers", self._numbers_shown
        yield "summary", lambda: self._get(self._running.urls.pages, "/api/summary")
        yield "map", lambda: self._get(self._running.urls.pages, "/api/map", **{"from": month})
        yield "touchpoint", self._touchpoint_loaded
        yield "put_back", lambda: (said := progress.read(self._folder)) is not None and said.put_back

    @property
    def _running(self) -> Running:
        running = self._folder.alive()
        if running is None:
            raise FileNotFoundError("nothing runs yet")
        return running

    def _holds(self, condition: Callable[[], object]) -> bool:
        try:
            return bool(condition())
        except (httpx.TransportError, FileNotFoundError):
            return False

    def _get(self, server: str, path: str, **parameters: str) -> bool:
        return _HTTP.get(f"{server}{path}", params=parameters).status_code == 200

    def _numbers_shown(self) -> bool:
        if not self._get(self._running.urls.pages, "/"):
            return False
        with sync_playwright() as playwright:
            path = os.environ.get("DESIRELINE_BROWSER") or next(
                filter(None, map(shutil.which, _BROWSERS)), None
            )
            browser = playwright.chromium.launch(executable_path=path, args=["--no-sandbox", "--disable-gpu"])
            page = browser.new_page()
            page.goto(self._running.urls.pages, timeout=1000 * _WITHIN_S)
            page.wait_for_selector("#tile-touchpoints", timeout=1000 * _WITHIN_S)
            browser.close()
        return True

    def _touchpoint_loaded(self) -> bool:
        if not self._posted:
            self._post()
        if self._asking is None:
            self._asking = client(self._running.urls.warehouse_reader)
        asked = (
            "select count() from touchpoint_rows"
            " where occurred_on >= today() - 1 and source_event_id = {id:String}"
        )
        return bool(self._asking.query(asked, parameters={"id": self._probe}).result_rows[0][0])

    def _post(self) -> None:
        running = self._running
        now = datetime.now(UTC).isoformat()
        call: dict[str, Any] = {"type": "track", "event": "Product Viewed", "userId": self._probe}
        call |= {"messageId": self._probe, "timestamp": now}
        answer = _HTTP.post(
            f"{running.urls.collector}/v1/batch", json={"writeKey": running.write_key, "batch": [call]}
        )
        self._posted = answer.status_code == 200


@contextmanager
def _up(folder: Path) -> Iterator[_Start]:
    """`desireline up` on a folder, on free ports, ended with the block."""
    DataFolder(folder).progress.unlink(missing_ok=True)
    command = [sys.executable, "-P", "-m", "desireline", "up", "--data", str(folder)]
    command += [f"--{name}=0" for name in _PORTS]
    environment = {name: value for name, value in os.environ.items() if not name.startswith("DESIRELINE_")}
    with (folder / "up.out").open("ab") as output:
        begun = time.monotonic()
        process = subprocess.Popen(
            command, stdout=output, stderr=output, start_new_session=True, env=environment
        )
    try:
        yield _Start(folder, process, begun)
    finally:
        process.send_signal(signal.SIGINT)
        process.wait(timeout=120)
