"""A household's past, read back from the warehouse as the elements that it was made of.

Every content of every touchpoint, identification and correction that was ever loaded is kept whole, as JSON, in
`element_rows`. `past` is one household's. Of many, never more than one block of them is in memory here: ClickHouse
sorts, on its disk where it must.

`elements_seen` and `watermark` come from the greatest version that stands: what is said after the past was
put back must not be beaten by what was said before it was lost.
"""

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from itertools import groupby
from operator import itemgetter
from typing import Any

import msgspec
from clickhouse_connect.driver.binding import format_str
from clickhouse_connect.driver.client import Client

from models.identifier import IdentifierOrder
from models.touchpoint import Correction, Element, Identification, Touchpoint
from warehouse import schema
from warehouse.judged_tables import JudgedTables

_WATERMARK_BITS = 42

_element = msgspec.json.Decoder(Touchpoint | Identification | Correction)


class Past(msgspec.Struct):
    """What is known of one household. `watermark`: UTC ms, the greatest it was judged at."""

    household_id: str
    elements: list[Element]
    elements_seen: int
    watermark: int


_HOUSEHOLDS_PER_QUESTION = 5_000
SETTINGS = {
    "max_bytes_before_external_sort": 100_000_000,
    "max_block_size": 8192,
    "max_bytes_before_external_group_by": 200_000_000,
    "max_execution_time": 0,  # whoever puts back slowly reads slowly
    "max_query_size": 16_000_000,
}

# Every element, with an identifier that its household is found by, and at what each customer was last judged.
_ELEMENTS = "select identifiers[1] as identifier, toUInt64(0) as version, element from element_rows"
_JUDGED = """
    select customer_id as identifier, max(version) as version, '' as element
    from touchpoint_rows group by identifier
"""

# A few identifiers are found by the index. Of many, one is in every part of the table: then each row is looked
# up in the set of them, where `hasAny` would compare it with one after the other.
_FEW = 30
_HAS_A_FEW = "hasAny(identifiers, {new:Array(String)})"
_HAS_MANY = "arrayExists(one -> one in {new:Array(String)}, identifiers)"
_SEEN_TOGETHER = """
    select element, '' as customer_id, toUInt64(0) as version from element_rows
    where {has}
    union all
    select '', customer_id, max(version) from touchpoint_rows
    where {has} group by customer_id
"""

# A household is kept under its smallest identifier, and so is a customer: only where a household is
# several customers, or an element begins with a larger identifier, is there anything to look up.
_HOUSEHOLDS = f"""
    select if(household_id = '', elements.identifier, household_id) as household, version, element
    from ({_ELEMENTS} union all {_JUDGED}) as elements
    left any join (
        select identifier, argMax(household_id, version) as household_id
        from identity_rows group by identifier having household_id != identifier
    ) as households on households.identifier = elements.identifier
"""  # noqa: S608  names of ours


def pasts_with_deadlines(
    client: Client, *, before: int, now: int, patience_ms: Mapping[str, int]
) -> Iterator[Past]:
    """The pasts of households quiet since `before` of which something will be said by time alone.

    These have an attempt open, or a journey whose phase's patience (`patience_ms`, by phase) runs out after
    `now`. Instants in UTC ms.
    """
    quiet = f"fromUnixTimestamp64Milli({before}, 'UTC')"
    by_phase = [f"current_phase = {format_str(phase)}, {ms}" for phase, ms in patience_ms.items()]
    patience = ", ".join((*by_phase, "false, 0"))  # whichever phases are final
    waiting = (
        "select customer_id from touchpoint_rows final"  # noqa: S608
        f" where has(attempt_outcomes, 'open') and occurred_at < {quiet}"
        " union all select customer_id from journey_rows final"
        f" where not closed and drop_off_at is null and ended_at < {quiet}"
        f" and toUnixTimestamp64Milli(ended_at) + multiIf({patience}, -{before}) > {now}"
    )
    asked = (
        "select distinct household_id from (select argMax(household_id, version) as household_id"  # noqa: S608
        f" from identity_rows where identifier in ({waiting}) group by identifier)"
    )
    yield from _of(client, [row[0] for row in client.query(asked, settings=SETTINGS).result_rows])


def _of(client: Client, households: Sequence[str]) -> Iterator[Past]:
    for start in range(0, len(households), _HOUSEHOLDS_PER_QUESTION):
        some = ", ".join(
            format_str(household) for household in households[start : start + _HOUSEHOLDS_PER_QUESTION]
        )
        yield from _read(client, f"household in ({some})")


def past(client: Client, identifiers: Collection[str]) -> Past | None:
    """The past of the household that these identifiers (their keys) belong to; None where nothing is known."""
    return pasts_of(client, [identifiers])[0]


def pasts_of(client: Client, asked: Sequence[Collection[str]]) -> list[Past | None]:
    """The past of the household of each group of identifiers (their keys), in that order.

    Follows what was seen together until nothing new is found: the table of identities may be behind. Every
    content that a touchpoint ever counted with is given.
    """
    found, known = _Found(), {key for identifiers in asked for key in identifiers}
    looked_for: set[str] = set()
    while new := known - looked_for:
        looked_for |= new
        answer = client.query(_seen_together(len(new)), parameters={"new": sorted(new)}, settings=SETTINGS)
        for content, customer_id, version in answer.result_rows:
            if content:
                known |= found.see(content)
            else:
                found.judged(customer_id, version)
    for identifiers in asked:
        found.join(identifiers)
    return [found.past(identifiers) for identifiers in asked]


def _seen_together(count: int) -> str:
    """SQL: what is known of so many identifiers."""
    has = _HAS_A_FEW if count <= _FEW else _HAS_MANY
    return _SEEN_TOGETHER.format(has=has)


def known_identifiers(client: Client, identifiers: Collection[str]) -> set[str]:
    """Those of some identifiers (their keys) of whom the archive knows anything."""
    question = "select distinct identifier from identity_rows where identifier in {asked:Array(String)}"
    answer = client.query(question, parameters={"asked": sorted(identifiers)}, settings=SETTINGS)
    return {identifier for (identifier,) in answer.result_rows}


class _Found:
    """Elements, grouped by the identifiers that they share."""

    def __init__(self) -> None:
        self._parents: dict[str, str] = {}
        self._elements: dict[str, Element] = {}  # by content
        self._versions: dict[str, int] = {}  # by customer

    def see(self, content: str) -> set[str]:
        """An element; its identifiers."""
        if content in self._elements:
            return set()
        element = self._elements[content] = _element.decode(content)
        keys = [identifier.key for identifier in element.identifiers]
        self.join(keys)
        return set(keys)

    def judged(self, customer_id: str, version: int) -> None:
        """A version that a row of a customer has."""
        self._versions[customer_id] = max(version, self._versions.get(customer_id, 0))

    def join(self, keys: Iterable[str]) -> None:
        """These identifiers are of one household."""
        first, *others = keys
        for other in others:
            self._parents[self._root(other)] = self._root(first)

    def past(self, identifiers: Iterable[str]) -> Past | None:
        """What belongs to the household of some identifiers."""
        root = self._root(next(iter(identifiers)))
        elements = [e for e in self._elements.values() if self._root(e.identifiers[0].key) == root]
        if not elements:
            return None
        version = max((v for key, v in self._versions.items() if self._root(key) == root), default=0)
        household_id = min(
            (key for key in list(self._parents) if self._root(key) == root), key=IdentifierOrder().rank
        )
        return Past(household_id, elements, *_greatest(0, 0, version))

    def _root(self, key: str) -> str:
        while (parent := self._parents.setdefault(key, key)) != key:
            self._parents[key] = self._parents[parent]
            key = parent
        return key


# --- what one set of tables says, and another does not yet ---

# What a household was last said of at: every row of the first set, and of the second one the rows that a full
# judgement always says. A journey is measured by the touchpoint it begins at, a conflict by its identifier.
_BEHIND = """
    select argMax(identifier, seen) as identifier from (
        select 't' as kind, id as key, customer_id as identifier, {seen} as seen, 0 as known from {touchpoint_rows}
        union all select 't', id, customer_id, {seen}, 0 from {journey_rows} where not deleted
        union all select 'i', identifier, identifier, {seen}, 0 from {identity_rows}
        union all select 'i', identifier_a, identifier_a, {seen}, 0 from {identity_conflict_rows}
        union all select 't', id, '', 0, {seen} from {known_touchpoint_rows}
        union all select 'i', identifier, '', 0, {seen} from {known_identity_rows}
    ) group by kind, key having max(seen) > max(known)
"""
_SAID_AT = """
    select customer_id as identifier, version, '' as element from {touchpoint_rows}
    union all select identifier, version, '' from {identity_rows}
    union all select customer_id, version, '' from {journey_rows} where not deleted
    union all select identifier_a, version, '' from {identity_conflict_rows}
"""


class Behind:
    """The households of which the tables `said` say more than the tables `known`: elements, not instants.

    While all of `known` is behind, `said` is the archive; once `known` is current, both are.
    """

    def __init__(self, client: Client, said: JudgedTables, known: JudgedTables) -> None:
        self._client = client
        names = {table.name: said[table] for table in schema.JUDGED}
        names |= {f"known_{table.name}": known[table] for table in schema.JUDGED}
        elements = [_SAID_AT.format(**names), _ELEMENTS]
        identities = [f"select identifier, household_id, version from {names['identity_rows']}"]  # noqa: S608
        if known.current:
            identities.append(
                f"select identifier, household_id, version from {names['known_identity_rows']}"  # noqa: S608
            )
        self._elements = " union all ".join(elements)
        self._identities = (
            "select identifier, argMax(household_id, version) as household_id"  # noqa: S608
            f" from ({' union all '.join(identities)}) group by identifier"
        )
        self._households = (
            "select distinct if(household_id = '', behind.identifier, household_id) as household"  # noqa: S608
            f" from ({_BEHIND.format(seen='bitShiftRight(version, 42)', **names)}) as behind"
            f" left any join ({self._identities}) as known on known.identifier = behind.identifier"
        )

    def count(self) -> int:
        """How many households there are."""
        asked = f"select count() from ({self._households})"  # noqa: S608
        count: int = self._client.query(asked, settings=SETTINGS).result_rows[0][0]
        return count

    def pasts(self) -> Iterator[Past]:
        """Their pasts, each whole. The version is the greatest of what `said` says, and not of `known`."""
        those, narrowed = self._households, ""
        if self.count() <= _HOUSEHOLDS_PER_QUESTION:  # all their rows are found without reading all others
            rows = self._client.query(self._households, settings=SETTINGS).result_rows
            if not rows:
                return
            those = ", ".join(format_str(household) for (household,) in rows)
            narrowed = (
                f" where identifier in ({those}) or identifier in"  # noqa: S608
                f" (select identifier from ({self._identities}) where household_id in ({those}))"
            )
        question = (
            "select if(household_id = '', elements.identifier, household_id) as household, version, element"  # noqa: S608
            f" from (select * from ({self._elements}){narrowed}) as elements"
            f" left any join ({self._identities}) as known on known.identifier = elements.identifier"
            f" where household in ({those}) order by household"
        )
        yield from stream(self._client, question)


def _read(client: Client, condition: str) -> Iterator[Past]:
    """The households that meet a condition, from a stream that ClickHouse has sorted."""
    question = (
        f"select household, version, element from ({_HOUSEHOLDS})"  # noqa: S608
        f" where {condition} order by household"
    )
    yield from stream(client, question)


def stream(client: Client, question: str, settings: Mapping[str, int] = SETTINGS) -> Iterator[Past]:
    """Households from rows of (household, version, element), in the order of the households."""
    with client.query_row_block_stream(question, settings=dict(settings)) as blocks:
        rows = (row for block in blocks for row in block)
        for household_id, of in groupby(rows, key=itemgetter(0)):
            yield _past(household_id, of)


def _past(household_id: str, rows: Iterable[Sequence[Any]]) -> Past:
    elements: dict[str, Element] = {}
    seen = watermark = 0
    for _, version, content in rows:
        if content and content not in elements:
            elements[content] = _element.decode(content)
        seen, watermark = _greatest(seen, watermark, version)
    return Past(household_id, list(elements.values()), seen, watermark)


def _greatest(seen: int, watermark: int, version: int) -> tuple[int, int]:
    return max(seen, version >> _WATERMARK_BITS), max(watermark, version & ((1 << _WATERMARK_BITS) - 1))
