"""What was accepted and is not in the warehouse yet, as the republisher asks for it."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from desireline import spooled
from desireline.lacking import lacking
from ingest.config import CollectorConfig
from models.touchpoint import Element
from tests.desireline.test_reconcile import AT, MODEL, Door, said
from warehouse.connection import client


@pytest.fixture
def door(tmp_path: Path, warehouse: str) -> Iterator[Door]:
    """A spool and a warehouse, both empty."""
    made = Door(tmp_path / "spool", warehouse)
    yield made
    made.close()


def config(door: Door) -> CollectorConfig:
    return CollectorConfig(spool_dir=str(door.folder), bootstrap_servers="", model=MODEL)


def spooled_elements(door: Door) -> list[Element]:
    return [element for batch in spooled.batches(config(door), 0) for element in batch.elements]


def test_what_is_archived_or_was_refused_is_not_lacking_and_all_else_is(door: Door) -> None:
    door.put(said(0), said(1), said(2))
    door.load(refused="e2")
    with client(door.url) as connected:
        assert lacking(connected, spooled_elements(door)) == []
        door.put(said(3), said(4))
        assert [one.source_event_id for one in lacking(connected, spooled_elements(door))] == ["e3", "e4"]  # type: ignore[union-attr]


def test_one_that_was_refused_says_nothing_of_its_neighbours_in_the_body(door: Door) -> None:
    door.put(said(0), said(1))
    door.load(refused="e0")
    door.delete("touchpoint_rows", "1")
    door.delete("element_rows", "1")
    with client(door.url) as connected:
        assert [one.source_event_id for one in lacking(connected, spooled_elements(door))] == ["e1"]  # type: ignore[union-attr]


def test_another_copy_of_a_touchpoint_that_is_there_is_lacking(door: Door) -> None:
    door.put(said(0))
    door.load()
    door.put(said(0, source_updated_at=AT + 1))
    with client(door.url) as connected:
        assert [one.source_updated_at for one in lacking(connected, spooled_elements(door))] == [AT + 1]  # type: ignore[union-attr]


def test_what_was_received_a_moment_ago_is_not_looked_at_yet(door: Door) -> None:
    for number in range(4):
        door.put(said(number))
    every = list(spooled.batches(config(door), 0))
    received = [one.received_at for batch in every for one in batch.elements]
    before = list(spooled.batches(config(door), 0, received_before=received[2]))
    assert [one.source_event_id for batch in before for one in batch.elements] == ["e0", "e1"]
    assert before[-1].end < every[-1].end
