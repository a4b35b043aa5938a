"""What it means that the warehouse did not take rows.

It is of two kinds. `WarehouseAway`: nothing is wrong with the rows; try again (as `TablesSwitched`, after asking for
the names of the tables again). `RowsRefused`: ClickHouse or its client cannot take these values, and never will.
"""

from collections.abc import Iterator
from contextlib import contextmanager

from clickhouse_connect.driver.exceptions import ClickHouseError, DatabaseError
from urllib3.exceptions import HTTPError

from models.errors import DesirelineError

# ClickHouse's codes for "this value I cannot take": https://github.com/ClickHouse/ClickHouse ErrorCodes.cpp
# fmt: off
_REFUSALS = frozenset({
    6, 26, 27, 33, 38, 41, 43, 53, 69, 70, 72, 117,
    130, 131, 190, 321, 349, 351, 407, 441, 467, 547, 632, 691,
})
# fmt: on
_SWITCHED = frozenset({60, 469})
"""No such table; the constraint by which a table refuses another model's rows."""


class WarehouseError(DesirelineError):
    """The warehouse did not take rows."""


class WarehouseAway(WarehouseError):
    """It cannot be reached, or cannot write now. The same rows may be sent again, and must be."""


class TablesSwitched(WarehouseAway):
    """The table that was named belongs to another journey model now, or is gone: its name must be asked again."""


class RowsRefused(WarehouseError):
    """It cannot take these values, however often they are sent."""

    def __init__(self, table: str, reason: str) -> None:
        super().__init__(f'table "{table}" does not take these rows: {reason}')
        self.reason = reason


def typed(error: Exception, table: str) -> WarehouseError:
    """What an error of the client means: rows that it refuses, or a warehouse that is away."""
    code = error.code if isinstance(error, DatabaseError) else None
    if code in _REFUSALS:
        return RowsRefused(table, str(error))
    if code in _SWITCHED:
        return TablesSwitched(
            f'table "{table}" is not where it was: {str(error)[:500]}', remedy="Its new name is asked for."
        )
    return WarehouseAway(
        f'table "{table}" cannot be written now: {type(error).__name__}: {str(error)[:500]}',
        remedy="Nothing is lost: it is tried again until it succeeds.",
    )


@contextmanager
def warehouse_errors(table: str) -> Iterator[None]:
    """Turns what the client raises into a `WarehouseError`."""
    try:
        yield
    except (ClickHouseError, HTTPError, OSError) as error:
        raise typed(error, table) from error
