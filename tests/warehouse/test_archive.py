"""A household's past comes back from the warehouse as the elements that it was made of."""

from collections.abc import Iterator

import pytest
from clickhouse_connect.driver.client import Client

from models.fold import Household
from models.identifier import Identifier
from models.journey_model import default_model
from models.touchpoint import Correction, Element, Identification, Touchpoint
from warehouse import schema
from warehouse.archive import Past, past, pasts_with_deadlines
from warehouse.connection import client
from warehouse.put_back import pasts
from warehouse.rows import Rows
from warehouse.writer import Writer

MODEL = default_model()
DAY = 86_400_000
NOW = 1_800_000_000_000
ANN, COOKIE = Identifier("user_id", "ann"), Identifier("anonymous_id", "c1")
BOB = Identifier("user_id", "bob")


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


def touchpoint(id: str, at: int, *identifiers: Identifier, type: str = "page_view", **fields) -> Touchpoint:
    return Touchpoint(
        id=id, source="s", source_instance="x", source_event_id=id, source_type="t", channel="web", type=type,
        occurred_at=at, received_at=at, identifiers=identifiers, **fields,
    )  # fmt: skip


def load(connected: Client, household_id: str, *elements: Element, watermark: int = NOW) -> Household:
    """Fold these elements as one household, and load all that is said of it."""
    household = Household(household_id, MODEL)
    household.add(elements)
    rows = Rows()
    rows.add(household.judge(watermark, full=True))
    assert Writer(connected).write(rows, household_id) == []
    return household


def in_any_order(elements: list[Element]) -> list[Element]:
    return sorted(elements, key=repr)


def test_a_household_comes_back_whole(emptied: Client):
    elements = [
        touchpoint("t1", NOW - 5 * DAY, COOKIE, properties={"a": [1, {"b": None}]}, text="ä\n\t'\\"),
        touchpoint("t2", NOW - 4 * DAY, ANN, COOKIE),
        # two of one id: one counts, the other is shown as a conflicting duplicate; both are elements
        touchpoint("t3", NOW - 3 * DAY, ANN, topic="first"),
        touchpoint("t3", NOW - 3 * DAY, ANN, topic="second"),
        Identification(
            id="i1", source="s", source_instance="x", channel="web", at=NOW - DAY, received_at=NOW - DAY,
            identifiers=(ANN, Identifier("email", "ann@example.org")),
        ),
        Correction(
            id="k1", relation="same", identifiers=(ANN, Identifier("phone", "+4930")), at=NOW, author="bo"
        ),
    ]  # fmt: skip
    household = load(emptied, "user_id:ann", *elements)
    load(emptied, "user_id:bob", touchpoint("t9", NOW, BOB))
    for asked in ("user_id:ann", "anonymous_id:c1", "email:ann@example.org", "phone:+4930"):
        found = past(emptied, [asked])
        assert found is not None
        assert in_any_order(found.elements) == in_any_order(elements), asked
        assert (found.household_id, found.elements_seen, found.watermark) == (
            "user_id:ann",
            household.count,
            NOW,
        )
    assert past(emptied, ["user_id:nobody"]) is None
    assert {one.household_id: in_any_order(one.elements) for one in pasts(emptied, NOW)} == {
        "user_id:ann": in_any_order(elements),
        "user_id:bob": [touchpoint("t9", NOW, BOB)],
    }


def test_a_household_of_two_customers_stays_together(emptied: Client):
    elements = [
        touchpoint("t1", NOW - 2 * DAY, ANN, COOKIE),
        touchpoint("t2", NOW - DAY, BOB, COOKIE),
    ]
    household = load(emptied, "user_id:ann", *elements)
    customers = {row.verdict.customer_id for row in household.judge(NOW, full=True).touchpoints}
    assert len(customers) == 2
    assert [in_any_order(one.elements) for one in pasts(emptied, NOW)] == [elements]


def test_those_that_ops_look_at_first_come_first_each_once_and_within_the_horizon(emptied: Client):
    def one(name: str, age: float, type: str = "page_view") -> None:
        who = Identifier("user_id", name)
        load(emptied, f"user_id:{name}", touchpoint(name, NOW - int(age * DAY), who, type=type))

    for name, age in (("month", 25), ("today", 0.5), ("old", 200), ("week", 5), ("quarter", 80)):
        one(name, age)
    one("waiting", 29, "invoice_sent")  # its attempt is open for 30 days

    def names(given: Iterator[Past]) -> list[str]:
        return [past.household_id.removeprefix("user_id:") for past in given]

    assert names(pasts(emptied, NOW)) == ["waiting", "today", "week", "month", "old", "quarter"]
    assert names(pasts(emptied, NOW, horizon_ms=90 * DAY)) == ["waiting", "today", "week", "month", "quarter"]
    assert names(pasts(emptied, NOW, horizon_ms=2 * DAY)) == ["waiting", "today"]


def test_households_that_change_rank_while_others_are_read_are_not_passed_over(emptied: Client):
    for n in range(3):
        who = Identifier("user_id", f"u{n}")
        load(emptied, who.key, touchpoint(f"t{n}", NOW - (20 - n) * DAY, who))
    given = pasts(emptied, NOW)
    first = next(given)
    late = Identifier("user_id", "u2" if first.household_id != "user_id:u2" else "u1")
    load(emptied, late.key, touchpoint("new", NOW, late), watermark=NOW + 1)
    assert {first.household_id, *(one.household_id for one in given)} == {f"user_id:u{n}" for n in range(3)}


def test_what_comes_back_is_folded_to_what_was_said(emptied: Client):
    household = load(
        emptied,
        "user_id:ann",
        touchpoint("t1", NOW - 9 * DAY, COOKIE, type="add_to_cart"),
        touchpoint(
            "t2", NOW - 9 * DAY + 60_000, ANN, COOKIE, type="purchase", amount="12.50", currency="EUR"
        ),
        touchpoint("t3", NOW - DAY, ANN, type="error_seen"),
    )
    found = past(emptied, ["anonymous_id:c1"])
    assert found is not None
    again = Household("user_id:ann", MODEL)
    again.add(found.elements)
    assert again.judge(found.watermark, full=True) == household.judge(found.watermark, full=True)


def test_old_households_of_which_time_alone_will_say_something(emptied: Client):
    def one(name: str, age: float, type: str) -> None:
        who = Identifier("user_id", name)
        load(emptied, f"user_id:{name}", touchpoint(name, NOW - int(age * DAY), who, type=type))

    one("silent", 100, "page_view")  # its drop-off is long past
    one("fan", 100, "review_posted")  # may be silent for 180 days
    one("fan of old", 200, "review_posted")
    one("gone", 100, "subscription_cancelled")
    one("recent", 5, "review_posted")
    who = Identifier("user_id", "debtor")
    load(
        emptied, who.key, touchpoint("d", NOW - 95 * DAY, who, type="invoice_sent"), watermark=NOW - 90 * DAY
    )
    found = pasts_with_deadlines(emptied, before=NOW - 90 * DAY, now=NOW, patience_ms=MODEL.patience_ms)
    assert sorted(past.household_id for past in found) == ["user_id:debtor", "user_id:fan"]
