"""@clickhouse/client, the client of Node, finds a ClickHouse server in the embedded warehouse."""

import json
import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from warehouse.embedded import EmbeddedWarehouse

VERSION = "1.23.1"
NODE, NPM = shutil.which("node"), shutil.which("npm")
PROGRAM = Path(__file__).with_suffix(".mjs")


@pytest.fixture(scope="session")
def client_folder(request: pytest.FixtureRequest) -> Path:
    """Where the client is installed; kept between runs, so that only the first one needs the registry."""
    kept = request.config.cache.mkdir("clickhouse-client") / VERSION
    if not kept.exists():
        with tempfile.TemporaryDirectory(dir=kept.parent) as fresh:
            command = [str(NPM), "install", "--no-audit", "--no-fund", "--ignore-scripts", "--prefix", fresh]
            command += ["--fetch-retries=1", "--fetch-timeout=10000", f"@clickhouse/client@{VERSION}"]
            installed = subprocess.run(command, capture_output=True, text=True, timeout=60)
            if installed.returncode != 0:
                pytest.fail(f"npm could not install @clickhouse/client:\n{installed.stderr}", pytrace=False)
            if not kept.exists():  # another run may have been faster
                os.rename(fresh, kept)
                Path(fresh).mkdir()  # to be taken away
    return kept


@pytest.fixture(scope="module")
def said(client_folder: Path) -> Iterator[dict[str, Any]]:
    """What the program in `test_embedded_node.mjs` found, by the name of each question."""
    program = shutil.copy(PROGRAM, client_folder)  # its imports are looked for beside it
    with EmbeddedWarehouse() as server:
        ended = subprocess.run(
            [str(NODE), str(program), server.server_url], capture_output=True, text=True, timeout=60
        )
        assert ended.returncode == 0, ended.stderr
        yield json.loads(ended.stdout)


FOUND: dict[str, Any] = {
    "it answers a ping": {"success": True},
    "it answers a ping with a query": {"success": True},
    "an insert says how many rows": "2",
    "rows with bound parameters": [
        {"a": 1, "s": "it's", "at": "2026-01-01 00:00:00.123", "n": None},
        {"a": 2, "s": "b\n\t\\", "at": "1970-01-01 00:00:01.000", "n": 1.5},
    ],
    "an answer as JSON": {"rows": 1, "data": [{"n": 2}], "meta": [{"name": "n", "type": "UInt64"}]},
    "a setting": [{"s": "77"}],
    "an exception": ["47", "UNKNOWN_IDENTIFIER"],
    "an exception amid an answer": ["395", "FUNCTION_THROW_IF_VALUE_IS_NON_ZERO"],
    "a million rows": [1_000_000, 499_999_500_000],
    "an insert of a stream": [{"rows": 100_000, "total": 4_999_950_000}],
    "an insert as CSV": [{"rows": 2}],
    "an answer as it is": "1\n",
    "a session": [{"a": 7}],
    "a query that is given up": 0,
    "a reader reads": [{"n": 2}],
    "a reader writes": ["164", "READONLY"],
}


@pytest.mark.parametrize("question", FOUND)
def test_the_client_of_node_finds(said: dict[str, Any], question: str) -> None:
    assert said[question] == FOUND[question]


def test_nothing_is_asked_in_vain(said: dict[str, Any]) -> None:
    assert said.keys() == FOUND.keys()
