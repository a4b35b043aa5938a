"""Two ways into the warehouse of the test run: asking, and loading."""

import shutil
from collections.abc import Iterator

import pytest
from clickhouse_connect.driver.client import Client
from sqlalchemy import Engine

from warehouse import connect
from warehouse.connection import client

# what a machine without Node cannot run is no test there; everything it tries is tried with other clients, too
collect_ignore = [] if shutil.which("node") and shutil.which("npm") else ["test_embedded_node.py"]


@pytest.fixture(scope="module")
def asked(warehouse: str) -> Iterator[Engine]:
    """A connection for analyses."""
    engine = connect(warehouse)
    yield engine
    engine.dispose()


@pytest.fixture(scope="module")
def loader(warehouse: str) -> Iterator[Client]:
    """A client that writes rows."""
    with client(warehouse) as made:
        yield made
