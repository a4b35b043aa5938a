"""How an answer is shown: a table that loses nothing, JSON that stays the same, CSV."""

import re
import sys
import textwrap
from collections.abc import Collection, Mapping, Sequence
from datetime import datetime
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO

import msgspec
from rich import box, filesize
from rich.console import Console
from rich.table import Column, Table

from models.errors import DesirelineError

if TYPE_CHECKING:
    import pandas as pd

    from warehouse.answer import Answer

WIDTH = 100
_WORD = 24  # a longer word may be broken
_BROKEN_WORD = 8  # where there is little room, any longer word may be
_COLUMN = 60  # longer texts go on in the next line
_WORDS = re.compile(r"[^ \n]+")
_PART = re.compile(r"[^_/:.-]*[_/:.-]|[^_/:.-]+")
_INTERVAL = "95\N{NO-BREAK SPACE}%"
_DURATIONS = ("_s", "_ms")
_OF_A_COUNT = ("a", "b", "difference")
_OF_A_MEASURE = (*_OF_A_COUNT, "lo", "hi")
_PART_ROWS = 20


class OutputError(DesirelineError):
    """An answer cannot be written where it was to go."""


class Format(StrEnum):
    """How an answer is written."""

    table = "table"
    json = "json"
    csv = "csv"
    parquet = "parquet"


def show(
    answer: "pd.DataFrame",
    format: Format,
    *,
    title: str | None = None,
    hidden: Collection[str] = (),
    to: TextIO | None = None,
) -> None:
    """Write the answer to `to` (stdout when None); a table leaves out the `hidden` columns.

    JSON is an array of objects, one per row, keys in the order of the columns; instants are ISO 8601 in UTC,
    numbers numbers, missing values null. CSV is the same with a header line, lists as JSON. A table is for
    people: rates in per cent, durations in their nearest unit, and the watermark up to which it is true.
    """
    out = to or sys.stdout
    if format is Format.json:
        out.write(as_json(records(answer)))
    elif format is Format.csv:
        _flat(answer).to_csv(out, index=False, lineterminator="\n")
    else:
        page = console(out)
        shown = table(answer, page.width, title=title, hidden=hidden)
        page.width = max(page.width, shown.min_width or 0)
        page.print(shown, crop=False)
        if watermark := getattr(answer, "watermark", None):
            page.print(f"true until {cell('', watermark)} UTC", style="dim")


def show_answer(
    answer: "Answer",
    format: Format,
    *,
    hidden: Collection[str] = (),
    output: Path | None = None,
) -> None:
    """Write an answer and what belongs to it, to the terminal or into a file.

    JSON is what HTTP answers, too. CSV and Parquet are the rows alone. A table shows the parts below the
    rows, the first of them where there are many. OutputError if the file cannot be written.
    """
    if format is Format.parquet and output is None:
        raise OutputError("a Parquet file is nothing for a terminal", remedy="Give it a name with --output.")
    if output is not None:
        _write(answer, format, output)
    elif format is Format.table:
        show(answer, format, hidden=hidden)
        for name, part in answer.parts.items():
            _show_part(name, part, hidden)
    else:
        _write_text(answer, format, sys.stdout)


def _write(answer: "Answer", format: Format, output: Path) -> None:
    kinds = {".csv": Format.csv, ".parquet": Format.parquet, ".json": Format.json}
    chosen = kinds.get(output.suffix.lower(), format)
    if chosen is Format.table:
        raise OutputError(
            f'"{output.name}" does not say what it is to hold',
            remedy="End its name with .csv, .parquet or .json.",
        )
    try:
        if chosen is Format.parquet:
            answer.to_parquet(output, index=False)
        else:
            with output.open("w", encoding="utf-8", newline="") as file:
                _write_text(answer, chosen, file)
    except OSError as error:
        raise OutputError(str(error.strerror), where=str(output), remedy="Choose another place.") from error


def _write_text(answer: "Answer", format: Format, to: TextIO) -> None:
    if format is Format.csv:
        _flat(answer).to_csv(to, index=False, lineterminator="\n")
        return
    from warehouse.plain import document, plain

    to.write(as_json(plain(document(answer))))


def _show_part(name: str, part: Any, hidden: Collection[str]) -> None:
    title = name.replace("_", " ")
    if isinstance(part, Mapping) and not any(isinstance(value, Mapping | list) for value in part.values()):
        show_record(part, Format.table, title=title)
    elif hasattr(part, "columns") and len(part):
        first = part.head(_PART_ROWS)
        show(first.drop(columns="watermark", errors="ignore"), Format.table, title=title, hidden=hidden)
        if len(part) > len(first):
            console().print(f"and {len(part) - len(first):,} more; --format json has all", style="dim")


def show_record(record: Mapping[str, Any], format: Format, *, title: str | None = None) -> None:
    """Write one thing that has named values: a table of two columns, or one JSON object."""
    if format is Format.json:
        sys.stdout.write(as_json(_plain(record)))
    elif format is Format.csv:
        import pandas as pd

        show(pd.DataFrame([record]), format)
    else:
        rows = _grid(title)
        rows.add_column()
        rows.add_column(overflow="fold")
        for key, value in record.items():
            rows.add_row(_header(key), cell(key, value))
        rows.show_header = False
        console().print(rows)


def console(to: TextIO | None = None) -> Console:
    """A console for people: as wide as the terminal; piped, of a hundred columns."""
    made = Console(file=to or sys.stdout, highlight=False)
    return made if made.is_terminal else Console(file=made.file, width=WIDTH, highlight=False)


def as_json(value: Any) -> str:
    """JSON with two spaces and a line feed at the end."""
    return msgspec.json.format(msgspec.json.encode(value), indent=2).decode() + "\n"


def records(answer: "pd.DataFrame") -> list[dict[str, Any]]:
    """One mapping per row, of what JSON can say."""
    from warehouse.plain import records as plain_records

    return plain_records(answer)


class _Column:
    """A column of a table as people read it; numbers stand right, and are never cut."""

    def __init__(self, header: str, cells: list[str], *, right: bool) -> None:
        self._header = header
        self._cells = cells
        self._right = right
        self._words = {
            word for text in ((header,) if right else (header, *cells)) for word in _WORDS.findall(text)
        }
        self._widest = max((len(line) for text in cells for line in text.splitlines()), default=0)

    def least(self, longest: int) -> int:
        """The width that it needs where words of up to `longest` characters are kept whole."""
        if self._right:
            return max([self._widest, *map(len, self._words)])
        pieces = (piece for word in self._words for piece in _broken(word, longest))
        return min(max(map(len, pieces), default=0), longest)

    @property
    def wished(self) -> int:
        """The width that it would have if there were room."""
        return min(max([self._widest, *map(len, _WORDS.findall(self._header))]), _COLUMN)

    def heading(self, width: int) -> Column:
        """Its heading, and how it is drawn."""
        return Column(
            "\n".join(textwrap.wrap(self._header, max(width, self.wished))),
            justify="right" if self._right else "left",
            no_wrap=self._right,
            width=width,
            overflow="fold",
            vertical="top",
        )

    def lines(self, longest: int) -> list[str]:
        """Its cells; where there is little room, a long name goes on in the next line, behind one of its parts."""
        if self._right or longest == _WORD:
            return self._cells
        return [_WORDS.sub(lambda word: "\n".join(_broken(word[0], longest)), text) for text in self._cells]


def table(
    answer: "pd.DataFrame", width: int, *, title: str | None = None, hidden: Collection[str] = ()
) -> Table:
    """The answer for a person's eyes, without `hidden` columns, drawn closer together until it fits into `width`. No
    other column is left out: a terminal wraps the lines if it must.
    """
    columns = _columns(answer, hidden)
    longest, padding = _WORD, 1
    if _needed(columns, longest, padding) > width:
        padding = 0
    while _needed(columns, longest, padding) > width and longest > _BROKEN_WORD:
        longest -= 1
    widths = _widths(columns, longest, padding, width)
    headings = (column.heading(its) for column, its in zip(columns, widths, strict=True))
    made = _grid(title, *headings, padding=padding)
    for row in zip(*(column.lines(longest) for column in columns), strict=True):
        made.add_row(*row)
    if (needed := _needed(columns, longest, padding)) > width:
        made.min_width = needed
    if answer.empty:
        made.caption = "nothing"
    return made


def _needed(columns: Sequence[_Column], longest: int, padding: int) -> int:
    """The least width in which every column has its own: edges, and what stands between columns, included."""
    return sum(column.least(longest) + 1 + padding for column in columns) + 1


def _widths(columns: Sequence[_Column], longest: int, padding: int, width: int) -> list[int]:
    """Of each column what it needs, and a share of the room that is left: the more, the more it lacks."""
    least = [column.least(longest) for column in columns]
    lacking = [max(0, column.wished - needed) for column, needed in zip(columns, least, strict=True)]
    room = min(max(0, width - _needed(columns, longest, padding)), sum(lacking))
    return [needed + lack * room // (sum(lacking) or 1) for needed, lack in zip(least, lacking, strict=True)]


def _columns(answer: "pd.DataFrame", hidden: Collection[str]) -> list[_Column]:
    """Those that are shown: `lo` and `hi` are one."""
    cells = {str(name): _cells(answer, str(name)) for name in answer.columns if name not in hidden}
    highs = cells.pop("hi") if "lo" in cells and "hi" in cells else None
    columns = []
    for name, texts in cells.items():
        if name == "lo" and highs is not None:
            bounds = [f"{low} – {high}" for low, high in zip(texts, highs, strict=True)]
            columns.append(_Column(_INTERVAL, bounds, right=True))
        else:
            right = answer[name].dtype.kind in "iuf" or name.endswith(_DURATIONS)
            columns.append(_Column(_header(name), texts, right=right))
    return columns


def _broken(word: str, longest: int) -> list[str]:
    """The word; if it is too long, in pieces that end where a name or an address has parts."""
    if len(word) <= longest:
        return [word]
    pieces = [""]
    for part in _PART.findall(word):
        if len(pieces[-1]) + len(part) <= longest:
            pieces[-1] += part
        else:
            pieces.append(part)
    return [piece for piece in pieces if piece]


def _cells(answer: "pd.DataFrame", name: str) -> list[str]:
    """A column as a person reads it. Of two that were compared each row is in the unit of what it measures."""
    if name not in _OF_A_MEASURE or "measure" not in answer:
        return [cell(name, value) for value in answer[name]]
    compared = getattr(answer, "parts", {}).get("a")
    counts = compared.measures.counts if compared is not None and name in _OF_A_COUNT else ()
    values = zip(answer["measure"], answer[name], strict=True)
    return [cell(measure, int(value) if measure in counts else value) for measure, value in values]


def cell(name: str, value: Any) -> str:
    """One value as a person reads it; the name says the unit."""
    if isinstance(value, datetime) and value == value:  # NaT is unlike itself
        return f"{value:%Y-%m-%d %H:%M:%S}"
    value = _plain(value)
    if value is None:
        return "–"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int | float) and name.endswith("_s"):
        return duration(value)
    if isinstance(value, int | float) and name.endswith("_ms"):
        return duration(value / 1000)
    if isinstance(value, float) and (
        name.split("_")[0] in ("rate", "share") or name.endswith(("_rate", "_share")) or name in ("lo", "hi")
    ):
        return f"{value:.1%}"
    if isinstance(value, int) and name.endswith("bytes"):
        return filesize.decimal(value)
    if isinstance(value, int):
        return f"{value:,}"
    if isinstance(value, float):
        return f"{value:,.2f}"
    if isinstance(value, Mapping):
        return "\n".join(f"{key} {item}" for key, item in value.items())
    if isinstance(value, Sequence) and not isinstance(value, str):
        return ", ".join(map(str, value))
    return str(value)


def duration(seconds: float) -> str:
    """Seconds in the two nearest units: 42 s, 5 min 3 s, 2 h 10 min, 3 d 4 h."""
    sign, left = ("−", -seconds) if seconds < 0 else ("", seconds)
    if left < 1:
        return f"{sign}{left * 1000:.0f} ms"
    if left < 60:
        return f"{sign}{left:.3g} s"
    left = round(left)
    units = (("d", 86_400), ("h", 3_600), ("min", 60), ("s", 1))
    for position, (unit, size) in enumerate(units):
        if left >= size:
            count, rest = divmod(left, size)
            smaller, smaller_size = units[position + 1] if position + 1 < len(units) else ("", 1)
            more = rest // smaller_size if smaller else 0
            return f"{sign}{count} {unit}" + (f" {more} {smaller}" if more else "")
    return f"{sign}{left:.0f} s"


def _grid(title: str | None, *columns: Column, padding: int = 1) -> Table:
    return Table(
        *columns,
        title=title,
        title_justify="left",
        title_style="bold",
        box=box.SIMPLE_HEAD,
        pad_edge=False,
        header_style="bold",
        padding=(0, padding, 0, 0),
    )


def _header(name: str) -> str:
    return name.removesuffix("_s").removesuffix("_ms").replace("_", " ")


def _flat(answer: "pd.DataFrame") -> "pd.DataFrame":
    from warehouse.plain import flat

    return flat(answer)


def _plain(value: Any) -> Any:
    # only here: it takes a while to import, and help and errors do without
    from warehouse.plain import plain

    return plain(value)
