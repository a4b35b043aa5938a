"""The embedded warehouse under load, in danger and towards strangers: much at once, clients that go away, kill -9."""

import itertools
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from http.client import HTTPConnection
from pathlib import Path
from signal import SIGKILL
from urllib.parse import urlencode

import clickhouse_connect
import httpx
import psutil
import pytest

from warehouse.access import MERGED_AFTER_S, Limits
from warehouse.embedded import DataFolderTaken, EmbeddedWarehouse

DEADLINE_S = 30
# a minute and more, and hardly any of the machine
SLOW = "SELECT sleepEachRow(0.1) AS slept, number FROM numbers(1000)"
SETTINGS = "SETTINGS max_block_size = 10"
HEAVY = "SELECT sum(sipHash64(number)) AS summed FROM numbers(1e12)"


@pytest.fixture(scope="module")
def server() -> Iterator[EmbeddedWarehouse]:
    with EmbeddedWarehouse() as running:
        say(running, "CREATE TABLE t (a UInt64) ENGINE = MergeTree ORDER BY a")
        yield running


@contextmanager
def asking(server: EmbeddedWarehouse, query: str, **arguments: str) -> Iterator[HTTPConnection]:
    """A client that has asked and waits; it goes away at the end of a `with`."""
    connection = HTTPConnection("127.0.0.1", server.port, timeout=DEADLINE_S)
    connection.request("POST", f"/?{urlencode(arguments)}", body=query)
    try:
        yield connection
    finally:
        connection.close()


def say(server: EmbeddedWarehouse, query: str, **arguments: str) -> str:
    with asking(server, query, **arguments) as connection:
        answered = connection.getresponse()
        text = answered.read().decode().strip()
    assert answered.status == 200, text
    return text


def under_way(server: EmbeddedWarehouse, marked: str) -> int:
    """How many queries run that hold this text."""
    ours = "query NOT LIKE '%system.processes%' AND query_kind != 'KillQuery'"
    return int(say(server, f"SELECT count() FROM system.processes WHERE query LIKE '%{marked}%' AND {ours}"))


def await_true(holds: Callable[[], bool]) -> None:
    deadline = time.monotonic() + DEADLINE_S
    while not holds():
        assert time.monotonic() < deadline, "it did not come about in time"
        time.sleep(0.02)


@pytest.mark.parametrize("user", ["default", "reader"])
def test_requests_run_at_once(server: EmbeddedWarehouse, user: str) -> None:
    with ExitStack() as clients:
        for n in range(16):
            clients.enter_context(asking(server, f"{SLOW} WHERE 'at once' != '{n}' {SETTINGS}", user=user))
        await_true(lambda: under_way(server, "at once") == 16)
    await_true(lambda: under_way(server, "at once") == 0)


def test_an_answer_that_is_waited_for_says_its_length(server: EmbeddedWarehouse) -> None:
    query = "SELECT number FROM numbers(100000) FORMAT TSV"
    with asking(server, query, wait_end_of_query="1") as connection:
        answered = connection.getresponse()
        text = answered.read()
    assert answered.getheader("content-length") == str(len(text))
    assert text.splitlines()[-1] == b"99999"


def test_requests_of_one_client_run_at_once_until_they_are_killed(server: EmbeddedWarehouse) -> None:
    # with a session the client itself lets one request run at a time
    connected = clickhouse_connect.get_client(
        host="127.0.0.1", port=server.port, autogenerate_session_id=False
    )
    with connected as client, ThreadPoolExecutor(4) as threads:
        asked = [
            threads.submit(client.query, f"{SLOW} WHERE 'one client' != '{n}' {SETTINGS}") for n in range(4)
        ]
        await_true(lambda: under_way(server, "one client") == 4)
        say(server, "KILL QUERY WHERE query LIKE '%one client%' AND query_kind = 'Select'")
        for future in asked:
            assert "QUERY_WAS_CANCELLED" in str(future.exception(timeout=DEADLINE_S))


def test_as_many_queries_as_may_run_delay_no_insert_and_no_other_user(server: EmbeddedWarehouse) -> None:
    with ExitStack() as clients:
        for n in range(Limits().reader_reading + 8):
            query = f"{SLOW} WHERE 'all places' != '{n}' {SETTINGS}"
            clients.enter_context(asking(server, query, user="reader"))
        await_true(lambda: under_way(server, "all places") == Limits().reader_reading)
        say(server, "INSERT INTO t VALUES (1)")
        assert say(server, "SELECT 42") == "42"
        for n in range(Limits().reading):
            clients.enter_context(asking(server, f"{SLOW} WHERE 'all the rest' != '{n}' {SETTINGS}"))
        # whoever asks what is under way would have to wait, too
        for n in range(5):
            say(server, f"INSERT INTO t VALUES ({n})")
        assert httpx.get(f"{server.server_url}/ping").text == "Ok.\n"


def test_a_heavy_query_delays_no_insert(server: EmbeddedWarehouse) -> None:
    with asking(server, HEAVY), asking(server, HEAVY, user="reader"):
        await_true(lambda: under_way(server, "summed") == 2)
        for n in range(20):
            say(server, f"INSERT INTO t VALUES ({n})")
        assert under_way(server, "summed") == 2
    await_true(lambda: under_way(server, "summed") == 0)


GOES_AWAY = {
    "while it waits for a figure": HEAVY,
    "while it waits for an answer that comes whole": f"{HEAVY} FORMAT JSON",
    "while rows come": "SELECT number, 'summed' FROM numbers(1e12)",
    "while rows come rarely": f"{SLOW} WHERE 'summed' != '' {SETTINGS}",
    "while it waits for all rows": f"{SLOW} WHERE 'summed' != '' {SETTINGS} FORMAT Parquet",
}


@pytest.mark.parametrize("user", ["default", "reader"])
@pytest.mark.parametrize("query", GOES_AWAY.values(), ids=GOES_AWAY.keys())
def test_a_client_that_goes_away_ends_its_query(server: EmbeddedWarehouse, query: str, user: str) -> None:
    with asking(server, query, user=user):
        await_true(lambda: under_way(server, "summed") == 1)
    await_true(lambda: under_way(server, "summed") == 0)


def test_a_client_that_goes_away_amid_its_insert_inserts_nothing(server: EmbeddedWarehouse) -> None:
    say(server, "CREATE OR REPLACE TABLE half (a UInt64) ENGINE = MergeTree ORDER BY a")
    connection = HTTPConnection("127.0.0.1", server.port, timeout=DEADLINE_S)
    connection.putrequest("POST", "/?query=INSERT+INTO+half+FORMAT+CSV")
    connection.putheader("Content-Length", "1000000")
    connection.endheaders(b"1\n2\n")
    connection.close()
    say(server, "INSERT INTO half VALUES (3)")
    assert say(server, "SELECT groupArray(a) FROM half") == "[3]"


def test_an_insert_of_a_query_ends_with_its_client(server: EmbeddedWarehouse) -> None:
    with asking(
        server, "INSERT INTO t SELECT summed FROM (SELECT sipHash64(number) AS summed FROM numbers(1e12))"
    ):
        await_true(lambda: under_way(server, "summed") == 1)
    await_true(lambda: under_way(server, "summed") == 0)


def test_the_memory_of_a_query_is_bounded_as_was_said() -> None:
    greedy = "SELECT length(groupArray(number)) FROM numbers(1e9)"
    with EmbeddedWarehouse(options=("--memory-bytes", "300000000")) as small:
        for user, most in (("default", "286.10 MiB"), ("reader", "143.05 MiB")):
            answered = httpx.post(small.server_url, content=greedy, params={"user": user}, timeout=DEADLINE_S)
            assert answered.headers["x-clickhouse-exception-code"] == "241"
            assert f"maximum: {most}" in answered.text
        assert say(small, greedy.replace("1e9", "1e6")) == "1000000"


def test_it_listens_to_this_machine_alone(server: EmbeddedWarehouse) -> None:
    listens = [c.laddr.ip for c in psutil.Process(server.pid).net_connections("tcp") if c.status == "LISTEN"]
    assert listens == ["127.0.0.1"]


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.168.1.1"])  # noqa: S104
def test_it_listens_to_others_only_with_a_password(tmp_path: Path, host: str) -> None:
    command = [sys.executable, "-P", "-m", "warehouse.embedded", "--path", str(tmp_path), "--host", host]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=DEADLINE_S)
    assert ended.returncode == 1
    assert "without a password" in ended.stderr
    assert list(tmp_path.iterdir()) == []


def test_a_password_is_asked_of_every_user() -> None:
    options = ("--host", "0.0.0.0", "--password", "it's secret")  # noqa: S104
    with EmbeddedWarehouse(options=options) as open_to_others:
        for user, password, status in (
            ("default", "", 403),
            ("reader", "", 403),
            ("reader", "it's", 403),
            ("nobody", "it's secret", 403),
            ("default", "it's secret", 200),
            ("reader", "it's secret", 200),
        ):
            answered = httpx.post(open_to_others.server_url, content="SELECT 1", auth=(user, password))
            assert answered.status_code == status, (user, password)
            assert status == 200 or answered.headers["x-clickhouse-exception-code"] == "516"


def test_a_second_process_on_the_folder_is_refused(server: EmbeddedWarehouse) -> None:
    with pytest.raises(DataFolderTaken, match="does not open"):
        EmbeddedWarehouse(server.path).start()
    assert say(server, "SELECT 42") == "42"


def test_a_kill_loses_nothing_that_was_answered(tmp_path: Path) -> None:
    rows = 500
    answered: list[int] = []
    numbers = itertools.count()
    with EmbeddedWarehouse(str(tmp_path)) as killed:
        say(
            killed,
            "CREATE TABLE kept (batch UInt32, n UInt32, s String) ENGINE = MergeTree ORDER BY (batch, n)",
        )
        for _ in range(3):
            with ThreadPoolExecutor(4) as threads:
                inserting = [
                    threads.submit(_insert_until_it_dies, killed, numbers, answered, rows) for _ in range(4)
                ]
                before = len(answered)
                await_true(lambda least=before + 30: len(answered) >= least)  # type: ignore[misc]
                killed.stop(SIGKILL)
                _all_ended(inserting)
            killed.start()
            found = say(killed, "SELECT batch, count() FROM kept GROUP BY batch FORMAT TSV")
            kept = [line.split("\t") for line in found.splitlines()]
            assert set(answered) <= {int(batch) for batch, _ in kept}
            assert {count for _, count in kept} == {str(rows)}, "a batch is there as a whole or not at all"


def _insert_until_it_dies(
    killed: EmbeddedWarehouse, numbers: Iterator[int], answered: list[int], rows: int
) -> None:
    with httpx.Client(base_url=killed.server_url, timeout=DEADLINE_S) as client:
        for batch in numbers:
            lines = "".join(f"{batch}\t{n}\tsome text {n}\n" for n in range(rows))
            try:
                said = client.post("/", params={"query": "INSERT INTO kept FORMAT TSV"}, content=lines)
            except httpx.TransportError:
                return
            assert said.status_code == 200, said.text
            answered.append(batch)


def _all_ended(inserting: list[Future[None]]) -> None:
    for future in inserting:
        future.result(timeout=DEADLINE_S)


def test_what_has_been_at_rest_for_an_hour_is_merged_into_one_part_by_itself(tmp_path: Path) -> None:
    parts = "SELECT count() FROM system.parts WHERE active AND table = 't'"
    with EmbeddedWarehouse(str(tmp_path)) as server:
        say(server, "CREATE TABLE t (a UInt64) ENGINE = ReplacingMergeTree ORDER BY a")
        for number in range(2):
            say(server, f"INSERT INTO t SELECT * FROM numbers({number}, 10)")
        server.stop()
        an_hour_ago = time.time() - MERGED_AFTER_S - 1
        for place in (tmp_path / "store").rglob("*"):
            os.utime(place, (an_hour_ago, an_hour_ago))
        server.start()
        await_true(lambda: say(server, parts) == "1")
        assert say(server, "SELECT count() FROM t") == "11"


def test_merging_gives_way_to_those_who_ask(server: EmbeddedWarehouse) -> None:
    asked = "SELECT value FROM system.server_settings WHERE name = 'os_threads_nice_value_merge_mutate'"
    assert say(server, asked) == "10"
