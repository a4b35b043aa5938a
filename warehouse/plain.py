"""Values of numpy and pandas as JSON has them: the one way that command line and API share."""

import math
from collections.abc import Iterable, Mapping
from datetime import date, datetime, timedelta
from decimal import Decimal
from typing import Any

import msgspec
import pandas as pd


def records(frame: pd.DataFrame) -> list[dict[str, Any]]:
    """One mapping per row, keys in the order of the columns."""
    columns = [str(name) for name in frame.columns]
    return [
        dict(zip(columns, map(plain, row), strict=True)) for row in frame.itertuples(index=False, name=None)
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
