"""Files of touchpoints, sent through the collector's door: jsonl, csv, parquet, each also packed by gzip.

So they are spooled, judged, dead-lettered and counted as everyone's. They are marked as files: history does
not move the watermark; the clock record that follows the last one does.
"""

import csv
import gzip
import io
import time
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager, suppress
from datetime import date, datetime
from decimal import Decimal
from pathlib import Path
from typing import IO, Any, NamedTuple

import httpx
import msgspec

from ingest.instants import instant
from ingest.mapping import Columns, by_name
from ingest.rejection import NotTaken
from ingest.sources.canonical import FILE_REQUEST_HEADER
from models.errors import DesirelineError

ENDINGS = (".jsonl", ".ndjson", ".csv", ".parquet")
_TOGETHER = 500
_TOGETHER_BYTES = 1_000_000
_PATIENCE_S = 120.0
_RETRYABLE = (408, 429, 500, 502, 503, 504)

_encode = msgspec.json.Encoder(enc_hook=str).encode


class FileError(DesirelineError):
    """A file cannot be read, or the collector does not take it."""


class Loaded(msgspec.Struct):
    """What became of it. `until`: the latest event time, UTC ms."""

    rows: int = 0
    accepted: int = 0
    rejected: int = 0
    until: int | None = None


class Found(NamedTuple):
    """A row: its values, or the text that is none; and how many bytes of the file were read so far."""

    row: dict[str, Any] | str
    read_bytes: int


def load_files(
    paths: Sequence[Path],
    source: str,
    *,
    collector_url: str,
    write_key: str,
    columns: Columns | None = None,
    progress: Callable[[int, Loaded], None] = lambda read_bytes, loaded: None,
) -> Loaded:
    """Send the files, then the clock record. `progress` is told the bytes read of all files and the counts.

    `columns` None: the columns' own names. FileError, MappingError: a file cannot be opened, or has not a
    column that is mapped; nothing is sent then.
    """
    opened = [check(path, columns) for path in paths]
    loaded = Loaded()
    before = 0
    with httpx.Client(base_url=collector_url, auth=(write_key, ""), timeout=60) as door:
        for path, mapping in zip(paths, opened, strict=True):
            batch: list[bytes] = []
            size, first = 0, 1
            for number, found in enumerate(rows(path), start=1):
                record = _record(found.row, mapping, source, loaded)
                batch.append(record)
                size += len(record)
                if len(batch) >= _TOGETHER or size >= _TOGETHER_BYTES:
                    _send(door, batch, f"{path.name}:{first}", loaded)
                    progress(before + found.read_bytes, loaded)
                    batch, size, first = [], 0, number + 1
            if batch:
                _send(door, batch, f"{path.name}:{first}", loaded)
            before += path.stat().st_size
            progress(before, loaded)
        if loaded.until is not None:
            clock = {"schema": "clock/1", "at": loaded.until, "source": source}
            _post(door, _encode([clock]), {})
    return loaded


def check(path: Path, columns: Columns | None) -> Columns | None:
    """The mapping that applies to a file; None where rows are canonical records already."""
    names = column_names(path)
    if columns is not None:
        if names is not None:
            columns.check(names, where=str(path))
        return columns
    if names is None or "identifiers" in names:
        return None
    mapping = by_name(names)
    if not mapping.identifiers:
        raise FileError(
            "no column is called as an identifier is, so nobody would be found",
            where=str(path),
            remedy=f"Say with --map which columns are which; the file has {', '.join(names)}.",
        )
    return mapping


def column_names(path: Path) -> Collection[str] | None:
    """The columns of a file, for jsonl those of its first row; None for one without rows."""
    with _reading(path):
        if _ending(path) == ".parquet":
            from pyarrow import parquet

            return [str(name) for name in parquet.read_schema(path).names]
        if _ending(path) == ".csv":
            with _text(path) as (text, _):
                return next(csv.reader(text), None)
        for found in rows(path):
            return list(found.row) if isinstance(found.row, dict) else None
    return None


def rows(path: Path) -> Iterator[Found]:
    """The rows of a file. A line that is none is given as its text."""
    with _reading(path):
        ending = _ending(path)
        if ending == ".parquet":
            yield from _parquet_rows(path)
        elif ending == ".csv":
            yield from _csv_rows(path)
        else:
            yield from _json_rows(path)


@contextmanager
def _reading(path: Path) -> Iterator[None]:
    """FileError for whatever goes wrong while a file is read."""
    try:
        yield
    except (OSError, EOFError, UnicodeDecodeError, csv.Error) as error:  # pyarrow's errors are of these
        raise FileError(f"the file is not readable: {error}", where=str(path)) from error
    except ValueError as error:
        if not type(error).__module__.startswith("pyarrow"):
            raise
        raise FileError(f"the file is not readable: {error}", where=str(path)) from error


def _ending(path: Path) -> str:
    name = path.name.lower().removesuffix(".gz")
    ending = next((ending for ending in ENDINGS if name.endswith(ending)), None)
    if ending is None or (ending == ".parquet" and path.name.lower().endswith(".gz")):
        raise FileError(
            "what the file holds is not known by its name",
            where=str(path),
            remedy=f"It ends in {', '.join(ENDINGS)}.",
        )
    return ending


@contextmanager
def _text(path: Path) -> Iterator[tuple[IO[str], IO[bytes]]]:
    """The text, and the file that is read of the disk, which knows how far."""
    with path.open("rb") as raw:
        unpacked: Any = gzip.GzipFile(fileobj=raw) if path.name.lower().endswith(".gz") else raw
        with io.TextIOWrapper(unpacked, encoding="utf-8-sig", errors="surrogateescape", newline="") as text:
            yield text, raw


def _json_rows(path: Path) -> Iterator[Found]:
    decode = msgspec.json.Decoder().decode
    with _text(path) as (text, raw):
        for line in text:
            if not line.strip():
                continue
            row = None
            with suppress(msgspec.DecodeError, UnicodeEncodeError):
                row = decode(line)
            yield Found(row if isinstance(row, dict) else _shown(line.rstrip("\n")), raw.tell())


def _csv_rows(path: Path) -> Iterator[Found]:
    with _text(path) as (text, raw):
        reader = csv.reader(text)
        header = next(reader, [])
        for values in reader:
            if not values:
                continue
            line = ",".join(values)
            if len(values) != len(header) or _shown(line) != line:
                yield Found(_shown(line), raw.tell())
            else:
                yield Found(dict(zip(header, values, strict=True)), raw.tell())


def _shown(line: str) -> str:
    """A line whose bytes are not UTF-8, as far as it can be shown."""
    return line.encode(errors="surrogateescape").decode(errors="replace")


def _parquet_rows(path: Path) -> Iterator[Found]:
    from pyarrow import parquet

    file = parquet.ParquetFile(path)
    total, done = max(1, file.metadata.num_rows), 0
    size = path.stat().st_size
    for batch in file.iter_batches(batch_size=_TOGETHER):
        for row in batch.to_pylist():
            done += 1
            yield Found({name: _plain(value) for name, value in row.items()}, size * done // total)


def _plain(value: Any) -> Any:
    if isinstance(value, datetime | date):
        return value.isoformat()
    if isinstance(value, Decimal):
        return str(value)
    if isinstance(value, bytes):
        return value.decode(errors="replace")
    if isinstance(value, float) and value != value:
        return None
    return value


def _record(row: dict[str, Any] | str, mapping: Columns | None, source: str, loaded: Loaded) -> bytes:
    loaded.rows += 1
    if isinstance(row, str):
        return _encode(row[:100_000])
    record = mapping.record(row, source) if mapping is not None else {"source": source, **row}
    try:
        at = instant(record.get("occurred_at", record.get("at")), "occurred_at")
    except NotTaken:
        pass  # the collector says so, with the row
    else:
        loaded.until = max(at, loaded.until or at)
    return _encode(record)


def _send(door: httpx.Client, batch: list[bytes], place: str, loaded: Loaded) -> None:
    headers = {FILE_REQUEST_HEADER: place.encode("ascii", "replace").decode()}
    said = _post(door, b"[" + b",".join(batch) + b"]", headers)
    loaded.accepted += said.get("accepted", 0)
    # a batch of one row that is no JSON is answered 400, and dead-lettered all the same
    loaded.rejected += said.get("rejected", len(batch))


def _post(door: httpx.Client, body: bytes, headers: dict[str, str]) -> dict[str, Any]:
    deadline = time.monotonic() + _PATIENCE_S
    wait_s = 0.25
    while True:
        try:
            answer = door.post("/v1/touchpoints", content=body, headers=headers)
        except httpx.TransportError as error:
            problem = f"the collector does not answer: {error}"
        else:
            said: dict[str, Any] = answer.json() if answer.content else {}
            if answer.status_code == 200 or said.get("code") == "invalid_json":
                return said
            problem = f"the collector says {answer.status_code}: {said.get('message', answer.text[:200])}"
            if answer.status_code not in _RETRYABLE:
                raise FileError(problem, where=str(door.base_url))
        if time.monotonic() > deadline:
            raise FileError(
                problem,
                where=str(door.base_url),
                remedy="Is it running? Loading again changes nothing twice.",
            )
        time.sleep(wait_s)
        wait_s = min(2 * wait_s, 5.0)
