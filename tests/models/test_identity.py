"""Identity: who is one customer, and what was refused."""

from collections.abc import Sequence
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.household import verdicts
from models.identifier import Identifier
from models.identity import Identities, Refusal, resolve
from models.journey_model import JourneyModel, default_model, load_model, template
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
KINDS = {"u": "user_id", "m": "email", "p": "phone", "d": "device_id", "s": "session_id"}


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


def limited(most: int) -> JourneyModel:
    small = template("default").replace("max_household: 5000", f"max_household: {most}")
    return load_model(small, where="small.yaml")


def test_a_household_beyond_its_limit_joins_nothing() -> None:
    model = limited(3)
    three, four = seen(["m1 d1", "m1 p1"]), seen(["m1 d1", "m1 p1", "d2"])
    assert {row.customer_id for row in verdicts(three, 0, model).identities} == {"email:m1"}
    assert len({row.customer_id for row in verdicts(four, 0, model).identities}) == 4


def test_beyond_the_limit_a_touchpoint_belongs_to_its_own_strongest_identifier() -> None:
    elements = seen(["m1 d1", "m1 p1", "u1 p1", "p1 d1", "d1"])
    said = {
        row.touchpoint.id: row.verdict.customer_id for row in verdicts(elements, 0, limited(3)).touchpoints
    }
    assert said == {
        "t0": "email:m1",
        "t1": "email:m1",
        "t2": "user_id:u1",
        "t3": "phone:p1",
        "t4": "device_id:d1",
    }


def test_beyond_the_limit_what_people_decided_still_joins() -> None:
    elements = [*seen(["m1 d1", "m1 p1", "d2 s1"]), decided("same", "d2", "m1", 9)]
    customer_of = {row.identifier: row.customer_id for row in verdicts(elements, 0, limited(3)).identities}
    assert customer_of["device_id:d2"] == "email:m1"
    assert customer_of["phone:p1"] == "phone:p1"


def test_what_was_refused_within_the_limit_is_no_conflict_beyond_it() -> None:
    elements = seen(["u1 d1", "u2 d1", "u2 d2"])
    assert len(verdicts(elements, 0, limited(4)).conflicts) == 1
    assert verdicts(elements, 0, limited(3)).conflicts == []


SHORTS = st.sampled_from(["u1", "u2", "u3", "m1", "m2", "p1", "d1", "d2", "d3"])
SEEN = st.tuples(st.integers(0, 6), st.lists(SHORTS, min_size=1, max_size=3, unique=True))
DECIDED = st.tuples(
    st.integers(0, 6),
    st.sampled_from(["same", "not_same", "undone"]),
    st.lists(SHORTS, min_size=2, max_size=2, unique=True),
)


@given(
    st.lists(SEEN, max_size=14), st.lists(DECIDED, max_size=3), st.sampled_from([4, 7, 5000]), st.randoms()
)
def test_step_by_step_and_in_any_order_it_is_what_resolve_says_of_the_whole(
    links: list[tuple[int, list[str]]],
    decisions: list[tuple[int, str, list[str]]],
    most: int,
    random: Random,
) -> None:
    """Also between the steps: the customers, the refusals, and what was said to have changed of both."""
    model = limited(most)
    steps: list[tuple[int, list[str]] | Correction] = [
        *links,
        *(decided(relation, *pair, at, f"k{n}") for n, (at, relation, pair) in enumerate(decisions)),
    ]
    random.shuffle(steps)
    identities = Identities(model)
    known_customers: dict[str, str] = {}
    known_refusals: dict[tuple[str, str], tuple[Refusal, str, str]] = {}
    for step in steps:
        if isinstance(step, Correction):
            identities.correct(step)
        else:
            at, shorts = step
            together = tuple(map(identifier, shorts))
            identities.see(identities.strongest(together), together, at)
        if random.random() < 0.3 and step is not steps[-1]:
            continue  # several elements are judged at once
        if identities.unresolved:
            identities.settle()
        whole = resolve(identities.customer_of, identities.links, identities.corrections, model)
        assert identities.customer_of == whole.customers.of
        assert identities.refusals == whole.refusals
        for key in identities.stale:
            known_customers[key] = identities.customer_of[key]
        identities.stale = {}
        assert known_customers == whole.customers.of
        for pair in identities.stale_pairs:
            known_refusals.pop(pair, None)
            if pair in identities.refusals:
                a, b = pair
                known_refusals[pair] = (
                    identities.refusals[pair], identities.customer_of[a], identities.customer_of[b]
                )  # fmt: skip
        identities.stale_pairs = {}
        assert known_refusals == {
            (a, b): (refusal, whole.customers.of[a], whole.customers.of[b])
            for (a, b), refusal in whole.refusals.items()
        }


def test_who_comes_to_a_shared_device_in_time_costs_no_resolving_of_all_before() -> None:
    identities = Identities(default_model())
    for n in range(50):
        together = _pair(f"u{n}", "d1")
        identities.see(together[0].key, together, at=n)
        assert not identities.unresolved
    assert len(identities.refusals) == 49
    late = _pair("u99", "d1")
    identities.see(late[0].key, late, at=-1)
    assert identities.unresolved
    identities.settle()
    assert identities.customer_of["device_id:d1"] == "user_id:u99"


def test_beyond_the_limit_nothing_is_resolved_again() -> None:
    identities = Identities(limited(3))
    for n in range(50):
        together = _pair("m1", f"d{n}")
        identities.see(together[0].key, together, at=-n)
        assert identities.unresolved == (n == 2)  # three more than the mailbox: one too many
        if identities.unresolved:
            identities.settle()
    assert identities.customer_of == {key: key for key in identities.customer_of}
