"""Funnels the slow and obvious way, from the counting rules: every way to walk the steps is tried.

Knows nothing of SQL, of the order in which ClickHouse keeps rows, and shares no line with `warehouse`.
"""

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from datetime import date, datetime, timedelta
from statistics import mean, quantiles
from typing import Any
from zoneinfo import ZoneInfo

Takes = Callable[[Any], bool]
NEVER = 1 << 60


@dataclass(frozen=True)
class Step:
    """What takes it; whether a try may go on without it; at most and at least so long after the step before, ms."""

    takes: Takes
    optional: bool = False
    within: int = NEVER
    after: int = 0


@dataclass(frozen=True)
class Exclusion:
    """What spoils a try strictly between two steps, from 1; 0: the last."""

    takes: Takes
    first: int = 1
    last: int = 0


@dataclass(frozen=True)
class Asked:
    """A funnel: the window and the range of entries in ms; whose value: entry, last, every, or a step's number."""

    steps: Sequence[Step]
    window: int
    order: str = "ordered"
    exclude: Sequence[Exclusion] = ()
    since: int | None = None
    until: int | None = None
    by: Callable[[Any], str] | None = None
    value_of: str = "entry"


@dataclass(frozen=True)
class Counted:
    """How a unit is counted: when each step was taken up to its level (None: it went on without), open or not,
    value of the breakdown.
    """

    unit: str
    times: tuple[int | None, ...]
    open: bool
    value: str

    @property
    def level(self) -> int:
        return len(self.times)


@dataclass(frozen=True)
class Unit:
    """What is counted once."""

    name: str
    told: Sequence[Any] = field(default_factory=list)


def counted(units: Iterable[Unit], asked: Asked, watermark: int) -> list[Counted]:
    """How each is counted that is."""
    found = []
    for unit in units:
        for part in _parts(unit, asked):
            one = _counted(unit, part, watermark)
            if one is not None:
                found.append(one)
    return found


def _parts(unit: Unit, asked: Asked) -> Iterator[Asked]:
    """Where every step is to have one value, the funnel of each value; else the funnel."""
    if asked.by is None or asked.value_of != "every":
        yield asked
        return
    for value in sorted({asked.by(t) for t in unit.told if any(step.takes(t) for step in asked.steps)}):
        yield replace(asked, steps=[_having(value, step, asked.by) for step in asked.steps])


def _having(value: str, step: Step, by: Callable[[Any], str]) -> Step:
    return replace(step, takes=lambda t: by(t) == value and step.takes(t))


def _counted(unit: Unit, asked: Asked, watermark: int) -> Counted | None:
    touchpoints = sorted(unit.told, key=lambda t: (t.at, t.id))
    runs = list({"ordered": _ordered, "strict": _strict, "any": _any}[asked.order](touchpoints, asked))
    if not runs:
        return None
    last = len(asked.steps)

    def spoiled(run: tuple[Any, ...]) -> bool:
        for one in asked.exclude:
            if len(run) >= one.first:
                begun = run[one.first - 1].at
                ends = one.last or last
                ended = run[ends - 1].at if len(run) >= ends else run[0].at + asked.window
                if any(begun < t.at < ended for t in touchpoints if one.takes(t)):
                    return True
        return False

    if asked.order == "any":
        runs = [run for run in runs if not spoiled(run)]
        deepest = max(map(len, runs), default=0)
        best = [run for run in runs if len(run) == deepest]
    else:
        deepest = max(map(len, runs))
        best = [run for run in runs if len(run) == deepest and not spoiled(run)]
    if not best:
        return None
    # the try that was completed first, begun as late as that allows, each step taken as early as possible
    chosen = min(best, key=lambda run: (run[-1].at, -run[0].at, [NEVER if t is None else t.at for t in run]))
    times = tuple(None if t is None else t.at for t in chosen)
    entries = [t for t in touchpoints if _enters(t, asked)]
    still = deepest < last and max(t.at for t in entries) + asked.window >= watermark
    return Counted(unit.name, times, still, _value(touchpoints, times, asked))


def _value(touchpoints: Sequence[Any], times: tuple[int | None, ...], asked: Asked) -> str:
    if asked.by is None:
        return ""
    place = {"entry": 1, "every": 1, "last": len(times)}.get(asked.value_of) or int(asked.value_of)
    if place > len(times) or times[place - 1] is None:
        return f"(step {place} not reached)"
    steps = asked.steps if asked.order == "any" else [asked.steps[place - 1]]
    there = [t for t in touchpoints if t.at == times[place - 1] and any(step.takes(t) for step in steps)]
    return min(asked.by(t) for t in there)


def levels(there: Sequence[Counted], steps: Sequence[Step]) -> list[dict[str, Any]]:
    """Per step: count, open, lost, rates over the decided, times in s since the step taken before."""
    rows: list[dict[str, Any]] = []
    last = len(steps)
    for k in range(1, last + 1):
        took = [one for one in there if one.level >= k and one.times[k - 1] is not None]
        required = max((n for n in range(1, k) if not steps[n - 1].optional), default=0)
        decided = len(there) - sum(one.open and one.level < k for one in there)
        before = sum(one.level >= required for one in there) - sum(
            one.open and required <= one.level < k for one in there
        )
        gaps = [_since_before(one.times, k) for one in took] if k > 1 else []
        rows.append(
            {
                "step": k,
                "count": len(took),
                "open": sum(one.open and one.level == k for one in there),
                "lost": sum(not one.open and one.level == k < last for one in there),
                "rate": len(took) / decided if decided else None,
                "rate_from_previous": (len(took) / before if before else None) if k > 1 else None,
                **times(gaps),
            }
        )
    return rows


def times(gaps: Sequence[int]) -> dict[str, float | None]:
    """Median, mean, p10, p90 in s."""
    if not gaps:
        return dict.fromkeys(("median_s", "mean_s", "p10_s", "p90_s"))
    tenths = quantiles(gaps, n=10, method="inclusive") if len(gaps) > 1 else [gaps[0]] * 9
    return {
        "median_s": tenths[4] / 1000,
        "mean_s": mean(gaps) / 1000,
        "p10_s": tenths[0] / 1000,
        "p90_s": tenths[8] / 1000,
    }


def _since_before(times: tuple[int | None, ...], k: int) -> int:
    at, before = times[k - 1], max(one for one in times[: k - 1] if one is not None)
    assert at is not None
    return at - before


def trend(there: Sequence[Counted], last: int, length: str, zone: ZoneInfo) -> dict[datetime, list[int]]:
    """Beginning of the bucket: entered, converted, open."""
    of: defaultdict[datetime, list[int]] = defaultdict(lambda: [0, 0, 0])
    for one in there:
        assert one.times[0] is not None
        bucket = of[_bucket(datetime.fromtimestamp(one.times[0] / 1000, zone), length)]
        for n, counts in enumerate((True, one.level == last, one.open)):
            bucket[n] += counts
    return dict(of)


def _bucket(at: datetime, length: str) -> datetime:
    if length == "hour":
        return at.replace(minute=0, second=0, microsecond=0)
    day = date(at.year, at.month, at.day)
    if length == "week":
        day -= timedelta(days=day.weekday())
    return datetime(day.year, day.month, day.day, tzinfo=at.tzinfo)


def _enters(t: Any, asked: Asked) -> bool:
    steps = asked.steps if asked.order == "any" else asked.steps[:1]
    return (
        any(step.takes(t) for step in steps)
        and (asked.since is None or t.at >= asked.since)
        and (asked.until is None or t.at < asked.until)
    )


def _in_time(t: Any, run: tuple[Any, ...], step: Step, asked: Asked) -> bool:
    before = _latest(run)
    return bool(
        before <= t.at <= run[0].at + asked.window and before + step.after <= t.at <= before + step.within
    )


def _alike(touchpoints: list[Any], asked: Asked) -> list[list[Any]]:
    """Together what is of one time and takes the same steps: no rule tells which of them a try takes."""
    alike: defaultdict[tuple[Any, ...], list[Any]] = defaultdict(list)
    for t in touchpoints:
        alike[t.at, *(step.takes(t) for step in asked.steps)].append(t)
    return list(alike.values())


def _one_of_each(groups: list[list[Any]], run: tuple[Any, ...], window: int) -> Iterator[Any]:
    """Of each group one that the try has not taken yet, from the step it took last to the end of the window."""
    since, until = _latest(run), run[0].at + window
    for alike in groups:
        at = alike[0].at
        if since < at <= until:
            yield alike[0]
        elif at == since:
            yield from [t for t in alike if not any(t is taken for taken in run)][:1]


def _latest(run: tuple[Any, ...]) -> int:
    """When the try took its last step."""
    return next(int(t.at) for t in reversed(run) if t is not None)


def _ordered(touchpoints: list[Any], asked: Asked) -> Iterator[tuple[Any, ...]]:
    groups = _alike(touchpoints, asked)
    taking = [[alike for alike in groups if step.takes(alike[0])] for step in asked.steps]

    def onward(run: tuple[Any, ...]) -> Iterator[tuple[Any, ...]]:
        if run[-1] is not None:
            yield run
        if len(run) < len(asked.steps):
            step = asked.steps[len(run)]
            for t in _one_of_each(taking[len(run)], run, asked.window):
                if _in_time(t, run, step, asked):
                    yield from onward((*run, t))
            if step.optional:
                yield from onward((*run, None))

    for t, *_ in taking[0]:
        if _enters(t, asked):
            yield from onward((t,))


def _strict(touchpoints: list[Any], asked: Asked) -> Iterator[tuple[Any, ...]]:
    def onward(run: tuple[Any, ...], place: int) -> Iterator[tuple[Any, ...]]:
        if run[-1] is not None:
            yield run
        if len(run) < len(asked.steps) and place < len(touchpoints):
            step, t = asked.steps[len(run)], touchpoints[place]
            if step.takes(t) and _in_time(t, run, step, asked):
                yield from onward((*run, t), place + 1)
            if step.optional:
                yield from onward((*run, None), place)

    for place, t in enumerate(touchpoints):
        if _enters(t, asked):
            yield from onward((t,), place + 1)


def _any(touchpoints: list[Any], asked: Asked) -> Iterator[tuple[Any, ...]]:
    groups = _alike(touchpoints, asked)

    def onward(run: tuple[Any, ...], left: frozenset[int]) -> Iterator[tuple[Any, ...]]:
        yield run
        for t in _one_of_each(groups, run, asked.window):
            for step in left:
                if asked.steps[step].takes(t):
                    yield from onward((*run, t), left - {step})

    everything = frozenset(range(len(asked.steps)))
    for t, *_ in groups:
        if _enters(t, asked):
            for step in everything:
                if asked.steps[step].takes(t):
                    yield from onward((t,), everything - {step})
