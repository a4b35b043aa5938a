"""Who owns a household across partitions: messages in, effects out. Pure; it knows neither Faust nor a clock.

A *node* is an identifier in the partition that its key falls into: a *root*, which owns a household, or an
*alias*, which belongs to the household of a stronger identifier. State is a set that only grows, so repeats,
any order, replays after a crash and a predecessor that does not know that it is one do no harm. Three rules
keep what is *said* right as well:

1. A record that a predecessor may have handled makes the whole household be said again (`full`), wherever it
   is forwarded to.
2. So does a merge, and what is put back after it was lost.
3. A replayed record sends its links, merges and forwards again.

Whatever was handed out must be durable before the offset of the record that caused it is committed; what
`receive` leaves to be said, `judge` and `say_all` hand out.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import NamedTuple, Protocol

import msgspec

from models.identifier import IdentifierOrder
from models.journey_model import JourneyModel
from models.routing import partition_of, routing_key
from models.touchpoint import Clock, Element, Record, Touchpoint
from models.verdict import Facts
from models.watermark import Watermark
from streams import codecs
from streams.codecs import Elements, Entry, Kept, Link, Message, Passed
from streams.deadlines import Deadlines
from streams.roots import Roots

_BEFORE_ALL = -1
_REST_EVERY = 256  # households that are judged in a row


class Position(NamedTuple):
    """Where a record stands in the topics that are read."""

    topic: str
    offset: int


class Effects(NamedTuple):
    """What a record causes: changelog entries, and messages by the partition they go to."""

    entries: list[Entry]
    messages: dict[int, list[Message]]


class Nodes:
    """All nodes of one partition.

    Filled by `load` from the changelog, then `recovered`, then `guard`; from then on `receive`.
    """

    def __init__(
        self,
        partition: int,
        partitions: int,
        model: JourneyModel,
        *,
        allowed_lateness_ms: int | None = None,
        awake_limit: int | None = None,
    ) -> None:
        self.partition = partition
        self.partitions = partitions
        self.watermark = Watermark(
            model.allowed_lateness_ms if allowed_lateness_ms is None else allowed_lateness_ms,
            model.clock_tolerance_ms,
        )
        self.households = Roots(model, awake_limit)
        self.parents: dict[str, str] = {}  # alias -> a stronger identifier
        self._left: dict[str, Elements] = {}  # alias -> what it held as a root; a replay sends it again
        self._model = model
        self._rank = model.identifier_order.rank
        self._deadlines = Deadlines()
        self._unsaid: dict[str, None] = {}  # roots with something new, in the order of arrival
        self._full: dict[str, None] = {}  # roots of which everything is to be said
        self._changed: dict[str, None] = {}  # roots whose journey rows wait
        # by topic: below which offset a predecessor may have handled records, or said what they caused
        self._guarded: dict[str, int] = {}
        self._full_to: dict[str, int] = {}
        self._next: dict[str, int] = {}  # topic -> offset of the next record
        self._loaded: dict[str, list[bytes]] = {}  # node -> entries of elements, until `recovered`
        self._live = False
        self._watermark_generation = -1
        self.generation = 0
        self.trusting = False

    # --- taking over a partition ---

    def load(self, key: bytes, value: bytes | None) -> None:
        """An entry of the changelog. None as its value: it was trimmed.

        Once records are received, entries are our own, or of a predecessor whose records come to us, too.
        """
        if value is None or self._live:
            return
        about = codecs.decode_entry_key(key)
        if about.kind == "e":
            self._loaded.setdefault(about.node, []).append(value)
        elif about.kind == "p":
            parent = self.parents.get(about.node, about.parent)
            self.parents[about.node] = min(parent, about.parent, key=self._rank)
        elif about.kind == "w" and about.offset >= self._watermark_generation:
            # of the latest generation only; within one it does not fall
            if about.offset > self._watermark_generation:
                self.watermark.value = 0
            self._watermark_generation = about.offset
            self.watermark.clock(codecs.decode_watermark(value))

    def recovered(self) -> Iterator[int]:
        """The changelog was read: judge what was loaded, silently, since it was said before or is replayed.

        Yields now and then how many households are left, for who has other work to do, too.
        """
        while self._loaded:
            node, entries = self._loaded.popitem()
            household = self.households.create(node)
            for entry in entries:
                kept = codecs.decode_kept(entry)
                household.add(kept.elements)
                self.households.raise_to(household, kept.seen, kept.watermark)
            if node in self.parents:
                self._leave(node)
            else:
                household.judge(self.watermark.value)
                self._deadlines.set(node, household.next_deadline())
            if len(self._loaded) % _REST_EVERY == 0:
                self.households.rest()
                yield len(self._loaded)

    def guard(
        self,
        ends: Mapping[str, int],
        begins: Mapping[str, int],
        *,
        said_before: bool = True,
        generation: int = 0,
        trusting: bool = False,
    ) -> None:
        """From now on records are received. `ends`: where the topics ended when the partition was assigned.

        `begins`: the offsets committed. What lies between them may have been handled by a predecessor; and
        until `trust` it may go on handling more, unless `trusting` says that there is none.
        """
        self._guarded = dict(ends)
        self._full_to = dict(ends) if said_before else {}
        self._next = dict(begins)
        self._live = True
        self.generation = generation
        self.trusting = trusting

    def trust(self, ends: Mapping[str, int]) -> None:
        """No predecessor is at work any more. `ends`: where the topics end now."""
        self._full_to = {topic: max(at, self._full_to.get(topic, 0)) for topic, at in ends.items()}
        self.trusting = True

    # --- records ---

    def receive(
        self,
        records: Iterable[Record],
        at: Position,
        *,
        moves_watermark: bool = True,
        again: bool = False,
        now: int | None = None,
    ) -> Effects:
        """A record of a channel. `moves_watermark` False: of a file load, whose clock record alone does.

        `again`: it was published before, to a broker that lost it. `now`: the wall clock where it is known; a
        touchpoint that says it was received later moves no watermark.
        """
        given: dict[str, list[Element]] = {}
        order = self._model.identifier_order
        latest = None if now is None else now + self._model.clock_tolerance_ms
        observe = self.watermark.observe
        for record in records:
            if isinstance(record, Clock):
                self.watermark.clock(record.at if latest is None else min(record.at, latest))
                continue
            if (
                moves_watermark
                and isinstance(record, Touchpoint)
                and (latest is None or record.received_at <= latest)
            ):
                observe(record)
            identifiers = record.identifiers
            key = identifiers[0].key if len(identifiers) == 1 else routing_key(identifiers, order)
            if key in given:
                given[key].append(record)
            else:
                given[key] = [record]
        handling = self._handling(at)
        for key, elements in given.items():
            handling.elements(Elements(key, elements, again or handling.full))
        return handling.done()

    def receive_messages(self, messages: Iterable[Message], at: Position) -> Effects:
        """A record of the inbox."""
        handling = self._handling(at)
        for message in messages:
            if isinstance(message, Link):
                handling.link(message.to, message.other, handling.full or message.full)
            elif isinstance(message, Elements):
                if handling.full and not message.full:
                    message = msgspec.structs.replace(message, full=True)
                handling.elements(message)
            else:
                self.watermark.clock(message.at)
        return handling.done()

    def next_of(self, topic: str) -> int:
        """The offset of the topic's record that comes next."""
        return self._next.get(topic, 0)

    # --- saying ---

    @property
    def owes(self) -> bool:
        """Whether something is left to be said."""
        return bool(
            self._full or self._changed or self._unsaid or self._deadlines.before(self.watermark.value)
        )

    @property
    def has_news(self) -> bool:
        """Whether `judge` may say something."""
        return bool(self._unsaid)

    def judge(self) -> Facts:
        """Say what is new, journey rows apart."""
        watermark = self.watermark.value
        said = Facts()
        for household_id in self._unsaid:
            if household_id not in self._full:
                household = self.households[household_id]
                _append(said, household.judge(watermark, journeys=False))
                self._changed[household_id] = None
                self._deadlines.set(household_id, household.next_deadline())
        self._unsaid = {}
        return said

    def say_all(self) -> Facts:
        """Say everything that is owed: what is new, rows of journeys that changed, full households, deadlines."""
        said = self.judge()
        watermark = self.watermark.value
        for household_id in self._changed:
            if household_id not in self._full:
                said.journeys.extend(self.households[household_id].journey_rows())
        self._changed = {}
        full, self._full = self._full, {}
        due = [household_id for household_id in self._deadlines.due(watermark) if household_id not in full]
        for number, household_id in enumerate([*full, *due], start=1):
            household = self.households.get(household_id)
            if household is not None:
                _append(said, household.judge(watermark, full=household_id in full))
                self._deadlines.set(household_id, household.next_deadline())
            if number % _REST_EVERY == 0:  # thousands may be due at once, and all were woken
                self.households.rest()
        self.households.rest()
        said.watermarks[self.partition] = watermark
        return said

    def settled(self) -> None:
        """What was received may be committed: what is kept for replays is forgotten, once none is to come."""
        if self._left and all(self._next.get(topic, 0) >= end for topic, end in self._guarded.items()):
            self._left = {}

    # --- inside ---

    def _handling(self, at: Position) -> "_Handling":
        self._next[at.topic] = at.offset + 1
        replay = at.offset < self._guarded.get(at.topic, _BEFORE_ALL)
        full = not self.trusting or at.offset < self._full_to.get(at.topic, _BEFORE_ALL)
        return _Handling(self, at, replay, full)

    def _leave(self, node: str) -> Elements | None:
        """A root became an alias: what it held, for its parent."""
        seen = self.households.floor(node)
        household = self.households.pop(node)
        self._unsaid.pop(node, None)
        self._full.pop(node, None)
        self._changed.pop(node, None)
        self._deadlines.set(node, None)
        if household is None or not household.count:
            return None
        held = Elements(self.parents[node], list(household.elements()), True, household.watermark, seen)
        household.let_go()
        self._left[node] = held
        return held


class _Handling:
    """One record on its way through the nodes of a partition."""

    __slots__ = ("_at", "_effects", "_kept", "_nodes", "full", "replay")

    def __init__(self, nodes: Nodes, at: Position, replay: bool, full: bool) -> None:
        self._nodes = nodes
        self._at = at
        self.replay = replay
        self.full = full
        self._effects = Effects([], {})
        self._kept: dict[str, Kept] = {}

    def done(self) -> Effects:
        """The effects, with one entry for all that the record carries for a node."""
        for node, kept in self._kept.items():
            self._effects.entries.extend(codecs.element_entries(node, self._at.topic, self._at.offset, kept))
        return self._effects

    def elements(self, message: Elements) -> None:
        """Elements for a node: for its household, or to be forwarded."""
        nodes, to, elements = self._nodes, message.to, message.elements
        household = nodes.households.get(to)
        if household is None:
            if to in nodes.parents:
                parent = nodes.parents[to]
                self._send(parent, msgspec.structs.replace(message, to=parent))
                return
            if partition_of(to, nodes.partitions) != nodes.partition:
                self._send(to, message)  # a foreign producer's
                return
            household = nodes.households.create(to)
        known = household.identifiers()
        new = household.add(elements)
        if message.watermark or message.seen:
            nodes.households.raise_to(household, message.seen, message.watermark)
        before = self._kept.get(to)
        if before is None:
            self._kept[to] = Kept(elements, message.watermark, message.seen)
        else:
            self._kept[to] = Kept(
                before.elements + elements,
                max(before.watermark, message.watermark),
                max(before.seen, message.seen),
            )
        if message.full:
            nodes._full[to] = None
        elif new:
            nodes._unsaid[to] = None
        linked: set[str] = set()
        for element in elements if self.replay else new:
            for identifier in element.identifiers:
                other = identifier.key
                if other != to and other not in linked and (self.replay or other not in known):
                    linked.add(other)
                    self._send(other, Link(other, to, message.full))

    def link(self, to: str, other: str, full: bool) -> None:
        """`to` and `other` belong to one household; the weaker one becomes an alias of the stronger one."""
        if to == other:
            return
        nodes = self._nodes
        rank = nodes._rank
        parent = nodes.parents.get(to)
        if parent is not None:
            if self.replay and to in nodes._left:
                self._merge(msgspec.structs.replace(nodes._left[to], to=parent))
            if parent != other:
                weaker, stronger = sorted((parent, other), key=rank, reverse=True)
                self._send(weaker, Link(weaker, stronger, full))
            return
        if rank(to) < rank(other):
            if to not in nodes.households:
                nodes.households.create(to)
            self._send(other, Link(other, to, full))
            return
        nodes.parents[to] = other
        self._effects.entries.append(codecs.parent_entry(to, other))
        held = nodes._leave(to)
        if held is not None:
            self._merge(held)

    def _merge(self, held: Elements) -> None:
        for part in codecs.parts(held.elements):
            self._send(held.to, msgspec.structs.replace(held, elements=part))

    def _send(self, to: str, message: Message) -> None:
        self._effects.messages.setdefault(partition_of(to, self._nodes.partitions), []).append(message)


def _append(said: Facts, more: Facts) -> None:
    said.touchpoints.extend(more.touchpoints)
    if more.journeys:
        said.journeys.extend(more.journeys)
    if more.identities:
        said.identities.extend(more.identities)
    if more.conflicts:
        said.conflicts.extend(more.conflicts)
    if more.identifications:
        said.identifications.extend(more.identifications)
    if more.corrections:
        said.corrections.extend(more.corrections)
    if more.duplicates:
        said.duplicates.extend(more.duplicates)


# --- putting back what the broker lost ---


class InboxRecord(NamedTuple):
    """A record for `journeys.inbox`."""

    partition: int
    key: bytes
    value: bytes


class Past(Protocol):
    """A household that was said of: all its elements, and the greatest version, as two numbers."""

    @property
    def elements(self) -> Sequence[Element]:
        """The whole set, as far as it is left."""

    @property
    def elements_seen(self) -> int:
        """How many elements the household had seen."""

    @property
    def watermark(self) -> int:
        """UTC ms."""


def encode_pasts(pasts: Iterable[Past], order: IdentifierOrder, partitions: int) -> list[InboxRecord]:
    """Records that put whole households back into the state after the broker lost it.

    Each is said in full again, with greater versions than before, even if some of its elements are not left
    (copies that did not count).
    """
    messages: dict[int, list[Message]] = {}
    for past in pasts:
        given: dict[str, list[Element]] = {}
        for element in past.elements:
            given.setdefault(routing_key(element.identifiers, order), []).append(element)
        for key, some in given.items():
            for part in codecs.parts(some):
                message = Elements(key, part, True, past.watermark, past.elements_seen)
                messages.setdefault(partition_of(key, partitions), []).append(message)
    return [
        InboxRecord(partition, b"", value)
        for partition, some_messages in messages.items()
        for value in codecs.encode_messages(some_messages)
    ]


class _Loose(NamedTuple):
    elements: list[Element]
    elements_seen: int = 0
    watermark: int = 0


def encode_put_back(
    elements: Iterable[Element], order: IdentifierOrder, partitions: int
) -> list[InboxRecord]:
    """Records that put elements back of which nothing was said yet, or not of all that they belong to."""
    return encode_pasts([_Loose(list(elements))], order, partitions)


def encode_watermark(partition: int, watermark: int) -> InboxRecord:
    """The record that tells a partition its watermark (UTC ms) after the broker lost it."""
    return InboxRecord(partition, b"", codecs.encode_messages([Passed(watermark)])[0])
