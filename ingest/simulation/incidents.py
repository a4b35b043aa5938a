"""What goes wrong in simulated traffic when it is switched on: a kind and a window of event time."""

import re
from collections.abc import Mapping
from datetime import UTC, datetime
from difflib import get_close_matches

import msgspec

from models.errors import DesirelineError

KINDS: Mapping[str, str] = {
    "payment_outage": "cards are declined and the payment page shows errors",
    "checkout_bug": "checkouts are begun and end in an error instead of a purchase",
    "queue_jam": "callers wait for a long time, and nearly all of them hang up",
}
"""Every kind of incident, and what customers meet while it lasts."""

DEFAULT_DURATION_MS = 30 * 60_000

_UNITS_MS = {"s": 1_000, "m": 60_000, "h": 3_600_000, "d": 86_400_000}
_RELATIVE = re.compile(r"(?:now)?([+-]\d+)([smhd])")
_DURATION = re.compile(r"(\d+)([smhd])")


class IncidentError(DesirelineError):
    """An incident is not written as KIND@TIME."""


class Incident(msgspec.Struct, frozen=True):
    """`kind` of `KINDS`, from `start_at` until before `end_at`, UTC ms of event time."""

    kind: str
    start_at: int
    end_at: int


def parse_incident(text: str, now: int) -> Incident:
    """`KIND@TIME` or `KIND@TIME/DURATION`; `now` is UTC ms.

    TIME is `now`, relative to it (`+5m`, `-2h`), or ISO 8601 (UTC unless it says otherwise); DURATION is a
    number with s, m, h or d, 30m if left out. IncidentError says what is wrong with it.
    """
    name, at, rest = text.partition("@")
    kind = name.strip().lower().replace("-", "_")
    if kind not in KINDS:
        near = get_close_matches(kind, KINDS, n=1)
        remedy = f'Did you mean "{near[0]}"?' if near else f"The kinds are {', '.join(KINDS)}."
        raise IncidentError(f'incident "{name}" is not defined', remedy=remedy)
    time, slash, duration = rest.partition("/")
    if not at or not time:
        raise IncidentError(f'incident "{text}" has no time', remedy=f"Write {kind}@now or {kind}@+5m/30m.")
    start_at = _instant(time.strip(), now, text)
    return Incident(
        kind, start_at, start_at + (_duration(duration.strip(), text) if slash else DEFAULT_DURATION_MS)
    )


def _instant(text: str, now: int, whole: str) -> int:
    if text == "now":
        return now
    if match := _RELATIVE.fullmatch(text):
        return now + int(match[1]) * _UNITS_MS[match[2]]
    try:
        parsed = datetime.fromisoformat(text)
    except ValueError:
        raise IncidentError(
            f'the time "{text}" of incident "{whole}" is no time',
            remedy="Write now, +5m, -2h or 2026-03-01T10:00.",
        ) from None
    return int((parsed if parsed.tzinfo else parsed.replace(tzinfo=UTC)).timestamp() * 1000)


def _duration(text: str, whole: str) -> int:
    match = _DURATION.fullmatch(text)
    if match is None or not int(match[1]):
        raise IncidentError(
            f'the duration "{text}" of incident "{whole}" is no duration', remedy="Write 90s, 30m or 2h."
        )
    return int(match[1]) * _UNITS_MS[match[2]]
