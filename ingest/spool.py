"""The spool: what was sent, on disk before it is answered.

A folder of segments, each named by the position of its first byte in the whole spool. An entry is framed
by its
length and CRC-32, so that what a crash cut off is found and taken away at the next start. Many requests
share one fdatasync: whoever comes while one runs is in the next.
"""

import itertools
import logging
import os
import queue
import struct
import threading
import time
import zlib
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from pathlib import Path
from typing import Any, NamedTuple

import msgspec

from models.errors import DesirelineError

log = logging.getLogger(__name__)

SEGMENT_BYTES = 64 * 1024 * 1024
_FRAME = struct.Struct("<II")
_SUFFIX = ".spool"
_POSITION = "published"
_MOST_TOGETHER = 512
_DAY_S = 86_400


class SpoolFull(DesirelineError):
    """The spool has reached its limit: senders are told to come later."""


class SpoolBroken(DesirelineError):
    """The spool cannot be written, or an entry in the middle of it cannot be read."""


class Delivered(msgspec.Struct, frozen=True, array_like=True):
    """One body as it came in: UTC ms, the route that took it, whose key it was, allowed headers, the bytes.

    `id` names it wherever something refers to it (`raw_ref`).
    """

    id: str
    received_at: int
    route: str
    source_instance: str
    headers: dict[str, str]
    body: bytes


class SpoolEntry(NamedTuple):
    """An entry and where it lies: `position` of its first byte, `end` of the next entry's."""

    position: int
    end: int
    delivered: Delivered


Committed = Callable[[int, int, Any], None]


class Spool:
    """Appends to the folder; one process at a time. `on_commit(position, end, carried)` is called in
    their order.
    """

    def __init__(self, folder: str, *, limit_bytes: int, on_commit: Committed = lambda *_: None) -> None:
        self.folder = Path(folder)
        self.folder.mkdir(parents=True, exist_ok=True)
        self._limit_bytes = limit_bytes
        self._on_commit = on_commit
        self._encode = msgspec.msgpack.Encoder().encode
        self._queue: queue.SimpleQueue[tuple[bytes, Any, Future[int]] | None] = queue.SimpleQueue()
        self.end = _mend(self.folder)
        self._first = min((base for base, _ in segments(self.folder)), default=self.end)
        self._file, self._base = self._open()
        self._thread = threading.Thread(target=self._write, name="spool", daemon=True)
        self._thread.start()

    @property
    def size_bytes(self) -> int:
        """What lies in the folder."""
        return self.end - self._first

    def append(self, delivered: Delivered, carried: Any = None) -> "Future[int]":
        """Write an entry; the future gives its position once it is on disk. SpoolFull at once if it is full.

        `carried` goes along to `on_commit`.
        """
        if self.size_bytes > self._limit_bytes:
            raise SpoolFull(
                "the spool is full", where=str(self.folder), remedy="Is the broker away? Free some disk."
            )
        future: Future[int] = Future()
        self._queue.put((self._encode(delivered), carried, future))
        return future

    def close(self) -> None:
        """Write what waits, and close."""
        self._queue.put(None)
        self._thread.join()
        self._file.close()

    def drop_before(self, position: int, *, older_than_days: float) -> None:
        """Delete segments that end before `position` and were last written longer ago than that."""
        found = segments(self.folder)
        for (_, path), (following, _) in itertools.pairwise(found):
            if following <= position and time.time() - path.stat().st_mtime > older_than_days * _DAY_S:
                path.unlink()
                self._first = following

    def _open(self) -> tuple[Any, int]:
        found = segments(self.folder)
        base = found[-1][0] if found else self.end
        if self.end - base >= SEGMENT_BYTES:
            base = self.end
        return open(self.folder / f"{base:020d}{_SUFFIX}", "ab", buffering=0), base

    def _write(self) -> None:
        while True:
            waiting = [self._queue.get()]
            while len(waiting) < _MOST_TOGETHER and not self._queue.empty():
                waiting.append(self._queue.get())
            together = [item for item in waiting if item is not None]
            if together:
                self._commit(together)
            if len(together) < len(waiting):
                return

    def _commit(self, together: list[tuple[bytes, Any, "Future[int]"]]) -> None:
        start = self.end
        frames = b"".join(
            part
            for payload, _, _ in together
            for part in (_FRAME.pack(len(payload), zlib.crc32(payload)), payload)
        )
        try:
            _write_all(self._file, frames)
            os.fdatasync(self._file.fileno())
        except OSError as error:
            # what may lie there in part is taken away, so that the next entry is found
            self._file.truncate(start - self._base)
            failure = SpoolBroken(f"the spool cannot be written: {error.strerror}", where=str(self.folder))
            for _, _, future in together:
                future.set_exception(failure)
            log.error("%s", failure)
            return
        at = start
        for payload, carried, future in together:
            end = at + _FRAME.size + len(payload)
            self._on_commit(at, end, carried)
            future.set_result(at)
            at = end
        self.end = at
        if at - self._base >= SEGMENT_BYTES:
            self._file.close()
            self._file, self._base = self._open()


def read_spool(folder: str | Path, from_position: int = 0) -> Iterator[SpoolEntry]:
    """The entries from a position on, to the end as it is now; another process may be appending.

    A position that was deleted already begins with the first entry that is left. SpoolBroken names an
    entry in the middle that does not fit its checksum; one at the very end is just being written.
    """
    decoder = msgspec.msgpack.Decoder(Delivered)
    found = segments(Path(folder))
    for index, (base, path) in enumerate(found):
        following = found[index + 1][0] if index + 1 < len(found) else None
        if following is not None and following <= from_position:
            continue
        with path.open("rb") as file:
            at = max(base, from_position)
            file.seek(at - base)
            while True:
                frame = file.read(_FRAME.size)
                payload = b""
                if len(frame) == _FRAME.size:
                    length, checksum = _FRAME.unpack(frame)
                    payload = file.read(length)
                if len(frame) < _FRAME.size or len(payload) < length or zlib.crc32(payload) != checksum:
                    if following is not None and at < following:
                        raise SpoolBroken(
                            f"the entry at {at} is damaged", where=str(path), remedy="Is the disk sound?"
                        )
                    break
                end = at + _FRAME.size + length
                yield SpoolEntry(at, end, decoder.decode(payload))
                at = end


def segments(folder: Path) -> list[tuple[int, Path]]:
    """The segments in order: position of the first byte, file."""
    return sorted((int(path.name.removesuffix(_SUFFIX)), path) for path in folder.glob(f"*{_SUFFIX}"))


def published_position(folder: str | Path) -> int:
    """Up to where everything was taken by the broker; 0 at the beginning."""
    try:
        return int((Path(folder) / _POSITION).read_text())
    except FileNotFoundError:
        return 0


def write_published_position(folder: str | Path, position: int) -> None:
    """Remember it. Losing the last ones means publishing some again, which changes nothing."""
    beside = Path(folder) / f"{_POSITION}.new"
    beside.write_text(str(position))
    beside.replace(Path(folder) / _POSITION)


def _mend(folder: Path) -> int:
    """Cut off what a crash left half written; the position where the next entry goes."""
    found = segments(folder)
    if not found:
        return published_position(folder)
    base, path = found[-1]
    end = base
    for entry in read_spool(folder, base):
        end = entry.end
    torn = path.stat().st_size - (end - base)
    if torn:
        log.warning(
            "the spool's last %d bytes were half written and never answered; they are taken away", torn
        )
        os.truncate(path, end - base)
    return end


def _write_all(file: Any, data: bytes) -> None:
    left = memoryview(data)
    while left:
        left = left[file.write(left) :]
