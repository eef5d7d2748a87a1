"""A server of this package, reduced to runs and files: streams that tests write by hand, and can be resumed."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable
from typing import Any

from aiohttp import web
from comfyui_outpost.api.events import Accepted, RunEvent, StatusChanged, to_sse
from comfyui_outpost.api.models import RunStatus

from .serving import KEY, Log, reset
from .storage import FakeStorage

RUN_ID = "0d7b1f0e-8d3c-4a35-9b57-9a1d2c5be001"
DEPLOYMENT_ID = "0d7b1f0e-8d3c-4a35-9b57-9a1d2c5be002"
VERSION = {"Outpost-Version": "0.1.0"}


class Stream:
    """The server's end of an event stream."""

    def __init__(self, request: web.Request, response: web.StreamResponse) -> None:
        self.request = request
        self._response = response

    async def send(self, event: RunEvent, number: int | None = None) -> None:
        await self._response.write(to_sse(event, number=number))

    async def comment(self) -> None:
        await self._response.write(b": still here\n\n")

    def reset(self) -> None:
        reset(self.request)


Act = Callable[[Stream], Awaitable[None]]


class FakeOutpost:
    """Each stream that is asked for plays the next of `acts`; runs and files are as the attributes say."""

    def __init__(self, *acts: Act) -> None:
        self.acts = deque(acts)
        self.log = Log()
        self.storage = FakeStorage()
        self.run: dict[str, Any] = {"id": RUN_ID, "status": "success", "progress": 1.0, "outputs": []}
        self.expires_at: str | None = None
        self.run_was_cancelled = asyncio.Event()
        self.was_submitted = asyncio.Event()
        self.may_accept = asyncio.Event()
        """Cleared by a test that wants the submission to stay without an answer."""
        self.may_accept.set()
        self.run_faults: deque[int | str] = deque()
        """Statuses (or `reset`) that the next polls get instead of the run."""
        self._files = 0

    @property
    def app(self) -> web.Application:
        app = web.Application(middlewares=[self._known])
        app.router.add_post("/api/run/deployment/stream", self._submit)
        app.router.add_get("/api/run/{id}/stream", self._resume)
        app.router.add_get("/api/run/{id}", self._run)
        app.router.add_post("/api/run/{id}/cancel", self._cancel)
        app.router.add_get("/api/deployment/{id}", self._deployment)
        app.router.add_post("/api/file/upload", self._ticket)
        app.on_response_prepare.append(self._sign)
        return app

    @web.middleware
    async def _known(self, request: web.Request, handler: Any) -> web.StreamResponse:
        await self.log.take(request)
        if request.headers.get("Authorization") != f"Bearer {KEY}":
            return web.json_response({"detail": "no", "code": "unauthorized"}, status=401)
        return await handler(request)

    async def _sign(self, request: web.Request, response: web.StreamResponse) -> None:
        response.headers.update(VERSION)

    async def _submit(self, request: web.Request) -> web.StreamResponse:
        self.was_submitted.set()
        await self.may_accept.wait()
        return await self._play(request)

    async def _resume(self, request: web.Request) -> web.StreamResponse:
        if not self.acts:
            return web.json_response({"detail": "no", "code": "not_found"}, status=404)
        return await self._play(request)

    async def _play(self, request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
        act = self.acts.popleft()
        if act is refuse:
            reset(request)
            return response
        await response.prepare(request)
        await act(Stream(request, response))
        return response

    async def _run(self, request: web.Request) -> web.StreamResponse:
        fault = self.run_faults.popleft() if self.run_faults else None
        if fault == "reset":
            reset(request)
        if fault:
            return web.json_response({"detail": "no", "code": "x"}, status=fault if isinstance(fault, int) else 500)
        return web.json_response(self.run)

    async def _cancel(self, request: web.Request) -> web.StreamResponse:
        assert request.match_info["id"] == RUN_ID
        self.run["status"] = "cancelled"
        self.run_was_cancelled.set()
        return web.json_response({"status": "success", "message": "cancelled"})

    async def _deployment(self, request: web.Request) -> web.StreamResponse:
        return web.json_response({"id": DEPLOYMENT_ID, "workflow_id": DEPLOYMENT_ID})

    async def _ticket(self, request: web.Request) -> web.StreamResponse:
        body = await request.json()
        if body["type"].startswith("bad/"):
            return web.json_response({"detail": "This type is not taken", "code": "unprocessable"}, status=422)
        self._files += 1
        url = self.storage.url(f"inputs/file_{self._files}")
        ticket = {"upload_url": url, "download_url": url, "file_id": f"file_{self._files}"}
        return web.json_response(ticket | {"expires_at": self.expires_at})


async def refuse(stream: Stream) -> None:
    """An act that is a reset in place of an answer."""


async def succeed(stream: Stream) -> None:
    """A run without incidents."""
    await stream.send(Accepted(RUN_ID))
    await stream.send(StatusChanged(RUN_ID, RunStatus.RUNNING), 1)
    await stream.send(StatusChanged(RUN_ID, RunStatus.SUCCESS), 2)
