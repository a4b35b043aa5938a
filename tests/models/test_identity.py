"""Identity: who is one customer, and what was refused."""

from collections.abc import Sequence

import pytest

from models.household import verdicts
from models.identifier import Identifier
from models.journey_model import default_model, load_model, template
from models.touchpoint import Correction, Element, Identification
from tests.histories import said_of, touchpoint

# Seen together, in the order of time ("u" is a user id, "m" an email, "p" a phone, "d" a device); who is one.
LINKS = {
    "nobody": ([], []),
    "one identifier is a customer": (["u1"], ["u1"]),
    "seen together": (["u1 d1"], ["u1 d1"]),
    "through another": (["u1 d1", "m1 d1", "m1 p1"], ["u1 m1 p1 d1"]),
    "two users of one device stay two": (["u1 d1", "u2 d1"], ["u1 d1", "u2"]),
    "it belongs to whom it was linked first": (["u2 d1", "u1 d1"], ["u1", "u2 d1"]),
    "two mailboxes of one user are one": (["u1 m1", "u1 m2"], ["u1 m1 m2"]),
    "a bridge between two users is refused": (["u1 m1", "u2 m2", "m1 m2"], ["u1 m1", "u2 m2"]),
    "no bridge before the users were known": (["m1 m2", "u1 m1", "u2 m2"], ["u1 m1 m2", "u2"]),
    "three on one touchpoint": (["u1 m1 d1"], ["u1 m1 d1"]),
    "twice the same on one": (["u1 u1"], ["u1"]),
    "two users on one touchpoint": (["u1 u2 d1"], ["u1 d1", "u2"]),
}
KINDS = {"u": "user_id", "m": "email", "p": "phone", "d": "device_id"}


def identifier(short: str) -> Identifier:
    return Identifier(KINDS[short[0]], short)


def customers(elements: Sequence[Element]) -> list[str]:
    rank = default_model().identifier_order.rank
    groups: dict[str, list[str]] = {}
    for row in sorted(
        verdicts(elements, 0, default_model()).identities, key=lambda row: rank(row.identifier)
    ):
        groups.setdefault(row.customer_id, []).append(row.identifier.partition(":")[2])
    return [" ".join(group) for group in groups.values()]


def seen(links: Sequence[str]) -> list[Element]:
    return [
        touchpoint(f"t{at}", at, "page_view", identifiers=tuple(identifier(one) for one in link.split()))
        for at, link in enumerate(links)
    ]


def decided(relation: str, a: str, b: str, at: int, id: str = "k") -> Correction:
    return Correction(
        id=id,
        relation=relation,  # type: ignore[arg-type]
        identifiers=(identifier(a), identifier(b)),
        at=at,
        author="ann",
    )


@pytest.mark.parametrize(("links", "wanted"), LINKS.values(), ids=LINKS.keys())
def test_links_make_customers(links: list[str], wanted: list[str]) -> None:
    assert customers(seen(links)) == wanted
    assert customers(seen(links)[::-1]) == wanted


def test_a_refused_link_is_recorded() -> None:
    (row,) = verdicts(seen(["u1 d1", "u2 d1"]), 0, default_model()).conflicts
    assert (row.identifier_a, row.identifier_b, row.at, row.reason) == (
        "user_id:u2",
        "device_id:d1",
        1,
        "exclusive_kind",
    )
    assert (row.customer_a, row.customer_b) == ("user_id:u2", "user_id:u1")


def test_a_link_seen_several_times_counts_at_its_earliest() -> None:
    assert customers(seen(["u2 d1", "u1 d1", "u2 d1"])) == ["u1", "u2 d1"]
    assert customers(
        [*seen(["u1 d1"]), touchpoint("t9", -1, "page_view", identifiers=_pair("u2", "d1"))]
    ) == [
        "u1",
        "u2 d1",
    ]


def _pair(a: str, b: str) -> tuple[Identifier, ...]:
    return identifier(a), identifier(b)


def test_an_identification_links_and_is_no_touchpoint() -> None:
    identify = Identification(
        id="i", source="segment", source_instance="shop", channel="web", at=5, received_at=6,
        identifiers=_pair("d1", "u1"), persona="thrifty",
    )  # fmt: skip
    facts = verdicts([identify, *seen(["d1"])], 0, default_model())
    assert {row.identifier: row.first_linked_at for row in facts.identities} == {
        "user_id:u1": 5,
        "device_id:d1": 5,
    }
    assert [row.touchpoint.id for row in facts.touchpoints] == ["t0"]
    assert [row.persona for row in facts.journeys] == ["thrifty"]


def test_a_person_may_say_that_two_users_are_one() -> None:
    assert customers([*seen(["u1 d1", "u2 d2"]), decided("same", "u1", "u2", 9)]) == ["u1 u2 d1 d2"]


def test_a_person_may_say_that_two_are_not_the_same() -> None:
    elements = [*seen(["m1 d1", "m1 p1", "p1 d1"]), decided("not_same", "d1", "p1", 9)]
    assert customers(elements) == ["m1 d1", "p1"]
    reasons = {(row.identifier_a, row.reason) for row in verdicts(elements, 0, default_model()).conflicts}
    assert reasons == {("email:m1", "not_same"), ("phone:p1", "not_same")}


@pytest.mark.parametrize(
    ("decisions", "wanted"),
    [
        ([("not_same", 5), ("undone", 9)], ["m1 d1"]),
        ([("undone", 5), ("not_same", 9)], ["m1", "d1"]),
        ([("same", 5), ("not_same", 9)], ["m1", "d1"]),
        ([("not_same", 9), ("same", 9)], ["m1 d1"]),  # at one instant the greater id is the later one
    ],
)
def test_the_latest_decision_holds(decisions: list[tuple[str, int]], wanted: list[str]) -> None:
    made = [decided(relation, "d1", "m1", at, f"k{n}") for n, (relation, at) in enumerate(decisions)]
    assert customers([*seen(["m1 d1"]), *made]) == wanted
    assert customers([*made[::-1], *seen(["m1 d1"])]) == wanted


def test_same_joins_before_any_link() -> None:
    elements = [*seen(["u1 d1", "u2 d2"]), decided("same", "u2", "d1", 9)]
    assert customers(elements) == ["u1", "u2 d1 d2"]


def test_a_touchpoint_belongs_to_the_customer_of_its_strongest_identifier() -> None:
    said = said_of(seen(["u1 d1", "u2 d1", "d1"]))
    customer_ids = {id: verdict.customer_id for id, verdict in said.items()}
    assert customer_ids == {"t0": "user_id:u1", "t1": "user_id:u2", "t2": "user_id:u1"}


def test_a_household_beyond_its_limit_joins_nothing() -> None:
    model = load_model(
        template("default").replace("max_household: 5000", "max_household: 3"), where="small.yaml"
    )
    three, four = seen(["m1 d1", "m1 p1"]), seen(["m1 d1", "m1 p1", "d2"])
    assert {row.customer_id for row in verdicts(three, 0, model).identities} == {"email:m1"}
    assert len({row.customer_id for row in verdicts(four, 0, model).identities}) == 4
