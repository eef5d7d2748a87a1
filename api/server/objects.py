"""Objects: the bytes of files and outputs, in a folder, behind signed URLs that expire.

A signature covers the method, the key, the content type, the size and the time of expiry, so a URL that was given
out for one upload can do nothing else. Keys are made by the server; no name from outside becomes a path.
"""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import os
import re
import secrets
import time
from base64 import urlsafe_b64encode
from collections.abc import AsyncIterable, AsyncIterator, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO
from urllib.parse import parse_qs, quote, unquote, urlencode, urlsplit

from ..errors import BadRequest, Forbidden, NotFound, TooLarge

ROUTE = "objects"
_SAFE_NAME = re.compile(r"[^\w.-]+")
_SAFE_KEY = re.compile(r"(?:[\w-][\w.-]*/)*[\w-][\w.-]*")
_CHUNK_BYTES = 1024 * 1024


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


def safe_name(name: str) -> str:
    """A file name from outside as the last part of a key: no separators, no leading dot, at most 100 bytes."""
    base = _SAFE_NAME.sub("_", name.replace("\\", "/").rsplit("/", 1)[-1]).lstrip(".")
    return base.encode()[-100:].decode(errors="ignore").lstrip(".") or "file"


class Objects:
    """Objects in a folder. `clock` gives Unix time."""

    def __init__(self, folder: Path, secret: bytes, *, clock: Callable[[], float] = time.time) -> None:
        self._folder = folder.resolve()
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

    def path(self, key: str) -> Path:
        """Where an object lies, or would lie."""
        path = (self._folder / key).resolve()
        if not _SAFE_KEY.fullmatch(key) or not path.is_relative_to(self._folder):
            raise NotFound("There is no such object")
        return path

    def existing(self, key: str) -> Path:
        """The file of an object; NotFound when its bytes never arrived."""
        path = self.path(key)
        if not path.is_file():
            raise NotFound("There is no such object: it was announced and never uploaded, or it was deleted")
        return path

    async def put(
        self, key: str, chunks: AsyncIterable[bytes], *, size: int | None = None, max_size: int | None = None
    ) -> int:
        """Store an object from its bytes, all of it or nothing; the number of bytes.

        Raises TooLarge for more than `size` or `max_size` bytes and BadRequest for fewer than `size`.
        """
        path, limit = self.path(key), size if size is not None else max_size
        path.parent.mkdir(parents=True, exist_ok=True)
        part = path.with_name(f".{path.name}.{secrets.token_hex(4)}.part")
        try:
            written = await _write(part, chunks, limit=limit)
            if size is not None and written < size:
                raise BadRequest(f"{written} bytes arrived of the {size} that were announced; nothing was kept")
            part.replace(path)
        finally:
            part.unlink(missing_ok=True)
        return written

    async def read(self, key: str) -> AsyncIterator[bytes]:
        """The bytes of an object, in pieces."""
        file = self.existing(key).open("rb")
        try:
            while chunk := await asyncio.to_thread(file.read, _CHUNK_BYTES):
                yield chunk
        finally:
            file.close()


async def _write(path: Path, chunks: AsyncIterable[bytes], *, limit: int | None) -> int:
    """Write chunks to a file in larger pieces, on a thread; the number of bytes."""
    written, waiting = 0, bytearray()
    # Not on a thread: after a cancellation that would go on, and make the file when nobody removes it any more.
    file = path.open("wb")
    try:
        async for chunk in chunks:
            written += len(chunk)
            if limit is not None and written > limit:
                raise TooLarge(f"There are more than the {limit} bytes that are allowed")
            waiting += chunk
            if len(waiting) >= _CHUNK_BYTES:
                await asyncio.to_thread(file.write, waiting)
                waiting = bytearray()
        await asyncio.to_thread(_finish, file, waiting)
    finally:
        file.close()
    return written


def _finish(file: BinaryIO, rest: bytearray) -> None:
    file.write(rest)
    file.flush()
    os.fsync(file.fileno())  # what was accepted survives a power cut
