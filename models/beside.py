"""What is said of a household beside its touchpoints and journeys: identities, conflicts, copies, the archive."""

import msgspec

from models.household import ElementSet
from models.identity import Identities, Pair
from models.touchpoint import Correction, Element, Identification, Touchpoint
from models.verdict import ConflictRow, DuplicateRow, Facts, IdentityRow


class Beside:
    """Remembers what was said, so that only what changed is said again."""

    __slots__ = (
        "_conflicts", "_contested", "_copies", "_corrections", "_duplicates", "_identifications", "_identities",
    )  # fmt: skip

    def __init__(self) -> None:
        self._identities: dict[str, tuple[str, int | None]] = {}  # identifier -> customer, first linked at
        self._conflicts: dict[Pair, ConflictRow] = {}
        self._duplicates: dict[str, list[DuplicateRow]] = {}  # by touchpoint
        self._contested: dict[str, None] = {}  # touchpoints of which another copy came
        self._copies: list[Touchpoint] = []
        self._identifications: list[Identification] = []
        self._corrections: list[Correction] = []

    def copied(self, element: Touchpoint, elements: ElementSet) -> None:
        """A copy of a known touchpoint came. The archive keeps every copy, whichever counts."""
        self._contested[element.id] = None
        self._copies += elements.losers(element.id)

    def came(self, element: Element) -> None:
        """An identification or a correction came."""
        if isinstance(element, Identification):
            self._identifications.append(element)
        elif isinstance(element, Correction):
            self._corrections.append(element)

    def pending(self, identities: Identities) -> bool:
        """Whether something is left to be said."""
        return bool(
            identities.stale
            or identities.stale_pairs
            or self._contested
            or self._identifications
            or self._corrections
        )

    def say(
        self,
        facts: Facts,
        household_id: str,
        version: int,
        identities: Identities,
        elements: ElementSet,
        *,
        full: bool,
    ) -> None:
        """Add what changed to the facts, or everything."""
        if full or identities.stale:
            facts.identities = self._identity_rows(household_id, version, identities, full)
        if full or identities.stale_pairs:
            facts.conflicts = self._conflict_rows(version, identities, full)
        if full or self._contested:
            facts.duplicates = self._duplicate_rows(version, elements, full)
        facts.copies, self._copies = self._copies, []
        facts.identifications, self._identifications = self._identifications, []
        facts.corrections, self._corrections = self._corrections, []
        if full:
            facts.copies = [loser for id in elements.contested for loser in elements.losers(id)]
            facts.identifications = [one for some in elements.identifications.values() for one in some]
            facts.corrections = [one for some in elements.corrections.values() for one in some]

    def _identity_rows(
        self, household_id: str, version: int, identities: Identities, full: bool
    ) -> list[IdentityRow]:
        stale = identities.customer_of.keys() if full else identities.stale
        rows: list[IdentityRow] = []
        for identifier in stale:
            now = identities.customer_of[identifier], identities.first_linked_at.get(identifier)
            if full or self._identities.get(identifier) != now:
                self._identities[identifier] = now
                rows.append(IdentityRow(identifier, now[0], household_id, version, now[1]))
        identities.stale = {}
        return rows

    def _conflict_rows(self, version: int, identities: Identities, full: bool) -> list[ConflictRow]:
        customer_of, said = identities.customer_of, self._conflicts
        refused_at: dict[Pair, int | None] = dict(identities.stale_pairs)
        if full:
            refused_at |= dict.fromkeys((*said, *identities.refusals))
            if identities.contested:
                refused_at |= dict(identities.possible_refusals())
        identities.stale_pairs = {}
        rows: list[ConflictRow] = []
        for pair, at in refused_at.items():
            a, b = pair
            before = said.pop(pair, None)
            refusal = identities.refusals.get(pair)
            if refusal is not None:
                row = ConflictRow(a, b, refusal.at, refusal.reason, customer_of[a], customer_of[b], version)
                if full or before is None or msgspec.structs.replace(before, version=version) != row:
                    rows.append(row)
                said[pair] = row
            elif before is not None:
                rows.append(msgspec.structs.replace(before, version=version, deleted=True))
            elif at is not None:
                rows.append(
                    ConflictRow(a, b, at, "exclusive_kind", customer_of[a], customer_of[b], version, True)
                )
        return rows

    def _duplicate_rows(self, version: int, elements: ElementSet, full: bool) -> list[DuplicateRow]:
        rows: list[DuplicateRow] = []
        for id in list(elements.contested) if full else self._contested:
            now = elements.duplicates(id, version)
            contents = {row.content for row in now}
            before = self._duplicates.get(id, [])
            said = {row.content for row in before}
            rows += [row for row in now if full or row.content not in said]
            settled = {row.content: row for row in before if row.content not in contents}
            if full:
                copies = (elements.touchpoints[id], *elements.losers(id))
                for row in elements.as_duplicates(copies, version):
                    if row.content not in contents:
                        settled[row.content] = row
            rows += [msgspec.structs.replace(row, version=version, deleted=True) for row in settled.values()]
            self._duplicates[id] = now
        self._contested = {}
        return rows
