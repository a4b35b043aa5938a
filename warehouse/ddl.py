"""The SQL that makes the tables: for one server, or replicated and sharded for a cluster, from one
definition.
"""

import re
from collections.abc import Iterator, Sequence

from clickhouse_connect.cc_sqlalchemy.dialect import ClickHouseDialect
from sqlalchemy import Table
from sqlalchemy.schema import CreateTable

from models.errors import DesirelineError
from warehouse import schema, views
from warehouse.connection import DATABASE
from warehouse.views import View

_dialect = ClickHouseDialect()
ONE_MODEL = "one_model"
"""The constraint by which a table refuses the rows of another journey model than its own."""

_CLUSTER = re.compile(r"[A-Za-z_][\w-]*|\{\w+\}")


class ClusterNameError(DesirelineError):
    """A cluster is called as no cluster can be."""


def statements(cluster: str | None = None, *, settled: bool = False) -> Iterator[str]:
    """Every statement that makes database, tables, indexes and views, safe to run twice. `cluster`: its name.

    Run on tables of an earlier version, they add the columns that have come since.
    On a cluster the tables are called `…_local`, replicated; a Distributed table of the plain name stands
    before each. ClusterNameError.
    """
    on = on_cluster(cluster)
    yield f"CREATE DATABASE IF NOT EXISTS {DATABASE}{on}"
    for table in schema.metadata.tables.values():
        yield from table_statements(table, cluster, settled=settled)
    for view in views.VIEWS:
        yield create_view(view, on)


def on_cluster(cluster: str | None) -> str:
    """` ON CLUSTER …`, or nothing. ClusterNameError."""
    if cluster is not None and not _CLUSTER.fullmatch(cluster):
        raise ClusterNameError(
            f'"{cluster}" is no name of a cluster', remedy="See <remote_servers> of ClickHouse."
        )
    return f" ON CLUSTER '{cluster}'" if cluster else ""


def table_statements(
    table: Table,
    cluster: str | None = None,
    *,
    suffix: str = "",
    model: int = schema.FIRST_MODEL,
    settled: bool = False,
) -> Iterator[str]:
    """The statements that make one table with its indexes, safe to run twice.

    Run on a table of an earlier version, they add the columns that have come since.
    `suffix`, `model`: of a set of tables for the rows of another journey model. `settled`: the engine takes
    `PROJECTION_SETTINGS`.
    """
    name = f"{table.name}{suffix}"
    yield create_table(table, cluster, suffix=suffix, model=model)
    local = f"{DATABASE}.{name}{'_local' if cluster else ''}{on_cluster(cluster)}"
    if cluster:
        yield _distributed(table, cluster, name)
    for table_name, column in schema.LATER_COLUMNS:
        if table_name == table.name:
            added = f"ADD COLUMN IF NOT EXISTS {_specification(table, column, model)}"
            yield f"ALTER TABLE {local} {added}"
            if cluster:
                yield f"ALTER TABLE {DATABASE}.{name}{on_cluster(cluster)} {added}"
    if table in schema.JUDGED:
        yield f"ALTER TABLE {local} ADD CONSTRAINT IF NOT EXISTS {ONE_MODEL} CHECK model = {model}"
    for table_name, index, expression, kind, granularity in schema.SKIP_INDEXES:
        if table_name == table.name:
            yield (
                f"ALTER TABLE {local} ADD INDEX IF NOT EXISTS {index} {expression} TYPE {kind}"
                f" GRANULARITY {granularity}"
            )
    for table_name, projection, columns in schema.PROJECTIONS:
        if table_name == table.name:
            # rows that are replaced leave the projection, too
            yield f"ALTER TABLE {local} MODIFY SETTING deduplicate_merge_projection_mode = 'rebuild'"
            yield f"ALTER TABLE {local} {add_projection(projection, columns, settled=settled)}"


def add_projection(name: str, columns: Sequence[str], *, settled: bool) -> str:
    """What adds a projection to a table that has none of its name. `settled`: with `PROJECTION_SETTINGS`."""
    settings = f" WITH SETTINGS ({schema.PROJECTION_SETTINGS})" if settled else ""
    return (
        f"ADD PROJECTION IF NOT EXISTS {name} (SELECT {', '.join(columns)} ORDER BY {columns[0]}){settings}"
    )


def switch_statements(
    exchanged: Sequence[str], renamed: Sequence[tuple[Table, str, str]], cluster: str | None = None
) -> Iterator[str]:
    """The statements by which tables of another model take the plain names: `exchanged` with their `…__building`.

    `renamed`: a table's definition, and which suffix it changes for which other. On a cluster the local tables
    change names, and those that spread over them stay, or are made anew.
    """
    local, on = "_local" if cluster else "", on_cluster(cluster)
    if exchanged:
        pairs = (
            f"{DATABASE}.{name}{local} AND {DATABASE}.{name}{schema.BUILDING}{local}" for name in exchanged
        )
        yield f"EXCHANGE TABLES {', '.join(pairs)}{on}"
    if renamed:
        pairs = (
            f"{DATABASE}.{table.name}{before}{local} TO {DATABASE}.{table.name}{after}{local}"
            for table, before, after in renamed
        )
        yield f"RENAME TABLE {', '.join(pairs)}{on}"
    if cluster:
        for table, before, after in renamed:
            yield f"DROP TABLE IF EXISTS {DATABASE}.{table.name}{before}{on}"
            yield _distributed(table, cluster, f"{table.name}{after}")


def _specification(table: Table, column: str, model: int) -> str:
    """A column as a statement names it."""
    compiler = _dialect.ddl_compiler(_dialect, CreateTable(table))
    return _defaulted(str(compiler.get_column_specification(table.c[column])), model)


def _defaulted(text: str, model: int) -> str:
    """The number of the model is the same in every row of a table."""
    return text.replace("`model` UInt16", f"`model` UInt16 DEFAULT {model}", 1)


def create_table(
    table: Table, cluster: str | None = None, *, suffix: str = "", model: int = schema.FIRST_MODEL
) -> str:
    """The statement that makes one table, or its local part on each server of a cluster."""
    name = f"{table.name}{suffix}"
    text = str(CreateTable(table, if_not_exists=True).compile(dialect=_dialect))
    text = text.replace(f"`{table.name}`", f"{DATABASE}.{name}", 1)
    if table in schema.JUDGED:
        text = _defaulted(text, model)
    if cluster is None:
        return text
    local = f"{DATABASE}.{name}_local{on_cluster(cluster)}"
    # tables change their names when another model becomes current, and keep their path in Keeper
    unique = table.name if model == schema.FIRST_MODEL else f"{table.name}_model_{model}"
    path = f"'/clickhouse/tables/{{shard}}/{DATABASE}/{unique}', '{{replica}}'"
    text = text.replace(f"{DATABASE}.{name}", local, 1)
    return re.sub(
        r"Engine ReplacingMergeTree(?:\((?P<given>[^)]*)\))?",
        lambda m: f"ENGINE = ReplicatedReplacingMergeTree({path}{', ' + m['given'] if m['given'] else ''})",
        text,
        count=1,
    )


def sharding_key(table: Table) -> tuple[str, ...]:
    """What a row's shard is a function of: its whole key, since rows of one key must meet to be replaced."""
    in_parentheses = r"\(((?:[^()]|\([^()]*\))*)\)"
    key = re.search(
        rf"ORDER BY (?:{in_parentheses}|(\w+))", str(CreateTable(table).compile(dialect=_dialect))
    )
    if key is None:
        raise ValueError(f"table {table.name} has no key")
    return tuple(column.strip() for column in (key[1] or key[2]).split(","))


def _distributed(table: Table, cluster: str, name: str) -> str:
    return (
        f"CREATE TABLE IF NOT EXISTS {DATABASE}.{name} ON CLUSTER '{cluster}'"
        f" AS {DATABASE}.{name}_local"
        f" ENGINE = Distributed('{cluster}', {DATABASE}, {name}_local,"
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
