"""Rows of files, whatever their form; sending them is tested with the whole pipeline."""

import gzip
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path

import pandas as pd
import pytest

from ingest.files import FileError, check, column_names, rows
from ingest.mapping import MappingError, read_mapping

ROWS = [{"type": "purchase", "email": "a@b.org"}, {"type": "refund", "email": "c@d.org"}]


def written(path: Path, text: str) -> Path:
    packed = gzip.compress(text.encode()) if path.name.endswith(".gz") else text.encode()
    path.write_bytes(packed)
    return path


CSV = "type,email\npurchase,a@b.org\nrefund,c@d.org\n"
JSONL = '{"type":"purchase","email":"a@b.org"}\n\n{"type":"refund","email":"c@d.org"}\n'


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("a.csv", CSV),
        ("a.csv.gz", CSV),
        ("a.jsonl", JSONL),
        ("a.ndjson.gz", JSONL),
        ("A.CSV", "\ufeff" + CSV),
    ],
)
def test_text_files_give_their_rows(name: str, text: str, tmp_path: Path) -> None:
    path = written(tmp_path / name, text)
    assert [found.row for found in rows(path)] == ROWS
    assert list(column_names(path) or ()) == ["type", "email"]


def test_a_parquet_file_gives_its_rows_with_times_and_amounts_as_texts(tmp_path: Path) -> None:
    path = tmp_path / "a.parquet"
    at = datetime(2026, 11, 2, 13, tzinfo=UTC)
    pd.DataFrame({"at": [at], "amount": [Decimal("1.50")], "nps": [float("nan")], "n": [7]}).to_parquet(path)
    (found,) = rows(path)
    assert found.row == {"at": "2026-11-02T13:00:00+00:00", "amount": "1.50", "nps": None, "n": 7}
    assert found.read_bytes == path.stat().st_size


def test_a_quoted_cell_may_hold_commas_and_lines(tmp_path: Path) -> None:
    path = written(tmp_path / "a.csv", 'text,email\n"one, two\nthree",a@b.org\n')
    assert [found.row for found in rows(path)] == [{"text": "one, two\nthree", "email": "a@b.org"}]


@pytest.mark.parametrize(
    ("name", "text", "broken"),
    [
        ("a.jsonl", '{"a": 1}\n{"a": \n{"a": 2}\n', '{"a": '),
        ("a.jsonl", "{}\n[1]\n{}\n", "[1]"),
        ("a.csv", "a\n1\n1,2\n3\n", "1,2"),
    ],
)
def test_a_broken_line_is_given_as_its_text_and_the_others_go_on(
    name: str, text: str, broken: str, tmp_path: Path
) -> None:
    given = [found.row for found in rows(written(tmp_path / name, text))]
    assert len(given) == 3
    assert given[1] == broken


@pytest.mark.parametrize(
    ("name", "content"),
    [("a.csv", b"a\n1\nZ\xfcrich\n3\n"), ("a.jsonl", b'{"a": 1}\n{"a": "Z\xfcrich"}\n{"a": 3}\n')],
)
def test_a_row_that_is_no_utf8_is_given_as_its_text_and_the_others_go_on(
    name: str, content: bytes, tmp_path: Path
) -> None:
    path = tmp_path / name
    path.write_bytes(content)
    given = [found.row for found in rows(path)]
    assert [type(row) for row in given] == [dict, str, dict]
    assert "Z\ufffdrich" in given[1]


UNREADABLE = {
    "an unknown ending": ("a.xlsx", b"", "It ends in"),
    "no gzip": ("a.csv.gz", b"type,email\n", "not readable"),
    "gzip that is cut off": ("a.jsonl.gz", gzip.compress(b'{"a": 1}\n' * 1000)[:-20], "not readable"),
    "no parquet": ("a.parquet", b"nothing", "not readable"),
}  # fmt: skip


@pytest.mark.parametrize(("name", "content", "said"), UNREADABLE.values(), ids=UNREADABLE.keys())
def test_a_file_that_cannot_be_read_is_named(name: str, content: bytes, said: str, tmp_path: Path) -> None:
    path = tmp_path / name
    path.write_bytes(content)
    with pytest.raises(FileError, match=said) as raised:
        list(rows(path))
    assert str(raised.value).startswith(str(path))


def test_a_file_in_which_nobody_would_be_found_is_refused_before_anything_is_sent(tmp_path: Path) -> None:
    with pytest.raises(FileError, match="--map"):
        check(written(tmp_path / "a.csv", "type,mail\n"), None)


def test_a_mapping_is_checked_against_the_file_before_anything_is_sent(tmp_path: Path) -> None:
    mapping = read_mapping("identifiers: {email: mial}", where="m")
    with pytest.raises(MappingError, match='Did you mean "mail"'):
        check(written(tmp_path / "a.csv", "type,mail\n"), mapping)
