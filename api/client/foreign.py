"""Files behind URLs that somebody has written into a graph: fetched without credentials, and from no private address.

A name is looked up once, and the connection goes to the address that was looked at: a name whose address changes in
between gains nothing. Where a proxy makes the connections, it looks the name up again. Each redirect is checked as if
it had been the URL.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable, Coroutine, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from ..addresses import is_written_address, leads_outside
from ..errors import ConnectionFailed, InvalidInput, SizeLimitExceeded, TransferError, quote
from .border import ALLOW_VARIABLE, PORTS, LookUp, look_up, origin_of
from .http import Answer, Wire, parsed_url, proxy_for
from .transfers import MAX_REDIRECTS, REDIRECTS, redirected, whole_body, write_chunks

if TYPE_CHECKING:
    from httpx import URL

MAX_ADDRESSES = 3
"""Addresses of one name that are tried."""

T = TypeVar("T")


@dataclass(frozen=True)
class ForeignFiles:
    """Opens URLs of any host, each by a connection of its own."""

    trusted_url: str | None = None
    """The platform: what lies behind the same scheme, host and port may be fetched wherever it is."""
    allow_private: bool = False
    look_up: LookUp = look_up
    is_public: Callable[[str], bool] = leads_outside
    """Whether an address may be connected to."""
    connect_seconds: float = 10.0
    silence_seconds: float = 30.0
    """Without a byte of the file."""
    total_seconds: float = 1800.0
    """Against a server that says a little now and then, for ever."""

    async def get(self, url: str, *, max_bytes: int) -> bytes:
        """The bytes behind a URL.

        Raises InvalidInput for a URL that must not be opened, TransferError and ConnectionFailed when it gives no file.
        """

        async def get() -> bytes:
            async with self._opened(url, max_bytes) as answer:
                return b"".join([chunk async for chunk in whole_body(answer, max_bytes=max_bytes)])

        return await self._in_time(get())

    async def get_to(self, url: str, path: Path, *, max_bytes: int) -> int:
        """Write what is behind a URL to a file, which is deleted when it is not whole; its bytes. Raises as `get`."""

        async def get() -> int:
            async with self._opened(url, max_bytes) as answer:
                return await write_chunks(path, whole_body(answer, max_bytes=max_bytes))

        try:
            return await self._in_time(get())
        except BaseException:
            path.unlink(missing_ok=True)  # noqa: ASYNC240 (it has to happen while the task is being cancelled, too)
            raise

    async def _in_time(self, transfer: Coroutine[Any, Any, T]) -> T:
        try:
            return await asyncio.wait_for(transfer, self.total_seconds)
        except asyncio.TimeoutError as error:
            raise TransferError(f"The file did not arrive within {self.total_seconds:g} seconds") from error

    @asynccontextmanager
    async def _opened(self, url: str, max_bytes: int) -> AsyncGenerator[Answer, None]:
        """The answer with the file, after redirects."""
        for _ in range(MAX_REDIRECTS + 1):
            async with AsyncExitStack() as stack:
                target = parsed_url(url)
                answer = await self._ask(stack, url, target)
                location = answer.headers.get("location")
                if answer.status in REDIRECTS and location:
                    url = redirected(url, location)
                    continue
                if answer.status != 200:
                    raise TransferError(f"{quote(target.host)} answered {answer.status} instead of the file")
                if (answer.size or 0) > max_bytes:
                    raise SizeLimitExceeded(f"The file is bigger than the limit of {max_bytes} bytes")
                yield answer
                return
        raise TransferError(f"The URL is redirected more than {MAX_REDIRECTS} times; name the one where it ends")

    async def _ask(self, stack: AsyncExitStack, url: str, target: URL) -> Answer:
        """The answer of the first of the host's addresses that accepts a connection."""
        # A connection that is kept would be used for another name at the same address too.
        wire = Wire(connect=self.connect_seconds)
        stack.push_async_callback(wire.aclose)
        *others, last = await self._addresses(target)
        for address in others:
            try:
                return await self._ask_at(stack, wire, url, address)
            except ConnectionFailed as error:
                if error.was_sent:
                    raise
        return await self._ask_at(stack, wire, url, last)

    async def _ask_at(self, stack: AsyncExitStack, wire: Wire, url: str, address: str | None) -> Answer:
        headers = {"Accept": "*/*"}
        exchange = wire.exchange("GET", url, headers=headers, read=self.silence_seconds, address=address)
        return await stack.enter_async_context(exchange)

    async def _addresses(self, target: URL) -> Sequence[str | None]:
        """Where to connect to; None leaves it to the connection. One that is private spoils them all."""
        if self.allow_private or (self.trusted_url and origin_of(target) == origin_of(parsed_url(self.trusted_url))):
            return [None]
        host = target.raw_host.decode()
        try:
            looked_up = self.look_up(host, target.port or PORTS[target.scheme])
            addresses = await asyncio.wait_for(looked_up, self.connect_seconds)
        except (OSError, UnicodeError, asyncio.TimeoutError) as error:
            if proxy_for(target) and not is_written_address(host):
                return [None]  # a name that only the proxy knows, and whose network that is
            raise ConnectionFailed(f"No answer from {quote(host)}: the name of the host is not known") from error
        if not addresses or not all(map(self.is_public, addresses)):
            raise InvalidInput(
                f"{quote(host)} is an address of this computer or of its network, where nothing is fetched from. "
                f"If you trust it, start ComfyUI with {ALLOW_VARIABLE}=1 in its environment."
            )
        return addresses[:MAX_ADDRESSES]
