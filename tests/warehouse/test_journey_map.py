"""The journey map against plain loops over what was loaded, corrected past included; and against the other analyses."""

from collections import Counter, defaultdict
from collections.abc import Callable
from statistics import fmean, median, stdev
from typing import Any

import pandas as pd
import pytest
from clickhouse_connect.driver.client import Client
from hypothesis import given, settings
from hypothesis import strategies as st
from sqlalchemy import Engine

from models.verdict import JourneyRow
from tests.histories import MODEL, NOON, histories
from tests.warehouse.stories import EPOCH_MS, Told, empty, load, moment
from tests.warehouse.told_twice import WATERMARK, Truth, load_twice
from warehouse import conversion, drop_offs, journey_map, pain_points
from warehouse.answer import Answer, QuestionError
from warehouse.statistics import mean_intervals

EXAMPLES = 8  # of some households each, since loading takes most of the time
SOME = st.lists(histories(), min_size=3, max_size=8)
ORDER = list(MODEL.phases)


def by(frame: pd.DataFrame, keys: list[str], *names: str) -> dict[Any, tuple[Any, ...]]:
    """The rows by their keys; NaN is None."""
    return {
        tuple(row[key] for key in keys): tuple(None if row[n] != row[n] else row[n] for n in names)
        for row in frame.to_dict("records")
    }


def persona_of(truth: Truth) -> dict[str, str]:
    return {journey.journey_id: journey.persona or "" for journey in truth.journeys}


def keyed(truth: Truth, keys: list[str]) -> Callable[[Any], tuple[str, ...]]:
    """The place of a touchpoint on the map."""
    persona = persona_of(truth)
    return lambda t: (t.verdict.phase, persona[t.verdict.journey_id])[: len(keys)]


def check_touchpoints(found: Answer, truth: Truth, keys: list[str]) -> None:
    place = keyed(truth, keys)
    cells, places = defaultdict(list), defaultdict(list)
    for t in truth.touchpoints:
        cells[(*place(t), t.touchpoint.channel, t.touchpoint.type)].append(t)
        places[place(t)].append(t)
    counted = ("touchpoints", "customers")
    expected = {key: (len(of), len({t.verdict.customer_id for t in of})) for key, of in cells.items()}
    assert by(found.parts["touchpoints"], [*keys, "channel", "type"], *counted) == expected
    seen = by(found, keys, *counted, "emotion", "emotion_sd", "emotion_p10", "emotion_p90")
    for key, of in places.items():
        weights = sorted(t.verdict.weight for t in of)
        spread = stdev(weights) if len(weights) > 1 else None
        assert seen[key][:2] == (len(of), len({t.verdict.customer_id for t in of}))
        assert seen[key][2] == pytest.approx(fmean(weights), abs=1e-6)
        assert seen[key][3] == (None if spread is None else pytest.approx(spread, abs=1e-6))
        for share, value in ((0.1, seen[key][4]), (0.9, seen[key][5])):
            # at least that share of the weights is not greater, and the rest not less
            assert sum(w <= value + 1e-6 for w in weights) >= share * len(weights) - 1e-9
            assert sum(w >= value - 1e-6 for w in weights) >= (1 - share) * len(weights) - 1e-9


def check_feelings(found: Answer, truth: Truth, keys: list[str]) -> None:
    place = keyed(truth, keys)
    pains = Counter((*place(t), p.kind) for t in truth.touchpoints for p in t.verdict.pain_points)
    delights = Counter((*place(t), kind) for t in truth.touchpoints for kind in t.verdict.delights)
    hurt: dict[Any, float] = defaultdict(float)
    for t in truth.touchpoints:
        for p in t.verdict.pain_points:
            hurt[(*place(t), p.kind)] += p.severity
    seen = by(found.parts["pain_points"], [*keys, "kind"], "pain_points", "hurt")
    assert {key: count for key, (count, _) in seen.items()} == pains
    assert {key: sum_ for key, (_, sum_) in seen.items()} == pytest.approx(
        hurt, abs=1e-3 * max(pains.values(), default=0)
    )
    assert by(found.parts["delights"], [*keys, "kind"], "delights") == {k: (n,) for k, n in delights.items()}
    answers = defaultdict(list)
    for t in truth.touchpoints:
        for score in ("csat", "nps", "ces"):
            if (said := getattr(t.touchpoint, score)) is not None:
                answers[(*place(t), score)].append(said)
    columns = ("answers", "mean", "promoters", "passives", "detractors", "net")
    scores = by(found.parts["scores"], [*keys, "score"], *columns)
    assert scores.keys() == answers.keys()
    for key, said in answers.items():
        for_, against = sum(s >= 9 for s in said), sum(s <= 6 for s in said)
        of_nps = (for_, len(said) - for_ - against, against, 100 * (for_ - against) / len(said))
        assert scores[key] == pytest.approx(
            (len(said), fmean(said), *(of_nps if key[-1] == "nps" else (0, 0, 0, None)))
        )


def visits(journey: JourneyRow) -> list[tuple[str, str, str]]:
    """(phase, came from, went to) of each visit."""
    runs: list[str] = []
    for phase in journey.phases:
        if not runs or runs[-1] != phase:
            runs.append(phase)
    ended = journey.closed or journey.ended_at + MODEL.journey_gap_ms < WATERMARK
    ending = "(lost)" if journey.drop_off_at is not None else "(end)" if ended else "(open)"
    return list(zip(runs, ["(begin)", *runs[:-1]], [*runs[1:], ending], strict=True))


def check_journeys(found: Answer, journeys: list[JourneyRow], keys: list[str]) -> None:
    entries, exits = Counter[Any](), Counter[Any]()
    of: dict[Any, list[tuple[JourneyRow, str]]] = defaultdict(list)
    for journey in journeys:
        for phase, came_from, went_to in visits(journey):
            key = (phase, journey.persona or "")[: len(keys)]
            entries[(*key, came_from)] += 1
            exits[(*key, went_to)] += 1
        for phase in set(journey.phases):
            of[(phase, journey.persona or "")[: len(keys)]].append((journey, phase))
    assert by(found.parts["entries"], [*keys, "came_from"], "visits") == {k: (n,) for k, n in entries.items()}
    assert by(found.parts["exits"], [*keys, "went_to"], "visits") == {k: (n,) for k, n in exits.items()}
    seen = by(found, keys, "journeys", "journeys_forward", "journeys_lost", "median_ms", "mean_ms")
    for key, those in of.items():
        forward = sum(
            any(
                ORDER.index(later) > ORDER.index(phase)
                for later in journey.phases[journey.phases.index(phase) :]
            )
            for journey, phase in those
        )
        lost = sum(
            (journey.closed or journey.drop_off_at is not None)
            and not any(
                ORDER.index(later) > ORDER.index(phase)
                for later in journey.phases[journey.phases.index(phase) :]
            )
            for journey, phase in those
        )
        stays = [
            sum(
                after - at
                for at, after, one in zip(journey.ats, journey.ats[1:], journey.phases, strict=False)
                if one == phase
            )
            for journey, phase in those
        ]
        assert seen[key] == pytest.approx((len(those), forward, lost, median(stays), fmean(stays)))


@settings(max_examples=EXAMPLES)
@given(SOME)
def test_the_map_is_what_plain_loops_count_by_phase_and_by_persona(
    asked: Engine, loader: Client, happened: Any
) -> None:
    truth = load_twice(loader, happened)
    for choice, keys in (("phase", ["phase"]), ("persona", ["phase", "persona"])):
        found = journey_map.journey_map(asked, by=choice)
        check_touchpoints(found, truth, keys)
        check_feelings(found, truth, keys)
        check_journeys(found, truth.journeys, keys)


@settings(max_examples=EXAMPLES)
@given(SOME, st.integers(0, 40), st.sampled_from(["hurried", "!curious", ""]))
def test_the_map_of_a_period_and_of_some_journeys_is_that_of_what_lies_in_it(
    asked: Engine, loader: Client, happened: Any, at: int, persona: str
) -> None:
    truth = load_twice(loader, happened)
    whose = persona_of(truth)
    if persona.removeprefix("!") not in {*whose.values(), ""}:
        with pytest.raises(QuestionError, match="is not known"):
            journey_map.journey_map(asked, persona=persona)
        return

    def chosen(name: str) -> bool:
        return name != persona[1:] if persona.startswith("!") else name == persona

    found = journey_map.journey_map(asked, since=moment(NOON + at), persona=persona)
    inside = Truth(
        [
            t
            for t in truth.touchpoints
            if t.touchpoint.occurred_at >= NOON + at and chosen(whose[t.verdict.journey_id])
        ],
        truth.journeys,
        truth.owners,
    )
    check_touchpoints(found, inside, ["phase"])
    check_feelings(found, inside, ["phase"])
    began = [j for j in truth.journeys if j.started_at >= NOON + at and chosen(j.persona or "")]
    check_journeys(found, began, ["phase"])


@settings(max_examples=EXAMPLES)
@given(SOME)
def test_the_map_agrees_with_drop_offs_and_pain_points(asked: Engine, loader: Client, happened: Any) -> None:
    truth = load_twice(loader, happened)
    found = journey_map.journey_map(asked)
    silent = pd.DataFrame(drop_offs.drop_offs(asked)).groupby("phase")[["drop_offs", "recovered"]].sum()
    for phase, lost, back in found[["phase", "drop_offs", "recoveries"]].itertuples(index=False, name=None):
        assert (lost, back) == (tuple(silent.loc[phase]) if phase in silent.index else (0, 0))
    counted = pd.DataFrame(pain_points.pain_points(asked)).groupby(["phase", "kind"])["pain_points"].sum()
    assert by(found.parts["pain_points"], ["phase", "kind"], "pain_points") == {
        key: (n,) for key, n in counted.to_dict().items()
    }
    [total] = found.parts["totals"].to_dict("records")
    assert (total["touchpoints"], total["journeys"]) == (len(truth.touchpoints), len(truth.journeys))


@settings(max_examples=EXAMPLES)
@given(SOME)
def test_the_map_agrees_with_conversion(asked: Engine, loader: Client, happened: Any) -> None:
    truth = load_twice(loader, happened)
    found = pd.DataFrame(journey_map.journey_map(asked)).set_index("phase")
    counted = pd.DataFrame(conversion.conversion(asked, by="persona")).groupby("phase")
    sums = counted[["entered", "forward", "lost", "open", "converted"]].sum()
    of_map = found[["journeys", "journeys_forward", "journeys_lost", "journeys_open", "journeys_converted"]]
    assert of_map[of_map["journeys"] > 0].to_dict("index").keys() == sums.to_dict("index").keys()
    for phase, row in sums.iterrows():
        assert tuple(of_map.loc[phase]) == tuple(row)
    assert sums["entered"].sum() == sum(len(set(journey.phases)) for journey in truth.journeys)


def test_who_acts_behind_the_scenes_is_told_with_what_they_have_to_do(asked: Engine, loader: Client) -> None:
    empty(loader)
    contacts = [("Sales", "north", 1_000), ("Sales", "north", 3_000), ("", "night", None), ("", "", 5_000)]
    load(
        loader,
        [
            Told(f"c{n}", EPOCH_MS + n, "call_queued", f"t{n}", {"queue": q, "team": t, "wait_ms": wait})
            for n, (q, t, wait) in enumerate(contacts)
        ],
    )
    owners = journey_map.journey_map(asked).parts["owners"]
    columns = ["queue", "team", "touchpoints", "customers", "waited", "median_wait_ms"]
    assert by(owners, ["queue", "team"], *columns[2:]) == {
        ("Sales", "north"): (2, 2, 2, 2_000),
        ("", "night"): (1, 1, 0, None),
    }


def test_every_phase_of_the_model_has_its_row_also_where_nothing_happened(
    asked: Engine, loader: Client
) -> None:
    empty(loader)
    nothing = journey_map.journey_map(asked)
    assert nothing["phase"].to_list() == ORDER
    assert nothing["touchpoints"].to_list() == [0] * len(ORDER)
    load(loader, [Told("ann", EPOCH_MS, "view", "t")])
    assert journey_map.journey_map(asked).dtypes.to_dict() == nothing.dtypes.to_dict()


def test_a_range_that_holds_nothing_is_said(asked: Engine) -> None:
    with pytest.raises(QuestionError, match="holds nothing"):
        journey_map.journey_map(asked, since=moment(EPOCH_MS), until=moment(EPOCH_MS))


def test_the_interval_of_a_mean_is_students() -> None:
    # R: t.test(c(1, 2, 3, 4))$conf.int
    low, high = mean_intervals(
        pd.Series([2.5, 1.0]), pd.Series([stdev([1, 2, 3, 4]), 0.0]), pd.Series([4, 1])
    )
    assert (low[0], high[0]) == pytest.approx((0.445739, 4.554261), abs=1e-6)
    assert low[1] != low[1]
    assert high[1] != high[1]
