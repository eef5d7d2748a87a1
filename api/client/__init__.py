"""The client for the platform's API, ours and the hosted one."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing
from types import TracebackType
from typing import TYPE_CHECKING

from ..account_events import AccountEvent
from ..errors import NotFound
from ..models import Health, Workflow
from ..settings import Connection
from .assets import Assets
from .changes import UNCHANGED
from .contents import ContentCache, Uploaded
from .deployments import Deployments
from .files import Files
from .http import Wire
from .keys import Keys
from .listening import listen
from .machines import Machines
from .platform import Platform, Sleep, Timeouts
from .runs import Runs
from .transfers import Transfers
from .workflows import Workflows

if TYPE_CHECKING:
    from httpx import AsyncBaseTransport

__all__ = ["UNCHANGED", "Client", "ContentCache", "Timeouts", "Uploaded"]


class Client:
    """One platform, for one event loop.

    ComfyUI runs every prompt in a loop of its own, so a client lives no longer than one execution. What outlives it is
    the content cache.
    """

    def __init__(
        self,
        connection: Connection,
        *,
        contents: ContentCache | None = None,
        timeouts: Timeouts = Timeouts(),  # noqa: B008 (it is immutable)
        transport: AsyncBaseTransport | None = None,
        sleep: Sleep = asyncio.sleep,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.connection = connection
        self._wire = Wire(connect=timeouts.connect, transport=transport)
        self._platform = platform = Platform(connection, wire=self._wire, timeouts=timeouts, sleep=sleep)
        transfers = Transfers(platform, wire=self._wire)
        self.deployments = Deployments(platform)
        self.workflows = Workflows(platform)
        self.machines = Machines(platform)
        self.files = Files(platform, transfers=transfers, contents=contents or ContentCache())
        self.assets = Assets(platform, transfers=transfers)
        self.keys = Keys(platform)
        self.runs = Runs(platform, machines=self.machines, sleep=sleep, clock=clock)

    async def is_outpost(self) -> bool:
        """Whether the platform is a server of this package, which can do more than the hosted one."""
        return await self._platform.knows_outpost()

    async def events(
        self, *, previews: bool = False, last_event_id: str | None = None
    ) -> AsyncGenerator[AccountEvent, None]:
        """What changes for the owner of the key, by whomever: runs, machines, and what is made, changed or deleted.

        It never ends by itself. A connection that breaks is told by `StreamBroken`, and made anew, ever again; then
        `StreamBegun` says whether everything was told that has happened meanwhile, progress aside. `previews` are of
        runs that were submitted with `preview_images`. To be closed by the caller.

        Raises NotSupported on the hosted platform, and ApiError when the key is good for nothing any more.
        """
        async with aclosing(listen(self._platform, previews=previews, last_event_id=last_event_id)) as events:
            async for event in events:
                yield event

    async def health(self) -> Health:
        """Whether the platform is there; raises ConnectionFailed or ServerError when it is not.

        The hosted platform, which has no call for that, is asked for nothing in particular.
        """
        try:
            return await self._platform.get("/health", Health)
        except NotFound:
            await self._platform.get("/workflows", list[Workflow], params={"limit": 0})
            return Health()

    async def __aenter__(self) -> Client:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        try:
            await self.workflows.aclose()
        finally:
            await self._wire.aclose()
