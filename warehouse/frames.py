"""Frames put together row by row, whose columns have the same types whether there are rows or not."""

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any

import numpy as np
import pandas as pd

from warehouse.answer import utc

INSTANT = "datetime64[ms, UTC]"
LIST = "object"

# what pandas makes of their names, anew for every column
_TEXT: Any = pd.Series(dtype="str").dtype
_UTC: Any = pd.DatetimeTZDtype("ms", "UTC")


def frame(rows: Iterable[Sequence[Any]], types: Mapping[str, str]) -> pd.DataFrame:
    """Rows under the names of `types`, each column of its type (a dtype of pandas)."""
    made = list(rows)
    columns = {
        name: _column([row[place] for row in made], kind) for place, (name, kind) in enumerate(types.items())
    }
    # with its index said, pandas does not look for one in every column
    return pd.DataFrame(columns, index=pd.RangeIndex(len(made)), copy=False)


def _column(values: list[Any], kind: str) -> Any:
    """An array, which a frame takes as it is; a series would be laid out, copied and aligned once more."""
    if kind == INSTANT:
        return pd.array(np.array([_instant(at) for at in values], dtype="datetime64[ms]"), dtype=_UTC)
    if kind == LIST:
        return np.fromiter(values, dtype=object, count=len(values))
    return pd.array(values, dtype=_TEXT) if kind == "str" else np.array(values, dtype=kind)


def _instant(at: datetime | None) -> datetime | None:
    """As numpy takes it, which is ten times as quick as letting pandas find out."""
    return None if at is None else utc(at).replace(tzinfo=None)
