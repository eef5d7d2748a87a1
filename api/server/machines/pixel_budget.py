"""How many pixels are computed at a time, by all who share one budget."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager


class PixelBudget:
    """Whoever needs more pixels than are left waits for his turn; nobody overtakes. For one event loop."""

    def __init__(self, pixels: int) -> None:
        self._all = self._left = pixels
        self._line = asyncio.Lock()
        self._returned = asyncio.Event()

    @asynccontextmanager
    async def taken(self, pixels: int) -> AsyncGenerator[None, None]:
        """Hold so many pixels, once there are as many. More than there are in all are all of them."""
        pixels = min(pixels, self._all)
        async with self._line:
            while self._left < pixels:
                self._returned.clear()
                await self._returned.wait()
            self._left -= pixels
        try:
            yield
        finally:
            self._left += pixels
            self._returned.set()
