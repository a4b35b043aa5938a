"""Made-up histories for Hypothesis, and what a warehouse holds of them in the end.

Few instants, so that equal times and exact gaps are common: `MODEL` is the default model with its days and
hours shrunk to milliseconds.
"""

import re
from collections.abc import Callable, Iterable, Sequence
from fractions import Fraction
from typing import Any

import msgspec
from hypothesis import strategies as st

from models.household import verdicts
from models.identifier import Identifier
from models.journey_model import JourneyModel, default_model, load_model, template
from models.touchpoint import Campaign, Correction, Element, Identification, Touchpoint
from models.verdict import Facts, Verdict
from models.vocabulary import TYPES as VOCABULARY
from models.yaml_reader import parse_duration
from tests.oracle import Said, canonical, day

SHORT = {
    "180d": "25ms", "90d": "12ms", "60d": "20ms", "30d": "9ms", "7d": "5ms", "3d": "3ms", "1d": "2ms", "24h": "4ms",
    "60m": "4ms", "30m": "2ms", "5m": "1ms",
}  # fmt: skip
DAY_MS = 86_400_000
NOON = 20_000 * DAY_MS - 20  # so that the day changes in the middle of a history

MODEL_TEXT = re.sub(
    r"\b(180d|90d|60d|30d|7d|3d|1d|24h|60m|30m|5m)\b", lambda found: SHORT[found[1]], template("default")
)
MODEL = load_model(MODEL_TEXT, where="short.yaml")
OTHER_TEXT = (
    re.sub(
        r"steps: \[.*?\]",
        'steps: ["product_view|@Awareness?", "error_seen?", add_to_cart, "form_started|purchase?"]',
        MODEL_TEXT,
        flags=re.DOTALL,
    )
    .replace("{name: Advocacy, patience: 25ms}", "{name: Advocacy, final: true}")
    .replace(
        "rules:\n",
        "rules:\n"
        "  - {phase: Advocacy, types: [product_view], properties: {plan: [pro, 1]}}\n"
        "  - {phase: Purchase, channels: [voice], outcomes: [success]}\n"
        "  - {phase: Consideration, types: [purchase], customer_already: false, outcomes: [failure]}\n",
    )
    .replace("passed_over: [page_view]", "passed_over: [document_download, call_queued]")
    .replace(
        "personas: []",
        "personas:\n"
        "  - {name: buyer, types: [purchase], channels: [web], outcomes: [success]}\n"
        "  - {name: business, segments: [b2b, b2c]}\n"
        "  - curious\n"
        "  - {name: thrifty, campaigns: [spring], properties: {plan: [pro, 1]}}\n"
        "  - {name: thrifty, campaigns: [autumn, sale]}\n",
    )
    .replace("max_household: 5000", "max_household: 4")
    .replace("exclusive: [user_id]", "exclusive: [user_id, email]")
)
OTHER_MODEL = load_model(OTHER_TEXT, where="other.yaml")
MODELS = st.sampled_from([MODEL, OTHER_MODEL])

TYPES = {
    "web": [
        "page_view", "product_view", "add_to_cart", "checkout_started", "purchase", "checkout_abandoned",
        "error_seen", "csat_submitted", "nps_submitted", "review_posted", "referral_sent",
        "document_download", "form_started", "form_submitted", "refund_requested", "loyalty_reward_earned",
        "never_heard_of",
    ],
    "chat": ["chat_started", "chat_answered", "chat_resolved", "chat_abandoned", "ticket_reopened"],
    "voice": ["call_queued", "call_answered", "call_abandoned", "call_resolved", "call_analyzed"],
    "billing": [
        "invoice_sent", "invoice_paid", "payment_failed", "refund_issued", "subscription_started",
        "subscription_cancelled", "purchase",
    ],
}  # fmt: skip
ANYTHING = [(channel, type_) for channel, types in TYPES.items() for type_ in types]
# Histories in which attempts meet, that pure chance would seldom find.
THEMES = [
    [("web", "add_to_cart"), ("web", "checkout_started"), ("web", "purchase"), ("web", "checkout_abandoned")],
    [("chat", type_) for type_ in ("chat_started", "chat_answered", "chat_resolved", "chat_abandoned")],
    [("voice", type_) for type_ in ("call_queued", "call_answered", "call_abandoned", "call_resolved")],
    [("billing", type_) for type_ in ("payment_failed", "invoice_sent", "invoice_paid", "purchase")],
    [("web", "page_view"), ("web", "document_download"), ("web", "error_seen"), ("web", "form_started"),
     ("web", "form_submitted"), ("web", "add_to_cart")],
    [("web", "error_seen"), ("chat", "chat_started"), ("voice", "call_queued"), ("web", "purchase")],
    [("web", type_) for type_ in ("referral_sent", "nps_submitted", "product_view", "loyalty_reward_earned")],
    [("billing", "subscription_started"), ("billing", "subscription_cancelled"), ("web", "product_view")],
]  # fmt: skip

ANYBODY = [
    *(Identifier("user_id", value) for value in "ab"),
    Identifier("customer_id", "c"),
    Identifier("email", "a@x.org"),
    Identifier("email", "b@x.org"),
    Identifier("phone", "+491"),
    *(Identifier("anonymous_id", value) for value in "mn"),
    Identifier("session_id", "s"),
]
IDENTIFIERS = st.sampled_from(ANYBODY)
NAMES = st.lists(st.lists(IDENTIFIERS, min_size=1, max_size=3).map(tuple), min_size=1, max_size=4)
# Touchpoints that only a later link, if any, can bring together.
NAMES_APART = st.lists(IDENTIFIERS, min_size=2, max_size=4, unique=True).map(
    lambda names: [(n,) for n in names]
)


EXTRAS: list[dict[str, Any]] = [
    *([{}] * 3),
    {"persona": "hurried"},
    {"campaign": Campaign(name="spring")},
    {"campaign": Campaign(name="autumn"), "persona": "curious"},
    {"campaign": Campaign(name="spring"), "properties": {"plan": 1}},
    {"campaign": Campaign(source="news")},
    {"segments": ("b2b", "vip")},
    {"segments": ("vip",)},
    {"properties": {"rating": 5}},
    {"properties": {"plan": "pro"}},
    {"properties": {"plan": True}},
    {"properties": {"plan": 1}},
]


class Choices:
    """One choice per byte; the smaller the byte, the earlier the option, so that Hypothesis shrinks to the first.

    A touchpoint is some twenty choices. Drawn one by one they would take most of the time of a test.
    """

    def __init__(self, told: bytes) -> None:
        self._told = iter(told)

    def of(self, options: Sequence[Any]) -> Any:
        """One of the options."""
        return options[next(self._told) * len(options) >> 8]


CHOICES = st.binary(min_size=22, max_size=22)


def happened(
    told: bytes, happening: list[tuple[str, str]], known_by: list[tuple[Identifier, ...]]
) -> Touchpoint:
    """The touchpoint that these choices make."""
    choice = Choices(told)
    channel, type_ = choice.of(happening)
    number, instant, identifiers = choice.of(range(31)), choice.of(range(41)), choice.of(known_by)
    conversation = choice.of([None, "x", "y"])
    detailed = choice.of([False, False, True])
    people = detailed and channel in ("chat", "voice")
    scored = choice.of([False] * 7 + [True]) or type_.endswith("_submitted")
    money = choice.of([False, True]) and type_ in ("purchase", "subscription_started", "refund_issued")

    def if_(held: bool, *options: Any) -> Any:
        chosen = choice.of(options)
        return chosen if held else None

    return Touchpoint(
        id=f"t{number:02}",
        source="segment",
        source_instance="shop",
        source_event_id="1",
        source_type="track",
        channel=channel,
        type=type_,
        occurred_at=NOON + instant,
        received_at=NOON + 100 + (if_(detailed, 0, 1) or 0),
        identifiers=identifiers,
        source_updated_at=if_(detailed, None, 1, 2),
        conversation_id=conversation if channel != "web" else None,
        outcome=if_(detailed, None, "success", "failure"),
        wait_ms=if_(people, None, 0, 15_000, 60_000, 120_000, 121_000, 400_000),
        hold_ms=if_(people, None, 60_000, 59_999, 180_000),
        transfers=if_(people, None, 0, 1, 2, 3),
        csat=if_(scored, None, 1.0, 2.0, 2.5, 4.0, 5.0),
        nps=if_(scored, None, 0, 6, 7, 9),
        ces=if_(scored, None, 3.0, 4.0, 6.0),
        sentiment=if_(scored, None, -0.6, -0.3, 0.0, 0.3),
        amount=if_(money, "10", "9.99", "0.10", "-3.5"),
        currency=if_(money, "EUR", "USD"),
        topic=if_(detailed, None, "billing", "complaint"),
        **(if_(detailed, *EXTRAS) or {}),
    )


def identified(told: bytes, known: Sequence[Identifier]) -> Identification:
    """Identifiers seen together, at any time, also long after the touchpoints of each."""
    choice = Choices(told)
    return Identification(
        id=f"i{choice.of(range(3))}",
        source="segment",
        source_instance="shop",
        channel="web",
        at=NOON + choice.of(range(41)),
        received_at=NOON + 100,
        persona=choice.of([None, None, "thrifty", "curious"]),
        identifiers=tuple([choice.of(known) for _ in range(choice.of([1, 2, 2, 3]))]),
    )


def corrected(told: bytes, known: Sequence[Identifier]) -> Correction:
    """What a person decided about two identifiers."""
    choice = Choices(told)
    return Correction(
        id=f"k{choice.of(range(3))}",
        relation=choice.of(["same", "not_same", "not_same", "undone"]),
        at=NOON + choice.of(range(41)),
        identifiers=(choice.of(known), choice.of(known)),
        author="ann",
    )


def sent_again(told: bytes, element: Touchpoint) -> Touchpoint:
    """A touchpoint as its source sends it again: as it was, only later, or changed."""
    changed = {"wait_ms": 60_000, "source_updated_at": 3}
    how = Choices(told).of([{}, {"received_at": element.received_at + 1}, changed, {"text": "otherwise"}])
    return msgspec.structs.replace(element, **how)


@st.composite
def histories(draw: Callable[..., Any]) -> list[Element]:
    """A household's elements; some are sent again, some histories come with corrections."""
    happening = draw(st.sampled_from([*THEMES, ANYTHING]))
    known_by = draw(st.one_of(NAMES, NAMES_APART))
    known = [identifier for identifiers in known_by for identifier in identifiers]
    size = draw(st.integers(0, 18))
    told = draw(st.lists(CHOICES, min_size=size, max_size=size + 2))
    touchpoints = [happened(choices, happening, known_by) for choices in told]
    elements: list[Element] = [*touchpoints]
    if touchpoints and draw(st.booleans()):
        again = draw(st.lists(CHOICES, max_size=2))
        elements += [sent_again(one[1:], touchpoints[one[0] * len(touchpoints) >> 8]) for one in again]
    if draw(st.booleans()):
        elements += [identified(one, [*known * 3, *ANYBODY]) for one in draw(st.lists(CHOICES, max_size=2))]
    if draw(st.integers(0, 3)) == 0:
        elements += [corrected(one, known) for one in draw(st.lists(CHOICES, max_size=3))]
    return elements


WATERMARKS = st.integers(0, 70).map(lambda at: NOON + at)


def households(elements: Iterable[Element]) -> list[list[Element]]:
    """The elements by what hangs together through their identifiers."""
    told = list(elements)
    parents: dict[str, str] = {}

    def root(key: str) -> str:
        while (parent := parents.setdefault(key, key)) != key:
            key = parent
        return key

    for element in told:
        for identifier in element.identifiers[1:]:
            parents[root(identifier.key)] = root(element.identifiers[0].key)
    found: dict[str, list[Element]] = {}
    for element in told:
        found.setdefault(root(element.identifiers[0].key), []).append(element)
    return list(found.values())


def root_of(elements: Iterable[Element], model: JourneyModel) -> str:
    """The identifier that a household of these elements is kept under in the end."""
    keys = {identifier.key for element in elements for identifier in element.identifiers}
    return min(keys, key=model.identifier_order.rank, default="user_id:nobody")


class Standing:
    """What a warehouse holds: of each key the row with the greatest version, of equal ones the last."""

    def __init__(self) -> None:
        self._rows: dict[str, dict[Any, Any]] = {
            name: {} for name in ("touchpoints", "journeys", "identities", "conflicts", "duplicates")
        }
        self._identifications: set[bytes] = set()
        self._corrections: set[bytes] = set()
        self._copies: set[bytes] = set()

    def load(self, facts: Facts) -> None:
        for touchpoint in facts.touchpoints:
            t = touchpoint.touchpoint
            self._replace("touchpoints", (t.id, day(t.occurred_at)), touchpoint)
            self._copies.add(canonical(t))
        for journey in facts.journeys:
            self._replace("journeys", (journey.id, day(journey.started_at)), journey)
        for identity in facts.identities:
            self._replace("identities", identity.identifier, identity)
        for conflict in facts.conflicts:
            self._replace("conflicts", (conflict.identifier_a, conflict.identifier_b), conflict)
        for duplicate in facts.duplicates:
            self._replace("duplicates", (duplicate.id, duplicate.content), duplicate)
        self._identifications |= {canonical(one) for one in facts.identifications}
        self._corrections |= {canonical(one) for one in facts.corrections}
        self._copies |= {canonical(one) for one in facts.copies}

    def _replace(self, table: str, key: Any, row: Any) -> None:
        known = self._rows[table].get(key)
        if known is None or row.version >= known.version:
            self._rows[table][key] = row

    def said(self, count: int) -> Said:
        """In the oracle's words."""

        def standing(table: str) -> dict[Any, Any]:
            rows = self._rows[table].items()
            return {key: row for key, row in rows if not getattr(row, "deleted", False)}

        def plain(row: Any, *without: str) -> dict[str, Any]:
            left_out = {"version", "deleted", *without}
            return {
                name: value for name, value in msgspec.structs.asdict(row).items() if name not in left_out
            }

        journeys = {key: plain(row) for key, row in standing("journeys").items()}
        for journey in journeys.values():
            journey["values"] = {currency: Fraction(amount) for currency, amount in journey["values"].items()}
        return Said(
            touchpoints={key: (row.touchpoint, row.verdict) for key, row in standing("touchpoints").items()},
            journeys=journeys,
            identities={key: plain(row, "identifier") for key, row in standing("identities").items()},
            conflicts={
                key: plain(row, "identifier_a", "identifier_b") for key, row in standing("conflicts").items()
            },
            duplicates=set(standing("duplicates")),
            identifications=self._identifications,
            corrections=self._corrections,
            copies=self._copies,
            count=count,
        )


def touchpoint(id: str, at: int, type_: str, channel: str | None = None, **fields: Any) -> Touchpoint:
    """One touchpoint of user a; its channel is the usual one of its type."""
    fields.setdefault("identifiers", (Identifier("user_id", "a"),))
    return Touchpoint(
        id=id,
        source="segment",
        source_instance="shop",
        source_event_id=id,
        source_type="track",
        channel=channel or VOCABULARY.get(type_, ("web",))[0],
        type=type_,
        occurred_at=at,
        received_at=at + 1000,
        **fields,
    )


def tell(story: str) -> list[Touchpoint]:
    """`"0m add_to_cart, 24h+1 purchase/x"`: instant (and ms), type and conversation; ids t1, t2 … as told."""
    told = []
    for number, entry in enumerate(filter(None, map(str.strip, story.split(","))), start=1):
        when, what = entry.split()
        duration, _, rest = when.partition("+")
        type_, _, conversation = what.partition("/")
        at = (parse_duration(duration) or 0) + int(rest or 0)
        told.append(touchpoint(f"t{number}", at, type_, conversation_id=conversation or None))
    return told


def said_of(
    elements: Iterable[Element], *, now: int = 0, model: JourneyModel | None = None
) -> dict[str, Verdict]:
    """The verdict on each touchpoint, by its id, at the watermark `now`."""
    facts = verdicts(elements, now, model or default_model())
    return {row.touchpoint.id: row.verdict for row in facts.touchpoints}
