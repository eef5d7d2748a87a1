"""Objects: the bytes of files and outputs, in a folder or in a bucket, behind signed URLs that expire.

Keys are made by the server; no name from outside becomes a path. The server signs its own URLs and passes the bytes
on itself wherever they lie, so a bucket needs no access from outside and every upload is checked.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator, AsyncIterable, Callable
from contextlib import aclosing
from pathlib import Path
from typing import Protocol

from ...errors import ConfigurationError
from .chunks import Counted
from .content import checked
from .folder import Folder
from .keys import safe_name
from .signing import ROUTE, Grant, SignedUrls
from .stored import Stored

__all__ = ["ROUTE", "Backend", "Folder", "Grant", "Objects", "Stored", "checked", "open_objects", "safe_name"]


class Backend(Protocol):
    """Where the bytes lie. Raises NotFound for what is no key."""

    async def find(self, key: str) -> Stored:
        """What is known of an object; NotFound when its bytes are not there."""
        ...

    def read(self, stored: Stored, *, start: int, stop: int) -> AsyncGenerator[bytes, None]:
        """The bytes from `start` up to and without `stop`."""
        ...

    async def write(self, key: str, chunks: AsyncIterable[bytes], *, limit: int | None) -> None:
        """Store an object of at most `limit` bytes, all of it or nothing: nothing when the chunks fail."""
        ...

    async def delete(self, key: str) -> None:
        """Remove an object, if there is one."""
        ...


class Objects(SignedUrls):
    """The objects of a platform and the URLs to them. `clock` gives Unix time."""

    def __init__(self, backend: Backend, secret: bytes, *, clock: Callable[[], float] = time.time) -> None:
        super().__init__(secret, clock=clock)
        self._backend = backend

    async def put(
        self, key: str, chunks: AsyncIterable[bytes], *, size: int | None = None, max_size: int | None = None
    ) -> int:
        """Store an object from its bytes, all of it or nothing; the number of bytes.

        Raises TooLarge for more than `size` or `max_size` bytes and BadRequest for fewer than `size`.
        """
        counted = Counted(chunks, size=size, max_size=max_size)
        await self._backend.write(key, counted, limit=size if size is not None else max_size)
        return counted.written

    async def find(self, key: str) -> Stored:
        """What is known of an object; NotFound when its bytes never arrived, or were deleted."""
        return await self._backend.find(key)

    async def size(self, key: str) -> int:
        """The bytes of an object; NotFound when there are none."""
        return (await self.find(key)).size

    def read_part(self, stored: Stored, *, start: int, stop: int) -> AsyncGenerator[bytes, None]:
        """The bytes of an object that was found, from `start` up to and without `stop`, in pieces."""
        return self._backend.read(stored, start=start, stop=stop)

    async def read(self, key: str) -> AsyncGenerator[bytes, None]:
        """The bytes of an object, in pieces."""
        stored = await self.find(key)
        async with aclosing(self.read_part(stored, start=0, stop=stored.size)) as pieces:
            async for piece in pieces:
                yield piece

    async def delete(self, key: str) -> None:
        """Remove an object, if there is one."""
        await self._backend.delete(key)


async def open_objects(url: str | None, *, folder: Path, secret: bytes) -> Objects:
    """The objects under `url`, or in the folder when it is None, which is nobody else's.

    Raises ConfigurationError when they cannot be kept there.
    """
    if url is None:
        alone = Folder(folder)
        await asyncio.to_thread(alone.forget_parts)
        return Objects(alone, secret)
    try:
        from .bucket import open_bucket  # obstore is an extra
    except ModuleNotFoundError as error:
        raise ConfigurationError(
            f"Objects in a bucket need {error.name}. Install it: pip install comfyui-outpost[s3]"
        ) from error
    return Objects(await open_bucket(url), secret)
