"""`desireline up` with its real parts: it starts, ends without a trace, and stands whatever is killed."""

import json
import signal
import socket
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil
import pytest
from conftest import Up, desireline, until

pytestmark = pytest.mark.slow
UpStarter = Callable[..., Up]
CHILDREN = {"broker", "warehouse", "dashboards", "collector", "worker", "republisher"}


def track(up: Up, user: str, *names: str, at: str = "2026-11-20T10:00:00Z") -> None:
    """Send events through the door, as a client would."""
    batch = [
        {
            "type": "track",
            "event": name,
            "userId": user,
            "messageId": f"{user}-{name}",
            "timestamp": at,
            "properties": {},
        }
        for name in names
    ]
    request = urllib.request.Request(
        f"{up.running.urls.collector}/v1/batch",
        json.dumps({"writeKey": up.running.write_key, "batch": batch, "sentAt": at}).encode(),
        {"Content-Type": "application/json"},
    )
    with urllib.request.urlopen(request, timeout=10) as answer:
        assert json.load(answer)["success"]


def ask(up: Up, sql: str) -> list[Any]:
    """The first column of an answer of the warehouse."""
    url = up.running.urls.warehouse_reader.replace("//reader@", "//").rpartition("/")[0]
    request = urllib.request.Request(
        f"{url}/?user=reader&database=desireline", f"{sql} format JSONCompact".encode()
    )
    with urllib.request.urlopen(request, timeout=10) as answer:
        return [row[0] for row in json.load(answer)["data"]]


def await_touchpoints(up: Up, count: int, *, within_s: float = 60) -> None:
    until(
        lambda: ask(up, "select toInt32(count()) from touchpoints") == [count],
        within_s=within_s,
        what=f"{count} touchpoints",
    )


def test_everything_starts_answers_and_ends_without_a_trace(up: UpStarter) -> None:
    one = up().await_ready()
    assert {child.name for child in one.running.children} == CHILDREN
    with urllib.request.urlopen(one.running.urls.pages, timeout=10) as page:
        assert page.status == 200
    processes = one.processes()
    assert len(processes) >= len(CHILDREN)
    assert one.end() == 0
    assert [process for process in processes if process.is_running()] == []
    assert "nothing is left running" in one.said


def test_sigterm_ends_it_as_ctrl_c_does(up: UpStarter) -> None:
    one = up().await_ready()
    processes = one.processes()
    assert one.end(signal.SIGTERM) == 0
    assert [process for process in processes if process.is_running()] == []


def test_once_ends_by_itself(up: UpStarter) -> None:
    one = up("--once")
    assert one.process.wait(timeout=90) == 0


def test_what_is_sent_is_stitched_and_answered_while_running_and_when_stopped(
    up: UpStarter, tmp_path: Path
) -> None:
    one = up().await_ready()
    track(one, "ann", "Product Viewed", "Product Added", "Order Completed")
    await_touchpoints(one, 3)
    until(lambda: ask(one, "select toInt32(count()) from journeys") == [1], within_s=30, what="the journey")
    running = json.loads(desireline("summary", "--data", one.folder.path, "--format", "json").stdout)
    assert running["touchpoints"] == 3
    assert desireline("reconcile", "--data", one.folder.path, "--wait", "30").returncode == 0
    assert one.end() == 0
    stopped = json.loads(desireline("summary", "--data", one.folder.path, "--format", "json").stdout)
    assert stopped["touchpoints"] == 3


def test_a_second_up_on_the_same_folder_is_told_who_is_there(up: UpStarter) -> None:
    one = up().await_ready()
    second = desireline("up", "--data", one.folder.path, "--once")
    assert second.returncode == 1
    assert f"pid {one.process.pid}" in second.stderr
    assert "Traceback" not in second.stderr
    assert one.process.poll() is None
    assert all(child.process() for child in one.running.children)


OPTIONS = ("--port", "--collector-port", "--warehouse-port", "--broker-port", "--worker-port")


@pytest.mark.parametrize("option", OPTIONS)
def test_a_port_that_is_taken_is_said_with_the_option_that_changes_it(option: str, tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        ports = [f"{other}=0" for other in OPTIONS if other != option]
        ended = desireline("up", "--data", tmp_path / "data", *ports, f"{option}={port}")
    assert ended.returncode == 1
    assert f"port {port}" in ended.stderr
    assert f"Choose another with {option}." in ended.stderr


def test_killed_with_its_children_left_it_starts_again_on_the_same_folder(up: UpStarter) -> None:
    first = up().await_ready()
    track(first, "ann", "Product Added")
    await_touchpoints(first, 1)
    processes = first.processes()
    first.end(signal.SIGKILL)
    _, alive = psutil.wait_procs(processes, timeout=10)
    assert alive == []
    second = up(data=first.folder.path).await_ready()
    await_touchpoints(second, 1)


@pytest.mark.parametrize("name", sorted(CHILDREN))
def test_a_child_that_is_killed_is_started_again_and_nothing_is_lost(name: str, up: UpStarter) -> None:
    one = up().await_ready()
    track(one, "ann", "Product Viewed", "Product Added")
    await_touchpoints(one, 2)
    before = one.pid(name)
    psutil.Process(before).kill()
    until(
        lambda: any(c.name == name and c.pid != before for c in one.running.children),
        within_s=30,
        what="restart",
    )
    until(lambda: _sent(one, "ann", "Order Completed"), within_s=60, what="the collector answers")
    await_touchpoints(one, 3, within_s=90)
    # one customer, one journey: what was known before is still known
    until(
        lambda: ask(one, "select toString(groupArray(length(types))) from journeys") == ["[3]"],
        within_s=60,
        what="journey",
    )
    assert desireline("reconcile", "--data", one.folder.path, "--wait", "30").returncode == 0
    assert f"the {name} was killed" in one.said


def test_restarted_on_the_same_folder_it_goes_on_with_the_same_customers_and_open_journeys(
    up: UpStarter,
) -> None:
    first = up().await_ready()
    track(first, "ann", "Product Viewed", "Product Added")
    await_touchpoints(first, 2)
    assert first.end() == 0
    second = up(data=first.folder.path).await_ready()
    track(second, "ann", "Order Completed", at="2026-11-20T10:05:00Z")
    await_touchpoints(second, 3)
    until(lambda: ask(second, "select toString(groupArray(types)) from journeys") ==
          ["[['product_view','add_to_cart','purchase']]"], within_s=60, what="one journey of three")  # fmt: skip
    assert ask(second, "select toInt32(uniqExact(customer_id)) from touchpoints") == [1]


def _sent(up: Up, user: str, *names: str) -> bool:
    try:
        track(up, user, *names)
    except OSError:
        return False
    return True
