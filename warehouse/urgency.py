"""Who gets processor time first where all parts share a machine."""

import contextlib
import os
from pathlib import Path

LEAST_URGENT = 19
BEHIND_STITCHING = 5
"""A third of the share of who does not: stitching is one thread, and what comes behind waits for it anyway."""


def stand_back(niceness: int) -> None:
    """From now on this process stands behind others by so much niceness.

    Linux gives every session its share first: in a process that leads one of its own the niceness of the session
    counts (`man 7 sched`, autogroup).
    """
    os.nice(niceness)
    if os.getsid(0) == os.getpid():  # or a whole terminal would stand back
        with contextlib.suppress(OSError):  # only Linux, and not each
            Path("/proc/self/autogroup").write_text(str(niceness))
