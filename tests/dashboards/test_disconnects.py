"""A client that gives up takes its query with it, and one who waits holds up nobody else."""

import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor

import httpx
import pytest
from clickhouse_connect.driver.client import Client
from fastapi import FastAPI
from sqlalchemy import Engine, text

from dashboards.app import create_app
from dashboards.config import DashboardsConfig
from dashboards.disconnects import EndWithClient
from models.journey_model import default_model
from tests.dashboards.serving import served
from warehouse import connect
from warehouse.answer import ask
from warehouse.asker import at_once
from warehouse.connection import client
from warehouse.embedded import EmbeddedWarehouse
from warehouse.migrations import migrate

FOR_HOURS = "select sum(number) as endless from numbers(1000000000000000)"


@pytest.fixture
def warehouse() -> Iterator[EmbeddedWarehouse]:
    with EmbeddedWarehouse() as started:
        migrate(started.url)
        yield started


@pytest.fixture
def owner(warehouse: EmbeddedWarehouse) -> Iterator[Client]:
    with client(warehouse.url) as connected:
        yield connected


def until(condition: Callable[[], object], what: str) -> None:
    deadline = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < deadline, f"{what} not within 60 s"
        time.sleep(0.05)


def running(owner: Client, part: str) -> int:
    question = "select count() from system.processes where position(query, {part:String}) > 0"
    question += " and position(query, 'system.processes') = 0"
    found: int = owner.query(question, parameters={"part": part}).result_rows[0][0]
    return found


@pytest.fixture
def asked(warehouse: EmbeddedWarehouse) -> Engine:
    return connect(warehouse.url)


class Asking:
    """A server with one route, which asks, and whether that has ended; and another one for others."""

    def __init__(self, engine: Engine, question: Callable[[], object]) -> None:
        self.server = FastAPI()
        self.server.add_middleware(EndWithClient, path="/api/")
        self.ended = threading.Event()

        @self.server.get("/api/endless")
        def endless() -> None:
            try:
                question()
            finally:
                self.ended.set()

        @self.server.get("/api/one")
        def one() -> int:
            return int(ask(engine, text("select 1 as one"))["one"].iloc[0])


def give_up(url: str) -> None:
    with pytest.raises(httpx.ReadTimeout):
        httpx.get(f"{url}/api/endless", timeout=2)


def test_a_query_ends_when_its_client_gives_up(asked: Engine, owner: Client) -> None:
    asking = Asking(asked, lambda: (ask(asked, text(FOR_HOURS)), ask(asked, text(FOR_HOURS))))
    with served(asking.server) as url:
        give_up(url)
        until(asking.ended.is_set, "the route has ended")
        until(lambda: not running(owner, "endless"), "no query runs")
        assert httpx.get(f"{url}/api/one").json() == 1  # others' connections are whole


def test_queries_that_run_at_once_end_together_when_their_client_gives_up(
    asked: Engine, owner: Client
) -> None:
    def endless() -> object:
        return ask(asked, text(FOR_HOURS))

    asking = Asking(asked, lambda: at_once(endless, endless))
    with served(asking.server) as url, ThreadPoolExecutor(1) as client_that_waits:
        given_up = client_that_waits.submit(give_up, url)
        until(lambda: running(owner, "endless") == 2, "both run")
        until(asking.ended.is_set, "the route has ended")
        until(lambda: not running(owner, "endless"), "no query runs")
        given_up.result()


def test_a_slow_map_holds_up_nobody_else(warehouse: EmbeddedWarehouse, owner: Client) -> None:
    # whoever reads journeys waits as long as the engine lets one wait for a block
    columns = owner.query("select * from journeys limit 0").column_names
    listed = ", ".join(f"`{name}`" for name in columns)
    owner.command(f"create table one_journey engine = Memory as select {listed} from journeys")
    owner.command("insert into one_journey (journey_id) values ('j')")
    owner.command(f"create or replace view journeys as select {listed} from one_journey where sleep(2.5) = 0")
    app = create_app(DashboardsConfig(warehouse_url=warehouse.url, model=default_model()))
    with served(app) as url:
        callback = {
            "output": "..map.children...url.search..",
            "outputs": [{"id": "map", "property": "children"}, {"id": "url", "property": "search"}],
            "inputs": [
                {"id": "period", "property": "value", "value": "all"},
                {"id": "persona", "property": "value"},
                {"id": "refresh", "property": "n_intervals"},
            ],
            "changedPropIds": ["period.value"],
        }
        said: list[httpx.Response] = []
        asking = threading.Thread(
            target=lambda: said.append(httpx.post(f"{url}/_dash-update-component", json=callback, timeout=60))
        )
        asking.start()
        until(lambda: running(owner, "in_phase_ms"), "the map is asked for")
        assert httpx.get(f"{url}/healthz", timeout=60).text == "ok\n"
        assert running(owner, "in_phase_ms"), "the answer waited for the map"
        asking.join(60)
        assert said[0].status_code == 200
