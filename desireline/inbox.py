"""Putting households into the workers' state: records for `journeys.inbox`, and waiting until they are taken."""

from collections.abc import Iterable
from typing import TYPE_CHECKING

from streams.putting_back import KafkaRecord
from streams.topics import INBOX, LARGEST_MESSAGE_BYTES, TopicsError, topic_status

if TYPE_CHECKING:
    from kafka.producer.future import FutureRecordMetadata


class Inbox:
    """Sends records, and knows which of them no worker has handled.

    TopicsError if no broker answers; KafkaError if it goes away later.
    """

    def __init__(self, bootstrap_servers: str) -> None:
        from kafka import KafkaProducer
        from kafka.errors import KafkaError

        self._servers = bootstrap_servers
        try:
            self.producer = KafkaProducer(
                bootstrap_servers=bootstrap_servers,
                acks="all",
                max_request_size=LARGEST_MESSAGE_BYTES,
                linger_ms=5,
            )
        except KafkaError as error:
            raise TopicsError(
                f"no Kafka broker answers: {error}",
                where=bootstrap_servers,
                remedy="Is it running? DESIRELINE_BOOTSTRAP_SERVERS names it.",
            ) from error
        self._ends: dict[int, int] = {}  # partition -> offset behind the last record of ours
        self.unhandled = 0  # at most so many; `waiting` looks

    def send(self, records: Iterable[KafkaRecord]) -> None:
        """Send, and wait until the broker has them."""
        sent: list[tuple[int, FutureRecordMetadata]] = [
            (
                record.partition,
                self.producer.send(INBOX, record.value, key=record.key, partition=record.partition),
            )
            for record in records
        ]
        self.producer.flush()
        for partition, future in sent:
            self._ends[partition] = max(self._ends.get(partition, 0), future.get(timeout=60).offset + 1)
        self.unhandled += len(sent)

    def waiting(self) -> int:
        """How many records up to our last one no worker has handled; those of others between ours count, too."""
        inbox = next(topic for topic in topic_status(self._servers) if topic.topic == INBOX)
        self.unhandled = sum(
            max(0, end - (inbox.committed[partition] or 0)) for partition, end in self._ends.items()
        )
        return self.unhandled

    def close(self) -> None:
        """Let go of the broker."""
        self.producer.close()
