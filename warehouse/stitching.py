"""Pieces of an answer made one: chDB gives each piece of a streamed answer as if it were a whole one.

Formats that are rows alone can follow each other; those with a header line begin with it in every piece. All
other formats have an end, too (JSON, Parquet, Arrow …), and cannot be streamed so.
"""

from collections.abc import Callable, Iterator

_ROWS_ALONE = frozenset(
    [
        "Native",
        "RowBinary",
        "TabSeparated",
        "TSV",
        "TabSeparatedRaw",
        "TSVRaw",
        "Raw",
        "CSV",
        "JSONEachRow",
        "JSONCompactEachRow",
        "JSONStringsEachRow",
        "JSONCompactStringsEachRow",
        "JSONLines",
        "NDJSON",
        "LineAsString",
        "RawBLOB",
    ]
)


def _lines(count: int) -> Callable[[bytes], int]:
    """Their names escape line ends."""

    def length(piece: bytes) -> int:
        end = 0
        for _ in range(count):
            end = piece.index(b"\n", end) + 1
        return end

    return length


def _csv_lines(count: int) -> Callable[[bytes], int]:
    """Their names are quoted, and a quote within is doubled, so that quotes up to a line's end are even."""

    def length(piece: bytes) -> int:
        end, seen = 0, 0
        while seen < count:
            end = piece.index(b"\n", end) + 1
            seen += piece.count(b'"', 0, end) % 2 == 0
        return end

    return length


def _binary(texts_per_column: int) -> Callable[[bytes], int]:
    """The number of columns, then their names, and their types where they are said."""

    def length(piece: bytes) -> int:
        columns, end = _varint(piece, 0)
        for _ in range(columns * texts_per_column):
            size, end = _varint(piece, end)
            end += size
        return end

    return length


def _varint(data: bytes, at: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        byte = data[at]
        at += 1
        value |= (byte & 0x7F) << shift
        shift += 7
        if byte < 0x80:
            return value, at


_HEADERS: dict[str, Callable[[bytes], int]] = {
    "CSVWithNames": _csv_lines(1),
    "CSVWithNamesAndTypes": _csv_lines(2),
    "RowBinaryWithNames": _binary(1),
    "RowBinaryWithNamesAndTypes": _binary(2),
    **{
        f"{form}{names}": _lines(lines)
        for form in (
            "TabSeparated",
            "TSV",
            "TabSeparatedRaw",
            "TSVRaw",
            "JSONCompactEachRow",
            "JSONCompactStringsEachRow",
        )
        for names, lines in (("WithNames", 1), ("WithNamesAndTypes", 2))
    },
}


def streams(form: str) -> bool:
    """Whether pieces of this format can be made one."""
    return form in _ROWS_ALONE or form in _HEADERS


def has_header(form: str) -> bool:
    """Whether an answer without rows is more than nothing."""
    return form in _HEADERS


def stitched(form: str, pieces: Iterator[bytes]) -> Iterator[bytes]:
    """The pieces as one answer: one header, then all rows."""
    header = _HEADERS.get(form)
    first = True
    for piece in pieces:
        yield piece if first or header is None else piece[header(piece) :]
        first = False
