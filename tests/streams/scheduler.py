"""Partitions, logs, workers, crashes and zombies in one process, driving the real `streams.protocol`.

A worker does what `streams.stitch` does: takes records, says what is new now and then, and at a checkpoint
says all that is owed, keeps the watermark, lets what is old leave the state, and commits. What it sends
becomes durable in any order, at a crash only in part. The archive answers from what was loaded, sooner or
later, sometimes twice.
"""

import random
from collections.abc import Iterable
from typing import Any, NamedTuple

import msgspec

from models.household import verdicts
from models.identifier import Identifier
from models.journey_model import JourneyModel
from models.routing import partition_of, routing_key
from models.touchpoint import Clock, Correction, Element, Identification, Record, Touchpoint, encoding
from models.trimming import element_mark, pack, unpack
from models.verdict import Facts
from streams import channel_records, codecs, putting_back
from streams.codecs import PastWanted
from streams.protocol import Nodes, Position

CHANNELS = ("touchpoints.web", "touchpoints.voice")
INBOX = "journeys.inbox"
TOPICS = (*CHANNELS, INBOX)
DAY_MS = 86_400_000


class Warehouse:
    """Of each key the row with the greatest version; of equal ones either."""

    def __init__(self, rng: random.Random) -> None:
        self._rng = rng
        self._rows: dict[Any, Any] = {}
        self._archive: set[bytes] = set()
        self._elements: dict[bytes, Element] = {}
        self.watermarks: dict[int, int] = {}

    def load(self, value: bytes) -> None:
        facts = msgspec.msgpack.decode(value, type=Facts)
        for touchpoint in (*(row.touchpoint for row in facts.touchpoints), *facts.copies):
            self._elements[encoding(touchpoint)] = touchpoint
        for key, row in keyed(facts):
            known = self._rows.get(key)
            if known is None or row.version > known.version or (
                row.version == known.version and self._rng.random() < 0.5
            ):  # fmt: skip
                self._rows[key] = row
        self._archive |= archived(facts)
        for partition, watermark in facts.watermarks.items():
            self.watermarks[partition] = max(watermark, self.watermarks.get(partition, 0))

    def elements(self) -> list[Element]:
        """What the archive can give back: every element that was ever said."""
        elements = dict(self._elements)
        for one in self._archive:
            elements[one] = msgspec.json.decode(one, type=Identification | Correction)
        return list(elements.values())

    def seen(self) -> int:
        """The most elements that a household had seen."""
        return max((row.version >> 42 for row in self._rows.values()), default=0)

    def standing(self) -> dict[Any, Any]:
        rows = {key: plain(row) for key, row in self._rows.items() if not getattr(row, "deleted", False)}
        return {**rows, **dict.fromkeys(self._archive, True)}


def keyed(facts: Facts) -> Iterable[tuple[Any, Any]]:
    for touchpoint in facts.touchpoints:
        yield (
            ("touchpoint", touchpoint.touchpoint.id, touchpoint.touchpoint.occurred_at // DAY_MS),
            touchpoint,
        )
    for journey in facts.journeys:
        yield ("journey", journey.id, journey.started_at // DAY_MS), journey
    for identity in facts.identities:
        yield ("identity", identity.identifier), identity
    for conflict in facts.conflicts:
        yield ("conflict", conflict.identifier_a, conflict.identifier_b), conflict
    for duplicate in facts.duplicates:
        yield ("duplicate", duplicate.id, duplicate.content), duplicate


def archived(facts: Facts) -> set[bytes]:
    return {msgspec.json.encode(one) for one in (*facts.identifications, *facts.corrections)}


def plain(row: Any) -> Any:
    return msgspec.structs.replace(row, version=0)


def households_of(elements: Iterable[Element]) -> list[list[Element]]:
    """The elements that share identifiers, directly or through others."""
    parent: dict[str, str] = {}

    def find(key: str) -> str:
        while parent.setdefault(key, key) != key:
            key = parent[key]
        return key

    held = list(elements)
    for element in held:
        first, *others = [identifier.key for identifier in element.identifiers]
        for other in others:
            parent[find(other)] = find(first)
        find(first)
    households: dict[str, list[Element]] = {}
    for element in held:
        households.setdefault(find(element.identifiers[0].key), []).append(element)
    return list(households.values())


def wanted(elements: Iterable[Element], watermark: int, model: JourneyModel) -> dict[Any, Any]:
    """What the warehouse must hold of these elements: each household judged at once."""
    rows: dict[Any, Any] = {}
    for household in households_of(elements):
        facts = verdicts(household, watermark, model)
        rows |= {key: plain(row) for key, row in keyed(facts)}
        rows |= dict.fromkeys(archived(facts), True)
    return rows


class Past(NamedTuple):
    """A household as the archive knows it."""

    elements: list[Element]
    elements_seen: int
    watermark: int


class Worker:
    """What has one partition: its state, and what it sent that is not durable yet."""

    def __init__(self, cluster: "Cluster", partition: int) -> None:
        self.cluster = cluster
        self.partition = partition
        self.generation = cluster.next_generation()
        self.nodes = Nodes(
            partition,
            cluster.partitions,
            cluster.model,
            allowed_lateness_ms=cluster.allowed_lateness_ms,
            awake_limit=cluster.awake_limit,
        )
        for key, value in cluster.changelog[partition]:
            self.nodes.load(key, value)
        for _ in self.nodes.recovered():
            pass
        self.position = dict(cluster.committed[partition])
        self.nodes.guard(cluster.ends(partition), self.position, generation=self.generation)
        self.pending: list[tuple[str, Any]] = []
        self.zombie_for: int | None = None
        self.zombies_beside = 0
        self.kept_watermark: int | None = None

    @property
    def behind(self) -> bool:
        return any(self.position[topic] < end for topic, end in self.cluster.ends(self.partition).items())

    def take(self) -> None:
        self._ask()
        ends = self.cluster.ends(self.partition)
        topics = [topic for topic in TOPICS if self.position[topic] < ends[topic]]
        if not topics:
            return
        topic = self.cluster.rng.choice(topics)
        at = Position(topic, self.position[topic])
        self.position[topic] += 1
        record = self.cluster.logs[self.partition][topic][at.offset]
        if topic == INBOX:
            effects = self.nodes.receive_messages(codecs.decode_messages(record), at)
        else:
            value, again = record
            effects = self.nodes.receive(channel_records.decode(value).records, at, again=again)
        self.pending += [("entry", entry) for entry in effects.entries]
        for partition, messages in effects.messages.items():
            self.pending += [("message", (partition, value)) for value in codecs.encode_messages(messages)]

    def say(self) -> None:
        if self.nodes.has_news:
            self._send(self.nodes.judge())
            self._ask()

    def checkpoint(self) -> None:
        position = dict(self.position)
        watermark = self.nodes.watermark.value
        self._send(self.nodes.say_all())
        self._ask()
        trims = self.nodes.trims()
        self.flush()
        self.cluster.stats["trims"] += len(trims.entries)
        self.pending += [("entry", entry) for entry in trims.entries]
        self.flush()
        self.pending += [("entry", entry) for entry in trims.deletions]
        self.flush(0.5)
        if watermark != self.kept_watermark:
            self.kept_watermark = watermark
            self._durable(("entry", codecs.watermark_entry(self.generation, watermark)))
        if self.zombie_for is None:
            self.cluster.committed[self.partition] = position
            self.nodes.settled()

    def flush(self, share: float = 1.0) -> None:
        """Some of what was sent becomes durable, in any order."""
        rng = self.cluster.rng
        rng.shuffle(self.pending)
        some = len(self.pending) if share == 1.0 else rng.randrange(len(self.pending) + 1)
        for effect in self.pending[:some]:
            self._durable(effect)
        self.pending = self.pending[some:]

    def _ask(self) -> None:
        self.pending += [("request", wanted) for wanted in self.nodes.requests()]

    def _send(self, facts: Facts) -> None:
        self.pending += [("facts", value) for value in codecs.encode_facts(facts)]

    def _durable(self, effect: tuple[str, Any]) -> None:
        kind, what = effect
        if kind == "entry":
            self.cluster.changelog[self.partition].append(what)
        elif kind == "message":
            partition, value = what
            self.cluster.logs[partition][INBOX].append(value)
        elif kind == "request":
            self.cluster.requests.append((self.partition, what))
        else:
            self.cluster.warehouse.load(what)


class Cluster:
    """All of it. `stats` counts what happened."""

    def __init__(self, rng: random.Random, partitions: int, model: JourneyModel) -> None:
        self.rng = rng
        self.partitions = partitions
        self.model = model
        self.awake_limit = rng.choice((None, 0, 10, 30))
        self.allowed_lateness_ms = rng.choice((0, 3, 10, 60_000))
        self.warehouse = Warehouse(rng)
        self.stats = dict.fromkeys(("crashes", "zombies", "losses", "trims", "returns"), 0)
        self._generation = 0
        self._empty()

    def _empty(self) -> None:
        every = range(self.partitions)
        self.logs: list[dict[str, list[Any]]] = [{topic: [] for topic in TOPICS} for _ in every]
        self.changelog: list[list[tuple[bytes, bytes]]] = [[] for _ in every]
        self.committed: list[dict[str, int]] = [dict.fromkeys(TOPICS, 0) for _ in every]
        self.workers = [Worker(self, partition) for partition in every]
        self.zombies: list[Worker] = []
        self.requests: list[tuple[int, PastWanted]] = []

    def next_generation(self) -> int:
        self._generation += 1
        return self._generation

    def ends(self, partition: int) -> dict[str, int]:
        return {topic: len(log) for topic, log in self.logs[partition].items()}

    def lose_broker(self) -> None:
        self.stats["losses"] += 1
        self._empty()

    def compact(self, partition: int) -> None:
        """Of each key the last entry, in the order of the last; deletions go with what they delete."""
        last = {key: number for number, (key, _) in enumerate(self.changelog[partition])}
        log = self.changelog[partition]
        self.changelog[partition] = [log[number] for number in sorted(last.values()) if log[number][1]]

    def answer(self) -> None:
        """The archive answers a request: what it has of it, and what not."""
        _, wanted = self.requests.pop(self.rng.randrange(len(self.requests)))
        asked = unpack(wanted.archived)
        known = self.warehouse.elements()
        missing: set[int] = set()
        if asked:
            past = {mark: element for element in known if (mark := element_mark(element)) in asked}
            found, missing = Past(list(past.values()), 0, 0), asked - past.keys()
        else:
            mine = set(wanted.identifiers)
            some = [
                household
                for household in households_of(known)
                if mine & {identifier.key for element in household for identifier in element.identifiers}
            ]
            found = Past([element for household in some for element in household], self.warehouse.seen(), 0)
        self.stats["returns"] += 1
        for _ in range(self.rng.choice((1, 1, 2))):
            order = self.model.identifier_order
            for record in putting_back.encode_answer(wanted, found, pack(missing), order, self.partitions):
                self.logs[record.partition][INBOX].append(record.value)

    def publish(self, partition: int, topic: str, value: Any) -> None:
        self.logs[partition][topic].append(value)

    def run(self, waiting: list[tuple[int, str, Any]]) -> None:
        """Until all that waits was published and handled."""
        rng = self.rng
        while True:
            worker = rng.choice([*self.workers, *self.zombies])
            if waiting and rng.random() < 0.5:
                self.publish(*waiting.pop())
            worker.take()
            chance = rng.random()
            if chance < 0.3:
                worker.checkpoint()
            elif chance < 0.5:
                worker.say()
            elif chance < 0.7:
                worker.flush(0.5)
            self._age_zombies()
            if self.requests and rng.random() < 0.3:
                self.answer()
            if waiting and worker in self.workers and rng.random() < 0.05:
                self._replace(worker)
            if not waiting and not self.zombies and not any(worker.behind for worker in self.workers):
                for worker in self.workers:
                    worker.checkpoint()
                    worker.flush()
                while self.requests:
                    self.answer()
                if not any(worker.behind for worker in self.workers):
                    return

    def _replace(self, worker: Worker) -> None:
        """A crash, or a rebalance that the old owner does not know of yet."""
        partition = worker.partition
        self.stats["crashes"] += 1
        if zombie := self.rng.random() < 0.5:
            self.stats["zombies"] += 1
            worker.zombie_for = self.rng.randrange(1, 60)
            self.zombies.append(worker)
        else:
            worker.flush(0.5)
        if self.rng.random() < 0.3:
            self.compact(partition)
        self.workers[partition] = Worker(self, partition)
        self.workers[partition].zombies_beside = worker.zombies_beside + zombie
        self._maybe_trust(self.workers[partition])

    def _age_zombies(self) -> None:
        for zombie in list(self.zombies):
            assert zombie.zombie_for is not None
            zombie.zombie_for -= 1
            if zombie.zombie_for <= 0:
                zombie.flush(0.5)
                self.zombies.remove(zombie)
                worker = self.workers[zombie.partition]
                worker.zombies_beside -= 1
                self._maybe_trust(worker)

    def _maybe_trust(self, worker: Worker) -> None:
        if worker.zombies_beside == 0:
            worker.nodes.trust(self.ends(worker.partition))


IDENTIFIERS = [
    *(Identifier("user_id", value) for value in "abc"),
    *(Identifier("email", value) for value in ("a@x.org", "b@x.org", "c@x.org")),
    *(Identifier("phone", value) for value in ("+4911111", "+4922222")),
    *(Identifier("anonymous_id", value) for value in "mnop"),
]
TYPES = {
    "web": ("page_view", "add_to_cart", "checkout_started", "purchase", "error_seen", "csat_submitted"),
    "voice": ("call_queued", "call_answered", "call_abandoned", "call_resolved"),
}


def elements_of(rng: random.Random, noon: int) -> list[Element]:
    """Some people's touchpoints, identifications and corrections; few instants, so that ties are common."""
    known = rng.sample(IDENTIFIERS, rng.randrange(2, len(IDENTIFIERS)))
    elements: list[Element] = []

    def some() -> tuple[Identifier, ...]:
        return tuple(dict.fromkeys(rng.choices(known, k=rng.choice((1, 1, 2, 2, 3)))))

    for number in range(rng.randrange(1, 22)):
        channel = rng.choice(tuple(TYPES))
        at = noon + rng.randrange(40)
        touchpoint = Touchpoint(
            id=f"t{number}", source="test", source_instance="shop", source_event_id=str(number),
            source_type="test", channel=channel, type=rng.choice(TYPES[channel]), occurred_at=at,
            received_at=at + rng.randrange(3), identifiers=some(),
            conversation_id=rng.choice((None, None, "x")) if channel == "voice" else None,
            csat=rng.choice((None, 1.0, 5.0)),
        )  # fmt: skip
        elements.append(touchpoint)
        if rng.random() < 0.1:  # the same again, with other content
            shared = touchpoint.identifiers[0]
            elements.append(
                msgspec.structs.replace(
                    touchpoint,
                    identifiers=tuple(dict.fromkeys((shared, rng.choice(known)))),
                    source_updated_at=rng.choice((None, 5)),
                    occurred_at=at + rng.choice((0, 1)),
                )
            )
    for number in range(rng.choice((0, 0, 1, 2))):
        elements.append(
            Identification(
                id=f"i{number}",
                source="test",
                source_instance="shop",
                channel="web",
                at=noon + rng.randrange(40),
                received_at=noon + 50,
                identifiers=some(),
                persona=rng.choice((None, "thrifty")),
            )
        )
    for number in range(rng.choice((0, 0, 0, 1, 2))):
        first, second = rng.sample(known, 2)
        elements.append(
            Correction(
                id=f"k{number}",
                relation=rng.choice(("same", "not_same", "undone")),
                identifiers=(first, second),
                at=noon + rng.randrange(40),
                author="ann",
            )
        )
    return elements


def differences(seed: int, model: JourneyModel, noon: int) -> tuple[dict[str, int], list[Any]]:
    """One run: what happened, and each row that stands otherwise than it must, (key, wanted, got)."""
    rng = random.Random(seed)
    cluster = Cluster(rng, rng.choice((1, 2, 3, 4)), model)
    elements = elements_of(rng, noon)
    waiting: list[tuple[int, str, Any]] = _records(rng, cluster, elements)
    end = noon + rng.randrange(45, 90)
    if rng.random() < 0.3:
        half = rng.randrange(len(waiting) + 1)
        first, waiting = waiting[:half], waiting[half:]
        cluster.run(list(first))
        watermarks = dict(cluster.warehouse.watermarks)
        cluster.lose_broker()
        waiting += _again(rng, cluster, first, watermarks, end)
        rng.shuffle(waiting)
    cluster.run(waiting)
    cluster.run([_clock(cluster, partition, end) for partition in range(cluster.partitions)])
    want, got = wanted(elements, end, model), cluster.warehouse.standing()
    return cluster.stats, [
        (key, want.get(key), got.get(key))
        for key in sorted(want.keys() | got.keys(), key=str)
        if want.get(key) != got.get(key)
    ]


def _records(rng: random.Random, cluster: Cluster, elements: list[Element]) -> list[tuple[int, str, Any]]:
    """Records of one to three elements, some in the wrong partition, some twice, clocks among them."""
    order = cluster.model.identifier_order
    by_partition: dict[tuple[int, str], list[Element]] = {}
    records: list[tuple[int, str, Any]] = []
    shuffled = elements + rng.choices(elements, k=rng.randrange(4))
    rng.shuffle(shuffled)

    def put(place: tuple[int, str]) -> None:
        some: list[Record] = list(by_partition.pop(place))
        records.append((*place, (msgspec.json.encode(some), False)))

    for element in shuffled:
        partition = partition_of(routing_key(element.identifiers, order), cluster.partitions)
        if rng.random() < 0.1:
            partition = rng.randrange(cluster.partitions)
        place = partition, rng.choice(CHANNELS)
        by_partition.setdefault(place, []).append(element)
        if rng.random() < 0.5:
            put(place)
    for place in list(by_partition):
        put(place)
    rng.shuffle(records)
    return records


def _again(
    rng: random.Random,
    cluster: Cluster,
    lost: list[tuple[int, str, Any]],
    watermarks: dict[int, int],
    end: int,
) -> list[tuple[int, str, Any]]:
    """What a broker lost, published again or put back, or in part left to be asked for."""
    again: list[tuple[int, str, Any]]
    partial = False
    if rng.random() < 0.4:
        again = [(partition, topic, (value, True)) for partition, topic, (value, _) in lost]
    else:
        records = (record for _, _, (value, _) in lost for record in channel_records.decode(value).records)
        elements = [record for record in records if not isinstance(record, Clock)]
        order, partitions = cluster.model.identifier_order, cluster.partitions
        chance = rng.random()
        if chance < 0.3:
            put_back = putting_back.encode_put_back(elements, order, partitions)
        else:
            households = households_of(elements)
            if partial := chance < 0.7:
                households = [some for some in households if not _rests(cluster, some, end)]
            pasts = [Past(some, cluster.warehouse.seen(), 0) for some in households]
            put_back = putting_back.encode_pasts(pasts, order, partitions)
        again = [(record.partition, INBOX, record.value) for record in put_back]
    for partition in range(cluster.partitions):
        record = putting_back.encode_watermark(partition, watermarks.get(partition, 0), partial=partial)
        again.append((partition, INBOX, record.value))
    return again


def _rests(cluster: Cluster, household: list[Element], end: int) -> bool:
    """Whether the archive has all of a household, and nothing more will be said of it unless more comes."""
    want, standing = wanted(household, end, cluster.model), cluster.warehouse.standing()
    return all(key in standing and standing[key] == row for key, row in want.items())


def _clock(cluster: Cluster, partition: int, at: int) -> tuple[int, str, Any]:
    return partition, CHANNELS[0], (msgspec.json.encode([Clock(at=at, source="test")]), False)
