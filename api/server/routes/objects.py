"""Objects behind signed URLs: the URL is the permission, so there is no API key here."""

from __future__ import annotations

from collections.abc import AsyncIterator

from aiohttp import web

from ...errors import ApiError, BadRequest, NotFound
from ..endpoint import PublicEndpoint
from ..objects import ROUTE, Grant, Objects, Stored, checked
from ..platform import Platform
from ..ranges import choose

_CHUNK_BYTES = 256 * 1024
_ANY_TYPE = "application/octet-stream"


async def get_object(request: web.Request, platform: Platform) -> web.StreamResponse:
    """An object, or the part of it that the header Range asks for; HEAD tells about it without its bytes."""
    grant = _grant(request, platform, "GET")
    headers = {
        "Content-Type": grant.content_type,
        "Cache-Control": "private, max-age=3600",
        # What somebody uploaded must not run as a page of this server.
        "Content-Security-Policy": "sandbox; default-src 'none'; img-src 'self'; media-src 'self'",
        "Content-Disposition": "inline" if _is_media(grant.content_type) else "attachment",
    }
    stored = await platform.objects.find(grant.key)
    if stored.path:
        return web.FileResponse(stored.path, headers=headers, chunk_size=_CHUNK_BYTES)
    return _passed_on(request, platform.objects, stored=stored, headers=headers)


async def put_object(request: web.Request, platform: Platform) -> web.Response:
    """The bytes that were announced: of the type and the size that the URL was signed for, or nothing is kept."""
    grant = _grant(request, platform, "PUT")
    if request.content_type != grant.content_type:
        raise BadRequest(f"The file was announced as {grant.content_type} and comes as {request.content_type}")
    chunks = checked(request.content.iter_chunked(_CHUNK_BYTES), grant.content_type)
    size = await platform.objects.put(grant.key, chunks, size=grant.size)
    files, assets = platform.store.files, platform.store.assets
    if not (await files.mark_stored(grant.key, size=size) or await assets.is_announced(grant.key)):
        await platform.objects.delete(grant.key)
        raise NotFound("The file was deleted before its bytes had come; nothing was kept")
    return web.Response(status=200)


def _passed_on(request: web.Request, objects: Objects, *, stored: Stored, headers: dict[str, str]) -> web.Response:
    """The answer that aiohttp's FileResponse gives for a file, for an object that is none."""
    choice = choose(request, stored)
    response = web.Response(status=choice.status, headers=headers | choice.headers)
    response.last_modified = stored.modified
    if stored.etag:
        response.headers["ETag"] = stored.etag
    if choice.part:
        response.body = _pieces(objects, stored, start=choice.part.start, stop=choice.part.stop)
    return response


async def _pieces(objects: Objects, stored: Stored, *, start: int, stop: int) -> AsyncIterator[bytes]:
    try:
        async for piece in objects.read_part(stored, start=start, stop=stop):
            yield piece
    except ApiError as error:
        # The headers are sent: only a connection that breaks tells the client that this was not all.
        raise ConnectionAbortedError(str(error)) from error


def _grant(request: web.Request, platform: Platform, method: str) -> Grant:
    return platform.objects.check(request.match_info["key"], dict(request.query), method=method)


def _is_media(content_type: str) -> bool:
    return content_type.partition("/")[0] in ("image", "video", "audio") and content_type != "image/svg+xml"


_PATH = f"/{ROUTE}/{{key:.+}}"

ENDPOINTS: list[PublicEndpoint] = [
    PublicEndpoint("GET", _PATH, get_object, _ANY_TYPE, is_listed=False),
    PublicEndpoint("HEAD", _PATH, get_object, _ANY_TYPE, is_listed=False),
    PublicEndpoint("PUT", _PATH, put_object, _ANY_TYPE, is_listed=False),
]
