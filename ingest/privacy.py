"""What is not wanted of people: secrets in addresses and properties, and raw network addresses."""

import re
from functools import lru_cache
from typing import Any
from urllib.parse import unquote_plus

from ingest.rejection import NotTaken

DEEPEST = 30
"""How deep properties may be nested."""

_SECRETS = frozenset({
    "accesstoken", "apikey", "apisecret", "auth", "authorization", "cardnumber", "clientsecret", "code",
    "cvc", "cvv", "email", "emailaddress", "idtoken", "key", "passphrase", "passwd", "password", "phone",
    "pin", "pwd", "refreshtoken", "resettoken", "secret", "session", "sessionid", "sid", "sig", "signature",
    "ssn", "token",
})  # fmt: skip
# as a property these say something else than in an address
_NO_SECRET_PROPERTIES = {"code", "email", "key", "phone", "pin", "session", "sid"}
_NOT_IN_PROPERTIES = (_SECRETS - _NO_SECRET_PROPERTIES) | {"ip", "ipaddress", "remoteaddr"}

_LOGIN = re.compile(r"^([a-zA-Z][a-zA-Z0-9+.-]*://)[^/?#]*@")


@lru_cache(maxsize=16_384)
def without_secrets(url: str) -> str:
    """The address without parameters that carry secrets (token, password, email, …) and without a login.

    In the query and in the fragment; what is left stands as it was written.
    """
    if "@" in url:
        url = _LOGIN.sub(r"\1", url)
    if "=" not in url:
        return url
    before, _, fragment = url.partition("#")
    base, question, query = before.partition("?")
    kept = _kept(query)
    cleaned = f"{base}{question if kept else ''}{kept}"
    if "=" in fragment:
        fragment = _kept(fragment)
    return f"{cleaned}#{fragment}" if fragment else cleaned


def cleaned(value: Any, depth: int = 0) -> Any:
    """A property's value without secrets; whole numbers beyond 64 bits become texts.

    NotTaken `invalid_field` if it is nested more than `DEEPEST`.
    """
    if isinstance(value, str):
        return without_secrets(value) if "://" in value else value
    if isinstance(value, int):
        # MessagePack, which the workers speak, has no larger ones
        return value if -(2**63) <= value < 2**63 else str(value)
    if depth > DEEPEST and isinstance(value, dict | list):
        raise NotTaken("invalid_field", f"its properties are nested more than {DEEPEST} deep")
    if isinstance(value, dict):
        return {key: cleaned(inner, depth + 1) for key, inner in value.items() if not unwanted(key)}
    if isinstance(value, list):
        return [cleaned(inner, depth + 1) for inner in value]
    return value


@lru_cache(maxsize=4_096)
def unwanted(name: str) -> bool:
    """Whether a property of this name is left out."""
    return _plain(name) in _NOT_IN_PROPERTIES


def _kept(query: str) -> str:
    return "&".join(
        part
        for part in query.split("&")
        if _plain(unquote_plus(part.partition("=")[0]).rpartition("?")[2]) not in _SECRETS
    )


def _plain(name: str) -> str:
    return name.lower().replace("_", "").replace("-", "")
