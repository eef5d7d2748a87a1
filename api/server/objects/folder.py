"""Objects as files in a folder."""

from __future__ import annotations

import asyncio
import os
import secrets
import shutil
from collections.abc import AsyncGenerator, AsyncIterable
from datetime import datetime, timezone
from pathlib import Path
from typing import BinaryIO

from ...errors import NotFound
from .chunks import PIECE_BYTES, in_pieces
from .keys import MISSING, check_key
from .stored import Stored


class Folder:
    """Keeps each object in a file that has the object's key as its path."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder.resolve()
        self._parts = self._folder / ".parts"  # no key begins with a dot

    def forget_parts(self) -> None:
        """Remove what a process that was killed has left half. Only for whoever is alone in the folder."""
        shutil.rmtree(self._parts, ignore_errors=True)

    def path(self, key: str) -> Path:
        """Where an object lies, or would lie; NotFound for what is no key."""
        check_key(key)
        path = (self._folder / key).resolve()
        if not path.is_relative_to(self._folder):
            raise NotFound("There is no such object")
        return path

    async def find(self, key: str) -> Stored:
        """What is known of an object; NotFound when its bytes are not there."""
        path = self.path(key)
        if not path.is_file():
            raise NotFound(MISSING)
        stat = path.stat()
        modified = datetime.fromtimestamp(stat.st_mtime, timezone.utc)
        return Stored(key, stat.st_size, modified, f'"{stat.st_mtime_ns:x}-{stat.st_size:x}"', path)

    async def read(self, stored: Stored, *, start: int, stop: int) -> AsyncGenerator[bytes, None]:
        """The bytes from `start` up to and without `stop`."""
        with self.path(stored.key).open("rb") as file:
            file.seek(start)
            while start < stop and (piece := await asyncio.to_thread(file.read, min(PIECE_BYTES, stop - start))):
                start += len(piece)
                yield piece

    async def write(self, key: str, chunks: AsyncIterable[bytes], *, limit: int | None) -> None:
        """Store an object, all of it or nothing: nothing when the chunks fail."""
        path, part = self.path(key), self._parts / secrets.token_hex(8)
        for parent in (path.parent, self._parts):
            parent.mkdir(parents=True, exist_ok=True)
        try:
            await _fill(part, chunks)
            part.replace(path)
        finally:
            part.unlink(missing_ok=True)

    async def delete(self, key: str) -> None:
        """Remove an object, if there is one."""
        self.path(key).unlink(missing_ok=True)


async def _fill(path: Path, chunks: AsyncIterable[bytes]) -> None:
    # Not on a thread: after a cancellation that would go on, and make the file when nobody removes it any more.
    file = path.open("wb")
    try:
        async for piece in in_pieces(chunks):
            await asyncio.to_thread(file.write, piece)
        await asyncio.to_thread(_sync, file)
    finally:
        file.close()


def _sync(file: BinaryIO) -> None:
    file.flush()
    os.fsync(file.fileno())  # what was accepted survives a power cut
