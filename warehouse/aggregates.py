"""Minute and day buckets, absolute and versioned, so that they converge as the rows do.

A bucket is never counted up or down. Whoever inserts rows recomputes every bucket that these rows stand in
or ever stood in, from the rows, and inserts it whole; a bucket that became empty is inserted with zeros.
The row of a bucket with the greatest version counts.

Which rows can stand in a bucket, and in which buckets a row ever stood, is kept in two sets that only grow:
`bucket_places` (bucket → rows) and `row_places` (row → buckets). Both are written before the row itself. So a
recomputation reads only the rows that can matter, however long ago their attempt was opened, and a row that
moves to another bucket is found in its old one also after ClickHouse merged its old version away.

Why this converges with several loaders, retries, crashes and zombies. A loader does, in this order and each
step acknowledged before the next: (1) announce: add its rows' buckets to both sets; (2) insert the rows;
(3) read from `row_places` all buckets that its rows ever stood in; (4) take a version from the server's
clock; (5) recompute these buckets from the rows that stand now, under that version. Let the versions of one
bucket be v < v'. The loader of v' took it at (4) and read at (5), after every loader with a smaller version
of this bucket had finished (2): so what the greatest version says includes all rows that any loader of this
bucket inserted. There is such a loader for each row: let row r last change its mind from bucket b to bucket
c, by loader L, and let K have inserted the version of r that stood in b. If K's (1) came before L's (3), L
finds b and recomputes it. If not, L's (2) came before K's (1), and K, which recomputes b after that, sees
L's version of r. A loader that dies anywhere leaves its record unacknowledged: its successor does all steps
again, and both sets still know the buckets. Doing a step twice changes nothing.

The clock is the one of the server that is asked, and it must not be set back between two of its answers:
against that, the version is at least one more than that of every touched bucket. With several replicas it
must be one server that loaders ask, or their clocks must differ by less than an insert takes, and reads
must be sequentially consistent.
"""

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from hashlib import blake2b
from typing import Any, TypeVar

from clickhouse_connect.driver.binding import format_str
from clickhouse_connect.driver.client import Client
from sqlalchemy import Table

from models.verdict import JudgedTouchpoint
from warehouse import schema
from warehouse.columns import DAY_MS
from warehouse.judged_tables import LIVE, JudgedTables
from warehouse.rows import Rows
from warehouse.write_errors import warehouse_errors
from warehouse.writer import Writer

MINUTE_MS = 60_000
MINUTE_S = 60
DAY_S = 86_400
_ROWS_PER_QUESTION = 5_000  # so many hashes stay below the 128 KiB that ClickHouse reads of one parameter
_BUCKETS_PER_QUESTION = 5_000
_SETTINGS = {
    "max_query_size": 16_000_000,
    "max_ast_elements": 2_000_000,
    "max_expanded_ast_elements": 2_000_000,
}

Item = TypeVar("Item")
Result = TypeVar("Result")


@dataclass(frozen=True)
class Aggregate:
    """How one table of buckets comes from the rows.

    `winners`: the columns of `source` that its winning row is asked for. `contributions`: SQL over these that
    selects the bucket's start, the dimensions, and the measures, which are added up.
    """

    table: Table
    source: Table
    day: str  # first part of the source's key; the second is `id`
    bucket: str
    dimensions: tuple[str, ...]
    measures: tuple[str, ...]
    winners: tuple[str, ...]
    contributions: str
    by_day: bool = False  # a bucket is a day of the source's key: no row ever changes its bucket

    @property
    def name(self) -> str:
        return self.table.name.removesuffix("_rows")

    def start(self, bucket: int) -> str:
        """SQL: the start of a bucket, given in UTC s."""
        return f"toDate({bucket // DAY_S})" if self.by_day else f"toDateTime({bucket}, 'UTC')"

    def recomputed(self, buckets: str, places: str, phases: str, tables: JudgedTables = LIVE) -> str:
        """SQL: bucket, dimensions and measures from the rows in `places`; zeros for what only stood there.

        `buckets`: a condition on the bucket, `places`: one on the source's key, `phases`: the array of their
        names in the order of the journey model.
        """
        columns = ", ".join(f"w.{n + 1} as {column}" for n, column in enumerate(self.winners))
        winners = (
            f"(select {columns} from (select argMax(({', '.join(self.winners)}, deleted), version) as w"  # noqa: S608
            f" from {tables[self.source]} where {places} group by {self.day}, id)"
            f" where w.{len(self.winners) + 1} = 0)"
        )
        key = ", ".join((self.bucket, *self.dimensions))
        return (
            f"select {key}, {', '.join(f'sum(_{m}) as {m}' for m in self.measures)} from ("  # noqa: S608
            f"select {key}, {', '.join(f'{m} as _{m}' for m in self.measures)}"
            f" from ({self.contributions.format(winners=winners, phases=phases)}) where {buckets}"
            f" union all select {key}, {', '.join(f'0 as _{m}' for m in self.measures)}"
            f" from {tables[self.table]} where {buckets}"
            f") group by {key}"
        )


ATTEMPTS_1M = Aggregate(
    table=schema.attempts_1m_rows,
    source=schema.touchpoint_rows,
    day="occurred_on",
    bucket="minute",
    dimensions=("kind", "channel"),
    measures=("completed", "abandoned", "recovered"),
    winners=("channel", "attempt_kinds", "attempt_outcomes", "attempt_ended_ats", "attempt_recovered_ats"),
    contributions="""
        select toStartOfMinute(toDateTime(assumeNotNull(ended_at), 'UTC')) as minute, kind, channel,
               outcome = 'completed' as completed, outcome = 'abandoned' as abandoned,
               recovered_at is not null as recovered
        from {winners}
        array join attempt_kinds as kind, attempt_outcomes as outcome, attempt_ended_ats as ended_at,
                   attempt_recovered_ats as recovered_at
        where ended_at is not null
    """,
)

DROP_OFFS_1M = Aggregate(
    table=schema.drop_offs_1m_rows,
    source=schema.touchpoint_rows,
    day="occurred_on",
    bucket="minute",
    dimensions=("phase", "channel", "type"),
    measures=("drop_offs", "recovered"),
    winners=("phase", "channel", "type", "drop_off_at", "drop_off_recovered_at"),
    contributions="""
        select toStartOfMinute(toDateTime(assumeNotNull(drop_off_at), 'UTC')) as minute, phase, channel, type,
               1 as drop_offs, drop_off_recovered_at is not null as recovered
        from {winners}
        where drop_off_at is not null
    """,
)

PAIN_POINTS_1M = Aggregate(
    table=schema.pain_points_1m_rows,
    source=schema.touchpoint_rows,
    day="occurred_on",
    bucket="minute",
    dimensions=("kind", "phase", "channel"),
    measures=("pain_points", "severity_milli"),
    winners=("occurred_at", "phase", "channel", "pain_kinds", "pain_severities"),
    contributions="""
        select toStartOfMinute(toDateTime(occurred_at, 'UTC')) as minute, kind, phase, channel,
               1 as pain_points, toUInt64(round(severity * 1000)) as severity_milli
        from {winners}
        array join pain_kinds as kind, pain_severities as severity
    """,
)

# A journey counts once in every phase that it was in, and there once as forward, lost or open: it later stood
# further; or else it has ended, by silence that nobody came back from or by a closing touchpoint; or not yet.
# Beside that it may have stood further back later.
STAGE_CONVERSION_1D = Aggregate(
    table=schema.stage_conversion_1d_rows,
    source=schema.journey_rows,
    day="started_on",
    bucket="day",
    dimensions=("campaign", "phase"),
    measures=("entered", "forward", "back", "lost", "open", "converted"),
    winners=("started_on", "campaign_first", "phases", "closed", "drop_off_at", "converted_at"),
    contributions="""
        select started_on as day, campaign_first as campaign, phase,
               1 as entered,
               indexOf({phases}, phase) as rank,
               arraySlice(phases, indexOf(phases, phase) + 1) as after,
               arrayExists(later -> indexOf({phases}, later) > rank, after) as forward,
               arrayExists(later -> indexOf({phases}, later) < rank, after) as back,
               not forward and (closed or drop_off_at is not null) as lost,
               not forward and not lost as open,
               converted_at is not null as converted
        from {winners}
        array join arrayDistinct(phases) as phase
    """,
    by_day=True,
)

AGGREGATES = (ATTEMPTS_1M, DROP_OFFS_1M, PAIN_POINTS_1M, STAGE_CONVERSION_1D)


@dataclass
class Touched:
    """Rows whose buckets must be recomputed: by source table and day (days since 1970) hashes of their
    ids."""

    rows: dict[str, dict[int, set[int]]] = field(default_factory=dict)

    def add(self, source: Table, day: int, row: int) -> None:
        self.rows.setdefault(source.name, {}).setdefault(day, set()).add(row)

    def update(self, other: "Touched") -> None:
        """Add what another one holds."""
        for source, days in other.rows.items():
            mine = self.rows.setdefault(source, {})
            for day, rows in days.items():
                mine.setdefault(day, set()).update(rows)

    def __bool__(self) -> bool:
        return bool(self.rows)


def row_hash(id: str) -> int:
    """64 bits of a row's id: what `row_places` keeps of it. Two ids of one hash cost a bucket too many."""
    return int.from_bytes(blake2b(id.encode(), digest_size=8).digest(), "little")


def places_of(touchpoints: Iterable[JudgedTouchpoint]) -> Iterator[tuple[str, int, int, str]]:
    """Where rows are about to stand: (aggregate, bucket's start in UTC s, day since 1970, id)."""
    for row in touchpoints:
        t, verdict = row.touchpoint, row.verdict
        if row.deleted:
            continue
        day = t.occurred_at // DAY_MS
        for attempt in verdict.attempts:
            if attempt.ended_at is not None:
                yield "attempts_1m", attempt.ended_at // MINUTE_MS * MINUTE_S, day, t.id
        if verdict.drop_off is not None:
            yield "drop_offs_1m", verdict.drop_off.at // MINUTE_MS * MINUTE_S, day, t.id
        if verdict.pain_points:
            yield "pain_points_1m", t.occurred_at // MINUTE_MS * MINUTE_S, day, t.id


def phase_array(phases: Iterable[str]) -> str:
    """SQL: the names of the phases, in the order of the journey model."""
    return f"[{', '.join(format_str(phase) for phase in phases)}]"


class Aggregates:
    """Announces, and recomputes, through one client. Not for several threads at once.

    `phases`, `tables`: of the journey model that the rows were judged under.
    """

    def __init__(
        self, client: Client, writer: Writer, phases: Sequence[str], tables: JudgedTables = LIVE
    ) -> None:
        self._tables = tables
        self._client = client
        self._writer = writer
        self._phases = phase_array(phases)

    def announce(self, rows: Rows, token: str) -> Touched:
        """Write where these rows are about to stand. Before the rows; gives what to settle after them."""
        touched = Touched()
        for row in rows.touchpoints:
            t = row.touchpoint
            touched.add(schema.touchpoint_rows, t.occurred_at // DAY_MS, row_hash(t.id))
        for journey in rows.journeys:
            touched.add(schema.journey_rows, journey.started_at // DAY_MS, 0)
        places = sorted(set(places_of(rows.touchpoints)))
        if places:
            aggregates, buckets, days, ids = (list(column) for column in zip(*places, strict=True))
            self._writer.insert(
                schema.bucket_places,
                {"aggregate": aggregates, "bucket": buckets, "day": days, "id": ids},
                f"{token}:bucket_places",
            )
            hashes = [row_hash(id) for id in ids]
            self._writer.insert(
                schema.row_places,
                {"day": days, "row_hash": hashes, "aggregate": aggregates, "bucket": buckets},
                f"{token}:row_places",
            )
        return touched

    def settle(self, touched: Touched) -> dict[str, list[int]]:
        """Recompute every bucket that these rows stand in or ever stood in. After the rows.

        Gives the starts of the buckets, UTC s, by aggregate. Doing it again changes nothing.
        """
        return self._settle(self._buckets(touched))

    def settle_all(self) -> None:
        """Recompute every bucket that any row ever stood in: for tables that many rows were written into at once."""
        places = self._tables[schema.bucket_places]
        found: dict[str, list[int]] = {}
        asked = f"select distinct aggregate, toUnixTimestamp(bucket) as b from {places} order by b"  # noqa: S608
        for name, bucket in self._query(asked):
            found.setdefault(name, []).append(bucket)
        for aggregate in AGGREGATES:
            if aggregate.by_day and (days := self._days(aggregate)):
                found[aggregate.name] = days
        self._settle(found)

    def recount(self, aggregate: Aggregate) -> None:
        """Recompute every day of an aggregate of days: for when what it counts has changed."""
        if days := self._days(aggregate):
            self._settle({aggregate.name: days})

    def _days(self, aggregate: Aggregate) -> list[int]:
        """The days on which there are rows, UTC s, in order."""
        asked = f"select distinct toInt32({aggregate.day}) as day from {self._tables[aggregate.source]} order by day"  # noqa: S608
        return [day * DAY_S for (day,) in self._query(asked)]

    def _settle(self, buckets: dict[str, list[int]]) -> dict[str, list[int]]:
        if not buckets:
            return {}
        version = self._version(buckets)
        for aggregate in AGGREGATES:
            for some in _chunks(buckets.get(aggregate.name, []), _BUCKETS_PER_QUESTION):
                self._recompute(aggregate, some, version)
        return buckets

    def recompute(self, since: int, until: int) -> None:
        """Recompute all buckets that start from `since` until before `until` (UTC ms) from all rows.

        For the day when somebody changed rows by hand: it trusts neither of the two sets, and reads
        everything.
        """
        version = self._version({a.name: [since // 1000, until // 1000] for a in AGGREGATES})
        for aggregate in AGGREGATES:
            bounds = aggregate.start(since // 1000), aggregate.start(until // 1000)
            period = f"{aggregate.bucket} >= {bounds[0]} and {aggregate.bucket} < {bounds[1]}"
            recomputed = aggregate.recomputed(period, "1", self._phases, self._tables)
            self._insert(aggregate, recomputed, version)

    def _buckets(self, touched: Touched) -> dict[str, list[int]]:
        """All buckets that these rows ever stood in, by aggregate, in order."""
        found: dict[str, set[int]] = defaultdict(set)
        for source, days in touched.rows.items():
            for aggregate in AGGREGATES:
                if aggregate.by_day and aggregate.source.name == source:
                    found[aggregate.name].update(day * DAY_S for day in days)
            if source != schema.touchpoint_rows.name:
                continue
            for some in _chunks(
                sorted((day, row) for day, rows in days.items() for row in rows), _ROWS_PER_QUESTION
            ):
                asked = (
                    "select distinct aggregate, toUnixTimestamp(bucket)"  # noqa: S608
                    f" from {self._tables[schema.row_places]}"
                    f" where day in ({_numbers({day for day, _ in some})}) and row_hash in {{rows:Array(UInt64)}}"
                )
                # not in the question: the engine reads a list of numbers there five times as long
                for name, bucket in self._query(asked, {"rows": [row for _, row in some]}):
                    found[name].add(bucket)
        return {name: sorted(buckets) for name, buckets in found.items()}

    def _version(self, buckets: Mapping[str, Sequence[int]]) -> int:
        """A version greater than that of whoever read these buckets before: the server's clock, ns since
        1970."""
        newest = [
            f"select max(version) as version from {self._tables[aggregate.table]}"  # noqa: S608
            f" where {aggregate.bucket} between {aggregate.start(of[0])} and {aggregate.start(of[-1])}"
            for aggregate in AGGREGATES
            if (of := buckets.get(aggregate.name))
        ]
        asked = (
            "select greatest(toUInt64(toUnixTimestamp64Nano(now64(9))), max(version) + 1)"  # noqa: S608
            f" from ({' union all '.join(newest)})"
        )
        return int(self._query(asked)[0][0])

    def _recompute(self, aggregate: Aggregate, buckets: Sequence[int], version: int) -> None:
        # a Date is compared as a number of days, a DateTime as one of seconds
        starts = f"({_numbers(bucket // DAY_S if aggregate.by_day else bucket for bucket in buckets)})"
        if aggregate.by_day:
            places = f"{aggregate.day} in {starts}"
        else:
            places = (
                f"({aggregate.day}, id) in (select day, id from {self._tables[schema.bucket_places]}"  # noqa: S608
                f" where aggregate = '{aggregate.name}' and bucket in {starts})"
            )
        those = f"{aggregate.bucket} in {starts}"
        self._insert(aggregate, aggregate.recomputed(those, places, self._phases, self._tables), version)

    def _insert(self, aggregate: Aggregate, recomputed: str, version: int) -> None:
        columns = ", ".join((aggregate.bucket, *aggregate.dimensions, *aggregate.measures))
        more, values = "version", str(version)
        if self._tables.names:
            more, values = f"{more}, model", f"{values}, {self._tables.number}"
        statement = (
            f"insert into {self._tables[aggregate.table]} ({columns}, {more})"  # noqa: S608
            f" select {columns}, {values} from ({recomputed})"
        )
        self._ask(lambda: self._client.command(statement, settings=_SETTINGS))

    def _query(self, question: str, parameters: dict[str, Any] | None = None) -> Sequence[Sequence[Any]]:
        return self._ask(lambda: self._client.query(question, parameters, settings=_SETTINGS).result_rows)

    def _ask(self, question: Callable[[], Result]) -> Result:
        with warehouse_errors("the aggregates"):
            return question()


def _numbers(numbers: Iterable[int]) -> str:
    return ", ".join(map(str, numbers))


def _chunks(items: Sequence[Item], size: int) -> Iterator[Sequence[Item]]:
    for start in range(0, len(items), size):
        yield items[start : start + size]
