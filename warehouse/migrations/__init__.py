"""Numbered migrations: each runs once per warehouse, in order; running `migrate` again changes nothing.

Tables and views are brought to what the schema defines, once; a migration fills what has come since.
"""

from collections.abc import Callable
from datetime import UTC, datetime

from clickhouse_connect.driver.client import Client
from clickhouse_connect.driver.exceptions import DatabaseError

from warehouse import ddl, schema
from warehouse.connection import DATABASE, client, insert_row

READER = "reader"
_ACCESS_DENIED = 497


def _0002_read_only_user(connection: Client) -> None:
    """Where the engine keeps users. The embedded warehouse has its reader built in."""
    try:
        connection.command(f"CREATE ROLE IF NOT EXISTS {READER}_role SETTINGS readonly = 1")
        connection.command(f"GRANT SELECT, SHOW ON {DATABASE}.* TO {READER}_role")
    except DatabaseError as error:
        if f"Code: {_ACCESS_DENIED}" not in str(error):
            raise


def _0005_archive_of_elements(connection: Client) -> None:
    """What stands is the beginning of all that was ever sent."""
    if not _has_column(connection, "touchpoint_rows", "element"):
        return
    touchpoints = (
        f"SELECT 'touchpoint', occurred_on, id, identifiers, element FROM {DATABASE}.touchpoint_rows"  # noqa: S608
    )
    others = (
        "SELECT if(kind = 'identification', kind, 'correction'), toDate(at), id, identifiers, element"  # noqa: S608
        f" FROM {DATABASE}.identification_rows"
    )
    for some in (touchpoints, others):
        connection.command(
            f"INSERT INTO {DATABASE}.element_rows (kind, occurred_on, id, identifiers, element) {some}"
        )


def _0008_who_enters_a_phase_goes_on_is_lost_or_open(connection: Client) -> None:
    """The days of conversion are counted again from the journeys. A warehouse that no worker has told its
    journey model yet does not know the order of its phases: there `desireline rebuild` does it.
    """
    from warehouse.aggregates import STAGE_CONVERSION_1D, Aggregates
    from warehouse.journey_models import current
    from warehouse.writer import Writer

    if (known := current(connection)) is not None:
        connection.database = DATABASE
        Aggregates(connection, Writer(connection), known.model.phases).recount(STAGE_CONVERSION_1D)


def _0009_one_customer_at_once(connection: Client) -> None:
    """What lies together of one customer. The engine puts what was there before in order beside its work."""
    for table, projection, _ in schema.PROJECTIONS:
        connection.command(f"ALTER TABLE {DATABASE}.{table} MATERIALIZE PROJECTION {projection}")
    connection.command(f"ALTER TABLE {DATABASE}.identification_rows MATERIALIZE INDEX by_identifier")


def _0010_each_touchpoint_is_kept_whole_once(connection: Client) -> None:
    """In the archive, which holds every content of it."""
    for table in ("touchpoint_rows", f"touchpoint_rows{schema.BUILDING}", f"touchpoint_rows{schema.RETIRED}"):
        if _has_column(connection, table, "element"):
            connection.command(f"ALTER TABLE {DATABASE}.{table} DROP COLUMN element")


def _0011_one_customer_in_small_steps(connection: Client) -> None:
    """Projections that were made without their settings. Until the engine has put them in order, it reads as it
    does without them.
    """
    if not connection.min_version(schema.PROJECTION_SETTINGS_SINCE):
        return
    for table, projection, columns in schema.PROJECTIONS:
        for change in (
            f"DROP PROJECTION IF EXISTS {projection}",
            ddl.add_projection(projection, columns, settled=True),
            f"MATERIALIZE PROJECTION {projection}",
        ):
            connection.command(f"ALTER TABLE {DATABASE}.{table} {change}")


def _0012_links_of_one_customer_in_small_steps(connection: Client) -> None:
    """The index that finds them named four granules at once."""
    table = f"{DATABASE}.identification_rows"
    [(_, index, expression, kind, granularity)] = [
        one for one in schema.SKIP_INDEXES if one[0] == schema.identification_rows.name
    ]
    connection.command(f"ALTER TABLE {table} DROP INDEX IF EXISTS {index}")
    connection.command(
        f"ALTER TABLE {table} ADD INDEX {index} {expression} TYPE {kind} GRANULARITY {granularity}"
    )
    connection.command(f"ALTER TABLE {table} MATERIALIZE INDEX {index}")


MIGRATIONS: tuple[tuple[int, str, Callable[[Client], None] | None], ...] = (
    (1, "tables and views", None),
    (2, "read-only role", _0002_read_only_user),
    (3, "corrections of identities", None),
    (4, "shape and paved path of journeys", None),
    (5, "archive of elements", _0005_archive_of_elements),
    (6, "rows know their journey model", None),
    (7, "saved cohorts", None),
    (8, "who enters a phase goes on, is lost or open", _0008_who_enters_a_phase_goes_on_is_lost_or_open),
    (9, "one customer at once", _0009_one_customer_at_once),
    (10, "each touchpoint is kept whole once", _0010_each_touchpoint_is_kept_whole_once),
    (11, "one customer in small steps", _0011_one_customer_in_small_steps),
    (12, "links of one customer in small steps", _0012_links_of_one_customer_in_small_steps),
)


def migrate(url: str) -> list[int]:
    """Bring the warehouse at `url` up to date; the numbers of the migrations that were applied now."""
    connection = client(url, database="")
    try:
        applied = _applied(connection)
        waiting = [one for one in MIGRATIONS if one[0] not in applied]
        if waiting:
            # all that the schema defines; what an earlier version made gets what it lacks
            settled = connection.min_version(schema.PROJECTION_SETTINGS_SINCE)
            for statement in ddl.statements(settled=settled):
                connection.command(statement)
        done = []
        for number, name, fill in waiting:
            if fill is not None:
                fill(connection)
            insert_row(
                connection, "migrations", {"number": number, "name": name, "applied_at": datetime.now(UTC)}
            )
            done.append(number)
        return done
    finally:
        connection.close()


def _has_column(connection: Client, table: str, column: str) -> bool:
    found = connection.query(
        "SELECT count() FROM system.columns WHERE database = {database:String} AND table = {table:String}"
        " AND name = {column:String}",
        parameters={"database": DATABASE, "table": table, "column": column},
    )
    return bool(found.result_rows[0][0])


def _applied(connection: Client) -> set[int]:
    if not connection.command(f"EXISTS TABLE {DATABASE}.migrations"):
        return set()
    return {row[0] for row in connection.query(f"SELECT number FROM {DATABASE}.migrations FINAL").result_rows}  # noqa: S608
