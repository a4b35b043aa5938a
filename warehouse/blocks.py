"""Blocks of customers, of which one after the other is left out to see how much a figure depends on who was there.

Whatever one customer did hangs together, so it is customers that are left out, not what happened.
Source: P. S. Kott, Journal of Official Statistics 17 (2001), 521–526 (the delete-a-group jackknife).
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from math import nan

import numpy as np

BLOCKS = 20
BLOCK = f"cityHash64(customer_id) % {BLOCKS}"
"""SQL: the block of a row's customer, from 0."""

_left_out: ContextVar[int | None] = ContextVar("left_out", default=None)


@contextmanager
def leaving_out(block: int) -> Iterator[None]:
    """What is asked meanwhile is asked of all customers but those of this block."""
    token = _left_out.set(block)
    try:
        yield
    finally:
        _left_out.reset(token)


def left_out() -> int | None:
    """The block that is left out; None: none is."""
    return _left_out.get()


def jackknife(whole: float, without: Sequence[float], *, confidence: float = 0.95) -> tuple[float, float]:
    """Confidence interval of a figure, (low, high), from what it is without one block each.

    NaN where it cannot be told without some block, and where none changes it: that says little of how it would.
    """
    from scipy.stats import t

    blocks = len(without)
    variance = (blocks - 1) / blocks * float(((np.array(without) - whole) ** 2).sum()) if blocks > 1 else nan
    if not variance > 0:
        return nan, nan
    reach = float(t.ppf((1 + confidence) / 2, blocks - 1)) * variance**0.5
    return whole - reach, whole + reach
