"""Times as senders write them, to UTC milliseconds."""

from datetime import UTC, datetime, timedelta

from ingest.rejection import NotTaken

EARLIEST_AT = 946_684_800_000
"""2000-01-01: a time before it is a fault of the sender's clock."""
MOST_AHEAD_MS = 86_400_000

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MILLISECOND = timedelta(milliseconds=1)


def instant(value: object, field: str) -> int:
    """UTC ms of an RFC 3339 text (no offset: UTC) or of a number of ms. NotTaken `bad_timestamp` names the
    field.
    """
    if isinstance(value, int | float) and not isinstance(value, bool):
        if not abs(value) < 1e15:
            raise NotTaken("timestamp_out_of_range", f"{field} is no time in ms")
        return int(value)
    if isinstance(value, str):
        try:
            at = datetime.fromisoformat(value)
            return ((at if at.tzinfo else at.replace(tzinfo=UTC)) - _EPOCH) // _MILLISECOND
        except (ValueError, OverflowError):
            pass
    shown = f'"{value[:60]}"' if isinstance(value, str) else type(value).__name__
    raise NotTaken("bad_timestamp", f"{field} is {shown}; write RFC 3339, e.g. 2026-03-05T09:30:00Z")


def _said(at: int) -> str:
    try:
        return (_EPOCH + at * _MILLISECOND).isoformat(timespec="seconds").replace("+00:00", "Z")
    except OverflowError:
        return f"{at} ms after 1970"


def in_range(at: int, received_at: int, field: str) -> int:
    """`at` if it can be true. NotTaken `timestamp_out_of_range` before 2000 or over a day ahead of us."""
    if at < EARLIEST_AT or at > received_at + MOST_AHEAD_MS:
        raise NotTaken(
            "timestamp_out_of_range",
            f"{field} is {_said(at)}; between 2000 and 24 h ahead of {_said(received_at)} is taken",
        )
    return at
