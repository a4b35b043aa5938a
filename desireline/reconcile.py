"""Does everything add up: what the spool accepted against what the warehouse holds.

Every touchpoint that was answered 200 lies in the spool. Mapped again, each of its elements must be a row of
the warehouse or rejected with its reason, and each rejection must be shown there, too.
"""

import time
from array import array
from collections import Counter, defaultdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from sqlalchemy import Engine

from desireline import loaded, spooled
from ingest.config import CollectorConfig
from models.journey_model import default_model
from models.touchpoint import Element, Touchpoint

if TYPE_CHECKING:
    from clickhouse_connect.driver.client import Client

_LOOK_EVERY_S = 0.5

Sender = tuple[str, str]  # source, channel


class Balance:
    """What was counted.

    `counts`, a row per source and channel: accepted (elements of the spool), repeated (of which sent before
    under the same id), in_warehouse, rejected, missing. `reasons`, a row per reason: rejected, missing.
    `missing`: ids.
    """

    def __init__(self) -> None:
        self.missing: list[str] = []
        self._accepted: Counter[Sender] = Counter()
        self._ids: dict[Sender, array[int]] = defaultdict(lambda: array("q"))
        self._missing: Counter[Sender] = Counter()
        self._rejected: Counter[Sender] = Counter()
        self._reasons: Counter[str] = Counter()
        self._missing_reasons: Counter[str] = Counter()

    @property
    def holds(self) -> bool:
        """Whether nothing is missing."""
        return not self.missing

    @property
    def counts(self) -> pd.DataFrame:
        """One row per source and channel."""
        rows = []
        for sender in sorted(self._accepted.keys() | self._rejected.keys()):
            distinct = (
                len(np.unique(np.frombuffer(self._ids[sender], dtype=np.int64))) if self._ids[sender] else 0
            )
            rows.append(
                {
                    "source": sender[0],
                    "channel": sender[1],
                    "accepted": self._accepted[sender],
                    "repeated": self._accepted[sender] - distinct,
                    "in_warehouse": distinct - self._missing[sender],
                    "rejected": self._rejected[sender],
                    "missing": self._missing[sender],
                }
            )
        columns = ["source", "channel", "accepted", "repeated", "in_warehouse", "rejected", "missing"]
        return pd.DataFrame(rows, columns=columns)

    @property
    def reasons(self) -> pd.DataFrame:
        """One row per reason of a rejection."""
        rows = [
            {"reason": reason, "rejected": count, "missing": self._missing_reasons[reason]}
            for reason, count in self._reasons.most_common()
        ]
        return pd.DataFrame(rows, columns=["reason", "rejected", "missing"])

    @property
    def sentence(self) -> str:
        """For people."""
        accepted, rejected = self._accepted.total(), self._rejected.total()
        counted = f"{accepted:,} accepted, {rejected:,} rejected"
        return f"{counted}: all are there" if self.holds else f"{counted}: {len(self.missing):,} are missing"

    def as_record(self, listed: int) -> dict[str, Any]:
        """For JSON: holds, counts, reasons, how many are missing, and the first `listed` ids of them."""
        return {
            "holds": self.holds,
            "counts": self.counts.to_dict("records"),
            "reasons": self.reasons.to_dict("records"),
            "missing": len(self.missing),
            "missing_ids": self.missing[:listed],
        }

    def count(self, batch: spooled.Batch) -> None:
        """Count what was spooled."""
        for element in batch.elements:
            sender = _sender(element)
            self._accepted[sender] += 1
            self._ids[sender].append(hash(element.id))
        for mapped in batch.mapped:
            for rejected in mapped.rejected:
                self._rejected[rejected.source, rejected.channel or ""] += 1
                self._reasons[rejected.reason] += 1

    def close(self, elements: list[Element], rejections: dict[str, str]) -> None:
        """What is missing in the end: elements, and rejections with their reasons by id."""
        for element in {element.id: element for element in elements}.values():
            self._missing[_sender(element)] += 1
            self.missing.append(element.id)
        for id, reason in rejections.items():
            self._missing_reasons[reason] += 1
            self.missing.append(id)


def reconcile(
    connection: Engine, spool: Path, *, patience_s: float = 0, config: CollectorConfig | None = None
) -> Balance:
    """Compare the spool as it is now with the warehouse; wait `patience_s` for what is on its way.

    `config` is the collector's, whose journey model maps; without it the one that is shipped. SpoolBroken
    names an entry that cannot be read.
    """
    config = config or CollectorConfig(spool_dir=str(spool), bootstrap_servers="", model=default_model())
    deadline = time.monotonic() + patience_s
    balance = Balance()
    elements: list[Element] = []
    rejections: dict[str, str] = {}
    with connection.connect() as held:
        client: Client = held.connection.driver_connection.client  # type: ignore[union-attr]
        for batch in spooled.batches(config, 0):
            balance.count(batch)
            elements += loaded.missing(client, batch.elements)
            reasons = {
                rejected.id: rejected.reason for mapped in batch.mapped for rejected in mapped.rejected
            }
            rejections |= {id: reasons[id] for id in loaded.missing_rejections(client, reasons)}
        while (elements or rejections) and time.monotonic() < deadline:
            begun = time.monotonic()
            elements = loaded.missing(client, elements)
            rejections = {id: rejections[id] for id in loaded.missing_rejections(client, rejections)}
            # asking is work for the warehouse, too, which is to load meanwhile
            time.sleep(
                min(max(_LOOK_EVERY_S, 2 * (time.monotonic() - begun)), max(0, deadline - time.monotonic()))
            )
    balance.close(elements, rejections)
    return balance


def _sender(element: Element) -> Sender:
    if isinstance(element, Touchpoint):
        return element.source, element.channel
    return getattr(element, "source", "correction"), getattr(element, "channel", "")
