"""Stands between ComfyUI and the platform: sees what is sent, and can get in its way."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncGenerator, Callable, Generator
from contextlib import asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass, field

import aiohttp
from aiohttp import web
from comfyui_outpost.tests.fakes.serving import end, stop_listening
from yarl import URL

HOP_BY_HOP = ("Connection", "Keep-Alive", "Transfer-Encoding")
ACCEPTED = re.compile(rb'"prompt_id":\s*"([0-9a-f-]{36})"')
LARGEST_BODY = 64 * 1024 * 1024
WAIT_SECONDS = 20


@dataclass
class Traffic:
    """What ComfyUI has sent to the platform during one test."""

    requests: list[str] = field(default_factory=list)
    """Method and path, in order: `POST /api/run/deployment/stream`."""
    run_ids: list[str] = field(default_factory=list)
    """The runs that the platform has accepted, in order."""

    def count(self, start: str) -> int:
        """How many requests begin like this."""
        return sum(request.startswith(start) for request in self.requests)


class Gateway:
    """Passes every request on as it is, and every answer as it comes. Made by `open_gateway`."""

    def __init__(self, platform: str, session: aiohttp.ClientSession) -> None:
        self.traffic = Traffic()
        self._platform = platform
        self._session = session
        self._runner: web.AppRunner | None = None
        self._site: web.TCPSite | None = None
        self._port = 0
        self._other_key: str | None = None
        self._uploads_may_pass = asyncio.Event()
        self._uploads_may_pass.set()
        self._news = asyncio.Condition()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._port}"

    async def wait_for_run(self) -> str:
        """The id of the first run of this test, once the platform has accepted it."""
        await self._wait_until(lambda: bool(self.traffic.run_ids))
        return self.traffic.run_ids[0]

    async def wait_for_request(self, start: str) -> None:
        """Return once there was a request that begins like this."""
        await self._wait_until(lambda: self.traffic.count(start) > 0)

    @contextmanager
    def holding_uploads(self) -> Generator[None]:
        """During the block no file gets to the platform."""
        self._uploads_may_pass.clear()
        try:
            yield
        finally:
            self._uploads_may_pass.set()

    @contextmanager
    def using_key(self, key: str) -> Generator[None]:
        """During the block the platform gets this key instead of ComfyUI's."""
        self._other_key = key
        try:
            yield
        finally:
            self._other_key = None

    @asynccontextmanager
    async def away(self) -> AsyncGenerator[None]:
        """During the block nobody listens at this address."""
        assert self._runner and self._site
        await stop_listening(self._site)
        try:
            yield
        finally:
            await self.listen(self._runner)

    async def listen(self, runner: web.AppRunner) -> None:
        """Take requests, at the first time on a free port and from then on always on the same one."""
        self._runner = runner
        self._site = web.TCPSite(runner, "127.0.0.1", self._port)
        await self._site.start()
        self._port = runner.addresses[0][1]

    async def forward(self, request: web.Request) -> web.StreamResponse:
        await self._note(f"{request.method} {request.path}")
        if request.method == "PUT":
            await self._uploads_may_pass.wait()
        headers = request.headers.copy()
        if self._other_key and "Authorization" in headers:
            headers["Authorization"] = f"Bearer {self._other_key}"
        # With the Host that ComfyUI has asked for, so that the signed URLs lead here too; and byte for byte.
        target = URL(self._platform + request.raw_path, encoded=True)
        response = web.StreamResponse()
        # Whoever is interrupted goes away in the middle of an answer.
        with suppress(ConnectionResetError):
            async with self._session.request(
                request.method, target, headers=headers, data=await request.read(), allow_redirects=False
            ) as answer:
                await self._pass_on(request, answer, response)
        return response

    async def _pass_on(
        self, request: web.Request, answer: aiohttp.ClientResponse, response: web.StreamResponse
    ) -> None:
        response.set_status(answer.status)
        response.headers.extend((name, value) for name, value in answer.headers.items() if name not in HOP_BY_HOP)
        await response.prepare(request)
        beginning: bytes | None = b""
        async for chunk in answer.content.iter_any():
            if beginning is not None and request.path.endswith("/run/deployment/stream"):
                beginning = await self._note_run(beginning + chunk)
            await response.write(chunk)
        await response.write_eof()

    async def _note_run(self, beginning: bytes) -> bytes | None:
        """Look for the run's id in the beginning of a stream; None when it has been found."""
        accepted = ACCEPTED.search(beginning)
        if accepted is None:
            return beginning
        await self._note(run_id=accepted[1].decode())
        return None

    async def _wait_until(self, has_come: Callable[[], bool]) -> None:
        async with self._news:
            await asyncio.wait_for(self._news.wait_for(has_come), WAIT_SECONDS)

    async def _note(self, request: str | None = None, *, run_id: str | None = None) -> None:
        async with self._news:
            self.traffic.requests += [request] if request else []
            self.traffic.run_ids += [run_id] if run_id else []
            self._news.notify_all()


@asynccontextmanager
async def open_gateway(platform: str) -> AsyncGenerator[Gateway]:
    """A gateway to the platform at that address, on a free port."""
    async with aiohttp.ClientSession(auto_decompress=False) as session:
        gateway = Gateway(platform, session)
        app = web.Application(client_max_size=LARGEST_BODY)
        app.router.add_route("*", "/{path:.*}", gateway.forward)
        runner = web.AppRunner(app, access_log=None, shutdown_timeout=1)
        await runner.setup()
        try:
            await gateway.listen(runner)
            yield gateway
        finally:
            await end(runner)
