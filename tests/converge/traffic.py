"""Made-up customers of all channels, as unruly as real ones, and the Kafka records that bring them.

Instants are a walk in steps of exactly the durations that the shipped journey model compares with, a
millisecond more, and less: equal times and exact gaps are common. All of it is a function of the seed.
"""

import random
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import msgspec

from models.identifier import Identifier
from models.journey_model import JourneyModel
from models.routing import partition_of, routing_key, topic_of
from models.touchpoint import Agent, Campaign, Correction, Element, Identification, Touchpoint
from tests.histories import ANYTHING, DAY_MS, THEMES

MINUTE_MS = 60_000
HOUR_MS = 60 * MINUTE_MS
BEGIN = 20_000 * DAY_MS - 20 * MINUTE_MS  # so that the day changes within the first journeys
SPAN_MS = 20 * DAY_MS  # within which customers begin
LONGEST_MS = 45 * DAY_MS  # from a customer's first touchpoint to the last
END = BEGIN + SPAN_MS + LONGEST_MS + 3 * DAY_MS  # some patience has run out by then, and some has not

STEPS = (
    *(0, 0, 0, 1, 5_000, 20_000, MINUTE_MS, MINUTE_MS, 3 * MINUTE_MS),
    *(5 * MINUTE_MS + more for more in (-1, 0, 1)),
    *(30 * MINUTE_MS + more for more in (-1, 0, 1)),
    *(HOUR_MS + more for more in (0, 1)),
    *(DAY_MS + more for more in (0, 1)),
    *(3 * DAY_MS + 1, 7 * DAY_MS, 7 * DAY_MS + 1, 30 * DAY_MS, 30 * DAY_MS + 1),
)
KINDS = (
    *(("user_id", f"u{letter}") for letter in "abc"),
    ("customer_id", "c"),
    *(("email", f"{letter}@x.org") for letter in "ab"),
    *(("phone", f"+4912345{digit}") for digit in "12"),
    *(("anonymous_id", f"a{letter}") for letter in "mnop"),
    *(("session_id", f"s{letter}") for letter in "st"),
)


def household(rng: random.Random, number: int) -> list[Element]:
    """What some people who share identifiers do; ids and identifiers are theirs alone."""
    everyone = [
        Identifier(kind, f"{number}-{value}" if kind != "phone" else f"{value}{number:05}")
        for kind, value in KINDS
    ]
    known = rng.sample(everyone, rng.randrange(2, len(everyone)))
    happening = rng.choice([*THEMES, ANYTHING])
    begin = BEGIN + rng.randrange(SPAN_MS // MINUTE_MS) * MINUTE_MS
    at = begin
    elements: list[Element] = []

    def some() -> tuple[Identifier, ...]:
        return tuple(dict.fromkeys(rng.choices(known, k=rng.choice((1, 1, 1, 2, 2, 3)))))

    for place in range(rng.choice((1, 3, 6, 9, 12, 20))):
        at = min(at + rng.choice(STEPS), begin + LONGEST_MS)
        touchpoint = _touchpoint(rng, f"{number}-t{place}", at, rng.choice(happening), some())
        elements.append(touchpoint)
        if rng.random() < 0.1:  # the same id with another content: sent again, or in conflict
            elements.append(
                msgspec.structs.replace(
                    touchpoint,
                    identifiers=tuple(dict.fromkeys((touchpoint.identifiers[0], rng.choice(known)))),
                    source_updated_at=rng.choice((None, at + 5)),
                    occurred_at=at + rng.choice((0, 0, 1, HOUR_MS)),
                    topic=rng.choice((touchpoint.topic, "billing")),
                )
            )
        if rng.random() < 0.05:  # the same content, received later
            elements.append(msgspec.structs.replace(touchpoint, received_at=touchpoint.received_at + 7))
    for place in range(rng.choice((0, 0, 1, 2))):
        seen = begin + rng.choice(STEPS)
        elements.append(
            Identification(
                id=f"{number}-i{place}", source="segment", source_instance="shop", channel="web", at=seen,
                received_at=seen, identifiers=some(), persona=rng.choice((None, "thrifty", "hurried")),
            )
        )  # fmt: skip
    for place in range(rng.choice((0, 0, 0, 1, 2))):
        first, second = rng.sample(known, 2)
        relation = rng.choice(("same", "not_same", "undone"))
        elements.append(
            Correction(
                id=f"{number}-k{place}", relation=relation, identifiers=(first, second),
                at=begin + rng.choice(STEPS), author="ann",
            )
        )  # fmt: skip
    return elements


def _touchpoint(
    rng: random.Random, id: str, at: int, what: tuple[str, str], identifiers: tuple[Identifier, ...]
) -> Touchpoint:
    channel, type_ = what
    person = channel in ("chat", "voice")
    scored = type_.endswith("_submitted")
    money = type_ in ("purchase", "subscription_started", "refund_issued", "invoice_paid")
    return Touchpoint(
        id=id, source="stripe" if channel == "billing" else "segment", source_instance="shop",
        source_event_id=id, source_type="track", channel=channel, type=type_, occurred_at=at,
        received_at=at + rng.choice((0, 5, 90_000)), identifiers=identifiers,
        conversation_id=rng.choice((None, "x", "y")) if channel != "web" else None,
        outcome=rng.choice((None, None, None, "success", "failure")),
        wait_ms=rng.choice((None, 0, 15_000, 60_000, 121_000, 400_000)) if person else None,
        hold_ms=rng.choice((None, 59_999, 60_000, 180_000)) if person else None,
        transfers=rng.choice((None, 0, 1, 2)) if person else None,
        csat=rng.choice((None, 1.0, 2.0, 4.0, 5.0)) if scored else None,
        nps=rng.choice((None, 0, 6, 9)) if scored else None,
        sentiment=rng.choice((None, -0.6, -0.3, 0.3)) if person else None,
        amount=rng.choice(("10", "9.99", "0.10", "-3.5")) if money else None,
        currency=rng.choice(("EUR", "USD")) if money else None,
        topic=rng.choice((None, None, "billing", "complaint")) if person else None,
        agent=Agent(queue="first") if person and rng.random() < 0.3 else None,
        campaign=Campaign(name=rng.choice(("spring", "autumn"))) if rng.random() < 0.2 else None,
        persona=rng.choice(("curious", "thrifty")) if rng.random() < 0.1 else None,
        properties={"rating": rng.randrange(1, 6)} if type_ == "review_posted" else {},
    )  # fmt: skip


class Published(NamedTuple):
    """A Kafka record to be, and how many elements it holds."""

    topic: str
    partition: int
    value: bytes
    elements: int


class Traffic:
    """Everything that `customers` households do, and in which records it comes.

    `counts`: how often each kind of unruliness is among it.
    """

    def __init__(self, seed: int, customers: int) -> None:
        self._rng = random.Random(seed)
        self.by_household = [household(self._rng, number) for number in range(customers)]
        self.elements = [element for elements in self.by_household for element in elements]
        self.counts = {"repeated": 0, "in the wrong partition": 0, "long after its time": 0}

    @property
    def touchpoints(self) -> int:
        """Distinct ids of touchpoints."""
        return len({element.id for element in self.elements if isinstance(element, Touchpoint)})

    def arriving(self) -> list[Element]:
        """Roughly in the order of time; some long after it, some again."""
        rng = self._rng
        begin, end = BEGIN, BEGIN + SPAN_MS + LONGEST_MS
        places: list[tuple[float, int, Element]] = []
        for number, element in enumerate(self.elements):
            at = element.occurred_at if isinstance(element, Touchpoint) else element.at
            share = (at - begin) / (end - begin) + rng.gauss(0, 0.03)
            if rng.random() < 0.2:
                share = rng.random()
                self.counts["long after its time"] += 1
            places.append((share, number, element))
            if rng.random() < 0.15:
                places.append((rng.random(), number, element))
                self.counts["repeated"] += 1
        return [element for _, _, element in sorted(places, key=lambda place: place[:2])]

    def records(self, model: JourneyModel, partitions: int) -> Iterator[Published]:
        """Records of one to forty elements, some in the wrong partition."""
        rng = self._rng
        filling: dict[tuple[str, int], list[Element]] = {}
        for element in self.arriving():
            partition = partition_of(routing_key(element.identifiers, model.identifier_order), partitions)
            if rng.random() < 0.05:
                partition = rng.randrange(partitions)
                self.counts["in the wrong partition"] += 1
            channel = "web" if isinstance(element, Correction) else element.channel
            place = topic_of(channel), partition
            filling.setdefault(place, []).append(element)
            if len(filling[place]) >= 40 or rng.random() < 0.06:
                yield record(*place, filling.pop(place))
        for place, elements in filling.items():
            yield record(*place, elements)


def record(topic: str, partition: int, elements: Sequence[Element]) -> Published:
    """These elements as one Kafka record."""
    return Published(topic, partition, msgspec.json.encode(elements), len(elements))
