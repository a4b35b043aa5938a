"""Aggregates equal a recount over the views after any order of facts, crashes, zombies and merges."""

import random
from collections import Counter
from collections.abc import Iterator

import pytest
from clickhouse_connect.driver.client import Client

from models.touchpoint import Touchpoint
from models.verdict import (
    Attempt,
    DropOff,
    Facts,
    JourneyRow,
    JudgedTouchpoint,
    PainPoint,
    Verdict,
)
from warehouse import schema
from warehouse.aggregates import AGGREGATES, Aggregates, Touched, row_hash
from warehouse.connection import client
from warehouse.rows import Rows
from warehouse.writer import Writer

PHASES = ("Awareness", "Consideration", "Purchase")
START = 1_800_000_000_000 // 86_400_000 * 86_400_000 + 86_390_000  # ten seconds before midnight
SEED = 19_770_525


@pytest.fixture(scope="module")
def connected(warehouse: str) -> Iterator[Client]:
    with client(warehouse) as made:
        yield made


@pytest.fixture
def emptied(connected: Client) -> Client:
    for table in schema.metadata.tables.values():
        if table.name != "migrations":
            connected.command(f"truncate table {table.name}")
    return connected


def touchpoint(
    id: str,
    version: int,
    *,
    at: int = START,
    phase: str = "Purchase",
    attempts: tuple[Attempt, ...] = (),
    drop_off: DropOff | None = None,
    pain_points: tuple[PainPoint, ...] = (),
    deleted: bool = False,
) -> JudgedTouchpoint:
    t = Touchpoint(
        id=id, source="s", source_instance="x", source_event_id=id, source_type="t", channel="web",
        type="add_to_cart", occurred_at=at, received_at=at, identifiers=(),
    )  # fmt: skip
    verdict = Verdict(
        "c", "j", 1, phase, "stay", "x", False, False, 0.0, False,
        pain_points=pain_points, attempts=attempts, drop_off=drop_off,
    )  # fmt: skip
    return JudgedTouchpoint(t, verdict, version, deleted)


def journey(
    id: str,
    version: int,
    phases: tuple[str, ...] = (),
    *,
    campaign: str | None = None,
    drop_off: bool = False,
    converted: bool = False,
    closed: bool = False,
    deleted: bool = False,
) -> JourneyRow:
    return JourneyRow(
        id, START, version, deleted, phases=phases, campaign_first=campaign,
        current_phase=phases[-1] if phases else "",
        drop_off_at=START + 9 if drop_off else None, drop_off_phase=phases[-1] if drop_off else None,
        converted_at=START if converted else None, closed=closed,
    )  # fmt: skip


class Loader:
    """Loads one group step by step, so that others can do their steps between."""

    def __init__(self, connected: Client, facts: Facts, token: str) -> None:
        self.facts = facts
        self.token = token
        self._writer = Writer(connected)
        self._aggregates = Aggregates(connected, self._writer, PHASES)

    def steps(self) -> Iterator[None]:
        rows = Rows()
        rows.add(self.facts)
        touched = self._aggregates.announce(rows, self.token)
        yield
        assert not self._writer.write(rows, self.token)
        yield
        self._aggregates.settle(touched)

    def load(self) -> None:
        for _ in self.steps():
            pass


def buckets(connected: Client, table: str) -> Counter:
    """What an aggregate's view says: measures by key, without zeros."""
    aggregate = next(a for a in AGGREGATES if a.name == table)
    key = ", ".join((f"toUnixTimestamp({aggregate.bucket})", *aggregate.dimensions))
    measures = ", ".join(aggregate.measures)
    found = Counter()
    for row in connected.query(f"select {key}, {measures} from {table}").result_rows:
        for measure, value in zip(aggregate.measures, row[len(aggregate.dimensions) + 1 :], strict=True):
            found[(*row[: len(aggregate.dimensions) + 1], measure)] = value
    return +found


def recount(connected: Client, table: str) -> Counter:
    """The same, counted from the views of rows, one row after the other."""
    found = Counter()

    def rows(columns: str, view: str) -> list[tuple]:
        return connected.query(f"select {columns} from {view}").result_rows

    if table == "attempts_1m":
        columns = (
            "toUnixTimestamp(toStartOfMinute(ended_at)), kind, channel, outcome, recovered_at is not null"
        )
        for *key, outcome, recovered in rows(columns, "attempts where outcome != 'open'"):
            found[(*key, outcome)] += 1
            found[(*key, "recovered")] += recovered
    elif table == "drop_offs_1m":
        columns = "toUnixTimestamp(toStartOfMinute(at)), phase, channel, type, recovered_at is not null"
        for *key, recovered in rows(columns, "drop_offs"):
            found[(*key, "drop_offs")] += 1
            found[(*key, "recovered")] += recovered
    elif table == "pain_points_1m":
        columns = "toUnixTimestamp(toStartOfMinute(at)), kind, phase, channel, severity"
        for *key, severity in rows(columns, "pain_points"):
            found[(*key, "pain_points")] += 1
            found[(*key, "severity_milli")] += round(severity * 1000)
    else:
        columns = (
            "toUnixTimestamp(started_on), campaign_first, phases, closed or drop_off_at is not null,"
            " converted_at is not null"
        )
        for day, campaign, phases, ended, converted in rows(columns, "journeys"):
            ranks = [PHASES.index(phase) for phase in phases]
            for phase in set(phases):
                here = PHASES.index(phase)
                after = ranks[ranks.index(here) + 1 :]
                forward = any(rank > here for rank in after)
                counted = {
                    "entered": 1, "forward": forward, "back": any(rank < here for rank in after),
                    "lost": ended and not forward, "open": not ended and not forward, "converted": converted,
                }  # fmt: skip
                for measure, count in counted.items():
                    found[(day, campaign, phase, measure)] += count
    return +found


def assert_right(connected: Client) -> None:
    for aggregate in AGGREGATES:
        assert buckets(connected, aggregate.name) == recount(connected, aggregate.name), aggregate.name


def test_a_bucket_that_became_empty_says_zero(emptied: Client):
    ended = Attempt("cart", "abandoned", START + 60_000)
    Loader(emptied, Facts(touchpoints=[touchpoint("a", 1, attempts=(ended,))]), "1").load()
    assert list(buckets(emptied, "attempts_1m").values()) == [1]
    Loader(emptied, Facts(touchpoints=[touchpoint("a", 2, attempts=(Attempt("cart", "open"),))]), "2").load()
    assert emptied.query("select completed, abandoned, recovered from attempts_1m").result_rows == [(0, 0, 0)]


def test_an_attempt_of_months_ago_is_found_in_the_minute_in_which_it_ended(emptied: Client):
    months_later = START + 100 * 86_400_000
    for n in range(3):
        ended = Attempt("invoice", "abandoned", months_later + n)
        row = touchpoint(f"a{n}", 1, at=START - n * 30 * 86_400_000, attempts=(ended,))
        Loader(emptied, Facts(touchpoints=[row]), str(n)).load()
    assert list(buckets(emptied, "attempts_1m").values()) == [3]


def test_a_group_that_was_written_by_a_loader_that_died_is_settled_by_its_successor(emptied: Client):
    first = Facts(touchpoints=[touchpoint("a", 1, attempts=(Attempt("cart", "abandoned", START),))])
    then = Facts(touchpoints=[touchpoint("a", 2, attempts=(Attempt("cart", "completed", START + 600_000),))])
    Loader(emptied, first, "1").load()
    dying = Loader(emptied, then, "2").steps()
    next(dying), next(dying)
    # the old version, and with it its bucket, is gone from the rows
    emptied.command("optimize table touchpoint_rows final")
    Loader(emptied, then, "2").load()
    assert [key[-1] for key in buckets(emptied, "attempts_1m")] == ["completed"]
    assert_right(emptied)


def test_two_loaders_that_do_not_know_of_each_other(emptied: Client):
    early = Facts(touchpoints=[touchpoint("a", 1, attempts=(Attempt("cart", "abandoned", START),))])
    late = Facts(touchpoints=[touchpoint("a", 2, attempts=(Attempt("cart", "completed", START + 600_000),))])
    first, second = Loader(emptied, early, "1").steps(), Loader(emptied, late, "2").steps()
    next(second)
    for _ in first:
        pass
    next(second)
    emptied.command("optimize table touchpoint_rows final")
    for _ in second:
        pass
    assert [key[-1] for key in buckets(emptied, "attempts_1m")] == ["completed"]


def test_the_buckets_of_many_rows_are_asked_for_in_parameters_that_any_server_reads(
    emptied: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[list[int]] = []
    query = emptied.query

    def asking(question: str, parameters: dict[str, list[int]] | None = None, **more: object) -> object:
        asked.extend((parameters or {}).values())
        return query(question, parameters, **more)

    aggregates = Aggregates(emptied, Writer(emptied), PHASES)
    day = START // 86_400_000
    ended = Attempt("cart", "completed", START)
    aggregates.announce(Rows(touchpoints=[touchpoint("t1", 1, attempts=(ended,))]), "one")
    monkeypatch.setattr(emptied, "query", asking)
    many = {row_hash("t1"), *range(2**64 - 12_000, 2**64)}
    buckets = aggregates.settle(Touched({"touchpoint_rows": {day: many}}))
    assert buckets == {"attempts_1m": [START // 60_000 * 60]}
    assert sorted(row for rows in asked for row in rows) == sorted(many)
    # http_max_field_value_size, where nobody has set it
    assert max(len(str(rows)) for rows in asked) < 128 * 1024


def test_a_journey_counts_once_in_every_phase_it_was_in(emptied: Client):
    round_trip = journey("j", 1, ("Awareness", "Purchase", "Consideration", "Purchase"), campaign="spring")
    Loader(emptied, Facts(journeys=[round_trip]), "1").load()
    columns = "phase, entered, forward, back, lost, open, converted"
    question = f"select {columns} from stage_conversion_1d order by phase"
    assert emptied.query(question).result_rows == [
        ("Awareness", 1, 1, 0, 0, 0, 0),
        ("Consideration", 1, 1, 0, 0, 0, 0),
        ("Purchase", 1, 0, 1, 0, 1, 0),
    ]
    Loader(emptied, Facts(journeys=[journey("j", 2, deleted=True)]), "2").load()
    assert buckets(emptied, "stage_conversion_1d") == Counter()


def test_recomputing_a_period_mends_what_somebody_broke(emptied: Client):
    ended = Attempt("cart", "abandoned", START)
    Loader(emptied, Facts(touchpoints=[touchpoint("a", 1, attempts=(ended,))]), "1").load()
    emptied.command("truncate table bucket_places")
    emptied.command(
        "insert into attempts_1m_rows (minute, kind, channel, completed, abandoned, recovered, version)"
        " select minute, kind, channel, 7, 7, 7, version + 1"
        " from attempts_1m_rows"
    )
    Aggregates(emptied, Writer(emptied), PHASES).recompute(START - 86_400_000, START + 86_400_000)
    assert_right(emptied)


def random_row(rng: random.Random, id: str, version: int) -> JudgedTouchpoint:
    """Some verdict of a touchpoint; the same for the same id and version."""
    of = random.Random(f"{SEED}{id}{version}")
    attempts = []
    for kind in of.sample(("cart", "checkout", "call"), of.randrange(3)):
        outcome = of.choice(("open", "completed", "abandoned"))
        ended = None if outcome == "open" else START + of.randrange(5) * 40_000
        recovered = ended + 1 if outcome == "abandoned" and of.random() < 0.3 else None
        attempts.append(Attempt(kind, outcome, ended, recovered))
    drop_off = None
    if of.random() < 0.4:
        drop_off = DropOff(START + of.randrange(4) * 50_000, of.choice((None, START)))
    pains = tuple(
        PainPoint(kind, of.randrange(100) / 100) for kind in of.sample(("loop", "refund"), of.randrange(3))
    )
    return touchpoint(
        id, version, at=START + of.choice((0, 1_000, 70_000)), phase=of.choice(PHASES),
        attempts=tuple(attempts), drop_off=drop_off, pain_points=pains, deleted=of.random() < 0.1,
    )  # fmt: skip


def random_facts(rng: random.Random) -> Facts:
    facts = Facts()
    for _ in range(rng.randrange(1, 4)):
        facts.touchpoints.append(random_row(rng, f"t{rng.randrange(4)}", rng.randrange(1, 6)))
    for _ in range(rng.randrange(3)):
        id, version = f"j{rng.randrange(3)}", rng.randrange(1, 6)
        of = random.Random(f"{SEED}{id}{version}")
        phases = tuple(of.choice(PHASES) for _ in range(of.randrange(1, 5)))
        facts.journeys.append(
            journey(
                id, version, phases, campaign=of.choice((None, "spring")), drop_off=of.random() < 0.4,
                converted=of.random() < 0.4, closed=of.random() < 0.2, deleted=of.random() < 0.2,
            )
        )  # fmt: skip
    return facts


@pytest.mark.parametrize("seed", range(SEED, SEED + 12))
def test_after_any_history_the_aggregates_are_those_of_the_rows(emptied: Client, seed: int):
    """Loaders that die before they are done, zombies that go on, and merges meanwhile."""
    rng = random.Random(seed)
    waiting = [(random_facts(rng), f"{seed}-{n}") for n in range(8)]
    running: list[tuple[Iterator[None], tuple[Facts, str] | None]] = []
    while waiting or running:
        if waiting and (not running or (len(running) < 3 and rng.random() < 0.6)):
            record = waiting.pop(rng.randrange(len(waiting)))
            running.append((Loader(emptied, *record).steps(), record))
        n = rng.randrange(len(running))
        steps, record = running[n]
        if next(steps, "done") == "done":
            running.pop(n)
        elif rng.random() < 0.12 and record is not None:
            # its record is read again; the loader is dead, or does not know that it should be
            waiting.append(record)
            if rng.random() < 0.5:
                running.pop(n)
            else:
                running[n] = (steps, None)
        if rng.random() < 0.15:
            table = rng.choice(("touchpoint_rows", "journey_rows", "bucket_places", "row_places"))
            emptied.command(f"optimize table {table} final")
    assert_right(emptied)
