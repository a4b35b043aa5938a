"""What `make converge` asks the warehouse while it runs would notice: each promise is broken once."""

from collections.abc import Iterator

import pytest
from clickhouse_connect.driver.client import Client

from models.household import verdicts
from models.verdict import Facts
from tests.converge.looking import ALWAYS, NEVER_LESS, Looker
from tests.histories import MODEL, touchpoint
from warehouse import ddl, schema
from warehouse.aggregates import Aggregates
from warehouse.rows import Rows
from warehouse.views import VIEWS
from warehouse.writer import Writer

DAY_MS = 86_400_000

BREAKS = {
    "each touchpoint stands once": (
        "insert into touchpoint_rows select * replace(version + 1 as version) from touchpoint_rows",
        "create or replace view touchpoints as select * from touchpoint_rows",
    ),
    "each touchpoint is in exactly one journey, at one place": (
        "insert into touchpoint_rows select * replace(version + 1 as version, '' as journey_id)"
        " from touchpoint_rows limit 1",
    ),
    "each journey stands once, at its first touchpoint": (
        "insert into journey_rows select * replace(version + 1 as version, reverse(touchpoint_ids) as"
        " touchpoint_ids) from journey_rows",
    ),
    "no touchpoint is twice in a journey": (
        "insert into journey_rows select * replace(version + 1 as version,"
        " arrayMap(one -> id, touchpoint_ids) as touchpoint_ids) from journey_rows",
    ),
    "the arrays of a journey are of one length and in the order of time": (
        "insert into journey_rows select * replace(version + 1 as version, reverse(ats) as ats)"
        " from journey_rows",
    ),
    "the phases of journeys add up to the journeys": (
        "insert into journey_rows select * replace(version + 1 as version,"
        " arrayMap(one -> 'Nowhere', phases) as phases, 'Nowhere' as current_phase) from journey_rows",
    ),
    "attempts end once": (
        "insert into touchpoint_rows select * replace(version + 1 as version,"
        " arrayMap(one -> 'open', attempt_outcomes) as attempt_outcomes) from touchpoint_rows",
    ),
    "drop-offs are recovered after they were dated": (
        "insert into touchpoint_rows select * replace(version + 1 as version,"
        " drop_off_at as drop_off_recovered_at) from touchpoint_rows",
    ),
    "an identifier belongs to one customer": (
        "insert into identity_rows select * replace(version + 1 as version) from identity_rows",
        "create or replace view identities as select * from identity_rows",
    ),
    "each minute of attempts stands once": (
        "insert into attempts_1m_rows select * replace(version + 1 as version, abandoned + 1 as recovered)"
        " from attempts_1m_rows",
    ),
    "each day of conversion stands once, and who enters a phase goes on, is lost or open": (
        "insert into stage_conversion_1d_rows select * replace(version + 1 as version,"
        " entered + 1 as forward) from stage_conversion_1d_rows",
    ),
    "what stands never has seen less than what stood": ("truncate table touchpoint_rows",),
    "watermarks do not fall": (
        "truncate table watermarks",
        "insert into watermarks values (0, fromUnixTimestamp64Milli(1))",
    ),
}  # fmt: skip


@pytest.fixture
def loaded(loader: Client) -> Iterator[Client]:
    """A journey with an attempt that was abandoned, and silence after it."""
    for table in schema.metadata.tables.values():
        if table.name != "migrations":
            loader.command(f"truncate table {table.name}")
    happened = [touchpoint("t1", 1_000, "add_to_cart"), touchpoint("t2", 1_003, "error_seen")]
    facts: Facts = verdicts(happened, 400 * DAY_MS, MODEL)
    facts.watermarks[0] = 400 * DAY_MS
    rows = Rows()
    rows.add(facts)
    writer = Writer(loader)
    aggregates = Aggregates(loader, writer, MODEL.phases)
    touched = aggregates.announce(rows, "1")
    writer.write(rows, "1")
    aggregates.settle(touched)
    yield loader
    for view in VIEWS:
        loader.command(ddl.create_view(view))


def test_every_promise_is_broken_in_the_next_test() -> None:
    assert BREAKS.keys() == ALWAYS.keys() | NEVER_LESS.keys()


@pytest.mark.parametrize("promise", BREAKS)
def test_a_promise_that_does_not_hold_is_seen(loaded: Client, warehouse: str, promise: str) -> None:
    looker = Looker(warehouse.rpartition("/")[0], MODEL.phases)
    looker.look()
    assert looker.broken == {}
    assert looker.most_apart == 0
    for statement in BREAKS[promise]:
        loaded.command(statement)
    looker.look()
    assert [broken for broken in looker.broken if broken.startswith(promise)]
