"""By how much one sample lies beyond another: the Hodges–Lehmann estimate and its interval."""

from collections.abc import Sequence
from math import sqrt

import numpy as np


def shift(a: Sequence[float], b: Sequence[float], *, z: float = 1.96) -> tuple[float, float, float]:
    """The median difference of one of b less one of a, with the interval that belongs to the Mann–Whitney test:
    (estimate, low, high), 95 % by default. ValueError if one of them is empty.

    Source: M. Hollander, D. Wolfe, Nonparametric Statistical Methods (1999), 4.2 and 4.3, for large samples.
    """
    if not len(a) or not len(b):
        raise ValueError("nothing can be said of an empty sample")
    differences = np.sort(
        np.subtract.outer(np.asarray(b, dtype="float64"), np.asarray(a, dtype="float64")), axis=None
    )
    pairs = len(differences)
    reach = pairs / 2 - z * sqrt(pairs * (len(a) + len(b) + 1) / 12)
    place = max(0, int(reach))
    return float(np.median(differences)), float(differences[place]), float(differences[pairs - 1 - place])
