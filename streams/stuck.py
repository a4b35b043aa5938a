"""A worker that cannot go on without harm says why, and is gone within seconds."""

import logging
import os
import threading

from models.errors import DesirelineError

log = logging.getLogger(__name__)

_ENDS_WITHIN_S = 10.0


class WorkerStuck(DesirelineError):
    """The worker cannot go on without harm and must be started again."""


def end_for_sure(error: BaseException) -> None:
    """After this error be gone within seconds also where stopping hangs, as it does on a commit that never returns.

    What was not committed is read again, as after any other death.
    """

    def end() -> None:
        log.error("the worker does not stop by itself, and is ended: %s", error)
        os._exit(1)

    timer = threading.Timer(_ENDS_WITHIN_S, end)
    timer.daemon = True
    timer.start()
