"""The levels of one customer's story: life cycle, journeys, service transactions; and what stands at their places."""

from collections.abc import Iterable, Sequence
from decimal import Decimal
from itertools import groupby
from typing import Any

import pandas as pd

from warehouse.customer_rows import Row
from warehouse.frames import INSTANT, LIST, frame

_PLACE = {"phase": "str", "channel": "str", "type": "str", "journey_id": "str", "touchpoint_id": "str"}


def touchpoints(story: Iterable[Row]) -> pd.DataFrame:
    """One row per touchpoint, in order; `attempts` are those opened at it, with their outcome."""
    types = {
        "occurred_at": INSTANT, "channel": "str", "type": "str", "outcome": "str", "phase": "str",
        "phase_move": "str", "emotion": "float64", "pain_points": LIST, "delights": LIST, "attempts": LIST,
        "drop_off_at": INSTANT, "queue": "str", "amount": LIST, "currency": "str", "journey_id": "str",
        "transaction_id": "str", "id": "str",
    }  # fmt: skip
    return frame(
        (
            (
                t["occurred_at"], t["channel"], t["type"], t["outcome"], t["phase"], t["phase_move"],
                _rounded(t["weight"]), list(t["pain_kinds"]), list(t["delight_kinds"]),
                [f"{k} {o}" for k, o in zip(t["attempt_kinds"], t["attempt_outcomes"], strict=True)],
                t["drop_off_at"], t["queue"], t["amount"], t["currency"], t["journey_id"], t["transaction_id"],
                t["id"],
            )
            for t in story
        ),
        types,
    )  # fmt: skip


def transactions(story: Iterable[Row]) -> pd.DataFrame:
    """One row per service transaction, by its beginning; `channels` in the order of their first touchpoint."""
    rows = []
    by_transaction = sorted(story, key=lambda t: t["transaction_id"])  # stable: they stay in order
    for name, of in groupby(by_transaction, key=lambda t: t["transaction_id"]):
        inside = list(of)
        rows.append(
            (
                inside[0]["occurred_at"], inside[-1]["occurred_at"], len(inside),
                list(dict.fromkeys(t["channel"] for t in inside)), [t["type"] for t in inside], _emotion(inside),
                sum(len(t["pain_kinds"]) for t in inside), inside[0]["journey_id"], name,
            )
        )  # fmt: skip
    types = {
        "started_at": INSTANT, "ended_at": INSTANT, "touchpoints": "int64", "channels": LIST, "types": LIST,
        "emotion": "float64", "pain_points": "int64", "journey_id": "str", "transaction_id": "str",
    }  # fmt: skip
    return frame(sorted(rows, key=lambda row: (row[0], row[-1])), types)


def journeys(found: Iterable[Row]) -> pd.DataFrame:
    """One row per journey, in order; `value`: currency to money of its conversions less refunds."""
    types = {
        "started_at": INSTANT, "ended_at": INSTANT, "touchpoints": "int64", "phases": LIST,
        "furthest_phase": "str", "current_phase": "str", "shape": "str", "paved_path_distance": "float64",
        "converted": "bool", "converted_at": INSTANT, "value": LIST, "persona": "str", "campaign_first": "str",
        "pain_points": "int64", "delights": "int64", "attempts_abandoned": "int64", "drop_off_at": INSTANT,
        "recoveries": "int64", "closed": "bool", "journey_id": "str",
    }  # fmt: skip
    return frame(
        (
            (
                j["started_at"], j["ended_at"], len(j["touchpoint_ids"]), list(j["through_phases"]),
                j["furthest_phase"], j["current_phase"], j["shape"], j["paved_path_distance"],
                j["converted_at"] is not None, j["converted_at"], dict(j["values"]), j["persona"],
                j["campaign_first"], j["pain_points"], j["delights"], j["attempts_abandoned"], j["drop_off_at"],
                j["recoveries"], j["closed"], j["journey_id"],
            )
            for j in found
        ),
        types,
    )  # fmt: skip


def life_cycle(story: Sequence[Row], found: Sequence[Row]) -> dict[str, Any]:
    """All journeys as one: what JSON can say."""
    value: dict[str, Decimal] = {}
    for journey in found:
        for currency, amount in journey["values"].items():
            value[currency] = value.get(currency, Decimal(0)) + amount
    converted = [j["converted_at"] for j in found if j["converted_at"] is not None]
    return {
        "first_at": story[0]["occurred_at"] if story else None,
        "last_at": story[-1]["occurred_at"] if story else None,
        "journeys": len(found),
        "transactions": len({t["transaction_id"] for t in story}),
        "touchpoints": len(story),
        "channels": list(dict.fromkeys(t["channel"] for t in story)),
        "first_converted_at": min(converted, default=None),
        "conversions": sum(j["conversions"] for j in found),
        "value": value,
        "emotion": _emotion(story),
        "pain_points": sum(len(t["pain_kinds"]) for t in story),
        "delights": sum(len(t["delight_kinds"]) for t in story),
    }


def attempts(story: Iterable[Row]) -> pd.DataFrame:
    """One row per attempt, at the touchpoint that opened it."""
    types = {
        "opened_at": INSTANT, "kind": "str", "outcome": "str", "ended_at": INSTANT, "recovered_at": INSTANT,
        **_PLACE,
    }  # fmt: skip
    return frame(
        (
            (t["occurred_at"], *attempt, *_place(t))
            for t in story
            for attempt in zip(
                t["attempt_kinds"],
                t["attempt_outcomes"],
                t["attempt_ended_ats"],
                t["attempt_recovered_ats"],
                strict=True,
            )
        ),
        types,
    )


def pain_points(story: Iterable[Row]) -> pd.DataFrame:
    """One row per pain point, in order."""
    types = {"at": INSTANT, "kind": "str", "severity": "float64", **_PLACE}
    return frame(
        (
            (t["occurred_at"], kind, _rounded(severity), *_place(t))
            for t in story
            for kind, severity in zip(t["pain_kinds"], t["pain_severities"], strict=True)
        ),
        types,
    )


def drop_offs(story: Iterable[Row]) -> pd.DataFrame:
    """One row per drop-off, at the touchpoint before the silence."""
    types = {"at": INSTANT, "last_seen_at": INSTANT, "recovered_at": INSTANT, "pain_kind": "str", **_PLACE}
    return frame(
        (
            (
                t["drop_off_at"],
                t["occurred_at"],
                t["drop_off_recovered_at"],
                t["drop_off_pain_kind"],
                *_place(t),
            )
            for t in story
            if t["drop_off_at"] is not None
        ),
        types,
    )


def _place(touchpoint: Row) -> tuple[str, ...]:
    return tuple(touchpoint[name] for name in ("phase", "channel", "type", "journey_id", "id"))


def _emotion(inside: Sequence[Row]) -> float | None:
    return _rounded(sum(t["weight"] for t in inside) / len(inside)) if inside else None


def _rounded(value: float) -> float:
    """Without the digits that single precision only pretends to have."""
    return round(float(value), 3)
