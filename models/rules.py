"""Rules of the journey model: what must hold of a touchpoint, for a phase or for a persona. First match wins."""

from collections.abc import Mapping, Sequence

import msgspec

from models.touchpoint import Touchpoint

Scalar = str | int | float | bool | None


class Rule(msgspec.Struct, frozen=True):
    """What must hold of a touchpoint so that it stands for `phase`; None: anything may."""

    phase: str
    types: frozenset[str] | None = None
    channels: frozenset[str] | None = None
    outcomes: frozenset[str] | None = None
    properties: Mapping[str, tuple[Scalar, ...]] = {}
    customer_already: bool | None = None


class PersonaRule(msgspec.Struct, frozen=True):
    """What must hold of one touchpoint of a journey so that its customer is taken for `persona`."""

    persona: str
    types: frozenset[str] | None = None
    channels: frozenset[str] | None = None
    outcomes: frozenset[str] | None = None
    properties: Mapping[str, tuple[Scalar, ...]] = {}
    segments: frozenset[str] | None = None  # one of them
    campaigns: frozenset[str] | None = None  # by name

    @property
    def asks(self) -> bool:
        """Whether it asks for anything; a persona without a condition is only ever said."""
        return bool(
            self.types or self.channels or self.outcomes or self.properties or self.segments or self.campaigns
        )


def matches(rule: Rule, touchpoint: Touchpoint, customer_already: bool) -> bool:
    """Whether a rule's conditions all hold of a touchpoint."""
    return (rule.customer_already is None or rule.customer_already == customer_already) and _holds(
        rule, touchpoint
    )


def first_persona(rules: Sequence[PersonaRule], touchpoint: Touchpoint, before: int) -> int:
    """Place of the first rule, of those before a place, that holds of a touchpoint; else that place."""
    for place in range(before):
        rule = rules[place]
        campaign = touchpoint.campaign.name if touchpoint.campaign is not None else None
        if (
            (rule.segments is None or not rule.segments.isdisjoint(touchpoint.segments))
            and (rule.campaigns is None or campaign in rule.campaigns)
            and _holds(rule, touchpoint)
        ):
            return place
    return before


def _holds(rule: Rule | PersonaRule, touchpoint: Touchpoint) -> bool:
    return (
        (rule.types is None or touchpoint.type in rule.types)
        and (rule.channels is None or touchpoint.channel in rule.channels)
        and (rule.outcomes is None or touchpoint.outcome in rule.outcomes)
        and all(
            any(_same(touchpoint.properties.get(name), wanted) for wanted in values)
            for name, values in rule.properties.items()
        )
    )


def _same(value: object, wanted: Scalar) -> bool:
    """Equal, and true is not 1."""
    return value == wanted and isinstance(value, bool) == isinstance(wanted, bool)
