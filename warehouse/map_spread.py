"""How far two figures of a map can be trusted, for when two maps are set against each other.

Both give an interval of 95 %, (low, high), for each of the places asked for, which are the map's keys.
"""

# ruff: noqa: S608  the SQL is put together from names of ours; values are bound

from collections.abc import Iterable
from math import nan

from sqlalchemy import Engine, text

from models.journey_model import JourneyModel
from warehouse.answer import ask
from warehouse.binds import Binds
from warehouse.map_flows import in_phase
from warehouse.map_touchpoints import Places, pains
from warehouse.medians import median_bounds

Place = tuple[str, ...]
Interval = tuple[float, float]

_Z = 1.96
# of a Poisson count of none up to 3.69 may be expected, each as severe as can be
_OF_NONE = (0.0, 3.69)


def of_hurt(connection: Engine, places: Places, asked: Iterable[Place]) -> list[Interval]:
    """Of the sum of severities, normal; it varies as customers come and go, each with all that hurt them."""
    binds = Binds()
    found = ask(
        connection,
        text(f"""
            select {places.key}, sum(hurt) as whole, sum(hurt * hurt) as variance
            from (select {places.key}, customer_id, sum(toFloat64(felt)) as hurt from {pains(places, binds)}
                  group by {places.key}, customer_id)
            group by {places.key}"""),
        binds,
    )
    of = {}
    for *place, whole, variance in found.itertuples(index=False, name=None):
        reach = _Z * variance**0.5
        of[tuple(place)] = max(0.0, whole - reach), whole + reach
    return [of.get(place, _OF_NONE) for place in asked]


def of_median(
    connection: Engine, places: Places, model: JourneyModel, asked: Iterable[Place]
) -> list[Interval]:
    """Of the median time in the phase, ms; NaN where fewer than six journeys were in it."""
    binds = Binds()
    found = ask(
        connection,
        text(median_bounds(places.key, "in_phase_ms", f"({in_phase(places, model, binds)})")),
        binds,
    )
    of = {tuple(place): (low, high) for *place, low, high in found.itertuples(index=False, name=None)}
    return [of.get(place, (nan, nan)) for place in asked]
