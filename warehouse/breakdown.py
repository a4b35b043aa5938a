"""Breakdowns: what the rows of an answer are told apart by.

Persona and campaign are those of the journey, as everywhere (`warehouse.scope`), whatever a single touchpoint says.
"""

from collections.abc import Mapping, Sequence
from difflib import get_close_matches

import msgspec
import pandas as pd

from warehouse.answer import QuestionError

NONE_SAID = "(none)"
_OF_JOURNEYS = {"persona": "persona", "campaign": "campaign_first"}


class Breakdown(msgspec.Struct, frozen=True):
    """Fields, in the order of the columns; no fields: one row of all."""

    fields: tuple[str, ...]

    @classmethod
    def of(cls, by: Sequence[str], allowed: Sequence[str]) -> "Breakdown":
        """The fields asked for, each once. QuestionError for one that is not among the allowed ones."""
        for field in by:
            if field not in allowed:
                near = get_close_matches(field, allowed, n=1)
                remedy = f'Did you mean "{near[0]}"?' if near else f"It can be by {', '.join(allowed)}."
                raise QuestionError(f'a breakdown by "{field}" is not known here', remedy=remedy)
        return cls(tuple(dict.fromkeys(by)))

    def within(self, columns: Sequence[str]) -> bool:
        """Whether all its fields are among these."""
        return set(self.fields) <= set(columns)

    @property
    def keys(self) -> list[str]:
        """The names of its columns in SQL."""
        return [f"_{field}" for field in self.fields]

    def selected(self, other: Mapping[str, str] | None = None) -> list[str]:
        """SQL: each field as text under its key. `other`: how fields are said that are no columns."""
        named = {field: f"`{field}`" for field in self.fields} | {
            field: f"_of_journey.{column}" for field, column in _OF_JOURNEYS.items()
        }
        named |= other or {}
        return [
            f"if(toString({named[field]}) = '', '{NONE_SAID}', toString({named[field]})) as _{field}"
            for field in self.fields
        ]

    def source(self, view: str, where: str) -> str:
        """SQL after `from`: the rows of a view, with what their journey says where that is asked."""
        rows = f"(select * from {view} {where})"  # noqa: S608  a view of ours
        if not set(self.fields) & set(_OF_JOURNEYS):
            return rows
        columns = ", ".join(_OF_JOURNEYS.values())
        return f"{rows} as _row left any join (select journey_id, {columns} from journeys) as _of_journey using journey_id"  # noqa: E501, S608

    def named(self, frame: pd.DataFrame) -> pd.DataFrame:
        """The frame with the columns of the breakdown under the names of their fields, in front."""
        renamed = frame.rename(columns=dict(zip(self.keys, self.fields, strict=True)))
        return renamed[[*self.fields, *(name for name in renamed.columns if name not in self.fields)]]


def comma(*parts: Sequence[str]) -> str:
    """All the parts of a list in SQL, whichever are there."""
    return ", ".join(one for some in parts for one in some)


def grouped(keys: Sequence[str]) -> str:
    """`group by …`; empty for one row of all."""
    return f"group by {', '.join(keys)}" if keys else ""
