"""What stays in the state of a household when its closed journeys leave it for the archive.

`Trimmed` is a set that only grows, as the household's own is: `union` of what several workers trimmed, in any
order, is what one of them would have trimmed. It holds what later touchpoints depend on (`Origin`, links,
personas) and marks of what left, so that an element that comes again is known, and one that reaches behind is
seen to need the past.
"""

from array import array
from collections.abc import Iterable, Set
from hashlib import blake2b
from typing import TypeVar

import msgspec

from models.touchpoint import Element, Touchpoint, encoding

Key = TypeVar("Key")


def mark(text: bytes) -> int:
    """A signed 64-bit hash that stands for a text. Two of a household's agree once in 10^13 of a million."""
    return int.from_bytes(blake2b(text, digest_size=8).digest(), "little", signed=True)


def element_mark(element: Element) -> int:
    """The mark of an element: of all that it says."""
    return mark(encoding(element))


class Told(msgspec.Struct, array_like=True, frozen=True, order=True):
    """A persona that was said of an identifier."""

    at: int
    id: str
    persona: str


class Origin(msgspec.Struct, array_like=True):
    """Where what is held of a customer begins: after journeys that were trimmed.

    `identifiers`: strongest ones of the trimmed touchpoints. `at`, `id`: the last of these. `until`: up to when
    a touchpoint could still end or renew an attempt of theirs. `contacts`: topics, and when a conversation on
    each was last begun; `failures`: types, and when each last failed. `persona`: what was said of the customer
    outside any touchpoint when the journeys' rows were last said. `seen`: how many elements the household had seen
    when the first of them left.
    """

    customer_id: str
    identifiers: set[str]
    at: int
    id: str
    closes: bool
    converted: bool
    until: int
    contacts: list[tuple[str | None, int]]
    failures: list[tuple[str, int]]
    persona: Told | None = None
    seen: int = 0

    def joined(self, other: "Origin") -> "Origin":
        """Of both: what is known of the customer in the end."""
        last = max(self, other, key=lambda origin: (origin.at, origin.id, origin.closes))
        return Origin(
            self.customer_id,
            self.identifiers | other.identifiers,
            last.at,
            last.id,
            last.closes,
            self.converted or other.converted,
            max(self.until, other.until),
            _latest(self.contacts, other.contacts),
            _latest(self.failures, other.failures),
            latest_told(self.persona, other.persona),
            min(self.seen, other.seen),
        )

    def precedes(self, touchpoint: Touchpoint, journey_gap_ms: int) -> bool:
        """Whether a touchpoint begins a journey of its own, and changes nothing in those before."""
        at = touchpoint.occurred_at
        return (
            touchpoint.order > (self.at, self.id)
            and (self.closes or at - self.at > journey_gap_ms)
            and at > self.until
        )


class Trimmed(msgspec.Struct, array_like=True):
    """What is kept of a household's trimmed elements.

    `archived`: marks of those that the archive has; `lost`: of those that it was found not to have.
    `touchpoints`, `conversations`: marks of their ids. `identifiers`: the strongest of
    each element. `links`: pairs of identifiers, the stronger first, to the earliest time of both together.
    `whole_at`: how many elements the household had seen when all that had left was back (0: it never was).
    """

    archived: set[int] = set()
    lost: set[int] = set()
    touchpoints: set[int] = set()
    conversations: set[int] = set()
    identifiers: set[str] = set()
    links: dict[tuple[str, str], int] = {}
    origins: dict[str, Origin] = {}  # by customer
    personas: dict[str, Told] = {}  # by strongest identifier
    whole_at: int = 0

    def union(self, other: "Trimmed") -> "Trimmed":
        """What is kept of the elements of both."""
        origins = dict(self.origins)
        for customer_id, origin in other.origins.items():
            known = origins.get(customer_id)
            origins[customer_id] = origin if known is None else known.joined(origin)
        links = dict(self.links)
        for pair, at in other.links.items():
            links[pair] = min(at, links.get(pair, at))
        personas = dict(self.personas)
        for identifier, told in other.personas.items():
            personas[identifier] = max(told, personas.get(identifier, told))
        return Trimmed(
            self.archived | other.archived,
            self.lost | other.lost,
            self.touchpoints | other.touchpoints,
            self.conversations | other.conversations,
            self.identifiers | other.identifiers,
            links,
            origins,
            personas,
            max(self.whole_at, other.whole_at),
        )

    @property
    def doubtful(self) -> bool:
        """Whether an origin may be of touchpoints that came back since, and belong to somebody else now."""
        return any(origin.seen < self.whole_at for origin in self.origins.values())

    @property
    def count(self) -> int:
        """How many elements it stands for."""
        return len(self.archived) + len(self.lost - self.archived)

    def knows(self, element_mark: int) -> bool:
        """Whether an element of this mark was trimmed."""
        return element_mark in self.archived or element_mark in self.lost

    def concerns(self, element: Element) -> bool:
        """Whether an element that was not trimmed says more of a touchpoint or a conversation that was."""
        return isinstance(element, Touchpoint) and (
            mark(element.id.encode()) in self.touchpoints
            or (
                element.conversation_id is not None
                and mark(element.conversation_id.encode()) in self.conversations
            )
        )


def latest_told(some: Told | None, other: Told | None) -> Told | None:
    """What was said later."""
    return max(some, other) if some is not None and other is not None else some or other


def _latest(some: Iterable[tuple[Key, int]], others: Iterable[tuple[Key, int]]) -> list[tuple[Key, int]]:
    """Of each key the greater instant."""
    instants = dict(some)
    for key, at in others:
        instants[key] = max(at, instants.get(key, at))
    return list(instants.items())


# --- as bytes: marks are packed ---


class _Packed(msgspec.Struct, array_like=True):
    archived: bytes
    lost: bytes
    touchpoints: bytes
    conversations: bytes
    identifiers: set[str]
    links: list[tuple[str, str, int]]
    origins: list[Origin]
    personas: dict[str, Told]
    whole_at: int = 0


_encoder = msgspec.msgpack.Encoder(order="deterministic")
_decoder = msgspec.msgpack.Decoder(_Packed)


def encode_trimmed(trimmed: Trimmed) -> bytes:
    """As MessagePack."""
    return _encoder.encode(
        _Packed(
            pack(trimmed.archived),
            pack(trimmed.lost),
            pack(trimmed.touchpoints),
            pack(trimmed.conversations),
            trimmed.identifiers,
            [(*pair, at) for pair, at in trimmed.links.items()],
            list(trimmed.origins.values()),
            trimmed.personas,
            trimmed.whole_at,
        )
    )


def decode_trimmed(data: bytes) -> Trimmed:
    """What `encode_trimmed` made."""
    packed = _decoder.decode(data)
    return Trimmed(
        unpack(packed.archived),
        unpack(packed.lost),
        unpack(packed.touchpoints),
        unpack(packed.conversations),
        packed.identifiers,
        {(a, b): at for a, b, at in packed.links},
        {origin.customer_id: origin for origin in packed.origins},
        packed.personas,
        packed.whole_at,
    )


def pack(marks: Set[int]) -> bytes:
    """Marks as bytes, eight each."""
    return array("q", sorted(marks)).tobytes()


def unpack(data: bytes) -> set[int]:
    """The marks of `pack`."""
    marks = array("q")
    marks.frombytes(data)
    return set(marks)


def union_of(several: Iterable[Trimmed]) -> Trimmed | None:
    """What is kept of the elements of all; None of none."""
    whole: Trimmed | None = None
    for trimmed in several:
        whole = trimmed if whole is None else whole.union(trimmed)
    return whole
