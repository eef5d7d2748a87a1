"""What the first bytes of a file say about its type."""

from __future__ import annotations

import re
from collections.abc import AsyncIterable, AsyncIterator

from ...errors import Problem, Unprocessable

_HEAD_BYTES = 1024
"""As far as any of the beginnings may reach."""
_ISO_MEDIA = rb".{4}ftyp"
_RIFF_WAVE = rb"(?:RIFF|RIFX|RF64|BW64).{4}WAVE"
_MATROSKA = rb"\x1aE\xdf\xa3"

_BEGINNINGS = {
    content_type: re.compile(pattern, re.DOTALL)
    for pattern, content_types in (
        (rb"\x89PNG\r\n\x1a\n", ("image/png", "image/apng")),
        (rb"\xff\xd8\xff", ("image/jpeg", "image/jpg")),
        (rb"RIFF.{4}WEBP", ("image/webp",)),
        (rb"GIF8[79]a", ("image/gif",)),
        (_ISO_MEDIA, ("image/avif", "image/heic", "video/mp4", "audio/mp4", "audio/x-m4a")),
        (rb"II[*+]\0|MM\0[*+]", ("image/tiff",)),
        (rb"BM", ("image/bmp", "image/x-ms-bmp")),
        (_MATROSKA, ("video/webm", "audio/webm", "video/x-matroska")),
        (rb"fLaC|ID3", ("audio/flac", "audio/x-flac")),
        (rb"ID3|\xff[\xe0-\xff]", ("audio/mpeg", "audio/mp3")),
        (rb"OggS", ("audio/ogg", "video/ogg", "application/ogg")),
        (_RIFF_WAVE, ("audio/wav", "audio/x-wav", "audio/wave", "audio/vnd.wave")),
        (rb"PK(?:\x03\x04|\x05\x06|\x07\x08)", ("application/zip", "application/x-zip-compressed")),
        (rb".{0,1019}?%PDF-", ("application/pdf",)),
    )
    for content_type in content_types
}
"""How a file of a type begins. What is not here may begin in any way."""


async def checked(chunks: AsyncIterable[bytes], content_type: str) -> AsyncIterator[bytes]:
    """The same bytes; Unprocessable, before any of them, when they do not begin as the type does. No bytes pass."""
    beginning = _BEGINNINGS.get(content_type)
    head = b""
    async for chunk in chunks:
        if beginning is None:
            yield chunk
            continue
        head += chunk
        if len(head) >= _HEAD_BYTES:
            _check(head, beginning, content_type)
            beginning = None
            yield head
    if beginning is not None and head:
        _check(head, beginning, content_type)
        yield head


def _check(head: bytes, beginning: re.Pattern[bytes], content_type: str) -> None:
    if not beginning.match(head):
        message = f"The file was announced as {content_type} and does not begin as one; nothing was kept"
        raise Unprocessable(message, problems=[Problem(("body",), message)])
