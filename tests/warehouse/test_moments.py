"""Moments of truth are what loops over all journeys count, with intervals, and corrected for their number."""

from collections import Counter, defaultdict
from collections.abc import Iterator
from typing import Any

import pytest
from clickhouse_connect.driver.client import Client
from scipy.stats import false_discovery_control
from sqlalchemy import Engine

from tests.warehouse.stories import EPOCH_MS, Told, empty, insert, load, set_watermark
from tests.warehouse.worlds import DAY, END, MODEL, SEEDS, Seen, World, instant, of, within, world
from warehouse.answer import QuestionError
from warehouse.moments import moments
from warehouse.statistics import rate_difference

SCOPES: dict[str, dict[str, Any]] = {
    "everything": {},
    "a period": {"since": instant(END - 60 * DAY), "until": instant(END - 5 * DAY)},
    "a campaign": {"campaign": "!spring"},
}


@pytest.fixture(scope="module", params=SEEDS)
def told(loader: Client, request: pytest.FixtureRequest) -> Iterator[World]:
    return world(loader, request.param)


def felt(seen: Seen) -> int:
    """1 good, −1 bad, 0 neither."""
    # a cart or a checkout is abandoned where no purchase comes: that is the outcome itself
    telling = {one.kind for one in MODEL.attempts if not one.completed_by & MODEL.converting_types}
    lost = any(one.outcome == "abandoned" and one.kind in telling for one in seen.v.attempts)
    pains = {pain.kind for pain in seen.v.pain_points}
    if pains - {"abandonment"} or ("abandonment" in pains and lost) or seen.v.weight <= -0.3:
        return -1
    return 1 if seen.v.delights or seen.v.weight >= 0.3 else 0


def followed(seen: Seen, outcome: str, days: int, told: World) -> bool:
    if outcome == "conversion":
        return any(one.converts and one.at - seen.at <= days * DAY for one in seen.after)
    mine = [
        one
        for one in told.touchpoints
        if one.v.customer_id == seen.v.customer_id
        and (one in seen.after or (one.v.journey_id != seen.v.journey_id and one.t.order > seen.t.order))
    ]
    return any(
        one.v.transaction_id != seen.v.transaction_id and one.at - seen.at <= days * DAY for one in mine
    )


@pytest.mark.parametrize("scope", SCOPES.values(), ids=SCOPES.keys())
@pytest.mark.parametrize("outcome", ["conversion", "return"])
def test_moments_are_what_loops_count(
    asked: Engine, told: World, scope: dict[str, Any], outcome: str
) -> None:
    if outcome == "return" and "campaign" in scope:
        scope = {"since": instant(END - 30 * DAY)}  # whose other journeys may be another campaign's
    for by in (["type"], ["type", "channel"], ["channel", "phase"], []):
        expected: dict[Any, Counter] = defaultdict(Counter)
        counted = set()
        for journey in told.journeys:
            for seen in journey if of(journey, scope) else ():
                key = tuple(seen.place(name) for name in by)
                over = seen.at + 3 * DAY < END
                if not (felt(seen) and over and within(seen.at, scope)) or (id(journey), key) in counted:
                    continue
                counted.add((id(journey), key))
                name = "good" if felt(seen) > 0 else "bad"
                expected[key].update({name: 1, f"{name}_followed": followed(seen, outcome, 3, told)})
        answer = moments(asked, by=by, outcome=outcome, within="3d", least=2, **scope)
        columns = ["good", "good_followed", "bad", "bad_followed"]
        assert {
            tuple(row[name] for name in by): [row[name] for name in columns]
            for row in answer.to_dict("records")
        } == {
            key: [found[name] for name in columns]
            for key, found in expected.items()
            if found["good"] >= 2 and found["bad"] >= 2
        }, by
        for row in answer.to_dict("records"):
            bounds = rate_difference(row["bad_followed"], row["bad"], row["good_followed"], row["good"])
            assert (row["lo"], row["hi"]) == pytest.approx(bounds)
            assert row["difference"] == pytest.approx(
                row["good_followed"] / row["good"] - row["bad_followed"] / row["bad"]
            )
            if row["bad_followed"]:
                assert row["lift"] == pytest.approx(row["good_rate"] / row["bad_rate"])
                # of none that was followed no upper bound is known
                assert row["lift_lo"] <= row["lift"]
                assert row["lift"] <= row["lift_hi"] or not row["good_followed"]
        if len(answer):
            assert answer["q"].to_list() == pytest.approx(list(false_discovery_control(answer["p"])))
            assert answer["significant"].to_list() == (answer["q"] <= 0.05).to_list()


def some(type_: str, count: int, converts: int, weight: float) -> list[Told]:
    """So many journeys with a touchpoint of this weight, some of which convert a day later."""
    told = []
    for number in range(count):
        name = f"{type_}{weight}-{number}"
        fields = {"weight": weight, "pain_kinds": [], "delight_kinds": [], "attempt_kinds": []}
        told.append(Told(name, EPOCH_MS, type_, f"{name}-1", fields))
        if number < converts:
            told.append(Told(name, EPOCH_MS + DAY, "purchase", f"{name}-2", fields | {"weight": 0.0}))
    return told


@pytest.fixture
def decided(loader: Client) -> Client:
    """Calls decide much, chats nothing."""
    empty(loader)
    calls = some("call_resolved", 60, 40, 0.5) + some("call_resolved", 50, 5, -0.5)
    chats = some("chat_resolved", 60, 30, 0.5) + some("chat_resolved", 50, 25, -0.5)
    journeys = load(loader, calls + chats)
    insert(
        loader,
        "journey_rows",
        [row | {"conversions": row["types"].count("purchase"), "version": 2} for row in journeys],
    )
    set_watermark(loader, EPOCH_MS + 8 * DAY)
    return loader


def test_what_decides_most_comes_first(asked: Engine, decided: Client) -> None:
    answer = moments(asked)
    assert answer["type"].to_list() == ["call_resolved", "chat_resolved"]
    assert answer["significant"].to_list() == [True, False]
    assert answer["difference"].to_list() == pytest.approx([40 / 60 - 5 / 50, 0])


def test_what_is_still_open_is_not_counted_as_lost(asked: Engine, decided: Client) -> None:
    set_watermark(decided, EPOCH_MS + 7 * DAY)  # the seventh day ends with this very millisecond
    assert moments(asked).empty
    set_watermark(decided, EPOCH_MS + 7 * DAY + 1)
    assert len(moments(asked)) == 2


def test_too_few_of_one_side_are_left_out(asked: Engine, decided: Client) -> None:
    assert len(moments(asked, least=50)) == 2
    assert moments(asked, least=51).empty


REFUSED = {
    "good below bad": ({"good": -0.5, "bad": 0.5}, "good lie above bad"),
    "a field": ({"by": ["tipe"]}, r'"tipe".*"type"'),
    "a time": ({"within": "0d"}, r'"0d" is no duration'),
}


@pytest.mark.parametrize(("arguments", "said"), REFUSED.values(), ids=REFUSED.keys())
def test_what_cannot_be_asked_is_said(
    asked: Engine, decided: Client, arguments: dict[str, Any], said: str
) -> None:
    with pytest.raises(QuestionError, match=said):
        moments(asked, **arguments)
