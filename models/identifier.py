"""Identifiers: what a sender calls a person, normalised, and their total order."""

from collections.abc import Sequence

import msgspec

KINDS = (
    "user_id",
    "customer_id",
    "account_id",
    "email",
    "phone",
    "contact_id",
    "device_id",
    "cookie_id",
    "anonymous_id",
    "session_id",
)
"""Kinds of identifier from the strongest to the weakest; the journey model may order them otherwise."""


class Identifier(msgspec.Struct, frozen=True, omit_defaults=True):
    """One name of a person: `kind` of `KINDS`, `value` normalised (email lower-cased and NFC, phone E.164)."""

    kind: str
    value: str
    verified: bool = False

    @property
    def key(self) -> str:
        """`kind:value`, the name of the identifier in state, topics and tables."""
        return f"{self.kind}:{self.value}"


class IdentifierOrder:
    """The total order of identifiers: stronger kind first, then the smaller value."""

    def __init__(self, kinds: Sequence[str] = KINDS) -> None:
        self.kinds = tuple(kinds)
        self._strength = {kind: position for position, kind in enumerate(kinds)}

    def rank(self, key: str) -> tuple[int, str]:
        """Sort key of an identifier's `key`; the smallest is the strongest. Unknown kinds come last."""
        kind, _, value = key.partition(":")
        return self._strength.get(kind, len(self.kinds)), value
