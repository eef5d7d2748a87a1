"""Where a platform's URLs may lead: to the internet, and to private addresses only when the platform is at one, too.

Addresses are looked at when a connection has been made and nothing has been sent: no name is resolved for it, and one
whose address changes gains nothing.
"""

from __future__ import annotations

import asyncio
import os
import socket
from collections.abc import Awaitable, Callable, Sequence
from typing import TYPE_CHECKING

from ..addresses import is_written_address, leads_outside
from ..errors import TransferError, quote
from .http import OnConnect, parsed_url, proxy_for

if TYPE_CHECKING:
    from httpx import URL

ALLOW_VARIABLE = "OUTPOST_ALLOW_PRIVATE_ADDRESSES"
PORTS = {"http": 80, "https": 443}

LookUp = Callable[[str, int], Awaitable[Sequence[str]]]
"""The addresses of a host. Raises OSError for a name that has none."""


def allows_private_addresses() -> bool:
    """Whether the user has said so in the environment."""
    return os.environ.get(ALLOW_VARIABLE, "").strip().lower() in ("1", "true", "yes")


async def look_up(host: str, port: int) -> list[str]:
    """The addresses of a host, as the operating system knows them, each once."""
    found = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return list(dict.fromkeys(str(address[0]) for *_, address in found))


def origin_of(url: URL) -> tuple[str, str, int]:
    """Scheme, host and port."""
    return url.scheme, url.host, url.port or PORTS[url.scheme]


class Border:
    """Between the internet and this computer with its network, for the URLs of one platform."""

    def __init__(
        self,
        platform_url: str,
        *,
        look_up: LookUp = look_up,
        is_public: Callable[[str], bool] = leads_outside,
        seconds: float = 10.0,
    ) -> None:
        self._platform = parsed_url(platform_url)
        self._allows_private = allows_private_addresses()
        self._look_up = look_up
        self._is_public = is_public
        self._seconds = seconds
        """For looking up a host."""
        self._is_platform_inside: bool | None = None
        self._known_outside: set[str] = set()

    async def guard(self, url: str) -> OnConnect | None:
        """What has to be asked about the address of each new connection for a URL; None for a URL without limits.

        Raises TransferError when the URL must not be opened.
        """
        target = parsed_url(url)
        if self._allows_private or origin_of(target) == origin_of(self._platform):
            return None
        host = target.raw_host.decode()

        async def check(address: str) -> None:
            if not self._leads_outside(address) and not await self._is_inside():
                raise TransferError(
                    f"{quote(host)} is an address of this computer or of its network, where the platform is not. "
                    f"If you trust it, start ComfyUI with {ALLOW_VARIABLE}=1 in its environment."
                )

        if is_written_address(host):
            await check(host)
        elif proxy_for(target) and host not in self._known_outside:
            # The connection goes to the proxy. A name that only the proxy knows is one of the proxy's network.
            for address in await self._addresses(target):
                await check(address)
            self._known_outside.add(host)
        return None if proxy_for(target) else check

    def _leads_outside(self, address: str) -> bool:
        try:
            return self._is_public(address)
        except ValueError:
            return False  # an address in a spelling that no standard knows

    async def _is_inside(self) -> bool:
        """Whether the platform itself is on this computer or in its network; looked up when it first matters."""
        if self._is_platform_inside is None:
            addresses = await self._addresses(self._platform)
            self._is_platform_inside = bool(addresses) and not any(map(self._leads_outside, addresses))
        return self._is_platform_inside

    async def _addresses(self, url: URL) -> Sequence[str]:
        try:
            looked_up = self._look_up(url.raw_host.decode(), url.port or PORTS[url.scheme])
            return await asyncio.wait_for(looked_up, self._seconds)
        except (OSError, UnicodeError, asyncio.TimeoutError):
            return []
