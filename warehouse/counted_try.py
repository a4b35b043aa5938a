"""Which of a unit's tries counts; as SQL, over `ts`, its times, and `entry_k`: of each touchpoint the latest entry
from which it reaches step k, 0: from none.
"""

COMPLETED = (
    "arrayMin(arrayFilter((t, e) -> e > 0, ts, reached)) as completed,"
    " arrayMax(arrayFilter((e, t) -> t = completed, reached, ts)) as entry"
)
"""SQL over the columns of `deepest`: when the try that is completed first is so, and the latest entry it can have."""


def deepest(steps: int) -> str:
    """SQL of the columns `level`, the deepest that is reached, and `reached`, the `entry_k` of that level."""
    if steps == 1:
        return "1 as level, entry_1 as reached"
    levels = range(steps, 1, -1)
    level = ", ".join(f"arrayMax(entry_{k}) > 0, {k}" for k in levels)
    reached = ", ".join(f"arrayMax(entry_{k}) > 0, entry_{k}" for k in levels)
    return f"multiIf({level}, 1) as level, multiIf({reached}, entry_1) as reached"
