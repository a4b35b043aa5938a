"""When abandonment of attempts is worth waking somebody: the decision, pure.

Watched are one-minute buckets of event time by kind and channel: how many attempts ended in that minute,
and how many of these were abandoned. The question per kind and channel is how likely so many abandoned
ones are by luck, were the rate the usual one of this hour. Abandoned out of ended is a count out of
trials, and the usual rate is itself only estimated, so the distribution is the beta-binomial: binomial
with a rate drawn from a beta distribution around the expected rate, as wide as its `expected_trials`
leave it. No normal approximation: at five calls a minute it would be wrong by orders of magnitude just
where it matters.

The trailing 1, 2, … `window_minutes` minutes are each asked, so that a sudden jam is seen in its second
minute and a slow one in its fifth. The false-alarm budget is divided among all these questions
(Bonferroni: they overlap, so the true number of false alarms is smaller).
"""

import math
from collections.abc import Iterable, Iterator

import msgspec

MINUTE_MS = 60_000


class AbandonmentBucket(msgspec.Struct, frozen=True, array_like=True):
    """How the attempts of one kind on one channel ended in one minute of event time: absolute, not a change.

    `minute`: its start, UTC ms. `expected_rate`: usual share of abandoned ones at this hour, 0–1, known from
    `expected_trials` ended attempts. `version`: of two buckets of one minute the greater counts.
    """

    minute: int
    kind: str
    channel: str
    completed: int
    abandoned: int
    expected_rate: float
    expected_trials: float
    version: int = 0


class Alert(msgspec.Struct, frozen=True, kw_only=True):
    """Abandonment far above what its hour expects; told when it opens, and again when it resolves.

    `opened_at`: end of the first alarming minute, `resolved_at`: None while open; UTC ms of event time.
    `attempts` ended in the window that opened it, `abandoned` of them; rates 0–1; `probability` of so many
    or more by luck.
    """

    id: str
    kind: str
    channel: str
    opened_at: int
    resolved_at: int | None = None
    observed_rate: float
    expected_rate: float
    attempts: int
    abandoned: int
    probability: float
    message: str
    window_ms: int = 0


class AlertRules(msgspec.Struct, frozen=True):
    """When to open and when to resolve.

    `false_alarms_per_day` over all `watched` pairs of kind and channel: 1/30 is one in a month at most.
    `expected_trials_at_most` is how far the usual rate is trusted, however long the history: rates sway from
    day to day by more than counting explains, and 200 trials leave a rate of 10 % a deviation of 2 %.
    """

    window_minutes: int = 5
    minimum_attempts: int = 6
    minimum_abandoned: int = 4
    false_alarms_per_day: float = 1 / 30
    watched: int = 12
    expected_trials_at_most: float = 200.0
    calm_minutes: int = 5
    calm_probability: float = 0.01
    recent_ms: int = 15 * MINUTE_MS

    @property
    def threshold(self) -> float:
        """Probability by luck below which an alert opens."""
        return self.false_alarms_per_day / (self.watched * 24 * 60 * self.window_minutes)


def abandonment_tail(abandoned: int, attempts: int, expected_rate: float, expected_trials: float) -> float:
    """P(≥ `abandoned` of `attempts`) where the rate is Beta(rate · trials + ½, (1 − rate) · trials + ½).

    The halves are Jeffreys' prior: a rate of 0 seen in few trials does not make one abandonment impossible.
    ValueError unless 0 ≤ abandoned ≤ attempts, 0 ≤ rate ≤ 1 and trials ≥ 0.
    """
    if not (0 <= abandoned <= attempts and 0.0 <= expected_rate <= 1.0 and expected_trials >= 0.0):
        raise ValueError(f"no {abandoned} of {attempts} at {expected_rate} from {expected_trials} trials")
    if abandoned == 0:
        return 1.0
    a = expected_rate * expected_trials + 0.5
    b = (1.0 - expected_rate) * expected_trials + 0.5
    n, k = attempts, abandoned
    term = math.exp(_log_choose(n, k) + _log_beta(k + a, n - k + b) - _log_beta(a, b))
    tail = term
    while k < n:
        term *= (n - k) / (k + 1) * (k + a) / (n - k - 1 + b)
        k += 1
        tail += term
    return min(tail, 1.0)


def _log_beta(a: float, b: float) -> float:
    return math.lgamma(a) + math.lgamma(b) - math.lgamma(a + b)


def _log_choose(n: int, k: int) -> float:
    return math.lgamma(n + 1) - math.lgamma(k + 1) - math.lgamma(n - k + 1)


class Evidence(msgspec.Struct, frozen=True):
    """The ended attempts of one window, and how likely so many abandoned ones are by luck."""

    end: int  # start of the window's last minute, UTC ms
    minutes: int
    attempts: int
    abandoned: int
    expected_rate: float
    probability: float


class Watch(msgspec.Struct):
    """What is remembered of one kind on one channel: its latest minutes, and its last alert.

    Receiving a bucket twice, or after a newer one of the same minute, changes nothing.
    """

    kind: str
    channel: str
    buckets: dict[int, AbandonmentBucket] = {}
    alert: Alert | None = None
    alarming_at: int = 0  # end of the last minute that looked unusual while the alert was open, UTC ms

    @property
    def open(self) -> bool:
        return self.alert is not None and self.alert.resolved_at is None

    def seed(self, alert: Alert) -> None:
        """An alert that was open before this state was lost. An alert already known is not put back."""
        if self.alert is None or self.alert.opened_at < alert.opened_at:
            self.alert = alert
            self.alarming_at = max(self.alarming_at, alert.opened_at)

    def receive(self, buckets: Iterable[AbandonmentBucket], now: int, rules: AlertRules) -> Alert | None:
        """What to tell now, at `now` (UTC ms) by the live clock: an alert that opened or resolved, or None.

        Minutes before `now` − `recent_ms` or ahead of `now` open nothing: who loads history pages nobody.
        """
        oldest = now - rules.recent_ms - rules.window_minutes * MINUTE_MS
        changed = []
        for bucket in buckets:
            known = self.buckets.get(bucket.minute)
            if oldest <= bucket.minute <= now and (known is None or known.version <= bucket.version):
                self.buckets[bucket.minute] = bucket
                changed.append(bucket.minute)
        for minute in [minute for minute in self.buckets if minute < oldest]:
            del self.buckets[minute]
        if self.alert is not None and self.alert.resolved_at is None:
            return self._resolve_if_calm(self.alert, now, rules)
        return self._open_if_unusual(changed, now, rules)

    def _open_if_unusual(self, changed: list[int], now: int, rules: AlertRules) -> Alert | None:
        if not changed:
            return None
        # an alert that resolved must not open again by the minutes that opened it
        settled = (
            self.alert.resolved_at if self.alert is not None and self.alert.resolved_at is not None else 0
        )
        oldest = max(now - rules.recent_ms, settled)
        ends = [minute for minute in self.buckets if minute >= max(min(changed), oldest)]
        unusual = [
            evidence
            for end in sorted(ends)
            for evidence in self._windows(end, rules, oldest=settled)
            if evidence.attempts >= rules.minimum_attempts
            and evidence.abandoned >= rules.minimum_abandoned
            and evidence.probability < rules.threshold
        ]
        if not unusual:
            return None
        first = min(evidence.end for evidence in unusual)
        evidence = min((e for e in unusual if e.end == first), key=lambda e: e.probability)
        self.alert = self._alert(evidence)
        self.alarming_at = max(e.end for e in unusual) + MINUTE_MS
        return self.alert

    def _resolve_if_calm(self, alert: Alert, now: int, rules: AlertRules) -> Alert | None:
        for minute in self.buckets:
            if minute + MINUTE_MS > self.alarming_at and self._looks_unusual(minute, rules):
                self.alarming_at = max(self.alarming_at, minute + MINUTE_MS)
        calm_since = max(self.alarming_at, alert.opened_at)
        # the current minute is still filling: it says nothing yet about calm
        if now - calm_since < (rules.calm_minutes + 1) * MINUTE_MS:
            return None
        seen = [bucket for minute, bucket in self.buckets.items() if minute >= calm_since]
        attempts = sum(b.completed + b.abandoned for b in seen)
        abandoned = sum(b.abandoned for b in seen)
        after = (
            f"{abandoned} of the {attempts} that ended since were abandoned"
            if attempts
            else "none has ended since"
        )
        self.alert = msgspec.structs.replace(
            alert,
            resolved_at=calm_since + rules.calm_minutes * MINUTE_MS,
            message=f"Resolved: {self.kind} abandonment on {self.channel} is as usual again ({after}).",
        )
        return self.alert

    def _looks_unusual(self, end: int, rules: AlertRules) -> bool:
        """Whether the window that ends with this minute, or this minute alone, is above the usual."""
        return any(
            evidence.abandoned >= 2 and evidence.probability < rules.calm_probability
            for evidence in self._windows(end, rules)
            if evidence.minutes <= 2
        )

    def _windows(self, end: int, rules: AlertRules, oldest: int = 0) -> Iterator[Evidence]:
        """The windows of 1, 2, … minutes that end with the minute `end` and begin where an attempt ended."""
        attempts = abandoned = 0
        expected = trials = 0.0
        for minutes in range(1, rules.window_minutes + 1):
            minute = end - (minutes - 1) * MINUTE_MS
            if minute < oldest:
                return
            bucket = self.buckets.get(minute)
            if bucket is None or not (ended := bucket.completed + bucket.abandoned):
                continue
            attempts += ended
            abandoned += bucket.abandoned
            expected += bucket.expected_rate * ended
            trials += min(bucket.expected_trials, rules.expected_trials_at_most) * ended
            rate = min(expected / attempts, 1.0)
            usual = abandoned <= rate * attempts  # the tail is long then, and says nothing
            yield Evidence(
                end=end,
                minutes=minutes,
                attempts=attempts,
                abandoned=abandoned,
                expected_rate=rate,
                probability=1.0 if usual else abandonment_tail(abandoned, attempts, rate, trials / attempts),
            )

    def _alert(self, evidence: Evidence) -> Alert:
        observed = evidence.abandoned / evidence.attempts
        minutes = "last minute" if evidence.minutes == 1 else f"last {evidence.minutes} minutes"
        return Alert(
            id=f"abandonment:{self.kind}:{self.channel}:{evidence.end}",
            kind=self.kind,
            channel=self.channel,
            opened_at=evidence.end + MINUTE_MS,
            observed_rate=observed,
            expected_rate=evidence.expected_rate,
            attempts=evidence.attempts,
            abandoned=evidence.abandoned,
            probability=evidence.probability,
            window_ms=evidence.minutes * MINUTE_MS,
            message=(
                f"{self.kind} abandonment on {self.channel}: {evidence.abandoned} of the {evidence.attempts} "
                f"attempts that ended in the {minutes} were abandoned ({observed:.0%}; this hour usually has "
                f"{evidence.expected_rate:.0%}). {_odds(evidence.probability)}"
            ),
        )


def _odds(probability: float) -> str:
    """A probability as a person on call reads it."""
    if probability <= 1e-12:
        return "By luck this is less likely than 1 in a million million."
    return (
        f"By luck this is 1 in {float(f'{1 / probability:.2g}'):,.0f}."  # more digits would promise too much
    )


class Abandonment(msgspec.Struct, array_like=True):
    """One record of `journeys.abandonment`, keyed by `abandonment_key`: one kind on one channel.

    No buckets and no alerts: time has passed. `open_alerts`: seeds, after the alert agent's memory was lost.
    """

    kind: str
    channel: str
    buckets: list[AbandonmentBucket] = []
    open_alerts: list[Alert] = []


def abandonment_key(kind: str, channel: str) -> str:
    """Routing key of a kind on a channel."""
    return f"{kind}:{channel}"
