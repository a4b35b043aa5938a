"""LZ4 at its fastest level.

aiokafka compresses at level 9 and knows no setting for it: on what a worker publishes that takes six times as
long as level 1, an eighth of the worker's CPU, for 3 % fewer bytes.
"""

import sys
from functools import partial

from aiokafka.codec import lz4_encode
from aiokafka.record import default_records

FASTEST = 1


def use_fastest_lz4() -> None:
    """From now on, for all producers of this process."""
    builder = default_records.DefaultRecordBatchBuilder  # written in C where that was built, else in Python
    sys.modules[builder.__module__].lz4_encode = partial(lz4_encode, level=FASTEST)  # type: ignore[attr-defined]
