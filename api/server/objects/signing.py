"""Signed URLs: each allows one method on one object until a point in time.

A signature covers the method, the key, the content type, the size and the time of expiry, so a URL that was given
out for one upload can do nothing else.
"""

from __future__ import annotations

import hashlib
import hmac
import time
from base64 import urlsafe_b64encode
from collections.abc import Callable
from dataclasses import dataclass
from urllib.parse import parse_qs, quote, unquote, urlencode, urlsplit

from ...errors import Forbidden

ROUTE = "objects"


@dataclass(frozen=True)
class Grant:
    """What a signed URL allows: one method on one object until a point in time."""

    method: str
    key: str
    content_type: str
    size: int
    """Exact bytes of an upload; 0 for a download."""
    expires: int
    """Unix time in seconds."""


class SignedUrls:
    """Makes URLs that are permissions, and reads them back. `clock` gives Unix time."""

    def __init__(self, secret: bytes, *, clock: Callable[[], float] = time.time) -> None:
        self._secret = secret
        self._clock = clock

    def sign(self, base_url: str, *, method: str, key: str, content_type: str, seconds: float, size: int = 0) -> str:
        """A URL under `base_url` that allows one method on one object for some seconds."""
        grant = Grant(method, key, content_type, size, int(self._clock() + seconds))
        query = {"m": method, "e": grant.expires, "t": content_type, "s": self._signature(grant)}
        if size:
            query["n"] = size
        return f"{base_url}/{ROUTE}/{quote(key)}?{urlencode(query)}"

    def check(self, key: str, query: dict[str, str], *, method: str) -> Grant:
        """The grant of a signed URL; Forbidden when it is not ours, is for something else, or has expired."""
        grant = self._granted(key, query)
        if grant.method != method:
            raise Forbidden(f"This URL is not one for {method}")
        if grant.expires < self._clock():
            raise Forbidden("This URL has expired. Ask for a new one.")
        return grant

    def key_of(self, url: str) -> str | None:
        """The key of the object behind a download URL of ours, expired or not; None for any other URL."""
        try:
            parts = urlsplit(url)
            _, _, key = parts.path.partition(f"/{ROUTE}/")
            query = {name: values[0] for name, values in parse_qs(parts.query).items()}
            grant = self._granted(unquote(key), query)
        except (ValueError, Forbidden):
            return None
        return grant.key if grant.method == "GET" else None

    def _granted(self, key: str, query: dict[str, str]) -> Grant:
        try:
            grant = Grant(query["m"], key, query["t"], int(query.get("n", 0)), int(query["e"]))
            if hmac.compare_digest(self._signature(grant).encode(), query["s"].encode()):
                return grant
        except (KeyError, ValueError):
            pass  # the same answer as for a wrong signature
        raise Forbidden("This URL was not made by this server, or was changed")

    def _signature(self, grant: Grant) -> str:
        text = "\n".join(map(str, (grant.method, grant.key, grant.content_type, grant.size, grant.expires)))
        return urlsafe_b64encode(hmac.digest(self._secret, text.encode(), hashlib.sha256)).rstrip(b"=").decode()
