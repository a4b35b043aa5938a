"""Records to bytes and back, as MessagePack: everything of ours between the agents."""

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import msgspec

from models.alerts import Abandonment, abandonment_key
from models.touchpoint import Element
from models.verdict import Facts

PART_BYTES = 500_000
"""Elements are sent and kept in parts of at most so many bytes, unless a single one is larger."""
FACTS_BYTES = 900_000

_msgpack = msgspec.msgpack.Encoder()


# --- what the workers tell each other: journeys.inbox ---


class Elements(msgspec.Struct, frozen=True, array_like=True, tag="e"):
    """Elements for the household of the identifier `to`: forwarded, merged, or put back.

    `full`: whoever gets them says everything of the household again. `watermark`: the one that the sender
    was judged at (UTC ms), 0 for what was never judged. `seen`: of how many elements the household was
    judged before its state was lost; what is said from now on must count more. `trimmed`: what is kept of
    elements that the sender does not hold any more (`models.trimming`), or nothing.
    """

    to: str
    elements: list[Element]
    full: bool = False
    watermark: int = 0
    seen: int = 0
    trimmed: bytes = b""


class Link(msgspec.Struct, frozen=True, array_like=True, tag="l"):
    """The identifiers `to` and `other` belong to one household.

    `whole`: all that the archive has of this household comes with it, so that there is nothing to ask for.
    """

    to: str
    other: str
    full: bool = False
    whole: bool = False


class Passed(msgspec.Struct, frozen=True, array_like=True, tag="w"):
    """What happened up to `at` (UTC ms) is known: the watermark of the partition that this is sent to.

    `partial`: the archive has households that were not put back, so that a node that is not known may be one
    of them.
    """

    at: int
    partial: bool = False


class Rehydrated(msgspec.Struct, frozen=True, array_like=True, tag="h"):
    """All that the archive has of what `by` asked for was sent before; `missing`: marks of what it has not."""

    to: str
    by: str
    missing: bytes = b""


Message = Elements | Link | Passed | Rehydrated

_messages = msgspec.msgpack.Decoder(list[Message])


def encode_messages(messages: Sequence[Message]) -> list[bytes]:
    """Records of `journeys.inbox`, as few as the size allows."""
    return list(_split(list(messages), PART_BYTES)) if messages else []


def decode_messages(value: bytes) -> list[Message]:
    """What a record of `journeys.inbox` holds."""
    return _messages.decode(value)


# --- what is asked of the archive: journeys.rehydrate ---


class PastWanted(msgspec.Struct, frozen=True, array_like=True):
    """The household of `to` needs elements back: those of the marks `archived`, or all that are known of it.

    `identifiers`: keys by which they are found.
    """

    to: str
    identifiers: list[str]
    archived: bytes = b""


_past_wanted = msgspec.msgpack.Decoder(PastWanted)


def encode_past_wanted(wanted: PastWanted) -> bytes:
    """A record of `journeys.rehydrate`."""
    return _msgpack.encode(wanted)


def decode_past_wanted(value: bytes) -> PastWanted:
    """What `encode_past_wanted` made."""
    return _past_wanted.decode(value)


# --- what the alert agent watches: journeys.abandonment ---

_abandonment = msgspec.msgpack.Decoder(Abandonment)


def encode_abandonment(abandonment: Abandonment) -> tuple[bytes, bytes]:
    """Key and value of a record of `journeys.abandonment`."""
    return abandonment_key(abandonment.kind, abandonment.channel).encode(), _msgpack.encode(abandonment)


def decode_abandonment(value: bytes) -> Abandonment:
    """The value of such a record."""
    return _abandonment.decode(value)


# --- the changelog of the table ---


class Kept(msgspec.Struct, frozen=True, array_like=True):
    """The value of an entry: what `Elements` brought to a node, or what is kept of what was trimmed there."""

    elements: list[Element]
    watermark: int = 0
    seen: int = 0
    trimmed: bytes = b""


class EntryKey(msgspec.Struct, frozen=True, array_like=True):
    """The key of a changelog entry; it identifies the entry, so that compaction never loses one.

    `kind` "e": elements that the record (`topic`, `offset`) carries for `node`; "p": `node` belongs to the
    household of `parent`; "t": what is kept of elements of `node` that were trimmed, the `part`th time in a
    writer's generation (`offset`); "w": the watermark of the partition, of such a generation; "x": the archive
    has households that were not put back; "q": it was asked whether `node` is one of them.
    """

    kind: str
    node: str = ""
    parent: str = ""
    topic: str = ""
    offset: int = 0
    part: int = 0


class KeptWatermark(msgspec.Struct, frozen=True, array_like=True):
    """The value of a watermark entry. `model`: fingerprint of the journey model under which all was said."""

    watermark: int
    model: str = ""


class Entry(NamedTuple):
    """A changelog entry, as bytes; without a value it deletes the one of that key."""

    key: bytes
    value: bytes | None


_kept = msgspec.msgpack.Decoder(Kept)
_entry_key = msgspec.msgpack.Decoder(EntryKey)
_kept_watermark = msgspec.msgpack.Decoder(int | KeptWatermark)


def element_entries(node: str, topic: str, offset: int, kept: Kept) -> Iterator[Entry]:
    """The entries of what one record carries for one node; a pure function of the record."""
    value = _msgpack.encode(kept)
    if len(value) <= PART_BYTES or len(kept.elements) <= 1:
        yield Entry(_msgpack.encode(EntryKey("e", node, "", topic, offset)), value)
        return
    for part, chunk in enumerate(parts(kept.elements)):
        key = EntryKey("e", node, "", topic, offset, part)
        trimmed = b"" if part else kept.trimmed
        yield Entry(_msgpack.encode(key), _msgpack.encode(Kept(chunk, kept.watermark, kept.seen, trimmed)))


def deletion(node: str, topic: str, offset: int, part: int) -> Entry:
    """Deletes an entry of `element_entries`."""
    return Entry(_msgpack.encode(EntryKey("e", node, "", topic, offset, part)), None)


def trimmed_entry(node: str, generation: int, number: int, kept: Kept) -> Entry:
    """The entry that keeps what is left of trimmed elements. None replaces another one."""
    return Entry(_msgpack.encode(EntryKey("t", node, offset=generation, part=number)), _msgpack.encode(kept))


def partial_entry() -> Entry:
    """The entry that says that the archive has households that were not put back."""
    return Entry(_msgpack.encode(EntryKey("x")), b"\x01")


def parent_entry(node: str, parent: str) -> Entry:
    """The entry that says that `node` belongs to the household of `parent`."""
    return Entry(_msgpack.encode(EntryKey("p", node, parent)), b"\x01")


def watermark_entry(generation: int, watermark: int, model: str = "") -> Entry:
    """The entry that keeps a partition's watermark, UTC ms, and the journey model it was judged under.

    It is of its writer's generation: what a predecessor that does not know that it is one writes late must
    not pass for what its successor has said.
    """
    key = _msgpack.encode(EntryKey("w", offset=generation))
    return Entry(key, _msgpack.encode(KeptWatermark(watermark, model)))


def asked_entry(node: str, *, answered: bool = False) -> Entry:
    """The entry that says that nothing is said of a node until the archive has told what it knows."""
    return Entry(_msgpack.encode(EntryKey("q", node)), None if answered else b"\x01")


def decode_entry_key(key: bytes) -> EntryKey:
    """What an entry is about."""
    return _entry_key.decode(key)


def decode_kept(value: bytes) -> Kept:
    """The elements of an entry."""
    return _kept.decode(value)


def decode_watermark(value: bytes) -> KeptWatermark:
    """What a watermark entry says."""
    kept = _kept_watermark.decode(value)
    return KeptWatermark(kept) if isinstance(kept, int) else kept  # entries were numbers once


def parts(elements: list[Element]) -> Iterator[list[Element]]:
    """The elements in order, in parts of at most `PART_BYTES`."""
    if len(elements) > 1 and len(_msgpack.encode(elements)) > PART_BYTES:
        middle = len(elements) // 2
        yield from parts(elements[:middle])
        yield from parts(elements[middle:])
    else:
        yield elements


# --- what is said: journeys.facts ---


def encode_facts(facts: Facts) -> Iterator[bytes]:
    """Records of `journeys.facts`, of at most `FACTS_BYTES` each unless a single row is larger."""
    count = sum(len(getattr(facts, name)) for name in _ROWS)
    if count <= _FACTS_ROWS:
        encoded = _msgpack.encode(facts)
        if len(encoded) <= FACTS_BYTES or count <= 1:
            yield encoded
            return
    left = count // 2
    first, second = Facts(model=facts.model), Facts(model=facts.model)
    for name in _ROWS:
        rows = getattr(facts, name)
        setattr(first, name, rows[:left])
        setattr(second, name, rows[left:])
        left = max(0, left - len(rows))
    second.watermarks = facts.watermarks  # last, since they say that all before was sent
    yield from encode_facts(first)
    yield from encode_facts(second)


_ROWS = tuple(field for field in Facts.__struct_fields__ if field not in ("watermarks", "model"))
_FACTS_ROWS = 1_000  # more seldom fit, and need not be encoded to see that


def _split(items: list[Any], limit: int) -> Iterator[bytes]:
    encoded = _msgpack.encode(items)
    if len(encoded) <= limit or len(items) <= 1:
        yield encoded
        return
    middle = len(items) // 2
    yield from _split(items[:middle], limit)
    yield from _split(items[middle:], limit)
