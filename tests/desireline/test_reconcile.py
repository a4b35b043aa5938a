"""What a reconciliation counts, and that it notices whatever is taken away, on a spool and a warehouse alone."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import msgspec
import pandas as pd
import pytest
from sqlalchemy import Engine

from desireline import spooled
from desireline.balance import Balance
from desireline.errors import NoSpool
from desireline.reconcile import reconcile
from ingest.config import CollectorConfig
from ingest.packing import pack_rejection
from ingest.segments import segments
from ingest.spool import Delivered, Spool, read_spool, spool_name, write_published_position
from models.household import verdicts
from models.journey_model import default_model
from models.touchpoint import Element
from tests.histories import households
from warehouse import connect, schema
from warehouse.connection import client
from warehouse.loading import Group, Loading
from warehouse.rows import Unloadable

AT = 1_793_000_000_000
MINUTE_MS = 60_000
MODEL = default_model()


def said(number: int, type_: str = "product_view", **fields: Any) -> dict[str, Any]:
    return {
        "source": "shop", "source_event_id": f"e{number}", "type": type_, "channel": "web",
        "occurred_at": AT + number * MINUTE_MS, "identifiers": [{"kind": "email", "value": f"{number % 3}@b.org"}],
        **fields,
    }  # fmt: skip


class Door:
    """A spool that bodies are put into, and a warehouse that they are loaded into as one batch."""

    def __init__(self, folder: Path, url: str) -> None:
        self.folder, self.url, self.admin = folder, url, client(url)
        self.connection: Engine = connect(url)
        for name in schema.metadata.tables:
            if name != "migrations":
                self.admin.command(f"truncate table {name}")
        self._loading = Loading(url, MODEL.phases)
        self._spool = Spool(folder, limit_bytes=10**9)
        self._bodies = 0

    def put(self, *records: dict[str, Any]) -> None:
        """One body."""
        self._bodies += 1
        id = f"{self._spool.name}{self._bodies:024x}"
        body = msgspec.json.encode(list(records))
        received_at = AT + 86_400_000 + self._bodies * 1000
        self._spool.append(Delivered(id, received_at, "touchpoints", "crm", {}, body)).result(10)

    def load(self, *others: Element, refused: str = "") -> None:
        """All that was put, as the workers do; and what came from elsewhere. `refused`: an event no table takes."""
        config = CollectorConfig(spool_dir=str(self.folder), bootstrap_servers="", model=MODEL)
        batches = list(spooled.batches(config, 0))
        elements = [element for batch in batches for element in batch.elements] + list(others)
        for element in [one for one in elements if getattr(one, "source_event_id", None) == refused]:
            elements.remove(element)
            unloadable = Unloadable(
                "touchpoint_rows", msgspec.json.encode(element), "too large", element.raw_ref
            )  # type: ignore[union-attr]
            self._loading.write(Group([("rejection", msgspec.json.encode(unloadable.rejected(AT)))]), AT)
        records = [
            ("facts", msgspec.msgpack.encode(verdicts(household, 0, MODEL)))
            for household in households(elements)
        ]
        for mapped in (mapped for batch in batches for mapped in batch.mapped):
            records += [("rejection", pack_rejection(one, 4).items[0]) for one in mapped.rejected]
        self._loading.write(Group(records), AT)  # type: ignore[arg-type]
        self._loading.settle(AT)

    def close(self) -> None:
        self._spool.close()
        self.admin.close()
        self.connection.dispose()

    def delete(self, table: str, where: str) -> None:
        self.admin.command(f"alter table {table} delete where {where} settings mutations_sync = 2")

    def reconcile(self, **options: Any) -> Balance:
        return reconcile(self.connection, self.folder, **options)

    def differences(self, **options: Any) -> list[tuple[str, str]]:
        return [(one.kind, one.id) for one in self.reconcile(**options).differences]


@pytest.fixture
def door(tmp_path: Path, warehouse: str) -> Iterator[Door]:
    made = Door(tmp_path / "spool", warehouse)
    yield made
    made.close()


@pytest.fixture
def day(door: Door) -> Door:
    """Nine touchpoints in journeys of three, sent in three bodies, with repeats, rejections and a link."""
    door.put(said(0), said(1), said(2), said(3, "add_to_cart"))
    door.put(said(3, "add_to_cart"), said(4, source_updated_at=AT + 1), said(5), {"type": "purchase"})
    door.put(
        said(4, source_updated_at=AT + 2), said(5, topic="billing"), said(6, "error_seen"), said(7), said(8)
    )
    link = [{"kind": "user_id", "value": "ann"}, {"kind": "email", "value": "0@b.org"}]
    door.put(
        {"schema": "identification/1", "source": "shop", "at": AT, "identifiers": link, "channel": "web"}
    )
    door.load()
    return door


def id_of(door: Door, event: int) -> str:
    [[id]] = door.admin.query(f"select id from touchpoints where source_event_id = 'e{event}'").result_rows
    return str(id)


def test_everything_is_counted_by_what_became_of_it(day: Door) -> None:
    balance = day.reconcile(deep=True)
    assert balance.differences == []
    assert balance.holds
    link, touchpoints = balance.as_record(0)["counts"]
    assert touchpoints == {
        "source": "shop", "channel": "web", "element": "touchpoint", "accepted": 12, "duplicate": 1, "updated": 1,
        "conflicting": 1, "rejected": 0, "loaded": 9, "stitched": 9, "missing": 0,
    }  # fmt: skip
    assert [link[name] for name in ("element", "accepted", "loaded", "stitched")] == [
        "identification",
        1,
        1,
        None,
    ]
    assert balance.counts["stitched"].tolist() == [pd.NA, 9]
    [rejected] = balance.as_record(0)["rejected"]
    assert (rejected["reason"], rejected["rejected"], rejected["missing"]) == ("missing_identity", 1, 0)
    assert balance.sentence == "13 accepted = 10 loaded + 3 sent again; 1 rejected: it adds up"


def test_the_json_is_whole_and_can_be_written(day: Door) -> None:
    day.delete("touchpoint_rows", f"id = '{id_of(day, 7)}'")
    record = msgspec.json.decode(msgspec.json.encode(day.reconcile().as_record(1)))
    assert record.keys() == {"holds", "counts", "rejected", "elsewhere", "differences", "listed"}
    assert record["holds"] is False
    assert record["differences"] == {
        "missing": 1, "missing_rejection": 0, "spool_gap": 0, "extra": 0, "astray": 1, "bucket": 0,
    }  # fmt: skip
    assert len(record["listed"]) == 1


TAKEN: dict[str, tuple[str, str, Callable[[str], list[tuple[str, str]]]]] = {
    # what is taken away        table, where ({} is the touchpoint's id)               what is said
    "a touchpoint's row":       ("touchpoint_rows", "id = '{}'",
                                 lambda id: [("missing", id), ("astray", id)]),
    "a journey's row":          ("journey_rows", "has(touchpoint_ids, '{}')", lambda id: [("astray", id)] * 3),
    "an identification":        ("identification_rows", "1", lambda id: [("missing", "")]),
    "a rejection":              ("rejected_touchpoint_rows", "reason = 'missing_identity'",
                                 lambda id: [("missing_rejection", "")]),
}  # fmt: skip


@pytest.mark.parametrize(("table", "where", "told"), TAKEN.values(), ids=TAKEN.keys())
def test_what_is_taken_away_is_named(
    day: Door, table: str, where: str, told: Callable[[str], list[tuple[str, str]]]
) -> None:
    id = id_of(day, 7)
    day.delete(table, where.format(id))
    found = day.differences()
    expected = told(id)
    assert [kind for kind, _ in found] == [kind for kind, _ in expected]
    if table == "touchpoint_rows":
        assert found == expected
    if table == "journey_rows":
        assert id in {named for _, named in found}
        [touchpoints] = [
            row for row in day.reconcile().as_record(0)["counts"] if row["element"] == "touchpoint"
        ]
        assert (touchpoints["loaded"], touchpoints["stitched"]) == (9, 6)


def test_a_journey_that_lacks_a_touchpoint_is_named(day: Door) -> None:
    id = id_of(day, 7)
    day.admin.command(
        "alter table journey_rows update touchpoint_ids = arrayFilter(x -> x != {id:String}, touchpoint_ids)"
        " where has(touchpoint_ids, {id:String}) settings mutations_sync = 2",
        parameters={"id": id},
    )
    assert ("astray", id) in day.differences()


def test_a_bucket_that_does_not_equal_its_recount_is_named(day: Door) -> None:
    assert day.differences(deep=True) == []
    [[minute]] = day.admin.query("select minute from pain_points_1m").result_rows
    day.delete("pain_points_1m_rows", f"minute = '{minute:%Y-%m-%d %H:%M:%S}'")
    assert day.differences() == []
    [(kind, named)] = day.differences(deep=True)
    assert kind == "bucket"
    assert named.startswith(f"pain_points_1m {minute:%Y-%m-%dT%H:%M} ")


def cut_out(folder: Path, number: int) -> tuple[int, int]:
    """Take an entry out of the spool; where it lay."""
    entry = list(read_spool(folder))[number]
    [(base, path)] = segments(folder)
    content = path.read_bytes()
    path.write_bytes(content[: entry.position - base] + content[entry.end - base :])
    return entry.position, entry.end


def test_a_lost_record_of_the_spool_is_said_with_its_place_and_the_rows_that_came_of_it(day: Door) -> None:
    lost = {id_of(day, event) for event in (6, 7, 8)}
    begin, end = cut_out(day.folder, 2)
    balance = day.reconcile()
    assert not balance.holds
    gap, *extra = balance.differences
    assert (gap.kind, gap.id) == ("spool_gap", f"{begin}-{end}")
    received = "received 2026-10-27T07:33:22.000+00:00 to 2026-10-27T07:33:24.000+00:00"
    assert gap.says == f"{end - begin} bytes are gone, {received}"
    assert {(one.kind, one.id) for one in extra} == {("extra", id) for id in lost}


def test_a_lost_record_that_was_never_loaded_is_said_by_its_place(door: Door) -> None:
    for number in range(3):
        door.put(said(number))
    door.load()
    door.put(said(3))
    door.put(said(4))
    begin, end = cut_out(door.folder, 3)
    kinds = door.differences()
    assert ("spool_gap", f"{begin}-{end}") in kinds
    assert [kind for kind, _ in kinds].count("missing") == 1  # what was put last and not loaded


def test_a_lost_end_of_the_spool_is_missed_if_it_was_published(day: Door) -> None:
    *_, entry = read_spool(day.folder)
    write_published_position(day.folder, entry.end)
    cut_out(day.folder, 3)
    assert ("spool_gap", f"{entry.position}-{entry.end}") in day.differences()


def test_what_was_accepted_and_no_table_takes_is_rejected_with_its_reason(door: Door) -> None:
    door.put(said(0), said(1), said(2))
    door.load(refused="e1")
    balance = door.reconcile()
    assert balance.holds
    record = balance.as_record(0)
    [counts] = record["counts"]
    assert [counts[name] for name in ("accepted", "rejected", "loaded", "missing")] == [3, 1, 2, 0]
    assert [(row["reason"], row["rejected"]) for row in record["rejected"]] == [("unloadable", 1)]
    assert balance.sentence == "3 accepted = 2 loaded + 1 rejected later; 1 rejected: it adds up"


def test_touchpoints_of_foreign_producers_and_of_other_spools_are_counted_apart(
    day: Door, tmp_path: Path
) -> None:
    config = CollectorConfig(spool_dir=str(day.folder), bootstrap_servers="", model=MODEL)
    [first, second, *_] = [element for batch in spooled.batches(config, 0) for element in batch.elements]
    day.load(
        msgspec.structs.replace(first, id="f", raw_ref=None),
        msgspec.structs.replace(second, id="o", raw_ref="spool:00000000:1"),
    )
    balance = day.reconcile()
    assert balance.holds
    assert balance.as_record(0)["elsewhere"] == [
        {"source": "shop", "channel": "web", "foreign": 1, "other_spools": 1}
    ]


def test_rows_of_entries_that_were_dropped_from_the_spool_are_no_difference(door: Door) -> None:
    for number in range(3):
        door.put(said(number))
    door.load()
    [(_, path)] = segments(door.folder)
    *_, last = read_spool(door.folder)
    path.rename(path.with_name(f"{last.end:020d}.spool"))
    path.with_name(f"{last.end:020d}.spool").write_bytes(b"")
    assert door.differences() == []


def test_without_a_spool_there_is_nothing_to_reconcile(door: Door, tmp_path: Path) -> None:
    with pytest.raises(NoSpool, match="no spool"):
        reconcile(door.connection, tmp_path / "elsewhere")
    assert spool_name(door.folder)
