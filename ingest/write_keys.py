"""Who may send: the write key of a request, wherever its client puts it, and how fast."""

import base64
import binascii
import hmac
import time
from collections.abc import Callable, Mapping


def instance_of(authorization: str | None, in_body: object, write_keys: Mapping[str, str]) -> str | None:
    """Name of the source instance that a request's write key stands for; None if nobody has it.

    The key of a Basic header comes first: where there is one, nothing else is looked at. Then the body's
    `writeKey`, then a bearer token.
    """
    basic = basic_key(authorization)
    if basic is not None:
        return source_instance(basic, write_keys)
    if isinstance(in_body, str) and in_body:
        return source_instance(in_body, write_keys)
    scheme, _, token = (authorization or "").strip().partition(" ")
    return source_instance(token.strip(), write_keys) if scheme.lower() == "bearer" else None


def unknown_basic(authorization: str | None, write_keys: Mapping[str, str]) -> bool:
    """Whether the header alone says that it is nobody we know, so that the body need not be read."""
    basic = basic_key(authorization)
    return basic is not None and source_instance(basic, write_keys) is None


def basic_key(authorization: str | None) -> str | None:
    """The user name of a Basic header, with or without the colon behind it; None if it is no Basic header.

    Empty if the header cannot be read.
    """
    scheme, _, value = (authorization or "").strip().partition(" ")
    if scheme.lower() != "basic":
        return None
    value = value.strip()
    try:
        return base64.b64decode(value + "=" * (-len(value) % 4), validate=True).decode().partition(":")[0]
    except (binascii.Error, UnicodeDecodeError, ValueError):
        return ""


def source_instance(key: str | None, write_keys: Mapping[str, str]) -> str | None:
    """Name of the source instance that a write key stands for; None if nobody has it. Takes equally long for
    all.
    """
    if not key:
        return None
    found = None
    for known, name in write_keys.items():
        if hmac.compare_digest(known.encode(), key.encode()):
            found = name
    return found


class Allowance:
    """How many calls each source instance may make per second; None: any number. `clock`: s."""

    def __init__(self, per_second: int | None, clock: Callable[[], float] = time.monotonic) -> None:
        self._per_second = per_second
        self._clock = clock
        self._left: dict[str, tuple[float, float]] = {}  # instance -> (calls left, at)

    def wait_s(self, instance: str, calls: int) -> float:
        """Seconds until `calls` more may come; 0: now, and they are counted.

        A batch of more than a second's calls passes when nothing was used, and is paid off afterwards.
        """
        if self._per_second is None:
            return 0.0
        most, now = float(self._per_second), self._clock()
        left, at = self._left.get(instance, (most, now))
        left = min(most, left + (now - at) * most)
        missing = min(calls, most) - left
        self._left[instance] = (left if missing > 0 else left - calls), now
        return max(0.0, missing / most)
