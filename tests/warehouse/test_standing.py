"""Every table of the warehouse, row by row, against the oracle: from elements through fold and writer to views."""

from random import Random

import pytest
from clickhouse_connect.driver.client import Client
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from models.fold import Household
from models.household import verdicts
from models.identifier import Identifier
from models.journey_model import JourneyModel
from models.touchpoint import Element, Identification
from models.verdict import Facts
from tests import oracle
from tests.histories import MODEL, MODELS, WATERMARKS, histories, households, root_of, touchpoint
from tests.standing import TABLES, differences, differences_of, judged
from warehouse import schema
from warehouse.aggregates import Aggregates
from warehouse.rows import Rows
from warehouse.writer import Writer


def empty(loader: Client) -> None:
    for table in schema.metadata.tables.values():
        if table.name != "migrations":
            loader.command(f"truncate table {table.name}")


def load(loader: Client, told: list[Facts], model: JourneyModel, token: str) -> None:
    writer = Writer(loader)
    aggregates = Aggregates(loader, writer, model.phases)
    rows = Rows()
    for facts in told:
        rows.add(facts)
    touched = aggregates.announce(rows, token)
    assert writer.write(rows, token) == []
    aggregates.settle(touched)


# what is wrong in the fold is found, and made small, in tests/models; here each try costs a tenth of a second
@settings(max_examples=50, deadline=None, phases=[Phase.explicit, Phase.reuse, Phase.generate])
@given(histories(), st.lists(WATERMARKS, min_size=1, max_size=3), MODELS, st.randoms(use_true_random=False))
def test_whatever_the_order_every_table_ends_as_the_oracle_says(
    loader: Client, happened: list[Element], watermarks: list[int], model: JourneyModel, random: Random
) -> None:
    empty(loader)
    watermarks.sort()
    arriving = random.sample(happened * 2, k=2 * len(happened))
    held = Household(root_of(happened, model), model)
    for number, watermark in enumerate(watermarks, start=1):
        size = len(arriving) if number == len(watermarks) else random.randrange(len(arriving) + 1)
        record, arriving = arriving[:size], arriving[size:]
        held.add(record)
        load(loader, [held.judge(watermark)], model, str(number))
    assert differences(loader, oracle.judge(happened, watermarks[-1], model), model) == []


BEN = (Identifier("user_id", "b"), Identifier("email", "b@x.org"))
ANN = (Identifier("user_id", "a"), Identifier("email", "b@x.org"))
HAPPENED: list[Element] = [
    touchpoint("t1", 1_000, "add_to_cart"),
    touchpoint("t2", 61_000, "error_seen"),
    touchpoint("t2", 61_000, "page_view"),
    touchpoint("t3", 62_000, "csat_submitted", csat=5.0),
    touchpoint("t4", 63_000, "purchase", identifiers=BEN),
    touchpoint("t5", 64_000, "page_view", identifiers=ANN),
]  # fmt: skip
LINKED = Identification(
    id="i1", source="segment", source_instance="shop", channel="web", at=5, received_at=5, identifiers=BEN
)
CHANGES = {
    "touchpoints": ("touchpoint_rows", "weight + 0.5 as weight"),
    "element_rows": ("element_rows", "replaceOne(element, 'web', 'chat') as element"),
    "journeys": ("journey_rows", "'Advocacy' as furthest_phase"),
    "attempts": ("touchpoint_rows", "arrayMap(one -> 'open', attempt_outcomes) as attempt_outcomes"),
    "drop_offs": ("touchpoint_rows", "drop_off_at + interval 1 millisecond as drop_off_at"),
    "pain_points": ("touchpoint_rows", "arrayMap(one -> one / 2, pain_severities) as pain_severities"),
    "delights": ("touchpoint_rows", "['reward'] as delight_kinds"),
    "identities": ("identity_rows", "'user_id:nobody' as customer_id"),
    "identity_conflicts": ("identity_conflict_rows", "'not_same' as reason"),
    "identification_rows": ("identification_rows", "['user_id:nobody'] as identifiers"),
    "rejected_touchpoints": ("rejected_touchpoint_rows", "'x' as content"),
    "attempts_1m": ("attempts_1m_rows", "abandoned + 1 as abandoned"),
    "drop_offs_1m": ("drop_offs_1m_rows", "drop_offs + 1 as drop_offs"),
    "pain_points_1m": ("pain_points_1m_rows", "severity_milli + 1 as severity_milli"),
    "stage_conversion_1d": ("stage_conversion_1d_rows", "entered + 1 as entered"),
}


def test_every_table_is_changed_in_the_next_test() -> None:
    assert CHANGES.keys() == TABLES.keys()


@pytest.mark.parametrize("name", CHANGES)
def test_a_row_that_says_otherwise_and_a_row_that_is_gone_are_differences(loader: Client, name: str) -> None:
    happened, end = [*HAPPENED, LINKED], 400 * 86_400_000
    empty(loader)
    load(loader, [verdicts(some, end, MODEL) for some in households(happened)], MODEL, "1")
    wanted = judged(happened, end, MODEL)
    assert differences(loader, wanted, MODEL) == []
    table, change = CHANGES[name]
    newer = "" if table in ("identification_rows", "element_rows") else "version + 1 as version, "
    loader.command(f"insert into {table} select * replace({newer}{change}) from {table} final")
    assert {found.table for found in differences_of(loader, name, wanted, MODEL)} == {name}
    loader.command(f"truncate table {table}")
    gone = differences_of(loader, name, wanted, MODEL)
    assert gone
    assert all(one.column == "*" and one.found is None for one in gone)
