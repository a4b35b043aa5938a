"""The life cycle of customers and how often they are active: each rule as a hand-worked case, and any question
against a plain reference.
"""

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
from tests.warehouse.stories import EPOCH_MS, empty, load, moment, set_watermark, story
from warehouse import cohorts
from warehouse.answer import QuestionError
from warehouse.life_cycle import life_cycle
from warehouse.statistics import ClusterSums, clustered_rate
from warehouse.stickiness import stickiness

DAY = 1440  # minutes; the first day of a story is Thursday, 1 January 2026
KINDS = ("new", "returning", "resurrected", "dormant")


@pytest.fixture
def told(loader: Client) -> Callable[..., None]:
    empty(loader)

    def tell(text: str, *, days: float = 5) -> None:
        for one in text.split(";"):
            name, _, what = one.partition(":")
            load(loader, story(name.strip(), what), gap_ms=2 * DAY_MS)
        set_watermark(loader, EPOCH_MS + round(days * DAY_MS))

    return tell


# what happened in five days: per day new, returning, resurrected, dormant
CASES: dict[str, tuple[str, list[tuple[int, int, int, int]]]] = {
    "who comes for the first time is new, and dormant on the next day": ("ann: 0 view", [(1, 0, 0, 0), (0, 0, 0, 1), (0, 0, 0, 0)]),
    "who was there the day before returns":    (f"ann: 0 view, {DAY} view", [(1, 0, 0, 0), (0, 1, 0, 0), (0, 0, 0, 1)]),
    "who was there before that is resurrected": (f"ann: 0 view, {2 * DAY} view", [(1, 0, 0, 0), (0, 0, 0, 1), (0, 0, 1, 0)]),
    "whatever happens on a day counts once":   ("ann: 0 view, 1 view, 1439 view", [(1, 0, 0, 0), (0, 0, 0, 1), (0, 0, 0, 0)]),
    "days of several journeys are those of one customer": (f"ann: 0 view, {4 * DAY} view", [(1, 0, 0, 0), (0, 0, 0, 1), (0, 0, 0, 0), (0, 0, 0, 0), (0, 0, 1, 0)]),
    "customers add up":                        (f"ann: 0 view, {DAY} view; bob: {DAY} view; cid: 0 view", [(2, 0, 0, 0), (1, 1, 0, 1), (0, 0, 0, 2)]),
}  # fmt: skip


@pytest.mark.parametrize(("happened", "expected"), CASES.values(), ids=CASES.keys())
@pytest.mark.parametrize("step", ["view", "view[queue!=x]"], ids=["by journeys", "by touchpoints"])
def test_a_customer_is_each_day(
    asked: Engine, told: Callable[..., None], step: str, happened: str, expected: list[tuple[int, ...]]
) -> None:
    told(happened)
    answer = life_cycle(asked, step=step, per="day")
    assert [tuple(row[kind] for kind in KINDS) for row in rows_of(answer)][: len(expected)] == expected


def test_growth_adds_up_from_period_to_period(asked: Engine, told: Callable[..., None]) -> None:
    told(f"ann: 0 view, {DAY} view; bob: {DAY} view, {3 * DAY} view; cid: 0 view")
    answer = life_cycle(asked, per="day")
    assert list(answer["active"]) == [2, 2, 0, 1, 0, 0]
    assert list(answer["net"]) == [2, 0, -2, 1, -1, 0]
    assert list(answer["active"].diff()[1:]) == list(answer["net"][1:])
    [second] = rows_of(answer)[1:2]
    assert (second["quick_ratio"], second["rate"]) == (1 / 1, 1 / 2)


def test_weeks_and_months_are_those_of_the_calendar(asked: Engine, told: Callable[..., None]) -> None:
    told(f"ann: {3 * DAY} view, {4 * DAY} view, {31 * DAY} view", days=60)
    assert list(life_cycle(asked)["period"])[:3] == ["2025-12-29", "2026-01-05", "2026-01-12"]
    assert list(life_cycle(asked, per="month")["returning"]) == [0, 1, 0]


def test_of_a_period_that_has_not_ended_nobody_is_said_to_have_stayed_away(
    asked: Engine, loader: Client, told: Callable[..., None]
) -> None:
    told("ann: 0 view", days=2)
    assert rows_of(life_cycle(asked, per="day"))[1]["rate"] == 0
    for at in (EPOCH_MS + 2 * DAY_MS - 1, None):
        empty(loader, "watermarks") if at is None else set_watermark(loader, at)
        row = rows_of(life_cycle(asked, per="day", until=moment(EPOCH_MS + 2 * DAY_MS)))[1]
        assert (row["complete"], row["dormant"], row["quick_ratio"], row["rate"]) == (False, 1, None, None)


def test_a_range_shows_the_periods_that_it_touches_as_wholes(
    asked: Engine, told: Callable[..., None]
) -> None:
    told(f"ann: 0 view, {DAY} view")
    noon = EPOCH_MS + DAY_MS + 12 * HOUR_MS
    answer = life_cycle(asked, per="day", since=moment(noon), until=moment(noon + 1))
    assert [(row["period"], row["returning"]) for row in rows_of(answer)] == [("2026-01-02", 1)]
    midnight = moment(EPOCH_MS + 2 * DAY_MS)
    assert list(life_cycle(asked, per="day", since=moment(noon), until=midnight)["period"]) == ["2026-01-02"]


def test_days_of_activity_in_a_week(asked: Engine, told: Callable[..., None]) -> None:
    told(f"ann: 0 view, 5 view, {DAY} view, {4 * DAY} view; bob: {DAY} view", days=13)
    answer = stickiness(asked)
    # the week to 4 January: ann on two days, bob on one; the next: ann on one
    assert list(answer["customers"]) == [2, 1, 0, 0, 0, 0, 0]
    assert list(answer["at_least"]) == [3, 1, 0, 0, 0, 0, 0]
    assert list(answer["share"])[:2] == pytest.approx([2 / 3, 1 / 3])
    weeks = rows_of(answer.parts["by_period"])
    assert [(week["active"], week["mean_days"]) for week in weeks] == [(2, 1.5), (1, 1.0), (0, None)]
    assert [week["complete"] for week in weeks] == [True, True, False]


def test_what_has_not_ended_is_no_part_of_the_distribution(asked: Engine, told: Callable[..., None]) -> None:
    told("ann: 0 view", days=3)
    answer = stickiness(asked)
    assert (list(answer["customers"]), answer["share"].isna().all()) == ([0] * 7, True)
    assert len(stickiness(asked, per="month")) == 31


def test_of_the_last_seven_and_thirty_days_the_day_itself_is_one(
    asked: Engine, told: Callable[..., None]
) -> None:
    told(f"ann: 0 view; bob: 0 view, {3 * DAY} view", days=40)
    by_day = stickiness(asked).parts["by_day"]
    assert list(by_day["wau"])[:11] == [2] * 7 + [1] * 3 + [0]
    assert list(by_day["mau"])[28:35] == [2, 2, 1, 1, 1, 0, 0]
    assert list(by_day["dau_wau"])[3] == 1 / 2
    since = stickiness(asked, since=moment(EPOCH_MS + 5 * DAY_MS), until=moment(EPOCH_MS + 6 * DAY_MS)).parts[
        "by_day"
    ]
    assert [(row["day"], row["wau"], row["mau"]) for row in rows_of(since)] == [("2026-01-06", 2, 2)]


@pytest.mark.parametrize("analysis", [life_cycle, stickiness], ids=lambda one: one.name)
def test_of_nothing_every_answer_is_empty_and_keeps_its_types(
    asked: Engine, loader: Client, told: Callable[..., None], analysis: Any
) -> None:
    empty(loader)
    nothing = analysis(asked)
    assert sum(nothing.get("customers", nothing.get("active"))) == 0
    told("ann: 0 view")
    something = analysis(asked)
    assert something.dtypes.equals(nothing.dtypes)
    for name, part in something.parts.items():
        assert part.dtypes.equals(nothing.parts[name].dtypes)
        assert nothing.parts[name].empty
    for sql in something.sql().split(";\n\n"):
        loader.query(sql)


@pytest.mark.parametrize("analysis", [life_cycle, stickiness], ids=lambda one: one.name)
@pytest.mark.parametrize(
    ("question", "what"),
    [
        ({"step": "veiw"}, '"veiw"'),
        ({"step": {"types": ["view"], "optional": True}}, "only a step of a funnel may"),
        ({"timezone": "Berlin"}, '"Berlin"'),
        ({"cohort": "fans"}, '"fans"'),
        ({"since": moment(EPOCH_MS), "until": moment(EPOCH_MS)}, "holds nothing"),
    ],
)
def test_what_cannot_be_asked_is_said(
    asked: Engine, told: Callable[..., None], analysis: Any, question: dict[str, Any], what: str
) -> None:
    told("ann: 0 view")
    with pytest.raises(QuestionError, match=what):
        analysis(asked, **question)


def test_two_life_cycles_can_be_compared(asked: Engine, told: Callable[..., None]) -> None:
    told("ann: 0 view; bob: 0 view")
    cohorts.save(asked, "one", {"customers": ["ann"]}, author="me")
    answer = life_cycle(asked, per="day", compare="cohort:one")
    [row] = [row for row in rows_of(answer) if (row["period"], row["measure"]) == ("2026-01-01", "new")]
    assert (row["a"], row["b"]) == (1, 1)


@pytest.fixture(scope="module")
def lives(asked: Engine, loader: Client) -> Iterator[Lives]:
    """Made-up customers, and a cohort of some of them."""
    made = made_up(loader, seed=20260308)
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
        "step": draw(st.sampled_from(list(STEPS))),
        "timezone": draw(st.sampled_from(ZONES)),
        **dict(zip(draw(st.permutations(["since", "until"])) if len(bounds) < 2 else ["since", "until"], map(moment, bounds), strict=False)),
        **draw(st.sampled_from([{}, {}, {"persona": "Gold"}, {"persona": "!Gold"}, {"campaign": "spring"}, {"cohort": "buyers"}, {"cohort": "!buyers"}])),
    }  # fmt: skip


def within(journey: Journey, life: list[Journey], question: dict[str, Any]) -> bool:
    """Whether a journey is of the persona, campaign and cohort that a question is narrowed to."""
    bought = any(t.type == "buy" for j in life for t in j.told)
    has = {
        "persona": journey.row["persona"],
        "campaign": journey.row["campaign_first"],
        "cohort": bought and "buyers",
    }
    return all(
        (has[name] == wanted.removeprefix("!")) != wanted.startswith("!")
        for name, wanted in question.items()
        if name in has
    )


def active(lives: Lives, question: dict[str, Any], unit: str) -> list[set[Any]]:
    """Of each customer the days, weeks or months in which they were active; nobody who never was."""
    each = [
        {
            period_of(t.at, unit, question["timezone"])
            for j in life
            if within(j, life, question)
            for t in j.told
            if STEPS[question["step"]](t)
        }
        for life in lives.values()
    ]
    return [one for one in each if one]


def shown(everybody: list[set[Any]], question: dict[str, Any], unit: str, watermark: int) -> list[Any]:
    """The periods that an answer has a row for."""
    if not everybody:
        return []

    def of(name: str, less: int) -> Any:
        return period_of(round(question[name].timestamp() * 1000) - less, unit, question["timezone"])

    all_ = set.union(*everybody)
    first = of("since", 0) if "since" in question else min(all_)
    latest = max(max(all_), period_of(watermark, unit, question["timezone"]))
    last = of("until", 1) if "until" in question else latest
    return [first + n for n in range((last - first).n + 1)] if first <= last else []


@settings(max_examples=settings().max_examples // 6)
@given(question=questions(), per=st.sampled_from(["day", "week", "month"]), watermark=instants())
def test_any_life_cycle_is_that_of_the_reference(
    asked: Engine, loader: Client, lives: Lives, question: dict[str, Any], per: str, watermark: int
) -> None:
    set_watermark(loader, watermark)
    everybody = active(lives, question, per)
    expected = []
    for period in shown(everybody, question, per, watermark):
        kinds = dict.fromkeys(KINDS, 0)
        for one in everybody:
            if period in one:
                kind = "new" if period == min(one) else "returning" if period - 1 in one else "resurrected"
                kinds[kind] += 1
            elif period - 1 in one:
                kinds["dormant"] += 1
        before = sum(period - 1 in one for one in everybody)
        done = ended(period, question["timezone"], watermark)
        known = done and before
        interval = binomtest(kinds["returning"], before).proportion_ci(method="wilson") if known else None
        expected.append(
            {
                "period": text_of(period), **kinds,
                "active": sum(period in one for one in everybody),
                "active_before": before,
                "net": kinds["new"] + kinds["resurrected"] - kinds["dormant"],
                "quick_ratio": (kinds["new"] + kinds["resurrected"]) / kinds["dormant"] if done and kinds["dormant"] else None,
                "rate": kinds["returning"] / before if known else None,
                "lo": interval.low if interval else None,
                "hi": interval.high if interval else None,
                "complete": done,
            }
        )  # fmt: skip
    found = rows_of(life_cycle(asked, per=per, **question))
    assert found == [pytest.approx(row, abs=1e-4) for row in expected]


@settings(max_examples=settings().max_examples // 6)
@given(question=questions(), per=st.sampled_from(["week", "month"]), watermark=instants())
def test_any_stickiness_is_that_of_the_reference(
    asked: Engine, loader: Client, lives: Lives, question: dict[str, Any], per: str, watermark: int
) -> None:
    set_watermark(loader, watermark)
    zone = question["timezone"]
    everybody = active(lives, question, "day")
    by_period = active(lives, question, per)
    answer = stickiness(asked, per=per, **question)

    counts: dict[int, int] = {}
    of_customer: dict[int, list[int]] = {}
    weeks = []
    for period in shown(by_period, question, per, watermark):
        of_period = [sum(day.asfreq(period.freq) == period for day in one) for one in everybody]
        days = [n for n in of_period if n]
        done = ended(period, zone, watermark)
        for customer, n in enumerate(of_period) if done else ():
            of_customer.setdefault(customer, []).extend([n] if n else [])
        weeks.append((text_of(period), len(days), sum(days) / len(days) if days else None, done))
        for n in days if done else ():
            counts[n] = counts.get(n, 0) + 1
    assert [tuple(row.values()) for row in rows_of(answer.parts["by_period"])] == weeks
    total = sum(counts.values())
    clusters = [days for days in of_customer.values() if days]

    def interval(takes: Callable[[int], bool]) -> tuple[float | None, float | None]:
        if not clusters:
            return None, None
        if all(takes(n) for n in range(1, 32)):
            return 1.0, 1.0
        pairs = [(sum(map(takes, days)), len(days)) for days in clusters]
        sums = [sum(x**i * n**j for x, n in pairs) for i, j in ((1, 0), (0, 1), (2, 0), (0, 2), (1, 1))]
        low, high = clustered_rate(ClusterSums(len(pairs), *sums))
        return (None, None) if low != low else (low, high)

    assert rows_of(answer) == [
        pytest.approx(
            {
                "days": n,
                "customers": counts.get(n, 0),
                "at_least": (more := sum(times for days, times in counts.items() if days >= n)),
                "active": total,
                "share": counts.get(n, 0) / total if total else None,
                **dict(zip(("lo", "hi"), interval(lambda days, n=n: days == n), strict=True)),
                "share_at_least": more / total if total else None,
                **dict(
                    zip(
                        ("share_at_least_lo", "share_at_least_hi"),
                        interval(lambda days, n=n: days >= n),
                        strict=True,
                    )
                ),
            }
        )
        for n in range(1, 8 if per == "week" else 32)
    ]

    numbers = [{day.ordinal for day in one} for one in everybody]
    expected = []
    for day in shown(everybody, question, "day", watermark):
        dau, wau, mau = (
            sum(not one.isdisjoint(range(day.ordinal - length + 1, day.ordinal + 1)) for one in numbers)
            for length in (1, 7, 30)
        )
        ratios = [part / whole if whole else None for part, whole in ((dau, wau), (dau, mau), (wau, mau))]
        expected.append((text_of(day), dau, wau, mau, *ratios, ended(day, zone, watermark)))
    assert [tuple(row.values()) for row in rows_of(answer.parts["by_day"])] == expected
