"""How our processes log: one line per fact on stderr, instants in UTC."""

import logging
import time
from pathlib import Path

_OURS = ("models", "ingest", "streams", "warehouse", "dashboards", "desireline")


def log_to_stderr(level: str) -> None:
    """Log from `level` on; the libraries below us from WARNING on, since they tell of each of their steps."""
    _log_to(logging.StreamHandler(), level)


def log_to_file(path: Path, level: str) -> None:
    """The same into a file, for a process whose terminal belongs to its user."""
    _log_to(logging.FileHandler(path), level)


def _log_to(handler: logging.Handler, level: str) -> None:
    formatter = logging.Formatter(
        "%(asctime)s.%(msecs)03dZ %(levelname)s %(name)s: %(message)s", "%Y-%m-%dT%H:%M:%S"
    )
    formatter.converter = time.gmtime
    handler.setFormatter(formatter)
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(max(logging.WARNING, logging.getLevelNamesMapping()[level.upper()]))
    for ours in _OURS:
        logging.getLogger(ours).setLevel(level.upper())
