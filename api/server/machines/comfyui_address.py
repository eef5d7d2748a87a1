"""Where a ComfyUI answers: what may be its address, how one proves to be allowed in, and the connections to it."""

from __future__ import annotations

import ipaddress
import re
import socket
from base64 import b64encode
from collections.abc import Iterator
from ipaddress import IPv4Address, IPv6Address, IPv6Network
from types import SimpleNamespace
from typing import TYPE_CHECKING

import aiohttp
from aiohttp.abc import AbstractResolver
from aiohttp.resolver import ThreadedResolver
from yarl import URL

from ...errors import InvalidInput

if TYPE_CHECKING:
    from aiohttp.abc import ResolveResult  # since aiohttp 3.10

FORBIDDEN = (
    "The endpoint is a link-local, multicast or unspecified address, or one at which a cloud keeps its keys:"
    " no ComfyUI is reached there"
)
MISWRITTEN = "The endpoint's address is not written as addresses are; it looks like http://192.168.1.20:8188"
CONNECT_SECONDS = 10

_CLOUDS = tuple(
    map(
        ipaddress.ip_network,
        (
            "100.100.100.200/32",  # Alibaba
            "168.63.129.16/32",  # Azure
            "192.0.0.192/32",  # Oracle
            "fd00:ec2::/64",  # Amazon
            "fd20:ce::254/128",  # Google
            "fd00:42::42/128",  # Scaleway
        ),
    )
)
"""Where clouds tell a computer about itself, which link-local addresses are not."""
_EMBEDS_V4 = (
    (IPv6Network("::/96"), 0),  # compatible with IPv4 (RFC 4291)
    (IPv6Network("::ffff:0:0/96"), 0),  # mapped (RFC 4291)
    (IPv6Network("::ffff:0:0:0/96"), 0),  # translated (RFC 2765)
    (IPv6Network("64:ff9b::/96"), 0),  # through a NAT64 (RFC 6052)
    (IPv6Network("64:ff9b:1::/48"), 0),  # through a NAT64 of one's own (RFC 8215)
    (IPv6Network("2002::/16"), 80),  # 6to4 (RFC 3056)
)
"""IPv6 addresses that lead to an IPv4 address, and how many bits follow it."""
_NUMBER = re.compile(r"(?:.*\.)?(?:[0-9]+|0[xX][0-9a-fA-F]*)\.*", re.DOTALL)
"""A host whose last part is a number, which no name ends with: systems read it as an IPv4 address, however odd."""


class ForbiddenAddress(OSError):
    """The name leads to an address that is never a ComfyUI's."""


class Redirected(aiohttp.ClientError):
    """The server wanted a request to go to another address."""


def read_endpoint(endpoint: str | None) -> URL:
    """The base URL of a ComfyUI, without a slash at its end. InvalidInput when it cannot be one."""
    try:
        url = URL((endpoint or "").strip())
        host, _ = url.host, url.port
    except ValueError:
        raise _invalid("The endpoint is not a URL; it looks like http://192.168.1.20:8188") from None
    if url.scheme not in ("http", "https") or not host:
        raise _invalid("The endpoint has to be a URL that begins with http:// or https://")
    if url.user is not None or url.password is not None:
        raise _invalid("The endpoint has a name or password in it: give them as auth_token, as name:password")
    if url.query_string or url.fragment:
        raise _invalid("The endpoint has something after a ? or #: give it without, as http://192.168.1.20:8188")
    if is_miswritten(host):
        raise _invalid(MISWRITTEN)
    if is_forbidden(host):
        raise _invalid(FORBIDDEN)
    return URL(str(url).rstrip("/"), encoded=True)


def _invalid(message: str) -> InvalidInput:
    return InvalidInput(message, input_id="endpoint")


def is_miswritten(host: str) -> bool:
    """Whether it is a number that is no canonical address: what it leads to depends on who reads it."""
    return _NUMBER.fullmatch(host) is not None and _address(host) is None


def is_forbidden(host: str) -> bool:
    """Whether it is the number of an address that is refused. Private ones are fine: people's GPUs are there."""
    address = _address(host)
    if address is None:
        return is_miswritten(host)  # a name is fine: what it leads to is looked at when it is resolved
    return any(map(_is_refused, (address, *_embedded(address))))


def _address(host: str) -> IPv4Address | IPv6Address | None:
    try:
        return ipaddress.ip_address(host.partition("%")[0])
    except ValueError:
        return None


def _is_refused(address: IPv4Address | IPv6Address) -> bool:
    is_special = address.is_link_local or address.is_multicast or address.is_unspecified
    return is_special or any(address in network for network in _CLOUDS)


def _embedded(address: IPv4Address | IPv6Address) -> Iterator[IPv4Address]:
    """The IPv4 addresses that an IPv6 address may lead to."""
    for network, bits_after in _EMBEDS_V4:
        # ::1 and :: are no IPv4 addresses, although they look as if they were compatible with one.
        if address in network and int(address) > 1:
            yield IPv4Address(int(address) >> bits_after & 0xFFFF_FFFF)


def is_loopback(host: str | None) -> bool:
    """Whether it is this computer's own, to which no proxy leads."""
    try:
        return host == "localhost" or ipaddress.ip_address(host or "").is_loopback
    except ValueError:
        return False


def authorization(auth_token: str | None) -> dict[str, str]:
    """The header that carries a token: as Basic for `user:password`, else as Bearer. InvalidInput if it cannot."""
    token = (auth_token or "").strip()
    if not token:
        return {}
    if not token.isascii() or not token.isprintable():
        raise InvalidInput("The auth_token has characters that no request can carry", input_id="auth_token")
    if ":" in token:
        return {"Authorization": f"Basic {b64encode(token.encode()).decode()}"}
    return {"Authorization": f"Bearer {token}"}


def open_session(base: URL, headers: dict[str, str]) -> aiohttp.ClientSession:
    """The connections to one ComfyUI. They never follow a redirect, which could lead the token anywhere."""
    trace = aiohttp.TraceConfig()
    trace.on_request_redirect.append(_refuse_redirect)
    return aiohttp.ClientSession(
        headers=headers,
        # A graph must not be sent on a connection that a proxy in between has just closed: many do after 5 seconds.
        connector=aiohttp.TCPConnector(resolver=_GuardedResolver(), keepalive_timeout=4),
        timeout=aiohttp.ClientTimeout(total=None, sock_connect=CONNECT_SECONDS),
        trust_env=not is_loopback(base.host),
        trace_configs=[trace],
    )


async def _refuse_redirect(
    session: aiohttp.ClientSession, context: SimpleNamespace, parameters: aiohttp.TraceRequestRedirectParams
) -> None:
    # A websocket's handshake has no option for this.
    parameters.response.close()
    raise Redirected


class _GuardedResolver(AbstractResolver):
    """Looks at every address that a name leads to, each time: it may lead elsewhere than when it was checked."""

    def __init__(self) -> None:
        self._resolver = ThreadedResolver()

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_UNSPEC
    ) -> list[ResolveResult]:
        if is_miswritten(host):
            raise ForbiddenAddress(MISWRITTEN)
        found = await self._resolver.resolve(host, port, family)
        allowed = [each for each in found if not is_forbidden(each["host"])]
        if found and not allowed:
            raise ForbiddenAddress(FORBIDDEN)
        return allowed

    async def close(self) -> None:
        await self._resolver.close()
