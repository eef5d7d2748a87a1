"""Objects behind signed URLs: the URL is the permission, so there is no API key here."""

from __future__ import annotations

from aiohttp import web

from ...errors import BadRequest
from ..call import Endpoint, PublicHandler
from ..objects import ROUTE, Grant
from ..platform import Platform

_CHUNK_BYTES = 256 * 1024


async def get_object(request: web.Request, platform: Platform) -> web.StreamResponse:
    grant = _grant(request, platform, "GET")
    headers = {
        "Content-Type": grant.content_type,
        "Cache-Control": "private, max-age=3600",
        # What somebody uploaded must not run as a page of this server.
        "Content-Security-Policy": "sandbox; default-src 'none'; img-src 'self'; media-src 'self'",
        "Content-Disposition": "inline" if _is_media(grant.content_type) else "attachment",
    }
    return web.FileResponse(platform.objects.existing(grant.key), headers=headers, chunk_size=_CHUNK_BYTES)


async def put_object(request: web.Request, platform: Platform) -> web.Response:
    grant = _grant(request, platform, "PUT")
    if request.content_type != grant.content_type:
        raise BadRequest(f"The file was announced as {grant.content_type} and comes as {request.content_type}")
    size = await platform.objects.put(grant.key, request.content.iter_chunked(_CHUNK_BYTES), size=grant.size)
    await platform.store.files.mark_stored(grant.key, size=size)
    return web.Response(status=200)


def _grant(request: web.Request, platform: Platform, method: str) -> Grant:
    return platform.objects.check(request.match_info["key"], dict(request.query), method=method)


def _is_media(content_type: str) -> bool:
    return content_type.partition("/")[0] in ("image", "video", "audio") and content_type != "image/svg+xml"


ENDPOINTS: list[Endpoint[PublicHandler]] = [
    Endpoint("GET", f"/{ROUTE}/{{key:.+}}", get_object),
    Endpoint("PUT", f"/{ROUTE}/{{key:.+}}", put_object),
]
