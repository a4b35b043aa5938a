"""The records of the traffic into Kafka, at an even pace, each until the broker has it."""

import threading
import time
from collections.abc import Iterable, Sequence

from kafka import KafkaProducer
from kafka.errors import KafkaError

from tests.converge.traffic import Published

TOGETHER = 40
ATTEMPT_S = 20.0


class Publisher(threading.Thread):
    """Publishes all records within about `seconds`. A record that may have been taken is sent again."""

    def __init__(self, bootstrap_servers: str, records: Sequence[Published], seconds: float) -> None:
        super().__init__(name="publisher", daemon=True)
        self._servers = bootstrap_servers
        self._records = records
        self._seconds = seconds
        self.sent = 0
        self.sent_again = 0

    @property
    def done(self) -> bool:
        return self.sent == len(self._records)

    def run(self) -> None:
        began = time.monotonic()
        for start in range(0, len(self._records), TOGETHER):
            due = began + self._seconds * start / len(self._records)
            time.sleep(max(0.0, due - time.monotonic()))
            some = self._records[start : start + TOGETHER]
            self.sent_again += deliver(self._servers, some)
            self.sent += len(some)


def deliver(bootstrap_servers: str, records: Iterable[Published], within_s: float = 600.0) -> int:
    """Send records until the broker has said of each that it has it; how many were sent more than once."""
    waiting, again = list(records), 0
    deadline = time.monotonic() + within_s
    while waiting:
        try:
            producer = KafkaProducer(bootstrap_servers=bootstrap_servers, acks="all", linger_ms=20)
            try:
                sent = [
                    (one, producer.send(one.topic, one.value, partition=one.partition)) for one in waiting
                ]
                waiting = []
                for one, future in sent:
                    try:
                        future.get(timeout=ATTEMPT_S)
                    except KafkaError:
                        waiting.append(one)
            finally:
                producer.close(timeout=2)
        except KafkaError:
            time.sleep(0.5)
        if waiting:
            again += len(waiting)
            if time.monotonic() > deadline:
                raise TimeoutError(f"the broker does not take {len(waiting)} records")
    return again
