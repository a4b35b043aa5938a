"""What the stitching says: of one touchpoint, of one journey, of one identifier; and which saying wins.

Every row is keyed by what never changes (a touchpoint's id, an identifier) and is replaced as a whole by the
one with the greater version; nothing ever has to be found and retracted.
"""

from typing import Literal

import msgspec

from models.touchpoint import Correction, Identification, Touchpoint

_WATERMARK_BITS = 42


def row_version(elements_seen: int, watermark: int) -> int:
    """Version of a row as one UInt64: 22 bits of |S|, then 42 bits of W (UTC ms). What saw more wins."""
    return (elements_seen << _WATERMARK_BITS) | max(watermark, 0)


class PainPoint(msgspec.Struct, frozen=True, gc=False, array_like=True):
    """A pain point at a touchpoint: its kind, severity 0–1."""

    kind: str
    severity: float


class Attempt(msgspec.Struct, frozen=True, gc=False, array_like=True):
    """An attempt that the touchpoint opened. `ended_at` None: open. Instants in UTC ms."""

    kind: str
    outcome: Literal["open", "completed", "abandoned"]
    ended_at: int | None = None
    recovered_at: int | None = None
    ended_by: str | None = None  # id of the touchpoint that completed or abandoned it; None: patience ran out


class DropOff(msgspec.Struct, frozen=True, gc=False, array_like=True):
    """Silence that followed the touchpoint, dated `at` (UTC ms); `recovered_at` if the customer came back."""

    at: int
    recovered_at: int | None = None
    pain_kind: str | None = (
        None  # the pain point nearest before it in the journey, this touchpoint's included
    )
    pain_touchpoint_id: str | None = None


class Verdict(msgspec.Struct, frozen=True, gc=False, array_like=True):
    """All that the stitching says of one touchpoint."""

    customer_id: str
    journey_id: str
    ordinal: int  # place in its journey, from 1
    phase: str
    phase_move: Literal["enter", "forward", "back", "stay"]  # against the touchpoint before it in the journey
    transaction_id: str
    customer_already: bool  # a converting touchpoint stands before it in the life cycle
    converts: bool  # it is of a converting type
    weight: float  # −1 pain … +1 delight
    moment_of_truth: bool
    pain_points: tuple[PainPoint, ...] = ()
    delights: tuple[str, ...] = ()
    attempts: tuple[Attempt, ...] = ()
    drop_off: DropOff | None = None


class JudgedTouchpoint(msgspec.Struct, frozen=True, gc=False, array_like=True):
    """A row of `touchpoints`: the canonical fields, what is said of them, and the version of that.

    `deleted`: a source sent the touchpoint again with another day; the row of this day is meant no more.
    """

    touchpoint: Touchpoint
    verdict: Verdict
    version: int
    deleted: bool = False


class JourneyRow(msgspec.Struct, frozen=True, gc=False, array_like=True):
    """A row of `journeys`, keyed by its first touchpoint (`id`, `started_at`). Arrays are in journey order.

    `deleted`: the touchpoint begins no journey any more; then only id, started_at, version are meant.
    """

    id: str  # of the first touchpoint
    started_at: int
    version: int
    deleted: bool
    journey_id: str = ""
    customer_id: str = ""
    ended_at: int = 0  # of the last touchpoint so far
    closed: bool = False  # by a closing touchpoint
    touchpoint_ids: tuple[str, ...] = ()
    ats: tuple[int, ...] = ()
    types: tuple[str, ...] = ()
    channels: tuple[str, ...] = ()
    phases: tuple[str, ...] = ()
    weights: tuple[float, ...] = ()
    transaction_ids: tuple[str, ...] = ()
    current_phase: str = ""
    furthest_phase: str = ""
    converted_at: int | None = None  # of the first converting touchpoint in the journey
    conversions: int = 0
    customer_already: bool = False  # before the journey began
    campaign_first: str | None = None
    campaign_last: str | None = None
    persona: str | None = None  # the latest one seen in the journey
    pain_points: int = 0
    delights: int = 0
    attempts_completed: int = 0
    attempts_abandoned: int = 0
    attempts_open: int = 0
    drop_off_at: int | None = None  # of the unrecovered drop-off that ends the journey so far
    drop_off_phase: str | None = None
    recoveries: int = 0  # drop-offs that the customer came back from
    values: dict[
        str, str
    ] = {}  # currency -> decimal string; sum over converting touchpoints, refunds subtracted
    shape: Literal["", "linear", "non_linear", "cyclical"] = ""  # its way through the phases; "": not said
    paved_path_distance: int | None = None  # detours and missed steps; None: the model has no paved path
    paved_path_steps: int = 0  # steps of the paved path that were walked


class IdentityRow(msgspec.Struct, frozen=True, gc=False, array_like=True):
    """A row of `identities`: whom an identifier belongs to. `first_linked_at`: UTC ms, None: never linked."""

    identifier: str
    customer_id: str
    household_id: str
    version: int
    first_linked_at: int | None = None


class ConflictRow(msgspec.Struct, frozen=True, gc=False, array_like=True):
    """A row of `identity_conflicts`: a link that was refused, since it would have fused two customers."""

    identifier_a: str
    identifier_b: str
    at: int
    reason: Literal["exclusive_kind", "not_same"]
    customer_a: str
    customer_b: str
    version: int
    deleted: bool = False


class DuplicateRow(msgspec.Struct, frozen=True, gc=False, array_like=True):
    """A conflicting duplicate: a touchpoint of the same id that lost, without a later `source_updated_at`.

    Keyed by (id, content). `deleted`: a later update of the source settled the conflict.
    """

    id: str
    source: str
    channel: str
    received_at: int
    content: str  # canonical JSON of the loser
    version: int = 0
    deleted: bool = False


class Facts(msgspec.Struct, array_like=True):
    """One record of `journeys.facts`."""

    touchpoints: list[JudgedTouchpoint] = []
    journeys: list[JourneyRow] = []
    identities: list[IdentityRow] = []
    conflicts: list[ConflictRow] = []
    identifications: list[Identification] = []  # archived, so that a household's past can be put back whole
    corrections: list[Correction] = []
    duplicates: list[DuplicateRow] = []
    watermarks: dict[int, int] = {}  # partition -> watermark, UTC ms
    model: str = ""  # fingerprint of the journey model it was judged under; empty: the current one
    copies: list[Touchpoint] = []  # archived: copies of touchpoints that do not count
