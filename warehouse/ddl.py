"""The SQL that makes the tables: for one server, or replicated and sharded for a cluster, from one
definition.
"""

import re
from collections.abc import Iterator

from clickhouse_connect.cc_sqlalchemy.dialect import ClickHouseDialect
from sqlalchemy import Table
from sqlalchemy.schema import CreateTable

from models.errors import DesirelineError
from warehouse import schema, views
from warehouse.connection import DATABASE
from warehouse.views import View

_dialect = ClickHouseDialect()
_CLUSTER = re.compile(r"[A-Za-z_][\w-]*|\{\w+\}")


class ClusterNameError(DesirelineError):
    """A cluster is called as no cluster can be."""


def statements(cluster: str | None = None) -> Iterator[str]:
    """Every statement that makes database, tables, indexes and views, safe to run twice. `cluster`: its name.

    Run on tables of an earlier version, they add the columns that have come since.
    On a cluster the tables are called `…_local`, replicated; a Distributed table of the plain name stands
    before each. ClusterNameError.
    """
    if cluster is not None and not _CLUSTER.fullmatch(cluster):
        raise ClusterNameError(
            f'"{cluster}" is no name of a cluster', remedy="See <remote_servers> of ClickHouse."
        )
    on = f" ON CLUSTER '{cluster}'" if cluster else ""
    yield f"CREATE DATABASE IF NOT EXISTS {DATABASE}{on}"
    for table in schema.metadata.tables.values():
        yield create_table(table, cluster)
        if cluster:
            yield _distributed(table, cluster)
    for table_name, name in schema.LATER_COLUMNS:
        table = schema.metadata.tables[table_name]
        compiler = _dialect.ddl_compiler(_dialect, CreateTable(table))
        column = compiler.get_column_specification(table.c[name])
        for table_part in (f"{table_name}_local", table_name) if cluster else (table_name,):
            yield f"ALTER TABLE {DATABASE}.{table_part}{on} ADD COLUMN IF NOT EXISTS {column}"
    for table_name, name, expression, kind in schema.SKIP_INDEXES:
        local = f"{DATABASE}.{table_name}{'_local' if cluster else ''}"
        yield f"ALTER TABLE {local}{on} ADD INDEX IF NOT EXISTS {name} {expression} TYPE {kind} GRANULARITY 4"
    for view in views.VIEWS:
        yield create_view(view, on)


def create_table(table: Table, cluster: str | None = None) -> str:
    """The statement that makes one table, or its local part on each server of a cluster."""
    text = str(CreateTable(table, if_not_exists=True).compile(dialect=_dialect))
    text = text.replace(f"`{table.name}`", f"{DATABASE}.{table.name}", 1)
    if cluster is None:
        return text
    local = f"{DATABASE}.{table.name}_local ON CLUSTER '{cluster}'"
    path = f"'/clickhouse/tables/{{shard}}/{DATABASE}/{table.name}', '{{replica}}'"
    text = text.replace(f"{DATABASE}.{table.name}", local, 1)
    return re.sub(
        r"Engine ReplacingMergeTree(?:\((?P<given>[^)]*)\))?",
        lambda m: f"ENGINE = ReplicatedReplacingMergeTree({path}{', ' + m['given'] if m['given'] else ''})",
        text,
        count=1,
    )


def sharding_key(table: Table) -> tuple[str, ...]:
    """What a row's shard is a function of: its whole key, since rows of one key must meet to be replaced."""
    key = re.search(r"ORDER BY (?:\(([^)]*)\)|(\w+))", str(CreateTable(table).compile(dialect=_dialect)))
    if key is None:
        raise ValueError(f"table {table.name} has no key")
    return tuple(column.strip() for column in (key[1] or key[2]).split(","))


def _distributed(table: Table, cluster: str) -> str:
    return (
        f"CREATE TABLE IF NOT EXISTS {DATABASE}.{table.name} ON CLUSTER '{cluster}'"
        f" AS {DATABASE}.{table.name}_local"
        f" ENGINE = Distributed('{cluster}', {DATABASE}, {table.name}_local,"
        f" cityHash64({', '.join(sharding_key(table))}))"
    )


def create_view(view: View, on: str = "") -> str:
    """The statement that makes a view, or makes it anew; columns carry their comments."""
    columns = ", ".join(
        f"`{c.name}` {c.type.compile(dialect=_dialect)} COMMENT '{_quoted(c.comment or '')}'"
        for c in view.table.c
    )
    query = re.sub(r"\b(FROM|JOIN) (\w+_rows)\b", rf"\1 {DATABASE}.\2", view.query)
    comment = _quoted(view.table.comment or "")
    return (
        f"CREATE OR REPLACE VIEW {DATABASE}.{view.table.name}{on} ({columns}) AS {query} COMMENT '{comment}'"
    )


def script(cluster: str | None = None) -> str:
    """All statements as one text to read or to run by hand."""
    return ";\n\n".join(statements(cluster)) + ";\n"


def _quoted(text: str) -> str:
    return text.replace("\\", "\\\\").replace("'", "\\'")
