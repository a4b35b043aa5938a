"""Every analysis, by its name: what the command line, HTTP and saved queries offer."""

from collections.abc import Iterator
from difflib import get_close_matches
from importlib import import_module
from typing import Any

from warehouse.analysis import Analysis
from warehouse.answer import QuestionError

_PLACES = {
    "funnel": "warehouse.funnels:funnel",
    "funnel-customers": "warehouse.funnel_customers:funnel_customers",
    "paths": "warehouse.paths:paths",
    "variants": "warehouse.variants:variants",
    "desire-line": "warehouse.desire_line:desire_line",
    "conversion": "warehouse.conversion:conversion",
    "attribution": "warehouse.attribution:attribution",
    "retention": "warehouse.retention:retention",
    "life-cycle": "warehouse.life_cycle:life_cycle",
    "stickiness": "warehouse.stickiness:stickiness",
    "attempts": "warehouse.attempts:attempts",
    "drop-offs": "warehouse.drop_offs:drop_offs",
    "pain-points": "warehouse.pain_points:pain_points",
    "costs": "warehouse.costs:costs",
    "pain-before-drop-off": "warehouse.pain_before_drop_off:pain_before_drop_off",
    "moments": "warehouse.moments:moments",
    "what-differs": "warehouse.differences:what_differs",
    "map": "warehouse.journey_map:journey_map",
    "customer": "warehouse.customers:customer",
    "alerts": "warehouse.alerts:alerts",
}


def names() -> tuple[str, ...]:
    """The names of all analyses, in the order in which they are shown."""
    return tuple(_PLACES)


def named(name: str) -> Analysis[Any]:
    """The analysis of a name; imported only now. QuestionError suggests the nearest."""
    if name not in _PLACES:
        near = get_close_matches(name, _PLACES, n=3)
        remedy = f"Did you mean {' or '.join(near)}?" if near else f"There are {', '.join(_PLACES)}."
        raise QuestionError(f'there is no analysis "{name}"', remedy=remedy)
    place, _, attribute = _PLACES[name].partition(":")
    found: Analysis[Any] = getattr(import_module(place), attribute)
    return found


def analyses() -> Iterator[Analysis[Any]]:
    """All of them."""
    return map(named, _PLACES)
