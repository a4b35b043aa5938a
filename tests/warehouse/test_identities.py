"""What people see of identities, on households that were really stitched: who is who, why, and how good it is."""

import re
from collections.abc import Iterable, Iterator, Sequence
from typing import Any
from uuid import uuid4

import pytest
from clickhouse_connect.driver.client import Client
from sqlalchemy import Engine

from models.fold import Household
from models.identifier import Identifier
from models.identity import standing
from models.journey_model import default_model
from models.touchpoint import Correction, Element, Identification
from tests.histories import touchpoint
from tests.warehouse.stories import EPOCH_MS, empty, insert, moment
from warehouse import identities, identity_report
from warehouse.answer import QuestionError
from warehouse.rows import Rows
from warehouse.writer import Writer

MODEL = default_model()
KINDS = {"u": "user_id", "m": "email", "p": "phone", "d": "device_id", "a": "anonymous_id", "s": "session_id"}


def identifier(short: str) -> Identifier:
    value = f"{short}@example.com" if short[0] == "m" else short
    return Identifier(KINDS[short[0]], value)


def seen(*links: str, source: str = "segment") -> list[Element]:
    """`"u1 d1"`: identifiers on one touchpoint, a second after the one before."""
    made: list[Element] = []
    for n, link in enumerate(links):
        together = tuple(identifier(one) for one in link.split())
        t = touchpoint(f"{source}-{link}-{n}", EPOCH_MS + 1000 * n, "page_view", identifiers=together)
        made.append(t)
    return made


def decided(relation: Any, a: str, b: str, at: int = 60_000, id: str = "k1", **said: Any) -> Correction:
    pair = identifier(a), identifier(b)
    return Correction(id=id, relation=relation, identifiers=pair, at=EPOCH_MS + at, author="ann", **said)


class Stitched:
    """Loads households, each by the fold that the worker uses."""

    def __init__(self, loader: Client) -> None:
        self._writer = Writer(loader)
        self._written = 0

    def __call__(self, *households: Sequence[Element]) -> None:
        for elements in households:
            held = Household(_smallest(elements), MODEL)
            held.add(elements)
            rows = Rows()
            rows.add(held.judge(EPOCH_MS + 100_000))
            self._written += 1
            assert self._writer.write(rows, f"household-{uuid4()}-{self._written}") == []


def _smallest(elements: Iterable[Element]) -> str:
    keys = [one.key for element in elements for one in element.identifiers]
    return min(keys, key=MODEL.identifier_order.rank)


@pytest.fixture
def stitched(loader: Client) -> Iterator[Stitched]:
    empty(loader)
    yield Stitched(loader)
    empty(loader)


def rows(answer: Any, *names: str) -> list[tuple[Any, ...]]:
    return [tuple(row) for row in answer[list(names)].itertuples(index=False)]


def test_an_identity_says_what_joined_each_identifier(asked: Engine, stitched: Stitched) -> None:
    link = Identification(
        id="i1", source="segment", source_instance="shop", channel="web", at=EPOCH_MS + 5000,
        received_at=EPOCH_MS, identifiers=(identifier("u1"), identifier("m1")),
    )  # fmt: skip
    stitched([*seen("d1", "u1 d1"), link, decided("same", "u1", "p1")])
    found = identities.identity(asked, "device_id:d1")
    assert rows(found.identifiers, "identifier", "joined_with", "joined_by") == [
        ("user_id:u1", "phone:p1", "same by ann"),
        ("email:m1@example.com", "user_id:u1", "identify"),
        ("phone:p1", "user_id:u1", "same by ann"),
        ("device_id:d1", "user_id:u1", "web page_view"),
    ]
    names = ("customer_id", "household_id", "identifiers", "touchpoints", "household_customers", "oversized")
    assert rows(found.summary, *names) == [("user_id:u1", "user_id:u1", 4, 2, 1, False)]


def test_of_a_household_all_customers_are_shown_ones_own_first(asked: Engine, stitched: Stitched) -> None:
    stitched(seen("u1 d1", "u2 d1", "u2 a2"))
    found = identities.identity(asked, "a2")
    assert rows(found.identifiers, "identifier", "customer_id", "joined_with") == [
        ("user_id:u2", "user_id:u2", "anonymous_id:a2"),
        ("anonymous_id:a2", "user_id:u2", "user_id:u2"),
        ("user_id:u1", "user_id:u1", "device_id:d1"),
        ("device_id:d1", "user_id:u1", "user_id:u1"),
    ]
    assert rows(found.conflicts, "identifier_a", "identifier_b", "reason") == [
        ("user_id:u2", "device_id:d1", "exclusive_kind")
    ]


def test_a_refused_link_is_shown_once_though_it_was_seen_earlier_than_was_known(
    asked: Engine, stitched: Stitched, loader: Client
) -> None:
    refused = {"identifier_a": "user_id:u2", "identifier_b": "device_id:d1", "reason": "exclusive_kind",
               "customer_a": "user_id:u2", "customer_b": "user_id:u1"}  # fmt: skip
    stitched(seen("u1 d1", "u2 d1"))
    later = [
        {**refused, "at": moment(EPOCH_MS + 500), "version": 1 << 60},
        {**refused, "at": moment(EPOCH_MS + 400), "version": (1 << 60) + 1},
    ]
    insert(loader, "identity_conflict_rows", later)
    found = identities.identity(asked, "u1").conflicts
    assert rows(found, "at", "identifier_a") == [(moment(EPOCH_MS + 400), "user_id:u2")]
    settled = {**refused, "at": moment(EPOCH_MS + 400), "version": (1 << 60) + 2, "deleted": 1}
    insert(loader, "identity_conflict_rows", [settled])
    assert identities.identity(asked, "u1").conflicts.empty


KNOWN = ("user_id:ada", "email:ada@example.com", "phone:+4420", "user_id:seven", "phone:seven")


@pytest.fixture
def known(stitched: Stitched) -> None:
    stitched(
        *(
            [touchpoint(key, EPOCH_MS, "page_view", identifiers=(Identifier(*key.split(":")),))]
            for key in KNOWN
        )
    )


# What is typed, and whom it names.
FOUND = {
    "kind and value": ("user_id:ada", "user_id:ada"),
    "as it was sent": ("email:Ada@Example.com", "email:ada@example.com"),
    "a value alone": ("+4420", "phone:+4420"),
    "a value alone, as it was sent": ("ADA@example.com", "email:ada@example.com"),
}
# What is typed, and what is said of it.
NOT_FOUND = {
    "a value of two kinds": ("seven", "is the value of 2 identifiers: user_id:seven, phone:seven"),
    "nobody, but somebody near": ("user_id:adda", "Did you mean user_id:ada?"),
    "nobody at all": ("device_id:zzzzzzzzz", 'nobody goes by "device_id:zzzzzzzzz"'),
}


@pytest.mark.usefixtures("known")
@pytest.mark.parametrize(("typed", "wanted"), FOUND.values(), ids=FOUND.keys())
def test_an_identifier_is_found(asked: Engine, typed: str, wanted: str) -> None:
    assert identities.find(asked, typed) == wanted


@pytest.mark.usefixtures("known")
@pytest.mark.parametrize(("typed", "said"), NOT_FOUND.values(), ids=NOT_FOUND.keys())
def test_an_identifier_that_is_not_found_is_answered(asked: Engine, typed: str, said: str) -> None:
    with pytest.raises(QuestionError, match=re.escape(said)):
        identities.find(asked, typed)


def test_the_decision_that_holds_is_the_one_the_stitching_follows(asked: Engine, stitched: Stitched) -> None:
    made = [
        decided("same", "u1", "u2", 1000, "k1", reason="one person, two accounts"),
        decided("not_same", "u2", "u1", 2000, "k2"),
        decided("not_same", "u1", "d1", 2000, "k3"),
        decided("undone", "u1", "d1", 3000, "k4"),
        decided("same", "u2", "d1", 1000, "k5"),
        decided("not_same", "u2", "d1", 1000, "k6"),  # at one instant the greater id is the later one
    ]
    stitched([*seen("u1 d1", "u2 d1"), *made])
    holding = {decision.id for decision in standing(made, MODEL.identifier_order.rank).values()}
    assert set(identities.decisions(asked)["id"]) == holding == {"k2", "k6"}
    everything = identities.decisions(asked, all=True)
    assert set(everything["id"]) == {one.id for one in made}
    assert "one person, two accounts" in set(everything["reason"])
    assert set(identities.identity(asked, "u1").decisions["id"]) == holding


def test_owners_are_counted_with_what_they_did(asked: Engine, stitched: Stitched) -> None:
    stitched(seen("u1 d1", "d1", "u2 d1"))
    found = identities.owners(asked, ["device_id:d1", "user_id:u2"])
    assert rows(found, "customer_id", "touchpoints", "journeys") == [
        ("user_id:u1", 2, 1),
        ("user_id:u2", 1, 1),
    ]
    assert found["identifiers"][0] == ["device_id:d1", "user_id:u1"]


def test_customers_are_settling_until_their_touchpoints_and_journeys_followed(
    asked: Engine, stitched: Stitched, loader: Client
) -> None:
    stitched(seen("u1 d1"), seen("u2 d2"))
    before, after = ["user_id:u1", "user_id:u2"], ["user_id:u1"]
    assert not identities.settling(asked, before, before)
    assert identities.settling(asked, before, after)  # u2's are u2's still

    held = Household("user_id:u1", MODEL)
    held.add([*seen("u1 d1"), *seen("u2 d2"), decided("same", "u1", "u2")])
    facts = held.judge(EPOCH_MS + 200_000, full=True)
    journeys = Rows(journeys=facts.journeys + held.journey_rows())
    Writer(loader).write(Rows(touchpoints=facts.touchpoints, identities=facts.identities), "first")
    assert identities.settling(asked, before, after)  # touchpoints have followed, journeys have not
    Writer(loader).write(journeys, "then")
    assert not identities.settling(asked, before, after)
    assert not identities.settling(asked, after, after)


def test_the_report_counts_what_stitching_gained(asked: Engine, stitched: Stitched) -> None:
    stitched(seen("d1", "u1 d1", "d1"), seen("a1"), seen("u3 m3", "u4 m3", "m3"))
    totals = identity_report.identity_report(asked).totals
    names = ("touchpoints", "customers_before", "customers", "identifiers", "households", "refused")
    # before: d1, u1, a1, u3, u4, m3; after: u1, a1, u3, u4
    assert rows(totals, *names) == [(7, 6, 4, 6, 3, 1)]
    assert totals["identified_rate"][0] == pytest.approx(6 / 7)  # all but a1's
    assert totals["named_rate"][0] == pytest.approx(4 / 7)  # d1's own two are identified by stitching


def test_the_report_without_anything_is_empty(asked: Engine, stitched: Stitched) -> None:
    found = identity_report.identity_report(asked)
    assert rows(found.totals, "touchpoints", "identified_rate", "customers") == [(0, 0.0, 0)]
    assert all(part.empty for part in found[1:])


def test_the_report_counts_links_by_kind_and_refusals(asked: Engine, stitched: Stitched) -> None:
    stitched(seen("u1 d1", "u2 d1", "u1 d1"), seen("u3 m3"))
    found = identity_report.identity_report(asked)
    assert rows(found.links, "kind_a", "kind_b", "joined", "refused", "seen") == [
        ("user_id", "device_id", 1, 1, 3),
        ("user_id", "email", 1, 0, 1),
    ]
    assert rows(found.conflicts, "reason", "kind_a", "kind_b", "links", "customers") == [
        ("exclusive_kind", "user_id", "device_id", 1, 1)
    ]
    assert rows(found.households, "size", "households", "identifiers", "customers") == [
        ("up to 2", 1, 2, 1),
        ("up to 5", 1, 3, 2),
    ]
    assert rows(found.largest, "household_id", "identifiers", "customers", "oversized") == [
        ("user_id:u1", 3, 2, False),
        ("user_id:u3", 2, 1, False),
    ]


def test_a_browser_id_made_anew_per_page_load_is_suspicious(asked: Engine, stitched: Stitched) -> None:
    stitched(*(seen(f"a{n}") for n in range(100)), seen("u1"))
    kinds = identity_report.identity_report(asked).kinds
    assert rows(kinds, "source", "kind", "touchpoints", "identifiers", "one_per_touchpoint") == [
        ("segment", "anonymous_id", 100, 100, True),
        ("segment", "user_id", 1, 1, False),
    ]


def test_a_switchboard_is_suspicious_and_a_busy_customer_is_not(asked: Engine, stitched: Stitched) -> None:
    switchboard = seen(*(f"u{n} p1" for n in range(6)))
    mailbox = seen(*(f"m1 p{n}" for n in range(10, 16)))
    stitched(switchboard, mailbox, seen(*(f"u9 s{n}" for n in range(20))))
    shared = identity_report.identity_report(asked).shared
    assert rows(shared, "identifier", "others", "refused", "customers", "touchpoints") == [
        ("phone:p1", 6, 5, 6, 6),
        ("email:m1@example.com", 6, 0, 1, 6),
    ]


def test_placeholders_and_what_named_nobody_are_counted(
    asked: Engine, stitched: Stitched, loader: Client
) -> None:
    unknown = Identifier("user_id", "Unknown")
    stitched([touchpoint("t1", EPOCH_MS, "page_view", identifiers=(unknown,))])
    nameless = {"received_at": moment(EPOCH_MS), "reason": "missing_identity", "source": "segment"}
    insert(loader, "rejected_touchpoint_rows", [
        {**nameless, "id": id, "detail": "it names nobody", "version": 1} for id in ("r1", "r2")
    ])  # fmt: skip
    assert rows(identity_report.identity_report(asked).nameless, "found", "source", "times") == [
        ("it names nobody", "segment", 2),
        ("user_id:Unknown", "segment", 1),
    ]
