"""Alerts on abandonment: the tail, when one opens, when it resolves, and how rarely one is false."""

import random
import re
from collections.abc import Iterator

import msgspec
import pytest
from scipy import stats

from models.alerts import (
    MINUTE_MS,
    AbandonmentBucket,
    Alert,
    AlertRules,
    Watch,
    abandonment_tail,
)

RULES = AlertRules()
NOON = 1_800_000_000_000 // 86_400_000 * 86_400_000 + 12 * 3_600_000
SEED = 20_270_114


def minute(
    n: int, completed: int, abandoned: int, *, rate: float = 0.05, trials: float = 500, version: int = 0
):
    return AbandonmentBucket(
        NOON + n * MINUTE_MS, "call", "voice", completed, abandoned, rate, trials, version=version
    )


def told(watch: Watch, buckets: list[AbandonmentBucket]) -> Iterator[tuple[int, Alert]]:
    """What is told while the minutes come one by one, each as it ends; with the minute's number."""
    for bucket in buckets:
        now = bucket.minute + MINUTE_MS
        if (alert := watch.receive([bucket], now, RULES)) is not None:
            yield (bucket.minute - NOON) // MINUTE_MS, alert


@pytest.mark.parametrize("attempts", [1, 7, 60, 900])
@pytest.mark.parametrize(("rate", "trials"), [(0.0, 0.0), (0.05, 30.0), (0.7, 200.0), (1.0, 12.0)])
def test_the_tail_is_that_of_the_beta_binomial_distribution(attempts, rate, trials):
    distribution = stats.betabinom(attempts, rate * trials + 0.5, (1 - rate) * trials + 0.5)
    for abandoned in {0, 1, attempts // 3, attempts - 1, attempts}:
        expected = distribution.pmf(
            range(abandoned, attempts + 1)
        ).sum()  # its sf() is 1 − cdf: 0 below 1e-16
        assert abandonment_tail(abandoned, attempts, rate, trials) == pytest.approx(expected, rel=1e-8)


@pytest.mark.parametrize("wrong", [(3, 2, 0.1, 1.0), (-1, 2, 0.1, 1.0), (1, 2, 1.5, 1.0), (1, 2, 0.1, -1.0)])
def test_the_tail_of_impossible_counts_is_refused(wrong):
    with pytest.raises(ValueError, match="trials"):
        abandonment_tail(*wrong)


def test_an_uncertain_expectation_makes_the_same_count_less_surprising():
    assert abandonment_tail(8, 12, 0.05, 10) > 100 * abandonment_tail(8, 12, 0.05, 200)


def test_a_jam_is_told_in_its_second_minute_and_once():
    jam = [minute(n, 6, 0) for n in range(5)] + [minute(n, 1, 5) for n in range(5, 12)]
    alerts = list(told(Watch("call", "voice"), jam))
    assert [n for n, _ in alerts] == [6]
    alert = alerts[0][1]
    assert (alert.kind, alert.channel, alert.resolved_at) == ("call", "voice", None)
    assert alert.opened_at == NOON + 7 * MINUTE_MS
    assert (alert.attempts, alert.abandoned, alert.window_ms) == (12, 10, 2 * MINUTE_MS)
    assert alert.observed_rate == pytest.approx(10 / 12)
    assert alert.probability < RULES.threshold
    assert "10 of the 12 attempts that ended in the last 2 minutes were abandoned (83%" in alert.message
    assert re.search(r"By luck this is 1 in [1-9],?\d[0,]*\.$", alert.message), alert.message


def test_few_attempts_open_nothing_however_they_end():
    assert not list(told(Watch("call", "voice"), [minute(0, 0, RULES.minimum_attempts - 1, rate=0.0001)]))


def test_without_history_a_high_rate_opens_nothing():
    usual = [minute(n, 3, 7, rate=0.3, trials=5) for n in range(60)]
    assert not list(told(Watch("call", "voice"), usual))


def test_an_alert_resolves_after_calm_minutes_and_may_open_again():
    jam = [minute(n, 1, 6) for n in range(4)]
    calm = [minute(n, 6, 0) for n in range(4, 20)]
    again = [minute(n, 1, 6) for n in range(20, 23)]
    alerts = list(told(Watch("call", "voice"), jam + calm + again))
    assert [(n, a.resolved_at is None) for n, a in alerts] == [(1, True), (10, False), (21, True)]
    opened, resolved, reopened = (a for _, a in alerts)
    assert resolved.id == opened.id != reopened.id
    # the jam's mark still lies on minute 4, whose last two minutes were above the usual
    assert resolved.resolved_at == NOON + 10 * MINUTE_MS
    assert resolved.message.startswith("Resolved: call abandonment on voice is as usual again")


def test_an_alert_stays_open_while_the_rate_stays_high():
    assert [n for n, _ in told(Watch("call", "voice"), [minute(n, 2, 5) for n in range(90)])] == [1]


def test_an_alert_resolves_when_nothing_ends_any_more():
    watch = Watch("call", "voice")
    assert len(list(told(watch, [minute(0, 0, 9)]))) == 1
    assert watch.receive([], NOON + 6 * MINUTE_MS, RULES) is None
    resolved = watch.receive([], NOON + 7 * MINUTE_MS, RULES)
    assert resolved is not None
    assert resolved.resolved_at == NOON + 6 * MINUTE_MS
    assert "none has ended since" in resolved.message
    assert watch.receive([], NOON + 8 * MINUTE_MS, RULES) is None


def test_history_that_is_loaded_pages_nobody():
    watch = Watch("call", "voice")
    now = NOON + RULES.recent_ms + 60 * MINUTE_MS
    assert all(watch.receive([minute(n, 0, 50)], now, RULES) is None for n in range(60))
    assert watch.receive([minute(200, 0, 50)], now, RULES) is None, "nor minutes ahead of the clock"


def test_a_bucket_counts_once_in_its_newest_version_in_any_order():
    newest_first = Watch("call", "voice")
    assert newest_first.receive([minute(0, 9, 0, version=2)], NOON + MINUTE_MS, RULES) is None
    assert newest_first.receive([minute(0, 0, 9, version=1)], NOON + MINUTE_MS, RULES) is None
    repeated = Watch("call", "voice")
    for _ in range(20):
        assert repeated.receive([minute(0, 2, 2)], NOON + MINUTE_MS, RULES) is None


def test_a_seed_keeps_an_alert_open_and_is_taken_once():
    jam = [minute(n, 1, 6) for n in range(3)]
    before, after = Watch("call", "voice"), Watch("call", "voice")
    opened = [alert for _, alert in told(before, jam)]
    after.seed(opened[0])
    assert not list(told(after, [minute(n, 1, 6) for n in range(3, 6)])), "it is open already"
    resolved = [alert for _, alert in told(after, [minute(n, 6, 0) for n in range(6, 20)])]
    assert [a.id for a in resolved] == [opened[0].id]
    after.seed(opened[0])
    assert not after.open, "a seed that comes late reopens nothing"


def test_a_watch_goes_on_where_it_was_after_it_was_written_and_read():
    straight, restarted = Watch("call", "voice"), Watch("call", "voice")
    traffic = [minute(n, 6, 0) if n % 19 < 12 else minute(n, 1, 5) for n in range(80)]
    expected = list(told(straight, traffic))
    got = []
    for bucket in traffic:
        restarted = msgspec.msgpack.decode(msgspec.msgpack.encode(restarted), type=Watch)
        got += told(restarted, [bucket])
    assert got == expected
    assert len(expected) > 4


def test_six_days_of_normal_traffic_open_no_alert():
    """Ten pairs of kind and channel with the sway of the day and of chance; the budget is one in 30 days."""
    print(f"seed {SEED}")
    rng = random.Random(SEED)
    false = []
    for pair in range(10):
        watch = Watch(f"kind{pair}", "web")
        usual_rate = rng.choice((0.03, 0.08, 0.25, 0.7))
        per_minute = rng.choice((0.5, 3, 12))
        for day in range(6):
            rate = min(0.95, rng.gammavariate(60, usual_rate / 60))  # this day's, 13 % around the usual
            for n in range(0, 24 * 60):
                ended = stats_poisson(rng, per_minute * (1.5 if 480 < n < 1200 else 0.3))
                abandoned = sum(rng.random() < rate for _ in range(ended))
                at = NOON + (day * 1440 + n) * MINUTE_MS
                bucket = AbandonmentBucket(
                    at, watch.kind, "web", ended - abandoned, abandoned, usual_rate, 300
                )
                if alert := watch.receive([bucket], at + MINUTE_MS, RULES):
                    false.append(alert)
    assert not false


def stats_poisson(rng: random.Random, mean: float) -> int:
    """A Poisson count, by the times between arrivals."""
    count, at = 0, rng.expovariate(1)
    while at < mean:
        count, at = count + 1, at + rng.expovariate(1)
    return count


@pytest.mark.parametrize("per_minute", [8, 20])
def test_queue_jams_are_told_within_two_minutes(per_minute):
    """When nine of ten callers hang up instead of one in twenty."""
    rng = random.Random(SEED + per_minute)
    late = 0
    for _ in range(50):
        watch = Watch("call", "voice")
        for n in range(-20, 12):
            rate = 0.9 if n >= 0 else 0.05
            ended = max(1, stats_poisson(rng, per_minute))
            abandoned = sum(rng.random() < rate for _ in range(ended))
            if list(told(watch, [minute(n, ended - abandoned, abandoned, trials=800)])):
                late += n >= 2
                break
        else:
            late += 1
    assert late <= {8: 2, 20: 0}[per_minute]
