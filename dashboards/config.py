"""What the pages are given."""

from collections.abc import Callable

import msgspec

from models.journey_model import JourneyModel


class CohortEditing(msgspec.Struct, frozen=True, kw_only=True):
    """How cohorts are saved: `warehouse_url`, as a user that may write, and `author`: from the Authorization header
    of a request the name of who may, None: nobody who may.
    """

    warehouse_url: str
    author: Callable[[str | None], str | None]


class DashboardsConfig(msgspec.Struct, frozen=True, kw_only=True):
    """Where to ask (`warehouse_url`, as the read-only user), by which journey model, how often pages refresh,
    and how cohorts are saved.
    """

    warehouse_url: str
    model: JourneyModel
    refresh_interval_ms: int = 5_000
    cohort_editing: CohortEditing | None = None  # None: nobody saves cohorts over HTTP
