"""Whether the server is there."""

from __future__ import annotations

from aiohttp import web

from .... import __version__
from ..call import Endpoint, PublicHandler, reply
from ..platform import Platform


async def get_health(request: web.Request, platform: Platform) -> web.Response:
    return reply({"status": "ok", "version": __version__})


ENDPOINTS: list[Endpoint[PublicHandler]] = [Endpoint("GET", "/health", get_health)]
