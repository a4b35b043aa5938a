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

from collections.abc import Iterable, Iterator, Mapping
from typing import NamedTuple

import msgspec

from models.fold import Household
from models.journey_model import JourneyModel
from models.routing import partition_of
from models.touchpoint import Clock, Element, Record, Touchpoint
from models.trimming import Trimmed, decode_trimmed, encode_trimmed, pack, union_of, unpack
from models.verdict import Facts
from models.watermark import Watermark
from streams import codecs
from streams.codecs import Elements, Entry, EntryKey, Kept, Link, Message, PastWanted, Rehydrated
from streams.deadlines import Deadlines
from streams.entries import EntryIndex, Place
from streams.guard import Guard
from streams.roots import Roots

_REST_EVERY = 256  # households that are judged in a row
_ELEMENTS_AGAIN = 20_000  # said at once under another journey model


class Position(NamedTuple):
    """Where a record stands in the topics that are read."""

    topic: str
    offset: int


class Effects(NamedTuple):
    """What a record causes: changelog entries, and messages by the partition they go to."""

    entries: list[Entry]
    messages: dict[int, list[Message]]


class Trims(NamedTuple):
    """What is to be written once all that was said is durable: first `entries`, then, durable, `deletions`."""

    entries: list[Entry]
    deletions: list[Entry]


class Nodes:
    """All nodes of one partition.

    Filled by `load` from the changelog, then `recovered`, then `guard`; from then on `receive`. `archived`: what
    leaves the state can be asked back; without an archive nothing leaves.
    """

    def __init__(
        self,
        partition: int,
        partitions: int,
        model: JourneyModel,
        *,
        allowed_lateness_ms: int | None = None,
        awake_limit: int | None = None,
        archived: bool = True,
        fingerprint: str = "",
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
        self._guard = Guard()
        # node -> its entries by key, until `recovered`
        self._loaded: dict[str, dict[bytes, tuple[EntryKey, bytes]]] = {}
        self._entries = EntryIndex()
        self._archived = archived
        self._partial = False  # the archive has households that are not here, nor were trimmed here
        self._awaiting: set[str] = set()  # roots of which the archive may know more; nothing is said of them
        self._wanted: dict[str, int] = {}  # root -> how many trimmed elements were asked back
        self._requests: list[PastWanted] = []
        self._trims = Trims([], [])
        self._trims_made = 0
        self._live = False
        self._watermark_generation = -1
        self._fingerprint = fingerprint
        self._judged_under = ""  # fingerprint of the model under which the changelog's households were said
        self._again: list[str] = []  # roots that were said under that one only
        self.generation = 0

    # --- taking over a partition ---

    def load(self, key: bytes, value: bytes | None) -> None:
        """An entry of the changelog. None as its value: it was deleted.

        Once records are received, entries are our own, or of a predecessor whose records come to us, too.
        """
        if self._live:
            return
        about = codecs.decode_entry_key(key)
        if about.kind in ("e", "t"):
            entries = self._loaded.setdefault(about.node, {})
            entries.pop(key, None)
            if value is not None:
                entries[key] = about, value
        elif about.kind == "q":
            (self._awaiting.discard if value is None else self._awaiting.add)(about.node)
        elif value is None:
            return
        elif about.kind == "x":
            self._partial = True
        elif about.kind == "p":
            parent = self.parents.get(about.node, about.parent)
            self.parents[about.node] = min(parent, about.parent, key=self._rank)
        elif about.kind == "w" and about.offset >= self._watermark_generation:
            # of the latest generation only; within one it does not fall
            if about.offset > self._watermark_generation:
                self.watermark.value = 0
            self._watermark_generation = about.offset
            kept = codecs.decode_watermark(value)
            self.watermark.clock(kept.watermark)
            self._judged_under = kept.model

    def recovered(self) -> Iterator[int]:
        """The changelog was read: judge what was loaded, silently, since it was said before or is replayed.

        Yields now and then how many households are left, for who has other work to do, too.
        """
        while self._loaded:
            node, entries = self._loaded.popitem()
            if entries:
                self._restore(node, entries.values())
            if len(self._loaded) % _REST_EVERY == 0:
                self.households.rest()
                yield len(self._loaded)
        # of what holds nothing the archive is asked again when something comes, or is replayed, for it
        self._awaiting.intersection_update(self.households)

    def _restore(self, node: str, entries: Iterable[tuple[EntryKey, bytes]]) -> None:
        household = self.households.create(node)
        loaded = [(about, codecs.decode_kept(value)) for about, value in entries]
        trimmed = union_of(decode_trimmed(kept.trimmed) for _, kept in loaded if kept.trimmed)
        if trimmed is not None:
            household.remember(trimmed)
        for about, kept in loaded:
            household.add(kept.elements, loading=True)
            self.households.raise_to(household, kept.seen, kept.watermark)
            if about.kind == "e":
                self._index(node, Place(about.topic, about.offset, about.part), kept)
        if node in self.parents:
            self._leave(node)
            return
        if household.finish_loading(self.watermark.value):
            self._full[node] = None
        if node in self._awaiting:
            self._requests.append(PastWanted(node, sorted(household.identifiers())))
        self._schedule(node, household)

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

        If all was said under another journey model, all is said again, some households at a time.
        """
        if not self._live and self._judged_under not in ("", self._fingerprint):
            self._again = list(self.households)
        self._guard.begin(ends, begins, said_before=said_before, trusting=trusting)
        self._live = True
        self.generation = generation

    def trust(self, ends: Mapping[str, int]) -> None:
        """No predecessor is at work any more. `ends`: where the topics end now."""
        self._guard.trust(ends)

    @property
    def trusting(self) -> bool:
        """Whether no predecessor is at work any more."""
        return self._guard.trusting

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
        strongest = self._model.identifier_order.strongest
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
            key = strongest(record.identifiers)
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
                handling.link(message.to, message.other, handling.full or message.full, message.whole)
            elif isinstance(message, Elements):
                if handling.full and not message.full:
                    message = msgspec.structs.replace(message, full=True)
                handling.elements(message)
            elif isinstance(message, Rehydrated):
                handling.rehydrated(message)
            else:
                self.watermark.clock(message.at)
                if message.partial and not self._partial:
                    handling.begin_asking()
        return handling.done()

    def next_of(self, topic: str) -> int:
        """The offset of the topic's record that comes next."""
        return self._guard.next_of(topic)

    # --- saying ---

    @property
    def owes(self) -> bool:
        """Whether something is left to be said."""
        return bool(
            self._full
            or self._changed
            or self._unsaid
            or self._again
            or self._deadlines.before(self.watermark.value)
        )

    @property
    def judged_under(self) -> str:
        """Fingerprint of the journey model under which everything was said: an earlier one until it was."""
        return self._judged_under if self._again else self._fingerprint

    @property
    def has_news(self) -> bool:
        """Whether `judge` may say something."""
        return bool(self._unsaid)

    def judge(self) -> Facts:
        """Say what is new, journey rows apart."""
        watermark = self.watermark.value
        said = Facts()
        for household_id in self._unsaid:
            if household_id not in self._full and household_id not in self._awaiting:
                household = self.households[household_id]
                _append(said, household.judge(watermark, journeys=False))
                self._changed[household_id] = None
                self._schedule(household_id, household)
        self._unsaid = {}
        return said

    def say_all(self) -> Facts:
        """Say everything that is owed: what is new, rows of journeys that changed, full households, deadlines."""
        said = self.judge()
        watermark = self.watermark.value
        for household_id in self._changed:
            if household_id not in self._full and household_id not in self._awaiting:
                said.journeys.extend(self.households[household_id].journey_rows())
        self._changed = {}
        self._say_some_again()
        full = {root: None for root in self._full if root not in self._awaiting}
        self._full = {}
        due = [household_id for household_id in self._deadlines.due(watermark) if household_id not in full]
        for number, household_id in enumerate([*full, *due], start=1):
            household = self.households.get(household_id)
            if household is not None and household_id not in self._awaiting:
                _append(said, household.judge(watermark, full=household_id in full))
                self._trim(household)
            if number % _REST_EVERY == 0:  # thousands may be due at once, and all were woken
                self.households.rest()
        self.households.rest()
        said.watermarks[self.partition] = watermark
        return said

    def requests(self) -> list[PastWanted]:
        """What is asked of the archive since this was last called."""
        requests, self._requests = self._requests, []
        return requests

    def trims(self) -> Trims:
        """What left the state since this was last called. All that was said before must be durable first."""
        trims, self._trims = self._trims, Trims([], [])
        return trims

    def settled(self) -> None:
        """What was received may be committed: what is kept for replays is forgotten, once none is to come."""
        if self._left and self._guard.replays_are_over:
            self._left = {}

    # --- inside ---

    def _handling(self, at: Position) -> "_Handling":
        self._guard.take(*at)
        return _Handling(self, at, self._guard.replayed(*at), self._guard.said_before(*at))

    @property
    def _alone(self) -> bool:
        """Whether all that a predecessor, or another journey model, may have said was said again by us."""
        return self._archived and not self._again and self._guard.passed

    def _schedule(self, household_id: str, household: Household) -> None:
        """When is the household to be looked at again? Never before more comes, if it waits for its past."""
        if household.wants_past and household.trimmed is not None:
            self._ask_back(household, household.trimmed)
        at, trim_at = household.next_deadline(), household.next_trim()
        if at is None or (trim_at is not None and trim_at < at):
            at = trim_at
        self._deadlines.set(household_id, at)

    def _trim(self, household: Household) -> None:
        """Let what is old leave the state, if it is time and nobody else can be at work on it."""
        root, trim_at = household.household_id, household.next_trim()
        if trim_at is not None and trim_at < self.watermark.value and self._alone:
            gone = self.households.trim(household)
            household = self.households[root]
            if gone is not None:
                kept = Kept([], household.watermark, self.households.floor(root), encode_trimmed(gone))
                self._trims_made += 1
                self._trims.entries.append(
                    codecs.trimmed_entry(root, self.generation, self._trims_made, kept)
                )
                for place in self._entries.pop_before(root, household.begins_at):
                    self._trims.deletions.append(codecs.deletion(root, *place))
        self._schedule(root, household)

    def _ask_back(self, household: Household, trimmed: Trimmed) -> None:
        """Ask for what was trimmed of a household, unless that was asked before."""
        root, archived = household.household_id, trimmed.archived
        if self._wanted.get(root, 0) < len(archived):
            self._wanted[root] = len(archived)
            self._requests.append(PastWanted(root, sorted(household.identifiers()), pack(archived)))

    def _index(self, node: str, place: Place, kept: Kept) -> None:
        self._entries.add(node, place, kept.elements, lasting=bool(kept.trimmed or kept.seen))

    def _say_some_again(self) -> None:
        """Households that were said under another journey model only are owed in full, a few at a time."""
        elements = 0
        while self._again and elements < _ELEMENTS_AGAIN:
            root = self._again.pop()
            if (household := self.households.get(root)) is not None:
                household.want_past()  # what left the state was judged under the other model
                self._full[root] = None
                elements += household.count

    def _leave(self, node: str) -> Elements | None:
        """A root became an alias: what it held, for its parent."""
        seen = self.households.floor(node)
        left = self.households.pop(node)
        self._unsaid.pop(node, None)
        self._full.pop(node, None)
        self._changed.pop(node, None)
        self._deadlines.set(node, None)
        self._entries.pop(node)
        self._wanted.pop(node, None)
        self._awaiting.discard(node)
        if left is None or not left.seen:
            return None
        held = Elements(self.parents[node], left.elements, True, left.watermark, seen, left.trimmed)
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
            topic, offset = self._at
            for part, entry in enumerate(codecs.element_entries(node, topic, offset, kept)):
                self._effects.entries.append(entry)
                self._nodes._index(node, Place(topic, offset, part), kept)
        return self._effects

    def keep(self, entry: Entry) -> None:
        """An entry that is of no node."""
        self._effects.entries.append(entry)

    def elements(self, message: Elements) -> None:
        """Elements for a node: for its household, or to be forwarded."""
        nodes, to, elements = self._nodes, message.to, message.elements
        household = nodes.households.get(to)
        if household is None:
            if self._forwarded(message):
                return
            if partition_of(to, nodes.partitions) != nodes.partition:
                self._send(to, message)  # a foreign producer's
                return
            household = nodes.households.create(to)
            if nodes._partial and not message.seen:
                named = (one.key for element in elements for one in element.identifiers)
                self._ask_archive(to, named)
        unlinked = household.unlinked(elements)
        if message.trimmed:
            household.remember(decode_trimmed(message.trimmed))
        if message.full and household.trimmed is not None and (
            message.watermark or message.trimmed or household.linked_by(elements)
        ):  # fmt: skip
            household.want_past()
        new = household.add(elements)
        if message.watermark or message.seen:
            nodes.households.raise_to(household, message.seen, message.watermark)
        kept = Kept(elements, message.watermark, message.seen, message.trimmed)
        before = self._kept.get(to)
        self._kept[to] = kept if before is None else _both(before, kept)
        if message.full:
            nodes._full[to] = None
        elif new:
            nodes._unsaid[to] = None
        if not self.replay and not unlinked:
            return
        linked = {to}
        for element in elements if self.replay else new:
            for identifier in element.identifiers:
                other = identifier.key
                if other not in linked and (self.replay or other in unlinked):
                    linked.add(other)
                    self._send(other, Link(other, to, message.full, bool(message.seen)))

    def link(self, to: str, other: str, full: bool, whole: bool) -> None:
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
        known = to in nodes.households
        if not known and nodes._partial and not whole:
            nodes._requests.append(PastWanted(to, [to]))
        if rank(to) < rank(other):
            if not known:
                nodes.households.create(to)
            self._send(other, Link(other, to, full, whole))
            return
        nodes.parents[to] = other
        self._effects.entries.append(codecs.parent_entry(to, other))
        held = nodes._leave(to)
        if held is not None:
            self._merge(held)

    def rehydrated(self, message: Rehydrated) -> None:
        """The archive has told all it knows."""
        nodes, to = self._nodes, message.to
        household = nodes.households.get(to)
        if household is None:
            self._forwarded(message)
            return
        if message.by == to:
            nodes._wanted.pop(to, None)
            if to in nodes._awaiting:
                nodes._awaiting.discard(to)
                self.keep(codecs.asked_entry(to, answered=True))
        household.missed(unpack(message.missing))
        nodes._full[to] = None

    def begin_asking(self) -> None:
        """The archive has households that are not here: what came before may belong to one of them."""
        nodes = self._nodes
        nodes._partial = True
        self.keep(codecs.partial_entry())
        for root in list(nodes.households):
            self._ask_archive(root, nodes.households[root].identifiers())
        nodes._requests += [PastWanted(alias, [alias]) for alias in nodes.parents]

    def _ask_archive(self, root: str, identifiers: Iterable[str]) -> None:
        """A root may be one that the archive knows: until it has told, nothing is said of it."""
        self._nodes._awaiting.add(root)
        self._nodes._requests.append(PastWanted(root, sorted({root, *identifiers})))
        self.keep(codecs.asked_entry(root))

    def _forwarded(self, message: Elements | Rehydrated) -> bool:
        """What comes for an alias goes to its parent."""
        parent = self._nodes.parents.get(message.to)
        if parent is not None:
            self._send(parent, msgspec.structs.replace(message, to=parent))
        return parent is not None

    def _merge(self, held: Elements) -> None:
        for number, part in enumerate(codecs.parts(held.elements)):
            trimmed = b"" if number else held.trimmed
            self._send(held.to, msgspec.structs.replace(held, elements=part, trimmed=trimmed))

    def _send(self, to: str, message: Message) -> None:
        self._effects.messages.setdefault(partition_of(to, self._nodes.partitions), []).append(message)


def _both(some: Kept, more: Kept) -> Kept:
    """What one record brought to one node in two messages."""
    trimmed = union_of(decode_trimmed(kept.trimmed) for kept in (some, more) if kept.trimmed)
    return Kept(
        some.elements + more.elements,
        max(some.watermark, more.watermark),
        max(some.seen, more.seen),
        b"" if trimmed is None else encode_trimmed(trimmed),
    )


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
    if more.copies:
        said.copies.extend(more.copies)
