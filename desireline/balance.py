"""The figures of a reconciliation: what was accepted, what became of it, and everything that does not add up.

Of every element accepted it is so that

    accepted = duplicate + updated + conflicting + rejected + loaded + missing

and, unless something is astray, that all touchpoints that are loaded are stitched.
"""

from array import array
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from typing import Any, Literal, NamedTuple

import msgspec
import numpy as np
import pandas as pd

from desireline.loaded import Elsewhere, Sought
from desireline.spooled import Gap
from ingest.rejection import Rejection
from models.touchpoint import Correction, Element, Touchpoint, encoding
from warehouse.consistency import Astray

Kind = Literal["missing", "missing_rejection", "spool_gap", "extra", "astray", "bucket"]
LISTED_AT_MOST = 10_000
"""Differences kept by name; beyond that they are only counted."""

_COUNTS = (
    "source", "channel", "element", "accepted", "duplicate", "updated", "conflicting", "rejected", "loaded",
    "stitched", "missing",
)  # fmt: skip


class Difference(NamedTuple):
    """Something that does not add up: of which kind, its id, and what is wrong, for people."""

    kind: Kind
    id: str
    says: str


class Place(NamedTuple):
    """Whose elements are counted together."""

    source: str
    channel: str
    element: str  # touchpoint, identification, correction


class Copies:
    """How often elements were sent, 24 bytes each: the hash of the id, when the source updated it, its content."""

    def __init__(self) -> None:
        self._ids = array("q")
        self._updated = array("q")
        self._contents = array("q")

    def add(self, element: Element) -> None:
        """It was sent."""
        self._ids.append(hash(element.id))
        self._updated.append((isinstance(element, Touchpoint) and element.source_updated_at) or 0)
        self._contents.append(hash(_content(element)))

    @property
    def ids(self) -> "np.ndarray[Any, np.dtype[np.int64]]":
        """The hashes of the ids, each once, in order."""
        return np.unique(np.frombuffer(self._ids, dtype=np.int64))

    def counts(self) -> tuple[int, int, int, int]:
        """Different ids; sent again with the same content; with an older content of the source; with another one."""
        ids, updated, contents = (
            np.frombuffer(one, dtype=np.int64) for one in (self._ids, self._updated, self._contents)
        )
        order = np.lexsort((contents, updated, ids))
        ids, updated, contents = ids[order], updated[order], contents[order]
        first = np.r_[True, ids[1:] != ids[:-1]]
        other = first | np.r_[True, (updated[1:] != updated[:-1]) | (contents[1:] != contents[:-1])]
        newest = updated[np.r_[np.flatnonzero(first)[1:] - 1, len(ids) - 1]][np.cumsum(first) - 1]
        distinct = int(first.sum())
        older = int((other & (updated < newest)).sum())
        return distinct, int((~other).sum()), older, int(other.sum()) - older - distinct


class Balance:
    """What was counted, and what does not add up."""

    def __init__(self) -> None:
        self.differences: list[Difference] = []
        self.elsewhere: list[Elsewhere] = []
        self._found: Counter[Kind] = Counter()
        self._accepted: Counter[Place] = Counter()
        self._copies: dict[Place, Copies] = defaultdict(Copies)
        self._missing: dict[Place, array[int]] = defaultdict(lambda: array("q"))
        self._rejected_later: dict[Place, dict[str, str]] = defaultdict(dict)
        self._unstitched: dict[tuple[str, str], set[str]] = defaultdict(set)
        self._rejected: Counter[tuple[str, str, str]] = Counter()
        self._missing_rejections: Counter[tuple[str, str, str]] = Counter()

    # --- what is told to it ---

    def accept(self, element: Element) -> Sought:
        """It lies in the spool; gives what it is looked up by."""
        sought = Sought.of(element)
        place = _place(sought)
        self._accepted[place] += 1
        self._copies[place].add(element)
        return sought

    def reject(self, rejection: Rejection) -> None:
        """It was not taken at the door."""
        self._rejected[_reason(rejection)] += 1

    def rejected_later(self, element: Sought, reason: str) -> None:
        """It was accepted, and what came after the door could not take it."""
        if element.id not in self._rejected_later[_place(element)]:
            self._rejected_later[_place(element)][element.id] = reason
            self._rejected[element.source, element.channel, reason] += 1

    def unjudged(self, element: Sought) -> None:
        """Its row says nothing of customer and journey."""
        self._unstitched[element.source, element.channel].add(element.id)
        self._differ("astray", element.id, "its row names no customer and journey")

    def miss(self, element: Sought) -> None:
        """It is neither loaded nor rejected."""
        self._missing[_place(element)].append(hash(element.id))
        self._differ(
            "missing", element.id, f"{element.element} of {element.source}, {element.raw_ref or 'by hand'}"
        )

    def miss_rejection(self, rejection: Rejection) -> None:
        """It is not shown among the rejected."""
        self._missing_rejections[_reason(rejection)] += 1
        self._differ("missing_rejection", rejection.id, f"{rejection.reason}, {rejection.raw_ref}")

    def gap(self, gap: Gap) -> None:
        """The spool has lost entries."""
        received = f"received {_instant(gap.after, 'from the first on')} to {_instant(gap.before, 'now')}"
        self._differ(
            "spool_gap", f"{gap.begin}-{gap.end}", f"{gap.end - gap.begin} bytes are gone, {received}"
        )

    def add_extra(self, ids: Iterable[str]) -> None:
        """Rows that came through this spool, which holds no such touchpoint."""
        for id in ids:
            self._differ("extra", id, "a row of this spool, which does not hold it")

    def lead_astray(self, astray: Iterable[Astray]) -> None:
        """Touchpoints that do not stand where their rows say."""
        ids = self.ids()
        for one in astray:
            place = np.searchsorted(ids, hash(one.id))
            if place < len(ids) and ids[place] == hash(one.id) and one.source:
                self._unstitched[one.source, one.channel].add(one.id)
            self._differ("astray", one.id, one.why)

    def unequal(self, buckets: Iterable[str]) -> None:
        """Buckets that do not equal their recount."""
        for bucket in buckets:
            self._differ("bucket", bucket, "does not equal its recount")

    def _differ(self, kind: Kind, id: str, says: str) -> None:
        self._found[kind] += 1
        if len(self.differences) < LISTED_AT_MOST:
            self.differences.append(Difference(kind, id, says))

    # --- what it says ---

    @property
    def holds(self) -> bool:
        """Whether everything adds up."""
        return not self._found

    @property
    def missing(self) -> list[str]:
        """The ids of what is neither loaded nor rejected, and of rejections that are not shown."""
        return [one.id for one in self.differences if one.kind in ("missing", "missing_rejection")]

    def ids(self) -> "np.ndarray[Any, np.dtype[np.int64]]":
        """Hashes of the ids of all that was accepted, in order."""
        if not self._copies:
            return np.array([], dtype=np.int64)
        return np.unique(np.concatenate([copies.ids for copies in self._copies.values()]))

    @property
    def counts(self) -> pd.DataFrame:
        """One row per source, channel and kind of element; `stitched` is null for what is no touchpoint."""
        counts = pd.DataFrame(list(self._rows()), columns=list(_COUNTS))
        return counts.astype({"stitched": "Int64"})  # whole numbers beside nulls

    def _rows(self) -> Iterator[dict[str, Any]]:
        for place in sorted(self._accepted):
            distinct, duplicate, updated, conflicting = self._copies[place].counts()
            missing = len(set(self._missing[place])) if place in self._missing else 0
            rejected = len(self._rejected_later[place]) if place in self._rejected_later else 0
            loaded = distinct - missing - rejected
            unstitched = len(self._unstitched.get((place.source, place.channel), ()))
            yield {
                **place._asdict(),
                "accepted": self._accepted[place],
                "duplicate": duplicate,
                "updated": updated,
                "conflicting": conflicting,
                "rejected": rejected,
                "loaded": loaded,
                "stitched": loaded - unstitched if place.element == "touchpoint" else None,
                "missing": missing,
            }

    @property
    def reasons(self) -> pd.DataFrame:
        """One row per source, channel and reason of a rejection."""
        rows = [
            {"source": source, "channel": channel, "reason": reason, "rejected": count,
             "missing": self._missing_rejections[source, channel, reason]}
            for (source, channel, reason), count in sorted(self._rejected.items())
        ]  # fmt: skip
        return pd.DataFrame(rows, columns=["source", "channel", "reason", "rejected", "missing"])

    @property
    def sentence(self) -> str:
        """For people."""
        counts = self.counts
        accepted, rejected = int(counts["accepted"].sum()), self._rejected.total()
        if not self.holds:
            wrong = ", ".join(f"{count:,} {_WORDS[kind]}" for kind, count in sorted(self._found.items()))
            return f"{accepted:,} accepted, {rejected:,} rejected; it does not add up: {wrong}"
        again = int(counts[["duplicate", "updated", "conflicting"]].to_numpy().sum())
        loaded = int(counts["loaded"].sum())
        became = [(loaded, "loaded"), (again, "sent again"), (accepted - loaded - again, "rejected later")]
        parts = " + ".join(f"{count:,} {how}" for count, how in became if count or how == "loaded")
        return f"{accepted:,} accepted = {parts}; {rejected:,} rejected: it adds up"

    def as_record(self, listed: int) -> dict[str, Any]:
        """For JSON, as docs/operating.md says; of the differences the first `listed`."""
        return {
            "holds": self.holds,
            "counts": [
                {**row, "stitched": None if row["element"] != "touchpoint" else int(row["stitched"])}
                for row in self._rows()
            ],
            "rejected": self.reasons.to_dict("records"),
            "elsewhere": [one._asdict() for one in self.elsewhere],
            "differences": {kind: self._found[kind] for kind in _WORDS},
            "listed": [one._asdict() for one in self.differences[:listed]],
        }


_WORDS: dict[Kind, str] = {
    "missing": "accepted and missing",
    "missing_rejection": "rejected and not shown",
    "spool_gap": "gaps in the spool",
    "extra": "rows that the spool lacks",
    "astray": "not where their journey says",
    "bucket": "buckets that do not equal their recount",
}


def _place(sought: Sought) -> Place:
    return Place(sought.source, sought.channel, sought.element)


def _reason(rejection: Rejection) -> tuple[str, str, str]:
    return rejection.source, rejection.channel or "", rejection.reason


def _content(element: Element) -> bytes:
    """What is the same when it is sent again: all but how it reached us."""
    if isinstance(element, Correction):
        return encoding(element)
    return encoding(msgspec.structs.replace(element, received_at=0, raw_ref=None))


def _instant(at: int | None, otherwise: str) -> str:
    return (
        otherwise if at is None else datetime.fromtimestamp(at / 1000, UTC).isoformat(timespec="milliseconds")
    )
