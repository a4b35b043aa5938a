"""Who may do what in the embedded warehouse: its users are roles of the engine, and the engine holds them to that.

| user | role | may |
|---|---|---|
| `default` | owner | everything, within the cap on memory |
| `reader` | reader | read tables, choose harmless settings; no writes, files, addresses, others' queries |

The engine refuses by grants (writes, `file()`, `url()`, `remote()` …), by constraints on settings (all but those
that only bound or format a query stand fixed), and by row policies (system tables that tell of the machine are
empty). What it does not refuse within an embedded session is looked at before it runs (`reading`).
"""

import re
from collections.abc import Iterator
from enum import Enum
from pathlib import Path
from typing import Any
from xml.sax.saxutils import escape

import chdb
import msgspec


class Access(Enum):
    """What a query may do; a handle is made for one of them and keeps it."""

    READ_WRITE = "read and write"
    GET = "no writes"  # what ClickHouse allows a GET request
    READ_ONLY = "reader"


class Limits(msgspec.Struct, frozen=True, kw_only=True):
    """What one query may take: memory in bytes, time in seconds. The owner may say otherwise, a reader only less."""

    memory_bytes: int = 4_000_000_000
    most_memory_bytes: int = 16_000_000_000
    seconds: int = 3_600
    reader_memory_bytes: int = 2_000_000_000
    reader_seconds: int = 300
    reader_temporary_bytes: int = 10_000_000_000  # on disk, for what does not fit into memory
    reader_most_threads: int = 64
    reading: int = 32  # queries that run at once; more wait
    inserting: int = 16  # beside them, so that no insert waits for queries
    reader_reading: int = 32  # beside both


# settings that a reader may choose: they bound a query or format its answer, and none is run or opened
_CHOSEN = re.compile(
    r"(?:max|min|join|group_by|distinct|limit|offset|timeout|read|write_overflow|optimize|query_plan|use_query_cache|"
    r"output_format_(?!schema)|input_format_null|date_time|final|extremes|totals|aggregate|union_default|partial|"
    r"transform_null|cast_keep|preferred|prefer|priority|any_join|empty_result|short_circuit|compile|enable_optimize|"
    r"do_not_merge|asterisk|count_distinct|exact_rows|force_index|force_primary|insert_null|select_sequential|"
    r"query_cache|enable_analyzer|result_overflow|interactive_delay|send_progress|wait_end|connect_timeout|"
    r"receive_timeout|send_timeout|http_(?:receive|send|connection)_timeout|http_headers_progress)\w*"
)
_CHOSEN_TEXTS = frozenset({"session_timezone", "log_comment"})
# what would let a query take more than its limits count, or would bound the queries of others: embedded sessions
# are one user to the engine
_NOT_CHOSEN = re.compile(
    r"max_untracked_memory|max_temporary_data_\w+|max_streams_\w+|\w+_for_(?:all_users|user)"
)
# settings that a reader may choose within bounds
_BOUND = frozenset({"max_memory_usage", "max_execution_time", "max_threads"})
# what a reader sees of the system: what describes the database, not the machine or other people's queries
_SHOWN = frozenset(
    {"one", "numbers", "numbers_mt", "zeros", "zeros_mt", "primes", "generate_series", "generateSeries"}
    | {"databases", "tables", "columns", "constraints", "projections", "data_skipping_indices", "settings"}
    | {"functions", "aggregate_function_combinators", "table_functions", "formats", "data_type_families"}
    | {
        "table_engines",
        "database_engines",
        "time_zones",
        "collations",
        "keywords",
        "licenses",
        "contributors",
    }
    | {"current_roles", "enabled_roles", "role_grants", "privileges", "settings_changes"}
)
_CONFIGURATION = """<clickhouse>
    <users_config>{users}</users_config>
    <user_files_path>{nothing}/</user_files_path>
    <user_scripts_path>{nothing}/</user_scripts_path>
    <format_schema_path>{nothing}/</format_schema_path>
    <display_name>desireline</display_name>
    <os_threads_nice_value_merge_mutate>10</os_threads_nice_value_merge_mutate>
    <merge_tree>
        <min_age_to_force_merge_seconds>{age}</min_age_to_force_merge_seconds>
    </merge_tree>
</clickhouse>
"""
# Where a partition is one part, FINAL has nothing to compare, and the first pages after a start take half the time.
# By itself ClickHouse leaves several. What was merged is as young as its merge: none is written anew more often.
MERGED_AFTER_S = 3_600
# Compiling what a question computes took a quarter of the time of questions that were new and read little. Those that
# had been asked before, over four million touchpoints, did not differ by more than they did from run to run.
_USERS = """<clickhouse>
    <profiles>
        <default>
            <readonly>0</readonly><async_insert>0</async_insert><compile_expressions>0</compile_expressions>
            <max_memory_usage>{limits.memory_bytes}</max_memory_usage>
            <max_execution_time>{limits.seconds}</max_execution_time>
            <constraints>
                <max_memory_usage><min>1</min><max>{limits.most_memory_bytes}</max></max_memory_usage>
            </constraints>
        </default>
        <reader>
            <constraints>
                <max_memory_usage><min>1</min><max>{limits.reader_memory_bytes}</max></max_memory_usage>
                <max_execution_time><min>0.001</min><max>{limits.reader_seconds}</max></max_execution_time>
                <max_threads><max>{limits.reader_most_threads}</max></max_threads>
                {fixed}
            </constraints>
        </reader>
    </profiles>
    <roles>
        <owner><grants>
            <query>GRANT ALL ON *.*</query><query>REVOKE ACCESS MANAGEMENT ON *.*</query>
        </grants></owner>
        <reader><grants><query>GRANT SHOW, SELECT, dictGet ON *.*</query></grants></reader>
    </roles>
    <users>
        <default>
            <password></password><networks><ip>::/0</ip></networks>
            <profile>default</profile><quota>default</quota>
            <grants><query>GRANT owner</query><query>GRANT reader</query></grants>
            <databases><system>{hidden}</system></databases>
        </default>
    </users>
    <quotas><default></default></quotas>
</clickhouse>
"""


def configure(folder: Path, limits: Limits) -> Path:
    """Write what the engine starts with into `folder`; returns the file to name with the first handle.

    Asks an engine in memory for the settings and system tables of its version, so it comes before that.
    """
    nothing = folder / "nothing"
    nothing.mkdir(parents=True, exist_ok=True)
    engine = open_handle(":memory:")
    try:
        settings = engine.query("SELECT name, type FROM system.settings WHERE NOT is_obsolete", "TSV").bytes()
        tables = engine.query("SELECT name FROM system.tables WHERE database = 'system'", "TSV").bytes()
    finally:
        engine.close()
    fixed = (
        name
        for name, kind in (line.split("\t") for line in settings.decode().splitlines())
        if not _may_choose(name, kind)
    )
    hidden = (name for name in tables.decode().split() if name not in _SHOWN)
    users = folder / "users.xml"
    users.write_text(
        _USERS.format(
            limits=limits,
            fixed="".join(f"<{name}><const/></{name}>" for name in fixed),
            hidden="".join(
                f"<{name}><filter>has(enabledRoles(), 'owner')</filter></{name}>" for name in hidden
            ),
        )
    )
    configuration = folder / "config.xml"
    configuration.write_text(
        _CONFIGURATION.format(users=escape(str(users)), nothing=escape(str(nothing)), age=MERGED_AFTER_S)
    )
    return configuration


def open_handle(path: str) -> Any:
    """A chDB handle; its package is typed without saying of what."""
    return chdb.connect(path)  # type: ignore[no-untyped-call]


def first_statements(access: Access, limits: Limits) -> Iterator[str]:
    """What a new handle is told before anything else."""
    if access is Access.READ_ONLY:
        yield "SET ROLE reader"
        yield (
            f"SET max_memory_usage = {limits.reader_memory_bytes},"
            f" max_execution_time = {limits.reader_seconds},"
            f" max_temporary_data_on_disk_size_for_query = {limits.reader_temporary_bytes},"
            " priority = 1, readonly = 2"  # what says that it can wait stands back meanwhile
        )
        yield "SET profile = 'reader'"  # from here on its constraints hold
    else:
        yield "SET ROLE owner"


def _may_choose(name: str, kind: str) -> bool:
    if name == "readonly" or name in _BOUND or name in _CHOSEN_TEXTS:
        return True  # the engine keeps the first fixed by itself
    if _NOT_CHOSEN.fullmatch(name):
        return False
    return _CHOSEN.fullmatch(name) is not None and kind not in ("String", "Map")
