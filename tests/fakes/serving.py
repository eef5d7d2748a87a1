"""Servers on real sockets, and time that passes only when somebody sleeps."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from aiohttp import web

KEY = "key-that-nobody-may-see"


@asynccontextmanager
async def served(
    app: web.Application, *, cancels_handlers: bool = False, ssl_context: ssl.SSLContext | None = None
) -> AsyncIterator[str]:
    """Serve on a free port of this machine; gives the base URL."""
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.05, handler_cancellation=cancels_handlers)
    await runner.setup()
    try:
        site = web.TCPSite(runner, "127.0.0.1", 0, ssl_context=ssl_context)
        await site.start()
        port = runner.addresses[0][1]
        yield f"{'https' if ssl_context else 'http'}://127.0.0.1:{port}"
    finally:
        await end(runner)


async def end(runner: web.AppRunner) -> None:
    """End a server, with every connection that it has or is about to have."""
    for site in [*runner.sites]:
        await stop_listening(site)
    await runner.cleanup()


async def stop_listening(site: Any) -> None:
    """Take up no more connections.

    asyncio forgets one that it is taking up when a server closes, and leaves it open, which is noticed in another test:
    https://github.com/python/cpython/issues/109564
    """
    loop = asyncio.get_running_loop()
    for listening in site._server.sockets:
        loop.remove_reader(listening)
    await asyncio.sleep(0)  # one that was taken up gets to its server
    await site.stop()


@dataclass(frozen=True)
class Seen:
    """A request as the server got it."""

    method: str
    path: str
    """With the query, as it was written on the wire."""
    headers: Mapping[str, str]
    body: bytes = b""


@dataclass
class Log:
    """Every request that a server got."""

    requests: list[Seen] = field(default_factory=list)

    async def take(self, request: web.Request) -> Seen:
        """Note a request, with its whole body."""
        seen = Seen(request.method, request.raw_path, dict(request.headers), await request.read())
        self.requests.append(seen)
        return seen

    def named(self, method: str, path: str) -> list[Seen]:
        """The requests for a path, whatever their query."""
        return [each for each in self.requests if each.method == method and each.path.partition("?")[0] == path]

    def submissions(self) -> list[Seen]:
        """The requests that start a run."""
        return [each for each in self.requests if each.method == "POST" and "/run/deployment/" in each.path]


@dataclass
class FakeTime:
    """A clock that only sleeping moves."""

    now: float = 0.0
    slept: list[float] = field(default_factory=list)
    _due: list[tuple[float, Callable[[], object]]] = field(default_factory=list)

    def at(self, moment: float, act: Callable[[], object]) -> None:
        """Do something when the clock comes to this moment."""
        self._due.append((moment, act))

    def clock(self) -> float:
        return self.now

    async def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.now += seconds
        for due in [each for each in self._due if each[0] <= self.now]:
            self._due.remove(due)
            due[1]()
        await asyncio.sleep(0)


def reset(request: web.Request) -> None:
    """Break the connection without a word."""
    assert request.transport is not None
    request.transport.abort()
