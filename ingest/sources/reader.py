"""How values of foreign senders are read: leniently, so that an odd field costs itself and not its event."""

import math
import re
from collections.abc import Callable, Iterable
from decimal import Decimal, InvalidOperation
from functools import lru_cache
from typing import Any

from ingest.rejection import NotTaken
from models.identifier import Identifier, normalise
from models.journey_model import JourneyModel
from models.vocabulary import CHANNELS, TYPES

LONGEST_IDENTIFIER = 512
"""Characters; what is longer names nobody."""
LONGEST_TEXT = 2_000
LONGEST_NAME = 500
PROPERTIES_BYTES = 16_000
MOST_ITEMS = 100

_LARGEST_COUNT = 2**32 - 1
_MOST_AMOUNT = Decimal(10) ** 14
_NO_DECIMALS = frozenset({
    "BIF", "CLP", "DJF", "GNF", "JPY", "KMF", "KRW", "MGA", "PYG", "RWF", "VND", "VUV", "XAF", "XOF", "XPF",
})  # fmt: skip
_THREE_DECIMALS = frozenset({"BHD", "IQD", "JOD", "KWD", "LYD", "OMR", "TND"})
_CURRENCY = re.compile(r"[A-Za-z]{3}")
_SENTIMENTS = {"positive": 0.6, "neutral": 0.0, "negative": -0.6, "mixed": 0.0}

CHANNEL_NAMES = {
    **{channel: channel for channel in CHANNELS},
    "phone": "voice", "call": "voice", "telephone": "voice", "livechat": "chat", "live_chat": "chat",
    "messaging": "chat", "payment": "billing", "payments": "billing",
}  # fmt: skip


class Names:
    """Reads identifiers by a journey model: what names nobody, how phone numbers are written."""

    def __init__(self, model: JourneyModel) -> None:
        self.model = model

        @lru_cache(maxsize=65_536)
        def normalised(kind: str, value: str) -> Identifier | None:
            return normalise(kind, value, model)

        self._normalised: Callable[[str, str], Identifier | None] = normalised

    def identifier(self, kind: str, value: object) -> Identifier | None:
        """The identifier that a value means; None if it names nobody. Numbers are taken as text."""
        if not isinstance(value, str):
            if value is None or isinstance(value, bool) or not isinstance(value, int | float):
                return None
            value = str(value)
        if len(value) > LONGEST_IDENTIFIER:
            return None
        found = self._normalised(kind, value)
        return None if found is None or (kind == "email" and not _email(found.value)) else found

    def identifiers(self, pairs: Iterable[tuple[str, object]]) -> tuple[Identifier, ...]:
        """Those that name somebody, each once. NotTaken `missing_identity` if there is none."""
        found: dict[tuple[str, str], Identifier] = {}
        named = False
        for kind, value in pairs:
            if value is None:
                continue
            named = True
            identifier = self.identifier(kind, value)
            if identifier is not None:
                found[kind, identifier.value] = identifier
        if not found:
            raise NotTaken(
                "missing_identity",
                "its identifiers are placeholders, or no texts" if named else "it names nobody",
            )
        return tuple(found.values())


_names: dict[int, Names] = {}


def names_of(model: JourneyModel) -> Names:
    """The one reader of identifiers of a model; what it has read once it knows."""
    known = _names.get(id(model))
    if known is None:  # it holds the model, so that no other one comes to have its id
        known = _names[id(model)] = Names(model)
    return known


def _email(value: str) -> bool:
    local, at, domain = value.rpartition("@")
    return bool(local and at and domain) and " " not in value


def text_of(value: object, most: int = LONGEST_NAME) -> str | None:
    """A text that says something, or a number as text; cut at `most` characters."""
    if isinstance(value, str):
        value = value.strip()
        return value[:most] if value else None
    return str(value) if isinstance(value, int | float) and not isinstance(value, bool) else None


def free_text(value: object) -> str | None:
    """What somebody wrote, cut at 2,000 characters."""
    return text_of(value, LONGEST_TEXT) if isinstance(value, str) else None


def number_of(value: object) -> float | None:
    """A finite number, also one written as text."""
    if isinstance(value, str):
        try:
            value = float(value)
        except ValueError:
            return None
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    try:
        return float(value) if math.isfinite(value) else None
    except OverflowError:
        return None


def between(least: float, most: float) -> Callable[[object], float | None]:
    """Reads a number in `least`…`most`."""

    def read(value: object) -> float | None:
        number = number_of(value)
        return number if number is not None and least <= number <= most else None

    return read


csat = between(1, 5)
ces = between(1, 7)


def nps(value: object) -> int | None:
    """A whole number 0–10."""
    number = number_of(value)
    return int(number) if number is not None and number in range(11) else None


def sentiment(value: object) -> float | None:
    """−1…1, or one of the words positive, neutral, negative, mixed."""
    if isinstance(value, str) and value.strip().lower() in _SENTIMENTS:
        return _SENTIMENTS[value.strip().lower()]
    number = number_of(value)
    return number if number is not None and -1 <= number <= 1 else None


def count_of(value: object) -> int | None:
    """A whole number from 0 to 2^32 − 1; fractions of a millisecond are cut."""
    number = number_of(value)
    return int(number) if number is not None and 0 <= number <= _LARGEST_COUNT else None


def one_of(words: Iterable[str]) -> Callable[[object], str | None]:
    """Reads one of these words, in whichever case."""
    known = frozenset(words)

    def read(value: object) -> str | None:
        word = value.strip().lower() if isinstance(value, str) else None
        return word if word in known else None

    return read


def texts_of(value: object) -> tuple[str, ...] | None:
    """A list of texts, or one with commas."""
    items = value.split(",") if isinstance(value, str) else value
    if not isinstance(items, list):
        return None
    return tuple(text for text in (text_of(item) for item in items) if text)[:MOST_ITEMS] or None


def currency_of(value: object) -> str | None:
    """An ISO 4217 code, in capitals."""
    return value.upper() if isinstance(value, str) and _CURRENCY.fullmatch(value) else None


def decimals_of(currency: str) -> int:
    """How many decimals the minor unit of a currency has."""
    if currency in _NO_DECIMALS:
        return 0
    return 3 if currency in _THREE_DECIMALS else 2


def major_units(value: object, currency: str) -> str | None:
    """A decimal text in major units, with the currency's decimals, at most 4. None if it is no amount."""
    if isinstance(value, bool) or not isinstance(value, int | float | str | Decimal):
        return None
    try:
        amount = Decimal(str(value).strip())
        if not amount.is_finite() or abs(amount) >= _MOST_AMOUNT:
            return None
        decimals = -int(amount.as_tuple().exponent)
        return f"{amount:.{min(4, max(decimals, decimals_of(currency)))}f}"
    except (InvalidOperation, ValueError):
        return None


def minor_units(value: object, currency: str) -> str | None:
    """An amount given in minor units (cents), as a decimal text in major units."""
    if isinstance(value, bool) or not isinstance(value, int):
        return None
    return major_units(Decimal(value).scaleb(-decimals_of(currency)), currency)


def channel_named(name: str, model: JourneyModel) -> str | None:
    """The channel that a sender's word means; None: it means none that the model knows."""
    word = name.strip().lower()
    return word if word in model.own_channels else CHANNEL_NAMES.get(word)


def usual_channel(type_: str) -> str:
    """The channel that a type is usual on."""
    return TYPES.get(type_, ("web",))[0]


def object_of(value: object) -> dict[str, Any]:
    """An object, or an empty one."""
    return value if isinstance(value, dict) else {}
