"""From the collector's door to the warehouse: a steady stream of live customers through everything at once.

Bodies are made before; then each call is sent in the second in which it arrives, for two minutes. Beside them,
some times a second, goes a probe, and the warehouse is asked twice a second which probes it can tell of.
"""

import asyncio
import base64
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import aiohttp
import msgspec
import numpy as np
import psutil
from sqlalchemy import Engine, text

from benchmarks.figures import Figure
from benchmarks.programs import BenchmarkError
from desireline.reconcile import reconcile
from desireline.running import DataFolder, Running
from desireline.settings import Settings
from desireline.supervisor import Supervisor
from ingest.simulation.sender import Arrival
from ingest.simulation.world import STRIPE
from ingest.simulator import arrivals, live_traffic
from warehouse import connect

SECONDS = 120
CALLS_PER_SECOND = 5_600  # of a hundred 92 are touchpoints, the others say who somebody is
BATCH_CALLS = 100
PROBE_EVERY_S = 0.2
PATIENCE_S = 300.0
_ASK_EVERY_S = 0.5
_CLOCK_S = 2  # a probe says when it was made in whole seconds
_SLICE_MS = 100
_AHEAD_S = 110
_RAMP_MS = 180_000  # of customers who were there already


def measure() -> list[Figure]:
    """Touchpoints per second that were accepted and loaded, and how long each took."""
    with tempfile.TemporaryDirectory(prefix="desireline-bench-") as folder:
        settings = Settings(
            data_dir=folder,
            dashboards_port=0,
            collector_port=0,
            warehouse_port=0,
            broker_port=0,
            worker_port=0,
        )
        slices = _slices(begin := time.time_ns() // 1_000_000 + 1000 * _AHEAD_S)
        with Supervisor(settings, say=lambda _: None) as supervisor:
            connection = connect(supervisor.running.urls.warehouse_reader)
            probes = Probes(connection)
            time.sleep(max(0.0, begin / 1000 - time.time()))
            begun, used, machine = time.monotonic(), _cpu_seconds(supervisor.folder), psutil.cpu_times()
            asyncio.run(_send(supervisor.running, slices, probes))
            sent_s = time.monotonic() - begun
            idle = _idle_share(machine, psutil.cpu_times())
            waits = probes.answered(PATIENCE_S)
            drained_s = time.monotonic() - begun - sent_s
            used = {name: now - used[name] for name, now in _cpu_seconds(supervisor.folder).items()}
            balance = reconcile(connection, DataFolder(Path(folder)).spool, patience_s=int(PATIENCE_S))
            if not balance.holds:
                raise BenchmarkError(f"not everything arrived: {balance.sentence}")
            with connection.connect() as asking:
                accepted = int(asking.execute(text("select count() from touchpoints")).scalar_one())
            connection.dispose()
    return [
        Figure(
            "end_to_end", accepted / sent_s, "touchpoints/s", f"accepted for {sent_s:.0f} s, all of it loaded"
        ),
        Figure(
            "end_to_end_sustained",
            accepted / (sent_s + drained_s),
            "touchpoints/s",
            "from the first call until all was queryable; to be 5,000",
        ),
        Figure("end_to_end_p50", float(np.percentile(waits, 50)), "s", "from accepted to queryable"),
        Figure("end_to_end_p99", float(np.percentile(waits, 99)), "s", f"of {len(waits)} probes"),
        Figure("end_to_end_drained", drained_s, "s", "from the last answer until all was queryable"),
        *(
            Figure(f"end_to_end_cpu_{name}", 1e6 * seconds / accepted, "µs/touchpoint")
            for name, seconds in used.items()
        ),
        Figure("end_to_end_idle", 100 * idle, "%", "of the machine's time while touchpoints were sent"),
    ]


def _idle_share(before: Any, after: Any) -> float:
    """How much of the time between two readings of the machine's clock nobody used, or waited for a disk."""
    passed = [now - then for then, now in zip(before, after, strict=True)]
    guests = after.guest + after.guest_nice - before.guest - before.guest_nice  # user time has them, too
    return (after.idle + after.iowait - before.idle - before.iowait) / (sum(passed) - guests)


def _cpu_seconds(folder: DataFolder) -> dict[str, float]:
    """User and system time of each part, and of the processes that it started."""
    used: dict[str, float] = {}
    running = folder.running()
    for child in running.children if running else ():
        if (process := child.process()) is not None:
            times = [one.cpu_times() for one in (process, *process.children(recursive=True))]
            used[child.name] = sum(one.user + one.system for one in times)
    return used


class Probes:
    """Touchpoints whose way is timed."""

    def __init__(self, connection: Engine) -> None:
        self._connection = connection
        self._made: dict[str, float] = {}
        self._accepted: dict[str, float] = {}
        self._waits: dict[str, float] = {}
        self._ended = threading.Event()
        self._asking = threading.Thread(target=self._ask, daemon=True)
        self._asking.start()

    def made(self, message_id: str) -> None:
        """It is being sent."""
        self._made[message_id] = time.monotonic()

    def accepted(self, message_id: str) -> None:
        """The collector has answered 200 to it just now."""
        self._accepted[message_id] = time.monotonic()

    def answered(self, within_s: float) -> list[float]:
        """Seconds from accepted to queryable, of all. BenchmarkError if some are not to be had."""
        deadline = time.monotonic() + within_s
        while len(self._waits) < len(self._accepted):
            if time.monotonic() > deadline:
                raise BenchmarkError(f"{len(self._accepted) - len(self._waits)} probes were never queryable")
            time.sleep(0.1)
        self._ended.set()
        self._asking.join()
        return list(self._waits.values())

    def _ask(self) -> None:
        # narrowed to the time from which something is awaited: most of the day's rows are passed over
        asked = text(
            "select distinct source_event_id from touchpoint_rows where occurred_on >= today() - 1"
            " and occurred_at > now64(3) - interval :seconds second"
            " and type = 'feature_used' and startsWith(source_event_id, 'probe-')"
        )
        while not self._ended.wait(_ASK_EVERY_S):
            awaited = [self._made[name] for name in list(self._accepted) if name not in self._waits]
            if not awaited:
                continue
            seconds = time.monotonic() - min(awaited) + _CLOCK_S
            with self._connection.connect() as connection:
                found = [row[0] for row in connection.execute(asked, {"seconds": int(seconds)})]
            now = time.monotonic()
            for message_id in found:
                if message_id not in self._waits and (at := self._accepted.get(message_id)) is not None:
                    self._waits[message_id] = now - at


def _slices(begin: int) -> list[list[bytes]]:
    """Bodies of batches, by the tenth of a second from `begin` (UTC ms) on in which they are sent."""
    calls = arrivals(live_traffic(CALLS_PER_SECOND * 1.13, now=begin, backlog_ms=_RAMP_MS))
    slices: list[list[bytes]] = []
    due: list[dict[str, Any]] = []
    per_slice = CALLS_PER_SECOND * _SLICE_MS // 1000
    for call in _of_segment(calls, begin):
        due.append(call.call)
        if len(due) == per_slice:
            slices.append([_body(due[i : i + BATCH_CALLS]) for i in range(0, per_slice, BATCH_CALLS)])
            due = []
            if len(slices) == SECONDS * 1000 // _SLICE_MS:
                break
    return slices


def _of_segment(calls: Iterator[Arrival], since: int) -> Iterator[Arrival]:
    return (call for call in calls if call.door != STRIPE and call.arrives_at >= since)


def _body(calls: Sequence[dict[str, Any]]) -> bytes:
    return msgspec.json.encode({"batch": calls})


async def _send(running: Running, slices: Sequence[Sequence[bytes]], probes: Probes) -> None:
    """Send each slice in its tenth of a second."""
    key = base64.b64encode(f"{running.write_key}:".encode()).decode()
    headers = {"Authorization": f"Basic {key}", "Content-Type": "application/json"}
    url = f"{running.urls.collector}/v1/batch"

    async def post(client: aiohttp.ClientSession, body: bytes) -> None:
        async with client.post(url, data=body) as answer:
            said = await answer.json()
            if answer.status != 200 or said["rejected"]:
                raise BenchmarkError(f"the collector answered {answer.status}: {said}")

    async def probe(client: aiohttp.ClientSession, number: int) -> None:
        call = {
            "type": "track",
            "event": "feature_used",
            "messageId": f"probe-{number}",
            "userId": f"prober-{number}",
            "timestamp": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        }
        probes.made(f"probe-{number}")
        await post(client, _body([call]))
        probes.accepted(f"probe-{number}")

    timeout = aiohttp.ClientTimeout(total=60)
    async with (
        aiohttp.ClientSession(headers=headers, timeout=timeout) as client,
        asyncio.TaskGroup() as tasks,
    ):
        begun, probed = time.monotonic(), 0
        for number, bodies in enumerate(slices):
            await asyncio.sleep(max(0.0, begun + number * _SLICE_MS / 1000 - time.monotonic()))
            for body in bodies:
                tasks.create_task(post(client, body))
            while probed * PROBE_EVERY_S <= number * _SLICE_MS / 1000:
                tasks.create_task(probe(client, probed))
                probed += 1
