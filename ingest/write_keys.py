"""Who may send: the write key of a request, wherever its client puts it."""

import base64
import binascii
import hmac
from collections.abc import Mapping


def basic_key(authorization: str | None) -> str | None:
    """The user name of a Basic header, with or without the colon behind it; None if it is no Basic header."""
    if not authorization or authorization[:6].lower() != "basic ":
        return None
    try:
        return base64.b64decode(authorization[6:].strip(), validate=True).decode().partition(":")[0]
    except (binascii.Error, UnicodeDecodeError):
        return None


def source_instance(key: str | None, write_keys: Mapping[str, str]) -> str | None:
    """Name of the source instance that a write key stands for; None if nobody has it. Takes equally
    long for all.
    """
    if not key:
        return None
    found = None
    for known, name in write_keys.items():
        if hmac.compare_digest(known.encode(), key.encode()):
            found = name
    return found
