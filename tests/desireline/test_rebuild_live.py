"""A rebuild beside live traffic: nothing is lost, and until it is done what stood is what is read."""

import re
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from clickhouse_connect.driver.client import Client

from models.journey_model import load_model, template
from tests.desireline.standing import differences, load_batch, standing
from tests.desireline.ups import Up, desireline, environment, until
from warehouse.connection import client
from warehouse.embedded import EmbeddedWarehouse
from warehouse.migrations import migrate
from warehouse.put_back import pasts

# under the new model every cart of an hour ago was abandoned, which under the old one is open for a day
NEW_TEXT = re.sub(r"\bAwareness\b", "Discovery", template("default")).replace("24h,", "10m,")
NEW = load_model(NEW_TEXT, where="new.yaml")
STORY = ("Hello", "Product Viewed", "Product Added")


class Traffic:
    """Customers who come one after the other, until it is stopped."""

    def __init__(self, up: Up) -> None:
        self.accepted = 0
        self._up = up
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run)

    def _run(self) -> None:
        number = 0
        while not self._stop.wait(0.1):
            number += 1
            if number % 2:  # somebody known from before
                names = (f"Hello {number}", f"Hello again {number}")
                self.accepted += len(names) * self._up.tracked(f"u{number % 20}", *names)
            else:
                self.accepted += len(STORY) * self._up.tracked(f"v{number}", *STORY)

    @contextmanager
    def flowing(self) -> Iterator[None]:
        self._thread.start()
        try:
            yield
        finally:
            self._stop.set()
            self._thread.join()


def test_a_changed_model_is_applied_while_touchpoints_arrive(up: Callable[..., Up], tmp_path: Path) -> None:
    running = up().await_ready()
    for person in range(40):
        running.track(f"u{person}", *STORY)
    running.await_touchpoints(120)
    file = tmp_path / "new.yaml"
    file.write_text(NEW_TEXT)
    traffic, read = Traffic(running), []
    with traffic.flowing(), (tmp_path / "rebuild.out").open("wb") as output:
        rebuild = subprocess.Popen(
            [sys.executable, "-P", "-m", "desireline", "rebuild", "--model", str(file),
             "--data", str(tmp_path / "data")],
            env=environment(), stdout=output, stderr=output,
        )  # fmt: skip
        while rebuild.poll() is None:
            read.append(set(running.ask("select distinct phase from touchpoints")))
    assert rebuild.returncode == 0, (tmp_path / "rebuild.out").read_text()
    assert traffic.accepted > 0
    assert "Awareness" in read[0]
    assert "Discovery" in read[-1]
    assert not [phases for phases in read if {"Awareness", "Discovery"} <= phases]
    running.await_touchpoints(120 + traffic.accepted)
    assert "journey model 2 is current now" in running.said

    with client(running.running.urls.warehouse) as live, EmbeddedWarehouse() as other:
        migrate(other.url)
        with client(other.url) as batch:

            def equal() -> bool:
                load_batch(batch, (one.elements for one in pasts(live, 0)), watermark(live), NEW)
                return not differences(standing(live), standing(batch))

            until(
                equal, within_s=90, what=f"what a batch gives: {differences(standing(live), standing(batch))}"
            )
            ended = live.query("select countIf(outcome = 'abandoned'), count() from attempts").result_rows[0]
            assert ended[0] == ended[1] > 40
        one_customer_is_rebuilt(live, tmp_path / "data")


def watermark(live: Client) -> int:
    return int(live.command("select toUnixTimestamp64Milli(min(watermark)) from watermarks final"))


def one_customer_is_rebuilt(live: Client, data: Path) -> None:
    """Somebody damages rows of two customers: one is made whole, then all are."""
    whole = standing(live)
    for person in ("u21", "u22"):
        live.command(
            f"alter table journey_rows delete where customer_id = 'user_id:{person}'"
            " settings mutations_sync = 2"
        )
        live.command(
            "insert into touchpoint_rows select * replace ('Nowhere' as phase, version + 1 as version)"
            f" from touchpoint_rows final where customer_id = 'user_id:{person}'"
        )
    done = desireline("rebuild", "--customer", "u21", "--data", data)
    assert done.returncode == 0, done.stderr
    assert "1 households with 3 elements" in done.stdout

    def wrong() -> list[str]:
        found = live.query("select distinct customer_id from touchpoints where phase = 'Nowhere'")
        return [customer for (customer,) in found.result_rows]

    assert wrong() == ["user_id:u22"]
    found = live.query("select customer_id from journeys where customer_id in ('user_id:u21', 'user_id:u22')")
    assert found.result_rows == [("user_id:u21",)]
    done = desireline("rebuild", "--data", data, timeout_s=300)
    assert done.returncode == 0, done.stderr
    assert differences(standing(live), whole) == {}
    status = desireline("rebuild", "--status", "--data", data, "--format", "csv").stdout
    assert [line.split(",")[:2] for line in status.splitlines()[1:]] == [["1", "retired"], ["2", "current"]]
    done = desireline("rebuild", "--drop-old", "--data", data)
    assert "were dropped" in done.stdout, done.stderr
