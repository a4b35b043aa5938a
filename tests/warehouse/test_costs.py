"""What pain costs is what loops over all moments give; and in a world of a known cost, that."""

from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from math import log2
from random import Random
from typing import Any

import pytest
from clickhouse_connect.driver.client import Client
from sqlalchemy import Engine

from tests.warehouse.stories import EPOCH_MS, Told, empty, load, moment, set_watermark
from tests.warehouse.worlds import DAY, END, SEEDS, Seen, World, campaign, instant, of, persona, within, world
from warehouse.answer import QuestionError
from warehouse.costs import costs


@pytest.fixture(scope="module", params=SEEDS)
def told(loader: Client, request: pytest.FixtureRequest) -> Iterator[World]:
    return world(loader, request.param)


SCOPES: dict[str, dict[str, Any]] = {
    "everything": {},
    "a period": {"since": instant(END - 60 * DAY), "until": instant(END - 9 * DAY)},
    "a persona": {"persona": "!Gold"},
}
QUESTIONS: list[tuple[str, list[str], list[str]]] = [
    ("pain-points", ["kind"], ["phase", "channel"]),
    ("pain-points", ["kind", "phase", "channel"], ["phase", "customer", "place"]),
    ("pain-points", ["type"], ["channel", "persona", "campaign"]),
    ("pain-points", [], []),
    ("attempts", ["kind"], ["type"]),
    ("drop-offs", ["phase"], ["phase", "channel"]),
    ("drop-offs", ["type"], ["previous_type", "customer"]),
]


def stratum(seen: Seen, of_what: str, like: Sequence[str]) -> tuple[Any, ...]:
    previous = seen.before[-1] if seen.before else None
    known = {
        "phase": seen.v.phase if of_what == "drop-offs" else (previous.v.phase if previous else ""),
        "channel": seen.t.channel,
        "place": int(log2(seen.n)),
        "customer": seen.v.customer_already,
        "campaign": campaign(seen.journey),
        "persona": persona(seen.journey),
        "type": seen.t.type,
        "previous_type": previous.t.type if previous else "",
    }
    return tuple(known[name] for name in like)


def kinds_at(seen: Seen, of_what: str, by: Sequence[str]) -> set[str]:
    """What hit at a touchpoint; all of one kind where kinds are not told apart."""
    kinds = {
        "pain-points": {pain.kind for pain in seen.v.pain_points},
        "attempts": {one.kind for one in seen.v.attempts if one.outcome == "abandoned"},
        "drop-offs": {""} if seen.v.drop_off else set(),
    }[of_what]
    return kinds if "kind" in by else {""} if kinds else set()


def reference(
    told: World, of_what: str, by: list[str], like: list[str], days: int, scope: dict[str, Any]
) -> dict[tuple[str, ...], tuple[Any, ...]]:
    """(hit, compared, rate, rate_of_like) by key."""
    journeys = [journey for journey in told.journeys if of(journey, scope)]
    silence = of_what == "drop-offs"

    def converted(seen: Seen) -> bool:
        following = seen.after if silence else [seen, *seen.after]
        return any(one.converts and one.at - seen.at <= days * DAY for one in following)

    def counts(seen: Seen) -> bool:
        stands = silence and not seen.after and not seen.v.drop_off
        return within(seen.at, scope) and not stands

    hits: dict[Any, list[Seen]] = defaultdict(list)
    others: dict[str, list[Seen]] = defaultdict(list)
    for kind in {kind for s in told.touchpoints for kind in kinds_at(s, of_what, by)}:
        for journey in journeys:
            hit_before = False
            for seen in journey:
                hit = kind in kinds_at(seen, of_what, by)
                if hit and not hit_before and counts(seen):
                    hits[(kind, *(seen.place(name) for name in by if name != "kind"))].append(seen)
                if not hit and not hit_before and counts(seen):
                    others[kind].append(seen)
                hit_before = hit_before or (hit and not silence)
    found = {}
    for (kind, *place), all_hit in hits.items():
        exposed, successes, unexposed, theirs = Counter(), Counter(), Counter(), Counter()
        for some, trials, converts in ((all_hit, exposed, successes), (others[kind], unexposed, theirs)):
            for seen in some:
                if seen.at + days * DAY < END:
                    trials[stratum(seen, of_what, like)] += 1
                    converts[stratum(seen, of_what, like)] += converted(seen)
        alike = [one for one in exposed if unexposed[one]]
        weights = {one: exposed[one] * unexposed[one] / (exposed[one] + unexposed[one]) for one in alike}
        whole = sum(weights.values())
        rates = [
            sum(weights[one] * y[one] / n[one] for one in alike) / whole if whole else None
            for y, n in ((successes, exposed), (theirs, unexposed))
        ]
        key = (kind, *place) if "kind" in by else tuple(place)
        found[key] = (len(all_hit), sum(exposed[one] for one in alike), *rates)
    return found


@pytest.mark.parametrize("scope", SCOPES.values(), ids=SCOPES.keys())
def test_costs_are_what_loops_give(asked: Engine, told: World, scope: dict[str, Any]) -> None:
    for of_what, by, like in QUESTIONS:
        answer = costs(asked, of_what, by=by, like=like, within="5d", value=40.0, least=1, **scope)
        expected = reference(told, of_what, by, like, 5, scope)
        found = {tuple(row[name] for name in by): row for row in answer.to_dict("records")}
        assert {key: (row["hit"], row["compared"]) for key, row in found.items()} == {
            key: row[:2] for key, row in expected.items()
        }, (of_what, by)
        for key, (hit, compared, rate, of_like) in expected.items():
            row = found[key]
            if not compared:
                assert row["lost_rate"] != row["lost_rate"]
                continue
            assert row["rate"] == pytest.approx(rate)
            assert row["rate_of_like"] == pytest.approx(of_like)
            assert row["conversions_lost"] == pytest.approx(hit * (of_like - rate))
            assert row["cost"] == pytest.approx(40 * hit * (of_like - rate))
            if row["lo"] == row["lo"]:
                assert row["lo"] <= row["lost_rate"] <= row["hi"]
                assert row["cost_lo"] <= row["cost"] <= row["cost_hi"]
        ranked = [cost for cost in answer["cost"] if cost == cost]
        assert ranked == sorted(ranked, reverse=True)


def test_a_conversion_is_worth_the_mean_of_the_commonest_currency(asked: Engine, told: World) -> None:
    worths: dict[str, Counter] = defaultdict(Counter)
    for journey in told.journeys:
        conversions = sum(seen.converts for seen in journey)
        for currency in {
            s.t.currency for s in journey if s.t.amount and (s.converts or s.t.type == "refund_issued")
        }:
            worths[currency].update(
                {
                    "conversions": conversions,
                    "worth": sum(
                        float(s.t.amount or 0) for s in journey if s.converts and s.t.currency == currency
                    ),
                }
            )
    currency = max(worths, key=lambda one: worths[one]["conversions"])
    part = costs(asked).parts["value"]
    assert (part["currency"], part["conversions"]) == (currency, worths[currency]["conversions"])
    assert part["value"] == pytest.approx(worths[currency]["worth"] / worths[currency]["conversions"])


def test_what_is_compared_too_little_is_not_ranked(asked: Engine, told: World) -> None:
    answer = costs(asked, least=1_000_000)
    assert answer["hit"].sum() > 0
    assert answer["cost"].isna().all()


def test_costs_of_two_times_differ_with_an_interval(asked: Engine, told: World) -> None:
    answer = costs(asked, by=["phase"], least=1, compare=f"before:{moment((EPOCH_MS + END) // 2):%Y-%m-%d}")
    known = answer.dropna(subset=["difference"])
    known = known[known["measure"].isin(["lost_rate", "conversions_lost", "cost"])].dropna(subset=["lo"])
    assert set(known["measure"]) == {"lost_rate", "conversions_lost", "cost"}
    for row in known.to_dict("records"):
        assert row["lo"] <= row["difference"] <= row["hi"]
        assert row["significant"] == (row["lo"] > 0 or row["hi"] < 0)


REFUSED = {
    "a field": ({"by": ["kin"]}, r'"kin".*"kind"'),
    "what is to be alike": ({"like": ["fase"]}, r'"fase".*"phase"'),
    "a time": ({"within": "soon"}, r'"soon" is no duration'),
}


@pytest.mark.parametrize(("arguments", "said"), REFUSED.values(), ids=REFUSED.keys())
def test_what_cannot_be_asked_is_said(
    asked: Engine, told: World, arguments: dict[str, Any], said: str
) -> None:
    with pytest.raises(QuestionError, match=said):
        costs(asked, **arguments)


def test_a_known_cost_is_found_where_a_plain_comparison_is_wrong(asked: Engine, loader: Client) -> None:
    """Whoever searches a lot converts more and sees more errors; an error takes a fifth of the conversions."""
    random, told = Random(5), []
    lost_without_errors = hit = 0
    for number in range(1500):
        keen = random.random() < 0.5
        error = random.random() < (0.6 if keen else 0.1)
        hit += error
        rate = 0.7 if keen else 0.2
        lost_without_errors += 0.2 * error
        converted = random.random() < rate - 0.2 * error
        phase = {"phase": "Consideration" if keen else "Awareness"}
        pain = {"pain_kinds": ["failure"] * error, "pain_severities": [0.6] * error}
        none = {"pain_kinds": [], "pain_severities": []}
        steps = [("search", phase | none), ("error_seen" if error else "search", phase | pain)]
        steps += [("search", phase | none)] + [("purchase", {"phase": "Purchase"} | none)] * converted
        told += [
            Told(f"c{number}", EPOCH_MS + place * 1000, type_, f"c{number}-{place}", fields)
            for place, (type_, fields) in enumerate(steps)
        ]
    empty(loader)
    load(loader, told)
    set_watermark(loader, EPOCH_MS + 30 * DAY)
    # those who stood at the same phase: the first search, when nothing is known yet, is none of them
    [row] = costs(asked, by=["kind"], like=["phase", "place"], value=1.0).to_dict("records")
    assert row["hit"] == hit
    assert row["lost_rate"] == pytest.approx(0.2, abs=0.06)
    assert row["lo"] < 0.2 < row["hi"]
    assert row["cost_lo"] < lost_without_errors < row["cost_hi"]
    [naive] = costs(asked, by=["kind"], like=["place"], value=1.0).to_dict("records")
    assert naive["hi"] < 0.1
