"""Puts today's front end of ComfyUI in front of a ComfyUI, and lets a browser keep its files.

The page asks for everything below `/api`, which an old ComfyUI does not know, and for a few things that came later.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncGenerator, Collection, Mapping
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import aiohttp
from aiohttp import web
from comfyui_outpost.tests.fakes.serving import served

UNKNOWN_TO_OLD_ONES: dict[str, Any] = {
    "/api/features": {},
    "/api/i18n": {},
    "/api/workflow_templates": {},
    "/api/global_subgraphs": {},
    "/api/node_replacements": {},
    "/api/experiment/models": [],
    "/api/jobs": {"jobs": [], "pagination": {"offset": 0, "limit": 0, "total": 0, "has_more": False}},
    "/api/v2/userdata": [],
    "/api/assets": {"assets": [], "total": 0, "has_more": False},
    "/api/users": {"storage": "server", "migrated": True},
}
# What the page finds in every answer of a newer ComfyUI.
NEEDED_OF_A_NODE = {"python_module": "nodes", "output_node": False, "deprecated": False, "experimental": False}
NEEDED_OF_THE_SYSTEM = {"argv": [], "comfyui_version": "2024.03", "pytorch_version": "", "ram_total": 0, "ram_free": 0}
HOP_BY_HOP = {"connection", "content-length", "transfer-encoding", "content-encoding"}
STREAMS = ("text/event-stream", "application/x-ndjson")
# Nothing of a page changes while a browser is open that knows it, and it has some hundreds of files.
KEPT = {"Cache-Control": "max-age=31536000, immutable"}
NOT_KEPT = {"Cache-Control": "no-store"}
TIMEOUT = aiohttp.ClientTimeout(sock_connect=10, sock_read=60)
MAX_BODY = 64 * 1024 * 1024


class _Proxy:
    """Answers as its ComfyUI does, and lets a browser keep the files of the page."""

    not_forwarded = HOP_BY_HOP

    def __init__(self, session: aiohttp.ClientSession, page: Path) -> None:
        self._session = session
        self._page = page.resolve()

    async def answer(self, request: web.Request) -> web.StreamResponse:
        if request.path == "/ws":
            return await self._join(request)
        file = (self._page / request.path.lstrip("/")).resolve()
        if file.is_relative_to(self._page) and file.is_file():
            return web.FileResponse(file, headers=KEPT)
        return await self._forward(request)

    def path_of(self, request: web.Request) -> str:
        """Where ComfyUI has what is asked for, with the query."""
        return request.raw_path

    def as_expected(self, path: str, body: bytes) -> bytes:
        """A good answer as the page expects it."""
        return body

    async def _forward(self, request: web.Request) -> web.StreamResponse:
        path = self.path_of(request)
        async with self._session.request(
            request.method,
            path,
            data=await request.read() or None,
            headers=_without(request.headers, self.not_forwarded),
            allow_redirects=False,
        ) as answer:
            headers = _without(answer.headers, self.not_forwarded)
            if answer.content_type in STREAMS:
                return await _stream(request, answer, headers)
            body = await answer.read()
            if answer.status == 200:
                body = self.as_expected(path, body)
                headers |= KEPT if path.startswith("/extensions/") else {}
            return web.Response(status=answer.status, body=body, headers=headers)

    async def _join(self, request: web.Request) -> web.WebSocketResponse:
        """Pass on what a websocket says, in both directions, until either side closes."""
        near = web.WebSocketResponse(max_msg_size=0)
        await near.prepare(request)
        async with self._session.ws_connect(request.raw_path, max_msg_size=0) as far:
            passing = [asyncio.create_task(_pass_on(near, far)), asyncio.create_task(_pass_on(far, near))]
            try:
                await asyncio.wait(passing, return_when=asyncio.FIRST_COMPLETED)
            finally:
                for task in passing:
                    task.cancel()
                await asyncio.gather(*passing, return_exceptions=True)
        await near.close()
        return near


class _ProxyOfOldOne(_Proxy):
    """A ComfyUI that is older than its page."""

    not_forwarded = HOP_BY_HOP | {"host", "origin"}

    async def answer(self, request: web.Request) -> web.StreamResponse:
        if request.path in UNKNOWN_TO_OLD_ONES and request.method == "GET":
            return web.json_response(UNKNOWN_TO_OLD_ONES[request.path])
        if request.path == "/":
            return web.FileResponse(self._page / "index.html", headers=NOT_KEPT)
        return await super().answer(request)

    def path_of(self, request: web.Request) -> str:
        return request.raw_path.removeprefix("/api")

    def as_expected(self, path: str, body: bytes) -> bytes:
        if path.startswith("/object_info"):
            return json.dumps({name: NEEDED_OF_A_NODE | info for name, info in json.loads(body).items()}).encode()
        if path.startswith("/system_stats"):
            stats = json.loads(body)
            return json.dumps(stats | {"system": NEEDED_OF_THE_SYSTEM | stats["system"]}).encode()
        return body


def _without(headers: Mapping[str, str], left_out: Collection[str]) -> dict[str, str]:
    return {name: value for name, value in headers.items() if name.lower() not in left_out}


async def _stream(request: web.Request, answer: aiohttp.ClientResponse, headers: dict[str, str]) -> web.StreamResponse:
    """Pass on what comes bit by bit, as it comes."""
    response = web.StreamResponse(status=answer.status, headers=headers)
    await response.prepare(request)
    with suppress(ConnectionResetError):  # the page may be closed at any time
        async for chunk in answer.content.iter_any():
            await response.write(chunk)
        await response.write_eof()
    return response


async def _pass_on(source: Any, target: Any) -> None:
    async for message in source:
        if message.type == aiohttp.WSMsgType.TEXT:
            await target.send_str(message.data)
        elif message.type == aiohttp.WSMsgType.BINARY:
            await target.send_bytes(message.data)


@asynccontextmanager
async def todays_page(comfyui_url: str, front_end: Path, *, is_old: bool) -> AsyncGenerator[str, None]:
    """The address of a page of `front_end` (its static files) in front of a ComfyUI, which may be older than it.

    A new ComfyUI has a browser load thirty megabytes again with every page.
    """
    kind = _ProxyOfOldOne if is_old else _Proxy
    async with aiohttp.ClientSession(comfyui_url, timeout=TIMEOUT, auto_decompress=True) as session:
        app = web.Application(client_max_size=MAX_BODY)
        app.router.add_route("*", "/{path:.*}", kind(session, front_end).answer)
        async with served(app) as url:
            yield url
