"""The client of the platform that is set up on this computer, on one event loop."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager

from ..client import Client, Timeouts
from ..settings import Connection, load_connection

_TIMEOUTS = Timeouts(connect=5.0, read=20.0, transfer=20.0)
"""Shorter than those of a run: somebody sits at the page and waits."""


class _Lent:
    def __init__(self, client: Client) -> None:
        self.client = client
        self.users = 0
        self.is_retired = False

    async def close_if_idle(self) -> None:
        if self.is_retired and not self.users:
            await self.client.__aexit__(None, None, None)


class Clients:
    """Keeps a client from request to request: what it knows of the platform saves calls, and its connections time.

    When another connection is set up, the client of the former one is closed as soon as nobody uses it.
    """

    def __init__(self, load: Callable[[], Connection] = load_connection) -> None:
        self._load = load
        self._lent: _Lent | None = None
        # Not ComfyUI's own threads: a platform that has to be started first keeps one for a minute.
        self._loading = ThreadPoolExecutor(1, "outpost-connection")

    @asynccontextmanager
    async def open(self) -> AsyncGenerator[Client, None]:
        """The client of the connection that is set up now. Raises ConfigurationError."""
        connection = await asyncio.get_running_loop().run_in_executor(self._loading, self._load)
        former, lent = self._lent, self._lent
        if lent is None or lent.client.connection != connection:
            lent = self._lent = _Lent(Client(connection, timeouts=_TIMEOUTS))
        lent.users += 1  # no other request comes between: there was nothing to wait for
        try:
            if former is not lent:
                await _retire(former)
            yield lent.client
        finally:
            lent.users -= 1
            await lent.close_if_idle()

    async def aclose(self) -> None:
        """Close the client, or let whoever uses it do so at the end."""
        former, self._lent = self._lent, None
        await _retire(former)


async def _retire(lent: _Lent | None) -> None:
    if lent:
        lent.is_retired = True
        await lent.close_if_idle()
