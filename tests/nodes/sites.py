"""A platform on a socket of its own, where a test sees every request, can hold some, and can pull the plug."""

from __future__ import annotations

import asyncio
from collections import Counter, deque
from collections.abc import Awaitable, Callable, Mapping
from contextlib import AsyncExitStack
from typing import Any

from aiohttp import web
from comfyui_outpost.api.server.app import build_app
from comfyui_outpost.api.server.platform import Platform
from comfyui_outpost.tests.fakes.serving import reset, served
from comfyui_outpost.tests.nodes.hosts import WAIT_SECONDS

ANNOUNCE = "POST /api/file/upload"
PUT = "PUT /api/objects/{key}"
FETCH = "GET /api/objects/{key}"
SUBMIT = "POST /api/run/deployment/stream"
READ = "GET /api/run/{run_id}"
CANCEL = "POST /api/run/{run_id}/cancel"

_Next = Callable[[web.Request], Awaitable[web.StreamResponse]]


class Site:
    """Serves the real API of a platform. Requests are named by method and route, such as `PUT /api/objects/{key}`."""

    def __init__(self, platform: Platform) -> None:
        self.url = ""
        self.requests: list[str] = []
        self.headers: list[Mapping[str, str]] = []
        self._faults: dict[str, deque[int | None]] = {}
        self._held: dict[str, asyncio.Event] = {}
        self._late: dict[str, asyncio.Event] = {}
        self._lost: Counter[str] = Counter()
        self._app = build_app(platform)
        self._app.middlewares.insert(0, self._middleware())
        self._stack = AsyncExitStack()

    async def open(self) -> None:
        self.url = await self._stack.enter_async_context(served(self._app))

    async def kill(self) -> None:
        """Close the socket and every connection; the platform behind it goes on."""
        await self._stack.aclose()

    def count(self, name: str) -> int:
        """How many requests of this name have come."""
        return self.requests.count(name)

    def fail(self, name: str, *statuses: int | None) -> None:
        """Answer the next requests of this name with these statuses; None lets one through."""
        self._faults[name] = deque(statuses)

    def hold(self, name: str) -> None:
        """Leave the requests of this name that no `fail` answers without an answer."""
        self._held[name] = asyncio.Event()

    def hold_answers(self, name: str) -> asyncio.Event:
        """Do what the requests of this name ask for, and answer them after the event is set."""
        self._late[name] = asyncio.Event()
        return self._late[name]

    def lose_answers(self, name: str, count: int = 1) -> None:
        """Do what the next requests of this name ask for, and break the connection off in place of an answer."""
        self._lost[name] = count

    async def has_held(self, name: str) -> None:
        """Wait until a request is being held."""
        await asyncio.wait_for(self._held[name].wait(), WAIT_SECONDS)

    def _middleware(self) -> Any:
        @web.middleware
        async def watch(request: web.Request, handler: _Next) -> web.StreamResponse:
            resource = request.match_info.route.resource
            name = f"{request.method} {resource.canonical if resource else request.path}"
            self.requests.append(name)
            self.headers.append(request.headers)
            faults = self._faults.get(name)
            if fault := faults.popleft() if faults else None:
                return web.Response(status=fault)
            if name in self._held:
                self._held[name].set()
                await asyncio.Event().wait()
            answer = await handler(request)
            if self._lost[name] > 0:
                self._lost[name] -= 1
                reset(request)
            if name in self._late:
                await self._late[name].wait()
            return answer

        return watch
