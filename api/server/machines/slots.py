"""Places for so many at once."""

from __future__ import annotations

import asyncio
from types import TracebackType


class Slots:
    """A semaphore whose size can be changed while places are taken: who has one keeps it."""

    def __init__(self, count: int) -> None:
        self._count = max(1, count)
        self._taken = 0
        self._waiting: list[asyncio.Future[None]] = []

    def resize(self, count: int) -> None:
        """Have this many places from now on."""
        self._count = max(1, count)
        self._wake()

    def locked(self) -> bool:
        """Whether whoever comes now has to wait."""
        return self._taken >= self._count

    async def __aenter__(self) -> None:
        while self.locked():
            free = asyncio.get_running_loop().create_future()
            self._waiting.append(free)
            try:
                await free
            finally:
                self._waiting.remove(free)
        self._taken += 1

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._taken -= 1
        self._wake()

    def _wake(self) -> None:
        """Whoever waits looks again, in the order of their coming."""
        for free in self._waiting:
            if not free.done():
                free.set_result(None)
