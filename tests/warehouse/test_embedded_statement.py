"""Where the data of an INSERT begin, which FORMAT was said, that it is one statement; pieces made one answer."""

import pytest

from warehouse.refusals import EngineError
from warehouse.statement import read
from warehouse.stitching import stitched

INSERTS = {
    # the rule                            query argument, body, statement with the file, data
    "data begin after the format's line end": (
        "",
        b"INSERT INTO t (a) FORMAT Native\n\x01\n\x02",
        "INSERT INTO t (a) FROM INFILE 'p' COMPRESSION 'none' FORMAT Native",
        b"\x01\n\x02",
    ),
    "the statement may be the argument": (
        "INSERT INTO t FORMAT CSV",
        b"1\n",
        "INSERT INTO t FROM INFILE 'p' COMPRESSION 'none' FORMAT CSV",
        b"1\n",
    ),
    "its beginning may be the argument": (
        "INSERT INTO t",
        b"FORMAT CSV\n1",
        "INSERT INTO t FROM INFILE 'p' COMPRESSION 'none' FORMAT CSV",
        b"1",
    ),
    "values are a format, too": (
        "",
        b"insert into t values (1), ('; drop')",
        "insert into t FROM INFILE 'p' COMPRESSION 'none' FORMAT Values",
        b" (1), ('; drop')",
    ),
    "settings stay before the format": (
        "",
        b"INSERT INTO t SETTINGS a = 1, b = 'x' FORMAT JSONEachRow {}",
        "INSERT INTO t FROM INFILE 'p' COMPRESSION 'none' SETTINGS a = 1, b = 'x' FORMAT JSONEachRow",
        b"{}",
    ),
    "names may be words of the language": (
        "",
        b"INSERT INTO format.values (`format`, \"values\", settings) -- FORMAT x\nFORMAT TSV\n1",
        "INSERT INTO format.values (`format`, \"values\", settings) -- FORMAT x\n"
        " FROM INFILE 'p' COMPRESSION 'none' FORMAT TSV",
        b"1",
    ),
    "what input() reads is the file": (
        "",
        b"INSERT INTO t SELECT \xc3\xa9, f(a) FROM input('a String, \xc3\xa9 Int8') WHERE a != ')' FORMAT CSV\nx",
        "INSERT INTO t SELECT é, f(a) FROM file('p', 'CSV', 'a String, é Int8') WHERE a != ')'",
        b"x",
    ),
}  # fmt: skip


@pytest.mark.parametrize(("argument", "body", "statement", "data"), INSERTS.values(), ids=INSERTS.keys())
def test_data_of_an_insert(argument: str, body: bytes, statement: str, data: bytes) -> None:
    inserted = read(argument, body).data
    assert inserted is not None
    assert " ".join(inserted.statement_from("p").split(" ")).split() == statement.split()
    assert bytes(inserted.data) == data


@pytest.mark.parametrize(
    "text",
    ["INSERT INTO t SELECT * FROM values", "INSERT INTO t (SELECT 1)", "INSERT INTO t SELECT 1 FORMAT Null"],
)
def test_an_insert_of_a_query_has_no_data(text: str) -> None:
    assert read("", text.encode()).data is None


FORMATS = {
    "the last word says it": ("SELECT 1 FORMAT JSON", "JSON"),
    "before settings": ("SELECT 1 format CSV SETTINGS a = 1", "CSV"),
    "not in a comment": ("SELECT 1 -- FORMAT CSV", ""),
    "beside names with dollars": ("SELECT a$b$c, d$b$e FORMAT CSV", "CSV"),
    "behind a comment": ("SELECT 1 /* x */ FORMAT /* y */ TSV -- z", "TSV"),
    "not in a text": ("SELECT 'a FORMAT CSV'", ""),
    "not in brackets": ("SELECT format(CSV, 'a')", ""),
    "before a semicolon": ("SELECT $$ FORMAT JSON; $$ FORMAT CSV ; ", "CSV"),
}


@pytest.mark.parametrize(("text", "form"), FORMATS.values(), ids=FORMATS.keys())
def test_format_of_the_answer(text: str, form: str) -> None:
    assert read("", text.encode()).form == form


REFUSED = {
    "two statements": "SELECT 1; SELECT 2",
    "two statements, one hidden": "SELECT ';' /* ; */; DROP TABLE t",
    "nothing": " -- nothing\n",
    "a file of the server's": "INSERT INTO t FROM INFILE '/etc/passwd' FORMAT CSV",
    "an answer to a file": "SELECT 1 INTO /* */ OUTFILE 'x'",
    # each of them would have to be looked for to the very end
    "texts that are not closed": "SELECT " + "\\'" * 200_000,
    "names that are not closed": 'SELECT "' + '\\"' * 200_000,
    "comments that are not closed": "SELECT " + "/*" * 200_000,
    "documents that are not closed": "SELECT " + " ".join(f"$a{n}$" for n in range(100_000)),
}


@pytest.mark.parametrize("text", REFUSED.values(), ids=REFUSED.keys())
def test_what_is_no_single_statement_for_http(text: str) -> None:
    with pytest.raises(EngineError):
        read("", text.encode())


PIECES = {
    "rows alone follow each other": ("CSV", [b"1\n", b"2\n"], b"1\n2\n"),
    "a header line comes once": ("TSVWithNames", [b"a\n1\n", b"a\n2\n"], b"a\n1\n2\n"),
    "and types": ("JSONCompactEachRowWithNamesAndTypes", [b'["a"]\n["Int8"]\n[1]\n', b'["a"]\n["Int8"]\n[2]\n'],
                  b'["a"]\n["Int8"]\n[1]\n[2]\n'),
    "a name may hold a line end": ("CSVWithNames", [b'"a\nb","c"\n1,2\n', b'"a\nb","c"\n3,4\n'],
                                   b'"a\nb","c"\n1,2\n3,4\n'),
    "a binary header": ("RowBinaryWithNamesAndTypes", [b"\x01\x01a\x05UInt8\x07", b"\x01\x01a\x05UInt8\x08"],
                        b"\x01\x01a\x05UInt8\x07\x08"),
}  # fmt: skip


@pytest.mark.parametrize(("form", "pieces", "whole"), PIECES.values(), ids=PIECES.keys())
def test_pieces_are_one_answer(form: str, pieces: list[bytes], whole: bytes) -> None:
    assert b"".join(stitched(form, iter(pieces))) == whole
