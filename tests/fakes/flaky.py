"""A server that answers what a test has written down for it, well or badly, one answer after the other."""

from __future__ import annotations

import asyncio
import json
from collections import deque
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from aiohttp import web

from .serving import Log, reset

Act = Callable[[web.Request], Awaitable[web.StreamResponse]]


class Flaky:
    """Each request takes the next act; the last one stays."""

    def __init__(self, *acts: Act) -> None:
        self.acts = deque(acts)
        self.log = Log()
        self.transports: list[object] = []

    @property
    def app(self) -> web.Application:
        app = web.Application(client_max_size=1 << 30)
        app.router.add_route("*", "/{path:.*}", self._handle)
        return app

    async def _handle(self, request: web.Request) -> web.StreamResponse:
        await self.log.take(request)
        self.transports.append(request.transport)
        act = self.acts.popleft() if len(self.acts) > 1 else self.acts[0]
        return await act(request)


def answer(data: Any, status: int = 200, *, headers: Mapping[str, str] | None = None) -> Act:
    """JSON."""
    return text(json.dumps(data), status, content_type="application/json", headers=headers)


def text(
    body: str | bytes, status: int = 200, *, content_type: str = "text/plain", headers: Mapping[str, str] | None = None
) -> Act:
    """Any text, or bytes."""
    data = body.encode() if isinstance(body, str) else body

    async def act(request: web.Request) -> web.StreamResponse:
        return web.Response(status=status, body=data, content_type=content_type, headers=headers)

    return act


async def break_off(request: web.Request) -> web.StreamResponse:
    """No answer: the connection is reset."""
    reset(request)
    return web.Response()


def break_off_after(data: bytes, *, announced: int, headers: Mapping[str, str] | None = None) -> Act:
    """A body that ends too early."""

    async def act(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse(headers={**(headers or {}), "Content-Length": str(announced)})
        await response.prepare(request)
        await response.write(data)
        reset(request)
        return response

    return act


def silence(until: asyncio.Event) -> Act:
    """No byte of an answer until the test is over."""

    async def act(request: web.Request) -> web.StreamResponse:
        await until.wait()
        return web.Response()

    return act
