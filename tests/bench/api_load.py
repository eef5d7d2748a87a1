"""Speaking HTTP with as little effort as possible, so that it is the server whose speed is measured."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator, Callable, Iterable
from contextlib import AsyncExitStack, asynccontextmanager
from urllib.parse import urlsplit

from comfyui_outpost.api.settings import Connection


class Wire:
    """One connection that stays open; its requests follow one another."""

    def __init__(self, connection: Connection, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._headers = _headers(connection)
        self._reader = reader
        self._writer = writer

    async def ask(self, method: str, path: str, *, body: bytes = b"") -> bytes:
        """The body of the answer, which has to be 200."""
        length = f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n" if body else ""
        self._writer.write(f"{method} {path} HTTP/1.1\r\n{self._headers}{length}\r\n".encode() + body)
        head = (await self._reader.readuntil(b"\r\n\r\n")).lower()
        assert head.startswith(b"http/1.1 200"), (path, head)
        return await self._reader.readexactly(int(head.split(b"content-length: ")[1].split(b"\r\n")[0]))


@asynccontextmanager
async def wires(connection: Connection, count: int) -> AsyncGenerator[list[Wire], None]:
    """Connections to a server, until the block ends."""
    parts = urlsplit(connection.base_url)
    async with AsyncExitStack() as stack:
        opened: list[Wire] = []
        for _ in range(count):
            reader, writer = await asyncio.open_connection(parts.hostname, parts.port)
            stack.callback(writer.close)
            opened.append(Wire(connection, reader, writer))
        yield opened


@asynccontextmanager
async def listening(connection: Connection, path: str, receive: Callable[[bytes], None]) -> AsyncGenerator[None, None]:
    """A stream that is open until the block ends; everything that comes is given to `receive`."""
    is_open = asyncio.Event()

    class Listener(asyncio.Protocol):
        def data_received(self, data: bytes) -> None:
            is_open.set()
            receive(data)

    parts = urlsplit(connection.base_url)
    transport, _ = await asyncio.get_running_loop().create_connection(Listener, parts.hostname, parts.port)
    try:
        transport.write(f"GET {path} HTTP/1.1\r\n{_headers(connection)}\r\n".encode())
        await is_open.wait()
        yield
    finally:
        transport.close()


def _headers(connection: Connection) -> str:
    return f"Host: {urlsplit(connection.base_url).netloc}\r\nAuthorization: Bearer {connection.api_key}\r\n"


async def seconds_each(wire: Wire, paths: Iterable[str]) -> list[float]:
    """How long each of these takes, one after the other."""
    taken: list[float] = []
    for path in paths:
        start = time.perf_counter()
        await wire.ask("GET", path)
        taken.append(time.perf_counter() - start)
    return taken


async def seconds_to_post(opened: list[Wire], path: str, bodies: Iterable[bytes]) -> float:
    """How long all the bodies take when each connection sends the next one as soon as it is answered."""
    left = iter(bodies)

    async def send(wire: Wire) -> None:
        for body in left:
            await wire.ask("POST", path, body=body)

    start = time.perf_counter()
    await asyncio.gather(*map(send, opened))
    return time.perf_counter() - start
