"""From the spool to Kafka: at least once, in records that each carry many touchpoints.

What was just collected is handed over in memory; after a restart, or when the broker was away, it is read
from the spool and mapped again, which gives the same.
"""

import logging
import threading
import time
from collections import deque
from pathlib import Path
from typing import Any, NamedTuple

from ingest import metrics
from ingest.config import CollectorConfig
from ingest.delivering import Deliverer
from ingest.mapped import Mapped
from ingest.packing import FILE_HEADER as FILE_HEADER
from ingest.packing import Packed as Packed
from ingest.packing import pack as pack
from ingest.routes import map_with
from ingest.spool import (
    Spool,
    SpoolBroken,
    position_in,
    published_position,
    read_spool,
    write_published_position,
)

log = logging.getLogger(__name__)

_TOGETHER = 5_000  # touchpoints that are published and acknowledged together
_PUBLISHING_SHARE = 0.2  # of the time: where it takes more, touchpoints wait for longer than `linger_ms`
_REST_AT_MOST_S = 0.3
_HANDED_OVER = 30_000  # touchpoints that may wait in memory; beyond, the spool is read again
_LOOK_EVERY_S = 0.5
_TIDY_EVERY_S = 60.0
_PAUSE_S = 5.0


class _Waiting(NamedTuple):
    position: int
    end: int
    at: float  # monotonic clock, s
    mapped: Mapped


class Publisher:
    """Follows a spool in a thread of its own. `offer` is the spool's `on_commit`."""

    def __init__(self, config: CollectorConfig) -> None:
        self._config = config
        self.position = published_position(config.spool_dir)
        self._waiting: deque[_Waiting] = deque()
        self._waiting_touchpoints = 0
        self._spooled_to = self.position
        self._changed = threading.Condition()
        self._ending = False
        self._stopping = threading.Event()
        self._spool: Spool | None = None
        self._broken: str | None = None
        self._tidied_at = time.monotonic()
        self._rest_s = 0.0
        self._deliverer = Deliverer(
            config.bootstrap_servers,
            config.partitions,
            compression=config.compression,
            stopping=self._stopping,
        )
        self._thread = threading.Thread(target=self._run, name="publisher", daemon=True)

    @property
    def unpublished_bytes(self) -> int:
        """What the spool holds and the broker has not taken."""
        return max(0, self._spooled_to - self.position)

    @property
    def fault(self) -> str | None:
        """Why nothing gets through to the broker just now; None if it does."""
        return self._broken or self._deliverer.fault

    def start(self, spool: Spool) -> None:
        """Begin with what an earlier run left."""
        self._spool = spool
        with self._changed:
            self._spooled_to = spool.end
            # a spool that was taken away and begun anew has nothing of what was published from it
            self.position = min(self.position, spool.end)
        self._thread.start()

    def stop(self, patience_s: float = 5.0) -> None:
        """Publish what waits, for at most so long; the rest stays in the spool."""
        with self._changed:
            self._ending = True
            self._changed.notify()
        give_up_at = time.monotonic() + patience_s
        while self._thread.is_alive() and not self.fault and time.monotonic() < give_up_at:
            self._thread.join(0.05)
        self._stopping.set()
        self._thread.join(patience_s + 5)

    def offer(self, position: int, end: int, mapped: Any) -> None:
        """Hand over what was committed to the spool."""
        with self._changed:
            self._spooled_to = end
            if isinstance(mapped, Mapped) and self._waiting_touchpoints < _HANDED_OVER:
                self._waiting.append(_Waiting(position, end, time.monotonic(), mapped))
                self._waiting_touchpoints += _size(mapped)
            self._changed.notify()

    def _run(self) -> None:
        while not self._stopping.is_set():
            try:
                if not self._publish_some() and self._ending:
                    break
                self._tidy()
            except (
                Exception
            ) as error:  # the spool keeps everything; a thread that ends would stop all that follows
                log.exception("publishing is stuck at %d by a fault of its own", self.position)
                self._broken = f"a fault of its own: {type(error).__name__}"
                self._stopping.wait(_PAUSE_S)
        self._deliverer.close()

    def _publish_some(self) -> bool:
        """Publish what waits, and remember that it was taken; False if there was nothing."""
        with self._changed:
            if self._spooled_to <= self.position and not self._ending:
                self._changed.wait(_LOOK_EVERY_S)
            if self._spooled_to <= self.position:
                return False
            early = self._waiting_touchpoints < _TOGETHER and not self._ending
        if early:
            self._stopping.wait(max(self._config.linger_ms / 1000, self._rest_s))
        end, batch = self._handed_over()
        if not batch:
            end, batch = self._read()
        config = self._config
        began = time.monotonic()
        packed = pack(batch, config.model.identifier_order, config.partitions)
        if not self._deliverer.deliver(packed):
            return False
        self._rest_s = min((time.monotonic() - began) * (1 / _PUBLISHING_SHARE - 1), _REST_AT_MOST_S)
        self._broken = None
        self.position = end
        metrics.PUBLISHED.inc(sum(len(mapped.records) for mapped in batch))
        try:
            write_published_position(config.spool_dir, end)
        except OSError as error:  # after a restart more is published again, which changes nothing
            log.warning("the position %d cannot be written down: %s", end, error)
        return True

    def _handed_over(self) -> tuple[int, list[Mapped]]:
        """What is in memory from the position on without a gap, and the position behind it."""
        batch: list[Mapped] = []
        touchpoints = 0
        with self._changed:
            while self._waiting and self._waiting[0].position < self.position:
                self._waiting_touchpoints -= _size(self._waiting.popleft().mapped)
            at = self.position
            while self._waiting and self._waiting[0].position == at and touchpoints < _TOGETHER:
                entry = self._waiting.popleft()
                batch.append(entry.mapped)
                at = entry.end
                touchpoints += _size(entry.mapped)
            self._waiting_touchpoints -= touchpoints
        return at, batch

    def _read(self) -> tuple[int, list[Mapped]]:
        """From the spool: what was not handed over, up to what is handed over again."""
        with self._changed:
            until = self._waiting[0].position if self._waiting else self._spooled_to
        batch: list[Mapped] = []
        touchpoints, at = 0, self.position
        try:
            for entry in read_spool(self._config.spool_dir, self.position):
                if entry.position >= until:
                    at = max(at, until)  # what lay between was deleted
                    break
                batch.append(map_with(self._config, entry.delivered))
                metrics.READ_AGAIN.inc()
                at = entry.end
                touchpoints += _size(batch[-1])
                if touchpoints >= _TOGETHER:
                    break
            else:
                if at < until and not batch:
                    log.error("the spool has nothing between %d and %d; going on behind that", at, until)
                    at = until
        except SpoolBroken as broken:
            if not batch:
                log.error("%s; what follows it in its segment is not published", broken)
                at = broken.resume_at or until
        return at, batch

    def _tidy(self) -> None:
        metrics.UNPUBLISHED_BYTES.set(self.unpublished_bytes)
        if self._spool is not None and time.monotonic() - self._tidied_at > _TIDY_EVERY_S:
            self._tidied_at = time.monotonic()
            position = needed_from(self._config, self.position)
            self._spool.drop_before(position, older_than_days=self._config.spool_days)


def needed_from(config: CollectorConfig, published_to: int) -> int:
    """The position from which on somebody may still read the spool."""
    if config.confirmed_file is None:
        return published_to
    return min(published_to, position_in(Path(config.confirmed_file)))


def _size(mapped: Mapped) -> int:
    # also what says nothing counts, so that nothing waits without bound
    return 1 + len(mapped.records) + len(mapped.rejected)
