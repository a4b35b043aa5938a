"""How large the tables are, and which migrations were applied."""

from sqlalchemy import Engine, text

from warehouse.answer import Answer, ask
from warehouse.connection import DATABASE

_SQL = """
select t.name as name, ifNull(t.total_rows, 0) as rows, ifNull(t.total_bytes, 0) as bytes, t.comment as what
from system.tables as t where t.database = :database and t.engine != 'View'
order by name
"""


_MIGRATIONS = "select number, name, applied_at from migrations final order by number"


def migrations(connection: Engine) -> Answer:
    """One row per migration that was applied. Columns: number, name, applied_at."""
    return ask(connection, text(_MIGRATIONS))


def status(connection: Engine) -> Answer:
    """One row per table. Columns: name, rows (not yet merged ones included), bytes (on disk, packed),
    what.
    """
    return ask(connection, text(_SQL), {"database": DATABASE})
