"""What the first bytes of a file say about its type, and what they may be cut into."""

from __future__ import annotations

from collections.abc import AsyncIterator
from io import BytesIO

import pytest
from comfyui_outpost.api.errors import Unprocessable
from comfyui_outpost.api.server.objects import checked
from PIL import Image

BEGINNINGS = {
    "image/png": [b"\x89PNG\r\n\x1a\n"],
    "image/jpeg": [b"\xff\xd8\xff\xe0", b"\xff\xd8\xff\xdb"],
    "image/webp": [b"RIFF\x10\0\0\0WEBPVP8 "],
    "image/gif": [b"GIF87a", b"GIF89a"],
    "image/avif": [b"\0\0\0\x1cftypavif"],
    "image/tiff": [b"II*\0", b"MM\0*", b"II+\0", b"MM\0+"],
    "image/bmp": [b"BM\x36"],
    "video/mp4": [b"\0\0\0\x20ftypisom", b"\n\n\n\x20ftypmp42"],
    "video/webm": [b"\x1aE\xdf\xa3"],
    "audio/flac": [b"fLaC\0", b"ID3\x04"],
    "audio/mpeg": [b"ID3\x03", b"\xff\xfb\x90", b"\xff\xf3\x40"],
    "audio/ogg": [b"OggS\0"],
    "audio/wav": [b"RIFF\x10\0\0\0WAVEfmt ", b"RF64\xff\xff\xff\xffWAVEds64"],
    "application/zip": [b"PK\x03\x04", b"PK\x05\x06" + bytes(18)],
    "application/pdf": [b"%PDF-1.7", b"\n" * 1000 + b"%PDF-1.4"],
}


async def cut(data: bytes, size: int) -> AsyncIterator[bytes]:
    for start in range(0, len(data), size):
        yield data[start : start + size]


async def passed(data: bytes, kind: str, size: int = 4096) -> bytes:
    return b"".join([chunk async for chunk in checked(cut(data, size), kind)])


@pytest.mark.parametrize("kind", BEGINNINGS)
@pytest.mark.parametrize("size", [1, 7, 1023, 1024, 4096])
async def test_a_file_of_its_type_passes_bit_for_bit_in_pieces_of_any_size(kind: str, size: int):
    for beginning in BEGINNINGS[kind]:
        for rest in (b"", bytes(range(256)) * 20):
            assert await passed(beginning + rest, kind, size) == beginning + rest


@pytest.mark.parametrize("kind", BEGINNINGS)
async def test_any_other_beginning_is_refused_before_a_byte_passes(kind: str):
    for data in (b"<html>" * 1000, b"x", BEGINNINGS[kind][0][:2][:1], b" " + b"\x01" * 5000):
        with pytest.raises(Unprocessable, match=f"announced as {kind}") as caught:
            await anext(checked(cut(data, 100), kind))
        assert caught.value.problems[0].path == ("body",)


@pytest.mark.parametrize("kind", ["text/plain", "application/json", "application/octet-stream", "model/made-up", ""])
async def test_a_type_without_a_known_beginning_passes_at_once(kind: str):
    chunks = [chunk async for chunk in checked(cut(b"12345", 1), kind)]
    assert chunks == [b"1", b"2", b"3", b"4", b"5"]


@pytest.mark.parametrize("kind", BEGINNINGS)
async def test_no_bytes_contradict_nothing(kind: str):
    assert await passed(b"", kind) == b""


@pytest.mark.parametrize("name", ["PNG", "JPEG", "WEBP", "GIF", "TIFF", "BMP"])
async def test_what_pillow_writes_is_what_it_says(name: str):
    buffer = BytesIO()
    Image.new("RGB", (3, 3)).save(buffer, name)
    assert await passed(buffer.getvalue(), f"image/{name.lower()}") == buffer.getvalue()
