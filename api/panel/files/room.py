"""Room for the copies of files that are on their way: so many at a time, and so many bytes in all."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager

from ...errors import Unavailable

FILES = 8
SIZE = 16 * 1024**3
"""Bytes of all copies together. One may have half of that."""
WAIT = 20.0
"""Seconds that one waits for room before the page is told that there is none."""


class Place:
    """Where one file is copied to, for as long as the copy is there."""

    def __init__(self, room: Room) -> None:
        self._room = room
        self.size = 0

    async def take(self, size: int) -> None:
        """The file will have so many bytes: wait until there is room. Raises Unavailable when there is none in time."""
        self.size = 0
        await self._room.until(lambda: self._room.taken + size <= self._room.size)
        self.size = size


class Room:
    """All places, on one event loop. `on_full` is called when somebody has to wait, and may give places up."""

    def __init__(
        self, *, files: int = FILES, size: int = SIZE, wait: float = WAIT, on_full: Callable[[], None] = lambda: None
    ) -> None:
        self.size = size
        self.on_full = on_full
        self._files = files
        self._wait = wait
        self._places: list[Place] = []
        self._changed = asyncio.Event()

    @property
    def taken(self) -> int:
        """Bytes that are there, or on their way."""
        return sum(place.size for place in self._places)

    @asynccontextmanager
    async def place(self) -> AsyncGenerator[Place, None]:
        """A place until the block ends. Raises Unavailable when there is none in time."""
        await self.until(lambda: len(self._places) < self._files)
        place = Place(self)
        self._places.append(place)
        try:
            yield place
        finally:
            self._places.remove(place)
            self.changed()

    async def until(self, is_so: Callable[[], bool]) -> None:
        """Wait until something is so. Raises Unavailable."""
        loop = asyncio.get_running_loop()
        deadline = loop.time() + self._wait
        # Nothing is awaited after it was looked: whoever comes back from here has the room before somebody else looks.
        while not is_so():
            if loop.time() >= deadline:
                raise Unavailable(
                    "Too many files are on their way through this ComfyUI, or too large ones. Try again in a moment.",
                    status=503,
                )
            changed = self._changed
            self.on_full()
            # Not wait_for, which before Python 3.12 loses a cancellation that comes together with what it waits for.
            end = loop.call_at(deadline, self.changed)
            try:
                await changed.wait()
            finally:
                end.cancel()

    def changed(self) -> None:
        """There may be room now."""
        changed, self._changed = self._changed, asyncio.Event()
        changed.set()
