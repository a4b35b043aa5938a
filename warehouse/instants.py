"""Instants as people write them in a question."""

from datetime import UTC, datetime, timedelta

from warehouse.answer import QuestionError

_UNITS = {"h": "hours", "d": "days", "w": "weeks", "m": "minutes"}


def instant(text: str) -> datetime:
    """A day (`2026-11-02`), a time (`2026-11-02T13:00`), or so long ago (`7d`, `12h`, `30m`).

    Without a zone in it a day or time is returned without one: it is meant in the question's time zone.
    QuestionError if it is none of these.
    """
    try:
        if text[:-1].isdigit() and text[-1] in _UNITS:
            return datetime.now(UTC) - timedelta(**{_UNITS[text[-1]]: int(text[:-1])})
        return datetime.fromisoformat(text.strip())
    except (ValueError, OverflowError, IndexError):
        raise QuestionError(
            f'"{text}" is no time', remedy="Write 2026-11-02, 2026-11-02T13:00, or 7d for so long ago."
        ) from None
