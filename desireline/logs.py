"""How our processes log: one line per fact on stderr, instants in UTC."""

import logging
import time


def log_to_stderr(level: str) -> None:
    """Log from `level` on; the libraries below us from WARNING on, since they tell of each of their steps."""
    formatter = logging.Formatter(
        "%(asctime)s.%(msecs)03dZ %(levelname)s %(name)s: %(message)s", "%Y-%m-%dT%H:%M:%S"
    )
    formatter.converter = time.gmtime
    handler = logging.StreamHandler()
    handler.setFormatter(formatter)
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(max(logging.WARNING, logging.getLevelNamesMapping()[level.upper()]))
    for ours in ("models", "ingest", "streams", "warehouse", "dashboards", "desireline"):
        logging.getLogger(ours).setLevel(level.upper())
