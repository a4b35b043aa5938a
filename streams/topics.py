"""The Kafka topics: their names, what is in them, how long it is kept; creating them, and how they stand."""

import time
from collections.abc import Iterable

import msgspec
from kafka import TopicPartition
from kafka.admin import KafkaAdminClient, NewTopic, OffsetSpec
from kafka.errors import (
    CoordinatorLoadInProgressError,
    CoordinatorNotAvailableError,
    KafkaError,
    NotCoordinatorError,
)
from kafka.structs import OffsetAndMetadata

from models.errors import DesirelineError
from models.routing import topic_of
from models.vocabulary import CHANNELS
from streams.offsets import end_offsets_now

GROUP = "desireline"
"""The consumer group of the workers, which is the name of the Faust app."""

CHANNEL_TOPICS = tuple(topic_of(channel) for channel in CHANNELS)
_OF_CHANNELS = topic_of("")
REJECTED = "touchpoints.rejected"
INBOX = "journeys.inbox"
FACTS = "journeys.facts"
ABANDONMENT = "journeys.abandonment"
REHYDRATE = "journeys.rehydrate"
ALERTS = "alerts"
HOUSEHOLDS_CHANGELOG = f"{GROUP}-households-changelog"
WATCHES_CHANGELOG = f"{GROUP}-watches-changelog"

LARGEST_MESSAGE_BYTES = 16_000_000
"""A journey is one row and a row is whole, so a facts record may be large; all else stays below 1 MB."""

_COORDINATOR_WITHIN_S = 30.0

_HOUR_MS = 3_600_000
_DAY_MS = 24 * _HOUR_MS


class TopicsError(DesirelineError):
    """Topics cannot be created or read, or are not as they must be."""


class TopicSettings(msgspec.Struct, frozen=True):
    """A topic: name, what it holds, and the settings it is created with."""

    name: str
    holds: str
    config: dict[str, str]


def _kept(days: float, message_bytes: int = 2_000_000) -> dict[str, str]:
    return {
        "cleanup.policy": "delete",
        "retention.ms": str(int(days * _DAY_MS)),
        "max.message.bytes": str(message_bytes),
    }


_COMPACTED = {
    "cleanup.policy": "compact",
    "max.message.bytes": "2000000",
    "segment.bytes": "134217728",
    "max.compaction.lag.ms": str(_DAY_MS),
}


def _of_channel(channel: str) -> TopicSettings:
    return TopicSettings(topic_of(channel), f"touchpoints of the channel {channel}, JSON", _kept(7))


TOPICS = (
    *map(_of_channel, CHANNELS),
    TopicSettings(REJECTED, "what was not taken, with its reason, JSON", _kept(30)),
    TopicSettings(INBOX, "forwards, links, merges between households, MessagePack", _kept(7)),
    TopicSettings(FACTS, "verdicts for the warehouse, MessagePack", _kept(7, LARGEST_MESSAGE_BYTES)),
    TopicSettings(ABANDONMENT, "minute buckets of abandonment, MessagePack", _kept(1)),
    TopicSettings(REHYDRATE, "households whose past is asked for, MessagePack", _kept(7)),
    TopicSettings(ALERTS, "alerts opened and resolved, JSON", _kept(30)),
    TopicSettings(HOUSEHOLDS_CHANGELOG, "the elements of every household: the workers' state", _COMPACTED),
    TopicSettings(WATCHES_CHANGELOG, "what the alert agent remembers", _COMPACTED),
)


class TopicStatus(msgspec.Struct, frozen=True):
    """How a topic stands. Per partition: end offset, and the offset that the workers have committed."""

    topic: str
    partitions: int
    ends: tuple[int, ...]
    committed: tuple[int | None, ...]

    @property
    def records(self) -> int:
        """Records ever published to it."""
        return sum(self.ends)

    @property
    def lag(self) -> int | None:
        """Records that the workers have not done with; None for a topic they do not read."""
        if all(offset is None for offset in self.committed):
            return None
        return sum(max(0, end - (at or 0)) for end, at in zip(self.ends, self.committed, strict=True))


def create_topics(
    bootstrap_servers: str,
    partitions: int,
    *,
    replication_factor: int = 1,
    own_channels: Iterable[str] = (),
) -> list[str]:
    """Create those that do not exist, of a journey model's own channels, too; their names. Safe to run again.

    TopicsError if the broker does not answer or a topic exists with another number of partitions, since then
    a household's messages would go to the wrong worker.
    """
    wanted = (*TOPICS, *map(_of_channel, own_channels))
    names = [topic.name for topic in wanted]
    admin = _admin(bootstrap_servers)
    try:
        created = [
            NewTopic(
                name=topic.name,
                num_partitions=partitions,
                replication_factor=replication_factor,
                topic_configs=topic.config,
            )
            for topic in wanted
        ]
        answer = admin.create_topics(created, raise_errors=False)["topics"]
        there = {one["name"]: len(one["partitions"]) for one in admin.describe_topics(names)}
    except KafkaError as error:
        raise TopicsError(f"topics cannot be created: {error}", where=bootstrap_servers) from error
    finally:
        admin.close()
    for name in names:
        if there.get(name, 0) == 0:
            said = next((one["error_message"] for one in answer if one["name"] == name), None)
            raise TopicsError(f'topic "{name}" was not created: {said}', where=bootstrap_servers)
        if there[name] != partitions:
            raise TopicsError(
                f'topic "{name}" has {there[name]} partitions, and {partitions} are set',
                where=bootstrap_servers,
                remedy=f"Set DESIRELINE_PARTITIONS={there[name]}; partitions are fixed once topics exist.",
            )
    return [one["name"] for one in answer if one["error_code"] == 0]


def topic_status(bootstrap_servers: str, *, group: str = GROUP) -> list[TopicStatus]:
    """Our topics that exist, in the order of `TOPICS`, then those of a model's own channels. TopicsError if the
    broker does not answer.

    Where no topic has anything left, nothing is on its way either: what is committed is asked before the ends, and
    what a record causes is in its topic before the record is committed. The other way round something could be
    caused and committed between the two questions.
    """
    admin = _admin(bootstrap_servers)
    try:
        committed = _committed(admin, group)
        there = set(admin.list_topics())
        ours = [topic.name for topic in TOPICS]
        ours += sorted(name for name in there if name.startswith(_OF_CHANNELS) and name not in ours)
        partitions = {
            one["name"]: sorted(partition["partition_index"] for partition in one["partitions"])
            for one in admin.describe_topics([name for name in ours if name in there])
        }
        places = [TopicPartition(name, index) for name, indices in partitions.items() for index in indices]
        latest = admin.list_partition_offsets(dict.fromkeys(places, OffsetSpec.LATEST)) if places else {}
        ends = end_offsets_now(bootstrap_servers, {place: latest[place].offset for place in places})
    except KafkaError as error:
        raise TopicsError(f"topics cannot be read: {error}", where=bootstrap_servers) from error
    finally:
        admin.close()
    return [
        TopicStatus(
            name,
            len(indices),
            tuple(ends[TopicPartition(name, index)] for index in indices),
            tuple(_offset(committed.get(TopicPartition(name, index))) for index in indices),
        )
        for name, indices in partitions.items()
    ]


def _committed(admin: KafkaAdminClient, group: str) -> dict[TopicPartition, OffsetAndMetadata]:
    """What a group has committed. A broker that just started looks for the group's coordinator first."""
    deadline = time.monotonic() + _COORDINATOR_WITHIN_S
    while True:
        try:
            offsets: dict[TopicPartition, OffsetAndMetadata] = admin.list_group_offsets({group: None}).get(
                group, {}
            )
            return offsets
        except (CoordinatorNotAvailableError, CoordinatorLoadInProgressError, NotCoordinatorError):
            if time.monotonic() > deadline:
                raise
            time.sleep(0.2)


def _offset(committed: object) -> int | None:
    offset = getattr(committed, "offset", None)
    return None if offset is None or offset < 0 else int(offset)


def _admin(bootstrap_servers: str | Iterable[str]) -> KafkaAdminClient:
    try:
        return KafkaAdminClient(bootstrap_servers=bootstrap_servers)
    except KafkaError as error:
        raise TopicsError(
            f"no Kafka broker answers: {error}",
            where=str(bootstrap_servers),
            remedy="Is it running? DESIRELINE_BOOTSTRAP_SERVERS names it.",
        ) from error
