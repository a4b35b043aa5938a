"""Facts become rows: every field, replaced by version, repeated at will; what is refused stays visible."""

from collections.abc import Iterator
from datetime import UTC, datetime
from decimal import Decimal

import msgspec
import pytest
from clickhouse_connect.driver.client import Client

from models.alerts import Alert
from models.identifier import Identifier
from models.touchpoint import Agent, Campaign, Correction, Device, Identification, Page, Touchpoint
from models.verdict import (
    Attempt,
    ConflictRow,
    DropOff,
    DuplicateRow,
    Facts,
    IdentityRow,
    JourneyRow,
    JudgedTouchpoint,
    PainPoint,
    Verdict,
    row_version,
)
from warehouse import schema
from warehouse.columns import journey_columns, touchpoint_columns
from warehouse.connection import client
from warehouse.rows import Rejected, Rows
from warehouse.write_errors import RowsRefused, WarehouseAway
from warehouse.writer import Writer, content_token

AT = 1_800_000_000_123
ANN = Identifier("user_id", "ann")


@pytest.fixture(scope="module")
def connected(warehouse: str) -> Iterator[Client]:
    with client(warehouse) as made:
        yield made


@pytest.fixture
def emptied(connected: Client) -> Client:
    for table in schema.metadata.tables.values():
        if table.name != "migrations":
            connected.command(f"truncate table {table.name}")
    return connected


def touchpoint(id: str = "t1", **fields) -> Touchpoint:
    return Touchpoint(
        **{
            "id": id, "source": "segment", "source_instance": "shop", "source_event_id": "e1",
            "source_type": "track", "channel": "web", "type": "add_to_cart", "occurred_at": AT,
            "received_at": AT + 7, "identifiers": (ANN,), **fields,
        }
    )  # fmt: skip


def verdict(**fields) -> Verdict:
    return Verdict(
        **{
            "customer_id": "user_id:ann", "journey_id": "j1", "ordinal": 1, "phase": "Purchase",
            "phase_move": "enter", "transaction_id": "x1", "customer_already": False, "converts": False,
            "weight": 0.25, "moment_of_truth": False, **fields,
        }
    )  # fmt: skip


def rows_of(*facts: Facts) -> Rows:
    rows = Rows()
    for one in facts:
        rows.add(one)
    return rows


def test_the_columns_are_those_of_the_tables():
    # the writer adds the number of the journey model whose tables it writes to
    assert touchpoint_columns([]).keys() == set(schema.touchpoint_rows.c.keys()) - {"model"}
    assert journey_columns([]).keys() == set(schema.journey_rows.c.keys()) - {"model"}


def test_a_touchpoint_arrives_with_every_field(emptied: Client):
    full = touchpoint(
        source_updated_at=AT + 1, session_id="s", conversation_id="c", direction="inbound", outcome="failure",
        outcome_reason="busy", wait_ms=1, hold_ms=2, talk_ms=3, duration_ms=4, transfers=5, csat=4.5, nps=9,
        ces=6.0, sentiment=-0.5, amount="12.3450", currency="EUR",
        page=Page(url="https://a/b", path="/b", title="B", referrer="https://c"),
        campaign=Campaign(name="spring", source="g", medium="cpc", term="t", content="x"),
        device=Device(type="mobile"), locale="en-GB", timezone="Europe/Berlin", persona="Builder",
        segments=("a", "b"), agent=Agent(id="7", queue="q", team="support"), topic="billing", text="hm",
        properties={"sku": ["1"]}, raw_ref="1:2:3", time_quality="received",
    )  # fmt: skip
    said = verdict(
        pain_points=(PainPoint("failure", 0.5),), delights=("reward",),
        attempts=(Attempt("cart", "abandoned", AT + 60_000, AT + 90_000), Attempt("checkout", "open")),
        drop_off=DropOff(AT + 100, AT + 200, "failure", "t0"),
    )  # fmt: skip
    row = JudgedTouchpoint(full, said, row_version(3, AT))
    assert Writer(emptied).write(rows_of(Facts(touchpoints=[row])), "a") == []
    found = emptied.query("select * from touchpoint_rows").first_item
    assert found is not None
    instant = datetime.fromtimestamp(AT // 1000, UTC).replace(microsecond=123_000)
    assert found["occurred_at"].replace(tzinfo=UTC) == instant
    assert found["occurred_on"] == instant.date()
    expected = {
        "id": "t1", "wait_ms": 1, "transfers": 5, "csat": 4.5, "nps": 9.0, "sentiment": -0.5,
        "amount": Decimal("12.3450"), "page_path": "/b", "campaign": "spring", "campaign_content": "x",
        "device_type": "mobile", "segments": ["a", "b"], "queue": "q", "properties": '{"sku":["1"]}',
        "identifiers": ["user_id:ann"], "customer_id": "user_id:ann", "weight": 0.25,
        "pain_kinds": ["failure"], "pain_severities": [0.5], "delight_kinds": ["reward"],
        "attempt_kinds": ["cart", "checkout"], "attempt_outcomes": ["abandoned", "open"],
        "drop_off_pain_touchpoint_id": "t0", "version": row_version(3, AT), "deleted": 0,
    }  # fmt: skip
    assert {name: found[name] for name in expected} == expected
    assert found["attempt_ended_ats"][1] is None
    assert found["attempt_recovered_ats"][0] is not None
    archived = emptied.query("select element from element_rows").first_row
    assert msgspec.json.decode(archived[0], type=Touchpoint) == full


def test_every_kind_of_fact_arrives(emptied: Client):
    facts = Facts(
        journeys=[
            JourneyRow(
                "t1", AT, 5, False, journey_id="j1", customer_id="user_id:ann", ended_at=AT + 9,
                touchpoint_ids=("t1", "t2"), ats=(AT, AT + 9), types=("a", "b"), channels=("web", "chat"),
                phases=("Awareness", "Purchase"), weights=(0.0, 1.0), transaction_ids=("x", "x"),
                current_phase="Purchase", furthest_phase="Purchase", values={"EUR": "10.5"},
                shape="linear", paved_path_distance=3, paved_path_steps=2,
            ),
            JourneyRow("t9", AT, 6, True),
        ],
        identities=[IdentityRow("email:a@b", "user_id:ann", "user_id:ann", 5, AT)],
        conflicts=[ConflictRow("user_id:a", "user_id:b", AT, "exclusive_kind", "user_id:a", "user_id:b", 5)],
        identifications=[
            Identification(
                id="i1", source="s", source_instance="x", channel="web", at=AT, received_at=AT,
                identifiers=(ANN,),
            )
        ],
        corrections=[Correction(id="c1", relation="same", identifiers=(ANN, ANN), at=AT, author="bo")],
        duplicates=[DuplicateRow("t1", "segment", "web", AT, '{"id":"t1"}', 5)],
        watermarks={3: AT, 4: AT + 1},
    )  # fmt: skip
    alert = Alert(
        id="a1", kind="call", channel="voice", opened_at=AT, observed_rate=0.8, expected_rate=0.1,
        attempts=10, abandoned=8, probability=1e-9, message="calls are abandoned",
    )  # fmt: skip
    rows = rows_of(facts)
    rows.alerts = [alert, msgspec.structs.replace(alert, resolved_at=AT + 60_000)]
    rows.rejected = [Rejected(id="r1", received_at=AT, reason="bad_time", raw_base64="aGkg/w==")]
    assert Writer(emptied).write(rows, "a") == []

    def answer(question: str) -> list[tuple]:
        return [tuple(row) for row in emptied.query(question).result_rows]

    assert answer("select id, phases, values from journeys") == [
        ("t1", ["Awareness", "Purchase"], {"EUR": Decimal("10.5")})
    ]
    assert answer("select shape, paved_path_distance, paved_path_steps from journeys") == [("linear", 3, 2)]
    assert answer("select identifier, customer_id from identities") == [("email:a@b", "user_id:ann")]
    assert answer("select reason from identity_conflicts") == [("exclusive_kind",)]
    assert answer("select id, kind from identification_rows order by id") == [
        ("c1", "same"),
        ("i1", "identification"),
    ]
    assert answer("select reason, content from rejected_touchpoints order by reason") == [
        ("bad_time", "hi \N{REPLACEMENT CHARACTER}"),
        ("conflicting_duplicate", '{"id":"t1"}'),
    ]
    assert answer("select id, resolved_at is null, attempts from alerts") == [("a1", 0, 10)]
    assert answer("select partition, toUnixTimestamp64Milli(watermark) from watermarks final order by 1") == [
        (3, AT),
        (4, AT + 1),
    ]


def test_the_greater_version_counts_in_any_order(emptied: Client):
    writer = Writer(emptied)
    for version, phase in ((7, "Retention"), (6, "Purchase"), (7, "Retention")):
        row = JudgedTouchpoint(touchpoint(), verdict(phase=phase), version)
        writer.write(rows_of(Facts(touchpoints=[row])), f"{version}{phase}")
    assert emptied.query("select phase from touchpoints").result_rows == [("Retention",)]


def test_a_settled_duplicate_is_shown_no_more(emptied: Client):
    writer = Writer(emptied)
    for version, deleted in ((5, False), (6, True)):
        duplicate = DuplicateRow("t1", "segment", "web", AT, '{"id":"t1"}', version, deleted)
        writer.write(rows_of(Facts(duplicates=[duplicate])), str(version))
    assert emptied.query("select count() from rejected_touchpoints").first_row == (0,)


def test_a_row_that_the_warehouse_refuses_is_named_and_the_others_are_loaded(emptied: Client):
    rows = [JudgedTouchpoint(touchpoint(f"t{n}"), verdict(), 1) for n in range(9)]
    rows[4] = JudgedTouchpoint(touchpoint("t4", amount="99999999999999999999"), verdict(), 1)
    rows[7] = JudgedTouchpoint(touchpoint("t7", wait_ms=-1), verdict(), 1)
    refused = Writer(emptied).write(rows_of(Facts(touchpoints=rows)), "a")
    assert [msgspec.json.decode(row.content)[0]["id"] for row in refused] == ["t4", "t7"]
    assert all(row.reason for row in refused)
    shown = refused[0].rejected(AT)
    assert (shown.reason, "t4" in shown.content) == ("unloadable", True)
    assert emptied.query("select count() from touchpoints").first_row == (7,)


def test_a_warehouse_that_is_away_or_has_no_tables_is_told_apart_from_refused_rows(warehouse: str):
    rows = rows_of(Facts(touchpoints=[JudgedTouchpoint(touchpoint(), verdict(), 1)]))
    with (
        client(warehouse, database="default") as elsewhere,
        pytest.raises(WarehouseAway, match="element_rows"),
    ):
        Writer(elsewhere).write(rows, "a")
    with client(warehouse) as there, pytest.raises(RowsRefused):
        Writer(there).insert(schema.watermarks, {"partition": ["three"], "watermark": [AT]}, "a")


def test_the_token_is_of_the_content():
    assert content_token([b"ab", b"c"]) == content_token(iter([b"ab", b"c"]))
    assert content_token([b"ab", b"c"]) != content_token([b"a", b"bc"])
