"""Records in our own form, from senders and from files."""

import json
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ingest.mapped import Delivery, Mapped
from ingest.sources import canonical
from models.journey_model import default_model, load_model, template
from models.touchpoint import Clock, Identification, Touchpoint
from streams import channel_records
from tests.ingest.fixtures import fixture

AT = 1_709_640_000_000


def map_records(*records: Any, from_file: bool = False, **fields: Any) -> Mapped:
    given = {"source_instance": "crm", "received_at": AT, "raw_ref": "spool:x", "model": default_model()}
    body = json.loads(json.dumps(list(records)))
    return canonical.map_records(body, Delivery(**{**given, **fields}), from_file=from_file)


def record(**fields: Any) -> dict[str, Any]:
    said = {
        "source_event_id": "e-1", "type": "purchase", "occurred_at": AT - 1000,
        "identifiers": [{"kind": "email", "value": "A@b.org"}],
    }  # fmt: skip
    return {name: value for name, value in {**said, **fields}.items() if value is not ...}


def deep(levels: int) -> dict[str, Any]:
    said: dict[str, Any] = {}
    for _ in range(levels):
        said = {"a": said}
    return said


def one(**fields: Any) -> Touchpoint:
    mapped = map_records(record(**fields))
    assert not mapped.rejected, mapped.rejected
    [found] = mapped.records
    assert isinstance(found, Touchpoint)
    return found


def test_the_examples_are_taken_with_their_own_ids() -> None:
    examples = fixture("canonical_touchpoint_examples")["events"]
    mapped = map_records(*examples)
    assert not mapped.rejected
    assert [found.id for found in mapped.records] == [example["id"] for example in examples]  # type: ignore[union-attr]
    first = mapped.records[0]
    assert isinstance(first, Touchpoint)
    assert first.occurred_at == 1_709_631_009_000
    assert first.received_at == AT  # ours, whatever the sender says
    assert first.identifiers[0].verified


def test_what_can_be_known_may_be_left_out() -> None:
    said = one()
    assert (said.source, said.source_instance, said.source_type) == ("generic", "crm", "purchase")
    assert said.channel == "web"
    assert said.id == one(occurred_at=AT - 5).id  # of the sender's id
    assert said.raw_ref == "spool:x:0"


def test_times_are_texts_or_milliseconds() -> None:
    assert one(occurred_at="2024-03-05T12:00:00.5+00:00").occurred_at == AT + 500
    assert one(occurred_at=str(AT)).occurred_at == AT


def test_numbers_may_be_texts() -> None:
    said = one(wait_ms="1500", csat="4.5", nps="9", amount="9.9", currency="eur")
    assert (said.wait_ms, said.csat, said.nps, said.amount, said.currency) == (1500, 4.5, 9, "9.90", "EUR")


def test_a_type_that_nobody_knows_is_kept_as_custom() -> None:
    said = one(type="handshake")
    assert (said.type, said.source_type) == ("custom", "handshake")


REJECTED = {
    "no object": (5, "invalid_field"),
    "another schema": (record(schema="touchpoint/9"), "unknown_type"),
    "no id": (record(source_event_id=...), "invalid_field"),
    "no time at all": (record(occurred_at=...), "bad_timestamp"),
    "properties without a bottom": (record(properties=deep(40)), "invalid_field"),
    "no type": (record(type=...), "missing_type"),
    "nobody": (record(identifiers=[]), "missing_identity"),
    "a placeholder": (record(identifiers=[{"kind": "email", "value": "unknown"}]), "missing_identity"),
    "a kind that is none": (record(identifiers=[{"kind": "fax", "value": "1"}]), "invalid_field"),
    "no list of identifiers": (record(identifiers="a@b.org"), "invalid_field"),
    "no time": (record(occurred_at="soon"), "bad_timestamp"),
    "the last century": (record(occurred_at=1), "timestamp_out_of_range"),
    "a channel that is none": (record(channel="fax"), "invalid_field"),
    "a score beyond its range": (record(csat=6), "invalid_field"),
    "half a point": (record(nps=7.5), "invalid_field"),
    "a negative wait": (record(wait_ms=-1), "invalid_field"),
    "an amount without currency": (record(amount="5"), "invalid_field"),
    "an amount that is none": (record(amount="much", currency="EUR"), "invalid_field"),
    "a currency that is none": (record(amount="5", currency="€"), "invalid_field"),
    "a direction that is none": (record(direction="up"), "invalid_field"),
    "a page that is none": (record(page="home"), "invalid_field"),
    "properties that are none": (record(properties=[1]), "invalid_field"),
    "too large": (record(text="x" * 600_000), "event_too_large"),
}


@pytest.mark.parametrize(("said", "reason"), REJECTED.values(), ids=REJECTED.keys())
def test_rejected_alone(said: Any, reason: str) -> None:
    mapped = map_records(record(), said)
    assert len(mapped.records) == 1
    assert [(found.reason, found.raw_ref) for found in mapped.rejected] == [(reason, "spool:x:1")]


def test_a_channel_of_the_models_own_is_taken_and_any_other_is_rejected() -> None:
    model = load_model("channels: [store]\n" + template("default"), where="own.yaml")
    mapped = map_records(record(channel="store"), record(channel="branch"), model=model)
    assert [getattr(one, "channel", None) for one in mapped.records] == ["store"]
    assert [rejected.detail for rejected in mapped.rejected] == [
        'channel "branch" is none of web, chat, voice, billing, store'
    ]


def test_an_identification_links() -> None:
    identifiers = [{"kind": "email", "value": "a@b.org"}, {"kind": "user_id", "value": 7}]
    said = {"schema": "identification/1", "at": AT - 5, "channel": "chat", "identifiers": identifiers}
    [found] = map_records(said).records
    assert isinstance(found, Identification)
    assert [i.key for i in found.identifiers] == ["email:a@b.org", "user_id:7"]
    assert (found.at, found.channel) == (AT - 5, "chat")


def test_a_line_that_is_no_row_is_rejected_with_its_text() -> None:
    mapped = map_records(record(), "a,b", from_file=True)
    assert mapped.from_file
    assert [(found.reason, found.raw_ref) for found in mapped.rejected] == [("invalid_json", "spool:x:1")]
    assert mapped.rejected[0].raw_base64


def test_a_clock_says_nothing_of_what_is_to_come() -> None:
    records = map_records(
        {"schema": "clock/1", "at": AT - 1, "source": "shop"}, {"schema": "clock/1", "at": AT + 60_000}
    ).records
    assert records == [Clock(at=AT - 1, source="shop"), Clock(at=AT, source="generic")]
    assert map_records({"schema": "clock/1", "at": 4_102_444_800_000}).rejected


def test_a_number_that_the_workers_cannot_write_becomes_a_text() -> None:
    assert one(properties={"big": 10**30}).properties == {"big": str(10**30)}


def test_secrets_are_left_out() -> None:
    said = one(page={"url": "https://s.example/?token=t&a=1"}, properties={"password": "p", "a": 1})
    assert said.page
    assert said.page.url == "https://s.example/?a=1"
    assert said.properties == {"a": 1}


json_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=9),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)
odd_records = st.dictionaries(
    st.sampled_from([*Touchpoint.__struct_fields__, "schema", "at"]),
    json_values
    | st.sampled_from(
        ["touchpoint/1", "identification/1", "clock/1", "purchase", "web", AT, "2024-03-05"]
    ),
    max_size=10,
)  # fmt: skip


@given(st.lists(odd_records | odd_records.map(lambda said: {**record(), **said}), max_size=3), st.booleans())
def test_whatever_comes_each_record_is_taken_or_rejected(records: list[Any], from_file: bool) -> None:
    body = msgspec.json.decode(msgspec.json.encode(records))
    delivery = Delivery(source_instance="crm", received_at=AT, raw_ref="spool:x", model=default_model())
    mapped = canonical.map_records(body, delivery, from_file=from_file)
    assert len(mapped.records) + len(mapped.rejected) == len(records)
    assert not [found for found in mapped.rejected if found.reason == "mapping_error"]
    read = channel_records.decode(msgspec.json.encode(mapped.records))
    assert not read.rejected
    assert read.records == mapped.records
    msgspec.msgpack.encode(mapped.records)


def test_a_rejected_row_of_a_file_says_where_it_lies() -> None:
    headers = {canonical.FILE_REQUEST_HEADER: "orders: new.csv:501"}
    mapped = map_records(record(), record(type=...), from_file=True, headers=headers)
    assert len(mapped.records) == 1
    assert [one.detail for one in mapped.rejected] == ['orders: new.csv:502: the touchpoint has no "type"']
