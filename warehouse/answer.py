"""An answer: a DataFrame that knows the SQL it came from and up to when it is true."""

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

import pandas as pd
from clickhouse_connect.cc_sqlalchemy.dialect import ClickHouseDialect
from sqlalchemy import Engine, Executable, Select, TextClause, func, select

from models.errors import DesirelineError
from warehouse.schema import watermarks

_dialect = ClickHouseDialect()


class QuestionError(DesirelineError):
    """A question that cannot be answered as it was asked: an unknown name, an impossible window, an
    empty range.
    """


class Answer(pd.DataFrame):
    """Rows of an analysis. `watermark`: event time up to which they are true, UTC; None: nothing has
    arrived yet.
    """

    _metadata = ["_said", "watermark"]  # noqa: RUF012  # pandas wants a list here

    _said: str
    watermark: datetime | None

    @property
    def _constructor(self) -> type["Answer"]:
        return Answer

    def sql(self) -> str:
        """The SQL that was asked, parameters as `%(name)s`, for reading."""
        return self._said


def ask(
    connection: Engine, question: Select[Any] | TextClause, binds: Mapping[str, Any] | None = None
) -> Answer:
    """Put a question with bound values; instants come back with UTC as their zone."""
    statement: Executable = question
    with connection.connect() as asking:
        result = asking.execute(statement, dict(binds or {}))
        names = list(result.keys())
        rows = [tuple(row) for row in result]
        newest = asking.execute(select(func.min(watermarks.c.watermark))).scalar()
    frame = pd.DataFrame(
        {name: _column([row[i] for row in rows]) for i, name in enumerate(names)}, columns=names
    )
    return answer(frame, str(question.compile(dialect=_dialect)), newest)


def answer(frame: pd.DataFrame, said: str, watermark: datetime | None) -> Answer:
    """Make an answer of a frame that was worked out from others."""
    made = Answer(frame)
    made._said = said
    made.watermark = None if watermark is None or watermark.year == 1970 else watermark.astimezone(UTC)
    return made


def _column(values: list[Any]) -> Any:
    if values and any(isinstance(value, datetime) for value in values):
        return pd.to_datetime(pd.Series(values), utc=True)
    return values


def check_range(since: datetime | None, until: datetime | None) -> None:
    """QuestionError if nothing lies from `since` until before `until`."""
    if since is not None and until is not None and since >= until:
        raise QuestionError(
            f"the range from {since:%Y-%m-%d %H:%M} until before {until:%Y-%m-%d %H:%M} holds nothing",
            remedy="Let --to lie after --from.",
        )


def between(at: Any, since: datetime | None, until: datetime | None) -> list[Any]:
    """Conditions that an instant lies from `since` until before `until`. QuestionError if that is nowhere."""
    check_range(since, until)
    conditions = []
    if since is not None:
        conditions.append(at >= since)
    if until is not None:
        conditions.append(at < until)
    return conditions
