"""Answers ComfyUI's page: who may ask, how long it may take, and how errors are told."""

from __future__ import annotations

import asyncio
import importlib
import logging
import os
from collections.abc import Awaitable, Callable, Collection
from typing import TYPE_CHECKING, Any

from aiohttp import web

from ..errors import (
    ApiError,
    ConfigurationError,
    Forbidden,
    InvalidInput,
    NotSupported,
    OutpostError,
    Unavailable,
)
from .comfyui import ComfyUI
from .discretion import without_places
from .origin import HOSTS_VARIABLE, hosts_of, objection
from .table import PREFIX, ROUTES, Kind, Route

if TYPE_CHECKING:
    from .call import Call
    from .desk import Desk

log = logging.getLogger("outpost.panel")

_Answer = Callable[["Call"], Awaitable[Any]]  # what is told as JSON, or a response of its own
_Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]

_STATUS: dict[type[OutpostError], int] = {ConfigurationError: 503, InvalidInput: 422, NotSupported: 501}
"""What is not here comes of the platform or the way to it: 502."""
SAFE = {"X-Content-Type-Options": "nosniff", "Cross-Origin-Resource-Policy": "same-origin"}
PATIENCE = 45.0
"""Seconds that one answer may take in all. A platform that cannot be reached is tried four times by then."""
_OF_ELEMENTS = (Kind.PICTURE, Kind.FILE)
"""What elements of the page ask for, which cannot send our header."""
_PATIENT = (Kind.FILE, Kind.STREAM)


def attach(routes: web.RouteTableDef, *, comfyui: ComfyUI | None = None, patience: float = PATIENCE) -> Panel | None:
    """Add our routes to those of ComfyUI's server, before it starts. A second copy of this package adds nothing: None.

    aiohttp raises for two equal routes, and that would stop ComfyUI. ComfyUI's server ends with its process; whoever
    stops another one closes the panel.
    """
    if any(isinstance(each, web.RouteDef) and each.path.startswith(f"{PREFIX}/") for each in routes):
        log.warning("ComfyUI-Outpost is installed twice; the page works with the one that was loaded first")
        return None
    panel = Panel(comfyui=comfyui, hosts=hosts_of(os.environ.get(HOSTS_VARIABLE, "")), patience=patience)
    for route in ROUTES:
        routes.route(route.method, PREFIX + route.path)(panel.handler(route))
    return panel


class Panel:
    """Answers the page, on the event loop of ComfyUI's server."""

    def __init__(
        self, *, comfyui: ComfyUI | None = None, hosts: Collection[str] = (), patience: float = PATIENCE
    ) -> None:
        self._comfyui = comfyui
        self._hosts = hosts
        self._patience = patience
        self._desk: Desk | None = None
        self._answers: dict[str, _Answer] = {}

    async def aclose(self) -> None:
        """End what is at work for the page, and close the connections to the platform."""
        if self._desk:
            await self._desk.aclose()

    def handler(self, route: Route) -> _Handler:
        """A handler that checks where a request comes from, and tells errors as the page expects them."""

        async def handle(request: web.Request) -> web.StreamResponse:
            try:
                reason = objection(request.headers, is_picture=route.kind in _OF_ELEMENTS, hosts=self._hosts)
                if reason:
                    raise Forbidden(reason)
                patience = None if route.kind in _PATIENT else self._patience
                return await asyncio.wait_for(self._answer(route, request), patience)
            except OutpostError as error:
                problem = error
            except asyncio.TimeoutError:
                problem = Unavailable(f"The platform did not answer in {self._patience:g} seconds", status=504)
            except Exception as error:
                if isinstance(error, ConnectionError) and is_gone(request):
                    return _cut_off(request)
                # The page's edge: whatever is wrong with us must not become a traceback in ComfyUI's answer.
                log.exception("%s %s failed", request.method, request.path)
                problem = ApiError("ComfyUI-Outpost failed; ComfyUI's log has the reason", status=500)
            if not request.writer.output_size:
                return _problem(problem)
            log.warning("The answer to %s %s broke off: %s", request.method, request.path, problem)
            return _cut_off(request)

        return handle

    async def _answer(self, route: Route, request: web.Request) -> web.StreamResponse:
        answer = self._answers.get(route.answer)
        if answer is None or self._desk is None:
            answer = self._answers[route.answer] = await asyncio.to_thread(_load, route.answer)
            desk_of: Any = await asyncio.to_thread(_load, "desk.Desk")
            self._desk = self._desk or desk_of(self._comfyui)
        call_of: Any = _load("call.Call")
        told = await answer(call_of(request, self._desk))
        return _kept_from_others(told if isinstance(told, web.StreamResponse) else web.json_response(told))


def _load(name: str) -> Any:
    """A function or class of this package. It, and httpx and pydantic with it, is loaded when it is first needed."""
    module, _, attribute = name.rpartition(".")
    return getattr(importlib.import_module(f".{module}", __package__), attribute)


def _kept_from_others(response: web.StreamResponse) -> web.StreamResponse:
    if not response.prepared:
        for name, value in {**SAFE, "Cache-Control": "no-store"}.items():
            response.headers.setdefault(name, value)
    return response


def picture(data: bytes, content_type: str = "image/webp", *, seconds: int = 300) -> web.Response:
    """A picture, which the browser keeps for so long for the page that it is for."""
    headers = {**SAFE, "Cache-Control": f"private, max-age={seconds}", "Vary": "Sec-Fetch-Site"}
    return web.Response(body=data, content_type=content_type, headers=headers)


def is_gone(request: web.Request) -> bool:
    """Whether nobody is there any more to read the answer."""
    return request.transport is None or request.transport.is_closing()


def _cut_off(request: web.Request) -> web.StreamResponse:
    """End an answer that has begun: a second one would be read as part of it. What is returned goes nowhere."""
    if request.transport:
        request.transport.abort()
    return web.Response()


def _problem(error: OutpostError) -> web.Response:
    status = next((each for kind, each in _STATUS.items() if isinstance(error, kind)), 502)
    if isinstance(error, ApiError):
        # A 401 of the platform is about the key that is kept here, and nothing that the page could log in for.
        status = 502 if error.status in (401, 407) else error.status
    said = error.reason if isinstance(error, ApiError) else error
    headers = {**SAFE, "Cache-Control": "no-store"}
    return web.json_response({"detail": without_places(said), "code": error.code}, status=status, headers=headers)
