"""The web application: the API's routes, and what every answer has in common."""

from __future__ import annotations

import logging
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

from aiohttp import web

from ... import __version__
from ..errors import ApiError, BadRequest, NotFound, ServerError, TooLarge
from .call import Call, Endpoint, Handler, PublicHandler, authenticate
from .platform import Platform
from .routes import ENDPOINTS, PUBLIC_ENDPOINTS

log = logging.getLogger("outpost.server")

VERSION_HEADER = "Outpost-Version"
"""On every answer: tells a client that it may rely on idempotency keys and on resuming streams."""
_Next = Callable[[web.Request], Awaitable[web.StreamResponse]]


def build_app(platform: Platform) -> web.Application:
    """The API of a platform, with and without the prefix `/api`."""
    app = web.Application(client_max_size=platform.config.max_body_bytes, middlewares=[_problems(platform)])
    app.on_response_prepare.append(_add_headers)
    for prefix in ("", "/api"):
        for endpoint in PUBLIC_ENDPOINTS:
            app.router.add_route(endpoint.method, prefix + endpoint.path, _public(platform, endpoint))
        for endpoint in ENDPOINTS:
            app.router.add_route(endpoint.method, prefix + endpoint.path, _authenticated(platform, endpoint))
    return app


@asynccontextmanager
async def serving(platform: Platform, *, host: str, port: int) -> AsyncGenerator[str, None]:
    """The platform's API on a socket until the block ends; its base URL. Port 0 takes any free one."""
    # No access log: it would hold signed URLs.
    runner = web.AppRunner(build_app(platform), access_log=None, handler_cancellation=False, shutdown_timeout=1)
    await runner.setup()
    try:
        site = web.TCPSite(runner, host, port)
        await site.start()
        bound: Any = runner.addresses[0]
        yield f"http://{_reachable(host)}:{bound[1]}"
    finally:
        await runner.cleanup()


def _reachable(host: str) -> str:
    """The name by which this computer reaches an address that a server listens on."""
    host = {"0.0.0.0": "127.0.0.1", "::": "::1", "": "127.0.0.1"}.get(host, host)
    return f"[{host}]" if ":" in host else host


def _public(platform: Platform, endpoint: Endpoint[PublicHandler]) -> _Next:
    async def answer(request: web.Request) -> web.StreamResponse:
        return await endpoint.handler(request, platform)

    return answer


def _authenticated(platform: Platform, endpoint: Endpoint[Handler]) -> _Next:
    async def answer(request: web.Request) -> web.StreamResponse:
        owner = await authenticate(request, platform)
        return await endpoint.handler(Call(request, platform, owner))

    return answer


def _problems(platform: Platform) -> Any:
    """Turns every error into JSON with `detail` and `code`; no traceback leaves the server."""

    @web.middleware
    async def middleware(request: web.Request, handler: _Next) -> web.StreamResponse:
        try:
            return await handler(request)
        except ApiError as error:
            return _problem(error)
        except web.HTTPRequestEntityTooLarge:
            limit = platform.config.max_body_bytes
            return _problem(TooLarge(f"The body is larger than the {limit} bytes that are accepted"))
        except web.HTTPNotFound:
            return _problem(NotFound(f"There is no {request.method} {request.path}"))
        except web.HTTPException as error:
            return _problem(ApiError(error.reason, status=error.status))
        except Exception as error:
            if error is request.content.exception():
                return _problem(
                    BadRequest("The body did not arrive whole, or not in the encoding that its headers say")
                )
            log.exception("%s %s failed", request.method, request.path)
            return _problem(ServerError("Internal server error; the server's log has the reason"))

    return middleware


def _problem(error: ApiError) -> web.Response:
    detail: Any = str(error)
    if error.problems:
        detail = [{"loc": each.path.split("."), "msg": each.message, "type": error.code} for each in error.problems]
    headers = {"WWW-Authenticate": "Bearer"} if error.status == 401 else None
    return web.json_response({"detail": detail, "code": error.code}, status=error.status, headers=headers)


async def _add_headers(request: web.Request, response: web.StreamResponse) -> None:
    response.headers[VERSION_HEADER] = __version__
    response.headers["X-Content-Type-Options"] = "nosniff"
    response.headers.setdefault("Cache-Control", "no-store")
