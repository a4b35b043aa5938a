"""Identifiers: what a sender calls a person, normalised, and their total order."""

import re
import unicodedata
from collections.abc import Collection, Mapping, Sequence
from functools import lru_cache
from typing import Protocol

import msgspec

from models.errors import DesirelineError

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

ANONYMOUS_KINDS = ("device_id", "cookie_id", "anonymous_id", "session_id")
"""Kinds that name a browser, an app or a visit, and no person."""

_E164 = re.compile(r"\+[1-9]\d{6,14}")
_NOTHING_BUT_ZEROS = re.compile(r"[+0\-. ]*")
_LEAST_PHONE_DIGITS = 5


class IdentityRules(Protocol):
    """What a journey model says of identifiers."""

    @property
    def placeholders(self) -> Collection[str]:
        """Values, in lower case, that name nobody."""

    @property
    def placeholders_by_kind(self) -> Mapping[str, Collection[str]]:
        """The same of one kind of identifier."""

    @property
    def phone_region(self) -> str | None:
        """ISO 3166 code of the country whose numbers are written without its prefix; None: of none."""


class IdentifierError(DesirelineError):
    """An identifier is of a kind that nobody knows."""


class Identifier(msgspec.Struct, frozen=True, gc=False, omit_defaults=True):
    """One name of a person: `kind` of `KINDS`, `value` normalised (email lower-case NFC, phone E.164)."""

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

    def strongest(self, identifiers: Sequence[Identifier]) -> str:
        """Key of the strongest of some identifiers. ValueError if there is none."""
        if not identifiers:
            raise ValueError("identifiers is empty")
        best = identifiers[0]
        if len(identifiers) > 1:
            strength, weakest = self._strength, len(self.kinds)
            best_rank = strength.get(best.kind, weakest), best.value
            for other in identifiers[1:]:
                rank = strength.get(other.kind, weakest), other.value
                if rank < best_rank:
                    best, best_rank = other, rank
        return f"{best.kind}:{best.value}"


def normalise(kind: str, value: object, rules: IdentityRules) -> Identifier | None:
    """The identifier that a sender means; None where it names nobody (absent, a placeholder, no number).

    Numbers are taken as text. IdentifierError if `kind` is not one of `KINDS`.
    """
    if kind not in KINDS:
        raise IdentifierError(
            f'identifier kind "{kind}" is not defined', remedy=f"The kinds are {', '.join(KINDS)}."
        )
    if value is None or isinstance(value, bool | dict | list):
        return None
    text = str(value).strip()
    if _placeholder(kind, text, rules):
        return None
    if kind == "email":
        text = unicodedata.normalize("NFC", text).lower()
    elif kind == "phone":
        text = _phone(text, rules.phone_region)
    return None if _placeholder(kind, text, rules) else Identifier(kind, text)


def _placeholder(kind: str, text: str, rules: IdentityRules) -> bool:
    lower = text.lower()
    return (
        lower in rules.placeholders
        or lower in rules.placeholders_by_kind.get(kind, ())
        or _NOTHING_BUT_ZEROS.fullmatch(text) is not None
    )


@lru_cache(maxsize=65_536)
def _phone(text: str, region: str | None) -> str:
    """E.164 where it can be told, else the digits as they are dialled; empty if it is no number."""
    if _E164.fullmatch(text):
        return text
    # Only here: the tables of all countries' numbers take 0.1 s to import, and most senders write E.164.
    import phonenumbers

    try:
        number = phonenumbers.parse(text.replace("tel:", ""), region)
    except phonenumbers.NumberParseException:
        digits = re.sub(r"\D", "", text)
        return digits if len(digits) >= _LEAST_PHONE_DIGITS else ""
    return str(phonenumbers.format_number(number, phonenumbers.PhoneNumberFormat.E164))
