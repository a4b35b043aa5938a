"""What is inserted together, and what of it the warehouse does not take."""

import base64
from hashlib import sha256
from typing import NamedTuple

import msgspec

from models.alerts import Alert
from models.touchpoint import Correction, Element, Identification, Touchpoint
from models.verdict import ConflictRow, DuplicateRow, Facts, IdentityRow, JourneyRow, JudgedTouchpoint

UNLOADABLE = "unloadable"


class Rejected(msgspec.Struct, frozen=True):
    """A record of `touchpoints.rejected`, as far as it is shown; what else it holds is passed over."""

    id: str
    received_at: int
    reason: str
    detail: str | None = None
    source: str | None = None
    source_instance: str | None = None
    channel: str | None = None
    raw_ref: str | None = None
    raw_base64: str | None = None
    sha256: str | None = None

    @property
    def content(self) -> str:
        """The payload as text, for reading; empty where it is not in the record."""
        if not self.raw_base64:
            return ""
        try:
            return base64.b64decode(self.raw_base64).decode(errors="replace")
        except ValueError:
            return self.raw_base64


class Rows(msgspec.Struct):
    """What is inserted together."""

    touchpoints: list[JudgedTouchpoint] = []
    journeys: list[JourneyRow] = []
    identities: list[IdentityRow] = []
    conflicts: list[ConflictRow] = []
    identifications: list[Identification | Correction] = []
    duplicates: list[DuplicateRow] = []
    copies: list[Touchpoint] = []
    rejected: list[Rejected] = []
    alerts: list[Alert] = []
    watermarks: dict[int, int] = {}  # partition -> UTC ms

    def add(self, facts: Facts) -> None:
        """Add what one record of `journeys.facts` says."""
        self.touchpoints += facts.touchpoints
        self.journeys += facts.journeys
        self.identities += facts.identities
        self.conflicts += facts.conflicts
        self.identifications += facts.identifications
        self.identifications += facts.corrections
        self.duplicates += facts.duplicates
        self.copies += facts.copies
        for partition, watermark in facts.watermarks.items():
            self.watermarks[partition] = max(watermark, self.watermarks.get(partition, 0))


class Archived(NamedTuple):
    """An element, for the archive."""

    kind: str
    element: Element
    content: bytes

    def __hash__(self) -> int:
        return hash((self.kind, self.content))


class Unloadable(msgspec.Struct, frozen=True):
    """A row that the warehouse refuses, or a record that nobody can read, and why."""

    what: str  # name of the table, or kind of the record
    content: bytes
    reason: str
    raw_ref: str | None = None  # of a touchpoint

    def rejected(self, now: int) -> Rejected:
        """How it is shown among the rejected. `now`: UTC ms."""
        digest = sha256(self.content).hexdigest()
        return Rejected(
            id=f"{UNLOADABLE}:{digest[:32]}",
            received_at=now,
            reason=UNLOADABLE,
            detail=f"{self.what}: {self.reason}"[:2000],
            raw_base64=base64.b64encode(self.content).decode(),
            sha256=digest,
            raw_ref=self.raw_ref,
        )
