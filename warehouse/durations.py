"""Durations as people write them: `90s`, `30m`, `24h`, `7d`."""

import re

from warehouse.answer import QuestionError

_DURATION = re.compile(r"(?P<count>\d+(?:\.\d+)?)\s*(?P<unit>ms|s|m|min|h|d|w)")
_UNIT_MS = {
    "ms": 1,
    "s": 1_000,
    "m": 60_000,
    "min": 60_000,
    "h": 3_600_000,
    "d": 86_400_000,
    "w": 7 * 86_400_000,
}
_WRITTEN = ("d", "h", "m", "s", "ms")


def duration_ms(text: str) -> int:
    """Milliseconds of `30m`, `7d`, `90s`, `1.5h`. QuestionError if it is no duration, or none at all."""
    found = _DURATION.fullmatch(str(text).strip())
    if not found or float(found["count"]) <= 0:
        raise QuestionError(f'"{text}" is no duration', remedy="Write e.g. 90s, 30m, 24h, 7d.")
    return round(float(found["count"]) * _UNIT_MS[found["unit"]])


def duration(ms: int) -> str:
    """`2h` for 7,200,000."""
    unit = next(unit for unit in _WRITTEN if ms % _UNIT_MS[unit] == 0)
    return f"{ms // _UNIT_MS[unit]}{unit}"
