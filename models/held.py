"""All that a household is made of: what rests as bytes, moves to another household, and comes back."""

import msgspec

from models.touchpoint import Element

_encoder = msgspec.msgpack.Encoder()


class Held(msgspec.Struct, array_like=True):
    """The set and what was said of it. `seen`: distinct elements ever added; `watermark`: UTC ms, the last judged at;
    `unsaid`: something was left to be said; `trimmed`: what is kept of elements not held (`models.trimming`).
    """

    household_id: str
    seen: int
    watermark: int
    unsaid: bool
    elements: list[Element]
    trimmed: bytes = b""
    wants_past: bool = False

    def encode(self) -> bytes:
        """As MessagePack."""
        return _encoder.encode(self)

    @classmethod
    def decode(cls, data: bytes) -> "Held":
        """What `encode` made, without folding it."""
        return _decoder.decode(data)


_decoder = msgspec.msgpack.Decoder(Held)
