"""Bytes to a store and from it, by URLs that are a permission themselves: no credentials are sent."""

from __future__ import annotations

import asyncio
import contextlib
import mimetypes
import secrets
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import BinaryIO, TypeVar
from urllib.parse import parse_qs, urljoin, urlsplit

from ..errors import ConnectionFailed, InvalidInput, SizeLimitExceeded, TransferError, UrlExpired
from .border import Border
from .http import Answer, Body, Wire
from .platform import Platform

CHUNK = 256 * 1024
MAX_REPEATS = 2
MAX_REDIRECTS = 3
REDIRECTS = (301, 302, 303, 307, 308)
_EXPIRED = (403, 404, 410)

T = TypeVar("T")


class Transfers:
    """Bytes to any store and from it. What breaks is begun anew, twice; then it raises TransferError.

    That is also raised for a URL that leads into this computer's network, unless the platform is in there itself.
    """

    def __init__(self, platform: Platform, *, wire: Wire, border: Border | None = None) -> None:
        self._platform = platform
        self._wire = wire
        self._border = border or Border(platform.connection.base_url, seconds=platform.timeouts.connect)

    async def put(self, url: str, body: Body, *, headers: Mapping[str, str]) -> None:
        """Write to a presigned URL, with exactly the headers that it was signed for. Raises UrlExpired."""
        read = self._platform.timeouts.transfer

        async def put() -> None:
            guard = await self._border.guard(url)
            async with self._wire.exchange(
                "PUT", url, headers=headers, body=body, read=read, on_connect=guard
            ) as answer:
                if not 200 <= answer.status < 300:
                    raise _refusal(answer, "upload")

        await self._repeating(put)

    async def get(self, url: str, *, max_bytes: int) -> bytes:
        """The bytes behind a URL. Raises SizeLimitExceeded, UrlExpired."""

        async def get() -> bytes:
            async with self._opened(url, max_bytes=max_bytes) as answer:
                return b"".join([chunk async for chunk in whole_body(answer, max_bytes=max_bytes)])

        return await self._repeating(get)

    async def get_to(
        self, url: str, path: Path, *, max_bytes: int, on_size: Callable[[int], Awaitable[None]] | None = None
    ) -> int:
        """Write what is behind a URL to a file, which appears only when it is whole; its size in bytes.

        `on_size` is awaited before the first byte is written, with how many there will be at most.
        Raises SizeLimitExceeded, UrlExpired.
        """
        partial = path.with_name(f".{path.name}.{secrets.token_hex(8)}.part")

        async def get() -> int:
            async with self._opened(url, max_bytes=max_bytes) as answer:
                if on_size:
                    await on_size(max_bytes if answer.size is None else answer.size)
                return await write_chunks(partial, whole_body(answer, max_bytes=max_bytes))

        try:
            size = await self._repeating(get)
            await asyncio.to_thread(partial.replace, path)
            return size
        finally:
            partial.unlink(missing_ok=True)

    @asynccontextmanager
    async def _opened(self, url: str, *, max_bytes: int) -> AsyncGenerator[Answer, None]:
        """The answer to a GET without credentials, after redirects."""
        for _ in range(MAX_REDIRECTS + 1):
            read, guard = self._platform.timeouts.transfer, await self._border.guard(url)
            async with self._wire.exchange("GET", url, headers={}, read=read, on_connect=guard) as answer:
                if answer.status in REDIRECTS:
                    url = redirected(url, answer.headers.get("location", ""))
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


async def body_of(source: bytes | Path) -> Body:
    """Bytes or a local file as what is sent, piece by piece."""
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


def form_of(body: Body, *, content_type: str, name: str) -> tuple[Body, str]:
    """A form with the one field `file`, and its content type."""
    name = _named_by_type(name, content_type)
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

    return Body(chunks, len(head) + body.size + len(tail)), f"multipart/form-data; boundary={boundary}"


def _named_by_type(name: str, content_type: str) -> str:
    """The hosted platform tells the type of a file by its name alone."""
    if mimetypes.guess_type(name)[0] == content_type:
        return name
    return name + (mimetypes.guess_extension(content_type) or "")


def redirected(url: str, location: str) -> str:
    """Where an answer leads. Raises InvalidInput when that is no URL."""
    try:
        return urljoin(url, location)
    except ValueError:
        raise InvalidInput("The URL is redirected to something that is no URL") from None


async def whole_body(answer: Answer, *, max_bytes: int) -> AsyncGenerator[bytes, None]:
    """The chunks of an answer; raises when they are too many, or fewer than announced."""
    size = 0
    async for chunk in answer.chunks():
        size += len(chunk)
        if size > max_bytes:
            raise _too_big(max_bytes)
        yield chunk
    if answer.size is not None and answer.received != answer.size:
        raise _InterruptedError(f"The download ended after {answer.received} of {answer.size} bytes")


async def write_chunks(path: Path, chunks: AsyncGenerator[bytes, None]) -> int:
    """Write what comes to a file, whatever was in it; the number of bytes."""
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


def expiry_of(url: str) -> datetime | None:
    """When a presigned URL stops working, from its own `X-Amz-Date` and `X-Amz-Expires`; None if it does not say."""
    query = {name.lower(): values[0] for name, values in parse_qs(urlsplit(url).query).items()}
    try:
        signed_at = datetime.strptime(query["x-amz-date"], "%Y%m%dT%H%M%SZ").replace(tzinfo=timezone.utc)
        return signed_at + timedelta(seconds=int(query["x-amz-expires"]))
    except (KeyError, ValueError, OverflowError):
        return None
