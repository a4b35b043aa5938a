"""The whole pipeline adds up, and a row or a spooled record that is taken away is named, with exit code 3."""

import json
from collections.abc import Callable
from typing import Any

import httpx

from ingest.segments import segments
from ingest.spool import read_spool
from tests.desireline.ups import Up, desireline


def reconciled(one: Up, *arguments: str) -> tuple[int, dict[str, Any], str]:
    """Exit code, what is said as JSON, and what is said at the end."""
    ended = desireline("reconcile", "--data", one.folder.path, "--format", "json", *arguments)
    return ended.returncode, json.loads(ended.stdout), ended.stderr


def test_what_is_taken_away_from_the_warehouse_or_the_spool_is_named(up: Callable[..., Up]) -> None:
    one = up().await_ready()
    one.track("ann", "Product Viewed", "Product Added", "Order Completed")
    one.track("ben", "Product Viewed")
    again = {"type": "track", "event": "Product Added", "userId": "ben", "messageId": "ben-again"}
    login = {"type": "identify", "userId": "ben", "anonymousId": "a1", "messageId": "ben-login"}
    broken = {"type": "track", "userId": "ben", "messageId": "ben-broken"}
    for batch in ([again, login, broken], [again]):
        answer = httpx.post(
            f"{one.running.urls.collector}/v1/batch",
            json={"writeKey": one.running.write_key, "batch": batch, "sentAt": "2026-01-01T00:00:00Z"},
            timeout=10,
        )
        assert answer.status_code == 200, answer.text

    code, said, why = reconciled(one, "--wait", "60", "--deep")
    assert (code, said["holds"]) == (0, True), why
    counts = {row["element"]: row for row in said["counts"]}
    touchpoints = counts["touchpoint"]
    assert (touchpoints["accepted"], touchpoints["loaded"], touchpoints["stitched"]) == (6, 5, 5)
    # it says no time of its own, so it comes again with a later one
    assert touchpoints["duplicate"] + touchpoints["conflicting"] == 1
    assert counts["identification"]["loaded"] == 1
    assert [(row["reason"], row["rejected"]) for row in said["rejected"]] == [("missing_event_name", 1)]
    shown = desireline("reconcile", "--data", one.folder.path)
    assert "it adds up" in shown.stdout
    assert max(map(len, shown.stdout.splitlines())) <= 100

    [bens] = one.ask("select id from touchpoints where customer_id = 'user_id:ben' and type = 'product_view'")
    [row] = one.ask("select id from touchpoints where customer_id = 'user_id:ann' and type = 'purchase'")
    [rejected] = one.ask("select id from rejected_touchpoints where reason = 'missing_event_name'")
    for table, id in (("touchpoint_rows", row), ("rejected_touchpoint_rows", rejected)):
        server, _, database = one.running.urls.warehouse.rpartition("/")
        delete = f"alter table {table} delete where id = '{id}' settings mutations_sync = 2"
        answer = httpx.post(server, params={"database": database}, content=delete, timeout=30)
        assert answer.status_code == 200, answer.text
    code, said, why = reconciled(one, "--wait", "0")
    assert code == 3
    assert "it does not add up" in why
    kinds = [(different["kind"], different["id"]) for different in said["listed"]]
    assert kinds == [("missing", row), ("missing_rejection", rejected), ("astray", row)]

    assert one.end() == 0
    lost = list(read_spool(one.folder.spool))[1]
    [(base, path)] = segments(one.folder.spool)
    content = path.read_bytes()
    path.write_bytes(content[: lost.position - base] + content[lost.end - base :])
    code, said, _ = reconciled(one)
    assert code == 3
    kinds = [(different["kind"], different["id"]) for different in said["listed"]]
    assert ("spool_gap", f"{lost.position}-{lost.end}") in kinds
    assert ("extra", bens) in kinds
