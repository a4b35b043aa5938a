"""Bodies in the encodings of clients: one frame or several, whole, and no longer than allowed."""

import random
import zlib
from collections.abc import Callable

import cramjam
import lz4.frame
import pytest

from warehouse.encodings import decoded

COMPRESSED: dict[str, Callable[[bytes], bytes]] = {
    "gzip": lambda data: bytes(cramjam.gzip.compress(data)),
    "zstd": lambda data: bytes(cramjam.zstd.compress(data)),
    "br": lambda data: bytes(cramjam.brotli.compress(data)),
    "deflate": zlib.compress,
    "lz4": lambda data: bytes(lz4.frame.compress(data)),
}
DATA = random.Random(1).randbytes(200_000) + bytes(200_000)
encodings = pytest.mark.parametrize("encoding", COMPRESSED)


@encodings
@pytest.mark.parametrize("size", [0, 1, len(DATA)])
def test_a_body_of_exactly_the_longest_allowed_is_taken(encoding: str, size: int) -> None:
    assert decoded(COMPRESSED[encoding](DATA[:size]), encoding, size) == DATA[:size]


@encodings
def test_a_body_longer_by_a_byte_is_not(encoding: str) -> None:
    with pytest.raises(ValueError, match="too long"):
        decoded(COMPRESSED[encoding](DATA), encoding, len(DATA) - 1)


@encodings
def test_a_body_that_unpacks_to_much_more_is_not_unpacked(encoding: str) -> None:
    with pytest.raises(ValueError, match="too long"):
        decoded(COMPRESSED[encoding](bytes(20_000_000)), encoding, 1_000_000)


@pytest.mark.parametrize("encoding", sorted(COMPRESSED.keys() - {"br"}))
@pytest.mark.parametrize(
    "sizes",
    [(len(DATA), len(DATA)), (1,) * 1000, (0, len(DATA), 0, 1)],
    ids=["two large ones", "many small ones", "empty ones, too"],
)
def test_frames_follow_each_other(encoding: str, sizes: tuple[int, ...]) -> None:
    body = b"".join(COMPRESSED[encoding](DATA[:size]) for size in sizes)
    assert decoded(body, encoding, 10_000_000) == b"".join(DATA[:size] for size in sizes)


@encodings
@pytest.mark.parametrize("left_out", [1, 5, 100_000])
def test_a_body_that_ends_too_early_is_said(encoding: str, left_out: int) -> None:
    with pytest.raises(ValueError, match=f"the body is no {encoding}"):
        decoded(COMPRESSED[encoding](DATA)[:-left_out], encoding, 10_000_000)


@encodings
def test_what_is_not_compressed_is_said(encoding: str) -> None:
    with pytest.raises(ValueError, match=f"the body is no {encoding}"):
        decoded(b"INSERT INTO t VALUES (1)" * 100, encoding, 10_000_000)


def test_an_unknown_encoding_is_said() -> None:
    with pytest.raises(ValueError, match="no encoding snappy"):
        decoded(b"", "snappy", 1)
