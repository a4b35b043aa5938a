"""The journey model: what phases there are, what moves a journey through them, what hurts and what delights.

YAML text in, a checked `JourneyModel` out; what is wrong is said with file, line and remedy
(`JourneyModelError`). The shipped models are in `templates/`; docs/journey-model.md explains every field.
"""

from collections.abc import Mapping
from functools import cache, cached_property
from importlib.resources import files

import msgspec

from models.identifier import IdentifierOrder
from models.model_reading import (
    read_attempts,
    read_delights,
    read_identity,
    read_journeys,
    read_modifiers,
    read_pain_points,
    read_paved_path,
    read_persona,
    read_phases,
    read_rule,
    read_time,
    read_types,
    read_weights,
)
from models.model_sections import AttemptKind, DelightRules, Modifiers, PainRules, Score, Words
from models.paved_path import PavedPath
from models.rules import PersonaRule, Rule
from models.vocabulary import CHANNELS, TYPES
from models.yaml_reader import Findings, read_document


class TypeProfile(msgspec.Struct, frozen=True):
    """All that the model says of one type of touchpoint, looked up once."""

    weight: float
    score: Score | None
    moment_of_truth: bool
    converts: bool
    closes: bool
    refunds: bool
    contact: bool
    resolves: bool
    failure: bool
    payment_failed: bool
    complaint: bool
    refund: bool
    may_loop: bool
    fast_answer: bool
    type_delights: tuple[str, ...]
    rules: tuple[tuple[Rule, int], ...]  # those that may match it, with the place of their phase
    phase: int | None  # where the first of these holds of every touchpoint of the type
    phase_already: int | None  # likewise, of a customer's
    phase_known: bool  # the two above say all there is to say
    fits: tuple[tuple[int, ...] | None, ...]  # by phase: the steps of the paved path that it walks
    opens: tuple[AttemptKind, ...]
    completes: tuple[AttemptKind, ...]
    abandons: tuple[AttemptKind, ...]


class JourneyModel(msgspec.Struct, frozen=True, dict=True):
    """A checked journey model. Durations in ms; what the fields mean is said in docs/journey-model.md."""

    name: str
    own_channels: tuple[str, ...]  # besides those of the vocabulary
    phases: tuple[str, ...]
    final_phases: frozenset[str]
    patience_ms: Mapping[str, int]  # by phase; final ones have none
    rules: tuple[Rule, ...]
    journey_gap_ms: int
    transaction_gap_ms: int
    closes_journey: frozenset[str]
    converting_types: frozenset[str]
    refunding_types: frozenset[str]
    contact_types: frozenset[str]
    resolving_types: frozenset[str]
    attempts: tuple[AttemptKind, ...]
    pain: PainRules
    delight: DelightRules
    weights: Mapping[str, float | Score]
    modifiers: Modifiers
    moments_of_truth: frozenset[str]
    paved_path: PavedPath
    personas: tuple[str, ...]
    persona_rules: tuple[PersonaRule, ...]  # for customers of whom nobody said a persona
    allowed_lateness_ms: int
    clock_tolerance_ms: int
    history_ms: int
    identifier_kinds: tuple[str, ...]
    exclusive_kinds: frozenset[str]
    max_household: int
    phone_region: str | None
    placeholders: frozenset[str]  # lower case, of every kind
    placeholders_by_kind: Mapping[str, frozenset[str]]  # lower case

    @property
    def channels(self) -> tuple[str, ...]:
        """All channels that touchpoints may be on."""
        return (*CHANNELS, *self.own_channels)

    @cached_property
    def identifier_order(self) -> IdentifierOrder:
        """The total order of identifiers."""
        return IdentifierOrder(self.identifier_kinds)

    @cached_property
    def phase_patience_ms(self) -> tuple[int | None, ...]:
        """Patience by the place of the phase; None: a final one."""
        return tuple(self.patience_ms.get(phase) for phase in self.phases)

    @cached_property
    def paved_costs(self) -> tuple[int, ...]:
        """What leaving each step of the paved path out costs; empty: there is no such path."""
        return self.paved_path.costs

    @cached_property
    def profiles(self) -> dict[str, TypeProfile]:
        """The profile of every type that the model or the vocabulary names; see `other_profile`."""
        named = set(TYPES) | set(self.weights) | self.moments_of_truth | self.converting_types
        named |= self.closes_journey | self.refunding_types | self.contact_types | self.resolving_types
        named |= self.pain.failure_types | self.pain.payment_failed_types | self.pain.loop_except
        named |= self.pain.complaint_types | self.pain.refund_types | self.delight.fast_answer_types
        named |= self.delight.reward_types | self.delight.advocacy_types | self.paved_path.passed_over
        for step in self.paved_path.steps:
            named |= step.types
        for rule in self.rules:
            named |= rule.types or frozenset()
        for attempt in self.attempts:
            named |= {attempt.opened_by} | attempt.completed_by | attempt.abandoned_by
        return {type_: self._profile(type_) for type_ in named}

    @cached_property
    def other_profile(self) -> TypeProfile:
        """The profile of a type that nothing names."""
        return self._profile("")

    def profile(self, type_: str) -> TypeProfile:
        """All that the model says of a type."""
        return self.profiles.get(type_) or self.other_profile

    def _profile(self, type_: str) -> TypeProfile:
        pain, delight = self.pain, self.delight
        weight = self.weights.get(type_, 0.0)
        places = {phase: place for place, phase in enumerate(self.phases)}
        rules = tuple(
            (rule, places[rule.phase]) for rule in self.rules if rule.types is None or type_ in rule.types
        )
        simple = not any(rule.channels or rule.outcomes or rule.properties for rule, _ in rules)
        return TypeProfile(
            weight=0.0 if isinstance(weight, str) else weight,
            score=weight if isinstance(weight, str) else None,
            moment_of_truth=type_ in self.moments_of_truth,
            converts=type_ in self.converting_types,
            closes=type_ in self.closes_journey,
            refunds=type_ in self.refunding_types,
            contact=type_ in self.contact_types,
            resolves=type_ in self.resolving_types,
            failure=type_ in pain.failure_types,
            payment_failed=type_ in pain.payment_failed_types,
            complaint=type_ in pain.complaint_types,
            refund=type_ in pain.refund_types,
            may_loop=type_ not in pain.loop_except,
            fast_answer=type_ in delight.fast_answer_types,
            type_delights=("reward",) * (type_ in delight.reward_types)
            + ("advocacy",) * (type_ in delight.advocacy_types),
            rules=rules,
            phase=next((place for rule, place in rules if not rule.customer_already), None),
            phase_already=next((place for rule, place in rules if rule.customer_already is not False), None),
            phase_known=simple,
            fits=tuple(self.paved_path.fits(type_, phase) for phase in self.phases),
            opens=tuple(kind for kind in self.attempts if kind.opened_by == type_),
            completes=tuple(kind for kind in self.attempts if type_ in kind.completed_by),
            abandons=tuple(kind for kind in self.attempts if type_ in kind.abandoned_by),
        )


@cache
def default_model() -> JourneyModel:
    """The model that desireline starts with."""
    return load_model(template("default"), where="default.yaml")


def templates() -> tuple[str, ...]:
    """Names of the models we ship, the default first."""
    names = sorted(file.name for file in (files("models") / "templates").iterdir())
    stems = [name.removesuffix(".yaml") for name in names if name.endswith(".yaml")]
    return ("default", *(stem for stem in stems if stem != "default"))


def template(name: str) -> str:
    """The text of a shipped model."""
    return (files("models") / "templates" / f"{name}.yaml").read_text(encoding="utf-8")


def schema() -> str:
    """The JSON Schema of journey models, for editors."""
    return (files("models") / "templates" / "journey-model.schema.json").read_text(encoding="utf-8")


def load_model(text: str, *, where: str) -> JourneyModel:
    """Parse and check a journey model; `where` names the file.

    JourneyModelError says what is wrong first; its `others` say what else is, as far as that can be told.
    """
    root = read_document(text, where=where).fields(_FIELDS, required=_REQUIRED)
    phases, final_phases, patience_ms = read_phases(root["phases"])
    own_channels = tuple(root["channels"].texts()) if "channels" in root else ()
    words = Words(
        phases=phases,
        types=frozenset((*TYPES, *(root["types"].texts() if "types" in root else ()))),
        channels=(*CHANNELS, *own_channels),
    )
    found = Findings()
    rules = found.each(read_rule, root["rules"], words)
    journeys = found.read(read_journeys, root["journeys"], words)
    attempts = found.read(read_attempts, root["attempts"], words)
    pain = found.read(read_pain_points, root["pain_points"], words)
    delight = found.read(read_delights, root["delights"], words)
    weights = found.read(read_weights, root["weights"], words)
    modifiers = found.read(read_modifiers, root["modifiers"])
    moments_of_truth = found.read(read_types, root.get("moments_of_truth"), words)
    paved_path = found.read(read_paved_path, root.get("paved_path"), words)
    personas = found.each(read_persona, root.get("personas"), words)
    time = found.read(read_time, root["time"])
    identity = found.read(read_identity, root["identity"])
    name = found.read(root["name"].text)
    found.done()
    return JourneyModel(
        name=name,
        own_channels=own_channels,
        phases=phases,
        final_phases=final_phases,
        patience_ms=patience_ms,
        rules=rules,
        journey_gap_ms=journeys.gap_ms,
        transaction_gap_ms=journeys.transaction_gap_ms,
        closes_journey=journeys.closed_by,
        converting_types=journeys.converted_by,
        refunding_types=journeys.refunded_by,
        contact_types=journeys.begun_by,
        resolving_types=journeys.resolved_by,
        attempts=attempts,
        pain=pain,
        delight=delight,
        weights=weights,
        modifiers=modifiers,
        moments_of_truth=moments_of_truth,
        paved_path=paved_path,
        personas=tuple(dict.fromkeys(rule.persona for rule in personas)),
        persona_rules=tuple(rule for rule in personas if rule.asks),
        allowed_lateness_ms=time.allowed_lateness_ms,
        clock_tolerance_ms=time.clock_tolerance_ms,
        history_ms=time.history_ms,
        identifier_kinds=identity.order,
        exclusive_kinds=identity.exclusive,
        max_household=identity.max_household,
        phone_region=identity.phone_region,
        placeholders=identity.placeholders.get("any", frozenset()),
        placeholders_by_kind={k: values for k, values in identity.placeholders.items() if k != "any"},
    )


_REQUIRED = (
    "name", "phases", "rules", "journeys", "attempts", "pain_points", "delights", "weights", "modifiers",
    "time", "identity",
)  # fmt: skip
_FIELDS = (*_REQUIRED, "types", "channels", "moments_of_truth", "paved_path", "personas")
