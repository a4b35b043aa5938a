"""The sections of a journey model read from YAML: names checked, units taken off, what is wrong said with its line."""

from collections.abc import Collection, Mapping
from typing import get_args

from models.identifier import KINDS
from models.model_sections import (
    DELIGHT_KINDS,
    PAIN_KINDS,
    AttemptKind,
    DelightRules,
    Identity,
    Journeys,
    Modifiers,
    PainRules,
    Score,
    Time,
    Words,
)
from models.paved_path import PavedPath, PavedStep
from models.rules import PersonaRule, Rule, Scalar
from models.vocabulary import OUTCOMES
from models.yaml_reader import Reader, durations_by


def read_types(reader: Reader | None, words: Words) -> frozenset[str]:
    """A list of types; none where the field is left out."""
    return frozenset(reader.names(words.types, "type", "types")) if reader else frozenset()


def read_phases(reader: Reader) -> tuple[tuple[str, ...], frozenset[str], dict[str, int]]:
    """Names in order, the final ones, and the patience of the others in ms."""
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


_CONDITIONS = ("types", "channels", "outcomes", "properties")


def read_rule(reader: Reader, words: Words) -> Rule:
    """What stands for which phase."""
    reader.name = "a rule"
    fields = reader.fields(("phase", *_CONDITIONS, "customer_already"), required=("phase",))
    return Rule(
        phase=fields["phase"].one_of(words.phases, "phase", "phases"),
        types=_condition(fields, "types", words.types),
        channels=_condition(fields, "channels", words.channels),
        outcomes=_condition(fields, "outcomes", OUTCOMES),
        properties=_properties(fields),
        customer_already=fields["customer_already"].boolean() if "customer_already" in fields else None,
    )


def read_persona(reader: Reader, words: Words) -> PersonaRule:
    """A persona by its name alone, or with what has to hold of a touchpoint."""
    if reader.scalar_stands:
        return PersonaRule(reader.text())
    reader.name = "a persona"
    fields = reader.fields(("name", *_CONDITIONS, "segments", "campaigns"), required=("name",))
    rule = PersonaRule(
        persona=fields["name"].text(),
        types=_condition(fields, "types", words.types),
        channels=_condition(fields, "channels", words.channels),
        outcomes=_condition(fields, "outcomes", OUTCOMES),
        properties=_properties(fields),
        segments=frozenset(fields["segments"].texts()) if "segments" in fields else None,
        campaigns=frozenset(fields["campaigns"].texts()) if "campaigns" in fields else None,
    )
    if not rule.asks:
        reader.fail(
            f'persona "{rule.persona}" has no condition',
            'Say when, e.g. "segments: [b2b]", or write its name alone.',
        )
    return rule


def _condition(fields: Mapping[str, Reader], field: str, known: Collection[str]) -> frozenset[str] | None:
    """What a field of a rule asks for; None: nothing."""
    if field not in fields:
        return None
    wanted = frozenset(fields[field].names(known, field.removesuffix("s"), field))
    if not wanted:
        fields[field].fail(f'"{field}" is empty, so that nothing fits', "Name some, or leave the field out.")
    return wanted


def _properties(fields: Mapping[str, Reader]) -> dict[str, tuple[Scalar, ...]]:
    if "properties" not in fields:
        return {}
    return {key.text(): value.scalars() for key, value in fields["properties"].entries()}


def read_journeys(reader: Reader, words: Words) -> Journeys:
    """Where journeys and transactions end, and which types count as what."""
    fields = reader.fields(
        ("gap", "transaction_gap", "closed_by", "converted_by", "refunded_by", "begun_by", "resolved_by"),
        required=("gap", "transaction_gap", "converted_by"),
    )
    return Journeys(
        gap_ms=fields["gap"].duration(),
        transaction_gap_ms=fields["transaction_gap"].duration(),
        closed_by=read_types(fields.get("closed_by"), words),
        converted_by=read_types(fields["converted_by"], words),
        refunded_by=read_types(fields.get("refunded_by"), words),
        begun_by=read_types(fields.get("begun_by"), words),
        resolved_by=read_types(fields.get("resolved_by"), words),
    )


def read_time(reader: Reader) -> Time:
    """Lateness, clocks, memory."""
    fields = reader.fields(
        ("allowed_lateness", "clock_tolerance", "history"), required=("allowed_lateness", "history")
    )
    return Time(
        allowed_lateness_ms=fields["allowed_lateness"].duration(),
        clock_tolerance_ms=fields["clock_tolerance"].duration() if "clock_tolerance" in fields else 300_000,
        history_ms=fields["history"].duration(),
    )


def read_identity(reader: Reader) -> Identity:
    """Strength and exclusivity of identifier kinds, and values that name nobody."""
    fields = reader.fields(
        ("order", "exclusive", "max_household", "phone_region", "placeholders"),
        required=("order", "exclusive"),
    )
    kinds = _identifier_kinds(fields["order"])
    return Identity(
        order=kinds,
        exclusive=frozenset(fields["exclusive"].names(kinds, "identifier kind", "kinds")),
        max_household=fields["max_household"].integer(least=1) if "max_household" in fields else 5000,
        phone_region=_phone_region(fields.get("phone_region")),
        placeholders=_placeholders(fields["placeholders"], kinds) if "placeholders" in fields else {},
    )


def read_attempts(reader: Reader, words: Words) -> tuple[AttemptKind, ...]:
    """The kinds of work that can be abandoned."""
    found: dict[str, AttemptKind] = {}
    for item in reader.items():
        item.name = "an attempt"
        fields = item.fields(
            ("kind", "opened_by", "completed_by", "abandoned_by", "patience", "severity"),
            required=("kind", "opened_by", "completed_by", "patience"),
        )
        kind = AttemptKind(
            kind=fields["kind"].text(),
            opened_by=fields["opened_by"].one_of(words.types, "type", "types"),
            completed_by=read_types(fields["completed_by"], words),
            abandoned_by=read_types(fields.get("abandoned_by"), words),
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
            fields["abandoned_by"].fail(
                f'attempt "{kind.kind}" is completed and abandoned by "{min(both)}"',
                "Take it out of one of them.",
            )
        found[kind.kind] = kind
    return tuple(found.values())


def read_pain_points(reader: Reader, words: Words) -> PainRules:
    """What hurts from where on, and how much."""
    channels = words.channels
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
        failure_types=read_types(rules["failure"].get("types"), words),
        payment_failed_types=read_types(rules["payment_failed"].get("types"), words),
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
        loop_except=read_types(rules["loop"].get("except"), words),
        complaint_types=read_types(rules["complaint"].get("types"), words),
        complaint_topics=frozenset(topics.texts()) if topics else frozenset(),
        refund_types=read_types(rules["refund"].get("types"), words),
    )


def read_delights(reader: Reader, words: Words) -> DelightRules:
    """What delights from where on."""
    channels = words.channels
    root = reader.fields(DELIGHT_KINDS, required=DELIGHT_KINDS)
    score = root["high_score"].fields(("csat", "nps", "ces"), required=("csat", "nps", "ces"))
    sentiment = root["positive_sentiment"].fields(("at_least",), required=("at_least",))
    answer = root["fast_answer"].fields(("types", "at_most"), required=("types", "at_most"))
    return DelightRules(
        csat=score["csat"].number(1, 5),
        nps=score["nps"].number(0, 10),
        ces=score["ces"].number(1, 7),
        sentiment=sentiment["at_least"].number(0, 1),
        fast_answer_types=read_types(answer["types"], words),
        fast_answer_ms=durations_by(answer["at_most"], channels, "channel", "channels"),
        first_contact_resolution=root["first_contact_resolution"].boolean(),
        reward_types=read_types(root["reward"].fields(("types",), required=("types",))["types"], words),
        advocacy_types=read_types(root["advocacy"].fields(("types",), required=("types",))["types"], words),
    )


def read_weights(reader: Reader, words: Words) -> dict[str, float | Score]:
    """Weight of each type, or the score that is its weight."""
    found: dict[str, float | Score] = {}
    for key, value in reader.entries():
        type_ = key.one_of(words.types, "type", "types")
        score = next((score for score in get_args(Score) if score == value.scalar()), None)
        found[type_] = score or value.number(-1, 1)
    return found


def read_modifiers(reader: Reader) -> Modifiers:
    """What moves weights."""
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


def read_paved_path(reader: Reader | None, words: Words) -> PavedPath:
    """Steps such as `search`, `a|b`, `@Purchase`, `login?`; no steps where the section is left out."""
    if reader is None:
        return PavedPath()
    phases = words.phases
    root = reader.fields(("steps", "passed_over"), required=("steps",))
    passed_over = read_types(root.get("passed_over"), words)
    steps: list[PavedStep] = []
    for item in root["steps"].items():
        item.name = "a step"
        written = item.text()
        names = [name.strip() for name in written.removesuffix("?").split("|")]
        step = PavedStep(
            types=frozenset(
                item.named(name, words.types, "type", "types") for name in names if name[:1] != "@"
            ),
            phases=frozenset(
                item.named(name[1:], phases, "phase", "phases") for name in names if name[:1] == "@"
            ),
            optional=written.endswith("?"),
        )
        if both := step.types & passed_over:
            root["passed_over"].fail(
                f'"{min(both)}" is a step and passed over', "Take it out of one of them."
            )
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
