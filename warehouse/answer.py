"""An answer: a DataFrame that knows the SQL it came from and up to when it is true."""

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

import pandas as pd
from clickhouse_connect.cc_sqlalchemy.dialect import ClickHouseDialect
from clickhouse_connect.driver.binding import finalize_query
from sqlalchemy import Engine, Executable, Select, TextClause, func, select

from models.errors import DesirelineError
from warehouse.schema import watermarks

_dialect = ClickHouseDialect(paramstyle="pyformat")
# of one partition the greatest counts, whatever ClickHouse has merged so far
_of_partitions = select(func.max(watermarks.c.watermark).label("watermark")).group_by(watermarks.c.partition)
_WATERMARK = select(func.min(_of_partitions.subquery().c.watermark))


class QuestionError(DesirelineError):
    """A question that cannot be answered as it was asked: an unknown name, an impossible window, an
    empty range.
    """


class Answer(pd.DataFrame):
    """Rows of an analysis. `watermark`: event time up to which they are true, UTC; None: nothing has
    arrived yet.
    """

    _metadata = ["_said", "watermark"]  # noqa: RUF012  # pandas wants a list here

    _said: str = ""
    watermark: datetime | None = None

    @property
    def _constructor(self) -> type["Answer"]:
        return Answer

    def sql(self) -> str:
        """The SQL that was asked, with its values, for reading and for running by hand."""
        return self._said


def ask(
    connection: Engine, question: Select[Any] | TextClause, binds: Mapping[str, Any] | None = None
) -> Answer:
    """Put a question with bound values; instants come back with UTC as their zone."""
    values = {name: _bound(value) for name, value in (binds or {}).items()}
    statement: Executable = question
    # before the answer: what arrives in between makes it true for longer, never for less
    up_to = watermark(connection)
    with connection.connect() as asking:
        result = asking.execute(statement, values)
        names = list(result.keys())
        rows = [tuple(row) for row in result]
    frame = pd.DataFrame(
        {name: _column([row[i] for row in rows]) for i, name in enumerate(names)}, columns=names
    )
    return answer(frame, _said(question, values), up_to)


def watermark(connection: Engine) -> datetime | None:
    """Event time, UTC, up to which the touchpoints of all partitions have arrived; None: none have."""
    with connection.connect() as asking:
        at = asking.execute(_WATERMARK).scalar()
    return None if at is None or at.year == 1970 else at.astimezone(UTC)


def _bound(value: Any) -> Any:
    """A value as it is bound: an instant as text with its milliseconds, which the driver would cut off."""
    if not isinstance(value, datetime):
        return value
    at = utc(value)
    return f"{at:%Y-%m-%d %H:%M:%S}.{at.microsecond // 1000:03}"


def _said(question: Select[Any] | TextClause, values: Mapping[str, Any]) -> str:
    compiled = question.compile(dialect=_dialect, compile_kwargs={"render_postcompile": True})
    written = {name: _bound(value) for name, value in compiled.params.items()} | dict(values)
    return str(finalize_query(str(compiled), written))


def answer(frame: pd.DataFrame, said: str, watermark: datetime | None) -> Answer:
    """Make an answer of a frame that was worked out from others."""
    made = Answer(frame)
    made._said = said
    made.watermark = watermark
    return made


def _column(values: list[Any]) -> Any:
    if values and any(isinstance(value, datetime) for value in values):
        return pd.to_datetime(pd.Series(values), utc=True)
    return values


def utc(at: datetime) -> datetime:
    """The instant in UTC; without a zone it is meant so."""
    return at.astimezone(UTC) if at.tzinfo else at.replace(tzinfo=UTC)


def check_range(since: datetime | None, until: datetime | None) -> None:
    """QuestionError if nothing lies from `since` until before `until`."""
    if since is not None and until is not None and utc(since) >= utc(until):
        raise QuestionError(
            f"the range from {utc(since):%Y-%m-%d %H:%M} to {utc(until):%Y-%m-%d %H:%M} UTC holds nothing",
            remedy="Let its end lie after its beginning.",
        )


def between(at: Any, since: datetime | None, until: datetime | None) -> list[Any]:
    """Conditions that an instant lies from `since` until before `until`. QuestionError if that is nowhere."""
    check_range(since, until)
    conditions = []
    if since is not None:
        conditions.append(at >= utc(since))
    if until is not None:
        conditions.append(at < utc(until))
    return conditions
