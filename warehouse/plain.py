"""Values of numpy and pandas as JSON has them: the one way that command line and API share."""

import math
from collections.abc import Iterable, Mapping
from datetime import date, datetime, timedelta
from decimal import Decimal
from typing import Any

import msgspec
import pandas as pd

from warehouse.answer import Answer


def records(frame: pd.DataFrame) -> list[dict[str, Any]]:
    """One mapping per row, keys in the order of the columns."""
    columns = [str(name) for name in frame.columns]
    return [
        dict(zip(columns, map(plain, row), strict=True)) for row in frame.itertuples(index=False, name=None)
    ]


def document(found: Answer) -> dict[str, Any]:
    """An answer as JSON has it: its rows under their noun, its parts, the watermark, the SQL.

    The bounds `lo` and `hi` of a rate are one `interval` there.
    """
    parts = {
        name: _intervals(records(part)) if isinstance(part, pd.DataFrame) else part
        for name, part in found.parts.items()
    }
    return {
        found.noun: _intervals(records(found)),
        **parts,
        "watermark": found.watermark,
        "sql": found.sql(),
    }


def flat(frame: pd.DataFrame) -> pd.DataFrame:
    """Each value as a field of CSV has it: lists and mappings are their JSON."""
    return frame.map(_field)


def _field(value: Any) -> Any:
    value = plain(value)
    return msgspec.json.encode(value).decode() if isinstance(value, list | dict) else value


def _intervals(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    if not rows or not {"lo", "hi"} <= rows[0].keys():
        return rows
    return [
        {
            "interval" if name == "lo" else name: [value, row["hi"]] if name == "lo" else value
            for name, value in row.items()
            if name != "hi"
        }
        for row in rows
    ]


def json_bytes(value: Any) -> bytes:
    """JSON; instants are ISO 8601 in UTC, what is missing is null."""
    return msgspec.json.encode(plain(value))


def plain(value: Any) -> Any:
    """A value as JSON can say it."""
    if value is None or type(value).__name__ in ("NaTType", "NAType"):
        return None
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, str | bool | int):
        return value
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, datetime):
        return value.isoformat(timespec="milliseconds").replace("+00:00", "Z")
    if isinstance(value, date):
        return value.isoformat()
    if isinstance(value, timedelta):
        return value.total_seconds()
    if isinstance(value, Decimal):
        return str(value)
    if isinstance(value, bytes):
        return value.decode(errors="replace")
    if hasattr(value, "item") and not isinstance(value, Iterable):
        return plain(value.item())
    return [plain(item) for item in value]
