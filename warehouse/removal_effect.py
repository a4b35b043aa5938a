"""How much would be lost if a touch led nowhere: paths as a chain in which the next touch depends on the last alone.

Source: E. Anderl, I. Becker, F. von Wangenheim, J. H. Schumann, Int. J. of Research in Marketing 33 (2016), 457–474.
"""

from collections.abc import Iterable

import msgspec
import numpy as np
from numpy.typing import NDArray

Numbers = NDArray[np.float64]
START, CONVERSION, LOST = -1, -2, -3
"""Where paths begin and end; touches count from 0."""


class Chain(msgspec.Struct, frozen=True):
    """Chances of a path: to begin with each touch, from each (row) to each (column), and to convert after each.

    What is missing to 1 in a row of `onward` and `converting` together is the chance to end without.
    """

    begins: Numbers  # n
    onward: Numbers  # n × n
    converting: Numbers  # n

    @classmethod
    def counted(cls, players: int, moves: Iterable[tuple[int, int, int]]) -> "Chain":
        """Of (from, to, how often) of whole paths, each from `START` by one touch at least to its end."""
        begins, onward, ends = np.zeros(players), np.zeros((players, players)), np.zeros((players, 2))
        for origin, to, times in moves:
            if origin == START:
                begins[to] += times
            elif to == CONVERSION:
                ends[origin, 0] += times
            elif to == LOST:
                ends[origin, 1] += times
            else:
                onward[origin, to] += times
        visits = np.maximum(onward.sum(axis=1) + ends.sum(axis=1), 1)
        paths = max(begins.sum(), 1)
        return cls(begins / paths, onward / visits[:, None], ends[:, 0] / visits)

    def chance(self) -> float:
        """Of a conversion: of the paths that were counted, the share that converted."""
        return float(self.begins @ self._visited() @ self.converting)

    def removal_effects(self) -> Numbers:
        """By how much the chance falls, of 1, when paths end without a conversion at a touch; n values.

        All are 0 where nothing converts.
        """
        visited = self._visited()
        before, after = self.begins @ visited, visited @ self.converting
        chance = float(before @ self.converting)
        # each that goes through a touch goes through it for a first time: expected visits over returns to it
        return before * after / np.diagonal(visited) / chance if chance else np.zeros(len(self.begins))

    def gains(self, order: NDArray[np.int64]) -> Numbers:
        """By how much the chance grows with each touch when those of `order` are let in one after the other.

        n values; 0 for who is not among them. Whoever meets a touch that is not in yet ends without. O(n³): the
        expected visits within those that are in are kept, and grow by one row and column with each.
        """
        gains = np.zeros(len(self.begins))
        visited = np.zeros((len(order), len(order)))
        for size, new in enumerate(order):
            old = order[:size]
            known = visited[:size, :size]
            into = known @ self.onward[old, new]  # from each that is in to the new one
            out = self.onward[new, old] @ known
            returns = 1 - self.onward[new, new] - out @ self.onward[old, new]
            comes = self.begins[new] + self.begins[old] @ into
            goes = self.converting[new] + out @ self.converting[old]
            gains[new] = comes * goes / returns
            known += np.outer(into, out) / returns
            visited[:size, size] = into / returns
            visited[size, :size] = out / returns
            visited[size, size] = 1 / returns
        return gains

    def _visited(self) -> Numbers:
        """Expected visits of each touch (column) from each (row)."""
        return np.asarray(np.linalg.inv(np.eye(len(self.begins)) - self.onward), dtype=np.float64)
