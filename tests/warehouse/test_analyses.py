"""Each analysis on rows small enough to count by hand; and the two ways to one answer agree."""

import time
from contextlib import nullcontext
from datetime import UTC, datetime, timedelta
from typing import Any

import pandas as pd
import pytest
from clickhouse_connect.driver.client import Client
from sqlalchemy import Engine, text

from models.identifier import IdentifierOrder
from models.journey_model import default_model, template
from tests.warehouse.stories import (
    EPOCH_MS,
    MINUTE_MS,
    Told,
    empty,
    insert,
    load,
    moment,
    set_watermark,
    story,
)
from warehouse import (
    alerts,
    connect,
    conversion,
    customers,
    drop_offs,
    funnels,
    journey_map,
    pain_points,
    rejected,
    status,
    summary,
)
from warehouse.answer import Parts, QuestionError, ask
from warehouse.journey_models import register
from warehouse.statistics import wilson

PHASES = default_model().phases
DAY_MS = 86_400_000


@pytest.fixture
def emptied(loader: Client) -> Client:
    empty(loader)
    return loader


def rows(answer: pd.DataFrame, *names: str) -> list[tuple[Any, ...]]:
    """The rows as plain tuples, of these columns or of all."""
    chosen = answer[list(names)] if names else answer
    return [
        tuple(None if value != value else value for value in row) for row in chosen.itertuples(index=False)
    ]


def known(loader: Client) -> None:
    """Ada, who is known by four names on three channels, and Bob."""
    ada = "user_id:ada"
    told = [
        ("0", "view", "web", ["anonymous_id:x"]),
        ("1", "call_queued", "voice", ["phone:+442079460123"]),
        ("2", "login", "web", [ada, "anonymous_id:x"]),
        ("3", "login", "web", [ada, "anonymous_id:x"]),
    ]
    load(
        loader,
        [
            Told(ada, EPOCH_MS + int(n) * MINUTE_MS, type_, n, {"channel": channel, "identifiers": names})
            for n, type_, channel, names in told
        ],
    )
    load(loader, [Told("email:bob@x.org", EPOCH_MS, "view", "b", {"identifiers": ["email:bob@x.org"]})])
    owned = [(name, ada) for name in (ada, "anonymous_id:x", "phone:+442079460123", "email:ada@x.org")]
    insert(
        loader,
        "identity_rows",
        [
            {
                "identifier": name,
                "customer_id": owner,
                "household_id": owner,
                "version": 1,
                "first_linked_at": None,
            }
            for name, owner in [
                *owned,
                ("email:bob@x.org", "email:bob@x.org"),
                ("phone:x", "email:bob@x.org"),
            ]
        ],
    )
    insert(
        loader,
        "identification_rows",
        [
            {"id": "i1", "at": moment(EPOCH_MS + 9), "kind": "identification", "element": "{}",
             "identifiers": [ada, "phone:+442079460123"]},
            {"id": "i2", "at": moment(EPOCH_MS + 8), "kind": "same", "element": '{"author":"ann","reason":"x"}',
             "identifiers": ["email:ada@x.org", ada]},
        ],
    )  # fmt: skip


@pytest.mark.parametrize(
    "identifier",
    ["user_id:ada", "ada", "anonymous_id:x", "phone:+44 20 7946 0123", "email:Ada@X.org", "ada@x.org"],
)
def test_a_customer_is_found_by_any_identifier(asked: Engine, emptied: Client, identifier: str) -> None:
    known(emptied)
    story = customers.customer(asked, identifier)
    assert rows(story, "type", "channel") == [
        ("view", "web"), ("call_queued", "voice"), ("login", "web"), ("login", "web"),
    ]  # fmt: skip
    names = list(story.parts["identifiers"]["identifier"])
    assert len(names) == 4
    assert names == sorted(names, key=IdentifierOrder().rank)
    assert story["emotion"].tolist() == [round(emotion, 2) for emotion in story["emotion"]]
    assert rows(story.parts["journeys"], "touchpoints") == [(4,)]


def test_how_identifiers_were_joined_is_told(asked: Engine, emptied: Client) -> None:
    known(emptied)
    ada, at = "user_id:ada", moment(EPOCH_MS)
    assert rows(customers.customer(asked, "ada").parts["links"]) == [
        (at + timedelta(milliseconds=8), ada, "email:ada@x.org", "same by ann", 1),
        (at + timedelta(milliseconds=9), ada, "phone:+442079460123", "identify", 1),
        (at + timedelta(minutes=2), ada, "anonymous_id:x", "web login", 2),
    ]
    assert customers.customer(asked, "email:bob@x.org").parts["links"].empty


def test_nobody_and_more_than_one_are_said(asked: Engine, emptied: Client) -> None:
    known(emptied)
    with pytest.raises(QuestionError, match='nobody goes by "user_id:eve"'):
        customers.customer(asked, "user_id:eve")
    with pytest.raises(QuestionError, match='"x" names 2 customers'):
        customers.customer(asked, "x")


def test_a_customer_is_found_as_the_model_spells_identifiers_from_the_moment_it_is_current(
    asked: Engine, emptied: Client
) -> None:
    row = {"identifier": "phone:+4930901820", "customer_id": "user_id:ada", "household_id": "user_id:ada"}
    insert(emptied, "identity_rows", [row])
    for number, region, found in ((1, "GB", False), (2, "DE", True)):
        text = template("default").replace("phone_region: null", f"phone_region: {region}")
        register(emptied, text, where="model.yaml", number=number, state="current")
        with nullcontext() if found else pytest.raises(QuestionError, match="nobody goes by"):
            assert customers.customer(asked, "phone:030 901820").parts["customer"]["identifiers"] == 1
            assert customers.customer_of(asked, "030 901820") == "user_id:ada"


def test_a_customer_who_was_merged_into_another_has_nothing_left(asked: Engine, emptied: Client) -> None:
    load(emptied, [Told("user_id:old", EPOCH_MS, "view", "t")])
    load(emptied, [Told("user_id:new", EPOCH_MS, "view", "t")], version=2)
    for owner, version in (("user_id:old", 1), ("user_id:new", 2)):
        row = {"identifier": "user_id:old", "customer_id": owner, "household_id": owner, "version": version}
        insert(emptied, "identity_rows", [row])
    found = customers.customer(asked, "user_id:old")
    assert (found.parts["customer"]["customer_id"], len(found)) == ("user_id:new", 1)


def test_alerts_the_newest_first_each_as_it_stands_now(asked: Engine, emptied: Client) -> None:
    def alert(id: str, hour: int, version: int, resolved: int | None = None) -> dict[str, Any]:
        at = None if resolved is None else moment(EPOCH_MS + resolved * 60 * MINUTE_MS)
        return {
            "id": id, "kind": "call", "channel": "voice", "opened_at": moment(EPOCH_MS + hour * 60 * MINUTE_MS),
            "resolved_at": at, "version": version, "attempts": 9, "abandoned": 8, "message": "m",
        }  # fmt: skip

    insert(emptied, "alert_rows", [alert("a", 1, 1), alert("b", 2, 1), alert("a", 1, 2, 3)])
    answer = alerts.alerts(asked)
    assert rows(answer, "id", "abandoned") == [("b", 8), ("a", 8)]
    assert answer["resolved_at"].isna().to_list() == [True, False]
    assert str(answer["opened_at"].dt.tz) == "UTC"
    assert rows(alerts.alerts(asked, open_only=True), "id") == [("b",)]
    assert rows(alerts.alerts(asked, until=moment(EPOCH_MS + 120 * MINUTE_MS)), "id") == [("a",)]


def test_rejected_the_latest_first_and_one_of_them_whole(asked: Engine, emptied: Client) -> None:
    insert(
        emptied,
        "rejected_touchpoint_rows",
        [
            {
                "id": f"r{n}",
                "received_at": moment(EPOCH_MS + n),
                "reason": reason,
                "content": "{",
                "version": 1,
            }
            for n, reason in enumerate(["unreadable", "unreadable", "oversized"])
        ],
    )
    assert rows(rejected.rejected(asked), "id") == [("r2",), ("r1",), ("r0",)]
    assert rows(rejected.rejected(asked, reason="unreadable", limit=1), "id") == [("r1",)]
    assert rows(rejected.rejection(asked, "r0"), "content") == [("{",)]
    assert rejected.rejection(asked, "r9").empty


def test_the_summary_counts_what_there_is(asked: Engine, emptied: Client) -> None:
    known(emptied)
    [row] = summary.summary(asked).to_dict("records")
    assert {name: row[name] for name in ("touchpoints", "journeys", "customers", "identifiers")} == {
        "touchpoints": 5, "journeys": 2, "customers": 2, "identifiers": 6,
    }  # fmt: skip
    assert (row["merged_customers"], row["by_channel"]) == (1, {"voice": 1, "web": 4})


def test_the_summary_of_nothing_is_zeros(asked: Engine, emptied: Client) -> None:
    [row] = summary.summary(asked).to_dict("records")
    assert (row["touchpoints"], row["customers"], row["by_channel"]) == (0, 0, {})


def test_status_names_every_table(asked: Engine, emptied: Client) -> None:
    load(emptied, story("ann", "0 view, 1 buy"))
    found = dict(rows(status.status(asked), "name", "rows"))
    assert (found["touchpoint_rows"], found["journey_rows"], found["alert_rows"]) == (2, 1, 0)


def test_the_watermark_is_that_of_the_partition_furthest_behind(asked: Engine, emptied: Client) -> None:
    assert alerts.alerts(asked).watermark is None
    set_watermark(emptied, EPOCH_MS, EPOCH_MS + 5)
    # it moves on, and ClickHouse has not merged yet
    insert(emptied, "watermarks", [{"partition": 0, "watermark": moment(EPOCH_MS + 7)}])
    assert alerts.alerts(asked).watermark == moment(EPOCH_MS + 5)


def test_the_watermark_is_an_instant_of_utc_wherever_one_asks(
    asked: Engine, emptied: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    set_watermark(emptied, EPOCH_MS)
    try:
        monkeypatch.setenv("TZ", "Asia/Tokyo")
        time.tzset()
        assert alerts.alerts(asked).watermark == moment(EPOCH_MS)
    finally:
        monkeypatch.undo()
        time.tzset()


def test_a_part_is_made_once_and_only_when_it_is_looked_at() -> None:
    made: list[str] = []
    parts = Parts(one=lambda: made.append("one") or made, other=lambda: made.append("other") or made)
    assert (list(parts), made) == (["one", "other"], [])
    assert parts["one"] is parts["one"]
    assert made == ["one"]


EVERY = {
    "alerts": alerts.alerts,
    "conversion": conversion.conversion,
    "drop_offs": drop_offs.drop_offs,
    "pain_points": pain_points.pain_points,
    "rejected": rejected.rejected,
}


@pytest.mark.parametrize("analysis", EVERY.values(), ids=EVERY.keys())
def test_of_an_empty_warehouse_every_answer_is_empty_and_has_its_columns(
    asked: Engine, emptied: Client, analysis: Any
) -> None:
    answer = analysis(asked)
    assert answer.empty
    assert len(answer.columns) > 5


@pytest.mark.parametrize("analysis", EVERY.values(), ids=EVERY.keys())
def test_a_range_that_holds_nothing_is_said(asked: Engine, analysis: Any) -> None:
    with pytest.raises(QuestionError, match="holds nothing"):
        analysis(asked, since=moment(EPOCH_MS), until=moment(EPOCH_MS))


@pytest.mark.parametrize("analysis", EVERY.values(), ids=EVERY.keys())
def test_the_sql_of_an_answer_runs_as_it_is_shown(asked: Engine, emptied: Client, analysis: Any) -> None:
    answer = analysis(
        asked, since=datetime(2026, 1, 1, 0, 0, 0, 500_000, UTC), until=datetime(2026, 2, 1, tzinfo=UTC)
    )
    for question in answer.sql().split(";\n\n"):
        emptied.query(question)


def test_values_are_bound_and_never_part_of_the_sql(asked: Engine, emptied: Client) -> None:
    for nasty in ("'; drop table x; --", "%s %(x)s {x:String} :x", "\\", "`\"'"):
        assert rejected.rejected(asked, reason=nasty).empty
        with pytest.raises(QuestionError):
            customers.customer(asked, nasty)
        found = ask(asked, text("select :value as value, length(:value) as length"), {"value": nasty})
        assert rows(found) == [(nasty, len(nasty))]


COLUMN_TYPES = {
    "text": ("'a'", "str"),
    "text of a dictionary": ("toLowCardinality('a')", "str"),
    "whole numbers": ("toUInt64(1)", "int64"),
    "whole numbers, some missing": ("toNullable(toUInt32(1))", "float64"),
    "fractions": ("toFloat32(1)", "float64"),
    "instants": ("toDateTime64(1, 3, 'UTC')", "datetime64[ms, UTC]"),
    "instants, some missing": ("toNullable(toDateTime64(1, 3, 'UTC'))", "datetime64[ms, UTC]"),
    "truths": ("true", "bool"),
}


@pytest.mark.parametrize(("sql", "dtype"), COLUMN_TYPES.values(), ids=COLUMN_TYPES.keys())
def test_a_column_has_the_same_dtype_with_rows_and_without(asked: Engine, sql: str, dtype: str) -> None:
    assert str(ask(asked, text(f"select {sql} as a"))["a"].dtype) == dtype
    if dtype != "bool":
        assert str(ask(asked, text(f"select {sql} as a from numbers(0)"))["a"].dtype) == dtype


def test_a_reader_may_ask_every_question(warehouse: str, emptied: Client) -> None:
    known(emptied)
    reading = connect(warehouse.replace("http://", "http://reader:@"))
    for analysis in (*EVERY.values(), summary.summary, status.status):
        analysis(reading)
    for question in (customers.customer, customers.customer_of):
        question(reading, "ada")
    for order, exclude in (("ordered", []), ("ordered", ["purchase"]), ("any", ["purchase"]), ("strict", [])):
        for by in (None, "channel", "queue"):
            funnels.funnel(reading, ["*", "view", "login"], order=order, exclude=exclude, by=by)
    reading.dispose()


def test_the_journey_map_agrees_with_the_analyses(asked: Engine, emptied: Client) -> None:
    known(emptied)
    found = journey_map.drawn(asked, default_model())
    [row] = summary.summary(asked).to_dict("records")
    assert found.touchpoints["touchpoints"].sum() == row["touchpoints"]


# the interval as R's prop.test(correct = FALSE) and statsmodels' proportion_confint(method="wilson") give it
WILSON = {
    (0, 0): (0.0, 1.0),
    (0, 10): (0.0, 0.27753),
    (5, 10): (0.23659, 0.76341),
    (10, 10): (0.72247, 1.0),
    (1, 1000): (0.00018, 0.00564),
}


@pytest.mark.parametrize("seen", WILSON, ids=lambda seen: f"{seen[0]} of {seen[1]}")
def test_wilson(seen: tuple[int, int]) -> None:
    assert wilson(*seen) == pytest.approx(WILSON[seen], abs=2e-5)


@pytest.mark.parametrize(("successes", "trials"), [(2, 1), (-1, 1)])
def test_wilson_refuses_what_cannot_be(successes: int, trials: int) -> None:
    with pytest.raises(ValueError, match="trials"):
        wilson(successes, trials)
