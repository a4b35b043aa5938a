"""Retention is what its rules say: each as a hand-worked case, and any question against a plain reference."""

# ruff: noqa: E501  a case is a line

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from clickhouse_connect.driver.client import Client
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import binomtest
from sqlalchemy import Engine

from tests.warehouse.lives import (
    DAY_MS,
    FIRST_DAY,
    HOUR_MS,
    LAST_DAY,
    STEPS,
    ZONES,
    Journey,
    Lives,
    ended,
    made_up,
    period_of,
    rows_of,
    text_of,
)
from tests.warehouse.stories import EPOCH_MS, Told, empty, insert, load, moment, set_watermark, story
from warehouse import cohorts
from warehouse.answer import QuestionError
from warehouse.retention import retention

DAY = 1440  # minutes; the first day of a story is Thursday, 1 January 2026
LATER = EPOCH_MS + 100 * DAY_MS


@pytest.fixture
def told(loader: Client) -> Callable[[str], None]:
    empty(loader)
    set_watermark(loader, LATER)

    def tell(text: str) -> None:
        for one in text.split(";"):
            name, _, what = one.partition(":")
            load(loader, story(name.strip(), what), gap_ms=3 * DAY_MS)

    return tell


def returned(answer: Any, cohort: str = "all") -> list[int]:
    return list(answer[answer["cohort"] == cohort]["returned"])


# what happened, the question, who of all came back in period 0, 1, 2
CASES: dict[str, tuple[str, dict[str, Any], list[int]]] = {
    "the beginning itself is no return":          ("ann: 0 view", {}, [0, 0, 0]),
    "a return is later than the beginning":       ("ann: 0 view, 0 view", {}, [0, 0, 0]),
    "a return on the same day":                   ("ann: 0 view, 1 view", {}, [1, 0, 0]),
    "the last minute of the day":                 ("ann: 0 view, 1439 view", {}, [1, 0, 0]),
    "the first instant of the next":              (f"ann: 0 view, {DAY} view", {}, [0, 1, 0]),
    "a day is that of the clock and not 24 hours": (f"ann: 1439 view, {DAY} view", {}, [0, 1, 0]),
    "two returns on one day count once":          (f"ann: 0 view, {DAY} view, {DAY + 5} view", {}, [0, 1, 0]),
    "on a day and not up to it":                  (f"ann: 0 view, {2 * DAY} view", {}, [0, 0, 1]),
    "on a day or later":                          (f"ann: 0 view, {2 * DAY} view", {"rolling": True}, [1, 1, 1]),
    "far later is later":                         (f"ann: 0 view, {50 * DAY} view", {"rolling": True}, [1, 1, 1]),
    "in any later journey":                       (f"ann: 0 view, {50 * DAY} view, {51 * DAY} buy", {"start": "view", "back": "buy", "rolling": True}, [1, 1, 1]),
    "a step to begin with":                       (f"ann: 0 view, {DAY} buy, {2 * DAY} view", {"start": "buy"}, [0, 1, 0]),
    "who never takes it does not begin":          ("ann: 0 view, 1 view", {"start": "purchase"}, []),
    "a step to come back by":                     (f"ann: 0 view, {DAY} view, {2 * DAY} buy", {"back": "buy"}, [0, 0, 1]),
    "by a field that journeys do not hold":       (f"ann: 0 view, {DAY} view, {2 * DAY} view queue=A", {"back": "view[queue=A]"}, [0, 0, 1]),
    "weeks begin on Monday":                      (f"ann: 0 view, {3 * DAY} view; bob: 0 view, {4 * DAY} view", {"per": "week"}, [1, 1, 0]),
    "months are those of the calendar":           (f"ann: 0 view, {30 * DAY} view; bob: 0 view, {31 * DAY} view", {"per": "month"}, [1, 1, 0]),
    "weeks of beginning, days of return":         (f"ann: {2 * DAY} view, {4 * DAY} view", {"unit": "day"}, [0, 0, 1]),
    "days of a time zone":                        ("ann: 1379 view, 1380 view", {"timezone": "Europe/Berlin"}, [0, 1, 0]),
}  # fmt: skip


@pytest.mark.parametrize(("happened", "question", "expected"), CASES.values(), ids=CASES.keys())
def test_who_came_back(
    asked: Engine, told: Callable[[str], None], happened: str, question: dict[str, Any], expected: list[int]
) -> None:
    told(happened)
    if question.get("timezone"):
        assert returned(retention(asked, per="day", periods=2)) == [1, 0, 0]
    answer = retention(asked, **{"per": "day", "periods": 2, **question})
    assert returned(answer) == expected


def test_a_period_is_open_until_the_watermark_has_reached_its_end(
    asked: Engine, loader: Client, told: Callable[[str], None]
) -> None:
    told(f"ann: 0 view, {DAY} view; bob: 0 view")
    for at, expected in ((2 * DAY_MS - 1, (0, 0, 2, 1, None)), (2 * DAY_MS, (2, 1, 0, 0, 0.5))):
        set_watermark(loader, EPOCH_MS + at)
        answer = rows_of(retention(asked, per="day", periods=1))[1]
        assert tuple(answer[n] for n in ("complete", "returned", "open", "open_returned", "rate")) == expected
    empty(loader, "watermarks")
    answer = rows_of(retention(asked, per="day", periods=1))[1]
    assert (answer["complete"], answer["open"], answer["rate"], answer["lo"]) == (0, 2, None, None)


def test_all_cohorts_together_are_weighted_by_their_size_and_by_what_has_ended(
    asked: Engine, loader: Client, told: Callable[[str], None]
) -> None:
    told(f"ann: 0 view, {DAY} view; bob: 0 view; cid: 0 view; dan: {DAY} view, {2 * DAY} view")
    set_watermark(loader, EPOCH_MS + 3 * DAY_MS)
    answer = retention(asked, per="day", periods=2)
    by = {(row["cohort"], row["period"]): row for row in rows_of(answer)}
    assert [by[name, 1]["rate"] for name in ("2026-01-01", "2026-01-02", "all")] == pytest.approx(
        [1 / 3, 1, 2 / 4]
    )
    # the second day after has ended for the first cohort alone
    assert [by[name, 2]["complete"] for name in ("2026-01-01", "2026-01-02", "all")] == [3, 0, 3]
    assert by["all", 2]["size"] == 4


def test_the_period_selects_beginnings_that_are_the_first_ever(
    asked: Engine, told: Callable[[str], None]
) -> None:
    told(f"ann: 0 view, {5 * DAY} view, {6 * DAY} view; bob: {5 * DAY} view, {6 * DAY} view")
    answer = retention(asked, per="day", periods=1, since=moment(EPOCH_MS + DAY_MS))
    assert list(answer["cohort"].unique()) == ["2026-01-06", "all"]
    assert list(answer["size"]) == [1, 1, 1, 1]
    assert retention(asked, until=moment(EPOCH_MS)).empty


def test_persona_and_campaign_are_those_of_the_journey_that_began_it(
    asked: Engine, loader: Client, told: Callable[[str], None]
) -> None:
    told("")
    rows = load(
        loader,
        story("ann", f"0 view, {5 * DAY} view") + story("bob", f"0 view, {5 * DAY} view"),
        gap_ms=DAY_MS,
    )
    first = {"ann": ("Gold", "spring"), "bob": ("Silver", "summer")}
    for row in rows:
        persona, campaign = (
            first[row["customer_id"]] if row["started_at"] == moment(EPOCH_MS) else ("Bronze", "autumn")
        )
        row |= {"persona": persona, "campaign_first": campaign, "version": 2}
    insert(loader, "journey_rows", rows)
    for narrowed in (
        {"persona": "Gold"},
        {"persona": "!Silver"},
        {"campaign": "spring"},
        {"campaign": "!summer"},
    ):
        for back in ("*", "*[queue!=x]"):
            answer = retention(asked, per="day", periods=5, back=back, **narrowed)
            assert (answer["size"].iloc[0], returned(answer)[5]) == (1, 1)
    # began no customer, though it occurs
    assert retention(asked, persona="Bronze").empty


def test_of_two_beginnings_of_one_instant_that_of_the_earlier_journey_counts(
    asked: Engine, loader: Client, told: Callable[[str], None]
) -> None:
    told("")
    # a touchpoint may close a journey, and the next, of the same time, begins another
    for id, persona in (("t1", "Gold"), ("t2", "Silver")):
        [row] = load(loader, [Told("ann", EPOCH_MS, "view", id)])
        insert(loader, "journey_rows", [{**row, "persona": persona, "version": 2}])
    for start in ("view", "view[queue!=x]"):
        assert list(retention(asked, persona="Gold", start=start, periods=1)["size"]) == [1] * 4
        assert retention(asked, persona="Silver", start=start).empty


def test_the_first_conversion_may_lie_in_a_later_journey(
    asked: Engine, loader: Client, told: Callable[[str], None]
) -> None:
    told("")
    rows = load(loader, [
        *story("ann", f"0 view, {5 * DAY} buy converts=1, {6 * DAY} view"), *story("bob", "0 view"),
    ], gap_ms=2 * DAY_MS)  # fmt: skip
    insert(loader, "journey_rows", [
        row | {"version": 2, "converted_at": moment(EPOCH_MS + 5 * DAY_MS) if "buy" in row["types"] else None}
        for row in rows
    ])  # fmt: skip
    for back in ("*", "*[queue!=x]"):
        answer = retention(asked, start="conversion", back=back, per="day", periods=1)
        assert (list(answer["cohort"]), returned(answer)) == (["2026-01-06"] * 2 + ["all"] * 2, [0, 1])


def test_two_can_be_compared_period_by_period(asked: Engine, told: Callable[[str], None]) -> None:
    told(f"ann: 0 view, {DAY} view; bob: 0 view; cid: {9 * DAY} view, {10 * DAY} view")
    answer = retention(asked, per="day", periods=1, compare="before:2026-01-05")
    [row] = [row for row in rows_of(answer) if (row["cohort"], row["period"]) == ("all", 1)]
    assert (row["measure"], row["a"], row["b"], row["difference"]) == ("rate", 0.5, 1.0, 0.5)
    assert row["lo"] < 0 < row["hi"]


@pytest.mark.parametrize(
    ("question", "what"),
    [
        ({"start": "veiw"}, '"veiw"'),
        ({"back": "@Awarenes"}, '"Awarenes"'),
        ({"periods": 0}, "not 0"),
        ({"periods": 401}, "not 401"),
        ({"timezone": "Europe/Berln"}, '"Europe/Berln"'),
        ({"cohort": "fans"}, '"fans"'),
        ({"since": moment(LATER), "until": moment(EPOCH_MS)}, "holds nothing"),
    ],
)
def test_what_cannot_be_asked_is_said(
    asked: Engine, told: Callable[[str], None], question: dict[str, Any], what: str
) -> None:
    told("ann: 0 view")
    with pytest.raises(QuestionError, match=what):
        retention(asked, **question)


@pytest.mark.parametrize("back", ["*", "*[queue=A]"])
def test_the_sql_runs_by_itself_and_columns_keep_their_types(
    asked: Engine, loader: Client, told: Callable[[str], None], back: str
) -> None:
    told("")
    none = retention(asked, back="*", start="*").dtypes
    told("ann: 0 view, 1 view queue=A")
    answer = retention(asked, back=back, per="day", periods=1, since=moment(EPOCH_MS))
    assert loader.query(answer.sql()).result_rows[0][2:] == (1, [1, 0])
    assert answer.dtypes.equals(none)


@pytest.fixture(scope="module")
def lives(asked: Engine, loader: Client) -> Iterator[Lives]:
    """Made-up customers, and a cohort of some of them."""
    made = made_up(loader, seed=20260329)
    cohorts.save(asked, "buyers", {"did": "buy"}, author="me")
    yield made
    empty(loader)


def instants() -> Any:
    hours = st.sampled_from([0, 4, 5, 12, 22, 23])
    return st.builds(
        lambda d, h: EPOCH_MS + d * DAY_MS + h * HOUR_MS, st.integers(FIRST_DAY, LAST_DAY), hours
    )


@st.composite
def questions(draw: Callable[..., Any]) -> dict[str, Any]:
    bounds = sorted(draw(st.sets(instants(), max_size=2)))
    return {
        "start": draw(st.sampled_from(["conversion", *STEPS])),
        "back": draw(st.sampled_from(list(STEPS))),
        "per": draw(st.sampled_from(["day", "week", "month"])),
        "unit": draw(st.sampled_from([None, "day", "week", "month"])),
        "periods": draw(st.integers(1, 5)),
        "rolling": draw(st.booleans()),
        "timezone": draw(st.sampled_from(ZONES)),
        **dict(zip(draw(st.permutations(["since", "until"])) if len(bounds) < 2 else ["since", "until"], map(moment, bounds), strict=False)),
        **draw(st.sampled_from([{}, {}, {"persona": "Gold"}, {"persona": "!Gold"}, {"campaign": "spring"}, {"cohort": "buyers"}, {"cohort": "!buyers"}])),
    }  # fmt: skip


def of_scope(journey: Journey, bought: bool, asked_for: dict[str, Any]) -> bool:
    """Whether a journey is of the persona, campaign and cohort that a question is narrowed to."""
    has = {
        "persona": journey.row["persona"],
        "campaign": journey.row["campaign_first"],
        "cohort": bought and "buyers",
    }
    return all(
        (has[name] == wanted.removeprefix("!")) != wanted.startswith("!")
        for name, wanted in asked_for.items()
        if name in has
    )


def cells(lives: Lives, question: dict[str, Any], watermark: int) -> list[dict[str, Any]]:
    """The rows of an answer, customer by customer."""
    per, zone = question["per"], question["timezone"]
    unit = question["unit"] or per
    starts = (lambda t: t.type == "buy") if question["start"] == "conversion" else STEPS[question["start"]]
    counted: dict[tuple[str, int], list[tuple[bool, bool]]] = {}
    for life in lives.values():
        began = min(((t.at, t.id, n) for n, j in enumerate(life) for t in j.told if starts(t)), default=None)
        if began is None:
            continue
        at, _, place = began
        bought = any(t.type == "buy" for j in life for t in j.told)
        if not of_scope(life[place], bought, question):
            continue
        if not question.get("since", moment(0)) <= moment(at) < question.get("until", moment(2 * LATER)):
            continue
        first = period_of(at, unit, zone)
        after = {
            (period_of(t.at, unit, zone) - first).n
            for j in life
            for t in j.told
            if t.at > at and STEPS[question["back"]](t)
        }
        for n in range(question["periods"] + 1):
            back = max(after, default=-1) >= n if question["rolling"] else n in after
            for cohort in (text_of(period_of(at, per, zone)), "all"):
                counted.setdefault((cohort, n), []).append((ended(first + n, zone, watermark), back))
    rows = []
    for (cohort, n), ones in sorted(counted.items()):
        complete, backs = sum(done for done, _ in ones), sum(done and back for done, back in ones)
        interval = binomtest(backs, complete).proportion_ci(method="wilson") if complete else None
        rows.append(
            {
                "cohort": cohort,
                "size": len(ones),
                "period": n,
                "complete": complete,
                "returned": backs,
                "open": len(ones) - complete,
                "open_returned": sum(back and not done for done, back in ones),
                "rate": backs / complete if complete else None,
                "lo": interval.low if interval else None,
                "hi": interval.high if interval else None,
            }
        )
    return rows


@settings(max_examples=settings().max_examples // 4)
@given(question=questions(), watermark=instants())
def test_any_retention_is_that_of_the_reference(
    asked: Engine, loader: Client, lives: Lives, question: dict[str, Any], watermark: int
) -> None:
    set_watermark(loader, watermark)
    answer = retention(asked, **question)
    assert rows_of(answer) == [pytest.approx(row, abs=1e-4) for row in cells(lives, question, watermark)]
    assert answer.watermark == moment(watermark)
