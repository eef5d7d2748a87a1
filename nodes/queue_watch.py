"""How many runs come before one that waits for a machine. Streams do not tell it, so the run is looked at."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING

from ..api.errors import OutpostError
from ..api.events import RunEvent, StatusChanged
from ..api.models import RunStatus

if TYPE_CHECKING:
    from ..api.client import Client

FIRST_LOOK_SECONDS = 1.5
"""How soon a run that waits is looked at, and then less and less often."""
LOOK_FACTOR = 1.3
LAST_LOOK_SECONDS = 10.0
_WAITING = (RunStatus.NOT_STARTED, RunStatus.QUEUED)


class QueueWatch:
    """Looks at one run as long as it waits."""

    def __init__(
        self,
        client: Client,
        show: Callable[[int], None],
        *,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._client = client
        self._show = show
        self._sleep = sleep
        self._looking: asyncio.Task[None] | None = None
        self._stopped: list[asyncio.Task[None]] = []

    def on_event(self, event: RunEvent) -> None:
        """Begin to look at a run that waits, and stop when it does not any more. It may have to wait again."""
        if not isinstance(event, StatusChanged):
            return
        if event.status not in _WAITING:
            self._stop()
        elif not self._looking:
            self._looking = asyncio.ensure_future(self._look(event.run_id))

    async def close(self) -> None:
        """Look no more."""
        self._stop()
        await asyncio.gather(*self._stopped, return_exceptions=True)

    def _stop(self) -> None:
        if self._looking:
            self._looking.cancel()
            self._stopped.append(self._looking)
            self._looking = None

    async def _look(self, run_id: str) -> None:
        seconds = FIRST_LOOK_SECONDS
        while True:
            await self._sleep(seconds)
            seconds = min(seconds * LOOK_FACTOR, LAST_LOOK_SECONDS)
            try:
                run = await self._client.runs.get(run_id)
            except OutpostError:
                continue  # whoever follows the run tells what is wrong
            if run.queue_position is not None:
                self._show(run.queue_position)
