"""Content encodings that ClickHouse clients use over HTTP."""

import sys
import zlib
from collections.abc import Callable
from typing import Any, Protocol

import cramjam
import lz4.frame

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd


class Compressor(Protocol):
    """Takes pieces, gives what is ready; `finish` gives the rest."""

    def piece(self, data: bytes) -> bytes: ...
    def finish(self) -> bytes: ...


class _Cramjam:
    def __init__(self, module: object) -> None:
        self._compressor = module.Compressor()  # type: ignore[attr-defined]

    def piece(self, data: bytes) -> bytes:
        self._compressor.compress(data)
        return bytes(self._compressor.flush())

    def finish(self) -> bytes:
        return bytes(self._compressor.finish())


class _Deflate:
    def __init__(self) -> None:
        self._compressor = zlib.compressobj(level=1)

    def piece(self, data: bytes) -> bytes:
        return self._compressor.compress(data)

    def finish(self) -> bytes:
        return self._compressor.flush()


class _Lz4:
    """One frame per piece: readers of the format take frames one after another."""

    def piece(self, data: bytes) -> bytes:
        return bytes(lz4.frame.compress(data))

    def finish(self) -> bytes:
        return b""


_COMPRESSORS: dict[str, Callable[[], Compressor]] = {
    "zstd": lambda: _Cramjam(cramjam.zstd),
    "lz4": _Lz4,
    "gzip": lambda: _Cramjam(cramjam.gzip),
    "br": lambda: _Cramjam(cramjam.brotli),
    "deflate": _Deflate,
}


class _Frame(Protocol):
    """A decompressor of one frame: `eof` at its end, what comes after it is `unused_data`."""

    @property
    def eof(self) -> bool: ...
    @property
    def unused_data(self) -> bytes: ...
    def decompress(self, data: bytes, max_length: int, /) -> bytes: ...


def _frames(begin: Callable[[], Any]) -> Callable[[bytes, int], bytes]:
    """Of one frame or several: clients compress each block of an insert by itself."""

    def decompress(data: bytes, most: int) -> bytes:
        pieces, size = [], 0
        frame: _Frame | None = None
        # little by little, since what is left is copied at the end of every frame
        for at in range(0, len(data), _FED_AT_ONCE):
            left = data[at : at + _FED_AT_ONCE]
            while left:
                frame = frame or begin()
                pieces.append(frame.decompress(left, most - size + 1))
                size += len(pieces[-1])
                if size > most:
                    raise ValueError("it is too long")
                left = b""
                if frame.eof:
                    left, frame = frame.unused_data or b"", None
        if frame is not None:
            raise ValueError("it ends too early")
        return b"".join(pieces)

    return decompress


def _brotli(data: bytes, most: int) -> bytes:
    """Into room that is made larger until it is enough; its decompressor takes no pieces."""
    size = min(most, 16 * len(data) + 65_536)
    while True:
        room = bytearray(size)
        try:
            return bytes(memoryview(room)[: cramjam.brotli.decompress_into(data, room)])
        except cramjam.DecompressionError as error:
            if "whole buffer" not in str(error):
                raise
            if size == most:
                raise ValueError("it is too long") from error
            size = min(most, 8 * size)


_FED_AT_ONCE = 65_536
_DECOMPRESSORS: dict[str, Callable[[bytes, int], bytes]] = {
    "zstd": _frames(zstd.ZstdDecompressor),
    "lz4": _frames(lz4.frame.LZ4FrameDecompressor),
    "gzip": _frames(lambda: zlib.decompressobj(31)),
    "br": _brotli,
    "deflate": _frames(lambda: zlib.decompressobj(15)),
}


class UnknownEncoding(ValueError):
    """A body in an encoding that is not one of `zstd`, `lz4`, `gzip`, `br`, `deflate`."""


def decoded(data: bytes, encoding: str, most: int) -> bytes:
    """A whole body decompressed, at most `most` bytes. UnknownEncoding, a ValueError."""
    if encoding in ("", "identity"):
        return data
    if encoding not in _DECOMPRESSORS:
        raise UnknownEncoding(f"there is no encoding {encoding}")
    try:
        return _DECOMPRESSORS[encoding](data, most)
    except (
        RuntimeError,
        ValueError,
        EOFError,
        zlib.error,
        zstd.ZstdError,
        cramjam.DecompressionError,
    ) as error:
        raise ValueError(f"the body is no {encoding}: {error}") from error


def best(accepted: str) -> tuple[str, Callable[[], Compressor]] | None:
    """The first encoding of an Accept-Encoding header that we have; None: send it as it is."""
    for name in (part.split(";")[0].strip() for part in accepted.split(",")):
        if name in _COMPRESSORS:
            return name, _COMPRESSORS[name]
    return None
