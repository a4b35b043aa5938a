"""Attempts, drop-offs and pain points are what plain loops over the touchpoints count, broken down by anything."""

from collections import Counter, defaultdict
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta
from itertools import pairwise
from typing import Any
from zoneinfo import ZoneInfo

import pandas as pd
import pytest
from clickhouse_connect.driver.client import Client
from sqlalchemy import Engine

from tests.warehouse.worlds import (
    DAY,
    END,
    HOUR,
    MODEL,
    SEEDS,
    Seen,
    World,
    instant,
    of,
    within,
    world,
)
from warehouse.answer import QuestionError
from warehouse.attempts import attempts
from warehouse.drop_offs import drop_offs
from warehouse.pain_before_drop_off import pain_before_drop_off
from warehouse.pain_points import pain_points
from warehouse.statistics import wilson

START = END - 60 * DAY
SCOPES: dict[str, dict[str, Any]] = {
    "everything": {},
    "a period of whole minutes": {"since": instant(START), "until": instant(END - 20 * DAY)},
    "a period that cuts through a minute": {
        "since": instant(START + 7),
        "until": instant(END - 20 * DAY - 7),
    },
    "from then on": {"since": instant(END - 30 * DAY)},
    "until then": {"until": instant(END - 30 * DAY)},
    "a persona": {"persona": "Gold"},
    "all but a persona": {"persona": "!Gold"},
    "a campaign": {"campaign": "spring", "since": instant(START)},
}
BREAKDOWNS = [
    ["kind"], ["phase"], ["channel"], ["type"], ["queue"], ["campaign"], ["persona"], [],
    ["phase", "channel", "type"], ["channel", "persona", "queue"],
]  # fmt: skip


def breakdowns(scope: dict[str, Any]) -> list[list[str]]:
    """All of everything, and some of each other scope, so that each is tried within some."""
    place = list(SCOPES.values()).index(scope)
    return BREAKDOWNS[place % 4 :: 4] if scope else BREAKDOWNS


@pytest.fixture(scope="module", params=SEEDS)
def told(loader: Client, request: pytest.FixtureRequest) -> Iterator[World]:
    return world(loader, request.param)


def key(seen: Seen, by: list[str], kind: str = "") -> tuple[str, ...]:
    return tuple(kind if name == "kind" else seen.place(name) for name in by)


def rows(frame: pd.DataFrame, by: list[str], columns: list[str]) -> dict[tuple[str, ...], tuple[int, ...]]:
    """Counts by key; rows of nothing but zeros are none."""
    found = {
        tuple(row[name] for name in by): tuple(int(row[name]) for name in columns)
        for row in frame.to_dict("records")
    }
    return {one: counts for one, counts in found.items() if any(counts)}


def tabled(counts: dict[Any, Counter], columns: list[str]) -> dict[Any, tuple[int, ...]]:
    found = {one: tuple(of_one[name] for name in columns) for one, of_one in counts.items()}
    return {one: row for one, row in found.items() if any(row)}


def intervals_hold(frame: pd.DataFrame, rate: str, successes: str, trials: str) -> None:
    for row in frame.to_dict("records"):
        assert (row["lo"], row["hi"]) == pytest.approx(wilson(row[successes], row[trials]))
        if row[trials]:
            assert row[rate] == row[successes] / row[trials]
        else:
            assert row[rate] != row[rate]


@pytest.mark.parametrize("scope", SCOPES.values(), ids=SCOPES.keys())
def test_attempts(asked: Engine, told: World, scope: dict[str, Any]) -> None:
    columns = ["attempts", "completed", "abandoned", "recovered", "open"]
    for by in breakdowns(scope):
        expected: dict[Any, Counter] = defaultdict(Counter)
        for seen in told.touchpoints:
            for one in seen.v.attempts if of(seen.journey, scope) else ():
                found = expected[key(seen, by, one.kind)]
                if within(one.ended_at, scope):
                    found.update({one.outcome: 1, "attempts": 1, "recovered": one.recovered_at is not None})
                elif one.outcome == "open" and within(seen.at, {"until": scope.get("until")}):
                    found["open"] += 1
        answer = attempts(asked, by=by, **scope)
        assert rows(answer, by, columns) == tabled(expected, columns), by
        intervals_hold(answer, "abandonment_rate", "abandoned", "attempts")
        trend = answer.parts["trend"]
        assert (
            trend[["completed", "abandoned"]].sum().to_list()
            == answer[["completed", "abandoned"]].sum().to_list()
        )
    known_by_minutes = all(isinstance(at, datetime) and not at.microsecond for at in scope.values())
    assert ("attempts_1m" in attempts(asked, **scope).sql()) == known_by_minutes


@pytest.mark.parametrize("scope", SCOPES.values(), ids=SCOPES.keys())
def test_drop_offs(asked: Engine, told: World, scope: dict[str, Any]) -> None:
    columns = ["drop_offs", "recovered", "silences", "journeys", "open"]
    for by in breakdowns(scope):
        if "kind" in by:
            continue
        expected: dict[Any, Counter] = defaultdict(Counter)
        pains: dict[Any, Counter] = defaultdict(Counter)
        for journey in told.journeys:
            left, still = set(), set()
            for seen in journey if of(journey, scope) else ():
                silence = seen.v.drop_off
                if silence and within(silence.at, scope):
                    outcome = "drop_offs" if silence.recovered_at is None else "recovered"
                    expected[key(seen, by)].update({outcome: 1, "silences": 1})
                    if silence.pain_kind:
                        pains[key(seen, by)][silence.pain_kind] += 1
                if seen.after:
                    at = seen.after[0].at
                elif silence:
                    at = silence.at
                elif seen.t.type in MODEL.closes_journey:
                    at = seen.at
                else:
                    at = None
                    if within(seen.at, {"until": scope.get("until")}):
                        still.add(key(seen, by))
                if within(at, scope):
                    left.add(key(seen, by))
            for place in left:
                expected[place]["journeys"] += 1
            for place in still:
                expected[place]["open"] += 1
        answer = drop_offs(asked, by=by, **scope)
        silent = {one: found for one, found in expected.items() if found["silences"] or not by}
        assert rows(answer, by, columns) == tabled(silent, columns), by
        intervals_hold(answer, "drop_off_rate", "drop_offs", "journeys")
        for row in answer.to_dict("records"):
            counted = pains[tuple(row[name] for name in by)]
            commonest = min(counted, key=lambda kind: (-counted[kind], kind), default="")
            assert row["pain_before"] == commonest
        assert answer.parts["trend"]["drop_offs"].sum() == answer["drop_offs"].sum()


@pytest.mark.parametrize("per", ["touchpoint", "journey"])
@pytest.mark.parametrize("scope", SCOPES.values(), ids=SCOPES.keys())
def test_pain_points(asked: Engine, told: World, scope: dict[str, Any], per: str) -> None:
    for by in breakdowns(scope):
        places = [name for name in by if name != "kind"]
        counts: dict[Any, Counter] = defaultdict(Counter)
        customers, hit, there = defaultdict(set), defaultdict(set), defaultdict(set)
        for seen in told.touchpoints:
            if not (within(seen.at, scope) and of(seen.journey, scope)):
                continue
            one = seen.t.id if per == "touchpoint" else seen.v.journey_id
            there[key(seen, places)].add(one)
            for pain in seen.v.pain_points:
                at = key(seen, by, pain.kind)
                counts[at].update({"pain_points": 1, "milli": round(pain.severity * 1000)})
                customers[at].add(seen.v.customer_id)
                hit[at].add(one)
        answer = pain_points(asked, by=by, per=per, **scope)
        columns = ["pain_points", "customers", "hit", "of"]
        expected = {
            at: (found["pain_points"], len(customers[at]), len(hit[at]),
                 len(there[tuple(value for name, value in zip(by, at, strict=True) if name != "kind")]))
            for at, found in counts.items()
        }  # fmt: skip
        found = rows(answer, by, columns)
        assert found == expected or (not by and not expected), by
        intervals_hold(answer, "rate", "hit", "of")
        hurts = {tuple(row[name] for name in by): row["hurt"] for row in answer.to_dict("records")}
        assert {at: one for at, one in hurts.items() if one} == pytest.approx(
            {at: found["milli"] / 1000 for at, found in counts.items()}
        )
        assert answer.parts["trend"]["pain_points"].sum() == answer["pain_points"].sum()


ANALYSES: dict[str, tuple[Callable[..., Any], str, str]] = {
    "attempts": (attempts, "kind", "abandoned"),
    "drop-offs": (drop_offs, "phase", "drop_offs"),
    "pain-points": (pain_points, "kind", "pain_points"),
}


@pytest.mark.parametrize(("analysis", "by", "count"), ANALYSES.values(), ids=ANALYSES.keys())
def test_minutes_and_rows_say_the_same(
    asked: Engine, told: World, analysis: Any, by: str, count: str
) -> None:
    bounds = {"since": instant(START), "until": instant(END)}
    of_minutes = analysis(asked, by=[by, "channel"], every="hour", **bounds)
    # of a period with a millisecond less at each end, in which nothing lies, the minutes know nothing
    bounds = {"since": instant(START - 1), "until": instant(END + 1)}
    of_rows = analysis(asked, by=[by, "channel"], every="hour", **bounds)
    assert "_1m" in of_minutes.sql()
    assert "_1m" not in of_rows.sql()
    pd.testing.assert_frame_equal(pd.DataFrame(of_minutes), pd.DataFrame(of_rows))
    for part in ("trend", "trends"):
        one, other = (answer.parts[part] for answer in (of_minutes, of_rows))
        one, other = (frame[frame[count] > 0].drop(columns="complete") for frame in (one, other))
        pd.testing.assert_frame_equal(one.reset_index(drop=True), other.reset_index(drop=True))


def bucket_of(at: int, every: str, zone: ZoneInfo) -> datetime:
    local = datetime.fromtimestamp(at / 1000, zone)
    if every == "hour":
        return local.replace(minute=0, second=0, microsecond=0)
    day = local.replace(hour=0, minute=0, second=0, microsecond=0)
    return day - timedelta(days=day.weekday()) if every == "week" else day


@pytest.mark.parametrize(
    ("every", "zone", "persona"),
    [
        ("hour", "UTC", None),
        ("hour", "Asia/Kolkata", "!Gold"),
        ("day", "Europe/Berlin", None),
        ("day", "America/New_York", "!Gold"),
        ("week", "Europe/Berlin", "!Gold"),
        ("week", "Asia/Kolkata", None),
    ],
)
def test_the_trend_is_by_hour_day_or_week_of_the_time_zone(
    asked: Engine, told: World, every: str, zone: str, persona: str | None
) -> None:
    since, until = END - 40 * DAY, END + 2 * DAY
    answer = attempts(
        asked, every=every, timezone=zone, persona=persona, since=instant(since), until=instant(until)
    )
    trend = answer.parts["trend"]
    expected = Counter(
        (bucket_of(one.ended_at, every, ZoneInfo(zone)), one.outcome)
        for seen in told.touchpoints
        for one in seen.v.attempts
        if one.ended_at is not None
        and since <= one.ended_at < until
        and of(seen.journey, {"persona": persona})
    )
    found = Counter()
    for row in trend.to_dict("records"):
        for outcome in ("completed", "abandoned"):
            found[row["at"].to_pydatetime(), outcome] = row[outcome]
    assert +found == expected
    step = {"hour": HOUR, "day": DAY, "week": 7 * DAY}[every]
    starts = [int(at.timestamp() * 1000) for at in trend["at"]]
    assert {b - a for a, b in pairwise(starts)} <= {step, step - HOUR, step + HOUR}
    assert starts[0] <= since < starts[0] + step
    # up to the watermark, and what goes on after it is not complete
    assert starts[-1] <= END < starts[-1] + step + 1
    complete = [start >= since and start + step <= END for start in starts]
    assert trend["complete"].to_list() == complete


def test_a_trend_of_too_many_rows_is_said(asked: Engine, told: World) -> None:
    with pytest.raises(QuestionError, match=r"more than 20,000 rows.*shorter period"):
        attempts(asked, every="hour", since=instant(END - 4000 * DAY))


def test_a_field_that_is_none_is_said_with_the_nearest(asked: Engine, told: World) -> None:
    with pytest.raises(QuestionError, match=r'"phas" is not known here.*"phase"'):
        drop_offs(asked, by=["phas"])
    with pytest.raises(QuestionError, match=r"kind, phase, channel"):
        attempts(asked, by=["zzz"])


def test_two_periods_beside_each_other(asked: Engine, told: World) -> None:
    for analysis, by, _ in ANALYSES.values():
        answer = analysis(asked, by=[by], compare="before:2026-02-01")
        assert {"measure", "a", "b", "difference", "lo", "hi"} <= set(answer.columns)
        assert len(answer)


def test_pain_before_drop_offs(asked: Engine, told: World) -> None:
    for scope in SCOPES.values():
        for by in (["phase"], ["channel", "type"], ["persona"], []):
            expected = Counter(
                (*key(seen, by), seen.v.drop_off.pain_kind or "(none)")
                for seen in told.touchpoints
                if seen.v.drop_off and within(seen.v.drop_off.at, scope) and of(seen.journey, scope)
            )
            answer = pain_before_drop_off(asked, by=by, least=1, **scope)
            found = {tuple(row[name] for name in (*by, "pain")): row for row in answer.to_dict("records")}
            assert {at: row["drop_offs"] for at, row in found.items()} == expected
            for (*place, pain), row in found.items():
                here = sum(n for at, n in expected.items() if list(at[:-1]) == place)
                elsewhere = sum(expected.values()) - here
                after = sum(n for at, n in expected.items() if list(at[:-1]) != place and at[-1] == pain)
                assert row["silences"] == here
                assert row["share"] == row["drop_offs"] / here
                if after:
                    assert row["lift"] == pytest.approx(row["drop_offs"] / here / (after / elsewhere))
                    assert row["lift_lo"] <= row["lift"] <= row["lift_hi"]
                else:
                    assert row["lift"] != row["lift"]
            assert answer.parts["matrix"].drop(columns=by).to_numpy().sum() == sum(expected.values())
