"""Steps: one grammar with two spellings, and what of a touchpoint meets a filter."""

# ruff: noqa: E501  a case is a line

from collections.abc import Callable
from typing import Any

import msgspec
import pytest
from clickhouse_connect.driver.client import Client
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import Engine, text

from tests.warehouse.stories import empty, load, story
from warehouse.answer import QuestionError, ask
from warehouse.binds import Binds
from warehouse.filters import takes
from warehouse.step import SYMBOLS, Alternative, Condition, Step
from warehouse.step_text import read, written
from warehouse.steps import parse

SPELT = {
    # in short                              as JSON
    "add_to_cart":                          {"types": ["add_to_cart"]},
    "@Purchase":                            {"phase": "Purchase"},
    "@Post Purchase":                       {"phase": "Post Purchase"},
    "*":                                    {},
    "call|chat":                            {"types": ["call", "chat"]},
    "a[channel=web,amount>100]":            {"types": ["a"], "where": [{"field": "channel", "op": "is", "value": "web"}, {"field": "amount", "op": ">", "value": 100}]},
    "a|b[channel=web]":                     {"alternatives": [{"types": ["a"]}, {"types": ["b"], "where": [{"field": "channel", "value": "web"}]}]},
    "(a|b)[channel=web]":                   {"types": ["a", "b"], "where": [{"field": "channel", "value": "web"}]},
    "@Purchase|a[queue!=A]":                {"alternatives": [{"phase": "Purchase"}, {"types": ["a"], "where": [{"field": "queue", "op": "is not", "value": "A"}]}]},
    "a[phase=Purchase]":                    {"types": ["a"], "phase": "Purchase"},
    "b?":                                   {"types": ["b"], "optional": True},
    "a|b?":                                 {"types": ["a", "b"], "optional": True},
    "first b":                              {"types": ["b"], "first_ever": True},
    "b within 2h":                          {"types": ["b"], "within": "2h"},
    "b after 90s":                          {"types": ["b"], "after": "90s"},
    "first (a|b)[channel=web]? within 2h after 1m":
                                            {"types": ["a", "b"], "where": [{"field": "channel", "value": "web"}], "optional": True, "first_ever": True, "within": "2h", "after": "1m"},
    "*[channel=chat|voice]":                {"where": [{"field": "channel", "op": "is", "value": ["chat", "voice"]}]},
    "*[text~late]":                         {"where": [{"field": "text", "op": "contains", "value": "late"}]},
    "*[text!~late]":                        {"where": [{"field": "text", "op": "does not contain", "value": "late"}]},
    '*[page_path=~"^/(a|b)\\d+$"]':         {"where": [{"field": "page_path", "op": "regex", "value": "^/(a|b)\\d+$"}]},
    "*[amount=10..20]":                     {"where": [{"field": "amount", "op": "between", "value": [10, 20]}]},
    "*[campaign=*]":                        {"where": [{"field": "campaign", "op": "set"}]},
    "*[campaign!=*]":                       {"where": [{"field": "campaign", "op": "not set"}]},
    "*[properties.plan=]":                  {"where": [{"field": "properties.plan", "op": "is", "value": ""}]},
    '*[topic="*"]':                         {"where": [{"field": "topic", "op": "is", "value": "*"}]},
    '*[topic="a, \\"b\\" [c]"]':            {"where": [{"field": "topic", "op": "is", "value": 'a, "b" [c]'}]},
    "*[converts=true]":                     {"where": [{"field": "converts", "op": "is", "value": True}]},
}  # fmt: skip


def nameless(step: Step) -> Step:
    return msgspec.structs.replace(step, name="")


@pytest.mark.parametrize(("short", "said"), SPELT.items(), ids=SPELT.keys())
def test_both_spellings_say_the_same(short: str, said: dict[str, Any]) -> None:
    assert (
        nameless(parse(short)) == nameless(parse(said)) == nameless(parse(msgspec.json.encode(said).decode()))
    )


def test_a_step_said_in_json_is_called_by_its_short_spelling_or_its_own_name() -> None:
    assert parse({"types": ["a"], "within": "90m"}).name == "a within 90m"
    assert parse({"types": ["a"], "name": "asked"}).name == "asked"


texts = st.text(
    st.characters(codec="utf-8", exclude_categories=["Cc", "Cs", "Zl", "Zp", "Zs"]), min_size=1, max_size=6
)
conditions = st.one_of(
    st.builds(Condition, st.sampled_from(["channel", "properties.a.b"]), st.sampled_from(["is", "is not"]), st.lists(st.text(), min_size=1, max_size=3).map(tuple)),
    st.builds(Condition, st.sampled_from(["text", "properties.odd name"]), st.sampled_from(["contains", "does not contain"]), st.tuples(st.text())),
    st.builds(Condition, st.just("amount"), st.sampled_from(["<", ">", "<=", ">="]), st.tuples(st.integers().map(str))),
    st.builds(Condition, st.just("amount"), st.just("between"), st.tuples(st.integers().map(str), st.floats(allow_nan=False).map(str))),
    st.builds(Condition, st.just("campaign"), st.sampled_from(["set", "not set"])),
)  # fmt: skip
wheres = st.lists(conditions, max_size=3).map(tuple)
alternatives = st.one_of(
    st.builds(
        Alternative, types=st.lists(texts, min_size=1, max_size=3, unique=True).map(tuple), where=wheres
    ),
    st.builds(Alternative, phase=texts, where=wheres),
    st.builds(Alternative, where=wheres),
)
limits = st.one_of(st.none(), st.integers(1, 10**9))


@given(
    one=st.builds(
        Step,
        st.just(""),
        st.lists(alternatives, min_size=1, max_size=3, unique_by=lambda a: (a.types is None, a.where)).map(
            tuple
        ),
        optional=st.booleans(),
        first_ever=st.booleans(),
        within_ms=limits,
        after_ms=st.none(),
    )
)
def test_what_is_written_in_short_reads_as_the_same(one: Step) -> None:
    assert nameless(read(written(one))) == one


WRONG = {
    "nothing": ("", "a type is missing", "add_to_cart"),
    "a type is missing": ("a|", "a type is missing", "add_to_cart"),
    "a bracket is open": ("a[channel=web", '"]" is missing', "add_to_cart"),
    "a bracket too many": ("a]", '"]"', "add_to_cart"),
    "a parenthesis is open": ("(a|b", '")" is missing', "add_to_cart"),
    "a quotation mark is open": ('a[text="x]', "quotation mark", "add_to_cart"),
    "something after the end": ("a?b", '"b"', "add_to_cart"),
    "no condition": ("a[channel]", '"channel"', "field=value"),
    "an unknown field": ("a[chanel=web]", '"chanel"', '"channel"'),
    "no limit": ("a within soon", '"soon"', "7d"),
    "limits that contradict": ("a within 1m after 2m", "at least longer", "after"),
    "an unknown key": ({"typs": ["a"]}, '"typs"', '"types"'),
    "an unknown key of a condition": ({"where": [{"field": "channel", "is": "web"}]}, '"is"', "field, op, value"),
    "a condition without field": ({"where": [{"op": "is"}]}, "no condition", "field"),
    "an unknown operator": ({"where": [{"field": "channel", "op": "contain"}]}, '"contain"', '"contains"'),
    "one value for between": ({"where": [{"field": "amount", "op": "between", "value": 1}]}, "two values", "[10, 20]"),
    "a value for set": ({"where": [{"field": "amount", "op": "set", "value": 1}]}, "no value", "value"),
    "null is no value": ({"where": [{"field": "channel", "op": "is", "value": None}]}, "one value", "value"),
    "a list is no value": ({"where": [{"field": "channel", "op": "is", "value": [["a"]]}]}, '["a"]', "not set"),
    "types and alternatives": ({"types": ["a"], "alternatives": []}, '"types"', "each alternative"),
    "no types": ({"types": []}, '"types" is empty', "leave it out"),
    "no alternatives": ({"alternatives": []}, "without alternatives", "types"),
    "neither true nor false": ({"optional": "yes"}, '"yes"', "true or false"),
    "no JSON": ('{"types": ', "no JSON", "types"),
    "no step": (["a"], "no step", "types"),
    "no list": ({"types": 5}, '"types"', "add_to_cart"),
}  # fmt: skip


@pytest.mark.parametrize(("step", "what", "remedy"), WRONG.values(), ids=WRONG.keys())
def test_what_cannot_be_read_is_said_with_a_way_out(step: Any, what: str, remedy: str) -> None:
    with pytest.raises(QuestionError) as raised:
        parse(step)
    assert what in raised.value.what
    assert remedy in str(raised.value.remedy) or remedy in raised.value.what


UNCOMPARABLE = {
    "a number with a text": ("*[amount>much]", '"much"', "field"),
    "a number with an empty text": ("*[amount=]", '""', "not set"),
    "a number by what it contains": ("*[amount~5]", '"contains"', "between"),
    "an instant with a text": ("*[received_at>soon]", '"soon"', "2026-11-02"),
    "no regular expression": ('*[text=~"("]', '"("', "RE2"),
}


@pytest.mark.parametrize(("step", "what", "remedy"), UNCOMPARABLE.values(), ids=UNCOMPARABLE.keys())
def test_a_value_that_the_field_cannot_have_is_said(step: str, what: str, remedy: str) -> None:
    with pytest.raises(QuestionError) as raised:
        takes(parse(step), Binds())
    assert what in raised.value.what
    assert remedy in str(raised.value.remedy)


FILTERS = {
    # the rule                                     filter                       fields of a touchpoint              met
    "text is":                                    ("channel=web",               "channel=web",                      True),
    "text is one of":                             ("channel=chat|web",          "channel=web",                      True),
    "text is none of":                            ("channel!=chat|web",         "channel=web",                      False),
    "text is told by its case":                   ("channel=Web",               "channel=web",                      False),
    "text contains":                              ("topic~ill",                 "topic=Billing",                    True),
    "containing forgets the case":                ("topic~BILL",                "topic=Billing",                    True),
    "text does not contain":                      ("topic!~ill",                "topic=Billing",                    False),
    "what is not set contains nothing":           ("topic!~ill",                "",                                 True),
    "a regular expression":                       ('topic=~"^B.*g$"',           "topic=Billing",                    True),
    "a regular expression that fails":            ('topic=~"^b"',               "topic=Billing",                    False),
    "text is set":                                ("topic=*",                   "topic=x",                          True),
    "text is not set":                            ("topic!=*",                  "topic=x",                          False),
    "empty text in a column is not set":          ("topic!=*",                  "",                                 True),
    "greater":                                    ("amount>9.5",                "amount=10",                        True),
    "compared as numbers, not as text":           ("amount>9",                  "amount=10",                        True),
    "not greater than itself":                    ("amount>10",                 "amount=10",                        False),
    "at least itself":                            ("amount>=10",                "amount=10",                        True),
    "smaller":                                    ("amount<10",                 "amount=9.99",                      True),
    "at most":                                    ("amount<=10",                "amount=10.01",                     False),
    "between, its ends included":                 ("amount=10..20",             "amount=20",                        True),
    "beyond what is between":                     ("amount=10..20",             "amount=20.01",                     False),
    "a number is, however it is written":         ("amount=10.0",               "amount=10",                        True),
    "zero is set":                                ("amount=*",                  "amount=0",                         True),
    "zero is zero":                               ("amount=0",                  "amount=0",                         True),
    "a missing number is not zero":               ("amount=0",                  "",                                 False),
    "a missing number is not set":                ("amount!=*",                 "",                                 True),
    "a missing number is neither greater":        ("amount>=0",                 "",                                 False),
    "nor smaller":                                ("amount<1",                  "",                                 False),
    "nor between":                                ("amount=0..1",               "",                                 False),
    "and differs from any":                       ("amount!=0",                 "",                                 True),
    "a truth":                                    ("converts=true",             "converts=1",                       True),
    "a truth that is none":                       ("converts=true",             "converts=0",                       False),
    "one item of a list is":                      ("segments=vip",              "segments=new+vip",                 True),
    "no item of a list is":                       ("segments!=vip",             "segments=new+vip",                 False),
    "an empty list is not set":                   ("segments!=*",               "",                                 True),
    "a list is set":                              ("segments=*",                "segments=vip",                     True),
    "an item contains":                           ("segments~ip",               "segments=new+vip",                 True),
    "a time is after":                            ("occurred_at>=2026-01-01",   "",                                 True),
    "a time is before":                           ("occurred_at<2026-01-01",    "",                                 False),
    "a property is":                              ("properties.plan=pro",       'properties={"plan":"pro"}',        True),
    "a property is something else":               ("properties.plan=pro",       'properties={"plan":"free"}',       False),
    "a property within another":                  ("properties.a.b=x",          'properties={"a":{"b":"x"}}',       True),
    "a property with a point in its name":        ("properties.a.b=x",          'properties={"a.b":"x"}',           True),
    "a property with an odd name":                ('"properties.a-b"=x',        'properties={"a-b":"x"}',           True),
    "an empty property is empty":                 ("properties.plan=",          'properties={"plan":""}',           True),
    "an empty property is set":                   ("properties.plan=*",         'properties={"plan":""}',           True),
    "an empty property is not zero":              ("properties.plan=0",         'properties={"plan":""}',           False),
    "a missing property is not empty":            ("properties.plan=",          "properties={}",                    False),
    "a missing property is not set":              ("properties.plan!=*",        "properties={}",                    True),
    "a property that is null is not set":         ("properties.plan!=*",        'properties={"plan":null}',         True),
    "a missing property is not the value":        ("properties.plan!=pro",      "properties={}",                    True),
    "a property that is zero is set":             ("properties.n=*",            'properties={"n":0}',               True),
    "a property that is zero is not empty":       ("properties.n=",             'properties={"n":0}',               False),
    "a property that is a number":                ("properties.n=5",            'properties={"n":5}',               True),
    "however it is written":                      ("properties.n=5.0",          'properties={"n":5}',               True),
    "a property that says a number is greater":   ("properties.n>4",            'properties={"n":"5"}',             True),
    "a property that says none is not":           ("properties.n>4",            'properties={"n":"many"}',          False),
    "a property that is true":                    ("properties.b=true",         'properties={"b":true}',            True),
    "all conditions hold":                        ("channel=web,queue=A",       "channel=web queue=B",              False),
}  # fmt: skip


@pytest.fixture(scope="module")
def touchpoints(loader: Client) -> None:
    """A touchpoint for each rule, whose id is its place."""
    empty(loader, "touchpoint_rows", "journey_rows")
    told = []
    for place, (_, fields, _) in enumerate(FILTERS.values()):
        one = story(f"filter{place:03}", f"0 view {fields}")[0]
        if "segments" in one.fields:
            one.fields["segments"] = one.fields["segments"].split("+")
        if "converts" in one.fields:
            one.fields["converts"] = one.fields["converts"] == "1"
        told.append(one)
    for one in told:
        load(loader, [one])


@pytest.fixture
def taken(asked: Engine) -> Callable[[str], set[str]]:
    """The customers who take a step."""

    def of(step: str) -> set[str]:
        binds = Binds()
        sql = f"select customer_id from touchpoints where {takes(parse(step), binds)}"
        return set(ask(asked, text(sql), binds)["customer_id"])

    return of


@pytest.mark.usefixtures("touchpoints")
@pytest.mark.parametrize("rule", FILTERS)
def test_a_filter(taken: Callable[[str], set[str]], rule: str) -> None:
    filters, _, met = FILTERS[rule]
    place = list(FILTERS).index(rule)
    assert (f"filter{place:03}" in taken(f"view[{filters}]")) == met


def test_every_operator_has_a_case() -> None:
    tried = {c.op for filters, _, _ in FILTERS.values() for c in read(f"*[{filters}]").alternatives[0].where}
    assert tried == set(SYMBOLS)


def test_first_ever_is_the_first_that_meets_the_whole_step(
    loader: Client, taken: Callable[[str], set[str]], asked: Engine
) -> None:
    empty(loader, "touchpoint_rows", "journey_rows")
    load(loader, story("ann", "0 view, 1 view queue=A, 2 view queue=A, 2 buy"))
    binds = Binds()
    sql = f"select id from touchpoints where {takes(parse('first view[queue=A]'), binds)}"
    assert ask(asked, text(sql), binds)["id"].to_list() == ["ann-01"]
