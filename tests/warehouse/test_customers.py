"""One customer's story against what was loaded, corrected past included."""

from typing import Any

import pytest
from clickhouse_connect.driver.client import Client
from hypothesis import given, settings
from hypothesis import strategies as st
from sqlalchemy import Engine

from tests.histories import NOON, histories
from tests.warehouse.stories import moment
from tests.warehouse.told_twice import load_twice
from warehouse import customers

EXAMPLES = 10  # of some households each, since loading takes most of the time


@settings(max_examples=EXAMPLES)
@given(st.lists(histories(), min_size=1, max_size=3))
def test_everybody_is_found_by_every_identifier_with_all_that_is_theirs_and_nothing_else(
    asked: Engine, loader: Client, happened: Any
) -> None:
    truth = load_twice(loader, happened)
    for identifier, owner in list(truth.owners.items())[:6]:
        found = customers.customer(asked, identifier)
        theirs = sorted(
            (t for t in truth.touchpoints if t.verdict.customer_id == owner),
            key=lambda t: (t.touchpoint.occurred_at, t.touchpoint.id),
        )
        assert found["id"].to_list() == [t.touchpoint.id for t in theirs]
        assert found["phase"].to_list() == [t.verdict.phase for t in theirs]
        assert found["transaction_id"].to_list() == [t.verdict.transaction_id for t in theirs]
        parts = found.parts
        journeys = [j for j in truth.journeys if j.customer_id == owner]
        assert set(parts["journeys"]["journey_id"]) == {j.journey_id for j in journeys}
        assert sorted(parts["journeys"]["shape"]) == sorted(j.shape for j in journeys)
        assert set(parts["transactions"]["transaction_id"]) == {t.verdict.transaction_id for t in theirs}
        assert parts["pain_points"]["kind"].to_list() == [
            p.kind for t in theirs for p in t.verdict.pain_points
        ]
        assert parts["attempts"]["kind"].to_list() == [a.kind for t in theirs for a in t.verdict.attempts]
        assert parts["drop_offs"]["touchpoint_id"].to_list() == [
            t.touchpoint.id for t in theirs if t.verdict.drop_off is not None
        ]
        own = {name for name, customer in truth.owners.items() if customer == owner}
        assert set(parts["identifiers"]["identifier"]) == own
        assert {*parts["links"]["identifier_a"], *parts["links"]["identifier_b"]} <= own
        assert (parts["customer"]["touchpoints"], parts["customer"]["journeys"]) == (
            len(theirs),
            len(journeys),
        )


@pytest.mark.parametrize("at", [0, 20, 40])
@settings(max_examples=EXAMPLES)
@given(st.lists(histories(), min_size=1, max_size=1))
def test_a_period_leaves_out_what_lies_before_it(
    asked: Engine, loader: Client, at: int, happened: Any
) -> None:
    truth = load_twice(loader, happened)
    for owner in set(truth.owners.values()):
        found = customers.customer(asked, owner, since=moment(NOON + at))
        assert set(found["id"]) == {
            t.touchpoint.id
            for t in truth.touchpoints
            if t.verdict.customer_id == owner and t.touchpoint.occurred_at >= NOON + at
        }
