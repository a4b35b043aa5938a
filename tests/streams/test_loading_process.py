"""Loading in a process of its own: it does what `Loading` does, and ends with its worker."""

import os
import pickle
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator

import psutil
import pytest

from models.alerts import MINUTE_MS
from streams.loading_process import LoadingProcess, LoadingProcessEnded
from tests.streams.test_load import NOW, PHASES, facts, loaded
from warehouse.loading import Group
from warehouse.urgency import BEHIND_STITCHING
from warehouse.write_errors import RowsRefused, WarehouseAway

NOBODY = "http://127.0.0.1:9/desireline"
PROGRAM = """
import time
from streams.loading_process import LoadingProcess

if __name__ == "__main__":
    print(LoadingProcess("http://127.0.0.1:9/desireline", ("Awareness",)).pid, flush=True)
    time.sleep(600)
"""


@pytest.fixture
def loading(warehouse: str) -> Iterator[LoadingProcess]:
    """At work on the tests' warehouse."""
    made = LoadingProcess(warehouse, PHASES)
    yield made
    made.close()


def until(condition: Callable[[], bool], within_s: float = 20.0) -> None:
    deadline = time.monotonic() + within_s
    while not condition():
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.05)


def test_it_writes_rows_says_what_cannot_be_loaded_and_tells_of_recent_minutes(
    loading: LoadingProcess, warehouse: str
) -> None:
    told = facts("apart-1", "apart-2", at=NOW - MINUTE_MS, outcome="abandoned")
    unloadable = loading.write(Group([("facts", told), ("facts", b"\xc1 nonsense")]), NOW)
    assert [row.what for row in unloadable] == ["facts"]
    assert loaded(warehouse, "apart-") == ["apart-1", "apart-2"]
    abandonment = loading.settle(NOW)
    assert [(one.kind, one.channel, one.buckets[-1].abandoned) for one in abandonment] == [
        ("call", "voice", 2)
    ]


def test_a_warehouse_that_is_away_is_told_as_loading_tells_it() -> None:
    loading = LoadingProcess(NOBODY, PHASES)
    with pytest.raises(WarehouseAway, match="tried again until it succeeds"):
        loading.write(Group([("facts", facts("x"))]), NOW)
    loading.close()


def test_errors_stay_what_they_are_on_their_way_from_one_process_to_another() -> None:
    refused = RowsRefused("touchpoint_rows", "too large")
    again = pickle.loads(pickle.dumps(refused))  # noqa: S301  our own
    assert (type(again), str(again), again.reason) == (RowsRefused, str(refused), "too large")


def test_killed_it_is_told_as_gone(loading: LoadingProcess) -> None:
    os.kill(loading.pid, signal.SIGKILL)
    with pytest.raises(LoadingProcessEnded, match="starts again"):
        loading.write(Group([("facts", facts("x"))]), NOW)


def test_what_ends_all_processes_of_a_worker_leaves_it_to_finish(loading: LoadingProcess) -> None:
    process = psutil.Process(loading.pid)
    process.send_signal(signal.SIGTERM)
    process.send_signal(signal.SIGINT)
    assert loading.write(Group([("facts", facts("finished"))]), NOW) == []
    loading.close()
    until(lambda: not process.is_running())


def test_it_is_gone_as_soon_as_its_worker_is_killed() -> None:
    with subprocess.Popen([sys.executable, "-c", PROGRAM], stdout=subprocess.PIPE, text=True) as worker:
        assert worker.stdout is not None
        process = psutil.Process(int(worker.stdout.readline()))
        worker.kill()
        until(lambda: not process.is_running() or process.status() == psutil.STATUS_ZOMBIE)


def test_it_stands_behind_the_worker(loading: LoadingProcess) -> None:
    assert os.getsid(loading.pid) == loading.pid
    assert psutil.Process(loading.pid).nice() == min(19, psutil.Process().nice() + BEHIND_STITCHING)
