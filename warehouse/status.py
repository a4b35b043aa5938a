"""How large the tables are, which journey models their rows were judged under, which migrations were applied."""

from sqlalchemy import Engine, text

from warehouse.answer import Answer, ask
from warehouse.connection import DATABASE

_SQL = """
select t.name as name, ifNull(t.total_rows, 0) as rows, ifNull(t.total_bytes, 0) as bytes, t.comment as what
from system.tables as t where t.database = :database and t.engine != 'View'
order by name
"""


# the tables say themselves whose they are, whatever they are called at the moment
_JOURNEY_MODELS = """
select m.number as number, m.state as state, m.fingerprint as fingerprint, m.registered_at as registered_at,
       m.changed_at as changed_at, ifNull(t.rows, 0) as touchpoint_rows
from journey_models as m final
left any join (
    select toUInt16OrZero(c.default_expression) as number, sum(s.total_rows) as rows
    from system.columns as c inner join system.tables as s on s.database = c.database and s.name = c.table
    where c.database = :database and c.name = 'model' and startsWith(c.table, 'touchpoint_rows')
    group by number
) as t on t.number = m.number
order by number
"""


_MIGRATIONS = "select number, name, applied_at from migrations final order by number"


def migrations(connection: Engine) -> Answer:
    """One row per migration that was applied. Columns: number, name, applied_at."""
    return ask(connection, text(_MIGRATIONS))


def journey_models(connection: Engine) -> Answer:
    """One row per journey model. Columns: number, state (current, building, retired), fingerprint,
    registered_at, changed_at, touchpoint_rows (judged under it, not yet merged ones included; 0: dropped).
    """
    return ask(connection, text(_JOURNEY_MODELS), {"database": DATABASE})


def status(connection: Engine) -> Answer:
    """One row per table. Columns: name, rows (not yet merged ones included), bytes (on disk, packed),
    what.
    """
    return ask(connection, text(_SQL), {"database": DATABASE})
