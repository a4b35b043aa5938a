"""Does everything add up: what the spool accepted against what the warehouse holds.

Every touchpoint that was answered 200 lies in the spool. Mapped again, each of its elements must be a row of the
warehouse or rejected with its reason, and each rejection must be shown there, too. The other way round, each row
that came through this spool must be in it, and a position of the spool at which entries are gone is a loss. Last
the warehouse is asked whether it agrees with itself: each touchpoint at its place in exactly one journey, and, on
demand, each bucket equal to its recount.
"""

import time
from collections.abc import Callable, Collection, Iterable
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

import numpy as np
from sqlalchemy import Engine

from desireline import loaded, spooled
from desireline.balance import Balance
from desireline.errors import NoSpool
from desireline.loaded import Sought
from ingest.config import CollectorConfig
from ingest.rejection import Rejection
from ingest.segments import segments
from ingest.spool import published_position, spool_name
from models.journey_model import default_model
from warehouse import consistency

if TYPE_CHECKING:
    from clickhouse_connect.driver.client import Client

_LOOK_EVERY_S = 0.5
_WAITING_AT_MOST = (
    100_000  # elements and rejections that are asked for again; beyond, they are waited for at once
)
_NEVER_MS = 4_000_000_000_000  # 2096
_DROPPED_WITHIN_MS = (
    60_000  # what was received so close to the first entry that is left may have been dropped
)

Told = Callable[[int, int], None]
Item = TypeVar("Item")


def reconcile(
    connection: Engine,
    spool: Path,
    *,
    patience_s: float = 0,
    config: CollectorConfig | None = None,
    deep: bool = False,
    progress: Told = lambda done, total: None,
) -> Balance:
    """Compare the spool as it is now with the warehouse; wait `patience_s` for what is on its way.

    `config` is the collector's, whose journey model maps; without it the one that is shipped. `deep`: count all
    buckets again. `progress` gets bytes of the spool read, and to read. NoSpool.
    """
    name = spool_name(spool)
    if name is None:
        raise NoSpool(str(spool))
    config = config or CollectorConfig(spool_dir=str(spool), bootstrap_servers="", model=default_model())
    with connection.connect() as held:
        client: Client = held.connection.driver_connection.client  # type: ignore[union-attr]
        comparison = _Comparison(client, config, time.monotonic() + patience_s)
        comparison.read(progress)
        comparison.settle()
        comparison.find_extra(name)
        comparison.look_within(deep=deep)
        comparison.balance.elsewhere = loaded.from_elsewhere(client, name)
    return comparison.balance


class _Comparison:
    """One reconciliation on its way."""

    def __init__(self, client: "Client", config: CollectorConfig, deadline: float) -> None:
        self.balance = Balance()
        self._client = client
        self._config = config
        self._deadline = deadline
        self._elements: dict[str, Sought] = {}  # what is looked up again
        self._rejections: dict[str, Rejection] = {}
        self._end = 0
        self._since = 0  # rows received later must be in the spool

    def read(self, progress: Told) -> None:
        """All of the spool, batch by batch."""
        published = published_position(self._config.spool_dir)
        kept = segments(Path(self._config.spool_dir))
        dropped = (
            bool(kept) and kept[0][0] > 0
        )  # what was loaded and grew old is gone from the spool by design
        self._since = _NEVER_MS if dropped else 0
        gaps: list[spooled.Gap] = []
        for batch in spooled.batches(self._config, 0, gaps=gaps):
            self._since = min(self._since, batch.received_at + _DROPPED_WITHIN_MS)
            self._take(batch)
            self._end = batch.end
            progress(batch.end, max(batch.end, published))
        if published > self._end and kept:
            gaps.append(spooled.Gap(self._end, published))
        for gap in gaps:
            self.balance.gap(gap)

    def _take(self, batch: spooled.Batch) -> None:
        sought = [self.balance.accept(element) for element in batch.elements]
        rejections = {one.id: one for mapped in batch.mapped for one in mapped.rejected}
        for one in (one for mapped in batch.mapped for one in mapped.rejected):
            self.balance.reject(one)
        self._elements.update(self._not_found(sought))
        absent = loaded.missing_rejections(self._client, rejections)
        self._rejections.update((id, rejections[id]) for id in absent)
        if len(self._elements) + len(self._rejections) > _WAITING_AT_MOST:
            self.settle()

    def _not_found(self, elements: Collection[Sought]) -> dict[str, Sought]:
        found = loaded.find(self._client, list(elements))
        for one in elements:
            if (reason := found.rejected.get(one.id)) is not None:
                self.balance.rejected_later(one, reason)
            elif one.id in found.unjudged:
                self.balance.unjudged(one)
        return {one.id: one for one in elements if one.id not in found}

    def settle(self) -> None:
        """Ask again for what was not there, until it is or patience ends; then it is missing."""
        while (self._elements or self._rejections) and self._time_is_left():
            begun = time.monotonic()
            self._elements = self._not_found(self._elements.values())
            absent = loaded.missing_rejections(self._client, self._rejections)
            self._rejections = {id: self._rejections[id] for id in absent}
            if self._elements or self._rejections:
                self._pause(begun)
        for element in self._elements.values():
            self.balance.miss(element)
        for rejection in self._rejections.values():
            self.balance.miss_rejection(rejection)
        self._elements, self._rejections = {}, {}

    def find_extra(self, name: str) -> None:
        """Rows that came through this spool, which does not hold them."""
        known = self.balance.ids()
        extra: set[str] = set()
        for ids in loaded.of_spool(self._client, name, self._since):
            hashes = np.fromiter(map(hash, ids), dtype=np.int64, count=len(ids))
            extra.update(ids[place] for place in np.flatnonzero(~np.isin(hashes, known)))
            if len(extra) > _WAITING_AT_MOST:  # were the spool emptied, each row would be
                break
        if extra:  # accepted since it was read
            for batch in spooled.batches(self._config, self._end, gaps=[]):
                extra.difference_update(element.id for element in batch.elements)
        self.balance.add_extra(sorted(extra))

    def look_within(self, *, deep: bool) -> None:
        """Whether the warehouse agrees with itself."""
        self.balance.lead_astray(self._lasting(lambda: consistency.astray(self._client), lambda one: one.id))
        if deep:
            phases = self._config.model.phases
            self.balance.unequal(
                self._lasting(lambda: consistency.unequal_buckets(self._client, phases), lambda one: one)
            )

    def _lasting(self, ask: Callable[[], Iterable[Item]], name: Callable[[Item], str]) -> list[Item]:
        """What every answer names until patience ends: what only one of them does was on its way."""
        lasting = {name(one): one for one in ask()}
        while lasting and self._time_is_left():
            begun = time.monotonic()
            self._pause(begun)
            again = {name(one): one for one in ask()}
            lasting = {key: again[key] for key in lasting if key in again}
        return list(lasting.values())

    def _time_is_left(self) -> bool:
        return time.monotonic() < self._deadline

    def _pause(self, begun: float) -> None:
        # asking is work for the warehouse, too, which is to load meanwhile
        wanted = max(_LOOK_EVERY_S, 2 * (time.monotonic() - begun))
        time.sleep(max(0.0, min(wanted, self._deadline - time.monotonic())))
