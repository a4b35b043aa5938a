"""What the spool holds, mapped again: mapping is pure, so an entry gives what it gave at the door."""

from collections.abc import Iterator
from typing import NamedTuple

from ingest.config import CollectorConfig
from ingest.mapped import Mapped
from ingest.routes import map_with
from ingest.spool import published_position, read_spool
from models.touchpoint import Clock, Element

TOGETHER = 5_000


class Batch(NamedTuple):
    """Entries one after another; `end`: the position behind the last one."""

    end: int
    mapped: list[Mapped]

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


def batches(config: CollectorConfig, begin: int, end: int | None = None) -> Iterator[Batch]:
    """The entries from `begin` on, up to `end` (None: as it is now). SpoolBroken, as `read_spool`."""
    together: list[Mapped] = []
    count, at = 0, begin
    for entry in read_spool(config.spool_dir, begin):
        if end is not None and entry.position >= end:
            break
        mapped = map_with(config, entry.delivered)
        together.append(mapped)
        count += len(mapped.records) + len(mapped.rejected)
        at = entry.end
        if count >= TOGETHER:
            yield Batch(at, together)
            together, count = [], 0
    if together:
        yield Batch(at, together)


def published(config: CollectorConfig, begin: int) -> Iterator[Batch]:
    """The entries from `begin` up to where the broker has taken everything."""
    return batches(config, begin, published_position(config.spool_dir))
