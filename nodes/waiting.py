"""Waiting for several things, and for things that the user may not want any more."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Sequence
from typing import Any, TypeVar

S = TypeVar("S")
T = TypeVar("T")

INTERRUPT_SECONDS = 0.1
"""How often the host is asked whether its user wants to stop."""
PARALLEL_FILES = 4
"""Files that are made, sent or fetched at the same time, by one node; bounds memory."""


async def gather_or_cancel(coroutines: Sequence[Coroutine[Any, Any, T]]) -> list[T]:
    """The results of all of them, side by side; when one fails the others are cancelled and have ended."""
    tasks = [asyncio.ensure_future(each) for each in coroutines]
    try:
        return list(await asyncio.gather(*tasks))
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def side_by_side(
    items: Sequence[S], work: Callable[[S], Coroutine[Any, Any, T]], *, limit: int = PARALLEL_FILES
) -> list[T]:
    """The results of the work on each item, in order, at most `limit` at a time; as `gather_or_cancel` for failures."""
    slots = asyncio.Semaphore(limit)

    async def limited(item: S) -> T:
        await slots.acquire()
        result = await work(item)
        slots.release()  # only now: after a failure nothing more is begun
        return result

    return await gather_or_cancel([limited(item) for item in items])


async def interruptible(check: Callable[[], None], coroutine: Coroutine[Any, Any, T]) -> T:
    """The result of a coroutine, which is cancelled, and has ended, when `check` raises to say that it shall stop."""
    task = asyncio.ensure_future(coroutine)
    try:
        check()
        while not task.done():
            await asyncio.wait({task}, timeout=INTERRUPT_SECONDS)
            check()
        return task.result()
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
