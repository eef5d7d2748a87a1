"""Which addresses the server may send requests to, when somebody names a URL.

A URL from outside must not become a way into the server's own network. Names are looked up once, here, and the
connection goes to the address that was looked at: a name whose address changes in between gains nothing.
"""

from __future__ import annotations

import socket
from typing import TYPE_CHECKING

from aiohttp import ClientSession, ClientTimeout, DummyCookieJar, TCPConnector, ThreadedResolver
from aiohttp.abc import AbstractResolver
from yarl import URL

from ..addresses import is_written_address, leads_outside
from ..errors import Unprocessable, quote

if TYPE_CHECKING:
    from aiohttp.abc import ResolveResult  # came with aiohttp 3.10

CONNECT_SECONDS = 10


def check_url(url: str, *, allow_private: bool) -> URL:
    """The URL as it will be requested. Unprocessable when it is none, or leads to a private address.

    A name is not looked up here; where it leads is checked when the connection is made.
    """
    if not url.isprintable() or " " in url:
        raise Unprocessable("The URL has a space or a control character in it")
    try:
        # One that is written out already is requested byte for byte: it may be signed.
        parsed = URL(url, encoded=url.isascii())
        host = parsed.raw_host
    except ValueError as error:
        raise Unprocessable("This is no URL") from error
    if parsed.scheme not in ("http", "https") or not host:
        raise Unprocessable("Only a URL that begins with http:// or https:// and names a host can be used")
    if not allow_private and is_written_address(host):
        _check_address(host, host)
    return parsed


class PublicOnly(AbstractResolver):
    """Looks names up, and raises Unprocessable for one that leads to a private address."""

    def __init__(self, resolver: AbstractResolver | None = None) -> None:
        self._resolver = resolver or ThreadedResolver()

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_UNSPEC
    ) -> list[ResolveResult]:
        """The addresses of a name. One that is private among public ones spoils them all."""
        results = await self._resolver.resolve(host, port, family)
        for result in results:
            _check_address(result["host"], host)
        return results

    async def close(self) -> None:
        await self._resolver.close()


def outgoing_session(
    *, allow_private: bool, resolver: AbstractResolver | None = None, unpacks: bool = False
) -> ClientSession:
    """A client for URLs that come from outside: it sends no cookie, uses no proxy, and keeps no connection.

    Whoever uses it checks each URL first and follows redirects by himself, because an address that is written in a
    URL is not looked up. `resolver` looks names up, by default the system. `unpacks`: whether compressed answers come
    unpacked.
    """
    # A kept connection would outlive what the name leads to, and a POST on one that is being closed fails for nothing.
    connector = TCPConnector(
        resolver=resolver if allow_private else PublicOnly(resolver), use_dns_cache=False, force_close=True
    )
    timeout = ClientTimeout(total=None, connect=CONNECT_SECONDS, sock_read=30)
    return ClientSession(
        connector=connector,
        cookie_jar=DummyCookieJar(),
        timeout=timeout,
        trust_env=False,
        # aiohttp unpacks what arrives before anybody reads it, older releases without a limit.
        auto_decompress=unpacks,
    )


def _check_address(address: str, host: str) -> None:
    try:
        is_fine = leads_outside(address)
    except ValueError as error:
        raise Unprocessable(f"{quote(host)} is neither a name nor an IP address") from error
    if not is_fine:
        raise Unprocessable(
            f"{quote(host)} is an address of this computer or of its network; this server sends no requests there"
        )
