"""Forms: the one file in a multipart body, passed on while it comes."""

from __future__ import annotations

import mimetypes
import re
from collections.abc import AsyncIterator, Awaitable, Callable, Generator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TypeVar

from aiohttp import BodyPartReader, MultipartReader, web
from aiohttp.http_exceptions import BadHttpMessage

from ..errors import quote
from .call import unprocessable
from .objects import safe_name

T = TypeVar("T")

UNKNOWN_TYPE = "application/octet-stream"
_BROKEN_FORM = (ValueError, LookupError, AssertionError, RuntimeError, BadHttpMessage)
"""What aiohttp's reader of forms raises, depending on what is wrong with one."""
_TYPE = re.compile(r"[\w.+-]+/[\w.+-]+", re.ASCII)
_CHUNK_BYTES = 256 * 1024


@dataclass(frozen=True)
class FormFile:
    """A file that is coming. `chunks` can be read once."""

    name: str
    """As the sender calls it; no path."""
    content_type: str
    chunks: AsyncIterator[bytes]


async def receive(request: web.Request, take: Callable[[FormFile], Awaitable[T]]) -> T:
    """Give the part named `file` to `take`, and answer its result. Unprocessable for what is no whole form."""
    if not request.content_type.startswith("multipart/"):
        raise unprocessable(("body",), "has to be a form (multipart/form-data) with a part named `file`")
    with _reading():
        file = await _first_file(request)
    return await take(file)


def type_of(name: str, told: str) -> str:
    """The content type of a file: what its name says, else what its sender says."""
    guessed = mimetypes.guess_type(safe_name(name))[0]
    told = told.partition(";")[0].strip().lower()
    return guessed or (told if _TYPE.fullmatch(told) and len(told) <= 100 else UNKNOWN_TYPE)


def last_name(name: str) -> str:
    """A file name from outside, for people: without folders and control characters, at most 255 characters."""
    last = name.replace("\\", "/").rsplit("/", 1)[-1]
    return "".join(each for each in last if each.isprintable())[-255:].strip() or "file"


async def _first_file(request: web.Request) -> FormFile:
    parts = await request.multipart()
    while (part := await parts.next()) is not None:
        if isinstance(part, BodyPartReader) and part.name == "file":
            name = last_name(part.filename or "file")
            return FormFile(name, type_of(name, part.headers.get("Content-Type", "")), _chunks(parts, part))
    raise unprocessable(("body", "file"), "Field required")


async def _chunks(parts: MultipartReader, part: BodyPartReader) -> AsyncIterator[bytes]:
    while chunk := await _next_chunk(part):
        yield chunk
    with _reading():
        await parts.next()  # fails where the form breaks off, so that half a file is not taken for a whole one


async def _next_chunk(part: BodyPartReader) -> bytes:
    with _reading():
        return await part.read_chunk(_CHUNK_BYTES)


@contextmanager
def _reading() -> Generator[None, None, None]:
    """Around the reader alone: whoever takes the file has failures of the same classes, which are no fault of it."""
    try:
        yield
    except _BROKEN_FORM as error:
        raise unprocessable(("body",), f"is not a whole form: {quote(str(error))}") from error
