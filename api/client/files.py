"""Files: to the platform's store and from it. Presigned URLs are opened without credentials."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import mimetypes
import secrets
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import BinaryIO, TypeVar
from urllib.parse import parse_qs, urljoin, urlsplit

from ..errors import (
    ApiError,
    BadRequest,
    ConnectionFailed,
    NotFound,
    SizeLimitExceeded,
    TransferError,
    Unprocessable,
    UrlExpired,
)
from ..models import UploadedFile, UploadRequest, UploadTicket
from .contents import ContentCache, StoredFile, UploadForm
from .http import Answer, Body, Wire
from .platform import Platform, Sleep

log = logging.getLogger("outpost.files")

CHUNK = 256 * 1024
MAX_REPEATS = 2
MAX_REDIRECTS = 3
_EXPIRED = (403, 404, 410)

T = TypeVar("T")


class Files:
    """The platform's store of files."""

    def __init__(self, platform: Platform, *, wire: Wire, contents: ContentCache, sleep: Sleep) -> None:
        self._platform = platform
        self._wire = wire
        self._contents = contents
        self._sleep = sleep
        self._connection_id = platform.connection.id

    async def upload(self, source: bytes | Path, *, content_type: str, name: str) -> StoredFile:
        """Bring bytes or a local file into the store. A file is sent piece by piece, however big it is.

        Raises TransferError when they do not get there, TooLarge when the platform does not take so many.
        """
        body = await _body_of(source)
        form = self._contents.form(self._connection_id)
        if form is not UploadForm.MULTIPART:
            try:
                stored = await self._upload_with_ticket(body, content_type=content_type, name=name)
                self._contents.learn_form(self._connection_id, UploadForm.TICKET)
                return stored
            except ApiError as error:
                if form or self._platform.is_outpost or not _means_no_tickets(error):
                    raise
        stored = await self._upload_multipart(body, content_type=content_type, name=name)
        self._contents.learn_form(self._connection_id, UploadForm.MULTIPART)
        return stored

    async def upload_once(
        self, digest: bytes | str, make: Callable[[], Awaitable[bytes]], *, content_type: str, name: str
    ) -> StoredFile:
        """The file with this digest, uploaded only if no client of the same content cache has done so before.

        `make` gives the bytes and is called only for an upload.
        """

        async def upload() -> StoredFile:
            return await self.upload(await make(), content_type=content_type, name=name)

        digest = digest.hex() if isinstance(digest, bytes) else digest
        return await self._contents.once(self._connection_id, digest, upload=upload)

    def forget(self, url: str) -> None:
        """Upload the content behind this URL again the next time: a machine could not read it."""
        self._contents.forget(self._connection_id, url)

    async def download(self, url: str, *, max_bytes: int) -> bytes:
        """The bytes behind a URL. Raises SizeLimitExceeded, UrlExpired, TransferError."""

        async def download() -> bytes:
            async with self._opened(url, max_bytes=max_bytes) as answer:
                return b"".join([chunk async for chunk in _whole(answer, max_bytes=max_bytes)])

        return await self._repeating(download)

    async def download_to(self, url: str, path: Path, *, max_bytes: int) -> int:
        """Write what is behind a URL to a file, which appears only when it is whole; returns its size in bytes.

        Raises SizeLimitExceeded, UrlExpired, TransferError.
        """
        partial = path.with_name(f".{path.name}.{secrets.token_hex(8)}.part")

        async def download() -> int:
            async with self._opened(url, max_bytes=max_bytes) as answer:
                return await _write(partial, _whole(answer, max_bytes=max_bytes))

        try:
            size = await self._repeating(download)
            await asyncio.to_thread(partial.replace, path)
            return size
        finally:
            partial.unlink(missing_ok=True)

    async def _upload_with_ticket(self, body: Body, *, content_type: str, name: str) -> StoredFile:
        request = UploadRequest(type=content_type, file_size=body.size, file_name=name).model_dump()
        for repeats in range(MAX_REPEATS + 1):
            ticket = await self._platform.post("/file/upload", UploadTicket, json=request)
            try:
                await self._put(ticket.upload_url, body, content_type=content_type)
            except UrlExpired:
                if repeats == MAX_REPEATS:
                    raise
                continue
            log.debug("uploaded %s (%d bytes)", ticket.file_id, body.size)
            expires_at = ticket.expires_at or _expiry(ticket.download_url)
            return StoredFile(ticket.download_url, ticket.file_id, body.size, expires_at)
        raise AssertionError("the loop above returns or raises")

    async def _put(self, url: str, body: Body, *, content_type: str) -> None:
        headers = {"Content-Type": content_type}
        read = self._platform.timeouts.transfer

        async def put() -> None:
            async with self._wire.exchange("PUT", url, headers=headers, body=body, read=read) as answer:
                if not 200 <= answer.status < 300:
                    raise _refusal(answer, "upload")

        await self._repeating(put)

    async def _upload_multipart(self, body: Body, *, content_type: str, name: str) -> StoredFile:
        form, boundary = _multipart(body, content_type=content_type, name=_named_by_type(name, content_type))
        kind = f"multipart/form-data; boundary={boundary}"
        uploaded = await self._platform.post("/file/upload", UploadedFile, body=form, content_type=kind)
        log.debug("uploaded %s (%d bytes)", uploaded.file_id, body.size)
        return StoredFile(uploaded.file_url, uploaded.file_id, body.size, _expiry(uploaded.file_url))

    @asynccontextmanager
    async def _opened(self, url: str, *, max_bytes: int) -> AsyncGenerator[Answer, None]:
        """The answer to a GET without credentials, after redirects."""
        for _ in range(MAX_REDIRECTS + 1):
            read = self._platform.timeouts.transfer
            async with self._wire.exchange("GET", url, headers={"Accept-Encoding": "identity"}, read=read) as answer:
                if answer.status in (301, 302, 303, 307, 308):
                    url = urljoin(url, answer.headers.get("location", ""))
                    continue
                if answer.status != 200:
                    raise _refusal(answer, "download")
                if (answer.size or 0) > max_bytes:
                    raise _too_big(max_bytes)
                yield answer
                return
        raise TransferError(f"The download was redirected more than {MAX_REDIRECTS} times")

    async def _repeating(self, transfer: Callable[[], Awaitable[T]]) -> T:
        """A transfer that is begun anew when the connection breaks; UrlExpired and the like are final."""
        for attempt in range(1, MAX_REPEATS + 2):
            try:
                return await transfer()
            except (ConnectionFailed, _InterruptedError) as error:
                if attempt > MAX_REPEATS:
                    raise TransferError(f"{error} (after {attempt} attempts)") from error
            await self._platform.pause(attempt)
        raise AssertionError("the loop above returns or raises")


class _InterruptedError(TransferError):
    """It may work the next time."""


async def _body_of(source: bytes | Path) -> Body:
    if isinstance(source, bytes):
        return _body_of_bytes(source)
    size = (await asyncio.to_thread(source.stat)).st_size
    return Body(lambda: _read_file(source), size)


def _body_of_bytes(data: bytes) -> Body:
    async def chunks() -> AsyncIterator[bytes]:
        for start in range(0, len(data), CHUNK):
            yield data[start : start + CHUNK]

    return Body(chunks, len(data))


async def _read_file(path: Path) -> AsyncIterator[bytes]:
    with await asyncio.to_thread(path.open, "rb") as file:
        while chunk := await asyncio.to_thread(file.read, CHUNK):
            yield chunk


def _means_no_tickets(error: ApiError) -> bool:
    """Whether a platform refused to give a ticket because it has none; the hosted one says that a field is missing."""
    return isinstance(error, (Unprocessable, BadRequest, NotFound)) or error.status == 405


def _multipart(body: Body, *, content_type: str, name: str) -> tuple[Body, str]:
    """A form with the one field `file`, and its boundary."""
    boundary = secrets.token_hex(16)
    escaped = name.replace("\\", "\\\\").replace('"', "%22").replace("\r", "%0D").replace("\n", "%0A")
    head = (
        f'--{boundary}\r\nContent-Disposition: form-data; name="file"; filename="{escaped}"\r\n'
        f"Content-Type: {content_type}\r\n\r\n"
    ).encode()
    tail = f"\r\n--{boundary}--\r\n".encode()

    async def chunks() -> AsyncIterator[bytes]:
        yield head
        async for chunk in body.chunks():
            yield chunk
        yield tail

    return Body(chunks, len(head) + body.size + len(tail)), boundary


def _named_by_type(name: str, content_type: str) -> str:
    """The hosted platform tells the type of a file by its name alone."""
    if mimetypes.guess_type(name)[0] == content_type:
        return name
    return name + (mimetypes.guess_extension(content_type) or "")


async def _whole(answer: Answer, *, max_bytes: int) -> AsyncGenerator[bytes, None]:
    """The chunks of an answer; raises when they are too many, or fewer than announced."""
    size = 0
    async for chunk in answer.chunks():
        size += len(chunk)
        if size > max_bytes:
            raise _too_big(max_bytes)
        yield chunk
    if answer.size is not None and answer.received != answer.size:
        raise _InterruptedError(f"The download ended after {answer.received} of {answer.size} bytes")


async def _write(path: Path, chunks: AsyncGenerator[bytes, None]) -> int:
    size, pending = 0, bytearray()
    file: BinaryIO = await asyncio.to_thread(path.open, "wb")
    with contextlib.closing(file):
        async for chunk in chunks:
            pending += chunk
            if len(pending) >= 4 * CHUNK:
                size += await asyncio.to_thread(file.write, pending)
                pending = bytearray()
        return size + await asyncio.to_thread(file.write, pending)


def _refusal(answer: Answer, transfer: str) -> TransferError:
    if answer.status in _EXPIRED:
        return UrlExpired(
            f"The store refused the {transfer} ({answer.status}): the URL has expired or there is no file"
        )
    if answer.status >= 500 or answer.status == 429:
        return _InterruptedError(f"The store failed with {answer.status} at the {transfer}")
    return TransferError(f"The store refused the {transfer} ({answer.status})")


def _too_big(max_bytes: int) -> SizeLimitExceeded:
    return SizeLimitExceeded(f"The download is bigger than the limit of {max_bytes} bytes")


def _expiry(url: str) -> datetime | None:
    """When a presigned URL stops working, from its own `X-Amz-Date` and `X-Amz-Expires`; None if it does not say."""
    query = {name.lower(): values[0] for name, values in parse_qs(urlsplit(url).query).items()}
    try:
        signed_at = datetime.strptime(query["x-amz-date"], "%Y%m%dT%H%M%SZ").replace(tzinfo=timezone.utc)
        return signed_at + timedelta(seconds=int(query["x-amz-expires"]))
    except (KeyError, ValueError, OverflowError):
        return None
