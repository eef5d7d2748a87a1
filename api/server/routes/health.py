"""Whether the server is there."""

from __future__ import annotations

from aiohttp import web

from .... import __version__
from ...models import Health
from ..endpoint import PublicEndpoint
from ..platform import Platform


async def get_health(request: web.Request, platform: Platform) -> Health:
    """Tell whether the server answers and its database does."""
    await platform.store.keys.is_empty()
    return Health(status="ok", version=__version__)


ENDPOINTS: list[PublicEndpoint] = [PublicEndpoint("GET", "/health", get_health)]
