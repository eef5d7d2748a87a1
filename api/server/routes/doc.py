"""The API's own description: the OpenAPI document, and a page to read it and try it."""

from __future__ import annotations

from functools import cache
from pathlib import Path

from aiohttp import web

from ...errors import NotFound
from ..endpoint import PublicEndpoint
from ..openapi import Schema, document
from ..platform import Platform

_FOLDER = Path(__file__).parent.parent / "doc"
_TYPES = {".html": "text/html", ".js": "text/javascript", ".css": "text/css"}
_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self' blob: data:; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)


async def get_openapi(request: web.Request, platform: Platform) -> Schema:
    """Describe the API for programs (OpenAPI 3.1)."""
    return _document()


async def get_doc(request: web.Request, platform: Platform) -> web.StreamResponse:
    """Describe the API for people, on a page on which it can be tried."""
    return _file("index.html")


async def get_doc_file(request: web.Request, platform: Platform) -> web.StreamResponse:
    """A part of the page."""
    return _file(request.match_info["file"])


@cache
def _document() -> Schema:
    from . import ENDPOINTS, PUBLIC_ENDPOINTS

    return document(ENDPOINTS, PUBLIC_ENDPOINTS)


def _file(name: str) -> web.FileResponse:
    path = next((each for each in _FOLDER.iterdir() if each.name == name and each.suffix in _TYPES), None)
    if path is None:
        raise NotFound(f"The page has no part {name[:80]!r}")
    kind = f"{_TYPES[path.suffix]}; charset=utf-8"
    headers = {"Content-Type": kind, "Content-Security-Policy": _POLICY, "Cache-Control": "no-cache"}
    return web.FileResponse(path, headers=headers)


ENDPOINTS: list[PublicEndpoint] = [
    PublicEndpoint("GET", "/openapi.json", get_openapi),
    PublicEndpoint("GET", "/doc", get_doc, "text/html"),
    PublicEndpoint("GET", "/doc/{file}", get_doc_file, "text/javascript", is_listed=False),
]
