"""SQL of an interval of 95 % of a median: two of the values themselves, as in `statistics.quantile_interval`."""

LOW = "toInt64(round(length(times) / 2 - 0.98 * sqrt(length(times))))"
"""Which of `times`, in order, the interval begins with, from 1, and ends with, from the end; 0: there are too few.

Source: W. J. Conover, Practical Nonparametric Statistics, 3rd ed. (1999), 3.2, for many. Of few, too, it is the exact
one or one place wider.
"""


def median_bounds(keys: str, values: str, rows: str) -> str:
    """A row per value of `keys` with enough `values` in `rows` (what stands after `from`): the keys, lo, hi."""
    return (
        f"select {keys}, times[low] as lo, times[-low] as hi from ("  # noqa: S608  names are ours
        f"select {keys}, arraySort(groupArray({values})) as times, {LOW} as low from {rows} group by {keys}"
        ") where low > 0"
    )
