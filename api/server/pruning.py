"""Forgets what nobody can ask for any more, now and then and a little at a time."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable

from .ending import end_tasks

log = logging.getLogger("outpost.server")

PRUNE_SECONDS = 3600.0
"""Between two times."""
_BREATH = 0.1
"""Seconds between two batches, in which others write."""


class Pruning:
    """Calls those that each forget one batch until they have forgotten all: they return whether there may be more."""

    def __init__(self, *forget: Callable[[], Awaitable[bool]], seconds: float = PRUNE_SECONDS) -> None:
        self._forget = forget
        self._seconds = seconds
        self._loops: list[asyncio.Task[None]] = []

    async def start(self) -> None:
        """Forget until `stop`."""
        self._loops = [asyncio.create_task(self._for_ever())]

    async def stop(self) -> None:
        """Forget no more."""
        await end_tasks(self._loops)

    async def _for_ever(self) -> None:
        while True:
            is_more = [await self._one_batch(forget) for forget in self._forget]
            await asyncio.sleep(_BREATH if any(is_more) else self._seconds)

    async def _one_batch(self, forget: Callable[[], Awaitable[bool]]) -> bool:
        try:
            return await forget()
        except Exception:
            # A database that is away for a moment must not end it for good.
            log.exception("what is old could not be forgotten; it is tried again")
            return False
