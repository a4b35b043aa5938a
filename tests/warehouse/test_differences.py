"""What differs is what loops count of those who converted and those who are lost, before they were either."""

from collections import Counter, defaultdict
from collections.abc import Iterator
from math import log2
from typing import Any

import pytest
from clickhouse_connect.driver.client import Client
from scipy.stats import false_discovery_control
from sqlalchemy import Engine

from tests.warehouse.worlds import (
    DAY,
    END,
    MODEL,
    SEEDS,
    Seen,
    World,
    campaign,
    instant,
    of,
    persona,
    within,
    world,
)
from warehouse.answer import QuestionError
from warehouse.differences import OF_JOURNEYS, OF_TOUCHPOINTS, what_differs
from warehouse.statistics import association, rate_difference

SCOPES: dict[str, dict[str, Any]] = {
    "everything": {},
    "a period": {"since": instant(END - 70 * DAY), "until": instant(END - 20 * DAY)},
    "a persona": {"persona": "!Gold"},
}


@pytest.fixture(scope="module", params=SEEDS)
def told(loader: Client, request: pytest.FixtureRequest) -> Iterator[World]:
    return world(loader, request.param)


def properties(journey: list[Seen], seen: list[Seen]) -> set[tuple[str, str]]:
    first = journey[0]
    telling = {one.kind for one in MODEL.attempts if not one.completed_by & MODEL.converting_types}
    size = 2 ** int(log2(len(seen))) if seen else 0
    found = {
        ("first_type", first.t.type),
        ("touchpoints", f"{size}–{2 * size - 1}" if size > 1 else "1"),
        ("customer_already", "yes" if first.v.customer_already else "no"),
        ("campaign", campaign(journey)),
        ("persona", persona(journey)),
    }
    for one in seen:
        found |= {
            ("type", one.t.type),
            ("channel", one.t.channel),
            ("queue", one.queue),
            ("topic", one.t.topic or ""),
        }
        found |= {("delight", kind) for kind in one.v.delights}
        lost = any(a.outcome == "abandoned" and a.kind in telling for a in one.v.attempts)
        found |= {("pain", pain.kind) for pain in one.v.pain_points if pain.kind != "abandonment" or lost}
        if one.t.transfers:
            found.add(("transfers", "3+" if one.t.transfers >= 3 else str(one.t.transfers)))
        if one.n == 1:
            found |= {
                ("device_type", one.t.device.type if one.t.device else ""),
                ("locale", one.t.locale or ""),
            }
    return {(name, value) for name, value in found if value}


def reference(
    told: World, days: int, seen_days: int | None, scope: dict[str, Any]
) -> tuple[Counter, dict[tuple[str, str], Counter]]:
    everybody: Counter = Counter()
    having: dict[tuple[str, str], Counter] = defaultdict(Counter)
    for journey in told.journeys:
        begun = journey[0].at
        if not (begun + days * DAY < END and within(begun, scope) and of(journey, scope)):
            continue
        conversion = next((seen for seen in journey if seen.converts), None)
        if conversion is journey[0]:
            continue
        if conversion and seen_days is not None and conversion.at - begun <= seen_days * DAY:
            continue
        converted = conversion is not None and conversion.at - begun <= days * DAY
        limit = (days if seen_days is None else seen_days) * DAY
        seen = [one for one in journey if one.at - begun <= limit]
        if converted and conversion is not None:
            seen = [one for one in seen if one.n < conversion.n]
        name = "converters" if converted else "lost"
        everybody[name] += 1
        for one in properties(journey, seen):
            having[one][name] += 1
    return everybody, having


@pytest.mark.parametrize("seen_days", [None, 1])
@pytest.mark.parametrize("scope", SCOPES.values(), ids=SCOPES.keys())
def test_what_differs_is_what_loops_count(
    asked: Engine, told: World, scope: dict[str, Any], seen_days: int | None
) -> None:
    everybody, having = reference(told, 10, seen_days, scope)
    assert min(everybody["converters"], everybody["lost"]) > 2
    seen_within = None if seen_days is None else f"{seen_days}d"
    answer = what_differs(asked, within="10d", seen_within=seen_within, least=3, **scope)
    found = {(row["property"], row["value"]): row for row in answer.to_dict("records")}
    assert {key: (row["converters"], row["lost"]) for key, row in found.items()} == {
        key: (of_it["converters"], of_it["lost"]) for key, of_it in having.items() if of_it.total() >= 3
    }
    for row in found.values():
        counts = row["converters"], everybody["converters"], row["lost"], everybody["lost"]
        assert (row["of_converters"], row["of_lost"]) == (counts[1], counts[3])
        assert row["difference"] == pytest.approx(counts[0] / counts[1] - counts[2] / counts[3])
        assert (row["lo"], row["hi"]) == pytest.approx(rate_difference(*counts[2:], *counts[:2]))
        assert row["p"] == pytest.approx(association(*counts))
        have, have_not = counts[0] + 0.5, counts[1] - counts[0] + 0.5
        theirs, not_theirs = counts[2] + 0.5, counts[3] - counts[2] + 0.5
        assert row["odds_ratio"] == pytest.approx(have * not_theirs / (have_not * theirs))
    assert answer["q"].to_list() == pytest.approx(list(false_discovery_control(answer["p"])))
    sizes = answer["difference"].abs().to_list()
    assert sizes == sorted(sizes, reverse=True)


def test_each_property_can_be_asked_alone(asked: Engine, told: World) -> None:
    whole = what_differs(asked, least=1)
    for name in (*OF_JOURNEYS, *OF_TOUCHPOINTS):
        alone = what_differs(asked, of=[name], least=1)
        assert set(alone["property"]) == {name}
        mine = whole[whole["property"] == name]
        assert alone["converters"].to_list() == mine["converters"].to_list()


REFUSED = {
    "a property": ({"of": ["tipe"]}, r'"tipe".*"type"'),
    "a time": ({"within": "long"}, r'"long" is no duration'),
    "a time to see that is none to convert": ({"within": "1d", "seen_within": "1d"}, "shorter than within"),
}


@pytest.mark.parametrize(("arguments", "said"), REFUSED.values(), ids=REFUSED.keys())
def test_what_cannot_be_asked_is_said(
    asked: Engine, told: World, arguments: dict[str, Any], said: str
) -> None:
    with pytest.raises(QuestionError, match=said):
        what_differs(asked, **arguments)
