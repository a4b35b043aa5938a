"""Made-up customers over some months: several journeys, merged identities, late touchpoints, deletions, and times
around midnight and around the changes of clocks in several time zones.
"""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from functools import cache
from random import Random
from typing import Any
from zoneinfo import ZoneInfo

import pandas as pd
from clickhouse_connect.driver.client import Client

from tests.warehouse.stories import EPOCH_MS, Told, empty, insert, load, moment

DAY_MS = 86_400_000
HOUR_MS = 3_600_000
# clocks change on 8 March in New York and (at midnight) in Havana, on 29 March in Berlin
FIRST_DAY, LAST_DAY = 60, 112
GAP_MS = 9 * DAY_MS
ZONES = ("UTC", "Europe/Berlin", "America/New_York", "America/Havana", "Asia/Kolkata")
TYPES = ("view", "view", "view", "cart", "buy", "chat")
PHASES = ("Awareness", "Consideration", "Purchase")
STEPS: dict[str, Callable[[Told], bool]] = {
    "*": lambda t: True,
    "buy": lambda t: t.type == "buy",
    "view|cart": lambda t: t.type in ("view", "cart"),
    "@Purchase": lambda t: t.fields["phase"] == "Purchase",
    "chat[channel=chat]": lambda t: t.type == "chat" and t.fields["channel"] == "chat",
    "*[queue=A]": lambda t: t.fields["queue"] == "A",
}
# of a day: midnights of the zones, the ms before, and some others
_TIMES_MS = (
    0, 1, 4 * HOUR_MS, 5 * HOUR_MS - 1, 5 * HOUR_MS, 12 * HOUR_MS, 18 * HOUR_MS + HOUR_MS // 2,
    22 * HOUR_MS, 23 * HOUR_MS - 1, 23 * HOUR_MS, DAY_MS - 1,
)  # fmt: skip


@dataclass(frozen=True)
class Journey:
    """What happened in one journey, in order, and the columns of its row."""

    told: list[Told]
    row: dict[str, Any]


class Lives(dict[str, list[Journey]]):
    """Customers and their journeys."""

    def __repr__(self) -> str:
        return f"{len(self)} lives"


def made_up(loader: Client, *, seed: int, customers: int = 60) -> Lives:
    """Load them, in three goes, as the stream does: what was said first of some is corrected later."""
    random = Random(seed)
    empty(loader)
    ids = [f"t{n:05}" for n in range(customers * 16)]
    random.shuffle(ids)
    told = [one for n in range(customers) for one in _life(f"c{n:03}", random, ids)]
    gone = [
        Told(f"c{n:03}", _time(random), "view", ids.pop(), {"channel": "web"}) for n in range(0, customers, 5)
    ]
    late = {one.id for one in told if random.random() < 0.1}
    apart = [
        Told(f"{one.customer}-{place % 2}", one.at, one.type, one.id, one.fields)
        for place, one in enumerate([*told, *gone])
        if one.id not in late
    ]
    before = load(loader, apart, gap_ms=GAP_MS)
    after = load(loader, told, gap_ms=GAP_MS, version=2)
    _delete(loader, "journey_rows", [row for row in before if row["id"] not in {one["id"] for one in after}])
    insert(
        loader,
        "touchpoint_rows",
        [{"occurred_on": moment(one.at).date(), "id": one.id, "version": 2, "deleted": 1} for one in gone],
    )
    of = {one.id: one for one in told}
    lives = Lives()
    for row in after:
        journey = Journey(
            [of[id] for id in row["touchpoint_ids"]], row | _outcome(row, random) | {"version": 3}
        )
        lives.setdefault(row["customer_id"], []).append(journey)
    insert(loader, "journey_rows", [journey.row for life in lives.values() for journey in life])
    return lives


def _time(random: Random) -> int:
    return EPOCH_MS + random.randint(FIRST_DAY, LAST_DAY) * DAY_MS + random.choice(_TIMES_MS)


def _life(customer: str, random: Random, ids: list[str]) -> list[Told]:
    at = _time(random)
    told = []
    for _ in range(random.randint(1, 12)):
        fields = {
            "channel": random.choice(["web", "chat"]),
            "phase": random.choice(PHASES),
            "queue": random.choice(["", "A"]),
        }
        type_ = random.choice(TYPES)
        told.append(Told(customer, at, type_, ids.pop(), fields | {"converts": type_ == "buy"}))
        # again at once, within days, or after weeks
        at += random.choice([0, 1, HOUR_MS, HOUR_MS, DAY_MS - 1, DAY_MS, 2 * DAY_MS, 7 * DAY_MS, 15 * DAY_MS])
    return told


def _outcome(row: dict[str, Any], random: Random) -> dict[str, Any]:
    bought = [at for at, type_ in zip(row["ats"], row["types"], strict=True) if type_ == "buy"]
    silent = random.random() < 0.4
    return {
        "converted_at": bought[0] if bought else None,
        "conversions": len(bought),
        "persona": random.choice(["", "Gold", "Silver"]),
        "campaign_first": random.choice(["", "spring", "summer"]),
        "furthest_phase": max(row["phases"], key=PHASES.index),
        "drop_off_at": row["ended_at"] if silent else None,
        "drop_off_phase": row["current_phase"] if silent else "",
        "values": {"EUR": 10 * len(bought)} if bought else {},
    }


def _delete(loader: Client, table: str, rows: list[dict[str, Any]]) -> None:
    insert(loader, table, [{**row, "version": 2, "deleted": 1} for row in rows])


FREQUENCIES = {"day": "D", "week": "W-SUN", "month": "M"}


@cache
def period_of(at: int, unit: str, zone: str) -> Any:
    """The day, week or month, as pandas counts them, that an instant lies in by the clocks of a zone."""
    return pd.Period(datetime.fromtimestamp(at / 1000, ZoneInfo(zone)).date(), FREQUENCIES[unit])


@cache
def ended(period: Any, zone: str, watermark: int) -> bool:
    """Whether a period is over at the watermark: whether the next has begun."""
    begins = (period + 1).start_time.tz_localize(zone, nonexistent="shift_forward", ambiguous=True)
    return bool(begins <= pd.Timestamp(watermark, unit="ms", tz="UTC"))


def text_of(period: Any) -> str:
    """Its first day."""
    return str(period.start_time.date())


def rows_of(frame: pd.DataFrame) -> list[dict[str, Any]]:
    """The rows as plain mappings; what is not known is None."""
    return [
        {name: None if value != value else value for name, value in row.items()}
        for row in frame.to_dict("records")
    ]
