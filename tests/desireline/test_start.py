"""Starting with much in the warehouse: pages answer and new touchpoints are taken while the past is put back."""

import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import cast

import httpx
import pytest
from clickhouse_connect.driver.client import Client

from benchmarks import large_folder
from desireline.progress import Progress, read
from models.touchpoint import Identification, Touchpoint
from tests.desireline.ups import Up, until
from warehouse.connection import client
from warehouse.embedded import EmbeddedWarehouse
from warehouse.put_back import pasts

DAY_MS = 86_400_000
TOUCHPOINTS = 300_000
# at some hours nobody has one
AN_OPEN_ATTEMPT = """
    insert into touchpoint_rows select * replace (
        ['cart'] as attempt_kinds, ['open'] as attempt_outcomes, [null] as attempt_ended_ats,
        [null] as attempt_recovered_ats, version + 1 as version
    ) from touchpoint_rows order by occurred_at, id limit 1
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("many")
    assert large_folder.made(place, TOUCHPOINTS, different=15_000) > 0.8 * TOUCHPOINTS
    with EmbeddedWarehouse(str(place / "warehouse")) as warehouse, client(warehouse.url) as made:
        made.command(AN_OPEN_ATTEMPT)
    return place


@pytest.fixture
def connected(folder: Path) -> Iterator[Client]:
    with EmbeddedWarehouse(str(folder / "warehouse")) as warehouse, client(warehouse.url) as made:
        yield made


def test_households_come_whole_once_and_in_order(connected: Client) -> None:
    waiting = "select distinct customer_id from touchpoint_rows where has(attempt_outcomes, 'open')"
    with_open = {row[0] for row in connected.query(waiting).result_rows}
    now = int(time.time() * 1000)

    def rank(newest: int) -> int:
        return next((n for n, days in enumerate((1, 7, 30), 1) if newest >= now - days * DAY_MS), 4)

    given, ids, ranks = set(), set(), []
    for past in pasts(connected, now):
        assert past.household_id not in given
        given.add(past.household_id)
        touchpoints = [one for one in past.elements if isinstance(one, Touchpoint)]
        ids.update(one.id for one in touchpoints)
        names = {identifier.key for one in past.elements for identifier in one.identifiers}
        newest = max(
            one.at if isinstance(one, Identification) else cast(Touchpoint, one).occurred_at
            for one in past.elements
        )
        ranks.append(0 if names & with_open else rank(newest))
    assert ranks == sorted(ranks)
    assert set(ranks) >= {0, 4}
    there = connected.query("select distinct id from touchpoint_rows").result_rows
    assert ids == {row[0] for row in there}
    assert connected.query("exists table put_back_order").result_rows == [(0,)]


def test_pages_answer_and_touchpoints_are_taken_while_much_is_put_back(
    folder: Path, up: Callable[..., Up]
) -> None:
    one = up(data=folder).await_ready()

    def said() -> Progress:
        return read(one.folder) or Progress()

    until(lambda: said().put_back, within_s=60, what="something put back")
    one.track("ann", "Product Viewed")
    for path in ("/", "/api/summary", "/api/map"):
        answer = httpx.get(f"{one.running.urls.pages}{path}", timeout=60)
        assert answer.status_code == 200, path
    until(
        lambda: one.ask("select toInt32(count()) from touchpoints where customer_id = 'user_id:ann'") == [1],
        within_s=60,
        what="a new touchpoint in the warehouse",
    )
    assert said().step == "archive", "all was put back before anything was asked"
    assert 0 < said().put_back < said().to_put_back
    assert one.end() == 0
