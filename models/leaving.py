"""What leaves a household's state: what is to be known of it, and what would need it back."""

from collections.abc import Iterable, Mapping
from typing import NamedTuple

from models.household import ElementSet
from models.identity import Identities
from models.life_cycle import LifeCycle
from models.personas import Personas
from models.touchpoint import Correction, Identification, Touchpoint
from models.trimming import Origin, Told, Trimmed, element_mark, latest_told, mark


class Left(NamedTuple):
    """What stays when the old leaves, and what is to be known of what is gone."""

    kept: ElementSet
    gone: Trimmed


def leave(
    elements: ElementSet,
    lives: Mapping[str, LifeCycle],
    identities: Identities,
    personas: Personas,
    horizon: int,
    *,
    seen: int,
) -> Left | None:
    """Without the journeys that were closed before `horizon`, UTC ms; None if there are none.

    `lives`: by customer. `seen`: how many elements had been seen when they left.
    """
    closed = {id: count for id, life in lives.items() if (count := life.closed_before(horizon))}
    if not closed:
        return None
    origins: dict[str, Origin] = {}
    leaving: set[str] = set()
    told = personas.latest(identities.customer_of)
    for customer_id, count in closed.items():
        life = lives[customer_id]
        left = [place.touchpoint for journey in life.journeys[:count] for place in journey.places]
        leaving.update(touchpoint.id for touchpoint in left)
        origin = life.first(count).as_origin({identities.strongest(one.identifiers) for one in left})
        origin.persona = latest_told(origin.persona, told.get(customer_id))
        origin.seen = seen
        origins[customer_id] = origin
    begins = [
        life.journeys[closed.get(customer_id, 0)].places[0].touchpoint.occurred_at
        for customer_id, life in lives.items()
        if len(life.journeys) > closed.get(customer_id, 0)
    ]
    kept = elements.without(leaving, min([*begins, horizon]))
    gone = _described(elements, kept, identities, personas)
    gone.origins = origins
    return Left(kept, gone)


def _described(elements: ElementSet, kept: ElementSet, identities: Identities, personas: Personas) -> Trimmed:
    """Of the elements that are not kept: marks, links, personas."""
    gone = Trimmed()
    staying = {id(element) for element in kept}
    for element in elements:
        if id(element) in staying:
            continue
        strongest = identities.strongest(element.identifiers)
        gone.identifiers.add(strongest)
        gone.archived.add(element_mark(element))
        if isinstance(element, Touchpoint):
            gone.touchpoints.add(mark(element.id.encode()))
            if element.conversation_id is not None:
                gone.conversations.add(mark(element.conversation_id.encode()))
        elif isinstance(element, Identification) and element.persona is not None:
            gone.personas[strongest] = personas.by_identifier[strongest]
        if len(element.identifiers) > 1 and not isinstance(element, Correction):
            for identifier in element.identifiers:
                pair = strongest, identifier.key
                if pair in identities.links:
                    gone.links[pair] = identities.links[pair]
    return gone


def reaches_behind(
    origins: Mapping[str, Origin],
    lives: Iterable[LifeCycle],
    customer_of: Mapping[str, str],
    told: Mapping[str, Told],
) -> bool:
    """Whether what is held may change what was said of the touchpoints that left.

    It does if one of them belongs to another customer now, if something happened among or close after them, or
    if another persona is told of their customer (`told`: by customer) than was then.
    """
    standing: set[str] = set()
    moved: set[str] = set()
    for customer_id, origin in origins.items():
        if all(customer_of[key] == customer_id for key in origin.identifiers):
            standing |= origin.identifiers
        else:
            moved.add(customer_id)
    # an origin of the same touchpoints that a later one has replaced says nothing
    if any(not origins[customer_id].identifiers <= standing for customer_id in moved):
        return True
    if any(life.reaches_behind for life in lives):
        return True
    return any(
        told.get(customer_id) != origin.persona
        for customer_id, origin in origins.items()
        if customer_id not in moved
    )
