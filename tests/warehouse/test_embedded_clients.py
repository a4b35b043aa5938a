"""The embedded warehouse is a ClickHouse server to clients that are not ours: clickhouse-connect, SQLAlchemy, HTTP."""

import io
import json
import ssl
from collections.abc import Callable, Iterator
from datetime import UTC, date, datetime
from decimal import Decimal
from ipaddress import IPv4Address
from typing import Any
from uuid import UUID

import clickhouse_connect
import cramjam
import httpx
import lz4.frame
import pandas as pd
import psutil
import pytest
from clickhouse_connect import common
from clickhouse_connect.driver.client import Client
from clickhouse_connect.driver.compression import available_compression, comp_map
from clickhouse_connect.driver.exceptions import DatabaseError
from sqlalchemy import MetaData, Table, create_engine, inspect, select, text

from warehouse.embedded import EmbeddedWarehouse

MILLION = 1_000_000
TLS = ssl.create_default_context()  # nobody needs it here, and making one takes longer than a query


@pytest.fixture(scope="module")
def server() -> Iterator[EmbeddedWarehouse]:
    with EmbeddedWarehouse() as running:
        httpx.post(running.server_url, content=b"CREATE DATABASE d").raise_for_status()
        yield running


@pytest.fixture(scope="module")
def client(server: EmbeddedWarehouse) -> Iterator[Client]:
    with clickhouse_connect.get_client(host="127.0.0.1", port=server.port, database="d") as connected:
        yield connected


def ask(server: EmbeddedWarehouse, query: str, body: bytes = b"", /, **arguments: str) -> httpx.Response:
    said = {"query": query, "database": "d", **arguments}
    return httpx.post(server.server_url, params=said, content=body, timeout=60, verify=TLS)


PARAMETERS = {
    "String": 'it\'s \\ a\ttab\nand a "line" 😀',
    "UInt8": 255,
    "UInt64": 2**64 - 1,
    "Int64": -(2**63),
    "Float64": 0.1,
    "Bool": True,
    "Date": date(2026, 2, 28),
    "DateTime64(3, 'UTC')": datetime(2026, 2, 28, 23, 59, 59, 123000, tzinfo=UTC),
    "Decimal(18, 4)": Decimal("-12.3400"),
    "Array(String)": ["a", "it's", "", 'q"'],
    "Array(UInt32)": [1, 2],
    "Array(Array(String))": [["a"], []],
    "Nullable(String)": None,
    "Nullable(Decimal(18, 4))": None,
    "Array(Nullable(String))": ["a", None],
    "Tuple(String, UInt8)": ("a", 1),
    "LowCardinality(String)": "web",
    "LowCardinality(Nullable(String))": None,
    "UUID": UUID("61f0c404-5cb3-11e7-907b-a6006ad3dba0"),
    "IPv4": IPv4Address("10.0.0.1"),
    "Enum8('a' = 1, 'b' = 2)": "b",
    "FixedString(3)": "abc",
}


@pytest.mark.parametrize(("type_name", "value"), PARAMETERS.items(), ids=PARAMETERS.keys())
def test_bound_parameters_of_every_type(client: Client, type_name: str, value: object) -> None:
    answer = client.query(f"SELECT {{v:{type_name}}}", parameters={"v": value})
    given = answer.result_rows[0][0]
    if isinstance(given, datetime):
        given = given.replace(tzinfo=UTC)  # the client gives UTC without saying so
    assert given == (b"abc" if type_name.startswith("Fixed") else value)


@pytest.fixture
def dicts_as_maps() -> Iterator[None]:
    # the client else writes them as JSON, which no ClickHouse takes for a Map
    common.set_setting("dict_parameter_format", "map")
    yield
    common.set_setting("dict_parameter_format", "json")


@pytest.mark.usefixtures("dicts_as_maps")
def test_bound_maps(client: Client) -> None:
    value = {"it's": Decimal("1.5000"), "b": Decimal("-2.0000")}
    answer = client.query("SELECT {v:Map(String, Decimal(18, 4))}", parameters={"v": value})
    assert answer.result_rows == [(value,)]


def test_settings_of_one_query_are_its_own(client: Client) -> None:
    query = "SELECT getSetting('max_block_size')"
    before = client.command(query)
    assert client.command(query, settings={"max_block_size": 77}) == 77
    assert client.command(query) == before


def test_an_unknown_setting_is_said(server: EmbeddedWarehouse) -> None:
    answered = ask(server, "SELECT 1", no_such_setting="1")
    assert (answered.status_code, answered.headers["x-clickhouse-exception-code"]) == (404, "115")


EXCEPTIONS = {
    "syntax": ("SELEC 1", 62, 400),
    "unknown table": ("SELECT * FROM nothing.here", 81, 404),
    "unknown column": ("SELECT nothing", 47, 404),
    "unknown function": ("SELECT no_such_function()", 46, 404),
    "type": ("SELECT 1 + 'a'", 43, 400),
    "thrown while it runs": ("SELECT throwIf(1)", 395, 500),
    "two statements": ("SELECT 1; SELECT 2", 62, 400),
    "memory": ("SELECT groupArray(number) FROM numbers(100000000) SETTINGS max_memory_usage = 50000000", 241, 500),
    "time": ("SELECT sum(sipHash64(number)) FROM numbers(1e11) SETTINGS max_execution_time = 0.2", 159, 408),
    "more memory than anyone may take": ("SELECT 1 SETTINGS max_memory_usage = 900000000000", 452, 500),
}  # fmt: skip


@pytest.mark.parametrize(("query", "code", "status"), EXCEPTIONS.values(), ids=EXCEPTIONS.keys())
def test_exceptions_have_their_codes(
    server: EmbeddedWarehouse, client: Client, query: str, code: int, status: int
) -> None:
    answered = ask(server, query)
    assert answered.status_code == status
    assert answered.headers["x-clickhouse-exception-code"] == str(code)
    assert answered.text.startswith(f"Code: {code}. DB::Exception: ")
    with pytest.raises(DatabaseError, match=f"ode: {code}"):
        client.query(query)


@pytest.mark.parametrize("form", ["JSON", "Parquet", "Native"])
@pytest.mark.parametrize("session", [{}, {"session_id": "with something in it"}], ids=["", "in a session"])
def test_what_a_failed_query_had_answered_is_not_in_the_next_answer(
    server: EmbeddedWarehouse, form: str, session: dict[str, str]
) -> None:
    ask(server, "SET log_comment = ''", **session).raise_for_status()
    failing = f"SELECT number, throwIf(number = {MILLION}) FROM numbers({2 * MILLION}) FORMAT {form}"
    assert "throwIf" in ask(server, failing, **session).text
    for query in ("SELECT 42", "SELECT 42 FORMAT CSV", "SELECT 42 FORMAT Values"):
        assert ask(server, query, **session).text.strip("()\n") == "42"


def test_an_exception_in_the_middle_of_an_answer_is_raised(client: Client) -> None:
    query = f"SELECT throwIf(number = {MILLION - 1}), number FROM numbers({2 * MILLION})"
    with (
        pytest.raises(clickhouse_connect.driver.exceptions.StreamFailureError, match=r"395|throwIf"),
        client.query_row_block_stream(query) as blocks,
    ):
        for _ in blocks:
            pass


# deflate it offers for answers alone
@pytest.mark.parametrize("compression", [*(c for c in available_compression if c in comp_map), False])
def test_inserts_of_several_blocks_with_each_compression(
    server: EmbeddedWarehouse, client: Client, compression: str | bool
) -> None:
    client.command("CREATE OR REPLACE TABLE several (n UInt64, s LowCardinality(String), a Array(String),"
                   " d Nullable(Decimal(18, 4))) ENGINE = MergeTree ORDER BY n")  # fmt: skip
    rows = 140_000
    columns: list[list[Any]] = [
        list(range(rows)),
        [f"text {n % 100}" for n in range(rows)],
        [["a", "b"]] * rows,
        [None, Decimal("1.5")] * (rows // 2),
    ]
    with clickhouse_connect.get_client(
        host="127.0.0.1", port=server.port, database="d", compress=compression
    ) as sending:
        context = sending.create_insert_context(
            "several", ["n", "s", "a", "d"], data=columns, column_oriented=True
        )
        assert context.block_row_count * 2 < rows
        assert sending.insert(context=context).written_rows == rows
        answer = sending.query("SELECT * FROM several ORDER BY n").result_columns
    assert [list(column) for column in answer] == columns


ENCODINGS: dict[str, Callable[[bytes], bytes]] = {
    "gzip": lambda data: bytes(cramjam.gzip.compress(data)),
    "zstd": lambda data: bytes(cramjam.zstd.compress(data)),
    "br": lambda data: bytes(cramjam.brotli.compress(data)),
    "deflate": lambda data: bytes(cramjam.zlib.compress(data)),
    "lz4": lambda data: bytes(lz4.frame.compress(data[:7]) + lz4.frame.compress(data[7:])),
}


@pytest.mark.parametrize("encoding", ENCODINGS)
def test_bodies_in_each_encoding(server: EmbeddedWarehouse, encoding: str) -> None:
    query = f"SELECT length('{'x' * 5000}')".encode()
    body = ENCODINGS[encoding](query)
    headers = {"Content-Encoding": encoding, "Accept-Encoding": "identity"}
    assert httpx.post(server.server_url, content=body, headers=headers).text == "5000\n"
    assert httpx.post(server.server_url, content=body[:-9], headers=headers).status_code >= 400


def test_rows_sent_compressed_and_in_pieces(server: EmbeddedWarehouse) -> None:
    ask(server, "CREATE OR REPLACE TABLE pieces (n UInt64) ENGINE = MergeTree ORDER BY n")
    body = ENCODINGS["gzip"](b"".join(b'{"n":"%d"}\n' % n for n in range(100_000)))
    answered = httpx.post(
        server.server_url,
        params={"query": "INSERT INTO pieces FORMAT JSONEachRow", "database": "d", "query_id": "abc"},
        headers={"Content-Encoding": "gzip"},
        content=(body[at : at + 1000] for at in range(0, len(body), 1000)),
    )
    assert json.loads(answered.headers["x-clickhouse-summary"])["written_rows"] == "100000"
    assert ask(server, "SELECT sum(n) FROM pieces FORMAT JSONEachRow").json() == {"sum(n)": 4_999_950_000}


@pytest.mark.parametrize("encoding", ENCODINGS)
def test_answers_in_each_encoding(server: EmbeddedWarehouse, encoding: str) -> None:
    parameters = {"query": "SELECT number FROM numbers(100000)", "enable_http_compression": "1"}
    with httpx.stream(
        "GET", server.server_url, params=parameters, headers={"Accept-Encoding": encoding}
    ) as answered:
        assert answered.headers["content-encoding"] == encoding
        raw = b"".join(answered.iter_raw())
    assert bytes(UNPACKED[encoding](raw)) == b"".join(b"%d\n" % n for n in range(100_000))


def _every_frame(data: bytes) -> bytes:
    with lz4.frame.LZ4FrameFile(io.BytesIO(data)) as frames:
        return bytes(frames.read())


UNPACKED: dict[str, Callable[[bytes], Any]] = {
    "gzip": cramjam.gzip.decompress,
    "zstd": cramjam.zstd.decompress,
    "br": cramjam.brotli.decompress,
    "deflate": cramjam.zlib.decompress,
    "lz4": _every_frame,
}


def test_a_million_rows_are_streamed(client: Client) -> None:
    rows = total = 0
    with client.query_column_block_stream(
        f"SELECT number, toString(number) FROM numbers({MILLION})"
    ) as blocks:
        for numbers, texts in blocks:
            rows += len(texts)
            total += sum(numbers)
    assert (rows, total) == (MILLION, MILLION * (MILLION - 1) // 2)


@pytest.mark.parametrize("form", ["Native", "CSVWithNames"])
def test_an_answer_is_never_held_whole(server: EmbeddedWarehouse, form: str) -> None:
    process = psutil.Process(server.pid)
    _grown(server, process, 50_000, form)
    # 400 MB go through
    assert _grown(server, process, 2 * MILLION, form) < 250_000_000


def _grown(server: EmbeddedWarehouse, process: psutil.Process, rows: int, form: str) -> int:
    query = f"SELECT number, repeat('x', 200) AS s FROM numbers({rows}) FORMAT {form}"
    before = most = process.memory_info().rss
    size = 0
    with httpx.stream("POST", server.server_url, content=query, timeout=60) as answered:
        for piece in answered.iter_raw():
            size += len(piece)
            most = max(most, process.memory_info().rss)
    assert size > 200 * rows
    return most - before


def test_data_frames(client: Client) -> None:
    client.command("CREATE OR REPLACE TABLE frames (at DateTime64(3, 'UTC'), s String, n Nullable(Float64),"
                   " m Map(String, String)) ENGINE = MergeTree ORDER BY at")  # fmt: skip
    at = pd.to_datetime(["2026-01-01T00:00:00.123Z", "2026-01-02T00:00:00.000Z"])
    frame = pd.DataFrame({"at": at, "s": ["a", "b"], "n": [1.5, None], "m": [{"k": "v"}, {}]})
    client.insert_df("frames", frame)
    answer = client.query_df("SELECT * FROM frames ORDER BY at")
    assert list(answer["at"]) == list(at.tz_localize(None))  # UTC without saying so
    aware = client.query_df("SELECT at FROM frames ORDER BY at", tz_mode="aware")
    assert list(aware["at"]) == list(at)
    assert list(answer["s"]) == ["a", "b"]
    assert answer["n"].isna().tolist() == [False, True]
    assert list(answer["m"]) == [{"k": "v"}, {}]
    assert client.query_arrow("SELECT s FROM frames ORDER BY s").to_pydict() == {"s": ["a", "b"]}


INSERTED = {
    "JSONEachRow": b'{"n":1,"s":"a"}\n{"n":2,"s":"b"}\n',
    "CSV": b'1,"a"\n2,"b"\n',
    "CSVWithNames": b'"s","n"\n"a",1\n"b",2\n',
    "TabSeparated": b"1\ta\n2\tb\n",
    "RowBinary": b"\x01\0\0\0\0\0\0\0\x01a\x02\0\0\0\0\0\0\0\x01b",
    "Values": b"(1, 'a'), (1 + 1, concat('b', ''))",
}


@pytest.mark.parametrize("form", INSERTED)
def test_inserts_in_formats_of_others(server: EmbeddedWarehouse, form: str) -> None:
    ask(server, "CREATE OR REPLACE TABLE others (n UInt64, s String) ENGINE = MergeTree ORDER BY n")
    answered = ask(server, f"INSERT INTO others FORMAT {form}", INSERTED[form])
    assert answered.status_code == 200, answered.text
    assert json.loads(answered.headers["x-clickhouse-summary"])["written_rows"] == "2"
    assert ask(server, "SELECT * FROM others ORDER BY n").text == "1\ta\n2\tb\n"


@pytest.mark.parametrize("form", ["Parquet", "Arrow", "ArrowStream", "Native", "ORC", "JSONCompactEachRow"])
def test_what_was_answered_can_be_inserted(server: EmbeddedWarehouse, form: str) -> None:
    ask(server, "CREATE OR REPLACE TABLE back (n UInt64, s String) ENGINE = MergeTree ORDER BY n")
    rows = "SELECT number AS n, toString(number) AS s FROM numbers(100000)"
    answered = ask(server, f"{rows} FORMAT {form}")
    ask(server, f"INSERT INTO back FORMAT {form}", answered.content).raise_for_status()
    assert ask(server, f"SELECT count() FROM (SELECT * FROM back EXCEPT {rows})").text == "0\n"
    assert ask(server, "SELECT count() FROM back").text == "100000\n"


def test_an_insert_that_fails_inserts_nothing(server: EmbeddedWarehouse) -> None:
    ask(server, "CREATE OR REPLACE TABLE whole (n UInt8) ENGINE = MergeTree ORDER BY n")
    answered = ask(server, "INSERT INTO whole FORMAT CSV", b"1\n2\nthree\n")
    assert answered.status_code == 400
    assert "row 3" in answered.text
    assert ask(server, "SELECT count() FROM whole").text == "0\n"


def test_inserts_through_input(server: EmbeddedWarehouse) -> None:
    ask(server, "CREATE OR REPLACE TABLE changed (n UInt64) ENGINE = MergeTree ORDER BY n")
    query = "INSERT INTO changed SELECT x * 2 FROM input('x UInt64') FORMAT RowBinary"
    ask(server, query, (21).to_bytes(8, "little")).raise_for_status()
    assert ask(server, "SELECT n FROM changed").text == "42\n"


def test_parameters_in_an_insert(client: Client) -> None:
    client.command("CREATE OR REPLACE TABLE bound (n UInt64, s String) ENGINE = MergeTree ORDER BY n")
    client.command("INSERT INTO bound VALUES ({n:UInt64}, {s:String})", parameters={"n": 1, "s": "it's"})
    client.command("INSERT INTO bound SELECT {n:UInt64}, 'x'", parameters={"n": 2})
    assert client.query("SELECT * FROM bound ORDER BY n").result_rows == [(1, "it's"), (2, "x")]


def test_a_session_keeps_what_was_left_in_it(server: EmbeddedWarehouse) -> None:
    mine = {"session_id": "mine"}
    ask(server, "SET max_block_size = 7", **mine).raise_for_status()
    ask(server, "CREATE TEMPORARY TABLE kept (a UInt8)", **mine).raise_for_status()
    ask(server, "INSERT INTO kept VALUES (3)", **mine).raise_for_status()
    asked = "SELECT a, getSetting('max_block_size') FROM kept"
    assert ask(server, asked, **mine).text == "3\t7\n"
    assert ask(server, "SELECT getSetting('max_block_size')", max_block_size="9", **mine).text == "9\n"
    assert ask(server, asked, **mine).text == "3\t7\n"
    assert ask(server, "SELECT * FROM kept", session_id="another").status_code >= 400
    assert ask(server, "SELECT * FROM kept").status_code >= 400


def test_what_is_set_without_a_session_is_gone(server: EmbeddedWarehouse) -> None:
    ask(server, "SET max_block_size = 7").raise_for_status()
    ask(server, "USE system").raise_for_status()
    assert ask(server, "SELECT getSetting('max_block_size'), currentDatabase()").text != "7\tsystem\n"


def test_sqlalchemy_makes_reads_and_reflects_tables(server: EmbeddedWarehouse) -> None:
    engine = create_engine(f"clickhousedb://default@127.0.0.1:{server.port}/d")
    with engine.begin() as connection:
        connection.execute(text("CREATE OR REPLACE TABLE reflected (n UInt64 COMMENT 'a number', "
                                "s Nullable(String)) ENGINE = MergeTree ORDER BY n COMMENT 'for a test'"))  # fmt: skip
        reflected = Table("reflected", MetaData(), autoload_with=connection)
        connection.execute(reflected.insert(), [{"n": 1, "s": None}, {"n": 2, "s": "it's"}])
        found = connection.execute(select(reflected).where(reflected.c.n > 1)).all()
        bound = connection.execute(text("SELECT :a || 'b'"), {"a": "it's "}).scalar()
    assert [column.name for column in reflected.columns] == ["n", "s"]
    assert [tuple(row) for row in found] == [(2, "it's")]
    assert bound == "it's b"
    assert "reflected" in inspect(engine).get_table_names()
    assert "d" in inspect(engine).get_schema_names()
    engine.dispose()


HTTP: dict[str, tuple[str, dict[str, object], str]] = {
    "ping": ("/ping", {}, "Ok.\n"),
    "no query": ("/", {}, "Ok.\n"),
    "a query in the address": ("/", {"params": {"query": "SELECT 1 FORMAT JSONEachRow"}}, '{"1":1}\n'),
    "a query in the body": ("/", {"content": "SELECT 'a b'\n"}, "a b\n"),
    "a parameter": ("/?param_x=5", {"content": "SELECT {x:UInt8} + 1"}, "6\n"),
    "a query in a form": (
        "/?param_x=['a','b']",
        {"files": {"query": (None, "SELECT {x:Array(String)}[2]")}},
        "b\n",
    ),
    "a format by argument": ("/?default_format=CSV", {"content": "SELECT 'a'"}, '"a"\n'),
    "a format by header": (
        "/",
        {"content": "SELECT 'a'", "headers": {"X-ClickHouse-Format": "CSV"}},
        '"a"\n',
    ),
    "a database by header": (
        "/",
        {"content": "SELECT currentDatabase()", "headers": {"X-ClickHouse-Database": "d"}},
        "d\n",
    ),
    "a user by header": (
        "/",
        {"content": "SELECT currentRoles()", "headers": {"X-ClickHouse-User": "reader"}},
        "['reader']\n",
    ),
    "a user by name and password": (
        "/",
        {"content": "SELECT currentRoles()", "auth": ("reader", "")},
        "['reader']\n",
    ),
    "the rest of an insert": (
        "/?query=INSERT INTO FUNCTION null('a UInt8') VALUES",
        {"content": "(1),(2)"},
        "",
    ),
    "compression": (
        "/?enable_http_compression=1",
        {"content": "SELECT repeat('x', 3000)"},
        "x" * 3000 + "\n",
    ),
}


@pytest.mark.parametrize(("path", "request_", "answer"), HTTP.values(), ids=HTTP.keys())
def test_plain_http(server: EmbeddedWarehouse, path: str, request_: dict[str, Any], answer: str) -> None:
    method = "POST" if "content" in request_ or "files" in request_ else "GET"
    assert httpx.request(method, server.server_url + path, verify=TLS, **request_).text == answer


REFUSED: dict[str, tuple[str, dict[str, object], int]] = {
    "a wrong password": ("/", {"auth": ("reader", "x")}, 403),
    "an unknown user": ("/?user=x", {}, 403),
    "another path": ("/nothing", {}, 404),
}


@pytest.mark.parametrize(("path", "request_", "status"), REFUSED.values(), ids=REFUSED.keys())
def test_plain_http_is_refused(
    server: EmbeddedWarehouse, path: str, request_: dict[str, Any], status: int
) -> None:
    answer = httpx.post(server.server_url + path, content="SELECT 1", **request_)
    assert answer.status_code == status, answer.text


def test_an_answer_names_its_query(server: EmbeddedWarehouse) -> None:
    answer = httpx.post(server.server_url + "/?query_id=abc", content="SELECT 1")
    assert answer.headers["x-clickhouse-query-id"] == "abc"
