"""Content encodings that ClickHouse clients use over HTTP."""

import zlib
from collections.abc import Callable
from typing import Protocol

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


def _all_lz4_frames(data: bytes) -> bytes:
    pieces = []
    while data:
        decompressor = lz4.frame.LZ4FrameDecompressor()
        pieces.append(decompressor.decompress(data))
        data = decompressor.unused_data or b""
    return b"".join(pieces)


_DECOMPRESSORS: dict[str, Callable[[bytes], bytes]] = {
    "zstd": lambda data: bytes(cramjam.zstd.decompress(data)),
    "lz4": _all_lz4_frames,
    "gzip": lambda data: bytes(cramjam.gzip.decompress(data)),
    "br": lambda data: bytes(cramjam.brotli.decompress(data)),
    "deflate": zlib.decompress,
}


class UnknownEncoding(ValueError):
    """A body in an encoding that is not one of `zstd`, `lz4`, `gzip`, `br`, `deflate`."""


def decoded(data: bytes, encoding: str) -> bytes:
    """A whole body decompressed. UnknownEncoding; ValueError where the body is not what it says."""
    if encoding in ("", "identity"):
        return data
    if encoding not in _DECOMPRESSORS:
        raise UnknownEncoding(encoding)
    try:
        return _DECOMPRESSORS[encoding](data)
    except (RuntimeError, zlib.error, cramjam.DecompressionError) as error:
        raise ValueError(f"the body is no {encoding}: {error}") from error


def best(accepted: str) -> tuple[str, Callable[[], Compressor]] | None:
    """The first encoding of an Accept-Encoding header that we have; None: send it as it is."""
    for name in (part.split(";")[0].strip() for part in accepted.split(",")):
        if name in _COMPRESSORS:
            return name, _COMPRESSORS[name]
    return None
