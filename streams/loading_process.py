"""Loading in a process of its own: rows are made there while households are stitched here.

Both are Python at work all the time, and in one process only one of the two would be at a time.
"""

import os
import signal
import threading
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from multiprocessing import connection, get_context, parent_process

from models.alerts import Abandonment
from models.errors import DesirelineError
from warehouse.loading import Group, Loading
from warehouse.rows import Unloadable
from warehouse.urgency import BEHIND_STITCHING, stand_back


class LoadingProcessEnded(DesirelineError):
    """The process that loads is gone. What it did not finish is read and loaded again by the next worker."""


class LoadingProcess:
    """A `Loading` that is at work in a process of its own; it ends with this one, however that ends.

    Not for several threads at once. Beside the errors of `Loading`: LoadingProcessEnded.
    """

    def __init__(self, warehouse_url: str, phases: Sequence[str]) -> None:
        self._pool = ProcessPoolExecutor(
            1, mp_context=get_context("spawn"), initializer=_begin, initargs=(warehouse_url, tuple(phases))
        )
        self._pool.submit(_pid)  # it takes a second to import all that it needs

    @property
    def pid(self) -> int:
        """Of the process."""
        return self._pool.submit(_pid).result()

    def write(self, group: Group, now: int) -> list[Unloadable]:
        """`Loading.write`."""
        try:
            return self._pool.submit(_write, group, now).result()
        except BrokenProcessPool as error:
            raise _ended() from error

    def settle(self, now: int) -> list[Abandonment]:
        """`Loading.settle`."""
        try:
            return self._pool.submit(_settle, now).result()
        except BrokenProcessPool as error:
            raise _ended() from error

    def close(self) -> None:
        """Let it end once it has done what it is at."""
        self._pool.shutdown(wait=False, cancel_futures=True)


def _ended() -> LoadingProcessEnded:
    return LoadingProcessEnded(
        "the process that loads into the warehouse is gone",
        remedy="Nothing is lost: the worker starts again and loads what was not finished.",
    )


# --- in that process ---

_loading: Loading


def _begin(warehouse_url: str, phases: Sequence[str]) -> None:
    global _loading  # what is called here by its name finds nothing else
    os.setsid()  # in the session of the worker the two would share what one gets
    stand_back(BEHIND_STITCHING)
    # who ends all processes of the worker means the worker, which has this one finish
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_end_with_the_worker, daemon=True).start()
    _loading = Loading(warehouse_url, phases)


def _end_with_the_worker() -> None:
    worker = parent_process()
    if worker is not None:
        connection.wait([worker.sentinel])
        os._exit(1)


def _pid() -> int:
    return os.getpid()


def _write(group: Group, now: int) -> list[Unloadable]:
    return _loading.write(group, now)


def _settle(now: int) -> list[Abandonment]:
    return _loading.settle(now)
