"""What the pages are given."""

import msgspec

from models.journey_model import JourneyModel


class DashboardsConfig(msgspec.Struct, frozen=True, kw_only=True):
    """Where to ask (`warehouse_url`, as the read-only user), by which journey model, and how often
    pages refresh.
    """

    warehouse_url: str
    model: JourneyModel
    refresh_interval_ms: int = 5_000
