"""The files of the spool: segments, in which entries are framed.

A segment is named by the position of its first byte in the whole spool. An entry is framed by its length, a CRC-32
and the position at which it was written. So what a crash cut off at the end, what a disk damaged, and what is gone
from the middle are told apart: where an entry vanished, the next one does not lie where it was written.
"""

import struct
import zlib
from pathlib import Path
from typing import IO, NamedTuple

SUFFIX = ".spool"
FRAME = struct.Struct("<IIQ")  # length of the payload, checksum, position
_LONGEST_ENTRY = 256 * 1024 * 1024


class Frame(NamedTuple):
    """An entry as it lies in a file: where it was written, where the one written after it begins, its bytes."""

    position: int
    end: int
    payload: bytes


def framed(position: int, payload: bytes) -> bytes:
    """The bytes of an entry that is written at a position of the spool."""
    return FRAME.pack(len(payload), _checksum(position, payload), position) + payload


def framed_size(payload: bytes) -> int:
    """How many bytes it takes in the file."""
    return FRAME.size + len(payload)


def next_frame(file: IO[bytes]) -> Frame | None:
    """The frame that begins here; None if it is not whole."""
    head = file.read(FRAME.size)
    if len(head) < FRAME.size:
        return None
    length, checksum, position = FRAME.unpack(head)
    if not 0 < length <= _LONGEST_ENTRY:  # a power cut may leave zeros, which would pass for an empty entry
        return None
    payload = file.read(length)
    if len(payload) < length or _checksum(position, payload) != checksum:
        return None
    return Frame(position, position + FRAME.size + length, payload)


def segments(folder: Path) -> list[tuple[int, Path]]:
    """The segments in order: position of the first byte, file."""
    return sorted((int(path.name.removesuffix(SUFFIX)), path) for path in folder.glob(f"*{SUFFIX}"))


def seek(file: IO[bytes], base: int, position: int) -> None:
    """Go to the entry that was written at `position`, or, where entries before it are gone, to the first one.

    `base`: the position of the segment's first byte.
    """
    file.seek(position - base)
    head = file.read(FRAME.size)
    lies_there = len(head) == FRAME.size and FRAME.unpack(head)[2] == position
    file.seek(position - base if lies_there else 0)


def _checksum(position: int, payload: bytes) -> int:
    return zlib.crc32(payload, zlib.crc32(position.to_bytes(8, "little")))
