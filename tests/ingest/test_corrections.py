"""Decisions about identities at the door: what is read of them, and who may make them."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from ingest.mapped import Delivery
from ingest.routes import map_delivered
from ingest.sources.corrections import map_corrections
from ingest.spool import read_spool
from models.identifier import Identifier
from models.journey_model import default_model
from models.touchpoint import Correction
from tests.ingest.collector_process import CollectorProcess

NOW = 1_790_000_000_000
DELIVERY = Delivery(source_instance="desk", received_at=NOW, raw_ref="spool:x", model=default_model())
SAID = {
    "relation": "same",
    "identifiers": [{"kind": "email", "value": " Ada@Example.com"}, {"kind": "user_id", "value": "ada"}],
    "author": "Ann",
}


def test_a_decision_is_read_the_stronger_identifier_first() -> None:
    (made,) = map_corrections({**SAID, "reason": "she said so"}, DELIVERY).records
    assert isinstance(made, Correction)
    assert made.identifiers == (Identifier("user_id", "ada"), Identifier("email", "ada@example.com"))
    assert (made.relation, made.at, made.author, made.reason) == ("same", NOW, "Ann", "she said so")


def test_the_same_decision_is_the_same_element_whichever_identifier_is_said_first() -> None:
    turned = {**SAID, "identifiers": SAID["identifiers"][::-1]}
    first, again = map_corrections([SAID, turned], DELIVERY).records
    assert first == again
    later = map_corrections({**SAID, "at": NOW - 1}, DELIVERY).records
    assert later[0].id != first.id  # type: ignore[union-attr]


def test_no_decision_comes_from_the_future() -> None:
    (made,) = map_corrections({**SAID, "at": NOW + 60_000}, DELIVERY).records
    assert isinstance(made, Correction)
    assert made.at == NOW


def pair(*identifiers: tuple[str, Any]) -> dict[str, Any]:
    return {**SAID, "identifiers": [{"kind": kind, "value": value} for kind, value in identifiers]}


WRONG = {
    "no object": ("same", "invalid_field"),
    "no such relation": ({**SAID, "relation": "similar"}, "invalid_field"),
    "nobody decided it": ({**SAID, "author": " "}, "invalid_field"),
    "one identifier": (pair(("user_id", "a")), "invalid_field"),
    "three identifiers": (pair(("user_id", "a"), ("user_id", "b"), ("user_id", "c")), "invalid_field"),
    "no such kind": (pair(("user_id", "a"), ("name", "b")), "invalid_field"),
    "the same in two spellings": (pair(("email", "A@b.org"), ("email", "a@b.org")), "invalid_field"),
    "a placeholder": (pair(("user_id", "a"), ("user_id", "unknown")), "missing_identity"),
    "no value": (pair(("user_id", "a"), ("user_id", None)), "missing_identity"),
    "no email": (pair(("user_id", "a"), ("email", "nonsense")), "missing_identity"),
    "no time": ({**SAID, "at": "yesterday"}, "bad_timestamp"),
    "a field that it does not have": ({**SAID, "because": "so"}, "invalid_field"),
}


@pytest.mark.parametrize(("said", "reason"), WRONG.values(), ids=WRONG.keys())
def test_a_decision_that_is_wrong_is_not_taken(said: Any, reason: str) -> None:
    mapped = map_corrections(said, DELIVERY)
    assert mapped.records == []
    assert [one.reason for one in mapped.rejected] == [reason]


@pytest.fixture
def collector(tmp_path: Path) -> Iterator[CollectorProcess]:
    with CollectorProcess(tmp_path / "spool", clock_ms=NOW, identity_editors=("app",)) as running:
        yield running


def spooled(collector: CollectorProcess) -> list[Any]:
    entries = read_spool(collector.spool, 0)
    return [record for one in entries for record in map_delivered(one.delivered, default_model()).records]


def test_whoever_may_correct_is_answered_with_the_elements_and_where_to_look(
    collector: CollectorProcess,
) -> None:
    answer = collector.post("/v1/corrections", SAID, key="key-of-the-app")
    (made,) = map_corrections(SAID, DELIVERY).records
    assert isinstance(made, Correction)
    assert answer.json() == {
        "success": True, "accepted": 1, "rejected": 0,
        "corrections": [{"id": made.id, "see": "desireline identity show user_id:ada"}],
    }  # fmt: skip
    assert spooled(collector) == [made]


REFUSED = {
    "a key that may not": ("key-of-the-shop", SAID, 403, "not_allowed"),
    "a key that nobody has": ("guessed", SAID, 401, "unknown_write_key"),
    "no key in a header": (None, {**SAID, "writeKey": "key-of-the-app"}, 401, "unknown_write_key"),
    "one that is wrong costs all": ("key-of-the-app", [SAID, {}], 400, "invalid_field"),
}


@pytest.mark.parametrize(("key", "said", "status", "code"), REFUSED.values(), ids=REFUSED.keys())
def test_otherwise_nothing_is_taken(
    collector: CollectorProcess, key: str | None, said: Any, status: int, code: str
) -> None:
    answer = collector.post("/v1/corrections", said, key=key)
    assert (answer.status_code, answer.json()["code"]) == (status, code)
    assert spooled(collector) == []


def test_no_page_in_a_browser_is_told_that_it_may(collector: CollectorProcess) -> None:
    asked = collector.client.options(f"{collector.url}/v1/corrections")
    assert asked.status_code == 405


def test_a_correction_among_touchpoints_is_refused(collector: CollectorProcess) -> None:
    answer = collector.post("/v1/touchpoints", {**SAID, "schema": "correction/1"}, key="key-of-the-app")
    assert answer.json() == {"success": True, "accepted": 0, "rejected": 1}
    assert spooled(collector) == []
