"""Waiting for several things, and for things that the user may not want any more."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Sequence
from typing import Any, TypeVar

T = TypeVar("T")

INTERRUPT_SECONDS = 0.1
"""How often the host is asked whether its user wants to stop."""


async def gather_or_cancel(coroutines: Sequence[Coroutine[Any, Any, T]]) -> list[T]:
    """The results of all of them, side by side; when one fails the others are cancelled and have ended."""
    tasks = [asyncio.ensure_future(each) for each in coroutines]
    try:
        return list(await asyncio.gather(*tasks))
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


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
