"""`desireline up` with its real parts: it starts, ends without a trace, and stands whatever is killed."""

import gzip
import json
import signal
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import psutil
import pytest

from desireline import spooled
from desireline.progress import Progress, read
from ingest.config import CollectorConfig
from models.household import verdicts
from models.journey_model import default_model
from tests.desireline.ups import Up, desireline, not_ended, until
from tests.histories import households

pytestmark = pytest.mark.slow
UpStarter = Callable[..., Up]
CHILDREN = {"broker", "warehouse", "dashboards", "collector", "worker", "republisher"}


def test_everything_starts_answers_and_ends_without_a_trace(up: UpStarter) -> None:
    one = up().await_ready()
    assert {child.name for child in one.running.children} == CHILDREN
    assert httpx.get(one.running.urls.pages, timeout=10).status_code == 200
    processes = one.processes()
    assert len(processes) >= len(CHILDREN)
    assert one.end() == 0
    assert not_ended(processes) == []
    assert "nothing is left running" in one.said


def test_sigterm_ends_it_as_ctrl_c_does(up: UpStarter) -> None:
    one = up().await_ready()
    processes = one.processes()
    assert one.end(signal.SIGTERM) == 0
    assert not_ended(processes) == []


def test_once_ends_by_itself(up: UpStarter) -> None:
    one = up("--once")
    assert one.process.wait(timeout=90) == 0


def test_what_is_sent_is_stitched_and_answered_while_running_and_when_stopped(
    up: UpStarter, tmp_path: Path
) -> None:
    one = up().await_ready()
    one.track("ann", "Product Viewed", "Product Added", "Order Completed")
    one.await_touchpoints(3)
    one.await_answer("select toInt32(count()) from journeys", [1])
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
    first.track("ann", "Product Added")
    first.await_touchpoints(1)
    processes = first.processes()
    first.end(signal.SIGKILL)
    _, alive = psutil.wait_procs(processes, timeout=10)
    assert alive == []
    second = up(data=first.folder.path).await_ready()
    second.await_touchpoints(1)


def test_whichever_child_is_killed_it_is_started_again_and_nothing_is_lost(up: UpStarter) -> None:
    one = up().await_ready()
    for name in sorted(CHILDREN):
        one.track(name, "Product Viewed", "Product Added")
        journeys = (
            f"select toString(groupArray(length(types))) from journeys where customer_id = 'user_id:{name}'"
        )
        one.await_answer(journeys, ["[2]"])
        before = one.pid(name)
        psutil.Process(before).kill()
        until(
            lambda name=name, before=before: any(  # type: ignore[misc]
                child.name == name and child.pid != before for child in one.running.children
            ),
            within_s=30,
            what=f"another {name}",
        )
        until(
            lambda name=name: one.tracked(name, "Order Completed", minutes_ago=30),  # type: ignore[misc]
            within_s=60,
            what="the collector's answer",
        )
        # one journey: what was known before is still known
        one.await_answer(journeys, ["[3]"], within_s=90)
        assert f"the {name} was killed" in one.said
    assert desireline("reconcile", "--data", one.folder.path, "--wait", "60").returncode == 0


def test_restarted_on_the_same_folder_it_goes_on_with_the_same_customers_and_open_journeys(
    up: UpStarter,
) -> None:
    first = up().await_ready()
    first.track("ann", "Product Viewed", "Product Added")
    first.await_touchpoints(2)
    assert first.end() == 0
    second = up(data=first.folder.path).await_ready()
    second.track("ann", "Order Completed", minutes_ago=30)
    second.await_touchpoints(3)
    stitched = "[['product_view','add_to_cart','purchase']]"
    second.await_answer("select toString(groupArray(types)) from journeys", [stitched])
    assert second.ask("select toInt32(uniqExact(customer_id)) from touchpoints") == [1]


def test_what_the_broker_lost_before_the_worker_had_it_is_published_again(up: UpStarter) -> None:
    first = up().await_ready()
    first.track("ann", "Product Viewed", "Product Added")
    first.await_touchpoints(2)
    psutil.Process(first.pid("worker")).suspend()
    first.track("ann", "Order Completed", minutes_ago=30)
    first.await_published()
    first.end(signal.SIGKILL)
    second = up(data=first.folder.path).await_ready()
    second.await_touchpoints(3)
    until(
        lambda: (said := read(second.folder)) is not None and said.step == "done", within_s=30, what="the end"
    )
    said = read(second.folder)
    assert said is not None
    assert said.published_again == 1
    assert "1 touchpoints of the spool were published again" in said.sentence
    status = desireline("topics", "status", "--data", second.folder.path)
    assert said.sentence in status.stdout


def test_a_touchpoint_that_grew_and_was_lost_with_the_broker_stands_as_it_was_sent_last(
    up: UpStarter,
) -> None:
    def send(one: Up, *copies: dict[str, Any]) -> None:
        contact = {
            "id": "c1", "channel": "voice", "type": "call_queued", "occurred_at": "2026-03-05T09:30:00Z",
            "source": "crm", "source_event_id": "1", "source_type": "contact",
            "identifiers": [{"kind": "user_id", "value": "ann"}],
        }  # fmt: skip
        key = {"authorization": f"Bearer {one.running.write_key}"}
        answer = httpx.post(
            f"{one.running.urls.collector}/v1/touchpoints",
            json=[contact | copy for copy in copies],
            headers=key,
            timeout=10,
        )
        assert answer.json() == {"success": True, "accepted": len(copies), "rejected": 0}

    first = up().await_ready()
    send(first, {"wait_ms": 5, "source_updated_at": 1_772_703_000_000})
    first.await_touchpoints(1)
    psutil.Process(first.pid("worker")).suspend()
    send(first, {"wait_ms": 9, "source_updated_at": 1_772_704_000_000}, {"wait_ms": 7})
    first.await_published()
    first.end(signal.SIGKILL)
    second = up(data=first.folder.path).await_ready()
    second.await_answer("select toInt32(wait_ms) from touchpoints", [9])


def test_files_are_loaded_and_what_is_wrong_in_them_is_shown_with_its_reason(
    up: UpStarter, tmp_path: Path
) -> None:
    one = up().await_ready()
    orders = tmp_path / "orders.csv.gz"
    lines = [
        "order,created,event,channel,mail",
        "1,1790000000,bought,web,ann@shop.org",
        "2,1790000100,bought,web",
    ]
    lines += [
        "3,1790000200,bought,web,ann@shop.org",
        "4,yesterday,bought,web,ann@shop.org",
        "5,1790000300,bought,web,",
    ]
    orders.write_bytes(gzip.compress("\n".join(lines).encode()))
    mapping = tmp_path / "orders.yaml"
    mapping.write_text(
        "id: order\noccurred_at: {column: created, unit: s}\nchannel: channel\n"
        "type: {column: event, values: {bought: purchase}}\nidentifiers: {email: mail}\n"
    )
    command = ("load", orders, "--source", "shop", "--map", mapping, "--data", one.folder.path)
    first = desireline(*command)
    assert first.returncode == 0, first.stderr
    assert first.stdout.splitlines()[0] == "5 rows: 2 accepted, 3 rejected"
    assert desireline(*command).returncode == 0  # once more changes nothing
    assert desireline("reconcile", "--data", one.folder.path, "--wait", "60").returncode == 0
    one.await_answer("select toString(groupArray(length(types))) from journeys", ["[2]"])
    listed = desireline("rejected", "list", "--format", "json", "--data", one.folder.path)
    rejected = json.loads(listed.stdout)
    assert {row["reason"] for row in rejected} == {"invalid_json", "bad_timestamp", "missing_identity"}
    assert {row["detail"].split(":")[1] for row in rejected} == {"2", "4", "5"}
    assert {row["detail"].split(":")[0] for row in rejected} == {orders.name}
    shown = desireline("rejected", "show", rejected[0]["id"], "--data", one.folder.path)
    assert rejected[0]["reason"] in shown.stdout


def test_a_broker_that_grew_is_renewed_and_what_stands_is_what_a_batch_gives(
    up: UpStarter, tmp_path: Path
) -> None:
    one = up(DESIRELINE_BROKER_MEMORY_LIMIT_BYTES="50000000").await_ready()
    await_put_back(one)
    sent = desireline("simulate", "--customers", "600", "--data", one.folder.path)
    assert sent.returncode == 0, sent.stderr
    # the same again and again fills the broker and not what is put back, for which there must be room
    again = tmp_path / "again.jsonl"
    views = (
        {
            "id": n,
            "at": 1_793_000_000 + 60 * n,
            "type": "product_view",
            "channel": "web",
            "mail": f"{n % 500}@shop.org",
        }
        for n in range(4000)
    )
    again.write_text("\n".join(map(json.dumps, views)))
    mapping = tmp_path / "again.yaml"
    mapping.write_text(
        "id: id\noccurred_at: {column: at, unit: s}\nchannel: channel\ntype: type\nidentifiers: {email: mail}\n"
    )
    command = ("load", again, "--source", "shop", "--map", mapping, "--data", one.folder.path)

    def loaded_and_renewed() -> bool:
        loaded = desireline(*command)
        assert loaded.stdout.startswith("4,000 rows: 4,000 accepted, 0 rejected"), (
            loaded.stdout + loaded.stderr
        )
        return "and is renewed" in one.said

    until(loaded_and_renewed, within_s=90, what="renewal")
    reconciled = desireline("reconcile", "--data", one.folder.path, "--wait", "90")
    assert reconciled.returncode == 0, reconciled.stdout
    await_put_back(one)
    model = default_model()
    config = CollectorConfig(spool_dir=str(one.folder.spool), bootstrap_servers="", model=model)
    elements = [element for batch in spooled.batches(config, 0) for element in batch.elements]
    expected = {
        (judged.touchpoint.id, judged.verdict.customer_id, judged.verdict.journey_id, judged.verdict.ordinal)
        for household in households(elements)
        for judged in verdicts(household, 0, model).touchpoints
    }
    said = "select concat(id, '|', customer_id, '|', journey_id, '|', toString(ordinal)) from touchpoints"
    until(
        lambda: set(one.ask(said)) == {"|".join(map(str, row)) for row in expected},
        within_s=30,
        what="the batch",
    )


def await_put_back(up: Up) -> Progress:
    """Until the republisher says that it is done; what it says."""

    def done() -> bool:
        said = read(up.folder)
        return said is not None and said.step == "done"

    until(done, within_s=90, what="putting back")
    said = read(up.folder)
    assert said is not None
    return said
