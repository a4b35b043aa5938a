"""Conversion the slow and obvious way: journey by journey, phase by phase, from the counting rules.

Knows nothing of SQL and shares no line with `warehouse`.
"""

from collections.abc import Callable, Iterable, Sequence
from datetime import timedelta
from typing import Any
from zoneinfo import ZoneInfo

Row = dict[str, Any]


def standing(written: Iterable[Row]) -> list[Row]:
    """Of each key the row of the greatest version, unless that is a tombstone."""
    latest: dict[Any, Row] = {}
    for row in written:
        key = row["started_on"], row["id"]
        if key not in latest or row["version"] > latest[key]["version"]:
            latest[key] = row
    return [row for row in latest.values() if not row.get("deleted")]


def key_of(by: str, zone: ZoneInfo) -> Callable[[Row], Any]:
    """What a journey is counted under."""

    def key(row: Row) -> Any:
        if by in ("day", "week"):
            day = row["started_at"].astimezone(zone).date()
            return day if by == "day" else day - timedelta(days=day.weekday())
        if by == "channel":
            return row["channels"][0]
        return row["campaign_first" if by == "campaign" else "persona"] or "(none)"

    return key


def counted(journeys: Iterable[Row], key: Callable[[Row], Any], phases: Sequence[str]) -> dict[Any, Row]:
    """The counts of each (key, phase) that a journey was in."""
    counts: dict[Any, Row] = {}
    for row in journeys:
        ended = row["closed"] or row["drop_off_at"] is not None
        for phase in phases:
            if phase not in row["phases"]:
                continue
            here, first = phases.index(phase), row["phases"].index(phase)
            later = [phases.index(other) for other in row["phases"][first:]]
            of = counts.setdefault((key(row), phase), dict.fromkeys(COUNTS, 0))
            of["entered"] += 1
            if max(later) > here:
                of["forward"] += 1
            elif ended:
                of["lost"] += 1
            else:
                of["open"] += 1
            of["back"] += min(later) < here
            of["converted"] += row["converted_at"] is not None
    return counts


COUNTS = ("entered", "forward", "back", "lost", "open", "converted")


def visits(
    journeys: Iterable[Row], key: Callable[[Row], Any]
) -> tuple[dict[Any, list[float]], dict[Any, list[str]]]:
    """Lengths in s of the ended visits of each (key, phase), and the journeys of each move, one per visit."""
    lengths: dict[Any, list[float]] = {}
    moves: dict[Any, list[str]] = {}
    for row in journeys:
        ended = row["closed"] or row["drop_off_at"] is not None
        at, phase = row["ats"][0], row["phases"][0]
        moves.setdefault(("(start)", phase), []).append(row["journey_id"])
        for now, other in zip(row["ats"], row["phases"], strict=True):
            if other != phase:
                lengths.setdefault((key(row), phase), []).append((now - at).total_seconds())
                moves.setdefault((phase, other), []).append(row["journey_id"])
                at, phase = now, other
        moves.setdefault((phase, "(lost)" if ended else "(open)"), []).append(row["journey_id"])
    return lengths, moves


def quantile(values: Sequence[float], q: float) -> float:
    """Between the two nearest, in proportion."""
    in_order = sorted(values)
    place = q * (len(in_order) - 1)
    low = int(place)
    high = min(low + 1, len(in_order) - 1)
    return in_order[low] + (in_order[high] - in_order[low]) * (place - low)
