"""Funnels the slow and obvious way, from the counting rules: every way to walk the steps is tried.

Knows nothing of SQL, of the order in which ClickHouse keeps rows, and shares no line with `warehouse`.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from statistics import median
from typing import Any

Takes = Callable[[Any], bool]


@dataclass(frozen=True)
class Asked:
    """A funnel: what takes each step and what is excluded, the window in ms, the range of entries in ms."""

    steps: Sequence[Takes]
    window: int
    order: str = "ordered"
    exclude: Takes | None = None
    since: int | None = None
    until: int | None = None
    by: Callable[[Any], str] | None = None


@dataclass(frozen=True)
class Counted:
    """How a customer is counted: level, when each step was reached, open or not, value of the breakdown."""

    level: int
    times: tuple[int, ...]
    open: bool
    value: str


def counted(told: Iterable[Any], asked: Asked, watermark: int) -> Counted | None:
    """How one customer is counted; None: not at all."""
    touchpoints = sorted(told, key=lambda t: (t.at, t.id))
    runs = list({"ordered": _ordered, "strict": _strict, "any": _any}[asked.order](touchpoints, asked))
    if not runs:
        return None
    last = len(asked.steps)
    excluded = [t.at for t in touchpoints if asked.exclude and asked.exclude(t)]

    def spoiled(run: tuple[Any, ...]) -> bool:
        end = run[-1].at if len(run) == last else run[0].at + asked.window
        return any(run[0].at < at < end for at in excluded)

    if asked.order == "any":
        runs = [run for run in runs if not spoiled(run)]
        deepest = max((len(run) for run in runs), default=0)
        best = [run for run in runs if len(run) == deepest]
    else:
        deepest = max(map(len, runs))
        best = [run for run in runs if len(run) == deepest and not spoiled(run)]
    if not best:
        return None
    # the try that was completed first, begun as late as that allows, each step taken as early as possible
    chosen = min(best, key=lambda run: (run[-1].at, -run[0].at, [t.at for t in run]))
    times = tuple(t.at for t in chosen)
    entries = [t for t in touchpoints if _enters(t, asked)]
    value = min(asked.by(t) for t in entries if t.at == times[0]) if asked.by else ""
    still = deepest < last and max(t.at for t in entries) + asked.window >= watermark
    return Counted(deepest, times, still, value)


def levels(customers: Iterable[Counted | None], steps: int) -> list[dict[str, Any]]:
    """Per step: count, open, lost, rates over the decided, median in s from the step before."""
    there = [one for one in customers if one is not None]
    rows: list[dict[str, Any]] = []
    for k in range(1, steps + 1):
        count = sum(one.level >= k for one in there)
        undecided = sum(one.open and one.level < k for one in there)
        decided = sum(one.level >= 1 for one in there) - undecided
        before = sum(one.level >= k - 1 for one in there) - sum(
            one.open and one.level == k - 1 for one in there
        )
        gaps = [one.times[k - 1] - one.times[k - 2] for one in there if one.level >= k] if k > 1 else []
        rows.append(
            {
                "step": k,
                "count": count,
                "open": sum(one.open and one.level == k for one in there),
                "lost": sum(not one.open and one.level == k < steps for one in there),
                "rate": count / decided if decided else None,
                "rate_from_previous": (count / before if before else None) if k > 1 else None,
                "median_s": median(gaps) / 1000 if gaps else None,
            }
        )
    return rows


def _enters(t: Any, asked: Asked) -> bool:
    begins = any(step(t) for step in asked.steps) if asked.order == "any" else asked.steps[0](t)
    return (
        begins
        and (asked.since is None or t.at >= asked.since)
        and (asked.until is None or t.at < asked.until)
    )


def _ordered(touchpoints: list[Any], asked: Asked) -> Iterator[tuple[Any, ...]]:
    def onward(run: tuple[Any, ...]) -> Iterator[tuple[Any, ...]]:
        yield run
        if len(run) < len(asked.steps):
            for t in touchpoints:
                if (
                    not any(t is taken for taken in run)
                    and asked.steps[len(run)](t)
                    and run[-1].at <= t.at <= run[0].at + asked.window
                ):
                    yield from onward((*run, t))

    for t in touchpoints:
        if _enters(t, asked):
            yield from onward((t,))


def _strict(touchpoints: list[Any], asked: Asked) -> Iterator[tuple[Any, ...]]:
    for place, t in enumerate(touchpoints):
        if _enters(t, asked):
            run: tuple[Any, ...] = (t,)
            yield run
            for following in touchpoints[place + 1 : place + len(asked.steps)]:
                if not asked.steps[len(run)](following) or following.at > t.at + asked.window:
                    break
                run = (*run, following)
                yield run


def _any(touchpoints: list[Any], asked: Asked) -> Iterator[tuple[Any, ...]]:
    def onward(run: tuple[Any, ...], left: frozenset[int]) -> Iterator[tuple[Any, ...]]:
        yield run
        for t in touchpoints:
            if not any(t is taken for taken in run) and run[-1].at <= t.at <= run[0].at + asked.window:
                for step in left:
                    if asked.steps[step](t):
                        yield from onward((*run, t), left - {step})

    everything = frozenset(range(len(asked.steps)))
    for t in touchpoints:
        if _enters(t, asked):
            for step in everything:
                if asked.steps[step](t):
                    yield from onward((t,), everything - {step})
