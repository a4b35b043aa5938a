"""Kafka records to the broker: sent until they are acknowledged, however long it takes, and said so."""

import logging
import socket
import threading
import time
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from ingest import metrics
from ingest.packing import FILE_HEADER, REJECTED, Packed, pack_rejection, unpublishable
from models.errors import DesirelineError

if TYPE_CHECKING:
    from kafka import KafkaProducer

log = logging.getLogger(__name__)

_FIRST_PAUSE_S = 0.1
_LONGEST_PAUSE_S = 5.0
_SILENCE_S = 5.0
_KNOCK_S = 2.0
_SAY_AGAIN_S = 60.0
_BLOCKED_MS = 5_000
_GIVE_UP_MS = 10_000  # then the client is made anew, which also cures a broker that forgot its producers
_LARGEST_REQUEST = 1_048_576


class DeliveryError(DesirelineError):
    """The broker does not take what is published."""


class Deliverer:
    """A Kafka producer that does not give up. Not for several threads at once.

    `fault`: why nothing gets through just now, for people; None if it does. `stopping` ends the waiting.
    """

    def __init__(
        self,
        bootstrap_servers: str,
        partitions: int,
        *,
        compression: str | None = None,
        stopping: threading.Event | None = None,
    ) -> None:
        self.fault: str | None = None
        self._bootstrap_servers = bootstrap_servers
        self._partitions = partitions
        self._compression = compression
        self._stopping = stopping or threading.Event()
        self._producer: KafkaProducer | None = None
        self._checked: set[str] = set()
        self._said_at = 0.0

    def deliver(self, packed: Iterable[Packed]) -> bool:
        """Send them and wait until every one is acknowledged; False if stopped before. Clocks go last.

        What Kafka finds too large is sent in halves, and at last rejected by reference.
        """
        everything = list(packed)
        return self._deliver([one for one in everything if not one.clock]) and self._deliver(
            [one for one in everything if one.clock]
        )

    def close(self) -> None:
        """End the producer."""
        self._drop(timeout_s=2.0)

    def _deliver(self, waiting: list[Packed]) -> bool:
        pause_s = _FIRST_PAUSE_S
        while waiting:
            before = len(waiting)
            waiting, fault = self._try(waiting)
            if fault is None:
                continue
            self._say(fault)
            self._drop()
            if len(waiting) < before:
                pause_s = _FIRST_PAUSE_S
            if self._stopping.wait(pause_s):
                return False
            pause_s = min(2 * pause_s, _LONGEST_PAUSE_S)
        if self.fault is not None:
            log.info("the broker takes touchpoints again")
            self.fault = None
        return True

    def _try(self, packed: list[Packed]) -> tuple[list[Packed], str | None]:
        """Send all; what must be sent again, and why (None: it was only too large)."""
        from kafka.errors import KafkaError

        try:
            producer = self._connected({one.topic for one in packed})
        except (KafkaError, OSError, DeliveryError) as error:
            return packed, _words(error)
        sent: list[tuple[Packed, Any]] = []
        again: list[Packed] = []
        fault = None
        for one in packed:
            headers = [(FILE_HEADER, b"1")] if one.from_file else []
            try:
                future = producer.send(
                    one.topic, one.value, key=one.key, partition=one.partition, headers=headers
                )
            except (KafkaError, OSError, ValueError) as error:
                said = self._after(one, error, again)
                fault = said or fault
            else:
                sent.append((one, future))
        for one, future in sent:
            failed = self._outcome(future)
            if failed is None:
                metrics.PUBLISHED_RECORDS.inc()
            else:
                fault = self._after(one, failed, again) or fault
        return again, fault

    def _after(self, one: Packed, error: BaseException, again: list[Packed]) -> str | None:
        """What becomes of a record that was not taken; the fault, if it is not its size."""
        from kafka.errors import MessageSizeTooLargeError, RecordListTooLargeError

        if not isinstance(error, MessageSizeTooLargeError | RecordListTooLargeError):
            again.append(one)
            return _words(error)
        if len(one.items) > 1:
            again += one.halves()
        elif one.topic == REJECTED:
            log.error(
                "the broker does not take a rejection of %d bytes; the spool has what it is about", one.size
            )
        else:
            log.error("the broker does not take a touchpoint of %d bytes; it is rejected", one.size)
            again.append(pack_rejection(unpublishable(one, _words(error)), self._partitions))
        return None

    def _outcome(self, future: Any) -> BaseException | None:
        """None once it is acknowledged, else what went wrong."""
        from kafka.errors import KafkaError, KafkaTimeoutError

        silent_at = time.monotonic() + _SILENCE_S
        while True:
            try:
                future.get(timeout=1.0)
                return None
            except KafkaTimeoutError as error:
                silent = time.monotonic() > silent_at
                if future.is_done or (silent and self._stopping.is_set()):
                    return _as_error(error)
                if silent:
                    self._say("it does not answer")
            except KafkaError as error:
                return _as_error(error)

    def _connected(self, topics: set[str]) -> "KafkaProducer":
        if self._producer is None:
            _knock(self._bootstrap_servers)
            # only here: it takes 0.3 s to import
            from kafka import KafkaProducer

            self._checked = set()
            self._producer = KafkaProducer(
                bootstrap_servers=self._bootstrap_servers.split(","),
                client_id="desireline-collector",
                compression_type=self._compression,
                allow_auto_create_topics=False,  # it would make them with another number of partitions
                max_block_ms=_BLOCKED_MS,
                bootstrap_timeout_ms=_BLOCKED_MS,
                request_timeout_ms=5_000,
                delivery_timeout_ms=_GIVE_UP_MS,
                max_request_size=_LARGEST_REQUEST,
                reconnect_backoff_max_ms=1_000,
                linger_ms=0,  # what belongs together is packed already
            )
        unchecked = topics - self._checked
        if unchecked:
            self._check_exist(unchecked)
        for topic in unchecked:
            there = len(self._producer.partitions_for(topic) or ())
            if there != self._partitions:
                raise DeliveryError(f'topic "{topic}" has {there} partitions, and {self._partitions} are set')
            self._checked.add(topic)
        return self._producer

    def _check_exist(self, topics: set[str]) -> None:
        """DeliveryError unless they are there; asked for them, the embedded broker would make them."""
        from kafka.admin import KafkaAdminClient

        admin = KafkaAdminClient(
            bootstrap_servers=self._bootstrap_servers.split(","), bootstrap_timeout_ms=_BLOCKED_MS
        )
        try:
            missing = topics - set(admin.list_topics())
        finally:
            admin.close()
        if missing:
            raise DeliveryError(f'topic "{min(missing)}" is not there yet')

    def _drop(self, timeout_s: float = 0.0) -> None:
        if self._producer is not None:
            self._producer.close(timeout=timeout_s)
            self._producer = None

    def _say(self, fault: str) -> None:
        now = time.monotonic()
        if self.fault is None:
            metrics.PUBLISH_FAILURES.inc()
        if self.fault is None or now - self._said_at > _SAY_AGAIN_S:
            self._said_at = now
            log.warning("the broker takes nothing (%s); touchpoints wait in the spool", fault)
        self.fault = fault


def _knock(bootstrap_servers: str) -> None:
    """DeliveryError if nobody listens there: the client would only find out after its whole timeout."""
    why: OSError | None = None
    for server in bootstrap_servers.split(","):
        host, _, port = server.strip().rpartition(":")
        try:
            socket.create_connection((host, int(port)), timeout=_KNOCK_S).close()
        except OSError as error:
            why = error
        except ValueError:
            raise DeliveryError(f'"{server}" is no host:port') from None
        else:
            return
    raise DeliveryError(f"nobody listens at {bootstrap_servers}: {why}")


def _as_error(error: Any) -> BaseException:
    return error if isinstance(error, BaseException) else RuntimeError(str(error))


def _words(error: BaseException) -> str:
    return str(error) or type(error).__name__
