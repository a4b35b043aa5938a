"""`desireline up`, fed through its collector: it is killed with all it started, and so is each of its parts.

The embedded broker is gone with it, and what it held is put back from the spool and the warehouse. What the
spool holds in the end is what was promised to be kept: it is reconciled, and every table compared.
"""

import random
import time
from collections.abc import Iterator
from pathlib import Path
from signal import SIGKILL

import httpx
import msgspec
import psutil

from desireline import spooled
from desireline.progress import read
from desireline.settings import Settings
from ingest.config import CollectorConfig
from models.journey_model import default_model
from models.routing import topic_of
from models.touchpoint import Clock, Correction, Element, Touchpoint
from tests.converge.catching_up import await_caught_up
from tests.converge.happenings import Happenings, Outcome
from tests.converge.looking import Looker, agree
from tests.converge.publishing import deliver
from tests.converge.traffic import END, Traffic, record
from tests.desireline.ups import HTTP, Up, desireline, until
from tests.standing import differences, judged, watermark_differences
from warehouse.connection import client

TOGETHER = 25
PARTITIONS = Settings().partitions
SETTINGS = {
    "DESIRELINE_LIVE": "false",
    "DESIRELINE_CACHE_HORIZON_MS": str(20 * 365 * 24 * 3_600_000),  # all of the past is put back
}
VICTIMS = ("up", "worker", "broker", "warehouse", "up", "collector", "republisher", "up")
PATIENCE_S = 180.0


class Pipeline:
    """A running `up`, and another one on the same folder when it was killed."""

    def __init__(self, data: Path, happenings: Happenings) -> None:
        self._data = data
        self._happenings = happenings
        self.up = self._start()
        self.looker = Looker(self._warehouse, default_model().phases)
        self.looker.start()

    def _start(self) -> Up:
        return Up(self._data, **SETTINGS).await_ready()

    @property
    def _warehouse(self) -> str:
        return self.up.running.urls.warehouse.rpartition("/")[0].replace("default@", "")

    def kill(self, victim: str) -> None:
        """Kill the supervisor, with which all ends, or one of its children, which it starts again."""
        if victim != "up":
            self._kill_child(victim)
            self._happenings.note(f"up's {victim}", "killed")
            return
        children = self.up.processes()
        self.up.end(SIGKILL)
        psutil.wait_procs(children, timeout=20)
        self._happenings.note(
            "up", "killed", f"with {len(children)} processes, the broker's memory among them"
        )
        self.up = self._start()
        self.looker.url = self._warehouse

    def _kill_child(self, victim: str, within_s: float = 60.0) -> None:
        """Kill the child that runs; one that has just ended is awaited until the supervisor has started it again."""
        deadline = time.monotonic() + within_s
        while True:
            try:
                psutil.Process(self.up.pid(victim)).kill()
                return
            except psutil.NoSuchProcess:
                if time.monotonic() > deadline:
                    raise
                time.sleep(0.1)

    def send(self, body: bytes) -> int:
        """Send a body until it was answered 200; how often it was sent in vain."""
        for again in range(600):
            try:
                running = self.up.running
                answer = HTTP.post(
                    f"{running.urls.collector}/v1/touchpoints",
                    content=body,
                    headers={
                        "authorization": f"Bearer {running.write_key}",
                        "content-type": "application/json",
                    },
                    timeout=10,
                )
                if answer.status_code == 200:
                    return again
            except httpx.TransportError:
                pass
            time.sleep(0.2)
        raise TimeoutError("the collector takes nothing")

    def end(self) -> None:
        """End it and all it started."""
        left = self.up.processes()
        self.up.end(SIGKILL)
        for process in left:
            if process.is_running():
                process.kill()


def run(folder: Path, seed: int, customers: int, happenings: Happenings) -> Outcome:
    """One run. NotCaughtUp, AssertionError if it does not start."""
    model = default_model()
    rng = random.Random(seed + 3)
    data = folder / "up"
    bodies = list(_bodies(Traffic(seed + 3, customers)))
    victims = rng.sample(VICTIMS, k=len(VICTIMS))
    kill_at = dict(zip(rng.sample(range(1, len(bodies)), k=len(victims)), victims, strict=True))
    pipeline = Pipeline(data, happenings)
    try:
        for number, body in enumerate(bodies):
            if number in kill_at:
                pipeline.kill(kill_at[number])
            happenings.count("body", "sent to the collector again", pipeline.send(body))
            happenings.count("body", "sent to the collector")
        up = pipeline.up
        until(
            lambda: (done := read(up.folder)) and done.finished_at, within_s=PATIENCE_S, what="all put back"
        )
        balance = desireline("reconcile", "--data", data, "--wait", "120", timeout_s=PATIENCE_S)
        happenings.say(f"reconcile: {balance.stdout.strip().splitlines()[-1] if balance.stdout else ''}")
        wrong = [] if balance.returncode == 0 else [f"reconcile: {balance.stdout}{balance.stderr}"]
        broker = up.running.urls.broker
        deliver(
            broker,
            [
                record(topic_of("web"), partition, [Clock(at=END, source="converge")])
                for partition in range(PARTITIONS)
            ],
        )
        await_caught_up(broker, happenings, lambda: None)
        pipeline.looker.stop()
        agree(pipeline.looker)
        pipeline.looker.count(happenings)
        wrong += pipeline.looker.wrong
        elements = _spooled(up.folder.spool)
        with client(up.running.urls.warehouse) as connected:
            wrong += map(str, differences(connected, judged(elements, END, model), model))
            wrong += map(str, watermark_differences(connected, PARTITIONS, END))
    finally:
        pipeline.end()
    return Outcome(
        [f"up: {one}" for one in wrong], len({e.id for e in elements if isinstance(e, Touchpoint)})
    )


def _bodies(traffic: Traffic) -> Iterator[bytes]:
    """As sources send: no corrections, and a touchpoint sent again has the same identifiers and time.

    What stood only on a copy that does not count is lost with the embedded broker's memory, since the
    warehouse, from which it is filled again, keeps the copy that counts.
    """
    first: dict[str, Touchpoint] = {}
    elements: list[Element] = []
    for element in traffic.elements:
        if isinstance(element, Touchpoint):
            known = first.setdefault(element.id, element)
            element = msgspec.structs.replace(
                element, identifiers=known.identifiers, occurred_at=known.occurred_at
            )
        if not isinstance(element, Correction):
            elements.append(element)
    traffic.elements = elements
    arriving = traffic.arriving()
    for start in range(0, len(arriving), TOGETHER):
        yield msgspec.json.encode(arriving[start : start + TOGETHER])


def _spooled(spool: Path) -> list[Element]:
    """All that was answered 200, as it was taken."""
    config = CollectorConfig(spool_dir=str(spool), bootstrap_servers="", model=default_model())
    return [element for batch in spooled.batches(config, 0) for element in batch.elements]
