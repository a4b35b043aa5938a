"""What leaves a household's state: what is to be known of it, and what would need it back."""

from collections.abc import Iterable, Mapping

from models.household import ElementSet
from models.identity import Identities
from models.life_cycle import LifeCycle
from models.touchpoint import Correction, Identification, Touchpoint
from models.trimming import Origin, Told, Trimmed, element_mark, mark


def describe(
    elements: ElementSet, kept: ElementSet, identities: Identities, personas: Mapping[str, Told]
) -> Trimmed:
    """Of the elements that are not kept: marks, links, personas. `personas`: by strongest identifier."""
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
            gone.personas[strongest] = personas[strongest]
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
