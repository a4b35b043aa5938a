"""An analysis's signature as its interface: what it offers, and how what is given is read."""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any, Literal

import pytest
from sqlalchemy import Engine
from typing_extensions import Doc, Unpack

from warehouse.among import Among
from warehouse.analysis import analysis
from warehouse.answer import Answer, QuestionError
from warehouse.catalogue import analyses, named
from warehouse.parameters import arguments, parameters
from warehouse.saved_query import SavedQueryError, read, written


@analysis("example")
def example(
    connection: Engine,
    steps: Annotated[Sequence[str | Mapping[str, Any]], Doc("Steps in their order.")],
    *,
    order: Annotated[Literal["ordered", "strict"], Doc("How.")] = "ordered",
    most: Annotated[int, Doc("So many.")] = 10,
    collapsed: Annotated[bool, Doc("Without repeats.")] = True,
    **among: Unpack[Among],
) -> Answer:
    """Only its signature is asked here."""
    raise AssertionError


def test_a_parameter_says_what_it_takes() -> None:
    known = {one.name: one for one in parameters(example)}
    assert list(known)[:5] == ["steps", "order", "most", "collapsed", "since"]
    assert known["steps"].leading
    assert known["steps"].several
    assert known["steps"].takes_objects
    assert known["steps"].required
    assert known["order"].choices == ("ordered", "strict")
    assert known["most"].plain_type is int
    assert known["since"].written == "from"
    assert known["timezone"].default == "UTC"


def test_what_is_given_as_text_or_json_becomes_what_the_analysis_takes() -> None:
    step = {"types": ["purchase"], "where": []}
    read = arguments(
        example,
        {
            "steps": ["a", step],
            "most": "3",
            "collapsed": "false",
            "from": "2026-11-02",
            "to": "2026-11-03T10:00Z",
        },
    )
    assert read == {
        "steps": ["a", step],
        "most": 3,
        "collapsed": False,
        "since": datetime(2026, 11, 2),  # noqa: DTZ001  it is meant in the question's zone
        "until": datetime(2026, 11, 3, 10, tzinfo=UTC),
    }
    assert arguments(example, {"steps": "a"})["steps"] == ["a"]
    ago = arguments(example, {"steps": "a", "from": "7d"})["since"]
    assert abs(ago - datetime.now(UTC) + timedelta(days=7)) < timedelta(minutes=1)


WRONG: dict[str, tuple[dict[str, Any], str]] = {
    "a name that it does not know": ({"steps": ["a"], "ordr": "any"}, 'no argument "ordr". Did you mean order?'),
    "a word that is no choice": ({"steps": ["a"], "order": "any"}, "It is one of ordered, strict."),
    "a number that is none": ({"steps": ["a"], "most": "many"}, '"many" cannot be "most"'),
    "a time that is none": ({"steps": ["a"], "from": "yesterday"}, '"yesterday" is no time. Write 2026-11-02'),
    "nothing where something is needed": ({}, 'example needs "steps". Steps in their order.'),
}  # fmt: skip


@pytest.mark.parametrize(("given", "said"), WRONG.values(), ids=WRONG.keys())
def test_what_cannot_be_an_argument_is_said(given: dict[str, Any], said: str) -> None:
    with pytest.raises(QuestionError) as refused:
        arguments(example, given)
    assert said in str(refused.value)


def test_every_analysis_and_parameter_in_the_catalogue_says_what_it_is() -> None:
    for one in analyses():
        first = (one.__doc__ or "").splitlines()[0]
        assert first.endswith("."), one.name
        assert [p.name for p in parameters(one) if not p.meaning] == [], one.name


def test_an_analysis_that_does_not_exist_is_refused_with_the_nearest() -> None:
    with pytest.raises(QuestionError, match="Did you mean alerts"):
        named("alert")


def test_a_saved_query_is_read_as_it_was_written() -> None:
    text = "title: open ones\nanalysis: alerts\nopen_only: true\nfrom: 2026-11-02\n"
    query = read(text)
    assert query.analysis is named("alerts")
    assert query.title == "open ones"
    assert read(written(query)) == query


UNREADABLE = {
    "no YAML": ("analysis: [", "saved.yaml:1: this is no YAML"),
    "no analysis": ("steps: [a]\n", "saved.yaml: this names no analysis"),
    "an unknown analysis": ("analysis: alrts\n", 'saved.yaml: there is no analysis "alrts". Did you mean alerts'),
    "an unknown argument": ("analysis: alerts\nopen: true\n", 'alerts has no argument "open"'),
}  # fmt: skip


@pytest.mark.parametrize(("text", "said"), UNREADABLE.values(), ids=UNREADABLE.keys())
def test_a_file_that_asks_nothing_says_where_and_why(text: str, said: str) -> None:
    with pytest.raises(SavedQueryError) as refused:
        read(text, where="saved.yaml")
    assert said in str(refused.value)
