"""What we do not keep: secrets in addresses, raw network addresses."""

import re
from functools import lru_cache
from urllib.parse import parse_qsl, urlencode, urlsplit, urlunsplit

_SECRET = re.compile(
    r"token|secret|password|passwd|pwd|auth|session|signature|api_?key|email|phone", re.IGNORECASE
)


@lru_cache(maxsize=16_384)
def without_secrets(url: str) -> str:
    """A URL without the query parameters that are secrets or names of people, and without user and
    password.
    """
    if "?" not in url and "@" not in url:
        return url
    try:
        parts = urlsplit(url)
        kept = [
            (name, value)
            for name, value in parse_qsl(parts.query, keep_blank_values=True)
            if not _SECRET.search(name)
        ]
    except ValueError:
        return url.split("?")[0]
    return urlunsplit(
        (parts.scheme, parts.netloc.rpartition("@")[2], parts.path, urlencode(kept), parts.fragment)
    )
