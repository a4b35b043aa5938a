"""Sets of tables, one per journey model in use: what is said under one never mixes with what another says.

The rows of the current model lie in the tables of the plain names, those of the model that is being built in
`…__building`, those of the one before in `…__retired`. Which model a table belongs to is no matter of its name,
which changes when the model does: every table says it itself, as the default of its column `model`, and refuses
rows of any other model by a constraint. So whoever writes may have looked long ago: where the tables were
switched meanwhile, ClickHouse refuses the insert, and the writer looks again (`warehouse.write_errors.TablesSwitched`).
"""

import re

import msgspec
from clickhouse_connect.driver.client import Client
from sqlalchemy import Table

from warehouse import ddl, schema
from warehouse.connection import DATABASE
from warehouse.schema import BUILDING, RETIRED

_WHOSE = f"""
    select table, toUInt16OrZero(default_expression) from system.columns
    where database = '{DATABASE}' and name = 'model' and default_kind = 'DEFAULT'
"""  # noqa: S608  a name of ours


class JudgedTables(msgspec.Struct, frozen=True):
    """The tables of one model: its number, and their present names by the plain ones."""

    number: int
    names: dict[str, str]

    def __getitem__(self, table: Table) -> str:
        return self.names.get(table.name, table.name)

    @property
    def current(self) -> bool:
        """Whether they are those that people read."""
        return self[schema.touchpoint_rows] == schema.touchpoint_rows.name


LIVE = JudgedTables(0, {})
"""The tables of the plain names, whichever model they belong to."""


def judged_tables(client: Client) -> dict[int, JudgedTables]:
    """The whole sets that there are, by the number of their model."""
    names: dict[int, dict[str, str]] = {}
    for table, number in _whose(client).items():
        names.setdefault(number, {})[table.partition("__")[0]] = table
    whole = {table.name for table in schema.JUDGED}
    return {number: JudgedTables(number, of) for number, of in names.items() if of.keys() == whole}


def create_building(client: Client, number: int) -> None:
    """Make the tables for a model that is to be built; those that are there already stay as they are."""
    cluster = _cluster(client)
    settled = client.min_version(schema.PROJECTION_SETTINGS_SINCE)
    for table in schema.JUDGED:
        for statement in ddl.table_statements(table, cluster, suffix=BUILDING, model=number, settled=settled):
            client.command(statement)


def drop(client: Client, suffix: str) -> bool:
    """Drop a set of tables, `BUILDING` or `RETIRED`; whether there was one."""
    there, on = _there(client), ddl.on_cluster(_cluster(client))
    names = [f"{table.name}{suffix}{local}" for table in schema.JUDGED for local in ("", "_local")]
    for name in (gone := [name for name in names if name in there]):
        client.command(f"DROP TABLE IF EXISTS {DATABASE}.{name}{on} SYNC")
    return bool(gone)


def switch(client: Client, number: int) -> None:
    """Let the tables of this model take the plain names, and those that had them be called retired.

    Each pair of tables changes names at once, so that there is no instant without one; between the first and
    the last pair lie milliseconds. Begun and not finished, it is finished by doing it again.
    """
    whose, cluster = _whose(client), _cluster(client)
    exchanged = [table.name for table in schema.JUDGED if whose[table.name] != number]
    for statement in ddl.switch_statements(exchanged, (), cluster):
        client.command(statement)
    there = _there(client)
    renamed = [
        (table, BUILDING, RETIRED)
        for table in schema.JUDGED
        if f"{table.name}{BUILDING}{'_local' if cluster else ''}" in there
    ]
    for statement in ddl.switch_statements((), renamed, cluster):
        client.command(statement)


def _whose(client: Client) -> dict[str, int]:
    """The number of each table's model. On a cluster the local tables say it; those before them know no better."""
    said = {table: number for table, number in client.query(_WHOSE).result_rows}
    local = {name.removesuffix("_local"): of for name, of in said.items() if name.endswith("_local")}
    return local or said


def _cluster(client: Client) -> str | None:
    """Name of the cluster that the tables are spread over; None: one server has them."""
    asked = (
        "select engine_full from system.tables"  # noqa: S608  names of ours
        f" where database = '{DATABASE}' and name = '{schema.touchpoint_rows.name}'"
    )
    spread = [re.match(r"Distributed\('([^']+)'", engine) for (engine,) in client.query(asked).result_rows]
    return spread[0][1] if spread and spread[0] else None


def _there(client: Client) -> set[str]:
    rows = client.query(f"select name from system.tables where database = '{DATABASE}'").result_rows  # noqa: S608
    return {name for (name,) in rows}
