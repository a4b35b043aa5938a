"""Attribution: rules by hand, every rule against the slow reference, and each gives away the whole."""

# ruff: noqa: E501  a case is a line

from collections.abc import Callable
from decimal import Decimal
from typing import Any

import pandas as pd
import pytest
from clickhouse_connect.driver.client import Client
from hypothesis import given, settings
from hypothesis import strategies as st
from sqlalchemy import Engine

from tests.warehouse import attribution_reference as reference
from tests.warehouse.stories import EPOCH_MS, empty, insert, moment, set_watermark
from warehouse import attribution
from warehouse.answer import QuestionError
from warehouse.attribution import RULES, apportioned
from warehouse.catalogue import named

DAY_MS = 86_400_000


@pytest.fixture
def emptied(loader: Client) -> Client:
    empty(loader)
    return loader


def touchpoint(customer: str, day: float, id: str, **fields: Any) -> dict[str, Any]:
    """A touchpoint so many days after the beginning."""
    at = EPOCH_MS + round(day * DAY_MS)
    return {
        "occurred_on": moment(at).date(), "occurred_at": moment(at), "id": id, "customer_id": customer,
        "journey_id": f"j-{customer}", "channel": "web", "type": "page_view", "campaign": "", "campaign_source": "",
        "campaign_medium": "", "converts": False, "amount": None, "currency": "", "version": 1, "deleted": 0, **fields,
    }  # fmt: skip


def told(customer: str, text: str) -> list[dict[str, Any]]:
    """`0 spring, 3 buy 10 EUR, 5 refund 2 EUR`: day and campaign, or what was bought or given back."""
    rows = []
    for place, part in enumerate(text.split(",")):
        day, what, *money = part.split()
        fields: dict[str, Any] = {"campaign": what}
        if what in ("buy", "refund"):
            fields = {"type": "refund_issued" if what == "refund" else "purchase", "converts": what == "buy"}
        if money:
            fields |= {"amount": Decimal(money[0]), "currency": money[1]}
        rows.append(touchpoint(customer, float(day), f"{customer}-{place}", **fields))
    return rows


def asked_of(loader: Client, *stories: str) -> None:
    insert(loader, "touchpoint_rows", [row for n, text in enumerate(stories) for row in told(f"c{n}", text)])
    set_watermark(loader, EPOCH_MS + 400 * DAY_MS)


def credits(answer: pd.DataFrame, rule: str) -> dict[str, float]:
    """By value, what a rule credits."""
    return {row["campaign"]: float(row[rule]) for row in answer.to_dict("records") if row[rule]}


PATH = "0 a, 7 b, 7 b, 14 c, 14 buy"
# the rule       what each is credited with
BY_HAND = {
    "first": {"a": 1.0},
    "last": {"c": 1.0},
    "linear": {"a": 0.25, "b": 0.5, "c": 0.25},
    "position": {"a": 0.4, "b": 0.2, "c": 0.4},
    "time_decay": {"a": 0.1111, "b": 0.4444, "c": 0.4444},
    "markov": {"a": 0.3333, "b": 0.3333, "c": 0.3333},
    "shapley": {"a": 0.3333, "b": 0.3333, "c": 0.3333},
}


@pytest.mark.parametrize("rule", RULES)
def test_the_credits_of_one_path(asked: Engine, emptied: Client, rule: str) -> None:
    asked_of(emptied, PATH)
    answer = attribution.attribution(asked)
    assert credits(answer, rule) == pytest.approx(BY_HAND[rule], abs=1e-4)
    assert sum(answer[rule]) == 1


# the rule                                            what happened                       who is credited, linear
TOUCHES = {
    "a touch at the window's end counts":             (["0 a, 30 buy"], {"a": 1.0}),
    "a touch before the window does not":             (["0 a, 30.00001 buy"], {"(none)": 1.0}),
    "a conversion without a touch is nobody's":       (["0 buy, 1 a"], {"(none)": 1.0}),
    "a touch counts for every conversion after it":   (["0 a, 1 buy, 2 buy"], {"a": 2.0}),
    "order within an instant is that of the ids":     (["1 a, 1 buy, 1 b"], {"a": 1.0}),
    "nobody's touches count for others":              (["0 a", "1 buy"], {"(none)": 1.0}),
}  # fmt: skip


@pytest.mark.parametrize(("stories", "expected"), TOUCHES.values(), ids=TOUCHES.keys())
def test_which_touches_count(
    asked: Engine, emptied: Client, stories: list[str], expected: dict[str, float]
) -> None:
    asked_of(emptied, *stories)
    assert credits(attribution.attribution(asked), "linear") == expected


# the rule                                                 what happened                                            revenue
MONEY = {
    "a refund is taken from the latest conversion before it": ("0 a, 1 buy 10 EUR, 40 b, 41 buy 5 EUR, 42 refund 2 EUR", {("a", "EUR"): "10", ("b", "EUR"): "3"}),
    "a refund looks for its own currency":                    ("0 a, 1 buy 10 EUR, 40 b, 41 buy 5 USD, 42 refund 2 EUR", {("a", "EUR"): "8", ("b", "USD"): "5"}),
    "a refund of nothing is nobody's":                        ("0 a, 1 refund 2 EUR, 2 buy 10 EUR", {("a", "EUR"): "10", ("(none)", "EUR"): "-2"}),
    "cents that cannot be shared go to one":                  ("0 a, 0 b, 0 c, 1 buy 0.0001 EUR", {("a", "EUR"): "0.0001"}),
}  # fmt: skip


@pytest.mark.parametrize(("story", "expected"), MONEY.values(), ids=MONEY.keys())
def test_which_money_counts(
    asked: Engine, emptied: Client, story: str, expected: dict[tuple[str, str], str]
) -> None:
    asked_of(emptied, story)
    answer = attribution.attribution(asked, of="revenue", rules=["linear"])
    found = {(row["campaign"], row["currency"]): row["linear"] for row in answer.to_dict("records")}
    assert found == {key: Decimal(value) for key, value in expected.items()}


def test_a_touch_whose_window_has_not_ended_is_not_lost(asked: Engine, emptied: Client) -> None:
    insert(emptied, "touchpoint_rows", [*told("ann", "0 a, 1 buy"), *told("bob", "0 a"), *told("eve", "9 a")])
    for days, paths in ((30, 1), (30.1, 2), (39, 2), (39.1, 3)):
        set_watermark(emptied, EPOCH_MS + round(days * DAY_MS))
        assert attribution.attribution(asked)["paths"].to_list() == [paths]


def test_rare_values_stand_together(asked: Engine, emptied: Client) -> None:
    asked_of(emptied, "0 a, 1 a, 2 b, 3 c, 4 buy")
    assert credits(attribution.attribution(asked, most=1), "linear") == {"a": 0.5, "(other)": 0.5}
    assert credits(attribution.attribution(asked, most=3), "linear") == {"a": 0.5, "b": 0.25, "c": 0.25}


def test_many_values_are_sampled_and_it_is_said(asked: Engine, emptied: Client) -> None:
    asked_of(emptied, *(f"0 v{n}, 1 v{n + 1}, 2 buy" for n in range(12)))
    answer = attribution.attribution(asked)
    assert answer.parts["shapley"]["exact"] is False
    assert 0 < answer.parts["shapley"]["error"] < 1
    assert sum(answer["shapley"]) == 12
    again = attribution.attribution(asked)
    assert answer["shapley"].to_list() == again["shapley"].to_list()


def test_two_periods_beside_each_other(asked: Engine, emptied: Client) -> None:
    asked_of(emptied, "0 a, 1 buy", "10 a, 11 buy")
    both = named("attribution")(
        asked, rules=["last"], compare=f"before:{moment(EPOCH_MS + 5 * DAY_MS):%Y-%m-%d}"
    )
    assert both[both["measure"] == "last"][["a", "b"]].to_numpy().tolist() == [[1.0, 1.0]]


WRONG: dict[str, tuple[dict[str, Any], str]] = {
    "a rule that is not known": ({"rules": ["lst"]}, 'rule "lst" is not known'),
    "no rule": ({"rules": []}, "no rule is named"),
    "no values": ({"most": 0}, "0 values cannot be kept"),
    "a window that is too long": ({"within": "9000d"}, "longer than 20 years"),
    "a window that is none": ({"within": "soon"}, "no duration"),
}  # fmt: skip


@pytest.mark.parametrize(("arguments", "said"), WRONG.values(), ids=WRONG.keys())
def test_what_cannot_be_asked_is_said(asked: Engine, arguments: dict[str, Any], said: str) -> None:
    with pytest.raises(QuestionError, match=said):
        attribution.attribution(asked, **arguments)


def test_an_answer_without_rows_has_the_dtypes_of_one_with_rows(asked: Engine, emptied: Client) -> None:
    asked_of(emptied, "0 a, 1 buy 3 EUR")
    for of in ("conversions", "revenue"):
        found = attribution.attribution(asked, of=of)  # type: ignore[arg-type]
        nothing = attribution.attribution(asked, of=of, since=moment(EPOCH_MS + 99 * DAY_MS))  # type: ignore[arg-type]
        assert nothing.empty
        pd.testing.assert_series_equal(found.dtypes, nothing.dtypes)


@given(st.lists(st.floats(-1_000, 1_000), min_size=1))
def test_what_is_apportioned_sums_to_the_whole_and_is_near_the_shares(shares: list[float]) -> None:
    whole = Decimal(round(sum(shares) * 10_000)) / 10_000
    found = apportioned(whole, shares)
    assert sum(found) == whole
    assert all(abs(float(one) - share) < 3e-4 for one, share in zip(found, shares, strict=True))


CHOICES = st.fixed_dictionaries(
    {
        "customer": st.sampled_from("abc"),
        "day": st.integers(0, 8),
        "value": st.sampled_from(["", "x", "y", "z"]),
        "type": st.sampled_from(["page_view", "page_view", "purchase", "purchase", "refund_issued"]),
        "amount": st.sampled_from([None, Decimal("9.99"), Decimal("0.01"), Decimal(100)]),
        "currency": st.sampled_from(["EUR", "EUR", "USD"]),
        # what became of it: as it was, another customer's after a merge, gone, another amount
        "later": st.sampled_from([None, None, None, "merged", "gone", "cheaper"]),
    }
)


def rows_of(choices: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Rows as they were written, corrections after what they correct."""
    written = []
    for number, choice in enumerate(choices):
        row = touchpoint(choice["customer"], choice["day"], f"t{number:02}", type=choice["type"])
        row |= {name: choice["value"] for name in ("campaign", "campaign_source", "campaign_medium")}
        row |= {
            "converts": choice["type"] == "purchase",
            "amount": choice["amount"],
            "channel": choice["value"] or "web",
        }
        row |= {"currency": choice["currency"] if choice["amount"] is not None else ""}
        written.append(row)
        if choice["later"] == "merged":
            written.append(row | {"customer_id": "a", "journey_id": "j-a", "version": 2})
        elif choice["later"] == "gone":
            written.append(row | {"deleted": 1, "version": 2})
        elif choice["later"] == "cheaper" and row["amount"] is not None:
            written.append(row | {"amount": row["amount"] / 2, "version": 2})
    return written


@settings(max_examples=6)
@given(st.lists(CHOICES, min_size=1, max_size=20), st.sampled_from([4, 10, 20]))
def test_every_question_is_answered_as_the_reference_does(
    asked: Engine, loader: Client, choices: list[dict[str, Any]], watermark_day: int
) -> None:
    empty(loader, "touchpoint_rows", "journey_rows", "journey_models")
    written = rows_of(choices)
    insert(loader, "touchpoint_rows", written)
    people = [{"started_on": moment(EPOCH_MS).date(), "id": c, "version": 1, "journey_id": f"j-{c}",
               "customer_id": c, "persona": "Gold" if c == "a" else ""} for c in "abc"]  # fmt: skip
    insert(loader, "journey_rows", people)
    up_to = EPOCH_MS + watermark_day * DAY_MS + 1
    set_watermark(loader, up_to)
    standing = reference.standing(
        {**row, "at": round(row["occurred_at"].timestamp() * 1000)} for row in written
    )
    since, until = moment(EPOCH_MS + 2 * DAY_MS), moment(EPOCH_MS + 7 * DAY_MS)
    asked_among: list[tuple[dict[str, Any], Callable[[dict[str, Any]], bool]]] = [
        ({}, lambda row: True),
        ({"since": since, "until": until}, lambda row: since <= row["occurred_at"] < until),
        ({"persona": "!Gold"}, lambda row: row["customer_id"] != "a"),
    ]
    for among, counts in asked_among:
        for to, field in (("campaign", "campaign"), ("channel", "channel"), ("type", "type")):
            found = reference.paths(standing, field, 3 * DAY_MS, up_to, counts)
            check_conversions(asked, found, to, among)
            check_revenue(asked, found, to, among)


def check_conversions(asked: Engine, found: reference.Paths, to: Any, among: dict[str, Any]) -> None:
    """Of each rule the credits are those of the reference, and sum to all conversions."""
    answer = attribution.attribution(asked, by=to, within="3d", half_life="1d", **among)
    for rule in RULES:
        expected = {value: float(one) for value, one in reference.credited(found, rule, DAY_MS, None).items()}
        if alone := sum(not seen for seen, _, _ in found.converted):
            expected["(none)"] = float(alone)
        said = {row[to]: float(row[rule]) for row in answer.to_dict("records")}
        assert {value: one for value, one in said.items() if one} == pytest.approx(
            {value: one for value, one in expected.items() if one >= 5e-5}, abs=2e-4
        )
        assert sum(answer[rule]) == len(found.converted)
    met = {
        row[to]: (row["paths"], row["converted"]) for row in answer.to_dict("records") if row[to] != "(none)"
    }
    touched = [{value for value, _ in seen} for seen, _, _ in found.converted]
    lost = [set(one) for one in found.lost]
    assert met == {
        value: (sum(value in one for one in (*touched, *lost)), sum(value in one for one in touched))
        for value in set().union(*touched, *lost)
    }


def check_revenue(asked: Engine, found: reference.Paths, to: Any, among: dict[str, Any]) -> None:
    """The same of money, by currency."""
    answer = attribution.attribution(asked, by=to, of="revenue", within="3d", half_life="1d", **among)
    records = answer.to_dict("records")
    currencies = {of for _, of, _ in found.converted} | {of for of, _ in found.orphans}
    for currency in currencies - {""}:
        alone = sum((net for seen, of, net in found.converted if of == currency and not seen), Decimal(0))
        alone += sum((net for of, net in found.orphans if of == currency), Decimal(0))
        whole = alone + sum((net for seen, of, net in found.converted if of == currency and seen), Decimal(0))
        for rule in RULES:
            said = {row[to]: row[rule] for row in records if row["currency"] == currency}
            assert sum(said.values()) == whole
            expected = {
                value: float(one) for value, one in reference.credited(found, rule, DAY_MS, currency).items()
            }
            expected["(none)"] = float(alone)
            for value in {*said, *expected}:
                assert float(said.get(value, 0)) == pytest.approx(expected.get(value, 0.0), abs=2e-4)
    assert {row["currency"] for row in records} <= currencies
