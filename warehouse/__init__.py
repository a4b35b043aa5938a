"""The warehouse's Python interface: `connect`, and one module per question.

from warehouse import connect, funnels
funnels.funnel(connect(url), ["product_view", "add_to_cart", "purchase"], within="7d", by="channel")
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from warehouse.connection import connect

__all__ = [
    "alerts",
    "attempts",
    "attribution",
    "cohorts",
    "connect",
    "conversion",
    "costs",
    "customers",
    "desire_line",
    "differences",
    "drop_offs",
    "funnel_customers",
    "funnels",
    "identities",
    "identity_report",
    "journey_map",
    "life_cycle",
    "moments",
    "pain_before_drop_off",
    "pain_points",
    "paths",
    "rejected",
    "retention",
    "saved_query",
    "status",
    "stickiness",
    "summary",
    "variants",
]


def __getattr__(name: str) -> Any:
    # on first use: the embedded warehouse's server is in this package, and starts sooner without SQLAlchemy
    if name == "connect":
        from warehouse.connection import connect

        return connect
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
