"""Files on their way between the page and the platform: on disk for as long as that takes, never in memory."""

from __future__ import annotations

import asyncio
import mimetypes
from collections.abc import AsyncGenerator, Coroutine
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import quote

from aiohttp import web

from ...errors import BadRequest, TooLarge
from ..call import Call
from ..routes import SAFE, is_gone
from .copies import Announce, Download, temporary_file
from .parts import part_of

T = TypeVar("T")

MAX_UPLOAD = 8 * 1024**3
"""Bytes of one file that the page may send, and may be sent."""
MAX_SHOWN = 512 * 1024**2
"""Bytes of one file that may be looked at. Each look copies it to this computer, and often to its memory."""
_PIECE = 1024 * 1024
_PULSE = 1.0
"""Seconds after which it is looked whether the page is still there."""
_SILENCE = 60.0
"""Seconds without a byte after which the page has gone away."""
UNREAD = 300.0
"""Seconds in which the page takes nothing of a file, after which it is given up. A video that is paused is not read."""

_SHOWN = {
    "image": ("png", "jpeg", "webp", "gif", "avif", "bmp"),
    "video": ("mp4", "webm"),
    "audio": ("mpeg", "wav", "x-wav", "flac", "ogg", "mp4"),
    "text": ("plain",),
}
"""What a browser only shows. What could hold a script (HTML, SVG, XML, PDF) is saved and never opened."""
_ENDINGS = {".webp": "image/webp", ".avif": "image/avif", ".webm": "video/webm", ".flac": "audio/flac"}
"""Endings that not every computer knows."""


def type_of(name: str) -> str:
    """The media type of a file by the end of its name."""
    return _ENDINGS.get(Path(name).suffix.lower()) or mimetypes.guess_type(name)[0] or "application/octet-stream"


@asynccontextmanager
async def received(call: Call, *, size: int, max_bytes: int = MAX_UPLOAD) -> AsyncGenerator[Path, None]:
    """The body of a request as a file, which is there until the end of the block.

    Raises TooLarge, BadRequest for a body of another size than was said, Unavailable when there is no room for it.
    """
    if size > max_bytes:
        raise TooLarge(f"A file may have {max_bytes} bytes here, and this one has {size}.")
    async with call.desk.room.place() as place, temporary_file() as path:
        await place.take(size)
        with path.open("wb") as file:
            count = 0
            while piece := await _next_piece(call):
                count += len(piece)
                if count > size:
                    break
                await asyncio.to_thread(file.write, piece)
        if count != size:
            raise BadRequest(f"The page said that it sends {size} bytes, and sent {'more' if count > size else count}.")
        yield path


async def for_the_page(call: Call, work: Coroutine[Any, Any, T]) -> T:
    """Something that takes long, for as long as the page waits for it. Raises ConnectionError when the page is gone."""
    task = asyncio.create_task(work)
    try:
        # ComfyUI lets a handler go on whose browser is gone.
        while not task.done() and not is_gone(call.request):
            await asyncio.wait({task}, timeout=_PULSE)
        if not task.done():
            raise ConnectionResetError("the page is gone")
        return task.result()
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def _next_piece(call: Call) -> bytes:
    """A large piece, so that there are few trips to the disk; empty at the end."""
    pieces = bytearray()
    try:
        while len(pieces) < _PIECE and (piece := await asyncio.wait_for(call.request.content.readany(), _SILENCE)):
            pieces += piece
    except asyncio.TimeoutError:
        raise BadRequest(f"The page has sent nothing for {_SILENCE:g} seconds.") from None
    return bytes(pieces)


def headers_of(name: str, *, is_saved: bool = False) -> dict[str, str]:
    """How a file that anybody may have made is handed to a browser: nothing in it is run, whatever it says to be."""
    kind = type_of(name)
    family, _, form = kind.partition("/")
    is_shown = form in _SHOWN.get(family, ()) and not is_saved
    where = "inline" if is_shown else "attachment"
    return {
        **SAFE,
        "Content-Type": kind if is_shown else "application/octet-stream",
        "Content-Disposition": f"{where}; filename*=UTF-8''{quote(name, safe='', errors='replace')}",
        "Content-Security-Policy": "sandbox; default-src 'none'",
    }


async def passed_on(
    call: Call, identity: str, download: Download, *, name: str, is_saved: bool = False
) -> web.StreamResponse:
    """Send a file of the platform to the page, by way of a copy.

    Raises what `download` raises, Unavailable, and ConnectionError when the page is gone.
    """
    # ComfyUI lets a handler go on whose browser is gone.
    async with call.desk.copies.lent(identity, download, is_gone=lambda: is_gone(call.request)) as path:
        return await sent(call, path, identity=identity, name=name, is_saved=is_saved)


def downloaded(call: Call, url: str, *, max_bytes: int) -> Download:
    """How a file of the platform is copied: others may wait for the copy when the one who asked first is gone."""

    async def download(path: Path, announce: Announce) -> None:
        async with call.client() as client:
            await client.files.download_to(url, path, max_bytes=max_bytes, on_size=announce)

    return download


async def sent(call: Call, path: Path, *, identity: str, name: str, is_saved: bool = False) -> web.StreamResponse:
    """Send a file, or the part of it that is asked for."""
    size, etag = (await asyncio.to_thread(path.stat)).st_size, f'"{identity}"'
    part = part_of(call.request.headers, size=size, etag=etag)
    headers = {"Cache-Control": "no-store", "Accept-Ranges": "bytes", "ETag": etag}
    if part is not None and not part:
        told = {"detail": f"The file has {size} bytes, and none of those.", "code": "no_such_range"}
        return web.json_response(told, status=416, headers={**headers, "Content-Range": f"bytes */{size}"})
    headers |= headers_of(name, is_saved=is_saved)
    if part is not None:
        headers["Content-Range"] = f"bytes {part.start}-{part.stop - 1}/{size}"
    response = web.StreamResponse(status=200 if part is None else 206, headers=headers)
    await _send(call, response, path, part=range(size) if part is None else part)
    return response


async def _send(call: Call, response: web.StreamResponse, path: Path, *, part: range) -> None:
    response.content_length = len(part)
    await response.prepare(call.request)
    left = len(part)
    try:
        with path.open("rb") as file:
            file.seek(part.start)
            while left and (piece := await asyncio.to_thread(file.read, min(_PIECE, left))):
                left -= len(piece)
                await asyncio.wait_for(response.write(piece), UNREAD)
        await asyncio.wait_for(response.write_eof(), UNREAD)
    except (ConnectionError, asyncio.TimeoutError):
        if call.request.transport:  # the page is gone, or takes nothing: what it has must not look whole
            call.request.transport.abort()
