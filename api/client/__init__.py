"""The client for the platform's API, ours and the hosted one."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from types import TracebackType
from typing import TYPE_CHECKING

from ..settings import Connection
from .contents import ContentCache, StoredFile
from .files import Files
from .http import Wire
from .platform import Platform, Sleep, Timeouts
from .resources import Deployments, Machines, Workflows
from .runs import Runs

if TYPE_CHECKING:
    from httpx import AsyncBaseTransport

__all__ = ["Client", "ContentCache", "StoredFile", "Timeouts"]


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
        platform = Platform(connection, wire=self._wire, timeouts=timeouts, sleep=sleep)
        self.deployments = Deployments(platform)
        self.workflows = Workflows(platform)
        self.machines = Machines(platform)
        self.files = Files(platform, wire=self._wire, contents=contents or ContentCache(), sleep=sleep)
        self.runs = Runs(platform, machines=self.machines, sleep=sleep, clock=clock)

    async def __aenter__(self) -> Client:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self._wire.aclose()
