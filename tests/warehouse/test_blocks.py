"""How much a figure depends on who was there: blocks of customers are left out, and comparisons have intervals."""

from bisect import bisect_left, bisect_right
from collections import defaultdict
from itertools import product
from typing import Any

import numpy as np
import pandas as pd
import pytest
from clickhouse_connect.driver.client import Client
from scipy.stats import t
from scipy.stats.contingency import odds_ratio as odds_ratio_of
from sqlalchemy import Engine, text

from tests.warehouse.worlds import END, MODEL, World, world
from warehouse.answer import Answer, Measures, answer, ask
from warehouse.blocks import BLOCKS, jackknife, left_out
from warehouse.catalogue import named
from warehouse.compare import both
from warehouse.map_flows import stays
from warehouse.map_spread import of_hurt, of_median
from warehouse.map_touchpoints import Places
from warehouse.medians import median_bounds
from warehouse.pain_points import pain_points
from warehouse.scope import Scope
from warehouse.statistics import odds_ratio, odds_ratio_interval, quantile_interval

MIDDLE = END - 40 * 86_400_000  # 2026-01-20T00:00Z
COMPARED = {
    "attribution": {},
    "conversion": {"visits": True, "by": "channel"},
    "desire-line": {"least": 1},
    "life-cycle": {"per": "week"},
    "map": {},
    "pain-points": {"by": ["kind"]},
    "paths": {"of": "channel"},
    "stickiness": {"per": "week"},
    "variants": {"of": "channel"},
    "what-differs": {"least": 1},
}


@pytest.fixture(scope="module")
def told(loader: Client) -> World:
    return world(loader, 3, customers=200)


@pytest.mark.parametrize(("name", "arguments"), COMPARED.items(), ids=COMPARED.keys())
def test_every_measure_of_a_comparison_has_an_interval(
    asked: Engine, told: World, name: str, arguments: dict[str, Any]
) -> None:
    # periods are there on one side alone where they are what is compared
    compare = "campaign:spring" if name in ("attribution", "life-cycle") else "before:2026-01-20"
    found = named(name)(asked, compare=compare, **arguments)
    known = found.dropna(subset=["difference"])
    without = set(known["measure"]) - set(known.dropna(subset=["lo", "hi"])["measure"])
    assert len(known)
    assert without == set()
    bounded = known.dropna(subset=["lo", "hi"])
    assert ((bounded["lo"] <= bounded["difference"]) & (bounded["difference"] <= bounded["hi"])).all()


def test_what_hurts_varies_as_it_does_without_each_block_of_customers(
    asked: Engine, loader: Client, told: World
) -> None:
    block = dict(
        loader.query(
            f"select distinct customer_id, cityHash64(customer_id) % {BLOCKS} from touchpoints"
        ).result_rows
    )
    felt: defaultdict[Any, list[float]] = defaultdict(list)
    for seen in told.touchpoints:
        for pain in seen.v.pain_points:
            felt[pain.kind, seen.at >= MIDDLE, block[seen.v.customer_id]].append(pain.severity)

    def hurt(kind: str, later: bool, without: int | None = None) -> list[float]:
        return [one for n in range(BLOCKS) if n != without for one in felt[kind, later, n]]

    found = pain_points(asked, by=["kind"], compare="before:2026-01-20")
    rows = {(row["kind"], row["measure"]): row for row in found.to_dict("records")}
    quantile = t.ppf(0.975, BLOCKS - 1)
    compared = 0
    for kind, (measure, figure) in product(
        {kind for kind, _ in rows}, (("hurt", sum), ("severity", np.mean))
    ):
        sides = [[hurt(kind, later, n) for later in (False, True)] for n in range(BLOCKS)]
        whole = [hurt(kind, later) for later in (False, True)]
        if measure == "severity" and not all(a and b for a, b in [*sides, whole]):
            assert np.isnan(rows[kind, measure]["lo"])
            continue
        scale = BLOCKS / (BLOCKS - 1) if measure == "hurt" else 1
        difference = figure(whole[1]) - figure(whole[0])
        without = [scale * (figure(b) - figure(a)) for a, b in sides]
        deviation = ((BLOCKS - 1) / BLOCKS * sum((one - difference) ** 2 for one in without)) ** 0.5
        row = rows[kind, measure]
        assert row["difference"] == pytest.approx(difference, abs=1e-2)
        if deviation > 1e-9:
            expected = (difference - quantile * deviation, difference + quantile * deviation)
            assert (row["lo"], row["hi"]) == pytest.approx(expected, abs=2e-2)
            compared += 1
    assert compared > 8


def of_customers(values: list[float]) -> Answer:
    """Mean and sum of those who are there; each customer is a block."""
    there = [value for n, value in enumerate(values) if n != left_out()]
    frame = pd.DataFrame({"at": ["here"], "mean": [np.mean(there)], "whole": [sum(there)]})
    measures = Measures(keys=("at",), sums=("whole",), figures=("mean",))
    return answer(frame, "", None, measures=measures)


def test_where_each_customer_is_a_block_it_is_students_interval() -> None:
    random = np.random.default_rng(4)
    a, b = random.normal(3, 2, (2, BLOCKS))
    found = both(lambda *, persona: of_customers(list({"A": a, "B": b}[persona])), "persona:A,B", {})
    rows = found.set_index("measure")
    # the customers are the same in both, so it is that of their differences
    reach = t.ppf(0.975, BLOCKS - 1) * (b - a).std(ddof=1) / BLOCKS**0.5
    difference = (b - a).mean()
    assert rows.loc["mean", ["lo", "hi"]].tolist() == pytest.approx([difference - reach, difference + reach])
    assert rows.loc["whole", ["lo", "hi"]].tolist() == pytest.approx(
        [BLOCKS * (difference - reach), BLOCKS * (difference + reach)]
    )
    assert left_out() is None


def test_what_nobody_knows_without_some_block_or_what_none_changes_has_no_interval() -> None:
    assert np.isnan(jackknife(3.0, [3.0, 2.0, np.nan])).all()
    assert np.isnan(jackknife(3.0, [3.0] * BLOCKS)).all()
    assert np.isnan(jackknife(np.nan, [3.0, 2.0])).all()
    assert np.isnan(jackknife(3.0, [])).all()


def test_the_interval_of_a_median_holds_the_true_one() -> None:
    random = np.random.default_rng(20261127)
    block = np.arange(300) % BLOCKS
    held, runs = 0, 400
    for _ in range(runs):
        times = random.lognormal(0, 1, 300)
        low, high = jackknife(
            float(np.median(times)), [float(np.median(times[block != n])) for n in range(BLOCKS)]
        )
        held += low <= 1 <= high
    assert 0.90 <= held / runs <= 0.99


def test_the_warehouse_bounds_a_median_as_the_exact_interval_does_or_one_place_wider(asked: Engine) -> None:
    rows = "(select size, arrayJoin(range(size)) as time from (select arrayJoin(range(1, 300)) as size))"
    found = ask(asked, text(median_bounds("size", "time", rows))).set_index("size")
    for size in range(1, 300):
        low, high = quantile_interval(np.arange(size), 0.5)
        if np.isnan(low):
            assert size not in found.index
            continue
        lo, hi = found.loc[size, ["lo", "hi"]]
        assert (lo, hi) in ((low, high), (low - 1, high + 1))


def test_what_hurts_in_a_phase_varies_with_the_sums_of_its_customers(asked: Engine, told: World) -> None:
    of_customers: defaultdict[str, defaultdict[str, float]] = defaultdict(lambda: defaultdict(float))
    for seen in told.touchpoints:
        for pain in seen.v.pain_points:
            of_customers[seen.v.phase][seen.v.customer_id] += pain.severity
    places, phases = Places(Scope(), by_persona=False), sorted(of_customers)
    found = of_hurt(asked, places, [(phase,) for phase in [*phases, "none such"]])
    assert found.pop() == (0.0, 3.69)
    assert len(phases) > 2
    for phase, (low, high) in zip(phases, found, strict=True):
        sums = of_customers[phase].values()
        whole, reach = sum(sums), 1.96 * sum(one * one for one in sums) ** 0.5
        assert (low, high) == pytest.approx((max(0.0, whole - reach), whole + reach), abs=1e-3)


def test_the_median_time_in_a_phase_lies_in_its_interval(asked: Engine, told: World) -> None:
    places = Places(Scope(), by_persona=False)
    frame = stays(asked, places, MODEL)
    found = of_median(asked, places, MODEL, [(phase,) for phase in frame["phase"]])
    times: defaultdict[str, list[int]] = defaultdict(list)
    for journey in told.journeys:
        within: defaultdict[str, int] = defaultdict(int)
        for seen in journey:
            following = seen.after[0].at if seen.after else seen.at
            within[seen.v.phase] += following - seen.at
        for phase, time in within.items():
            times[phase].append(time)
    for phase, median, (low, high) in zip(frame["phase"], frame["median_ms"], found, strict=True):
        assert low <= median <= high
        exact = quantile_interval(np.array(times[phase]), 0.5)
        in_order = sorted(times[phase])
        # the same, or one place wider
        below, above = bisect_left(in_order, exact[0]), bisect_right(in_order, exact[1])
        assert in_order[max(below - 1, 0)] <= low <= exact[0]
        assert exact[1] <= high <= in_order[min(above, len(in_order) - 1)]


@pytest.mark.parametrize("counts", [(12, 40, 5, 60), (1, 9, 0, 7), (30, 30, 2, 50)])
def test_the_interval_of_an_odds_ratio_is_the_one_that_scipy_gives(counts: tuple[int, int, int, int]) -> None:
    a, of_a, b, of_b = counts
    # scipy takes whole numbers: of twice the counts, a half added to each, the logarithm varies half as much
    table = [[2 * a + 1, 2 * (of_a - a) + 1], [2 * b + 1, 2 * (of_b - b) + 1]]
    theirs = odds_ratio_of(table, kind="sample").confidence_interval(0.95)
    ratio = odds_ratio(*counts)
    low, high = odds_ratio_interval(*counts)
    assert (low, high) == pytest.approx(
        (ratio * (theirs.low / ratio) ** 2**0.5, ratio * (theirs.high / ratio) ** 2**0.5), rel=1e-3
    )
