"""The journey model: what phases there are, what moves a journey through them, what hurts and what delights.

YAML text in, a checked `JourneyModel` out; what is wrong is said with file, line and remedy
(`JourneyModelError`). The shipped models are in `templates/`; `templates/default.yaml` documents every field.
"""

from collections.abc import Collection, Mapping
from functools import cache, cached_property
from importlib.resources import files
from typing import Literal, get_args

import msgspec

from models.identifier import KINDS, IdentifierOrder
from models.paved_path import PavedPath, PavedStep
from models.touchpoint import Touchpoint
from models.vocabulary import CHANNELS, OUTCOMES, TYPES
from models.yaml_reader import JourneyModelError as JourneyModelError
from models.yaml_reader import Reader, durations_by, read_document

Scalar = str | int | float | bool | None
Score = Literal["csat", "ces", "nps", "rating", "sentiment"]
PainKind = Literal[
    "failure", "payment_failed", "long_wait", "long_hold", "low_score", "negative_sentiment",
    "repeat_contact", "channel_switch", "transfer", "loop", "complaint", "refund", "abandonment",
]  # fmt: skip
PAIN_KINDS: tuple[PainKind, ...] = get_args(PainKind)
DelightKind = Literal[
    "high_score", "positive_sentiment", "fast_answer", "first_contact_resolution", "reward", "advocacy"
]
DELIGHT_KINDS: tuple[DelightKind, ...] = get_args(DelightKind)


class Rule(msgspec.Struct, frozen=True):
    """What must hold of a touchpoint so that it stands for `phase`; None: anything may."""

    phase: str
    types: frozenset[str] | None = None
    channels: frozenset[str] | None = None
    outcomes: frozenset[str] | None = None
    properties: Mapping[str, tuple[Scalar, ...]] = {}
    customer_already: bool | None = None


class AttemptKind(msgspec.Struct, frozen=True):
    """A unit of work that can be abandoned."""

    kind: str
    opened_by: str
    completed_by: frozenset[str]
    abandoned_by: frozenset[str]
    patience_ms: int
    severity: float  # of its abandonment


class PainRules(msgspec.Struct, frozen=True):
    """Thresholds and severities of the pain points; `severity` by kind, 0–1."""

    severity: Mapping[str, float]
    failure_outcomes: frozenset[str]
    failure_types: frozenset[str]
    payment_failed_types: frozenset[str]
    long_wait_ms: Mapping[str, int]  # by channel, at least
    long_hold_ms: Mapping[str, int]
    csat: float  # at most, as the two that follow
    nps: float
    ces: float
    sentiment: float
    repeat_contact_ms: int
    switches: frozenset[tuple[str, str]]  # (channel of the touchpoint before, channel of this one)
    transfers: int  # at least
    loop_least: int
    loop_except: frozenset[str]
    complaint_types: frozenset[str]
    complaint_topics: frozenset[str]
    refund_types: frozenset[str]


class DelightRules(msgspec.Struct, frozen=True):
    """Thresholds of the delights."""

    csat: float  # at least, as the three that follow
    nps: float
    ces: float
    sentiment: float
    fast_answer_types: frozenset[str]
    fast_answer_ms: Mapping[str, int]  # by channel, at most
    first_contact_resolution: bool
    reward_types: frozenset[str]
    advocacy_types: frozenset[str]


class Modifiers(msgspec.Struct, frozen=True):
    """What moves a touchpoint's weight away from its type's."""

    wait_beyond_ms: int
    wait_each_ms: int
    wait_weight: float
    wait_most: float
    hold_beyond_ms: int
    hold_each_ms: int
    hold_weight: float
    hold_most: float
    transfers_beyond: int
    transfer_weight: float
    repeated_failure_ms: int
    repeated_failure_factor: float


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
    """A checked journey model. Durations in ms; what the fields mean is said in `templates/default.yaml`."""

    name: str
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
    allowed_lateness_ms: int
    clock_tolerance_ms: int
    history_ms: int
    identifier_kinds: tuple[str, ...]
    exclusive_kinds: frozenset[str]
    max_household: int
    phone_region: str | None
    placeholders: frozenset[str]  # lower case, of every kind
    placeholders_by_kind: Mapping[str, frozenset[str]]  # lower case

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


def matches(rule: Rule, touchpoint: Touchpoint, customer_already: bool) -> bool:
    """Whether a rule's conditions all hold of a touchpoint."""
    return (
        (rule.types is None or touchpoint.type in rule.types)
        and (rule.channels is None or touchpoint.channel in rule.channels)
        and (rule.outcomes is None or touchpoint.outcome in rule.outcomes)
        and (rule.customer_already is None or rule.customer_already == customer_already)
        and all(
            any(_same(touchpoint.properties.get(name), wanted) for wanted in values)
            for name, values in rule.properties.items()
        )
    )


def _same(value: object, wanted: Scalar) -> bool:
    """Equal, and true is not 1."""
    return value == wanted and isinstance(value, bool) == isinstance(wanted, bool)


@cache
def default_model() -> JourneyModel:
    """The model that desireline starts with."""
    return load_model(template("default"), where="default.yaml")


def template(name: str) -> str:
    """The text of a shipped model."""
    return (files("models") / "templates" / f"{name}.yaml").read_text(encoding="utf-8")


def load_model(text: str, *, where: str) -> JourneyModel:
    """Parse and check a journey model; `where` names the file. JourneyModelError says what is wrong."""
    root = read_document(text, where=where).fields(_FIELDS, required=_REQUIRED)
    phases, final_phases, patience_ms = _phases(root["phases"])
    types = {*TYPES, *(root["types"].texts() if "types" in root else ())}
    channels = (*CHANNELS, *(root["channels"].texts() if "channels" in root else ()))
    journeys = root["journeys"].fields(
        ("gap", "transaction_gap", "closed_by", "converted_by", "refunded_by", "begun_by", "resolved_by"),
        required=("gap", "transaction_gap", "converted_by"),
    )
    time = root["time"].fields(
        ("allowed_lateness", "clock_tolerance", "history"), required=("allowed_lateness", "history")
    )
    identity = root["identity"].fields(
        ("order", "exclusive", "max_household", "phone_region", "placeholders"),
        required=("order", "exclusive"),
    )
    kinds = _identifier_kinds(identity["order"])
    placeholders = _placeholders(identity["placeholders"], kinds) if "placeholders" in identity else {}
    return JourneyModel(
        name=root["name"].text(),
        phases=phases,
        final_phases=final_phases,
        patience_ms=patience_ms,
        rules=tuple(_rule(item, phases, types, channels) for item in root["rules"].items()),
        journey_gap_ms=journeys["gap"].duration(),
        transaction_gap_ms=journeys["transaction_gap"].duration(),
        closes_journey=_types(journeys.get("closed_by"), types),
        converting_types=_types(journeys["converted_by"], types),
        refunding_types=_types(journeys.get("refunded_by"), types),
        contact_types=_types(journeys.get("begun_by"), types),
        resolving_types=_types(journeys.get("resolved_by"), types),
        attempts=_attempts(root["attempts"], types),
        pain=_pain(root["pain_points"], types, channels),
        delight=_delight(root["delights"], types, channels),
        weights=_weights(root["weights"], types),
        modifiers=_modifiers(root["modifiers"]),
        moments_of_truth=_types(root.get("moments_of_truth"), types),
        paved_path=_paved_path(root["paved_path"], phases, types) if "paved_path" in root else PavedPath(),
        personas=root["personas"].texts() if "personas" in root else (),
        allowed_lateness_ms=time["allowed_lateness"].duration(),
        clock_tolerance_ms=time["clock_tolerance"].duration() if "clock_tolerance" in time else 300_000,
        history_ms=time["history"].duration(),
        identifier_kinds=kinds,
        exclusive_kinds=frozenset(identity["exclusive"].names(kinds, "identifier kind", "kinds")),
        max_household=identity["max_household"].integer(least=1) if "max_household" in identity else 5000,
        phone_region=_phone_region(identity.get("phone_region")),
        placeholders=placeholders.get("any", frozenset()),
        placeholders_by_kind={kind: values for kind, values in placeholders.items() if kind != "any"},
    )


_REQUIRED = (
    "name", "phases", "rules", "journeys", "attempts", "pain_points", "delights", "weights", "modifiers",
    "time", "identity",
)  # fmt: skip
_FIELDS = (*_REQUIRED, "types", "channels", "moments_of_truth", "paved_path", "personas")


def _types(reader: Reader | None, types: Collection[str]) -> frozenset[str]:
    return frozenset(reader.names(types, "type", "types")) if reader else frozenset()


def _phases(reader: Reader) -> tuple[tuple[str, ...], frozenset[str], dict[str, int]]:
    names: list[str] = []
    final: set[str] = set()
    patience_ms: dict[str, int] = {}
    for item in reader.items():
        fields = item.fields(("name", "patience", "final"), required=("name",))
        name = fields["name"].text()
        if name in names:
            fields["name"].fail(f'phase "{name}" is defined twice', "Give each phase its own name.")
        names.append(name)
        is_final = "final" in fields and fields["final"].boolean()
        if is_final == ("patience" in fields):
            has = "both patience and final" if is_final else "neither patience nor final"
            remedy = 'Give it "patience: 3d", or "final: true" if a journey may end there.'
            item.fail(f'phase "{name}" has {has}', remedy)
        if is_final:
            final.add(name)
        else:
            patience_ms[name] = fields["patience"].duration()
    if not names:
        reader.fail("the model has no phases", "Define at least one.")
    return tuple(names), frozenset(final), patience_ms


def _rule(reader: Reader, phases: Collection[str], types: Collection[str], channels: Collection[str]) -> Rule:
    reader.name = "a rule"
    fields = reader.fields(
        ("phase", "types", "channels", "outcomes", "properties", "customer_already"), required=("phase",)
    )
    return Rule(
        phase=fields["phase"].one_of(phases, "phase", "phases"),
        types=_types(fields["types"], types) if "types" in fields else None,
        channels=frozenset(fields["channels"].names(channels, "channel", "channels"))
        if "channels" in fields
        else None,
        outcomes=frozenset(fields["outcomes"].names(OUTCOMES, "outcome", "outcomes"))
        if "outcomes" in fields
        else None,
        properties={key.text(): value.scalars() for key, value in fields["properties"].entries()}
        if "properties" in fields
        else {},
        customer_already=fields["customer_already"].boolean() if "customer_already" in fields else None,
    )


def _attempts(reader: Reader, types: Collection[str]) -> tuple[AttemptKind, ...]:
    found: dict[str, AttemptKind] = {}
    for item in reader.items():
        item.name = "an attempt"
        fields = item.fields(
            ("kind", "opened_by", "completed_by", "abandoned_by", "patience", "severity"),
            required=("kind", "opened_by", "completed_by", "patience"),
        )
        kind = AttemptKind(
            kind=fields["kind"].text(),
            opened_by=fields["opened_by"].one_of(types, "type", "types"),
            completed_by=_types(fields["completed_by"], types),
            abandoned_by=_types(fields.get("abandoned_by"), types),
            patience_ms=fields["patience"].duration(),
            severity=fields["severity"].number(0, 1) if "severity" in fields else 0.5,
        )
        if kind.kind in found:
            fields["kind"].fail(f'attempt "{kind.kind}" is defined twice', "Give each attempt its own kind.")
        if kind.opened_by in kind.completed_by | kind.abandoned_by:
            fields["opened_by"].fail(
                f'attempt "{kind.kind}" is opened and ended by "{kind.opened_by}"',
                "Take it out of one of them.",
            )
        if both := kind.completed_by & kind.abandoned_by:
            item.fail(
                f'attempt "{kind.kind}" is completed and abandoned by "{min(both)}"',
                "Take it out of one of them.",
            )
        found[kind.kind] = kind
    return tuple(found.values())


def _pain(reader: Reader, types: Collection[str], channels: Collection[str]) -> PainRules:
    kinds = tuple(kind for kind in PAIN_KINDS if kind != "abandonment")
    root = reader.fields(kinds, required=kinds)
    own = {
        "failure": ("outcomes", "types"),
        "payment_failed": ("types",),
        "long_wait": ("at_least",),
        "long_hold": ("at_least",),
        "low_score": ("csat", "nps", "ces"),
        "repeat_contact": ("within",),
        "channel_switch": ("to",),
        "transfer": ("at_least",),
        "loop": ("at_least", "except"),
        "complaint": ("types", "topics"),
        "refund": ("types",),
    }
    optional = ("outcomes", "types", "topics", "except")
    rules = {
        kind: root[kind].fields(
            ("severity", *known), required=("severity", *(field for field in known if field not in optional))
        )
        for kind, known in own.items()
    }
    sentiment = root["negative_sentiment"].fields(("at_most",), required=("at_most",))
    outcomes = rules["failure"].get("outcomes")
    topics = rules["complaint"].get("topics")
    return PainRules(
        severity={kind: fields["severity"].number(0, 1) for kind, fields in rules.items()},
        failure_outcomes=frozenset(outcomes.names(OUTCOMES, "outcome", "outcomes"))
        if outcomes
        else frozenset(),
        failure_types=_types(rules["failure"].get("types"), types),
        payment_failed_types=_types(rules["payment_failed"].get("types"), types),
        long_wait_ms=durations_by(rules["long_wait"]["at_least"], channels, "channel", "channels"),
        long_hold_ms=durations_by(rules["long_hold"]["at_least"], channels, "channel", "channels"),
        csat=rules["low_score"]["csat"].number(1, 5),
        nps=rules["low_score"]["nps"].number(0, 10),
        ces=rules["low_score"]["ces"].number(1, 7),
        sentiment=sentiment["at_most"].number(-1, 0),
        repeat_contact_ms=rules["repeat_contact"]["within"].duration(),
        switches=frozenset(
            (source.one_of(channels, "channel", "channels"), target)
            for source, targets in rules["channel_switch"]["to"].entries()
            for target in targets.names(channels, "channel", "channels")
        ),
        transfers=rules["transfer"]["at_least"].integer(least=1),
        loop_least=rules["loop"]["at_least"].integer(least=2),
        loop_except=_types(rules["loop"].get("except"), types),
        complaint_types=_types(rules["complaint"].get("types"), types),
        complaint_topics=frozenset(topics.texts()) if topics else frozenset(),
        refund_types=_types(rules["refund"].get("types"), types),
    )


def _delight(reader: Reader, types: Collection[str], channels: Collection[str]) -> DelightRules:
    root = reader.fields(DELIGHT_KINDS, required=DELIGHT_KINDS)
    score = root["high_score"].fields(("csat", "nps", "ces"), required=("csat", "nps", "ces"))
    sentiment = root["positive_sentiment"].fields(("at_least",), required=("at_least",))
    answer = root["fast_answer"].fields(("types", "at_most"), required=("types", "at_most"))
    return DelightRules(
        csat=score["csat"].number(1, 5),
        nps=score["nps"].number(0, 10),
        ces=score["ces"].number(1, 7),
        sentiment=sentiment["at_least"].number(0, 1),
        fast_answer_types=_types(answer["types"], types),
        fast_answer_ms=durations_by(answer["at_most"], channels, "channel", "channels"),
        first_contact_resolution=root["first_contact_resolution"].boolean(),
        reward_types=_types(root["reward"].fields(("types",), required=("types",))["types"], types),
        advocacy_types=_types(root["advocacy"].fields(("types",), required=("types",))["types"], types),
    )


def _weights(reader: Reader, types: Collection[str]) -> dict[str, float | Score]:
    found: dict[str, float | Score] = {}
    for key, value in reader.entries():
        type_ = key.one_of(types, "type", "types")
        score = next((score for score in get_args(Score) if score == value.scalar()), None)
        found[type_] = score or value.number(-1, 1)
    return found


def _modifiers(reader: Reader) -> Modifiers:
    root = reader.fields(
        ("wait", "hold", "transfer", "repeated_failure"),
        required=("wait", "hold", "transfer", "repeated_failure"),
    )
    timed = ("beyond", "each", "weight", "most")
    wait, hold = root["wait"].fields(timed, required=timed), root["hold"].fields(timed, required=timed)
    transfer = root["transfer"].fields(("beyond", "weight"), required=("beyond", "weight"))
    failure = root["repeated_failure"].fields(("within", "factor"), required=("within", "factor"))
    for fields in (wait, hold):
        if fields["each"].duration() == 0:
            fields["each"].fail('"each" is no time at all', "Write a duration, e.g. 1m.")
    return Modifiers(
        wait_beyond_ms=wait["beyond"].duration(),
        wait_each_ms=wait["each"].duration(),
        wait_weight=wait["weight"].number(-1, 0),
        wait_most=wait["most"].number(-2, 0),
        hold_beyond_ms=hold["beyond"].duration(),
        hold_each_ms=hold["each"].duration(),
        hold_weight=hold["weight"].number(-1, 0),
        hold_most=hold["most"].number(-2, 0),
        transfers_beyond=transfer["beyond"].integer(),
        transfer_weight=transfer["weight"].number(-1, 0),
        repeated_failure_ms=failure["within"].duration(),
        repeated_failure_factor=failure["factor"].number(1, 10),
    )


def _paved_path(reader: Reader, phases: Collection[str], types: Collection[str]) -> PavedPath:
    root = reader.fields(("steps", "passed_over"), required=("steps",))
    passed_over = _types(root.get("passed_over"), types)
    steps: list[PavedStep] = []
    for item in root["steps"].items():
        item.name = "a step"
        written = item.text()
        names = [name.strip() for name in written.removesuffix("?").split("|")]
        step = PavedStep(
            types=frozenset(item.named(name, types, "type", "types") for name in names if name[:1] != "@"),
            phases=frozenset(
                item.named(name[1:], phases, "phase", "phases") for name in names if name[:1] == "@"
            ),
            optional=written.endswith("?"),
        )
        if both := step.types & passed_over:
            item.fail(f'"{min(both)}" is a step and passed over', "Take it out of one of them.")
        steps.append(step)
    if not steps:
        root["steps"].fail("the paved path has no steps", "Name at least one, or leave paved_path out.")
    return PavedPath(tuple(steps), passed_over)


def _identifier_kinds(reader: Reader) -> tuple[str, ...]:
    kinds = reader.names(KINDS, "identifier kind", "kinds")
    if missing := [kind for kind in KINDS if kind not in kinds]:
        reader.fail(
            f'the order lacks the identifier kind "{missing[0]}"', "Name every kind, from strong to weak."
        )
    if len(set(kinds)) < len(kinds):
        reader.fail("the order names an identifier kind twice", "Name every kind once.")
    return kinds


def _placeholders(reader: Reader, kinds: Collection[str]) -> dict[str, frozenset[str]]:
    return {
        key.one_of(("any", *kinds), "identifier kind", "kinds"): frozenset(
            value.strip().lower() for value in values.texts()
        )
        for key, values in reader.entries()
    }


def _phone_region(reader: Reader | None) -> str | None:
    region = reader.scalar() if reader else None
    if region is None or (isinstance(region, str) and len(region) == 2 and region.isalpha()):
        return region.upper() if region else None
    assert reader is not None  # noqa: S101  # for the type checker: without a reader there is no region
    return reader.fail(f'"{region}" is no region', "Write a country's two letters (ISO 3166), e.g. DE.")
