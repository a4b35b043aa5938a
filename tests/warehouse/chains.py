"""Paths for chains of touches, and a chain that is walked step by step instead of solved."""

from collections import Counter
from collections.abc import Sequence, Set

from hypothesis import strategies as st

from warehouse.removal_effect import CONVERSION, LOST, START, Chain

Path = tuple[list[int], bool]
"""Touches, and whether a conversion follows the last."""


def _numbered(paths: Sequence[Path]) -> list[Path]:
    numbers = {
        touch: n for n, touch in enumerate(sorted({touch for touches, _ in paths for touch in touches}))
    }
    return [([numbers[touch] for touch in touches], converted) for touches, converted in paths]


PATHS = st.lists(
    st.tuples(st.lists(st.integers(0, 4), min_size=1, max_size=5), st.booleans()), min_size=1, max_size=8
).map(_numbered)


def moves(paths: Sequence[Path]) -> Counter[tuple[int, int]]:
    """How often one came after the other."""
    return Counter(
        move
        for touches, converted in paths
        for move in zip([START, *touches], [*touches, CONVERSION if converted else LOST], strict=True)
    )


def chain_of(paths: Sequence[Path]) -> Chain:
    """The chain of these paths."""
    players = len({touch for touches, _ in paths for touch in touches})
    return Chain.counted(players, [(*move, times) for move, times in moves(paths).items()])


def chance(paths: Sequence[Path], allowed: Set[int]) -> float:
    """Of a conversion when paths end at whatever is not allowed: all chances are sent on until none is under way."""
    counted = moves(paths)
    leaving: Counter[int] = Counter()
    for (origin, _), times in counted.items():
        leaving[origin] += times
    under_way, converted = {START: 1.0}, 0.0
    while sum(under_way.values()) > 1e-12:
        coming: dict[int, float] = {}
        for (origin, to), times in counted.items():
            share = under_way.get(origin, 0.0) * times / leaving[origin]
            if to == CONVERSION:
                converted += share
            elif to in allowed:
                coming[to] = coming.get(to, 0.0) + share
        under_way = coming
    return converted
