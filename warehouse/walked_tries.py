"""The counted try of what SQL cannot walk: see `warehouse.tries`. What counts is the same.

A try is followed from each entry through all that it could be at: which step it took last, in which instant and by
which of its touchpoints, and when it reached the steps from which something excluded spoils it. Which
touchpoints of one instant take which steps is left open until it matters; those that take the same are alike.
"""

from bisect import bisect_right
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence

import msgspec

from warehouse.tries import STEP_BITS, STEPS_TAKEN

_NEVER = 1 << 62


class Rule(msgspec.Struct, frozen=True):
    """What a step says of the one that was taken before; ms, None: no limit."""

    optional: bool = False
    within: int | None = None
    after: int | None = None


class Rules(msgspec.Struct, frozen=True):
    """A funnel of such steps, in any order or in theirs. An entry e has since ≤ e < until; ms, UTC.

    `spans`: the first and last step, from 0, between which each exclusion is looked for.
    """

    steps: tuple[Rule, ...]
    window: int
    any_order: bool
    since: int
    until: int
    spans: tuple[tuple[int, int], ...] = ()


class Walked(msgspec.Struct, frozen=True):
    """When the counted try took each step up to the last it reached (0: it went on without), and the latest
    entry; ms, UTC.
    """

    times: tuple[int, ...]
    latest_entry: int


def walk(keys: Iterable[int], outs: Iterable[int], rules: Rules) -> Walked | None:
    """The try that a unit with these keys (see `tries.Units`) is counted with; None: with none."""
    touchpoints = sorted((key >> STEP_BITS, key & STEPS_TAKEN) for key in keys)
    begins = STEPS_TAKEN if rules.any_order else 1
    entries = sorted({at for at, taken in touchpoints if taken & begins and rules.since <= at < rules.until})
    if not entries:
        return None
    excluded = sorted((key >> STEP_BITS, key & STEPS_TAKEN) for key in outs)
    if rules.any_order:
        times = _in_any_order(touchpoints, [at for at, _ in excluded], entries, rules)
    else:
        times = _in_order(touchpoints, excluded, entries, rules)
    return None if times is None else Walked(times, entries[-1])


def _in_order(
    touchpoints: Sequence[tuple[int, int]],
    excluded: Sequence[tuple[int, int]],
    entries: Sequence[int],
    rules: Rules,
) -> tuple[int, ...] | None:
    spoiling = [[at for at, met in excluded if met >> n & 1] for n in range(len(rules.spans))]
    last = len(rules.steps) - 1
    walks = [_Walk(touchpoints, entry, spoiling, rules) for entry in entries]
    deepest = -1
    for one in walks:
        if deepest < last:  # nothing is deeper than that
            deepest = max(deepest, one.deepest())
    completions = [(one.completed(deepest), -one.entry, one) for one in walks]
    completed, _, chosen = min(completions, key=lambda found: found[:2])
    return None if completed == _NEVER else chosen.earliest(deepest, completed)


class _State(msgspec.Struct, frozen=True):
    """Where a try is: the step it took last, when, what that instant's touchpoints it used take; and of each
    exclusion that it has come into, when: 0 for the others.
    """

    step: int
    at: int
    used: tuple[int, ...]
    since: tuple[int, ...]


class _Walk:
    """Every try from one entry."""

    def __init__(
        self,
        touchpoints: Sequence[tuple[int, int]],
        entry: int,
        spoiling: Sequence[Sequence[int]],
        rules: Rules,
    ) -> None:
        self.entry = entry
        self._end = entry + rules.window
        self._steps = rules.steps
        self._spans = rules.spans
        self._spoiling = spoiling
        self._instants: dict[int, Counter[int]] = {}
        for at, taken in touchpoints:
            if entry <= at <= self._end:
                self._instants.setdefault(at, Counter())[taken] += 1

    def deepest(self) -> int:
        """The furthest step that is reached, spoiled or not."""
        found = -1
        for state in self._all(spoilable=False):
            found = max(found, state.step)
            if found == len(self._steps) - 1:
                break
        return found

    def completed(self, deepest: int) -> int:
        """When a try that is not spoiled first reaches this step; `_NEVER`: none does."""
        ends = (state.at for state in self._all(spoilable=True) if self._ends(state, deepest))
        return min(ends, default=_NEVER)

    def earliest(self, deepest: int, completed: int) -> tuple[int, ...]:
        """The times of the one that does so then, and takes each step as early as it can, an optional one whenever
        it can. There must be one.

        What took the same steps at the same times may have left different touchpoints of an instant to the steps
        after: all of them are followed together.
        """
        ends: dict[_State, bool] = {}

        def onward(states: Iterable[_State]) -> set[_State]:
            return {
                following
                for state in states
                for following in self._onward(state, spoilable=True)
                if following.step <= deepest and following.at <= completed and completes(following)
            }

        def completes(state: _State) -> bool:
            if state not in ends:
                ends[state] = (state.at == completed and self._ends(state, deepest)) or bool(onward((state,)))
            return ends[state]

        there = {state for state in self._beginnings(spoilable=True) if completes(state)}
        times = [self.entry]
        while len(times) <= deepest:
            following = onward(there)
            step, at = min((state.step, state.at) for state in following)
            there = {state for state in following if (state.step, state.at) == (step, at)}
            times += [*[0] * (step - len(times)), at]
        return tuple(times)

    def _all(self, *, spoilable: bool) -> Iterator[_State]:
        seen = set(self._beginnings(spoilable=spoilable))
        coming = list(seen)
        while coming:
            state = coming.pop()
            yield state
            for following in self._onward(state, spoilable=spoilable):
                if following not in seen:
                    seen.add(following)
                    coming.append(following)

    def _beginnings(self, *, spoilable: bool) -> Iterator[_State]:
        nowhere = (0,) * len(self._spans)
        for taken in sorted(self._instants[self.entry]):
            if taken & 1:
                since = self._come_into(nowhere, 0, self.entry) if spoilable else nowhere
                yield _State(0, self.entry, (taken,), since)

    def _onward(self, state: _State, *, spoilable: bool) -> Iterator[_State]:
        """Where the try can be next, the nearer steps first, and of each the earlier times."""
        for step in range(state.step + 1, len(self._steps)):
            rule = self._steps[step]
            from_ = state.at + (rule.after or 0)
            until = self._end if rule.within is None else min(self._end, state.at + rule.within)
            for at, there in self._instants.items():
                if not from_ <= at <= until:
                    continue
                used = state.used if at == state.at else ()
                left = there - Counter(used) if used else there
                for taken in left:
                    if not taken >> step & 1:
                        continue
                    since = state.since
                    if spoilable:
                        if self._spoiled(since, at):
                            continue
                        since = self._come_into(since, step, at)
                    yield _State(step, at, tuple(sorted((*used, taken))), since)
            if not rule.optional:
                return

    def _come_into(self, since: tuple[int, ...], step: int, at: int) -> tuple[int, ...]:
        """The exclusions that the try is in after taking the step."""
        return tuple(
            0 if step >= last else at if step == first else before
            for before, (first, last) in zip(since, self._spans, strict=True)
        )

    def _spoiled(self, since: tuple[int, ...], at: int) -> bool:
        """Whether something excluded lies strictly between having come into an exclusion and this instant."""
        return any(
            begun and place < len(times) and times[place] < at
            for begun, times in zip(since, self._spoiling, strict=True)
            for place in [bisect_right(times, begun)]
        )

    def _ends(self, state: _State, deepest: int) -> bool:
        """Whether a try may count that goes no further: it is in no exclusion that is met before the window ends."""
        return state.step == deepest and not self._spoiled(state.since, self._end)


def _in_any_order(
    touchpoints: Sequence[tuple[int, int]], excluded: Sequence[int], entries: Sequence[int], rules: Rules
) -> tuple[int, ...] | None:
    last = len(rules.steps)
    tries = []
    for entry in entries:
        coming = [(at, taken) for at, taken in touchpoints if entry <= at <= entry + rules.window]
        times = tuple(_levels(coming, last))
        end = times[-1] if len(times) == last else entry + rules.window
        if not any(entry < at < end for at in excluded):
            tries.append(times)
    return min(tries, key=lambda times: (-len(times), times[-1], -times[0]), default=None)


def _levels(touchpoints: Sequence[tuple[int, int]], last: int) -> Iterator[int]:
    """When each level is reached: how many of the touchpoints so far can take a step each."""
    steps = [1 << step for step in range(last)]
    holder: dict[int, int] = {}  # step -> the touchpoint that takes it
    # seen from the steps a touchpoint is offered those that it takes
    for number, (at, _) in enumerate(touchpoints):
        offered = [
            sum(1 << n for n, (_, taken) in enumerate(touchpoints) if taken & step and n <= number)
            for step in steps
        ]
        if _matched(number, offered, holder, set()):
            yield at


def _matched(wanted: int, offers: Sequence[int], holder: dict[int, int], asked: set[int]) -> bool:
    """Give `wanted` an offer (bits: what it is good for); who holds it takes another one, if need be."""
    for place, good_for in enumerate(offers):
        if good_for >> wanted & 1 and place not in asked:
            asked.add(place)
            if place not in holder or _matched(holder[place], offers, holder, asked):
                holder[place] = wanted
                return True
    return False
