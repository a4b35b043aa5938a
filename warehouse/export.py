"""Rows of a view as a file, as they stand: for tools that are not ours."""

from collections.abc import Iterator, Sequence
from datetime import datetime
from difflib import get_close_matches
from pathlib import Path
from typing import BinaryIO, Literal, cast

from clickhouse_connect.driver.client import Client

from warehouse import views
from warehouse.answer import QuestionError, check_range, utc

FORMATS = {".csv": "CSVWithNames", ".parquet": "Parquet", ".jsonl": "JSONEachRow"}
_AT = {
    "touchpoints": "occurred_at",
    "journeys": "started_at",
    "attempts": "opened_at",
    "rejected_touchpoints": "received_at",
    "alerts": "opened_at",
}
_PIECE = 1 << 20


def exported() -> Sequence[str]:
    """The views that can be written."""
    return [view.table.name for view in views.VIEWS]


def pieces(
    client: Client,
    view: str,
    form: Literal[".csv", ".parquet", ".jsonl"],
    *,
    since: datetime | None = None,
    until: datetime | None = None,
) -> Iterator[bytes]:
    """The file, piece by piece; the engine writes it. The period is of the row's time (see `period_column`).

    QuestionError for an unknown view, or a period of a view whose rows have no time.
    """
    if view not in exported():
        near = get_close_matches(view, exported(), n=3)
        remedy = f"Did you mean {' or '.join(near)}?" if near else f"There are {', '.join(exported())}."
        raise QuestionError(f'there is no view "{view}"', remedy=remedy)
    check_range(since, until)
    conditions, values = [], {}
    if since is not None or until is not None:
        at = period_column(view)
        for name, operator, bound in (("since", ">=", since), ("until", "<", until)):
            if bound is not None:
                conditions.append(f"{at} {operator} {{{name}:DateTime64(3, 'UTC')}}")
                values[name] = utc(bound).replace(tzinfo=None).isoformat(sep=" ", timespec="milliseconds")
    where = f" where {' and '.join(conditions)}" if conditions else ""
    question = f"select * from {view}{where}"  # noqa: S608  a name of ours
    with cast(BinaryIO, client.raw_stream(question, parameters=values, fmt=FORMATS[form])) as stream:
        while piece := stream.read(_PIECE):
            yield piece


def period_column(view: str) -> str:
    """The column that a period of this view's rows is of. QuestionError where there is none."""
    columns = {column.name for view_ in views.VIEWS if view_.table.name == view for column in view_.table.c}
    for name in (_AT.get(view, "at"), "at", "minute", "day"):
        if name in columns:
            return name
    raise QuestionError(f'rows of "{view}" have no time', remedy="Leave --from and --to out.")


def form_of(path: Path) -> Literal[".csv", ".parquet", ".jsonl"]:
    """The format that a file's name asks for. QuestionError if none."""
    for form in FORMATS:
        if path.suffix.lower() == form:
            return form  # type: ignore[return-value]
    raise QuestionError(
        f'"{path.name}" does not say its format', remedy=f"End its name with one of {', '.join(FORMATS)}."
    )
