"""A cohort holds whom its definition says: each condition as a hand-worked case, and any of them combined against
a plain reference on made-up customers; and every analysis that is narrowed to it counts them alone.
"""

# ruff: noqa: E501  a case is a line

from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from clickhouse_connect.driver.client import Client
from hypothesis import given, settings
from hypothesis import strategies as st
from sqlalchemy import Engine, text

from tests.warehouse.lives import DAY_MS, FIRST_DAY, LAST_DAY, PHASES, STEPS, Journey, Lives, made_up
from tests.warehouse.stories import EPOCH_MS, empty, insert, load, moment, set_watermark, story
from warehouse import cohorts, connect
from warehouse.among import scope_of
from warehouse.answer import QuestionError, ask
from warehouse.binds import Binds
from warehouse.cohort_definition import read
from warehouse.cohort_members import members
from warehouse.scope import where

NOW = EPOCH_MS + 10 * DAY_MS
DAY = 1440  # minutes

# ann viewed twice on the first day and bought on the tenth; bob viewed, by chat, on the third; cid came on the ninth
PEOPLE = f"ann: 0 view, 5 view queue=A, {9 * DAY} buy phase=Purchase; bob: {2 * DAY} view channel=chat; cid: {8 * DAY} chat"

CASES: dict[str, tuple[Any, str]] = {
    "did it once":                     ({"did": "view"}, "ann bob"),
    "did it twice":                    ({"did": "view", "at_least": 2}, "ann"),
    "did it at most once, or never":   ({"did": "view", "at_most": 1}, "bob cid"),
    "did it exactly once":             ({"did": "view", "at_least": 1, "at_most": 1}, "bob"),
    "did it never":                    ({"did_not": "view"}, "cid"),
    "at least no time is everybody":   ({"did": "view", "at_least": 0}, "ann bob cid"),
    "a filter of a field that journeys hold": ({"did": "view[channel=chat]"}, "bob"),
    "a filter of a field that they do not":   ({"did": "view[queue=A]"}, "ann"),
    "anything":                        ({"did": "*", "at_least": 3}, "ann"),
    "alternatives":                    ({"did": "buy|chat"}, "ann cid"),
    "a phase":                         ({"did": "@Awareness"}, "ann bob cid"),
    "a step spelt out":                ({"did": {"types": ["buy"]}}, "ann"),
    "from its first instant on":       ({"did": "view", "from": "2026-01-03"}, "bob"),
    "before its last instant":         ({"did": "view", "to": "2026-01-03"}, "ann"),
    "a time with its offset":          ({"did": "view", "from": "2026-01-03T01:00+01:00"}, "bob"),
    "a day of a time zone":            ({"did": "view", "from": "2026-01-02", "to": "2026-01-03T01:00:00.001", "timezone": "Europe/Berlin"}, "bob"),
    "an offset goes before the time zone": ({"did": "view", "from": "2026-01-03T01:00+01:00", "timezone": "Asia/Tokyo"}, "bob"),
    "west of Greenwich it is not yet the third": ({"did": "view", "from": "2026-01-03", "timezone": "America/New_York"}, ""),
    "a time a ms too late":            ({"did": "view", "from": "2026-01-03T00:00:00.001"}, ""),
    "in a period it was done once":    ({"did": "view", "at_least": 2, "from": "2026-01-01T00:01"}, ""),
    "in the last days before the watermark": ({"did": "*", "last_days": 2}, "ann cid"),
    "in the last day":                 ({"did": "*", "last_days": 1}, "ann"),
    "not in the last days":            ({"did_not": "view", "last_days": 8}, "ann cid"),
    "came first in a period":          ({"first_touch": {"from": "2026-01-02", "to": "2026-01-05"}}, "bob"),
    "came first in the last days":     ({"first_touch": {"last_days": 3}}, "cid"),
    "of a persona when last seen":     ({"persona": "Gold"}, "ann"),
    "of another before":               ({"persona": "Silver"}, "bob"),
    "came first by a campaign":        ({"campaign": "spring"}, "ann"),
    "a journey that converted":        ({"journey": {"converted": True}}, "ann"),
    "a journey that did not":          ({"journey": {"converted": False}}, "ann bob cid"),
    "a journey of a period":           ({"journey": {"converted": False, "to": "2026-01-04"}}, "ann bob"),
    "fell silent in a phase":          ({"journey": {"dropped_off_in": "Awareness"}}, "bob"),
    "stands in a phase":               ({"journey": {"current_phase": "Purchase"}}, "ann"),
    "has been in a phase":             ({"journey": {"furthest_phase": "Awareness"}}, "bob cid"),
    "all of it in one journey":        ({"journey": {"converted": True, "furthest_phase": "Awareness"}}, ""),
    "brought so much in all journeys": ({"value_at_least": 30, "currency": "EUR"}, "ann"),
    "brought more than anybody":       ({"value_at_least": 30.01, "currency": "EUR"}, ""),
    "brought so much, in a period":    ({"value_at_least": 11, "currency": "EUR", "from": "2026-01-05"}, "ann"),
    "in another currency":             ({"value_at_least": 1, "currency": "USD"}, ""),
    "a list by identifier":            ({"customers": ["email:ann@example.com", "nobody"]}, "ann"),
    "a list by the value alone":       ({"customers": ["ann@example.com", "bob"]}, "ann bob"),
    "all of several":                  ({"all": [{"did": "view"}, {"did_not": "buy"}]}, "bob"),
    "one of several":                  ({"any": [{"did": "buy"}, {"did": "chat"}]}, "ann cid"),
    "not":                             ({"not": {"any": [{"did": "buy"}, {"did": "chat"}]}}, "bob"),
    "not not":                         ({"not": {"not": {"did": "buy"}}}, "ann"),
}  # fmt: skip


@pytest.fixture(scope="module")
def loaded(loader: Client) -> Client:
    """Ann, Bob and Cid, ten days on."""
    empty(loader)
    for one in PEOPLE.split(";"):
        name, _, text_ = one.partition(":")
        load(loader, story(name.strip(), text_), gap_ms=DAY_MS)
    rows = loader.query("select customer_id, started_on, id, started_at, ended_at, ats, types, channels, phases, journey_id, touchpoint_ids from journeys", tz_mode="aware")  # fmt: skip
    said = {
        ("ann", 0): {"persona": "Silver", "campaign_first": "spring", "values": {"EUR": 10}},
        ("ann", 9): {"persona": "Gold", "campaign_first": "summer", "values": {"EUR": 20}, "current_phase": "Purchase", "furthest_phase": "Purchase", "converted_at": moment(EPOCH_MS)},
        ("bob", 2): {"persona": "Silver", "campaign_first": "", "drop_off_at": moment(EPOCH_MS), "drop_off_phase": "Awareness", "furthest_phase": "Awareness"},
        ("cid", 8): {"persona": "", "campaign_first": "", "furthest_phase": "Awareness"},
    }  # fmt: skip
    for row in rows.named_results():
        day = (row["started_at"] - moment(EPOCH_MS)).days
        empty_one = {"values": {}, "drop_off_at": None, "converted_at": None, "current_phase": "Awareness"}
        insert(
            loader, "journey_rows", [{**row, **empty_one, **said[(row["customer_id"], day)], "version": 2}]
        )
    insert(
        loader, "identity_rows", [{"identifier": "email:ann@example.com", "customer_id": "ann", "version": 1}]
    )
    return loader


@pytest.fixture
def people(loaded: Client) -> Client:
    """The same, and no cohort saved yet."""
    empty(loaded, "cohort_rows")
    set_watermark(loaded, NOW)
    return loaded


def held(asked: Engine, definition: Any) -> list[str]:
    cohorts.save(asked, "some", definition, author="me")
    found = cohorts.members(asked, "some")["customer_id"].to_list()
    assert cohorts.size(asked, "some") >= len(found)
    return [str(name) for name in found]


@pytest.mark.parametrize(("definition", "expected"), CASES.values(), ids=CASES.keys())
def test_a_cohort_of_customers_who(asked: Engine, people: Client, definition: Any, expected: str) -> None:
    assert held(asked, definition) == expected.split()


def test_before_the_first_watermark_nobody_did_anything_in_the_last_days(
    asked: Engine, people: Client
) -> None:
    empty(people, "watermarks")
    assert held(asked, {"did": "*", "last_days": 1}) == []


def test_a_cohort_is_saved_with_who_and_when_and_replaced_as_a_whole(asked: Engine, people: Client) -> None:
    before = datetime.now(UTC) - timedelta(milliseconds=1)
    for author, definition in (("ann", {"did": "view"}), ("bob", {"did": "buy"})):
        saved = cohorts.save(asked, "fans", definition, author=author)
        assert (saved.author, saved.definition) == (author, definition)
        assert before <= saved.saved_at <= datetime.now(UTC)
    assert cohorts.cohorts(asked)[["name", "author", "definition"]].values.tolist() == [
        ["fans", "bob", '{"did":"buy"}']
    ]


def test_a_clock_that_was_set_back_does_not_hide_what_is_saved_now(asked: Engine, people: Client) -> None:
    ahead = {
        "name": "fans",
        "definition": '{"did":"view"}',
        "author": "x",
        "version": 2**63,
        "saved_at": moment(0),
    }
    insert(people, "cohort_rows", [ahead])
    assert cohorts.save(asked, "fans", {"did": "buy"}, author="me").definition == {"did": "buy"}
    cohorts.delete(asked, "fans", author="me")
    assert cohorts.cohorts(asked).empty


def test_a_cohort_that_was_deleted_is_not_known_and_can_be_saved_again(asked: Engine, people: Client) -> None:
    for _ in range(2):
        cohorts.save(asked, "fans", {"did": "view"}, author="me")
        cohorts.delete(asked, "fans", author="me")
        with pytest.raises(QuestionError, match='"fans" is not known'):
            cohorts.find(asked, "fans")


def test_a_definition_of_a_yaml_file_may_have_days_as_yaml_reads_them(asked: Engine, people: Client) -> None:
    import yaml

    assert held(asked, yaml.safe_load("{did: view, from: 2026-01-03, to: 2026-01-04 12:00:00}")) == ["bob"]


def test_members_are_given_up_to_so_many(asked: Engine, people: Client) -> None:
    cohorts.save(asked, "all", {"did": "*"}, author="me")
    found = cohorts.members(asked, "all", most=2)
    assert found.values.tolist() == [
        ["ann", 2, 3, moment(EPOCH_MS), moment(EPOCH_MS + 9 * DAY_MS)],
        ["bob", 1, 1, moment(EPOCH_MS + 2 * DAY_MS), moment(EPOCH_MS + 2 * DAY_MS)],
    ]
    assert cohorts.size(asked, "all") == 3


@pytest.mark.parametrize(("said", "expected"), [("fans", ["bob"]), ("!fans", ["ann", "ann", "cid"])])
def test_a_question_can_be_narrowed_to_a_cohort_or_to_all_others(
    asked: Engine, people: Client, said: str, expected: list[str]
) -> None:
    cohorts.save(asked, "fans", {"did": "view[channel=chat]"}, author="me")
    binds = Binds()
    scope = scope_of(asked, {"cohort": said})
    question = f"select customer_id from journeys {where(scope.of_journeys(binds))} order by customer_id"
    assert ask(asked, text(question), binds)["customer_id"].to_list() == expected


def test_a_reader_may_use_cohorts_and_not_save_them(warehouse: str, asked: Engine, people: Client) -> None:
    cohorts.save(asked, "fans", {"did": "view"}, author="me")
    reader = connect(warehouse.replace("http://", "http://reader:@"))
    assert cohorts.size(reader, "fans") == 2
    with pytest.raises(Exception, match=r"ACCESS_DENIED|READONLY"):
        cohorts.save(reader, "fans", {"did": "buy"}, author="me")
    reader.dispose()
    assert cohorts.find(asked, "fans").definition == {"did": "view"}


WRONG: dict[str, tuple[Any, str, str]] = {
    "a type that nobody has heard of":       ({"did": "veiw"}, '"veiw"', '"view"'),
    "a phase that nobody has heard of":      ({"journey": {"current_phase": "Awarenes"}}, '"Awarenes"', '"Awareness"'),
    "a persona that nobody has heard of":    ({"persona": "Golden"}, '"Golden"', '"Gold"'),
    "a campaign that nobody has heard of":   ({"not": {"campaign": "sprung"}}, '"sprung"', '"spring"'),
    "a condition that there is not":         ({"did_nott": "view"}, '"did_nott"', '"did_not"'),
    "a part that there is not":              ({"did": "view", "at_lest": 1}, '"at_lest"', '"at_least"'),
    "a part of a journey that there is not": ({"journey": {"convertd": True}}, '"convertd"', '"converted"'),
    "two conditions in one":                 ({"did": "view", "persona": "Gold"}, '"did" and "persona"', "all:"),
    "something beside what is combined":     ({"any": [{"did": "view"}], "last_days": 3}, '"last_days"', '"any"'),
    "nothing combined":                      ({"all": []}, '"all" combines nothing', "did: purchase"),
    "a text":                                ("view", '"view" is no condition', "did: purchase"),
    "nothing":                               ({}, "is no condition", "did: purchase"),
    "a number of times below none":          ({"did": "view", "at_least": -1}, "at_least", "last_days"),
    "more than at most":                     ({"did": "view", "at_least": 3, "at_most": 2}, "at least 3", "Swap"),
    "a period that is empty":                ({"did": "view", "from": "2026-01-02", "to": "2026-01-02"}, "holds nothing", "after"),
    "a day that is none":                    ({"did": "view", "from": "2026-02-30"}, '"2026-02-30"', "2026-11-02"),
    "a time zone that there is not":         ({"did": "view", "from": "2026-01-02", "timezone": "Berlin"}, "Berlin", "Europe/Berlin"),
    "a time zone of no time":                ({"did": "view", "last_days": 3, "timezone": "Europe/Berlin"}, "neither from nor to", "leave timezone out"),
    "last days and bounds":                  ({"first_touch": {"last_days": 1, "to": "2026-01-02"}}, "last days and bounds", "out"),
    "nothing of a journey":                  ({"journey": {}}, "nothing is said", "converted"),
    "nobody listed":                         ({"customers": []}, "customers", "docs"),
    "a value without a currency":            ({"value_at_least": 3}, "currency", "docs"),
    "a step that a funnel alone can have":   ({"did": {"types": ["view"], "within": "1d"}}, "only a step of a funnel", "within"),
    "a step that cannot be read":            ({"did": "view[channel"}, "view[channel", ""),
}  # fmt: skip


@pytest.mark.parametrize(("definition", "what", "remedy"), WRONG.values(), ids=WRONG.keys())
def test_a_definition_that_cannot_be_is_said_with_a_way_out(
    asked: Engine, people: Client, definition: Any, what: str, remedy: str
) -> None:
    with pytest.raises(QuestionError) as raised:
        cohorts.save(asked, "fans", definition, author="me")
    assert what in raised.value.what
    assert remedy in (raised.value.remedy or "")
    assert cohorts.cohorts(asked).empty


def test_a_definition_may_be_nested_deep_and_not_deeper(asked: Engine, people: Client) -> None:
    def nested(depth: int) -> Any:
        return {"did": "view"} if not depth else {"not": nested(depth - 1)}

    assert held(asked, nested(20)) == ["ann", "bob"]
    with pytest.raises(QuestionError, match="nested"):
        cohorts.save(asked, "deep", nested(21), author="me")


@pytest.mark.parametrize("name", ["", "!fans", "a,b", "two words", "-x", "x" * 65])
def test_a_name_that_a_question_could_not_say_is_refused(asked: Engine, name: str) -> None:
    with pytest.raises(QuestionError, match="no name for a cohort"):
        cohorts.save(asked, name, {"did": "view"}, author="me")


def test_a_cohort_that_is_not_known_names_the_nearest(asked: Engine, people: Client) -> None:
    with pytest.raises(QuestionError) as raised:
        cohorts.find(asked, "loyal")
    assert raised.value.remedy == "There is no cohort yet."
    cohorts.save(asked, "loyals", {"did": "view"}, author="me")
    with pytest.raises(QuestionError) as raised:
        scope_of(asked, {"cohort": "!loyal"})
    assert raised.value.remedy == 'Did you mean "loyals"?'


def belongs(life: list[Journey], definition: Any, watermark: int) -> bool:
    """Whether a customer belongs to a cohort, straight from what the definition says."""
    kind = next(iter(definition))
    inner = definition[kind]
    if kind == "not":
        return not belongs(life, inner, watermark)
    if kind in ("all", "any"):
        found = [belongs(life, part, watermark) for part in inner]
        return all(found) if kind == "all" else any(found)
    period = inner if isinstance(inner, dict) else definition

    def within(at: int) -> bool:
        if "last_days" in period:
            return watermark - period["last_days"] * DAY_MS <= at < watermark
        since, until = (
            datetime.fromisoformat(period[name]).timestamp() * 1000 if name in period else None
            for name in ("from", "to")
        )
        return (since is None or since <= at) and (until is None or at < until)

    told = [t for journey in life for t in journey.told]
    if kind in ("did", "did_not"):
        times = sum(STEPS[inner](t) and within(t.at) for t in told)
        if kind == "did_not":
            return times == 0
        least = definition.get("at_least", 0 if "at_most" in definition else 1)
        return bool(least <= times <= definition.get("at_most", times))
    if kind == "first_touch":
        return within(min(t.at for t in told))
    if kind in ("persona", "campaign"):
        column = {"persona": "persona", "campaign": "campaign_first"}[kind]
        said = [j.row[column] for j in sorted(life, key=lambda j: j.told[0].at) if j.row[column]]
        return bool(said) and said[-1 if kind == "persona" else 0] == inner
    if kind == "value_at_least":
        brought = sum(j.row["values"].get(definition["currency"], 0) for j in life if within(j.told[0].at))
        return bool(brought >= inner) and any(within(j.told[0].at) for j in life)
    if kind == "customers":
        return life[0].row["customer_id"] in inner
    assert kind == "journey"
    return any(
        within(j.told[0].at)
        and inner.get("converted") in (None, j.row["converted_at"] is not None)
        and inner.get("dropped_off_in") in (None, j.row["drop_off_phase"])
        and inner.get("current_phase") in (None, j.row["current_phase"])
        and inner.get("furthest_phase") in (None, j.row["furthest_phase"])
        for j in life
    )


@st.composite
def periods(draw: Callable[..., Any]) -> dict[str, Any]:
    if draw(st.booleans()):
        return draw(st.sampled_from([{}, {"last_days": 1}, {"last_days": 20}]))  # type: ignore[no-any-return]
    days = sorted(draw(st.sets(st.integers(FIRST_DAY, LAST_DAY), min_size=1, max_size=2)))
    texts = [(moment(EPOCH_MS + day * DAY_MS)).isoformat() for day in days]
    return dict(
        zip(
            draw(st.sampled_from([("from", "to"), ("to",)])) if len(days) == 1 else ("from", "to"),
            texts,
            strict=False,
        )
    )


@st.composite
def conditions(draw: Callable[..., Any]) -> dict[str, Any]:
    kind = draw(st.sampled_from(["did", "did", "did", "did_not", "first_touch", "persona", "campaign", "journey", "value_at_least", "customers"]))  # fmt: skip
    if kind in ("did", "did_not"):
        said: dict[str, Any] = {kind: draw(st.sampled_from(list(STEPS))), **draw(periods())}
        if kind == "did":
            least, most = draw(st.none() | st.integers(0, 4)), draw(st.none() | st.integers(0, 6))
            said |= {} if least is None else {"at_least": least}
            said |= {} if most is None or (least or 0) > most else {"at_most": most}
        return said
    if kind == "first_touch":
        return {kind: draw(periods())}
    if kind == "journey":
        some = draw(st.sets(st.sampled_from(["converted", "dropped_off_in", "current_phase", "furthest_phase"]), min_size=1, max_size=2))  # fmt: skip
        said = {
            name: draw(st.booleans() if name == "converted" else st.sampled_from(PHASES))
            for name in sorted(some)
        }
        return {kind: said | draw(periods())}
    if kind == "value_at_least":
        return {kind: draw(st.sampled_from([0, 10, 20, 30])), "currency": "EUR", **draw(periods())}
    if kind == "customers":
        return {kind: [f"c{n:03}" for n in draw(st.lists(st.integers(0, 65), min_size=1, max_size=9))]}
    return {kind: draw(st.sampled_from(["Gold", "Silver"] if kind == "persona" else ["spring", "summer"]))}


DEFINITIONS = st.recursive(
    conditions(),
    lambda inner: (
        st.builds(lambda one: {"not": one}, inner)
        | st.builds(
            lambda kind, some: {kind: some},
            st.sampled_from(["all", "any"]),
            st.lists(inner, min_size=1, max_size=3),
        )
    ),
    max_leaves=5,
)


@pytest.fixture(scope="module")
def lives(loader: Client) -> Iterator[Lives]:
    """Made-up customers."""
    yield made_up(loader, seed=20260401)
    empty(loader)


# an example asks several questions
@settings(max_examples=settings().max_examples // 6)
@given(definitions=st.lists(DEFINITIONS, min_size=4, max_size=6), day=st.integers(FIRST_DAY, LAST_DAY + 20))
def test_any_cohort_is_that_of_the_reference(asked: Engine, lives: Lives, definitions: Any, day: int) -> None:
    watermark = EPOCH_MS + day * DAY_MS
    expected = [
        sorted(name for name, life in lives.items() if belongs(life, definition, watermark))
        for definition in definitions
    ]
    binds = Binds()
    each = [
        f"select {place} as place, arraySort(groupArray(customer_id)) as names"
        f" from ({members(read(definition), binds, moment(watermark))})"
        for place, definition in enumerate(definitions)
    ]
    found = ask(asked, text(f"select names from ({' union all '.join(each)}) order by place"), binds)
    assert found["names"].to_list() == expected
