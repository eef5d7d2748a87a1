"""HTTP with any host, one exchange at a time: no credentials, retries or redirects. The only module that knows httpx.

Requests go to httpx's transport and not through its client, because the client writes every URL to the log at INFO,
which in ComfyUI means to the console, and a presigned URL is a secret.
"""

from __future__ import annotations

import errno
import os
import socket
import ssl
import zlib
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Generator, Mapping
from contextlib import aclosing, asynccontextmanager, contextmanager
from dataclasses import dataclass
from typing import Any, NamedTuple
from urllib.request import getproxies, proxy_bypass

import httpx
from httpx_sse import EventSource

from ..errors import ConfigurationError, ConnectionFailed, InvalidInput, SizeLimitExceeded, TransferError, quote

MAX_ANSWER = 256 * 1024**2
"""Bytes of an answer that is read as a whole. The graph in a workflow can have tens of megabytes."""
LOOPBACK = ("localhost", "127.0.0.1", "::1")

# A peer that is gone without a word is noticed by the operating system, also on streams that are silent for long.
_SOCKET_OPTIONS = [(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)]
# Shorter than servers usually allow (5 s and more), so that no request meets a connection that is just closing.
_LIMITS = httpx.Limits(max_connections=None, max_keepalive_connections=20, keepalive_expiry=3.0)
_NOT_SENT = (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout, httpx.ProxyError, httpx.UnsupportedProtocol)

_HEADERS = {"User-Agent": "comfyui-outpost", "Accept-Encoding": "identity"}
_GZIP = ("gzip", "x-gzip")
_PIECE = 256 * 1024

OnConnect = Callable[[str], Awaitable[None]]
"""Is told the address that a new connection leads to, before anything is sent; what it raises closes the connection."""


@dataclass(frozen=True)
class Body:
    """What is sent: `size` bytes, which `chunks()` gives from the beginning at each call."""

    chunks: Callable[[], AsyncIterator[bytes]]
    size: int

    @classmethod
    def of(cls, data: bytes) -> Body:
        """Bytes that are at hand, as they are."""

        async def chunks() -> AsyncIterator[bytes]:
            yield data

        return cls(chunks, len(data))


class Message(NamedTuple):
    """One server-sent event."""

    name: str
    data: str
    id: str
    """The last id that the stream told; empty when it told none."""


class Answer:
    """An answer whose body has not been read yet. The exchange that gave it closes it."""

    def __init__(self, response: httpx.Response, origin: str) -> None:
        self._response = response
        self._origin = origin
        self.status = response.status_code
        self.headers: Mapping[str, str] = response.headers

    @property
    def size(self) -> int | None:
        """Length of the body in bytes on the wire, when it is announced."""
        announced = self.headers.get("content-length", "")
        return int(announced) if announced.isdecimal() else None

    @property
    def received(self) -> int:
        """How many bytes of the body have come over the wire."""
        return self._response.num_bytes_downloaded

    async def chunks(self) -> AsyncGenerator[bytes, None]:
        """The body, piece by piece as it comes. Raises TransferError when it is packed, which nobody asked for."""
        if self._packing:
            raise self._packed()
        async with aclosing(self._wire_chunks()) as chunks:
            async for chunk in chunks:
                yield chunk

    async def read(self, *, max_bytes: int = MAX_ANSWER) -> bytes:
        """The whole body, also when it is packed with gzip. Raises SizeLimitExceeded, TransferError."""
        data = bytearray()
        async with aclosing(self._unpacked_chunks()) as chunks:
            async for chunk in chunks:
                data += chunk
                if len(data) > max_bytes:
                    raise SizeLimitExceeded(f"An answer of {self._origin} has more than {max_bytes} bytes")
        return bytes(data)

    async def excerpt(self, limit: int = 65536) -> bytes:
        """The beginning of the body, for an error message; nothing when it cannot be unpacked.

        It stops before the end of the body is seen, so that closing the answer closes the connection too: the hosted
        platform drops it after an error, and the next request would run into that.
        """
        data = b""
        if self._packing not in ("", *_GZIP):
            return data
        async with aclosing(self._unpacked_chunks()) as chunks:
            async for chunk in chunks:
                data += chunk
                if len(data) >= limit or self.received == self.size:
                    break
        return data[:limit]

    async def messages(self) -> AsyncGenerator[Message, None]:
        """The server-sent events in the body, each as soon as its last byte is here."""
        if self._packing:
            raise self._packed()
        events = EventSource(self._response).aiter_sse()
        try:
            with _speaking_to(self._origin):
                async for event in events:
                    if event.data:  # a keep-alive comment gives an empty event
                        yield Message(event.event, event.data, event.id)
        finally:
            await events.aclose()

    @property
    def _packing(self) -> str:
        """The content encodings, in lower case; empty when the body is as it is."""
        packing = self.headers.get("content-encoding", "").strip().lower()
        return "" if packing == "identity" else packing

    def _packed(self) -> TransferError:
        return TransferError(f"{self._origin} packed its answer ({quote(self._packing)}), which it was asked not to do")

    async def _wire_chunks(self) -> AsyncGenerator[bytes, None]:
        with _speaking_to(self._origin):
            async for chunk in self._response.aiter_raw():
                yield chunk

    async def _unpacked_chunks(self) -> AsyncGenerator[bytes, None]:
        """The body in pieces of a bounded size, however small it was packed."""
        gzip = _Gzip() if self._packing in _GZIP else None
        async with aclosing(self._wire_chunks() if gzip else self.chunks()) as chunks:
            async for chunk in chunks:
                if not gzip:
                    yield chunk
                    continue
                with _speaking_to(self._origin):
                    for piece in gzip.pieces(chunk):
                        yield piece
        if gzip and not gzip.is_whole:
            raise ConnectionFailed(f"{self._origin} went away in the middle of an exchange", was_sent=True)


class Wire:
    """Connections to any host, kept open between exchanges. To be closed by its owner."""

    def __init__(self, *, connect: float, transport: httpx.AsyncBaseTransport | None = None) -> None:
        self._connect = connect
        self._given = transport
        self._own: dict[tuple[str, str | None], httpx.AsyncBaseTransport] = {}

    async def aclose(self) -> None:
        """Close every connection."""
        transports = [*self._own.values(), *([self._given] if self._given else [])]
        self._own.clear()
        for transport in transports:
            await transport.aclose()

    @asynccontextmanager
    async def exchange(
        self,
        method: str,
        url: str,
        *,
        headers: Mapping[str, str],
        read: float,
        body: Body | None = None,
        address: str | None = None,
        on_connect: OnConnect | None = None,
    ) -> AsyncGenerator[Answer, None]:
        """Send one request; `read` is how many seconds may pass without a byte. Raises ConnectionFailed.

        The query of the URL is sent byte for byte, or the signature in it would not fit any more. `address`: where to
        connect to, in place of looking up the host of the URL; a proxy looks it up itself. `on_connect` is not asked
        again about a connection that is kept.
        """
        target = parsed_url(url)
        host = target.netloc.decode()
        origin = f"{target.scheme}://{host}"
        timeout = httpx.Timeout(read, connect=self._connect, pool=self._connect)
        extensions = {"timeout": timeout.as_dict(), "sni_hostname": target.raw_host.decode()}
        request = httpx.Request(
            method,
            target.copy_with(host=address) if address and not proxy_for(target) else target,
            headers={"Host": host, **_HEADERS, **headers, **_framing(method, body)},
            stream=_Stream(body) if body else httpx.ByteStream(b""),
            extensions=extensions | ({"trace": _tracing(on_connect)} if on_connect else {}),
        )
        with _speaking_to(origin):
            response = await self._transport(target).handle_async_request(request)
        try:
            yield Answer(response, origin)
        finally:
            await response.aclose()

    def _transport(self, url: httpx.URL) -> httpx.AsyncBaseTransport:
        if self._given:
            return self._given
        key = url.scheme, proxy_for(url)
        if key not in self._own:
            self._own[key] = _make_transport(*key)
        return self._own[key]


class _Stream(httpx.AsyncByteStream):
    def __init__(self, body: Body) -> None:
        self._body = body

    async def __aiter__(self) -> AsyncIterator[bytes]:
        async for chunk in self._body.chunks():
            yield chunk


class _Gzip:
    """Unpacks one layer of gzip, in pieces of a bounded size."""

    def __init__(self) -> None:
        self._stream = zlib.decompressobj(zlib.MAX_WBITS | 16)

    @property
    def is_whole(self) -> bool:
        return self._stream.eof

    def pieces(self, chunk: bytes) -> Generator[bytes, None, None]:
        while True:
            piece = self._stream.decompress(chunk, _PIECE)
            yield piece
            chunk = self._stream.unconsumed_tail
            if len(piece) < _PIECE:
                return


def _tracing(on_connect: OnConnect) -> Callable[[str, Mapping[str, Any]], Awaitable[None]]:
    """A listener to what the transport does."""

    async def trace(step: str, details: Mapping[str, Any]) -> None:
        if step == "connection.connect_tcp.complete":
            connection = details["return_value"]
            try:
                await on_connect(str(connection.get_extra_info("server_addr")[0]))
            except BaseException:
                await connection.aclose()
                raise

    return trace


def _framing(method: str, body: Body | None) -> dict[str, str]:
    if body:
        return {"Content-Length": str(body.size)}
    return {"Content-Length": "0"} if method in ("POST", "PUT", "PATCH") else {}


def parsed_url(url: str) -> httpx.URL:
    """An http(s) URL. Raises InvalidInput for anything else."""
    try:
        parsed = httpx.URL(url)
    except httpx.InvalidURL:
        parsed = None
    if parsed is None or parsed.scheme not in ("http", "https") or not parsed.host:
        raise InvalidInput("Only a URL that begins with http:// or https:// and has a host can be opened") from None
    return parsed


def proxy_for(url: httpx.URL) -> str | None:
    """The proxy for a URL, as the environment or the operating system says; none for this machine itself."""
    if url.host in LOOPBACK or proxy_bypass(url.host):
        return None
    proxies = getproxies()
    return proxies.get(url.scheme) or proxies.get("all")


def _make_transport(scheme: str, proxy: str | None) -> httpx.AsyncBaseTransport:
    # Loading the certificates takes some 40 ms, so it is left out where there is no TLS.
    verify = httpx.create_ssl_context() if scheme == "https" else ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    try:
        return httpx.AsyncHTTPTransport(
            verify=verify,
            limits=_LIMITS,
            proxy=httpx.Proxy(proxy) if proxy else None,
            socket_options=_SOCKET_OPTIONS,
        )
    except (ImportError, ValueError, httpx.InvalidURL):
        raise ConfigurationError(
            f"The proxy for {scheme} URLs cannot be used: set {scheme.upper()}_PROXY to an http:// or https:// URL."
        ) from None


@contextmanager
def _speaking_to(origin: str) -> Generator[None, None, None]:
    try:
        yield
    except _NOT_SENT as error:
        message = f"No answer from {origin}: {_reason(error)}. Is the server running?"
        raise ConnectionFailed(message) from error
    except httpx.TimeoutException as error:
        raise ConnectionFailed(f"{origin} went silent: no byte came in time", was_sent=True) from error
    except (httpx.TransportError, httpx.StreamError, zlib.error) as error:
        raise ConnectionFailed(f"{origin} went away in the middle of an exchange", was_sent=True) from error


def _reason(error: BaseException) -> str:
    """The innermost cause that means something to people."""
    if isinstance(error, httpx.ConnectTimeout):
        return "it did not accept a connection in time"
    cause: BaseException | None = error
    while cause:
        match cause:
            case ssl.SSLCertVerificationError():
                return f"its certificate is not trusted ({cause.verify_message})"
            case ssl.SSLError():
                return "the TLS handshake failed"
            case socket.gaierror():
                return "the name of the host is not known"
            case OSError(errno=int(number)) if number in errno.errorcode:
                return os.strerror(number).lower()
            case _:
                cause = cause.__cause__ or cause.__context__
    return "no connection could be made"
