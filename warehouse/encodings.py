"""Content encodings that ClickHouse clients use over HTTP."""

import zlib
from collections.abc import Callable
from typing import Any, Protocol

import cramjam
import lz4.frame


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


def _lz4(data: bytes, most: int) -> bytes:
    pieces, size = [], 0
    while data:
        decompressor = lz4.frame.LZ4FrameDecompressor()
        pieces.append(decompressor.decompress(data, max_length=most - size))
        size += len(pieces[-1])
        if not decompressor.eof:
            raise ValueError("it ends too early, or is too long")
        data = decompressor.unused_data or b""
    return b"".join(pieces)


def _zlib(wbits: int) -> Callable[[bytes, int], bytes]:
    def decompress(data: bytes, most: int) -> bytes:
        pieces, size = [], 0
        while data:
            decompressor = zlib.decompressobj(wbits)
            pieces.append(decompressor.decompress(data, most - size))
            size += len(pieces[-1])
            if not decompressor.eof:
                raise ValueError("it ends too early, or is too long")
            data = decompressor.unused_data
        return b"".join(pieces)

    return decompress


def _cramjam(module: Any) -> Callable[[bytes, int], bytes]:
    def decompress(data: bytes, most: int) -> bytes:
        decompressor = module.Decompressor()
        pieces, size = [], 0
        for begin in range(0, len(data), _FED_AT_ONCE):
            decompressor.decompress(data[begin : begin + _FED_AT_ONCE])
            pieces.append(bytes(decompressor.flush()))
            size += len(pieces[-1])
            if size > most:
                raise ValueError("it is too long")
        pieces.append(bytes(decompressor.finish()))
        return b"".join(pieces)

    return decompress


_FED_AT_ONCE = 65_536
_DECOMPRESSORS: dict[str, Callable[[bytes, int], bytes]] = {
    "zstd": _cramjam(cramjam.zstd),
    "lz4": _lz4,
    "gzip": _zlib(31),
    "br": _cramjam(cramjam.brotli),
    "deflate": _zlib(15),
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
    except (RuntimeError, ValueError, EOFError, zlib.error, cramjam.DecompressionError) as error:
        raise ValueError(f"the body is no {encoding}: {error}") from error


def best(accepted: str) -> tuple[str, Callable[[], Compressor]] | None:
    """The first encoding of an Accept-Encoding header that we have; None: send it as it is."""
    for name in (part.split(";")[0].strip() for part in accepted.split(",")):
        if name in _COMPRESSORS:
            return name, _COMPRESSORS[name]
    return None
