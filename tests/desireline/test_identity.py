"""Looking after identities as people do, on a whole pipeline: merge, split and undo at the command line."""

import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx

from tests.desireline.ups import Up, desireline

BEGIN = datetime.now(UTC) - timedelta(hours=1)
COMPLETED = "select toInt32(sum(completed)) from attempts_1m where kind = 'cart'"
JOURNEYS = "select arrayStringConcat(types, ' ') from journeys order by started_at"


def happened(id: str, minute: int, type_: str, *identifiers: str) -> dict[str, Any]:
    named = [dict(zip(("kind", "value"), one.split(":", 1), strict=True)) for one in identifiers]
    at = (BEGIN + timedelta(minutes=minute)).isoformat()
    return {"id": id, "type": type_, "occurred_at": at, "identifiers": named}


def send(pipeline: Up, *touchpoints: dict[str, Any]) -> None:
    running = pipeline.running
    answer = httpx.post(
        f"{running.urls.collector}/v1/touchpoints",
        json=touchpoints,
        auth=(running.write_key, ""),
        timeout=10,
    )
    assert answer.json() == {"success": True, "accepted": len(touchpoints), "rejected": 0}


def identity(pipeline: Up, *arguments: str) -> Any:
    """What `desireline identity …` says, as JSON."""
    done = desireline("identity", *arguments, "--format", "json", "--data", pipeline.folder.path)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def refused(pipeline: Up, *arguments: str) -> str:
    done = desireline("identity", *arguments, "--data", pipeline.folder.path)
    assert done.returncode == 1, done.stdout
    return done.stderr


def customers(decision: dict[str, Any], when: str) -> list[str]:
    return [row["customer_id"] for row in decision[when]]


def test_two_who_share_a_phone_are_merged_and_the_merge_undone(up: Callable[..., Up]) -> None:
    pipeline = up().await_ready()
    shared = "phone:+442079460000"
    send(
        pipeline,
        happened("t1", 0, "add_to_cart", "user_id:ada", shared),
        happened("t2", 5, "purchase", "user_id:bob", shared),
    )
    pipeline.await_answer(JOURNEYS, ["add_to_cart", "purchase"])

    merged = identity(
        pipeline, "merge", "ada", "bob", "--author", "Ann", "--reason", "two accounts", "--wait", "60"
    )
    assert (merged["effect"], merged["identifiers"]) == ("shown", ["user_id:ada", "user_id:bob"])
    assert (customers(merged, "before"), customers(merged, "after")) == (
        ["user_id:ada", "user_id:bob"],
        ["user_id:ada"],
    )
    assert merged["after"][0]["touchpoints"] == 2
    pipeline.await_answer(JOURNEYS, ["add_to_cart purchase"])
    pipeline.await_answer(COMPLETED, [1])
    shown = identity(pipeline, "show", "bob")
    assert shown["summary"]["customer_id"] == "user_id:ada"
    assert [one["reason"] for one in shown["decisions"]] == ["two accounts"]

    pipeline.end()
    pipeline = up().await_ready()  # the decision is in spool and warehouse, and survives
    assert identity(pipeline, "show", "bob")["summary"]["customer_id"] == "user_id:ada"
    undone = identity(pipeline, "undo", merged["id"], "--wait", "60")
    assert undone["effect"] == "shown"
    pipeline.await_answer("select customer_id from touchpoints order by id", ["user_id:ada", "user_id:bob"])
    pipeline.await_answer(JOURNEYS, ["add_to_cart", "purchase"])
    pipeline.await_answer(COMPLETED, [0])
    assert identity(pipeline, "decisions") == []
    assert len(identity(pipeline, "decisions", "--all")) == 2
    assert desireline("reconcile", "--wait", "60", "--data", pipeline.folder.path).returncode == 0


def test_two_whom_a_mailbox_fused_are_split_and_strangers_are_merged(up: Callable[..., Up]) -> None:
    pipeline = up().await_ready()
    one, two = "phone:+15550000001", "phone:+15550000002"
    send(
        pipeline,
        happened("t1", 0, "page_view", "email:info@shop.example", one),
        happened("t2", 1, "page_view", "email:info@shop.example", two),
        happened("t3", 2, "add_to_cart", one),
        happened("t4", 3, "purchase", two),
        happened("t5", 9, "page_view", "user_id:zoe"),
    )
    pipeline.await_answer(COMPLETED, [1])

    split = identity(pipeline, "split", one, two, "--author", "Ann", "--wait", "60")
    assert split["effect"] == "shown"
    assert customers(split, "before") == ["email:info@shop.example"]
    assert customers(split, "after") == ["email:info@shop.example", two]
    pipeline.await_answer(COMPLETED, [0])
    pipeline.await_answer(f"select id from touchpoints where customer_id = '{two}'", ["t4"])
    (conflict,) = identity(pipeline, "show", two)["conflicts"]
    assert (conflict["identifier_b"], conflict["reason"]) == (two, "not_same")

    # of households that nothing linked, in partitions of their own
    assert customers(identity(pipeline, "merge", "zoe", two, "--wait", "60"), "after") == ["user_id:zoe"]
    # a merge that another decision forbids
    against = identity(pipeline, "merge", "zoe", one, "--wait", "60")
    assert (against["effect"], len(against["after"])) == ("refused", 2)

    assert "Did you mean user_id:zoe" in refused(pipeline, "merge", "zoee", two)
    assert "was given twice" in refused(pipeline, "merge", "zoe", "user_id:zoe")
    assert "no decision about" in refused(pipeline, "undo", "zoe", "info@shop.example")
    assert "the write key is not known" in refused(pipeline, "merge", "zoe", one, "--write-key", "guessed")

    report = identity(pipeline, "report")
    assert report["totals"]["touchpoints"] == 5
    assert report["totals"]["identified_rate"] == 1.0
    pages = pipeline.running.urls.pages
    assert httpx.get(f"{pages}/api/identity/report", timeout=30).json()["totals"] == report["totals"]
    by_api = httpx.get(f"{pages}/api/identity/zoe", timeout=30).json()
    assert by_api["summary"] == identity(pipeline, "show", "zoe")["summary"]
    assert len(httpx.get(f"{pages}/api/identity/decisions", timeout=30).json()["rows"]) == 3


def test_a_write_key_that_is_in_a_web_page_corrects_nothing(up: Callable[..., Up]) -> None:
    pipeline = up(
        DESIRELINE_WRITE_KEYS="public=shop,private=desk", DESIRELINE_IDENTITY_EDITORS="desk"
    ).await_ready()
    send(
        pipeline, happened("t1", 0, "page_view", "user_id:ada"), happened("t2", 1, "page_view", "user_id:bob")
    )
    pipeline.await_touchpoints(2)
    assert 'the write key of "shop" may not' in refused(
        pipeline, "merge", "ada", "bob", "--write-key", "public"
    )
    assert customers(identity(pipeline, "merge", "ada", "bob", "--wait", "60"), "after") == ["user_id:ada"]
