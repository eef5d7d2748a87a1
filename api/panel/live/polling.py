"""Watches the runs of a platform that tells nothing by itself."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable
from contextlib import suppress
from typing import NamedTuple

from ...client import Client
from ...errors import NotFound
from ...models import Run, RunStatus

Tell = Callable[[Iterable[Run]], Awaitable[None]]
_LISTED = 100
_AT_ONCE = 4


class Pace(NamedTuple):
    """How often a platform is asked, in seconds."""

    active: float = 1.5
    """For the runs that have not ended."""
    listing: float = 20.0
    """For what somebody else has started, while something is at work."""
    quiet: float = 60.0
    """For that while nothing is: a list takes several requests."""


async def poll(client: Client, tell: Tell, expected: asyncio.Queue[Run], *, pace: Pace = Pace()) -> None:  # noqa: B008
    """Tell of every change that is seen, until the caller is cancelled. Raises OutpostError when it cannot be seen.

    Runs that were started here come as `expected`, and are looked after at once.
    """
    clock = asyncio.get_running_loop().time
    seen: dict[str, RunStatus] = {}
    is_first = True
    active: set[str] = set()
    list_at = clock()
    while True:
        if clock() >= list_at + (0 if active else pace.quiet - pace.listing) or is_first:
            runs = await client.runs.recent(limit=_LISTED)
            # What had ended before somebody looked is no news.
            await tell([run for run in runs if not is_first and seen.get(run.id) is not run.status])
            seen, is_first = {run.id: run.status for run in runs}, False
            active = (active - seen.keys()) | {run.id for run in runs if not run.status.is_terminal}
            list_at = clock() + pace.listing
        runs = await looked_after(client, active)
        await tell(runs)
        seen |= {run.id: run.status for run in runs}
        active = {run.id for run in runs if not run.status.is_terminal}  # what is not found is gone
        left = list_at - clock()
        wait = min(pace.active, left) if active else left + pace.quiet - pace.listing
        with suppress(asyncio.TimeoutError):
            active.add((await asyncio.wait_for(expected.get(), max(wait, 0.0))).id)


async def looked_after(client: Client, run_ids: Iterable[str]) -> list[Run]:
    """Runs by their ids, without those that are not there any more. Raises OutpostError."""
    turns = asyncio.Semaphore(_AT_ONCE)

    async def look(run_id: str) -> Run | None:
        async with turns:
            with suppress(NotFound):
                return await client.runs.get(run_id)
        return None

    found = await asyncio.gather(*(look(each) for each in run_ids))
    return [run for run in found if run]
