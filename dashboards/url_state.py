"""What a page shows is said by its URL, so that a link shows the same to whoever opens it."""

from datetime import UTC, datetime, timedelta
from urllib.parse import parse_qs, urlencode

import msgspec

PERIODS = {
    "24h": timedelta(hours=24),
    "7d": timedelta(days=7),
    "30d": timedelta(days=30),
    "90d": timedelta(days=90),
}
ALL_TIME = "all"
DEFAULT_PERIOD = "30d"


class MapState(msgspec.Struct, frozen=True):
    """Which map: the latest `period` (a key of `PERIODS`, or "all") and one `persona` (None: everybody)."""

    period: str = DEFAULT_PERIOD
    persona: str | None = None

    def since(self, now: datetime) -> datetime | None:
        """Where the period begins; None: from the first touchpoint on."""
        return None if self.period == ALL_TIME else now.astimezone(UTC) - PERIODS[self.period]


def read(query: str) -> MapState:
    """The state that a URL's query string says; what it does not say, or says wrongly, is the default."""
    said = parse_qs(query.lstrip("?"))
    period = said.get("period", [DEFAULT_PERIOD])[0]
    if period not in PERIODS and period != ALL_TIME:
        period = DEFAULT_PERIOD
    return MapState(period=period, persona=said.get("persona", [None])[0])


def write(state: MapState) -> str:
    """The query string of a state, with its question mark; defaults are left out."""
    said = {}
    if state.period != DEFAULT_PERIOD:
        said["period"] = state.period
    if state.persona:
        said["persona"] = state.persona
    return "?" + urlencode(said) if said else ""
