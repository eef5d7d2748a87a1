"""Work that is done as a whole: two things of which neither goes on alone, and what must not be torn."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from contextlib import suppress
from typing import Any


async def both(first: Coroutine[Any, Any, None], second: Coroutine[Any, Any, None]) -> None:
    """Do two things at once; when one fails, or whoever waits is cancelled, the other one is stopped."""
    tasks = [asyncio.ensure_future(first), asyncio.ensure_future(second)]
    try:
        # Not gather: it passes a cancellation on, and a second one tears what waits for its end after the first.
        ended, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_EXCEPTION)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
    for task in tasks:
        if task in ended:
            task.result()


async def to_its_end(work: Coroutine[Any, Any, None], *, seconds: float) -> None:
    """Do something that must not be torn: a cancellation, and those after it, wait so long for it to be done."""
    task, clock = asyncio.ensure_future(work), asyncio.get_running_loop().time
    try:
        await asyncio.shield(task)
    except asyncio.CancelledError:
        until = clock() + seconds
        while not task.done() and clock() < until:
            with suppress(asyncio.CancelledError):
                await asyncio.wait({task}, timeout=until - clock())
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        raise
