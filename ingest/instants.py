"""Times as senders write them, to UTC milliseconds."""

import re
from datetime import UTC, datetime

from ingest.rejection import NotTaken

EARLIEST_AT = 946_684_800_000  # 2000-01-01
MOST_AHEAD_MS = 86_400_000
_BELOW_MICROSECONDS = re.compile(r"(\.\d{6})\d+")


def instant(value: object, field: str) -> int:
    """UTC ms of an ISO 8601 text (no zone: UTC) or of a number of ms. NotTaken `bad_timestamp` names
    the field.
    """
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        raise NotTaken(
            "bad_timestamp", f"{field} is {type(value).__name__}; write RFC 3339, e.g. 2026-03-05T09:30:00Z"
        )
    if isinstance(value, int | float):
        if not abs(value) < 1e15:
            raise NotTaken("timestamp_out_of_range", f"{field} {value} is no time in ms")
        return int(value)
    try:
        at = datetime.fromisoformat(_BELOW_MICROSECONDS.sub(r"\1", value) if len(value) > 26 else value)
    except ValueError as error:
        raise NotTaken(
            "bad_timestamp", f'{field} "{value[:60]}" is no time; write RFC 3339, e.g. 2026-03-05T09:30:00Z'
        ) from error
    if at.tzinfo is None:
        at = at.replace(tzinfo=UTC)
    return round(at.timestamp() * 1000)


def in_range(at: int, received_at: int, field: str) -> int:
    """`at` if it can be true. NotTaken `timestamp_out_of_range` before 2000 or over a day ahead of us."""
    if at < EARLIEST_AT or at > received_at + MOST_AHEAD_MS:
        raise NotTaken(
            "timestamp_out_of_range",
            f"{field} {datetime.fromtimestamp(at / 1000, UTC).isoformat() if abs(at) < 2e14 else at}"
            " lies before 2000 or more than 24 h ahead",
        )
    return at
