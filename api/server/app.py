"""The web application: the API's routes, and what every answer has in common."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Awaitable, Callable, Iterable
from contextlib import asynccontextmanager
from typing import Any

from aiohttp import hdrs, web

from ... import __version__
from .call import Call, authenticate
from .endpoint import Endpoint, PublicEndpoint
from .platform import Platform
from .problems import problems
from .proving import Prove, add_proof
from .routes import ENDPOINTS, PUBLIC_ENDPOINTS
from .streaming import STREAMS, OpenStreams

VERSION_HEADER = "Outpost-Version"
"""On every answer: tells a client that it may rely on idempotency keys and on resuming streams."""
_Answer = Callable[[web.Request], Awaitable[web.StreamResponse]]


def build_app(platform: Platform) -> web.Application:
    """The API of a platform, with and without the prefix `/api`."""
    limit = platform.config.max_body_bytes
    app = web.Application(client_max_size=limit, middlewares=[problems(max_body_bytes=limit)])
    app.on_response_prepare.append(_add_headers)
    app[STREAMS] = OpenStreams()
    app.on_shutdown.append(app[STREAMS].end)
    answers: dict[str, dict[str, _Answer]] = {}
    for public in PUBLIC_ENDPOINTS:
        answers.setdefault(public.path, {})[public.method] = _public(platform, public)
    for endpoint in ENDPOINTS:
        answers.setdefault(endpoint.path, {})[endpoint.method] = _authenticated(platform, endpoint)
    for prefix in ("", "/api"):
        for path, by_method in answers.items():
            resource = app.router.add_resource(prefix + path)
            for method, answer in by_method.items():
                resource.add_route(method, answer)
            # Without it, aiohttp takes the word `create` of `GET /machine/create` for the id of a machine.
            resource.add_route(hdrs.METH_ANY, _only(by_method))
    app.router.add_get("/", _show_doc)
    return app


async def _show_doc(request: web.Request) -> web.StreamResponse:
    """Who opens the server's address in a browser sees what it can do."""
    return web.Response(status=302, headers={hdrs.LOCATION: "api/doc"})


@asynccontextmanager
async def serving(
    platform: Platform, *, host: str, port: int, proof: tuple[str, Prove] | None = None
) -> AsyncGenerator[str, None]:
    """The platform's API on a socket until the block ends; its base URL. Port 0 takes any free one.

    With a `proof`, a path and what answers there, whoever knows the key can see that it is this platform.
    """
    app = build_app(platform)
    if proof:
        add_proof(app, *proof)
    # No access log: it would hold signed URLs.
    runner = web.AppRunner(app, access_log=None, handler_cancellation=False, shutdown_timeout=1)
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


def _public(platform: Platform, endpoint: PublicEndpoint) -> _Answer:
    async def answer(request: web.Request) -> web.StreamResponse:
        return await endpoint.respond(request, platform)

    return answer


def _authenticated(platform: Platform, endpoint: Endpoint) -> _Answer:
    async def answer(request: web.Request) -> web.StreamResponse:
        return await endpoint.respond(Call(request, platform, await authenticate(request, platform)))

    return answer


def _only(methods: Iterable[str]) -> _Answer:
    async def refuse(request: web.Request) -> web.StreamResponse:
        raise web.HTTPMethodNotAllowed(request.method, methods)

    return refuse


async def _add_headers(request: web.Request, response: web.StreamResponse) -> None:
    response.headers[VERSION_HEADER] = __version__
    response.headers["X-Content-Type-Options"] = "nosniff"
    response.headers.setdefault("Cache-Control", "no-store")
