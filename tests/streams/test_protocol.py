"""Single steps of the protocol; its whole is in test_protocol_scheduler.py."""

from typing import NamedTuple

import msgspec
import pytest

from models.identifier import Identifier
from models.touchpoint import Element, Touchpoint
from models.verdict import row_version
from streams import codecs
from streams.protocol import Nodes, Position
from streams.putting_back import encode_pasts, encode_put_back, encode_watermark
from tests.histories import MODEL, NOON

ANN = Identifier("user_id", "ann")
COOKIE = Identifier("anonymous_id", "a1")


def touchpoint(id: str, at: int = 0, *identifiers: Identifier, type_: str = "page_view") -> Touchpoint:
    return Touchpoint(
        id=id, source="test", source_instance="shop", source_event_id=id, source_type="test", channel="web",
        type=type_, occurred_at=NOON + at, received_at=NOON + at, identifiers=identifiers or (ANN,),
    )  # fmt: skip


def trusting(**begun: int) -> Nodes:
    nodes = Nodes(0, 1, MODEL)
    nodes.guard({}, {}, trusting=True)
    return nodes


class Past(NamedTuple):
    elements: list[Element]
    elements_seen: int
    watermark: int


def put_back(nodes: Nodes, *pasts: Past) -> None:
    for offset, record in enumerate(encode_pasts(pasts, MODEL.identifier_order, 1)):
        nodes.receive_messages(codecs.decode_messages(record.value), Position("journeys.inbox", offset))


def test_what_is_put_back_is_said_with_greater_versions_than_before_the_loss() -> None:
    nodes = trusting()
    put_back(nodes, Past([touchpoint("t1")], elements_seen=9, watermark=NOON + 5))
    (row,) = nodes.say_all().touchpoints
    assert row.version > row_version(9, NOON + 5)


def test_a_household_that_is_put_back_is_said_as_a_whole_before_its_links_have_arrived() -> None:
    nodes = trusting()
    linked = touchpoint("t1", 0, COOKIE), touchpoint("t2", 1, ANN, COOKIE)
    put_back(nodes, Past([*linked], elements_seen=2, watermark=NOON + 5))
    rows = nodes.say_all().touchpoints
    assert {(row.touchpoint.id, row.verdict.customer_id) for row in rows} == {
        ("t1", ANN.key),
        ("t2", ANN.key),
    }


def settled(nodes: Nodes, waiting: list[codecs.Message]) -> set[str]:
    """Handle messages and what they cause; the identifiers that the archive was asked about."""
    asked: set[str] = set()
    offset = 100
    while waiting:
        offset += 1
        waiting = nodes.receive_messages(waiting, Position("journeys.inbox", offset)).messages.get(0, [])
        asked.update(key for wanted in nodes.requests() for key in wanted.identifiers)
    return asked


def test_nothing_more_is_asked_of_a_household_that_is_put_back_whole() -> None:
    nodes = trusting()
    settled(nodes, codecs.decode_messages(encode_watermark(0, NOON, partial=True).value))
    past = Past([touchpoint("t1", 0, ANN, COOKIE)], elements_seen=1, watermark=NOON)
    (record,) = encode_pasts([past], MODEL.identifier_order, 1)
    assert settled(nodes, codecs.decode_messages(record.value)) == set()
    assert nodes.parents == {COOKIE.key: ANN.key}


def test_whoever_comes_while_others_are_put_back_is_asked_for_with_whom_they_are_seen() -> None:
    nodes = trusting()
    settled(nodes, codecs.decode_messages(encode_watermark(0, NOON, partial=True).value))
    waiting = nodes.receive([touchpoint("t1", 0, ANN, COOKIE)], Position("web", 0)).messages.get(0, [])
    asked = {key for wanted in nodes.requests() for key in wanted.identifiers}
    assert asked | settled(nodes, waiting) == {ANN.key, COOKIE.key}


def test_who_waited_for_the_archive_without_holding_anything_does_not_wait_for_ever() -> None:
    """Of what a worker did before a crash this alone was durable: that the archive was to be asked."""
    before = trusting()
    (record,) = encode_pasts([Past([touchpoint("t1")], 1, NOON)], MODEL.identifier_order, 1)
    put_back_at = Position("journeys.inbox", 0)
    before.receive_messages(codecs.decode_messages(record.value), put_back_at)
    partial = codecs.decode_messages(encode_watermark(0, NOON, partial=True).value)
    nodes = Nodes(0, 1, MODEL)
    for entry in before.receive_messages(partial, Position("journeys.inbox", 1)).entries:
        nodes.load(*entry)
    list(nodes.recovered())
    nodes.guard({"journeys.inbox": 2}, {"journeys.inbox": 0}, trusting=True)
    nodes.receive_messages(codecs.decode_messages(record.value), put_back_at)
    nodes.receive_messages(partial, Position("journeys.inbox", 1))
    assert [row.touchpoint.id for row in nodes.say_all().touchpoints] == ["t1"]


def test_who_is_asked_for_after_some_was_said_says_no_journey_until_the_archive_has_told() -> None:
    nodes = trusting()
    nodes.receive([touchpoint("t1")], Position("touchpoints.web", 1))
    assert [row.touchpoint.id for row in nodes.judge().touchpoints] == ["t1"]
    partial = codecs.decode_messages(encode_watermark(0, NOON, partial=True).value)
    nodes.receive_messages(partial, Position("journeys.inbox", 1))
    nodes.receive([touchpoint("t2", 1)], Position("touchpoints.web", 2))
    said = nodes.say_all()
    assert (said.touchpoints, said.journeys) == ([], [])
    put_back(nodes, Past([touchpoint("t0", -1)], elements_seen=1, watermark=NOON))
    settled(nodes, [codecs.Rehydrated(ANN.key, ANN.key)])
    said = nodes.say_all()
    assert {row.touchpoint.id for row in said.touchpoints} == {"t0", "t1", "t2"}
    assert [row.touchpoint_ids for row in said.journeys if not row.deleted] == [("t0", "t1", "t2")]


def test_a_merge_says_with_greater_versions_than_either_household_did() -> None:
    nodes = trusting()
    put_back(nodes, Past([touchpoint("t1", 0, COOKIE)], elements_seen=9, watermark=NOON + 5))
    nodes.say_all()
    offset = 0
    waiting = nodes.receive([touchpoint("t2", 1, ANN, COOKIE)], Position("web", 0)).messages.get(0, [])
    while waiting:
        offset += 1
        waiting = nodes.receive_messages(waiting, Position("journeys.inbox", offset)).messages.get(0, [])
    rows = nodes.say_all().touchpoints
    assert {row.touchpoint.id for row in rows} == {"t1", "t2"}
    assert all(row.version > row_version(9, NOON + 5) for row in rows)


def test_entries_of_the_changelog_bring_the_state_back() -> None:
    nodes = trusting()
    put_back(nodes, Past([], 0, 0))
    entries = nodes.receive([touchpoint("t1"), touchpoint("t2", 1)], Position("web", 3)).entries
    entries.append(codecs.watermark_entry(1, NOON + 7))
    again = Nodes(0, 1, MODEL)
    for key, value in entries:
        again.load(key, value)
    assert list(again.recovered()) in ([], [0])
    assert again.watermark.value == NOON + 7
    assert {element.id for element in again.households["user_id:ann"].elements()} == {"t1", "t2"}


def test_a_watermark_that_a_predecessor_wrote_late_does_not_count() -> None:
    nodes = Nodes(0, 1, MODEL)
    for generation, watermark in ((1, 10), (2, 20), (1, 90)):
        nodes.load(*codecs.watermark_entry(generation, watermark))
    assert nodes.watermark.value == 20


def test_the_watermark_can_be_put_back() -> None:
    nodes = trusting()
    record = encode_watermark(0, NOON)
    nodes.receive_messages(codecs.decode_messages(record.value), Position("journeys.inbox", 0))
    assert nodes.watermark.value == NOON


def test_a_file_load_does_not_move_the_watermark() -> None:
    nodes = trusting()
    nodes.receive([touchpoint("t1", 10)], Position("web", 0), moves_watermark=False)
    assert nodes.watermark.value == 0
    nodes.receive([touchpoint("t2", 10)], Position("web", 1))
    assert nodes.watermark.value == NOON + 10 - MODEL.allowed_lateness_ms


def test_a_touchpoint_that_says_it_comes_from_the_future_does_not_move_the_watermark() -> None:
    nodes = trusting()
    nodes.receive([touchpoint("t1", 10**12)], Position("web", 0), now=NOON)
    assert nodes.watermark.value == 0


def test_what_is_put_back_keeps_below_the_limit_of_a_message() -> None:
    elements = [touchpoint(f"t{number}", number) for number in range(4000)]
    records = encode_put_back(elements, MODEL.identifier_order, 1)
    assert len(records) > 1
    assert all(len(record.value) < 2 * codecs.PART_BYTES for record in records)


def test_resting_households_say_the_same() -> None:
    elements = [
        touchpoint(f"t{number}", number, Identifier("user_id", f"u{number % 7}")) for number in range(40)
    ]
    awake, resting = trusting(), Nodes(0, 1, MODEL, awake_limit=0)
    resting.guard({}, {}, trusting=True)
    for offset, element in enumerate(elements):
        said = []
        for nodes in (awake, resting):
            nodes.receive([element], Position("web", offset))
            said.append(nodes.say_all())
        assert said[0] == said[1]
    assert resting.households.resting > 0


def taken_over(entries: list[codecs.Entry], fingerprint: str) -> Nodes:
    """The partition as a worker under this model finds it."""
    nodes = Nodes(0, 1, MODEL, fingerprint=fingerprint)
    for entry in entries:
        nodes.load(*entry)
    list(nodes.recovered())
    nodes.guard({"web": 1000}, {"web": 1000}, trusting=True)
    return nodes


def test_what_was_said_under_another_model_is_said_again_a_few_households_at_a_time(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("streams.protocol._ELEMENTS_AGAIN", 10)
    before = taken_over([], "old")
    elements = [
        touchpoint(f"t{number}", number, Identifier("user_id", f"u{number % 10}")) for number in range(40)
    ]
    entries = before.receive(elements, Position("web", 0)).entries
    before.say_all()
    assert before.judged_under == "old"
    entries.append(codecs.watermark_entry(1, NOON + 40, before.judged_under))

    assert not taken_over(entries, "old").say_all().touchpoints
    nodes = taken_over(entries, "new")
    said = []
    while nodes.judged_under == "old":  # whoever comes next begins again
        said.append({row.touchpoint.id for row in nodes.say_all().touchpoints})
    assert [len(some) for some in said] == [12, 12, 12, 4]
    assert set.union(*said) == {element.id for element in elements}
    assert nodes.judged_under == "new"
    entries.append(codecs.watermark_entry(2, NOON + 40, nodes.judged_under))
    assert not taken_over(entries, "new").say_all().touchpoints


def test_a_changelog_that_names_no_model_is_of_the_same_one() -> None:
    entry = codecs.Entry(codecs.watermark_entry(1, 0).key, msgspec.msgpack.encode(NOON))  # as it was once
    nodes = taken_over([entry], "new")
    assert nodes.watermark.value == NOON
    assert not nodes.owes
