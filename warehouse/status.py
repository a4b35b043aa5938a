"""How large the tables are, and which migrations they have."""

from sqlalchemy import Engine, text

from warehouse.answer import Answer, ask
from warehouse.connection import DATABASE

_SQL = """
select t.name as name, t.total_rows as rows, t.total_bytes as bytes, t.comment as what
from system.tables as t where t.database = :database and t.engine != 'View'
order by name
"""


def status(connection: Engine) -> Answer:
    """One row per table. Columns: name, rows (not yet merged ones included), bytes (on disk, packed),
    what.
    """
    return ask(connection, text(_SQL), {"database": DATABASE})
