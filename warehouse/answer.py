"""An answer: a DataFrame that knows the SQL it came from and up to when it is true."""

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

import msgspec
import pandas as pd
from clickhouse_connect.cc_sqlalchemy.dialect import ClickHouseDialect
from clickhouse_connect.driver.binding import finalize_query
from sqlalchemy import CursorResult, Engine, Executable, Select, TextClause
from sqlalchemy.types import NullType

from models.errors import DesirelineError
from warehouse.basis import watermark

_dialect = ClickHouseDialect(paramstyle="pyformat")


class QuestionError(DesirelineError):
    """A question that cannot be answered as it was asked: an unknown name, an impossible window, an
    empty range.
    """


Intervals = Callable[[], Sequence[tuple[float, float]]]


class Measures(msgspec.Struct, frozen=True, kw_only=True):
    """What the columns of an answer measure, so that two answers can be set against each other.

    `keys` tell its rows apart; `counts` are numbers of independent happenings; of `rates` and `means` each is
    named with the columns of (successes, trials) and of (standard deviation, number); `intervals` are figures
    whose own intervals of 95 %, one per row, are worked out when they are asked for. How much `sums` over customers,
    and other `figures` of them, vary is found by leaving some out; `certain` is what was measured of one.
    """

    keys: tuple[str, ...] = ()
    counts: tuple[str, ...] = ()
    rates: Mapping[str, tuple[str, str]] = {}
    means: Mapping[str, tuple[str, str]] = {}
    intervals: Mapping[str, Intervals] = {}
    sums: tuple[str, ...] = ()
    figures: tuple[str, ...] = ()
    certain: tuple[str, ...] = ()

    @property
    def varying(self) -> tuple[str, ...]:
        """What varies as leaving out some customers shows."""
        return self.sums + self.figures


def beside(frame: pd.DataFrame, low: str, high: str) -> Intervals:
    """The intervals that stand in two columns."""
    return lambda: list(zip(frame[low], frame[high], strict=True))


class Parts(Mapping[str, Any]):
    """Parts of an answer, each made when it is first looked at: a frame takes longer than many a question."""

    def __init__(self, **making: Callable[[], Any]) -> None:
        self._making = making
        self._made: dict[str, Any] = {}

    def __getitem__(self, name: str) -> Any:
        if name not in self._made:
            self._made[name] = self._making[name]()
        return self._made[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._making)

    def __len__(self) -> int:
        return len(self._making)


class Answer(pd.DataFrame):
    """Rows of an analysis.

    `watermark`: event time up to which they are true, UTC; None: nothing has arrived yet. `parts`: what else
    belongs to the answer, by name: frames, or anything that JSON can say. `noun`: what its rows are, and
    the name that they have in JSON.
    """

    _metadata = ["_said", "watermark", "measures", "parts", "noun"]  # noqa: RUF012  # pandas wants a list here

    _said: str = ""
    watermark: datetime | None = None
    measures: Measures = Measures()
    parts: Mapping[str, Any] = {}  # read only
    noun: str = "rows"

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
    up_to = watermark(connection)
    with connection.connect() as asking:
        result = asking.execute(statement, values)
        names = list(result.keys())
        types = _types(question, result)
        rows = [tuple(row) for row in result]
    frame = pd.DataFrame(
        {name: _column([row[i] for row in rows], types[i]) for i, name in enumerate(names)}, columns=names
    )
    return answer(frame, said(question, values), up_to)


def _bound(value: Any) -> Any:
    """A value as it is bound: an instant as text with its milliseconds, which the driver would cut off."""
    if not isinstance(value, datetime):
        return value
    at = utc(value)
    return f"{at:%Y-%m-%d %H:%M:%S}.{at.microsecond // 1000:03}"


def said(question: Select[Any] | TextClause, values: Mapping[str, Any]) -> str:
    """The SQL of a question with its values, for reading."""
    compiled = question.compile(dialect=_dialect, compile_kwargs={"render_postcompile": True})
    written = {name: _bound(value) for name, value in compiled.params.items()} | dict(values)
    return str(finalize_query(str(compiled), written))


def answer(
    frame: pd.DataFrame,
    said: str,
    watermark: datetime | None,
    *,
    measures: Measures | None = None,
    parts: Mapping[str, Any] | None = None,
    noun: str = "rows",
) -> Answer:
    """Make an answer of a frame that was worked out from others."""
    made = Answer(frame)
    made._said = said
    made.watermark = watermark
    made.measures = measures or Measures()
    made.parts = parts or {}
    made.noun = noun
    return made


def _types(question: Select[Any] | TextClause, result: CursorResult[Any]) -> list[str]:
    """ClickHouse's types of the columns; '' where neither the answer nor the question says one."""
    said = [str(column[1] or "") for column in result.cursor.description] if result.cursor else []
    if isinstance(question, Select):
        # an answer without rows comes without types
        asked = [
            "" if isinstance(column.type, NullType) else str(column.type.compile(dialect=_dialect))
            for column in question.selected_columns
        ]
        return [a or b for a, b in zip(said, asked, strict=True)]
    return said


def _column(values: list[Any], type_: str) -> "pd.Series[Any]":
    """Values of one column: text str, whole numbers int64 (float64 where some are missing), instants UTC."""
    if type_.startswith(("DateTime", "Nullable(DateTime")):
        return pd.to_datetime(pd.Series(values, dtype=object), utc=True).astype("datetime64[ms, UTC]")
    if type_ in ("String", "LowCardinality(String)"):
        return pd.Series(values, dtype="str")
    if re.fullmatch(r"U?Int\d+|INTEGER", type_):
        return pd.Series(values, dtype="int64")
    if re.fullmatch(r"(Nullable\()?(U?Int|Float)\d+\)?|FLOAT", type_):
        return pd.Series(values, dtype="float64")
    return pd.Series(values) if values else pd.Series(values, dtype=object)


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
