"""Two of anything: what is compared, and how the difference and its interval come about."""

from datetime import datetime
from types import SimpleNamespace
from typing import Any
from zoneinfo import ZoneInfo

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from warehouse.answer import Answer, Measures, QuestionError, answer, beside
from warehouse.compare import both
from warehouse.comparison import read
from warehouse.statistics import (
    ClusterSums,
    clustered_rate,
    difference,
    mean_difference,
    poisson_difference,
    quantile_interval,
    rate_difference,
    wilson,
)

BERLIN = ZoneInfo("Europe/Berlin")


def day(year: int, month: int, of_month: int) -> datetime:
    return datetime(year, month, of_month, tzinfo=BERLIN)


SEPTEMBER, OCTOBER = day(2026, 9, 1), day(2026, 10, 1)

CASES: dict[str, tuple[str, dict[str, Any], dict[str, Any], dict[str, Any]]] = {
    "two personas": ("persona:Gold,Silver", {}, {"persona": "Gold"}, {"persona": "Silver"}),
    "one persona against all others": ("persona:Gold", {}, {"persona": "!Gold"}, {"persona": "Gold"}),
    "two campaigns": ("campaign: spring , summer", {}, {"campaign": "spring"}, {"campaign": "summer"}),
    "a cohort against all others": ("cohort:pilot", {}, {"cohort": "!pilot"}, {"cohort": "pilot"}),
    "before and after a day": (
        "before:2026-09-01",
        {"until": OCTOBER},
        {"since": None, "until": SEPTEMBER},
        {"since": SEPTEMBER, "until": OCTOBER},
    ),
    "this period and the one before it": (
        "period",
        {"since": SEPTEMBER, "until": OCTOBER},
        {"since": day(2026, 8, 2), "until": SEPTEMBER},
        {"since": SEPTEMBER, "until": OCTOBER},
    ),
    "two periods": (
        "period:2026-08-01..2026-09-01,2026-09-01..2026-10-01",
        {},
        {"since": day(2026, 8, 1), "until": SEPTEMBER},
        {"since": SEPTEMBER, "until": OCTOBER},
    ),
}  # fmt: skip


@pytest.mark.parametrize(("said", "among", "a", "b"), CASES.values(), ids=CASES.keys())
def test_what_is_compared(said: str, among: dict[str, Any], a: dict[str, Any], b: dict[str, Any]) -> None:
    found = read(said, {"timezone": "Europe/Berlin", **among})
    assert (found.a, found.b) == (a, b)


WRONG = {
    "a kind that does not exist": ("personas:A,B", {}, 'Did you mean "persona"?'),
    "three of a kind": ("persona:A,B,C", {}, "Write persona:Gold,Silver"),
    "none of a kind": ("persona:", {}, "Write persona:Gold,Silver"),
    "no day": ("before:soon", {}, "before:2026-10-15"),
    "a period without its end": ("period:2026-08-01,2026-09-01..2026-10-01", {}, "2026-09-01..2026-10-01"),
    "a period before one without beginning": ("period", {"until": OCTOBER}, "Give the question from and to."),
    "what the question is narrowed to": ("persona:A,B", {"persona": "A"}, "Leave one of persona and compare"),
}


@pytest.mark.parametrize(("said", "among", "remedy"), WRONG.values(), ids=WRONG.keys())
def test_what_cannot_be_compared_is_said(said: str, among: dict[str, Any], remedy: str) -> None:
    with pytest.raises(QuestionError) as refused:
        read(said, among)
    assert remedy in str(refused.value)


MEASURES = Measures(
    keys=("phase",), counts=("entered",), rates={"rate": ("forward", "decided")}, figures=("median_s",)
)


def of(rows: list[tuple[str, int, int, int, float | None]]) -> Answer:
    frame = pd.DataFrame(rows, columns=["phase", "entered", "forward", "decided", "median_s"])
    frame["rate"] = [
        f / d if d else float("nan") for f, d in zip(frame["forward"], frame["decided"], strict=True)
    ]
    return answer(frame, "select 1", None, measures=MEASURES)


def test_every_figure_of_both_stands_beside_the_other_with_its_difference() -> None:
    answers = {
        "A": of([("Awareness", 100, 20, 80, 5.0), ("Purchase", 10, 0, 0, None)]),
        "B": of([("Awareness", 400, 200, 380, 4.0), ("Retention", 7, 7, 7, 1.0)]),
    }
    found = both(lambda *, persona: answers[persona], "persona:A,B", {})
    rows = {(row.phase, row.measure): row for row in found.itertuples()}
    assert list(found.columns) == ["phase", "measure", "a", "b", "difference", "lo", "hi", "significant"]
    rate = rows["Awareness", "rate"]
    assert (rate.a, rate.b, rate.significant) == (0.25, 200 / 380, True)
    assert (rate.lo, rate.hi) == pytest.approx(rate_difference(20, 80, 200, 380))
    median = rows["Awareness", "median_s"]
    assert (median.difference, median.significant) == (-1.0, False)
    assert np.isnan(median.lo)
    # nobody decided: no rate, and no difference of rates
    assert np.isnan(rows["Purchase", "rate"].difference)
    # what one of them has not is counted as none
    assert (rows["Retention", "entered"].a, rows["Retention", "entered"].b) == (0, 7)
    assert found.parts["of"] == {"a": "A", "b": "B"}
    assert found.parts["a"] is answers["A"]


def test_what_has_an_interval_of_its_own_has_one_of_the_difference() -> None:
    def of_pain(pains: list[str], costs: list[float], lows: list[float], highs: list[float]) -> Answer:
        frame = pd.DataFrame({"pain": pains, "cost": costs, "cost_lo": lows, "cost_hi": highs})
        measures = Measures(keys=("pain",), intervals={"cost": beside(frame, "cost_lo", "cost_hi")})
        return answer(frame, "", None, measures=measures)

    answers = {
        "A": of_pain(["long_wait", "failure", "reopened"], [90, 20, 5], [70, 10, 1], [120, 40, 9]),
        "B": of_pain(["failure", "long_wait", "repeated"], [18, np.nan, 7], [4, np.nan, 1], [33, np.nan, 9]),
    }
    found = both(lambda *, persona: answers[persona], "persona:A,B", {}).set_index("pain")
    failure = found.loc["failure"]
    assert (failure["difference"], failure["significant"]) == (-2, False)
    # from b down to its low end and from a up to its high end, and the other way round
    assert failure["lo"] == pytest.approx(-2 - (14**2 + 20**2) ** 0.5)
    assert failure["hi"] == pytest.approx(-2 + (15**2 + 10**2) ** 0.5)
    assert found.loc[["long_wait", "reopened", "repeated"], ["difference", "lo", "hi"]].isna().all(axis=None)
    assert not found["significant"].any()


@given(
    st.floats(-50, 50), st.floats(0, 9), st.floats(0, 9), st.floats(-50, 50), st.floats(0, 9), st.floats(0, 9)
)
def test_the_interval_of_a_difference_of_figures_lies_around_it(
    a: float, below_a: float, above_a: float, b: float, below_b: float, above_b: float
) -> None:
    low, high = difference((a, a - below_a, a + above_a), (b, b - below_b, b + above_b))
    assert low <= b - a <= high
    # no wider than the two ends that are farthest apart
    assert low >= (b - below_b) - (a + above_a) - 1e-9
    assert high <= (b + above_b) - (a - below_a) + 1e-9


@given(st.lists(st.integers(0, 40), max_size=80), st.sampled_from([0.1, 0.5, 0.9]))
def test_the_interval_of_a_quantile_is_the_one_that_scipy_gives(values: list[int], quantile: float) -> None:
    from scipy.stats import quantile_test

    theirs = (
        quantile_test(values, p=quantile).confidence_interval(0.95)
        if values
        else SimpleNamespace(low=np.nan, high=np.nan)
    )
    low, high = quantile_interval(np.array(values, np.int64), quantile)
    if np.isnan(theirs.low) or np.isnan(theirs.high):
        assert np.isnan([low, high]).all()
    else:
        assert (low, high) == (theirs.low, theirs.high)


def test_clusters_of_one_make_a_simple_sample() -> None:
    simple = ClusterSums(500, 150, 500, 150, 500, 150)
    assert clustered_rate(simple) == pytest.approx(wilson(150, 500), abs=1e-3)
    assert np.isnan(clustered_rate(ClusterSums(1, 3, 9, 9, 81, 27))).all()


def test_where_a_cluster_is_of_one_mind_it_counts_once() -> None:
    # 100 customers with 10 weeks each, of which 30 are active every day of every week
    one_mind = ClusterSums(100, 300, 1_000, 30 * 100, 100 * 100, 30 * 100)
    assert clustered_rate(one_mind) == pytest.approx(wilson(30, 100), abs=2e-3)
    everybody = ClusterSums(100, 1_000, 1_000, 100 * 100, 100 * 100, 100 * 100)
    assert clustered_rate(everybody) == wilson(100, 100)


def test_the_interval_of_a_clustered_rate_holds_the_true_one() -> None:
    random = np.random.default_rng(20261127)
    held, runs = 0, 400
    for _ in range(runs):
        weeks = random.integers(1, 12, 150)
        hits = random.binomial(weeks, random.beta(1, 3, 150))
        sums = [int(one.sum()) for one in (hits, weeks, hits * hits, weeks * weeks, hits * weeks)]
        low, high = clustered_rate(ClusterSums(150, *sums))
        held += low <= 0.25 <= high
    assert 0.91 <= held / runs <= 0.98


def test_what_nothing_is_known_of_is_not_significant() -> None:
    unknown = pd.DataFrame({"step": [1], "mean_s": [np.nan], "sd_s": [np.nan], "count": [30]})
    measures = Measures(keys=("step",), means={"mean_s": ("sd_s", "count")})
    found = both(lambda *, persona: answer(unknown, "", None, measures=measures), "persona:A,B", {})
    assert found["significant"].to_list() == [False]


trials = st.integers(1, 400).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n)))


@given(trials, trials)
def test_the_interval_of_a_difference_holds_it_and_turns_with_its_sign(
    a: tuple[int, int], b: tuple[int, int]
) -> None:
    low, high = rate_difference(*a, *b)
    assert -1 <= low <= b[0] / b[1] - a[0] / a[1] <= high <= 1
    assert rate_difference(*b, *a) == pytest.approx((-high, -low))


def test_the_interval_of_a_difference_is_newcombes() -> None:
    # the first example of his paper: 56/70 against 48/80
    assert rate_difference(48, 80, 56, 70) == pytest.approx((0.0524, 0.3339), abs=5e-5)
    assert rate_difference(0, 0, 5, 10) == (wilson(5, 10)[0] - 1, wilson(5, 10)[1])


@given(st.integers(0, 10_000), st.integers(0, 10_000))
def test_counts_of_one_size_do_not_differ(a: int, b: int) -> None:
    low, high = poisson_difference(a, b)
    assert low <= b - a <= high
    assert poisson_difference(a, a)[0] < 0 < poisson_difference(a, a)[1]


def test_the_interval_of_a_difference_of_means_is_the_one_that_scipy_gives() -> None:
    from scipy.stats import ttest_ind

    random = np.random.default_rng(7)
    a, b = random.normal(3, 2, 40), random.normal(4, 5, 25)
    theirs = ttest_ind(b, a, equal_var=False).confidence_interval(0.95)
    ours = mean_difference((a.mean(), a.std(ddof=1), 40), (b.mean(), b.std(ddof=1), 25))
    assert ours == pytest.approx((theirs.low, theirs.high))
    assert mean_difference((1.0, 0.0, 5), (3.0, 0.0, 5)) == (2.0, 2.0)
