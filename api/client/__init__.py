"""The client for the platform's API, ours and the hosted one."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from types import TracebackType
from typing import TYPE_CHECKING

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
        await self._wire.aclose()
