"""Copies of the platform's files on this computer: one for all who look at a file, and for a moment after that.

A browser reads a video in pieces, each with a request of its own, so that one can go to any place in it.
"""

from __future__ import annotations

import asyncio
import hashlib
import shutil
import tempfile
import time
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from functools import partial
from pathlib import Path

from ...errors import Unavailable
from .room import Room

KEPT = 60.0
"""Seconds after which a copy that nobody reads is removed; earlier when another one needs the room."""
_PREFIX = "comfyui-outpost-copy-"
_PULSE = 1.0
"""Seconds after which it is looked whether whoever waits for a copy is still there."""
_FORGOTTEN = 24 * 3600.0
"""Seconds after which a copy is one of a ComfyUI that was killed."""

Announce = Callable[[int], Awaitable[None]]
Download = Callable[[Path, Announce], Awaitable[object]]
"""Writes a file to a path, and announces how many bytes it will have at most before it writes the first one."""


def identity_of(*parts: object) -> str:
    """A name of what was made of these parts: another one for another content."""
    return hashlib.sha256("\0".join(map(str, parts)).encode()).hexdigest()[:32]


class _Copy:
    def __init__(self, made: asyncio.Task[Path]) -> None:
        self.made = made
        self.readers = 0
        self.is_unwanted = False
        self.changed = asyncio.Event()

    def wake(self, *, is_unwanted: bool) -> None:
        """Something is different: who reads it, or whether it is kept for others."""
        self.is_unwanted = is_unwanted
        self.changed.set()


class Copies:
    """Makes copies and removes them. One for each panel."""

    def __init__(self, *, room: Room, kept_seconds: float = KEPT) -> None:
        self._room = room
        self._kept = kept_seconds
        self._copies: dict[str, _Copy] = {}
        self._keeping: set[asyncio.Task[None]] = set()
        self._is_swept = False
        room.on_full = self._drop_unread

    @asynccontextmanager
    async def lent(
        self, identity: str, download: Download, *, is_gone: Callable[[], bool] = lambda: False
    ) -> AsyncGenerator[Path, None]:
        """The file with this identity, until the block ends.

        Raises what `download` raises, Unavailable, and ConnectionError once the one who asked `is_gone`.
        """
        copy = self._copies.get(identity) or self._begin(identity, download)
        copy.readers += 1
        copy.wake(is_unwanted=False)
        try:
            while not copy.made.done():
                await asyncio.wait({copy.made}, timeout=_PULSE)
                if is_gone():
                    raise ConnectionResetError("whoever asked for the file is gone")
            yield copy.made.result()
        finally:
            copy.readers -= 1
            copy.wake(is_unwanted=False)
            if not copy.readers:
                if not copy.made.done():  # nobody waits for it any more, and whoever comes now begins anew
                    copy.made.cancel()
                    self._forget(identity, copy)
                self._room.changed()

    def _begin(self, identity: str, download: Download) -> _Copy:
        stack = AsyncExitStack()
        copy = self._copies[identity] = _Copy(asyncio.create_task(self._make(stack, download)))
        keeping = asyncio.create_task(self._keep(identity, copy, stack))
        self._keeping.add(keeping)
        keeping.add_done_callback(self._keeping.discard)
        return copy

    async def _make(self, stack: AsyncExitStack, download: Download) -> Path:
        try:
            if not self._is_swept:
                self._is_swept = True
                await asyncio.to_thread(remove_forgotten)
            place = await stack.enter_async_context(self._room.place())
            path = await stack.enter_async_context(temporary_file())
            await download(path, place.take)
        except OSError as error:
            raise Unavailable(f"The file cannot be copied to this computer: {error.strerror}.", status=503) from error
        return path

    async def _keep(self, identity: str, copy: _Copy, stack: AsyncExitStack) -> None:
        """Keep a copy for as long as it is read, and remove it whatever happens."""
        async with stack:
            try:
                await asyncio.wait({copy.made})
                if not copy.made.cancelled() and copy.made.exception() is None:
                    await self._until_unread(copy)
            finally:
                self._forget(identity, copy)
                copy.made.cancel()
                await asyncio.wait({copy.made})

    async def _until_unread(self, copy: _Copy) -> None:
        # Not wait_for, which before Python 3.12 loses a cancellation that comes together with what it waits for.
        later = asyncio.get_running_loop().call_later
        while copy.readers or not copy.is_unwanted:
            copy.changed.clear()
            end = None if copy.readers else later(self._kept, partial(copy.wake, is_unwanted=True))
            try:
                await copy.changed.wait()
            finally:
                if end:
                    end.cancel()

    def _forget(self, identity: str, copy: _Copy) -> None:
        if self._copies.get(identity) is copy:
            del self._copies[identity]

    def _drop_unread(self) -> None:
        """There is no room: what nobody reads any more is removed now."""
        for copy in self._copies.values():
            if not copy.readers and copy.made.done():
                copy.wake(is_unwanted=True)

    async def aclose(self) -> None:
        """Remove all copies."""
        keeping = list(self._keeping)
        for task in keeping:
            task.cancel()
        if keeping:
            await asyncio.wait(keeping)


@asynccontextmanager
async def temporary_file() -> AsyncGenerator[Path, None]:
    """Where a file can be written that is gone at the end of the block."""
    # It is also gone when ComfyUI ends while it is there, without closing the panel.
    with tempfile.TemporaryDirectory(prefix=_PREFIX, ignore_cleanup_errors=True) as folder:
        yield Path(folder) / "file"


def remove_forgotten(parent: Path | None = None, *, prefix: str = _PREFIX) -> None:
    """Remove the temporary folders that ComfyUIs have left which were killed."""
    for folder in (parent or Path(tempfile.gettempdir())).glob(f"{prefix}*"):
        with suppress(OSError):
            if time.time() - max(each.stat().st_mtime for each in (folder, *folder.iterdir())) > _FORGOTTEN:
                shutil.rmtree(folder, ignore_errors=True)
