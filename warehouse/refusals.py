"""Errors of the embedded warehouse, in ClickHouse's words: `Code: N. DB::Exception: … (NAME)`."""

import re

from models.errors import DesirelineError

_CODE = re.compile(r"Code: (\d+)")


class EngineError(DesirelineError):
    """The engine refused or failed a query; `code` is ClickHouse's own."""

    def __init__(self, message: str) -> None:
        found = _CODE.search(message)
        self.code = int(found[1]) if found else 1002  # UNKNOWN_EXCEPTION
        super().__init__(message)


class DataFolderTaken(DesirelineError):
    """Another process has the data folder open, or the warehouse on it does not start."""


class NotLoopback(DesirelineError):
    """The warehouse would be open to others without a password."""


def read_only(why: str) -> EngineError:
    """A reader's query that is refused, as ClickHouse refuses one."""
    return EngineError(
        f"Code: 164. DB::Exception: reader: Cannot execute query in readonly mode: {why}. (READONLY)"
    )
