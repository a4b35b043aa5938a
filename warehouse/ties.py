"""The counted try of one customer where touchpoints of one time could take several steps each.

Which of them takes which step is a matching, and depends on how far the try had come before; so it is found
for every entry on its own. What counts is the same as in `warehouse.tries`.
"""

from collections.abc import Iterable, Iterator, Sequence
from itertools import groupby

import msgspec

from warehouse.tries import STEP_BITS

_STEPS_TAKEN = (1 << STEP_BITS) - 1


class Rules(msgspec.Struct, frozen=True):
    """A funnel of `last` steps, in any order or in theirs. An entry e has since ≤ e < until; ms, UTC."""

    last: int
    window: int
    any_order: bool
    since: int
    until: int


class Counted(msgspec.Struct, frozen=True):
    """When the counted try reached each of its levels, and the latest entry; ms, UTC."""

    times: tuple[int, ...]
    latest_entry: int


def counted(keys: Iterable[int], excluded: Sequence[int], rules: Rules) -> Counted | None:
    """The try that a customer with these keys (see `tries.Customers`) is counted with; None: with none."""
    touchpoints = sorted((key >> STEP_BITS, key & _STEPS_TAKEN) for key in keys)
    begins = _STEPS_TAKEN if rules.any_order else 1
    entries = {at for at, taken in touchpoints if taken & begins and rules.since <= at < rules.until}
    tries: list[tuple[tuple[int, ...], bool]] = []
    for entry in entries:
        coming = [(at, taken) for at, taken in touchpoints if entry <= at <= entry + rules.window]
        walk = _in_any_order(coming, rules.last) if rules.any_order else _in_order(coming, rules.last)
        times = tuple(walk)
        end = times[-1] if len(times) == rules.last else entry + rules.window
        tries.append((times, any(entry < at < end for at in excluded)))
    if rules.any_order:
        tries = [one for one in tries if not one[1]]
    deepest = max((len(times) for times, _ in tries), default=0)
    best = [times for times, spoiled in tries if len(times) == deepest and not spoiled]
    if not best:
        return None
    return Counted(min(best, key=lambda times: (times[-1], -times[0])), max(entries))


def _in_order(touchpoints: Sequence[tuple[int, int]], last: int) -> Iterator[int]:
    """When each step is reached. To be further is never worse, so each instant is used as far as it goes."""
    level = 0
    for at, of in groupby(touchpoints, key=lambda t: t[0]):
        here = [taken for _, taken in of]
        holder: dict[int, int] = {}  # touchpoint of this instant -> the step it takes
        while level < last and _matched(level, here, holder, set()):
            level += 1
            yield at


def _in_any_order(touchpoints: Sequence[tuple[int, int]], last: int) -> Iterator[int]:
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
