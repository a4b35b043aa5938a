"""The journey model: what the default one says, and how wrong ones are told so."""

import pytest

from models.journey_model import default_model, load_model, template
from models.vocabulary import TYPES
from models.yaml_reader import JourneyModelError

DEFAULT = template("default")
DAY = 86_400_000

# What is replaced in the default model, by what, and what is said of the line.
WRONG = {
    "a phase that is not defined": (
        "phase: Advocacy, types", "phase: Advocasy, types",
        'phase "Advocasy" is not defined. Did you mean "Advocacy"?',
    ),
    "nothing near": (
        "phase: Advocacy, types", "phase: Qqq, types",
        'phase "Qqq" is not defined. The phases are Awareness, Consideration, Purchase, Retention, Advocacy.',
    ),
    "a type that is not defined": (
        "closed_by: [subscription_cancelled]", "closed_by: [subscription_canceled]",
        'type "subscription_canceled" is not defined. Did you mean "subscription_cancelled"?',
    ),
    "a channel": (
        "voice: 2m", "voise: 2m", 'channel "voise" is not defined. Did you mean "voice"?',
    ),
    "a field": (
        "  transaction_gap: 30m", "  transactions_gap: 30m",
        '"journeys" has no field "transactions_gap". Did you mean "transaction_gap"?',
    ),
    "a field that is missing": (
        "  gap: 30d  ", "  # gap: 30d", '"journeys" lacks the field "gap". Add "gap:".',
    ),
    "a duration without its unit": (
        "gap: 30d", "gap: 30", '"gap" is "30". Write a number and its unit: ms, s, m, h, d or w, e.g. 30d.',
    ),
    "a number beyond its bounds": (
        "purchase: 1.0", "purchase: 1.5", '"purchase" is "1.5". Write a number from -1 to 1.',
    ),
    "a list that is none": (
        "exclusive: [user_id]", "exclusive: user_id", '"exclusive" is "user_id". Write a list: [a, b].',
    ),
    "a phase twice": (
        "name: Consideration", "name: Awareness",
        'phase "Awareness" is defined twice. Give each phase its own name.',
    ),
    "patience and final": (
        "patience: 180d", "patience: 180d, final: true",
        'phase "Advocacy" has both patience and final. '
        'Give it "patience: 3d", or "final: true" if a journey may end there.',
    ),
    "neither": (
        "{name: Advocacy, patience: 180d}", "{name: Advocacy}",
        'phase "Advocacy" has neither patience nor final. '
        'Give it "patience: 3d", or "final: true" if a journey may end there.',
    ),
    "an attempt twice": (
        "kind: checkout", "kind: cart", 'attempt "cart" is defined twice. Give each attempt its own kind.',
    ),
    "opened and ended by one type": (
        "completed_by: [form_submitted]", "completed_by: [form_started]",
        'attempt "form" is opened and ended by "form_started". Take it out of one of them.',
    ),
    "an identifier kind missing": (
        "cookie_id, ", "",
        'the order lacks the identifier kind "cookie_id". Name every kind, from strong to weak.',
    ),
    "a key twice": (
        "  purchase: 1.0", "  ad_click: 1.0", '"ad_click" is given twice in "weights". Keep one of them.',
    ),
    "a persona without a condition": (
        "personas: []", "personas: [{name: member}]",
        'persona "member" has no condition. Say when, e.g. "segments: [b2b]", or write its name alone.',
    ),
    "a field of a persona": (
        "personas: []", "personas: [{name: member, segment: b2b}]",
        'a persona has no field "segment". Did you mean "segments"?',
    ),
    "a condition of nothing": (
        "phase: Advocacy, types", "phase: Advocacy, channels: [], types",
        '"channels" is empty, so that nothing fits. Name some, or leave the field out.',
    ),
    "a step that is no type": (
        "checkout_started, purchase|sub", "checkout_startd, purchase|sub",
        'type "checkout_startd" is not defined. Did you mean "checkout_started"?',
    ),
    "a step that is no phase": (
        '"@Consideration"', '"@Consideraton"',
        'phase "Consideraton" is not defined. Did you mean "Consideration"?',
    ),
    "a step that is passed over": (
        "passed_over: [page_view]", "passed_over: [purchase]",
        '"purchase" is a step and passed over. Take it out of one of them.',
    ),
    "a step without quotes": (
        '"@Retention?"', "@Retention?",
        "this is no YAML: found character '@' that cannot start any token. "
        'Put a text with "@" or "?" in quotes.',
    ),
    "an optional step without quotes": (
        '"@Retention?"', "login?",
        "this is no YAML: expected ',' or ']', but got '?'. Put a text with \"@\" or \"?\" in quotes.",
    ),
    "no time between": (
        "hold: {beyond: 1m, each: 1m", "hold: {beyond: 1m, each: 0m",
        '"each" is no time at all. Write a duration, e.g. 1m.',
    ),
    "an outcome": (
        "outcomes: [failure]", "outcomes: [failed]",
        'outcome "failed" is not defined. Did you mean "failure"?',
    ),
    "a truth value": (
        "first_contact_resolution: true", "first_contact_resolution: often",
        '"first_contact_resolution" is "often". Write true or false.',
    ),
    "a whole number": (
        "transfer: {severity: 0.5, at_least: 2}", "transfer: {severity: 0.5, at_least: 1.5}",
        '"at_least" is "1.5". Write a whole number of at least 1.',
    ),
    "completed and abandoned by one type": (
        "abandoned_by: [chat_abandoned]", "abandoned_by: [chat_answered]",
        'attempt "chat" is completed and abandoned by "chat_answered". Take it out of one of them.',
    ),
    "a region": (
        "phone_region: null", "phone_region: Germany",
        '"Germany" is no region. Write a country\'s two letters (ISO 3166), e.g. DE.',
    ),
}  # fmt: skip


@pytest.mark.parametrize(("text", "wrong", "said"), WRONG.values(), ids=WRONG.keys())
def test_what_is_wrong_is_said_with_its_line(text: str, wrong: str, said: str) -> None:
    assert DEFAULT.count(text) >= 1
    changed = DEFAULT.replace(text, wrong, 1)
    with pytest.raises(JourneyModelError) as caught:
        load_model(changed, where="journey.yaml")
    where, _, rest = str(caught.value).partition(": ")
    assert rest == said
    file, _, line = where.partition(":")
    assert file == "journey.yaml"
    changed_line = DEFAULT[: DEFAULT.index(text)].count("\n") + 1
    assert int(line) - changed_line in (0, 1)  # what is missing is said of where the rest begins


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "journey.yaml: the model is empty. Begin with a shipped template."),
        ("name: [", "journey.yaml:1: this is no YAML: "),
        ("a\n", 'journey.yaml:1: the model is "a". Write "key: value" entries.'),
    ],
)
def test_what_is_no_model_is_said(text: str, said: str) -> None:
    with pytest.raises(JourneyModelError) as caught:
        load_model(text, where="journey.yaml")
    assert str(caught.value).startswith(said)


def test_all_that_is_wrong_is_said_at_once() -> None:
    wrong = (
        DEFAULT.replace("phase: Advocacy, types", "phase: Advocasy, types")
        .replace("- {phase: Awareness, types", "- {phase: Awarenes, types")
        .replace("gap: 30d  ", "gap: 30  ")
        .replace("purchase: 1.0", "purchase: 2")
        .replace("personas: []", "personas: [{name: member}]")
    )
    with pytest.raises(JourneyModelError) as caught:
        load_model(wrong, where="journey.yaml")
    said = [str(error) for error in (caught.value, *caught.value.others)]
    words = ("Awarenes", "Advocasy", '"gap"', '"purchase"', '"member"')
    assert [word for word, one in zip(words, said, strict=True) if word not in one] == []
    lines = [int(one.split(":")[1]) for one in said]
    assert lines == sorted(lines)


def test_the_default_is_the_one_of_the_design() -> None:
    model = default_model()
    assert model.phases == ("Awareness", "Consideration", "Purchase", "Retention", "Advocacy")
    assert [model.patience_ms[phase] // DAY for phase in model.phases] == [7, 3, 1, 60, 180]
    assert (model.journey_gap_ms, model.transaction_gap_ms) == (30 * DAY, 30 * 60_000)
    patience = {attempt.kind: attempt.patience_ms // 60_000 for attempt in model.attempts}
    assert patience == {
        "cart": 1440, "checkout": 30, "form": 30, "chat": 5, "call": 60, "payment": 10_080, "invoice": 43_200,
    }  # fmt: skip
    assert (model.allowed_lateness_ms, model.history_ms) == (60_000, 90 * DAY)
    assert (sorted(model.exclusive_kinds), model.max_household) == (["user_id"], 5000)


def test_every_type_has_a_phase_or_none_on_purpose() -> None:
    model = default_model()
    without = {type_ for type_ in TYPES if model.profile(type_).phase is None}
    assert without == {"page_view", "custom"}


def test_types_and_channels_of_ones_own_are_defined_in_the_model() -> None:
    own = "types: [branch_visit]\nchannels: [branch]\n" + DEFAULT.replace(
        "rules:\n", "rules:\n  - {phase: Purchase, types: [branch_visit], channels: [branch]}\n"
    )
    model = load_model(own, where="own.yaml")
    assert model.profile("branch_visit").rules
    assert model.channels == ("web", "chat", "voice", "billing", "branch")
