"""The spool: what was sent, on disk before it is answered.

A folder of segments (`ingest.segments`). What a crash cut off is found and taken away at the next start; what is
gone from the middle is found by every reader. Many requests share one fdatasync: whoever comes while one runs is
in the next.
"""

import errno
import fcntl
import itertools
import logging
import os
import queue
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from pathlib import Path
from typing import IO, Any, NamedTuple

import msgspec

from ingest.segments import SUFFIX, framed, framed_size, next_frame, seek, segments
from models.errors import DesirelineError

log = logging.getLogger(__name__)

SEGMENT_BYTES = 64 * 1024 * 1024
_TORN = ".torn"
_POSITION = "published"
_NAME = "name"
_LOCK = "lock"
_MOST_TOGETHER = 512
_DAY_S = 86_400
_ROOM_AGAIN = 0.9  # of the limit: under pressure, segments go until the spool is below it
_LOOK_FOR_ROOM_S = 1.0


class SpoolFull(DesirelineError):
    """The spool has reached its limit: senders are told to come later."""


class SpoolBroken(DesirelineError):
    """The spool cannot be written, or entries in the middle of it are gone or cannot be read.

    `begin`, `resume_at`: what cannot be read lies from the one position to the other.
    """

    begin: int | None = None
    resume_at: int | None = None


class SpoolTaken(DesirelineError):
    """Another process writes to the spool."""


class Delivered(msgspec.Struct, frozen=True, array_like=True):
    """One body as it came in: UTC ms, the route that took it, whose key it was, allowed headers, the bytes.

    `id` names it wherever something refers to it (`raw_ref`), and begins with the name of its spool.
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
    """Appends to the folder; one process at a time, else SpoolTaken.

    `on_commit(position, end, carried)` is called in the order of the entries. `needed_from()`: the position
    from which on somebody may still read; what lies before it goes when room is needed.
    """

    def __init__(
        self,
        folder: str | Path,
        *,
        limit_bytes: int,
        on_commit: Committed = lambda *_: None,
        needed_from: Callable[[], int] = lambda: 0,
        segment_bytes: int = SEGMENT_BYTES,
    ) -> None:
        self.folder = Path(folder)
        self.folder.mkdir(parents=True, exist_ok=True)
        self._lock = _lock(self.folder)
        self._limit_bytes = limit_bytes
        self._segment_bytes = segment_bytes
        self._on_commit = on_commit
        self._needed_from = needed_from
        self._encode = msgspec.msgpack.Encoder().encode
        self._queue: queue.SimpleQueue[tuple[bytes, Any, Future[int]] | None] = queue.SimpleQueue()
        self._queued_bytes = 0
        self._counting = threading.Lock()
        self._looked_for_room_at = 0.0
        self.name = spool_name(self.folder) or _give_name(self.folder)
        self.end = _mend(self.folder)
        self.fault: str | None = None
        self._first = min((base for base, _ in segments(self.folder)), default=self.end)
        self._file, self._base = self._open()
        self._closed = False
        self._thread = threading.Thread(target=self._write, name="spool", daemon=True)
        self._thread.start()

    @property
    def size_bytes(self) -> int:
        """What lies in the folder, and what is on its way there."""
        return self.end - self._first + self._queued_bytes

    @property
    def full(self) -> bool:
        """Whether nothing more is taken until something was published."""
        return self.size_bytes > self._limit_bytes

    def append(self, delivered: Delivered, carried: Any = None) -> "Future[int]":
        """Write an entry; the future gives its position once it is on disk. SpoolFull at once if it is full.

        `carried` goes along to `on_commit`. The future fails with SpoolBroken if the disk does not take it.
        """
        if self._closed:
            raise SpoolFull("the spool is closing", where=str(self.folder))
        if self.full:
            self._make_room()
        if self.full:
            raise SpoolFull(
                "the spool is full", where=str(self.folder), remedy="Is the broker away? Free some disk."
            )
        future: Future[int] = Future()
        payload = self._encode(delivered)
        self._queued(len(payload))
        self._queue.put((payload, carried, future))
        return future

    def close(self) -> None:
        """Write what waits, and close."""
        self._closed = True
        self._queue.put(None)
        self._thread.join()
        self._file.close()
        self._lock.close()

    def drop_before(self, position: int, *, older_than_days: float) -> None:
        """Delete segments that end before `position` and were last written longer ago than that."""
        for path in self.folder.glob(f"*{_TORN}"):
            if _older(path, older_than_days * _DAY_S):
                path.unlink(missing_ok=True)
        for (_, path), (following, _) in itertools.pairwise(segments(self.folder)):
            if following > position or not _older(path, older_than_days * _DAY_S):
                return
            path.unlink(missing_ok=True)
            self._first = following

    def _make_room(self) -> None:
        """Delete the oldest segments that nobody needs, however young, until there is room again."""
        if time.monotonic() - self._looked_for_room_at < _LOOK_FOR_ROOM_S:
            return
        self._looked_for_room_at = time.monotonic()
        needed = self._needed_from()
        for (_, path), (following, _) in itertools.pairwise(segments(self.folder)):
            if following > needed or self.size_bytes <= self._limit_bytes * _ROOM_AGAIN:
                return
            path.unlink(missing_ok=True)
            self._first = following

    def _open(self) -> tuple[Any, int]:
        found = segments(self.folder)
        base = found[-1][0] if found else self.end
        # where entries are gone, positions and bytes agree no more: what follows goes into a file of its own
        whole = not found or found[-1][1].stat().st_size == self.end - base
        if not whole or self.end - base >= self._segment_bytes:
            base = self.end
        file = open(self.folder / f"{base:020d}{SUFFIX}", "ab", buffering=0)  # noqa: SIM115  kept open
        _sync_folder(self.folder)  # else a power cut may take the file with all that was answered
        return file, base

    def _write(self) -> None:
        while True:
            waiting = [self._queue.get()]
            while len(waiting) < _MOST_TOGETHER and not self._queue.empty():
                waiting.append(self._queue.get())
            together = [item for item in waiting if item is not None]
            if together:
                self._commit_or_fail(together)
            if len(together) < len(waiting):
                return

    def _commit_or_fail(self, together: list[tuple[bytes, Any, "Future[int]"]]) -> None:
        try:
            self._commit(together)
        except Exception as error:  # a thread that ends would leave everyone who comes waiting for ever
            log.exception("the spool failed by a fault of its own")
            for _, _, future in together:
                if not future.done():
                    future.set_exception(SpoolBroken(f"a fault of its own: {type(error).__name__}"))

    def _commit(self, together: list[tuple[bytes, Any, "Future[int]"]]) -> None:
        start = self.end
        positions = [start]
        for payload, _, _ in together:
            positions.append(positions[-1] + framed_size(payload))
        frames = b"".join(
            framed(position, payload) for position, (payload, _, _) in zip(positions, together, strict=False)
        )
        try:
            if self._file.closed:
                self._file, self._base = self._open()
            self._cut(start - self._base)
            _write_all(self._file, frames)
            os.fdatasync(self._file.fileno())
        except OSError as error:
            self._undo(start, error)
            self._queued(-sum(len(payload) for payload, _, _ in together))
            failure = SpoolBroken(f"the spool cannot be written: {error.strerror}", where=str(self.folder))
            for _, _, future in together:
                future.set_exception(failure)
            return
        if self.fault is not None:
            log.info("the spool can be written again")
            self.fault = None
        for (at, end), (_, carried, _) in zip(itertools.pairwise(positions), together, strict=True):
            self._on_commit(at, end, carried)
        self._queued(-sum(len(payload) for payload, _, _ in together))
        self.end = positions[-1]
        for (_, _, future), position in zip(together, positions, strict=False):
            future.set_result(position)
        if self.end - self._base >= self._segment_bytes:
            self._file.close()
            try:
                self._file, self._base = self._open()
            except OSError as error:  # tried again with the next entries
                log.error("no new segment of the spool can be begun: %s", error.strerror)

    def _queued(self, more_bytes: int) -> None:
        with self._counting:
            self._queued_bytes += more_bytes

    def _undo(self, start: int, error: OSError) -> None:
        """Take away what may lie there in part, so that the next entry is found."""
        if self.fault is None:
            log.error("the spool cannot be written: %s", error.strerror)
        self.fault = error.strerror or str(error)
        try:
            if not self._file.closed:
                self._cut(start - self._base)
        except OSError as again:  # tried again before the next entry is written
            log.error("what was written in part stays: %s", again.strerror)

    def _cut(self, size: int) -> None:
        """Bring the segment back to the size that it has by what was answered."""
        found = os.fstat(self._file.fileno()).st_size
        if found < size:
            raise OSError(errno.EIO, f"its last segment has lost {size - found} bytes")
        if found > size:
            self._file.truncate(size)


def read_spool(folder: str | Path, from_position: int = 0) -> Iterator[SpoolEntry]:
    """The entries from a position on, to the end as it is now; another process may be appending.

    A position that was deleted already begins with the first entry that is left. SpoolBroken names what is gone
    from the middle or does not fit its checksum, and where to resume; an entry at the very end is being written.
    """
    decoder = msgspec.msgpack.Decoder(Delivered)
    found = segments(Path(folder))
    for index, (base, path) in enumerate(found):
        following = found[index + 1][0] if index + 1 < len(found) else None
        if following is not None and following <= from_position:
            continue
        try:
            file = path.open("rb")
        except FileNotFoundError:  # deleted meanwhile
            continue
        with file:
            at = max(base, from_position)
            seek(file, base, at)
            while (frame := next_frame(file)) is not None:
                if frame.position < at:
                    continue
                if frame.position > at:
                    raise _broken("entries are gone", at, frame.position, path)
                try:
                    delivered = decoder.decode(frame.payload)
                except msgspec.DecodeError:
                    raise _broken("an entry is damaged", at, frame.end, path) from None
                yield SpoolEntry(at, frame.end, delivered)
                at = frame.end
            if following is not None and at < following:
                raise _broken("entries are damaged or gone", at, following, path)


def _broken(what: str, begin: int, resume_at: int, path: Path) -> SpoolBroken:
    broken = SpoolBroken(
        f"{what}: {resume_at - begin} bytes at position {begin}", where=str(path), remedy="Is the disk sound?"
    )
    broken.begin, broken.resume_at = begin, resume_at
    return broken


def spool_name(folder: str | Path) -> str | None:
    """Eight hexadecimal digits with which the id of all that was ever put into this spool begins; None: no spool."""
    try:
        return (Path(folder) / _NAME).read_text() or None
    except FileNotFoundError:
        return None


def _give_name(folder: Path) -> str:
    name = uuid.uuid4().hex[:8]
    _write_whole(folder / _NAME, name)
    return name


def _write_whole(file: Path, text: str) -> None:
    beside = file.with_suffix(".new")
    beside.write_text(text)
    beside.replace(file)


def published_position(folder: str | Path) -> int:
    """Up to where everything was taken by the broker; 0 at the beginning."""
    return position_in(Path(folder) / _POSITION)


def position_in(file: Path) -> int:
    """The position that is written in a file; 0 if there is none, which is always right, only slower."""
    try:
        return int(file.read_text())
    except (FileNotFoundError, ValueError):
        return 0


def write_published_position(folder: str | Path, position: int) -> None:
    """Remember it. Losing the last ones means publishing some again, which changes nothing."""
    _write_whole(Path(folder) / _POSITION, str(position))


def _mend(folder: Path) -> int:
    """Cut off what a crash left half written; the position where the next entry goes."""
    found = segments(folder)
    if not found:
        return published_position(folder)
    base, path = found[-1]
    end, whole = base, 0
    with path.open("rb") as file:
        while (frame := next_frame(file)) is not None:
            end, whole = frame.end, whole + framed_size(frame.payload)
    torn = path.stat().st_size - whole
    if torn:
        beside = folder / f"{end:020d}{_TORN}"
        log.warning(
            "the spool's last %d bytes are no whole entry, so they were never answered; they are moved to %s",
            torn,
            beside.name,
        )
        with path.open("rb") as file:
            file.seek(whole)
            beside.write_bytes(file.read())
        os.truncate(path, whole)
    # what was published was there: if it is gone, its place stays empty, so that it is missed
    return max(end, published_position(folder))


def _older(path: Path, seconds: float) -> bool:
    try:
        return time.time() - path.stat().st_mtime > seconds
    except FileNotFoundError:
        return True


def _write_all(file: Any, data: bytes) -> None:
    left = memoryview(data)
    while left:
        left = left[file.write(left) :]


def _sync_folder(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _lock(folder: Path) -> IO[bytes]:
    file = (folder / _LOCK).open("wb")
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        file.close()
        raise SpoolTaken(
            "another collector writes to this spool",
            where=str(folder),
            remedy="Give each one its own folder.",
        ) from None
    return file
