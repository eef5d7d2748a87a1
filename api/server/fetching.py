"""Fetching a file from a URL that somebody names."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from email.message import Message
from urllib.parse import unquote

from aiohttp import ClientError, ClientResponse, ClientSession, ClientTimeout
from aiohttp.abc import AbstractResolver
from yarl import URL

from ..errors import BadRequest, Problem, TooLarge, Unprocessable, quote
from .addresses import CONNECT_SECONDS, check_url, outgoing_session
from .objects import safe_name

MAX_REDIRECTS = 3
SILENCE_SECONDS = 30.0
"""How long a server may say nothing before it counts as gone."""
_TOTAL_SECONDS = 3600
"""Against one that says a little now and then, for ever."""
_CHUNK_BYTES = 256 * 1024
_REDIRECTS = (301, 302, 303, 307, 308)
_HEADERS = {"Accept": "*/*", "Accept-Encoding": "identity", "User-Agent": "comfyui-outpost"}


@dataclass(frozen=True)
class FetchedFile:
    """A file that is coming from somebody's server."""

    name: str
    """As its server calls it, or the end of its URL; fit for a key."""
    content_type: str
    """As its server says; empty when it says nothing."""
    size: int | None
    """Bytes that were announced, if any were."""
    _response: ClientResponse
    _max_bytes: int

    async def chunks(self) -> AsyncIterator[bytes]:
        """The bytes, once. Raises TooLarge when there are too many, BadRequest when they break off."""
        host, received = _host(self._response.url), 0
        try:
            async for chunk in self._response.content.iter_chunked(_CHUNK_BYTES):
                received += len(chunk)
                _check_size(received, self._max_bytes)
                yield chunk
        except asyncio.TimeoutError as error:
            raise BadRequest(f"The file did not arrive whole: {host} stopped sending it") from error
        except (ClientError, OSError) as error:
            raise BadRequest(f"The file did not arrive whole from {host}") from error


@asynccontextmanager
async def fetch_url(
    url: str,
    *,
    allow_private: bool,
    max_bytes: int,
    resolver: AbstractResolver | None = None,
    silence_seconds: float = SILENCE_SECONDS,
) -> AsyncGenerator[FetchedFile, None]:
    """The file at an http(s) URL, as long as the block lasts. `resolver` looks names up, by default the system.

    Raises Unprocessable for a URL that must not be fetched, also when another one redirects to it; BadRequest when
    there is no file to be had, and TooLarge for one that was announced with too many bytes.
    """
    timeout = ClientTimeout(total=_TOTAL_SECONDS, connect=CONNECT_SECONDS, sock_read=silence_seconds)
    async with outgoing_session(allow_private=allow_private, resolver=resolver, unpacks=True) as session:
        response = await _get(session, url, allow_private=allow_private, timeout=timeout)
        try:
            size = None if "Content-Encoding" in response.headers else response.content_length
            _check_size(size or 0, max_bytes)
            yield FetchedFile(_name(response), response.headers.get("Content-Type", ""), size, response, max_bytes)
        finally:
            response.close()  # what has not been read is not wanted


async def _get(session: ClientSession, url: str, *, allow_private: bool, timeout: ClientTimeout) -> ClientResponse:
    """The answer with the file, after redirects, each of which is checked as if it had been the URL."""
    for _ in range(MAX_REDIRECTS + 1):
        try:
            target = check_url(url, allow_private=allow_private)
            response = await _ask(session, target, timeout)
        except Unprocessable as error:
            problem = Problem(("body", "url"), str(error))
            raise Unprocessable(str(problem), problems=[problem], reason=str(error)) from error
        location = response.headers.get("Location")
        if response.status not in _REDIRECTS or location is None:
            return _checked(response)
        response.close()
        try:
            url = str(target.join(URL(location, encoded=location.isascii())))
        except ValueError as error:
            raise BadRequest(f"{_host(target)} redirects to something that is no URL") from error
    raise BadRequest(f"The URL redirects more than {MAX_REDIRECTS} times; name the one where it ends")


async def _ask(session: ClientSession, url: URL, timeout: ClientTimeout) -> ClientResponse:
    try:
        return await session.get(url, headers=_HEADERS, allow_redirects=False, timeout=timeout)
    except asyncio.TimeoutError as error:
        raise BadRequest(f"{_host(url)} did not answer in time") from error
    except (ClientError, OSError, ValueError) as error:
        # The reason may repeat the URL, whose query may be a permission.
        raise BadRequest(f"{_host(url)} cannot be reached, or does not answer in HTTP") from error


def _checked(response: ClientResponse) -> ClientResponse:
    if response.status == 200:
        return response
    response.close()
    raise BadRequest(f"{_host(response.url)} answered {response.status} instead of the file")


def _host(url: URL) -> str:
    """What a message says of a URL: nothing of its path and query, which may be a permission."""
    return quote(str(url.host))


def _check_size(size: int, limit: int) -> None:
    if size > limit:
        raise TooLarge(f"The file has more than the {limit} bytes that this server accepts")


def _name(response: ClientResponse) -> str:
    headers = Message()
    headers["Content-Disposition"] = response.headers.get("Content-Disposition", "attachment")
    return safe_name(headers.get_filename() or unquote(response.url.raw_path.rsplit("/", 1)[-1]))
