"""The files that External nodes take: behind a URL, in a `data:` URL, or in ComfyUI's input folder."""

from __future__ import annotations

import asyncio
import base64
import binascii
import mimetypes
import secrets
from collections.abc import AsyncGenerator, Generator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING
from urllib.parse import unquote, urlsplit

from ...api.errors import ConnectionFailed, InvalidInput, SizeLimitExceeded, TransferError
from ..local_files import choose
from .values import is_url

if TYPE_CHECKING:
    from ...api.client.foreign import ForeignFiles

MAX_IMAGE_BYTES = 512 * 1024**2
"""Of a file that is read into memory."""
MAX_FILE_BYTES = 4 * 1024**3
INPUT_MARK = " [input]"
"""What ComfyUI writes behind the name of a file of its input folder."""


@contextmanager
def about(name: str) -> Generator[None, None, None]:
    """Say of every failure in the block which input it is about."""
    try:
        yield
    except (InvalidInput, TransferError, ConnectionFailed) as error:
        raise InvalidInput(f"The input {name!r} cannot be used: {error}", input_id=name) from error


class Files:
    """Brings the files of one execution of a node: what was fetched for `opened` is deleted after it."""

    def __init__(self, foreign: ForeignFiles, *, folder: Path, inputs: Path) -> None:
        self._foreign = foreign
        self._folder = folder
        self._inputs = inputs

    async def read(self, reference: str) -> bytes:
        """The bytes of a file of at most MAX_IMAGE_BYTES. Raises InvalidInput, TransferError, ConnectionFailed."""
        if _is_data(reference):
            return await asyncio.to_thread(_data, reference)
        if is_url(reference):
            return await self._foreign.get(reference, max_bytes=MAX_IMAGE_BYTES)
        path = await asyncio.to_thread(self._chosen, reference)
        if path.stat().st_size > MAX_IMAGE_BYTES:
            raise _too_big()
        return await asyncio.to_thread(path.read_bytes)

    async def fetch(self, reference: str) -> Path:
        """Where a file is on this computer; what was fetched is kept. Raises as `read`."""
        if not is_url(reference):
            return await asyncio.to_thread(self._chosen, reference)
        await asyncio.to_thread(self._folder.mkdir, parents=True, exist_ok=True)
        path = self._folder / f"external-{secrets.token_hex(16)}{_suffix(reference)}"
        if _is_data(reference):
            data = await asyncio.to_thread(_data, reference)
            await asyncio.to_thread(path.write_bytes, data)
        else:
            await self._foreign.get_to(reference, path, max_bytes=MAX_FILE_BYTES)
        return path

    @asynccontextmanager
    async def opened(self, reference: str) -> AsyncGenerator[Path, None]:
        """Where a file is on this computer during the block. Raises as `read`."""
        path = await self.fetch(reference)
        try:
            yield path
        finally:
            if is_url(reference):
                path.unlink(missing_ok=True)

    def _chosen(self, name: str) -> Path:
        return choose(name.removesuffix(INPUT_MARK), root=self._inputs)


def _is_data(reference: str) -> bool:
    return reference[:5].lower() == "data:"


def _data(url: str) -> bytes:
    head, comma, content = url.partition(",")
    if not comma or not head.lower().endswith(";base64"):
        raise InvalidInput("A data: URL has to have its content in Base64")
    if len(content) > MAX_IMAGE_BYTES * 4 // 3 + 4:
        raise _too_big()
    try:
        return base64.b64decode(content, validate=True)
    except binascii.Error as error:
        raise InvalidInput("The content of the data: URL is no Base64") from error


def _suffix(url: str) -> str:
    """What the name of a file ends with, by which some nodes tell its format."""
    if _is_data(url):
        return mimetypes.guess_extension(url[5:].partition(";")[0].partition(",")[0]) or ""
    try:
        suffix = PurePosixPath(unquote(urlsplit(url).path)).suffix.lower()
    except ValueError:
        return ""
    return suffix if suffix[1:].isalnum() and suffix.isascii() and len(suffix) <= 16 else ""


def _too_big() -> SizeLimitExceeded:
    return SizeLimitExceeded(f"The file is bigger than the limit of {MAX_IMAGE_BYTES} bytes")
