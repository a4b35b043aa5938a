"""The paved path: the order of steps that the company wants, and how far from it a journey really went.

Journey and path are laid beside each other so that they differ as little as they can. Each touchpoint walks a
step, stays on the step that was walked before it, or is a detour; each step is walked, or missed unless it is
optional. The distance is the number of detours and of missed steps; of several ways to lay them that differ
equally little, the one that walks most steps counts. (Process mining calls this the cost of an optimal
alignment: A. Adriansyah, Aligning Observed and Modeled Behavior, 2014.)

A journey carries one column for this: for every number of steps left behind, the least that it cost so far, as
one number, (detours and missed steps) * _APART - steps walked. A touchpoint moves the column on at a cost that
depends on the path's length and not on the journey's.
"""

from array import array
from collections.abc import Sequence
from itertools import accumulate

import msgspec

_APART = 1 << 16  # more than any number of steps


class PavedStep(msgspec.Struct, frozen=True):
    """What walks one step: a touchpoint of one of these types, or in one of these phases."""

    types: frozenset[str]
    phases: frozenset[str] = frozenset()
    optional: bool = False


class PavedPath(msgspec.Struct, frozen=True):
    """The steps in the order that is wanted; touchpoints of the types `passed_over` count neither way."""

    steps: tuple[PavedStep, ...] = ()
    passed_over: frozenset[str] = frozenset()

    def fits(self, type_: str, phase: str) -> tuple[int, ...] | None:
        """The steps that a touchpoint of this type and phase walks, counted from 1, the last one first.

        None: it is passed over.
        """
        if type_ in self.passed_over:
            return None
        numbered = enumerate(self.steps, start=1)
        fitting = [number for number, step in numbered if type_ in step.types or phase in step.phases]
        return tuple(reversed(fitting))

    @property
    def costs(self) -> tuple[int, ...]:
        """What leaving each step behind unwalked costs."""
        return tuple([0 if step.optional else _APART for step in self.steps])


def begin(costs: Sequence[int]) -> "array[int]":
    """The column of a journey that has no touchpoints yet.

    Its first entry is what it cost to walk no step at all, every touchpoint a detour; the others are less this,
    so that a touchpoint changes only those where it makes a difference.
    """
    return array("q", accumulate(costs, initial=0))


def advance(column: "array[int]", fits: Sequence[int], costs: Sequence[int]) -> None:
    """The next touchpoint comes, which walks the steps that `fits` says.

    Staying on a step that was missed needs no care: walking it now costs less and leads to the same place.
    """
    column[0] += _APART
    for step in fits:  # the last one first: each asks what its own step and the one before it cost until now
        stay, walk = column[step], (column[step - 1] if step > 1 else 0) - 1
        cost = (stay if stay < walk else walk) - _APART
        while cost < column[step]:
            column[step] = cost
            if step == len(costs):
                break
            cost += costs[step]
            step += 1


def distance_and_steps(column: "array[int]") -> tuple[int, int]:
    """Detours and missed steps of the journey so far, those still ahead included; and steps walked."""
    cost = column[0] + column[-1]
    distance = -(-cost // _APART)
    return distance, distance * _APART - cost
