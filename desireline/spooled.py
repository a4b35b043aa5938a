"""What the spool holds, mapped again: mapping is pure, so an entry gives what it gave at the door."""

import logging
from collections.abc import Iterator
from typing import NamedTuple

import msgspec

from ingest.config import CollectorConfig
from ingest.mapped import Mapped
from ingest.routes import map_with
from ingest.spool import SpoolBroken, SpoolEntry, published_position, read_spool
from models.touchpoint import Clock, Element

log = logging.getLogger(__name__)

TOGETHER = 5_000


class Batch(NamedTuple):
    """Entries one after another; `end`: the position behind the last one, `received_at`: of the first, UTC ms."""

    end: int
    mapped: list[Mapped]
    received_at: int = 0

    @property
    def elements(self) -> list[Element]:
        """Touchpoints, identifications and corrections; clock records are no part of a state."""
        return [
            record for mapped in self.mapped for record in mapped.records if not isinstance(record, Clock)
        ]

    @property
    def rejection_ids(self) -> list[str]:
        """What was not taken."""
        return [rejected.id for mapped in self.mapped for rejected in mapped.rejected]


class Gap(msgspec.Struct):
    """Positions at which entries are gone or damaged, and when the entries around them were received, UTC ms."""

    begin: int
    end: int
    after: int | None = None  # None: it is the first
    before: int | None = None  # None: it is the last


def batches(
    config: CollectorConfig,
    begin: int,
    end: int | None = None,
    *,
    gaps: list[Gap] | None = None,
    received_before: int | None = None,
    at_a_time: int = TOGETHER,
) -> Iterator[Batch]:
    """The entries from `begin` on, up to `end` (None: as it is now) or to the first one that was not received before
    `received_before`, UTC ms; `at_a_time` elements, or a few more, at a time.

    Where entries are gone or damaged it goes on behind them; that is added to `gaps`, or logged without one.
    """
    together: list[Mapped] = []
    count, at, received_at = 0, begin, 0
    for entry in _entries(config, begin, [] if gaps is None else gaps, log_gaps=gaps is None):
        if end is not None and entry.position >= end:
            break
        if received_before is not None and entry.delivered.received_at >= received_before:
            break
        mapped = map_with(config, entry.delivered)
        received_at = received_at if together else entry.delivered.received_at
        together.append(mapped)
        count += len(mapped.records) + len(mapped.rejected)
        at = entry.end
        if count >= at_a_time:
            yield Batch(at, together, received_at)
            together, count = [], 0
    if together:
        yield Batch(at, together, received_at)


def published(
    config: CollectorConfig, begin: int, *, received_before: int | None = None, at_a_time: int = TOGETHER
) -> Iterator[Batch]:
    """The `batches` up to where the broker has taken everything."""
    end = published_position(config.spool_dir)
    return batches(config, begin, end, received_before=received_before, at_a_time=at_a_time)


def _entries(config: CollectorConfig, begin: int, gaps: list[Gap], *, log_gaps: bool) -> Iterator[SpoolEntry]:
    last: int | None = None
    start: int | None = begin
    while start is not None:
        at, start = start, None
        try:
            for entry in read_spool(config.spool_dir, at):
                if gaps and gaps[-1].before is None:
                    gaps[-1].before = entry.delivered.received_at
                last = entry.delivered.received_at
                yield entry
        except SpoolBroken as broken:
            if broken.begin is None or broken.resume_at is None:
                raise
            if log_gaps:
                log.error("%s; `desireline reconcile` says what is missing", broken)
            gaps.append(Gap(broken.begin, broken.resume_at, last))
            start = broken.resume_at
