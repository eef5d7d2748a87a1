"""What has been uploaded already, so that nothing is uploaded twice. Shared between clients, threads, event loops."""

from __future__ import annotations

import asyncio
import concurrent.futures
import threading
from collections import OrderedDict
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from enum import Enum

URL_MARGIN = timedelta(minutes=10)
"""How long a URL must still work when it is handed out: a run may wait before it reads its inputs."""


@dataclass(frozen=True)
class Uploaded:
    """Where an upload has come to in the platform's store. `url` may hold a signature: show `file_id` instead."""

    url: str
    file_id: str
    size: int
    expires_at: datetime | None = None
    """When `url` stops working, where it is known."""

    def __repr__(self) -> str:
        return f"Uploaded(file_id={self.file_id!r}, size={self.size})"


class UploadForm(str, Enum):
    """How a platform takes a file."""

    TICKET = "ticket"
    """It gives a URL to which the bytes are PUT."""
    MULTIPART = "multipart"
    """It takes the bytes itself, as the hosted platform does."""


_Key = tuple[str, str]
_Upload = concurrent.futures.Future["Uploaded | None"]


def utc_now() -> datetime:
    """The time."""
    return datetime.now(timezone.utc)


class ContentCache:
    """Where each content is, by connection and digest; the least used are forgotten first.

    A connection is named by `Connection.id`. ComfyUI runs every prompt in an event loop of its own, possibly several at
    once, so everything here is guarded by a lock and waiting goes over futures that belong to no loop.
    """

    def __init__(
        self,
        *,
        size: int = 1024,
        margin: timedelta = URL_MARGIN,
        lifetime: timedelta = timedelta(hours=24),
        now: Callable[[], datetime] = utc_now,
    ) -> None:
        """`margin` is how long a URL must still work when it is handed out.

        `lifetime` is for URLs of which nothing is known.
        """
        self._size = size
        self._margin = margin
        self._lifetime = lifetime
        self._now = now
        self._lock = threading.Lock()
        self._files: OrderedDict[_Key, tuple[Uploaded, datetime]] = OrderedDict()
        self._uploads: dict[_Key, _Upload] = {}
        self._forms: dict[str, UploadForm] = {}

    async def once(self, connection_id: str, digest: str, *, upload: Callable[[], Awaitable[Uploaded]]) -> Uploaded:
        """The file with this content, from the cache, from an upload in progress, or from a new `upload()`.

        When somebody else's upload fails or is cancelled, the caller does its own.
        """
        key = connection_id, digest
        while True:
            with self._lock:
                if known := self._known(key):
                    return known
                running = self._uploads.get(key)
                if running is None:
                    own = self._uploads[key] = _Upload()
                    # Running futures cannot be cancelled, so a waiting caller that is cancelled does not take it down.
                    own.set_running_or_notify_cancel()
                    break
            if stored := await asyncio.wrap_future(running):
                return stored
        stored = None
        try:
            stored = await upload()
            return stored
        finally:
            self._finish(key, own, stored)

    def forget(self, connection_id: str, url: str) -> None:
        """Upload the content behind this URL again the next time: the URL turned out not to work, however signed."""
        with self._lock:
            for key in self._keys_of(connection_id, url):
                del self._files[key]

    def knows(self, connection_id: str, url: str) -> bool:
        """Whether this URL, however signed, is that of a content that has been uploaded and not been forgotten."""
        with self._lock:
            return bool(self._keys_of(connection_id, url))

    def form(self, connection_id: str) -> UploadForm | None:
        """How this platform takes files, if that was found out already."""
        with self._lock:
            return self._forms.get(connection_id)

    def learn_form(self, connection_id: str, form: UploadForm) -> None:
        """Remember how this platform takes files."""
        with self._lock:
            self._forms[connection_id] = form

    def _keys_of(self, connection_id: str, url: str) -> list[_Key]:
        place = _without_signature(url)
        return [
            key
            for key, (file, _) in self._files.items()
            if key[0] == connection_id and _without_signature(file.url) == place
        ]

    def _known(self, key: _Key) -> Uploaded | None:
        file, valid_until = self._files.get(key, (None, None))
        if valid_until is None or valid_until - self._margin <= self._now():
            self._files.pop(key, None)
            return None
        self._files.move_to_end(key)
        return file

    def _finish(self, key: _Key, own: _Upload, stored: Uploaded | None) -> None:
        with self._lock:
            del self._uploads[key]
            if stored:
                self._files[key] = stored, stored.expires_at or self._now() + self._lifetime
                self._files.move_to_end(key)
                while len(self._files) > self._size:
                    self._files.popitem(last=False)
        own.set_result(stored)


def _without_signature(url: str) -> str:
    """What stays the same when a URL is signed anew."""
    return url.partition("?")[0]
