"""Who asks as `reader` reads tables, and nothing lets them do more: escapes, tried on a real server."""

import gzip
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import clickhouse_connect
import httpx
import pytest

from warehouse.embedded import EmbeddedWarehouse

SECRET = "the-secret-of-the-machine"
ROWS = 1000
MEMORY = 200_000_000  # of the server's reader
SECONDS = 300


class Place(NamedTuple):
    """A server, what must not be read, and where nothing may appear."""

    server: EmbeddedWarehouse
    secret: Path
    written: Path
    client: httpx.Client

    def ask(self, query: str, *, user: str = "reader", **arguments: str) -> httpx.Response:
        content = query.format(secret=self.secret, written=self.written, port=self.server.port).encode()
        return self.client.post("/", params={"user": user, **arguments}, content=content)


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    folder = tmp_path_factory.mktemp("machine")
    secret = folder / "secret.txt"
    secret.write_text(SECRET + "\n")
    (folder / "secret.proto").write_text(SECRET)
    with (
        EmbeddedWarehouse(options=("--memory-bytes", str(2 * MEMORY))) as server,
        httpx.Client(base_url=server.server_url, timeout=20) as client,
    ):
        made = Place(server, secret, folder / "written", client)
        for statement in (
            "CREATE DATABASE d",
            "CREATE TABLE d.t (a UInt64, b String) ENGINE = MergeTree ORDER BY a",
            f"INSERT INTO d.t SELECT number, toString(number) FROM numbers({ROWS})",
            "CREATE VIEW d.v AS SELECT a FROM d.t SETTINGS do_not_merge_across_partitions_select_final = 1",
        ):
            made.ask(statement, user="default").raise_for_status()
        yield made


ALLOWED = {
    "rows of a table": ("SELECT count() FROM d.t", "1000"),
    "rows of a view with settings of its own": ("SELECT count() FROM d.v", "1000"),
    "one statement with a semicolon and a comment": ("SELECT 1; -- that is all", "1"),
    "common table expressions": ("WITH x AS (SELECT max(a) AS m FROM d.t) SELECT m FROM x", "999"),
    "functions of higher order": ("SELECT arrayMap(x -> x + 1, [1, 2])", "[2,3]"),
    "settings that bound a query": ("SELECT 1 SETTINGS max_threads = 1, max_execution_time = 5", "1"),
    "numbers": ("SELECT sum(number) FROM numbers(5)", "10"),
    "text that only looks harmful": ("SELECT 'INTO OUTFILE file()' AS b", "INTO OUTFILE file()"),
    "tables": ("SHOW TABLES FROM d LIKE 't'", "t"),
    "a table's columns": ("SELECT name FROM system.columns WHERE database = 'd' AND table = 'v'", "a"),
    "what a table looks like": ("DESCRIBE TABLE d.v FORMAT JSONEachRow", None),
    "how a table was made": ("SHOW CREATE TABLE d.t", None),
    "whether it exists": ("EXISTS TABLE d.t", "1"),
    "plans": ("EXPLAIN SELECT count() FROM d.t", None),
    "formats": ("SELECT 1 AS a FORMAT JSONEachRow", '{"a":1}'),
    "unions": ("SELECT 1 UNION ALL SELECT 1", "1\n1"),
    "intersections": ("SELECT 1 INTERSECT SELECT 1", "1"),
}


@pytest.mark.parametrize(("query", "answer"), ALLOWED.values(), ids=ALLOWED.keys())
def test_a_reader_reads(place: Place, query: str, answer: str | None) -> None:
    answered = place.ask(query.replace("{", "{{").replace("}", "}}"))
    assert answered.status_code == 200, answered.text
    assert answer is None or answered.text.strip() == answer


ESCAPES = {
    # files
    "the table function file": "SELECT * FROM file('{secret}', 'LineAsString')",
    "the function file": "SELECT file('{secret}')",
    "the function file in capitals": "SELECT FILE('{secret}')",
    "the function file after a comment": "/* a */ SELECT -- b\n file('{secret}')",
    "a transformer that names file": "SELECT * APPLY(file) FROM (SELECT '{secret}' AS b)",
    "a transformer of some columns": "SELECT COLUMNS('b') APPLY(file) FROM (SELECT '{secret}' AS b)",
    "a transformer with a lambda": "SELECT * APPLY(x -> file(x)) FROM (SELECT '{secret}' AS b)",
    "a replaced column": "SELECT * REPLACE(file('{secret}') AS a) FROM (SELECT '' AS a)",
    "a lambda": "SELECT arrayMap(x -> file(x), ['{secret}'])",
    "a function as an argument": "SELECT arrayMap(file, ['{secret}'])",
    "a function as an argument, quoted": "SELECT arrayMap(`file`, ['{secret}'])",
    "a function in a pipe": "FROM (SELECT '{secret}' AS a) |> SELECT file(a)",
    "a condition on tables that are shown": "SHOW TABLES WHERE file('{secret}') != ''",
    "a condition on columns that are shown": "SHOW COLUMNS FROM d.t WHERE CAST(file('{secret}') AS UInt8)",
    "a condition on settings that are shown": "SHOW SETTINGS LIKE file('{secret}')",
    "a named lambda": "WITH x -> file(x) AS f SELECT f('{secret}')",
    "an expression in WITH": "WITH (SELECT file('{secret}')) AS x SELECT x",
    "a subquery of a subquery": "SELECT * FROM (SELECT * FROM (SELECT file('{secret}')))",
    "a condition": "SELECT 1 WHERE file('{secret}') LIKE 'the-secret%' FORMAT JSON",
    "an order": "SELECT 1 ORDER BY file('{secret}')",
    "a limit": "SELECT number FROM numbers(100) LIMIT length(file('{secret}'))",
    "a window": "SELECT sum(1) OVER (PARTITION BY file('{secret}'))",
    "an error that repeats its input": "SELECT CAST(file('{secret}') AS UInt8)",
    "a description that runs what it describes": "DESCRIBE (SELECT CAST(file('{secret}') AS Enum('x' = 1)))",
    "a description of a file": "DESCRIBE file('{secret}', 'CSV')",
    "an explanation that runs it": "EXPLAIN SYNTAX SELECT file('{secret}')",
    "a file as a table": "SELECT * FROM `{secret}`",
    "a file as a table of the default database": "SELECT * FROM default.`{secret}`",
    "a file in quotes as a table": 'SELECT * FROM "{secret}"',
    "a union": "SELECT '' UNION ALL SELECT file('{secret}')",
    "a schema that is a file": "SELECT 1 AS x FORMAT Protobuf SETTINGS format_schema = '{secret}:M'",
    "a template that is a file": (
        "SELECT 1 FORMAT Template"
        " SETTINGS format_template_resultset = '{secret}', format_template_row = '{secret}'"
    ),
    "a filter given as a setting": (
        "SELECT * FROM d.t"
        " SETTINGS additional_table_filters = {{'d.t': 'a > 1 OR file(''{secret}'') = '''''}}"
    ),
    "another dialect": "SELECT 1 SETTINGS dialect = 'prql'",
    "a model that is a file": "SELECT catboostEvaluate('{secret}', 1)",
    "lines of a program": "SELECT addressToLine(1) SETTINGS allow_introspection_functions = 1",
    "the engine's own folder": "SELECT getServerSetting('user_files_path')",
    "a dictionary of a file": "CREATE DICTIONARY d.x (a String) PRIMARY KEY a SOURCE(FILE(PATH '{secret}'))",
    "a folder": "SELECT * FROM filesystem('/')",
    "a table in a file": "SELECT * FROM sqlite('{secret}', 't')",
    # writing files
    "an answer to a file": "SELECT 1 INTO OUTFILE '{written}'",
    "an answer to a file, compressed": "SELECT 1 INTO OUTFILE '{written}' COMPRESSION 'gzip' FORMAT CSV",
    "an answer to a file behind the format": "SELECT 1 FORMAT CSV INTO OUTFILE '{written}'",
    "an explanation to a file": "EXPLAIN AST SELECT 1 INTO OUTFILE '{written}'",
    "an answer to a file behind a comment": "SELECT 1 INTO/**/OUTFILE '{written}' TRUNCATE",
    "a description to a file": "DESCRIBE TABLE d.t INTO OUTFILE '{written}'",
    "an insert into a file": "INSERT INTO FUNCTION file('{written}', 'CSV') SELECT 1",
    "a schema written to a file": "SELECT 1 SETTINGS output_format_schema = '{written}' FORMAT Protobuf",
    "a backup": "BACKUP TABLE d.t TO File('{written}')",
    # the network and programs
    "a url": "SELECT * FROM url('http://127.0.0.1:{port}/ping', 'LineAsString')",
    "s3": "SELECT * FROM s3('http://127.0.0.1:{port}/x', 'LineAsString')",
    "another server": "SELECT * FROM remote('127.0.0.1', 'system.one')",
    "a cluster": "SELECT * FROM cluster('default', 'system.one')",
    "another database server": "SELECT * FROM mysql('127.0.0.1:1', 'd', 't', 'u', 'p')",
    "a column of another server": "SELECT hasColumnInTable('127.0.0.1', 'd', 't', 'a')",
    "a program": "SELECT * FROM executable('cat', 'TSV', 'a String')",
    # writes
    "an insert": "INSERT INTO d.t VALUES (1, 'x')",
    "an insert with rows": "INSERT INTO d.t FORMAT CSV\n1,x",
    "an insert of a query": "INSERT INTO d.t SELECT 1, 'x'",
    "an insert from a file": "INSERT INTO d.t FROM INFILE '{secret}' FORMAT LineAsString",
    "an insert of what is read from a file": (
        "INSERT INTO d.t SELECT a, b FROM input('a UInt64, b String') FORMAT CSV\n1,x"
    ),
    "an explained insert": "EXPLAIN INSERT INTO d.t SELECT 1, 'x'",
    "a deletion": "DELETE FROM d.t WHERE 1",
    "a mutation": "ALTER TABLE d.t DELETE WHERE 1",
    "a drop": "DROP TABLE d.t",
    "a truncation": "TRUNCATE TABLE d.t",
    "a new table": "CREATE TABLE d.x (a Int8) ENGINE = Memory",
    "a temporary table": "CREATE TEMPORARY TABLE x (a Int8)",
    "a new function": "CREATE FUNCTION f AS x -> file(x)",
    "a rename": "RENAME TABLE d.t TO d.u",
    "a detached table": "DETACH TABLE d.t",
    "a merge": "OPTIMIZE TABLE d.t FINAL",
    "a system command": "SYSTEM FLUSH LOGS",
    "the end of the server": "SYSTEM SHUTDOWN",
    "the end of others' queries": "KILL QUERY WHERE 1",
    # other statements, other rights
    "a second statement": "SELECT 1; DROP TABLE d.t",
    "a second statement that reads": "SELECT 1; SELECT file('{secret}')",
    "a second statement behind a comment": "SELECT 1 /* ; */ ;;\n INSERT INTO d.t VALUES (1, 'x')",
    "statements in parallel": "SELECT 1 PARALLEL WITH INSERT INTO d.t VALUES (1, 'x')",
    "another role": "SET ROLE owner",
    "all roles": "SET ROLE ALL",
    "the default role": "SET ROLE DEFAULT",
    "another user": "EXECUTE AS default SELECT 1",
    "a grant": "GRANT owner TO reader",
    "a new user": "CREATE USER x",
    "a setting": "SET max_threads = 1",
    "an end of read-only": "SET readonly = 0",
    "an end of read-only in the query": "SELECT 1 SETTINGS readonly = 0",
    "another profile": "SELECT 1 SETTINGS profile = 'default'",
    "more time": "SELECT 1 SETTINGS max_execution_time = 100000",
    "no limit of time": "SELECT 1 SETTINGS max_execution_time = 0",
    "more memory": "SELECT 1 SETTINGS max_memory_usage = 1000000000000",
    "a setting that names a place": "SELECT 1 SETTINGS cluster_for_parallel_replicas = 'x'",
    "another database for later": "USE system",
    "a transaction": "BEGIN TRANSACTION",
}  # fmt: skip


@pytest.mark.parametrize("query", ESCAPES.values(), ids=ESCAPES.keys())
def test_a_reader_is_refused(place: Place, query: str) -> None:
    answered = place.ask(query)
    assert answered.status_code >= 400, answered.text
    assert SECRET not in answered.text
    assert not place.written.exists()
    after = place.ask("SELECT count(), sum(a), getSetting('readonly'), currentRoles() FROM d.t")
    assert after.text == f"{ROWS}\t{ROWS * (ROWS - 1) // 2}\t2\t['reader']\n"


HIDDEN = {
    "where the data lie": "SELECT path FROM system.disks",
    "where the data lie, through merge": "SELECT path FROM merge('system', 'disks')",
    "where the data lie, in a condition": "SELECT 1 WHERE (SELECT count() FROM system.disks) > 0",
    "files of tables": "SELECT path FROM system.parts",
    "others' queries": "SELECT query FROM system.processes",
    "others' queries, as a command": "SHOW PROCESSLIST",
    "how the server is set": "SELECT value FROM system.server_settings",
    "where users are": "SELECT params FROM system.user_directories",
}


@pytest.mark.parametrize("query", HIDDEN.values(), ids=HIDDEN.keys())
def test_a_reader_sees_nothing_of_the_machine(place: Place, query: str) -> None:
    answered = place.ask(query)
    assert answered.status_code >= 400 or answered.text == ""
    assert place.server.path not in answered.text


ARGUMENTS = {
    "a role": {"role": "owner"},
    "an end of read-only": {"readonly": "0"},
    "another profile": {"profile": "default"},
    "more time": {"max_execution_time": "100000"},
    "a schema that is a file": {"format_schema": "x"},
    "another dialect": {"dialect": "kusto"},
    "a session": {"session_id": "shared"},
    "a setting and a statement": {"max_threads = 1; SET ROLE owner; SET max_threads": "1"},
    "the database of a statement": {"database": "d`; SET ROLE owner; --"},
    "the file system as a database": {"database": "/etc"},
    "a password": {"password": "x"},
}


@pytest.mark.parametrize("arguments", ARGUMENTS.values(), ids=ARGUMENTS.keys())
def test_arguments_give_a_reader_no_more_rights(place: Place, arguments: dict[str, str]) -> None:
    for query in ("SELECT file('{secret}')", "INSERT INTO d.t VALUES (1, 'x')", "DROP TABLE d.t"):
        answered = place.ask(query, **arguments)
        assert answered.status_code >= 400
        assert SECRET not in answered.text


@pytest.mark.parametrize("named", ["system.disks", "/etc/passwd", "../secret.txt"])
def test_a_bound_identifier_is_no_way_to_a_file(place: Place, named: str) -> None:
    answered = place.ask("SELECT * FROM {{t:Identifier}}", param_t=named)
    assert answered.status_code >= 400
    assert "root:" not in answered.text


@pytest.mark.parametrize("named", ["file", "fi\\x6ce", "FILE"])
def test_a_bound_identifier_is_no_way_to_a_function(place: Place, named: str) -> None:
    answered = place.ask("SELECT arrayMap({{f:Identifier}}, ['{secret}'])", param_f=named)
    assert answered.status_code >= 400
    assert SECRET not in answered.text


def test_no_function_of_the_engine_tells_what_a_file_holds(place: Place) -> None:
    listed = place.ask("SELECT name FROM system.functions WHERE NOT is_aggregate ORDER BY name").text.split()
    assert len(listed) > 1000
    assert [name for name in listed if SECRET in place.ask(f"SELECT {name}('{{secret}}')").text] == []


SUBQUERIES = {
    "time": ("max_execution_time", "100000", str(SECONDS)),
    "memory": ("max_memory_usage", "100000000000", str(MEMORY)),
    "rights": ("readonly", "0", "2"),
    "a filter that is run": ("additional_table_filters", "{'d.t': 'a = 2'}", "{}"),
}


@pytest.mark.parametrize(("name", "value", "kept"), SUBQUERIES.values(), ids=SUBQUERIES.keys())
def test_settings_of_a_subquery_stay_within_the_readers(
    place: Place, name: str, value: str, kept: str
) -> None:
    query = f"SELECT s FROM (SELECT toString(getSetting('{name}')) AS s FROM d.t LIMIT 1 SETTINGS {name} = {value})"
    assert place.ask(query.replace("{", "{{").replace("}", "}}")).text == f"{kept}\n"


def test_a_compressed_body_is_looked_at_as_any_other(place: Place) -> None:
    body = gzip.compress(f"SELECT file('{place.secret}')".encode())
    answered = httpx.post(
        place.server.server_url, params={"user": "reader"}, content=body, headers={"Content-Encoding": "gzip"}
    )
    assert answered.status_code == 403
    assert SECRET not in answered.text


def test_a_body_that_unpacks_to_too_much_is_refused(place: Place) -> None:
    body = gzip.compress(b"SELECT 1" + b" " * 50_000_000)
    answered = httpx.post(
        place.server.server_url, params={"user": "reader"}, content=body, headers={"Content-Encoding": "gzip"}
    )
    assert answered.status_code >= 400


def test_a_session_of_the_owner_is_not_the_readers(place: Place) -> None:
    place.ask("CREATE TEMPORARY TABLE mine (a UInt8)", user="default", session_id="s").raise_for_status()
    assert place.ask("SELECT * FROM mine", user="default", session_id="s").status_code == 200
    assert place.ask("SELECT * FROM mine", session_id="s").status_code >= 400


def test_a_reader_may_ask_for_less(place: Place) -> None:
    assert place.ask("SELECT getSetting('max_execution_time')", max_execution_time="0.5").text == "0.5\n"
    assert place.ask("SELECT getSetting('max_execution_time')").text == f"{SECONDS}\n"
    assert place.ask("SELECT getSetting('max_memory_usage')", max_memory_usage="1000000").text == "1000000\n"
    assert place.ask("SELECT getSetting('max_memory_usage')").text == f"{MEMORY}\n"


LIMITS = {
    "more time": ("max_execution_time", str(SECONDS + 1)),
    "any time": ("max_execution_time", "0"),
    "time of no number": ("max_execution_time", "inf"),
    "less than no time": ("max_execution_time", "-1"),
    "more memory": ("max_memory_usage", str(MEMORY + 1)),
    "any memory": ("max_memory_usage", "0"),
    "memory that is not counted": ("max_untracked_memory", "10000000000"),
    "a bound on the memory of all": ("max_memory_usage_for_user", "1"),
    "a bound on the queries of all": ("max_concurrent_queries_for_all_users", "1"),
    "any space on the disk": ("max_temporary_data_on_disk_size_for_query", "0"),
    "threads without end": ("max_threads", "10000"),
    "streams without end": ("max_streams_to_max_threads_ratio", "10000"),
    "writes": ("readonly", "0"),
    "settings of its own": ("readonly", "1"),
    "the owner's profile": ("profile", "default"),
}
WAYS: dict[str, Callable[[Place, str, str], httpx.Response]] = {
    "in a query that is streamed": lambda place, n, v: place.ask(f"SELECT 1 SETTINGS {n} = '{v}' FORMAT CSV"),
    "in a query that is not": lambda place, n, v: place.ask(f"SELECT 1 SETTINGS {n} = '{v}' FORMAT JSON"),
    "in the last of a union": lambda place, n, v: place.ask(f"SELECT 1 UNION ALL SELECT 2 SETTINGS {n} = '{v}'"),
    "in the address": lambda place, n, v: place.ask("SELECT 1", **{n: v}),
    "as a statement": lambda place, n, v: place.ask(f"SET {n} = '{v}'"),
    "as a statement of a session": lambda place, n, v: place.ask(f"SET {n} = '{v}'", session_id="mine"),
    "before the query": lambda place, n, v: place.ask(f"SET {n} = '{v}'; SELECT 1"),
}  # fmt: skip


@pytest.mark.parametrize("way", WAYS.values(), ids=WAYS.keys())
@pytest.mark.parametrize(("name", "value"), LIMITS.values(), ids=LIMITS.keys())
def test_a_reader_cannot_raise_its_limits(
    place: Place, way: Callable[[Place, str, str], httpx.Response], name: str, value: str
) -> None:
    answered = way(place, name, value)
    assert answered.status_code >= 400, answered.text
    kept = "SELECT getSetting('max_execution_time'), getSetting('max_memory_usage'), getSetting('readonly')"
    assert place.ask(kept).text == f"{SECONDS}\t{MEMORY}\t2\n"


ENDLESS = "SELECT sum(sipHash64(number)) AS s FROM numbers(1e12)"
GREEDY = "SELECT groupArray(number) AS s FROM numbers(1e9)"
SHAPES = {
    "streamed": "{query}",
    "not streamed": "{query} FORMAT JSON",
    "in a subquery that says otherwise": "SELECT length(toString(s)) FROM ({query} SETTINGS {more})",
    "in a scalar that says otherwise": "SELECT ({query} SETTINGS {more}) FORMAT JSON",
    "in a condition": "SELECT 1 WHERE 1 IN (SELECT length(toString(s)) FROM ({query}))",
    "through a name": "WITH x AS ({query}) SELECT length(toString(s)) FROM x",
    "explained": "EXPLAIN ESTIMATE SELECT length(toString(({query})))",
}


@pytest.mark.parametrize("shape", SHAPES.values(), ids=SHAPES.keys())
def test_the_time_of_a_readers_query_is_bounded(place: Place, shape: str) -> None:
    query = shape.format(query=ENDLESS, more="max_execution_time = 100000")
    assert "Code: 159." in place.ask(query, max_execution_time="0.2").text


@pytest.mark.parametrize("shape", SHAPES.values(), ids=SHAPES.keys())
def test_the_memory_of_a_readers_query_is_bounded(place: Place, shape: str) -> None:
    query = shape.format(query=GREEDY, more="max_memory_usage = 100000000000")
    answered = place.ask(query)
    assert "Code: 241." in answered.text
    assert "maximum: 190.73 MiB" in answered.text


def test_clickhouse_connect_is_a_reader_like_any_other(place: Place) -> None:
    reading = clickhouse_connect.get_client(
        host="127.0.0.1", port=place.server.port, username="reader", database="d"
    )
    with reading:
        settings = {"max_execution_time": 5}
        assert reading.query("SELECT max(a) FROM t", settings=settings).result_rows == [(ROWS - 1,)]
        assert len(reading.query_df("SELECT * FROM t WHERE a < {n:UInt64}", parameters={"n": 10})) == 10
        with pytest.raises(clickhouse_connect.driver.exceptions.DatabaseError, match="READONLY"):
            reading.insert("t", [[1, "x"]], column_names=["a", "b"])


def test_get_requests_of_the_owner_change_nothing(place: Place) -> None:
    answered = httpx.get(place.server.server_url, params={"query": "INSERT INTO d.t VALUES (1, 'x')"})
    assert answered.status_code == 403
    assert "READONLY" in answered.text


def test_a_web_page_may_not_ask_where_there_is_no_password(place: Place) -> None:
    for headers in ({"Origin": "http://somewhere.example"}, {"Sec-Fetch-Site": "cross-site"}):
        answered = httpx.post(place.server.server_url, content=b"SELECT 1", headers=headers)
        assert answered.status_code == 403
