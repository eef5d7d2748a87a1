"""Which addresses belong to the internet, and which to this computer or its network.

A URL from outside must not become a way into the network of whoever opens it.
"""

from __future__ import annotations

from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address

# Written down, because what Python's ipaddress calls private differs between its versions. The source are IANA's
# registries of special-purpose addresses.
_SPECIAL_V4 = tuple(
    map(
        IPv4Network,
        (
            "0.0.0.0/8",  # this host
            "10.0.0.0/8",
            "100.64.0.0/10",  # behind a carrier's NAT
            "127.0.0.0/8",
            "169.254.0.0/16",  # link-local, where clouds keep their credentials
            "172.16.0.0/12",
            "192.0.0.0/24",
            "192.0.2.0/24",  # documentation
            "192.88.99.0/24",  # relays from IPv6
            "192.168.0.0/16",
            "198.18.0.0/15",  # benchmarks
            "198.51.100.0/24",  # documentation
            "203.0.113.0/24",  # documentation
            "224.0.0.0/4",  # multicast
            "240.0.0.0/4",  # reserved, and broadcast
        ),
    )
)
_PUBLIC_V6 = IPv6Network("2000::/3")
_SPECIAL_V6 = tuple(
    map(
        IPv6Network,
        (
            "2001::/23",  # protocols, among them Teredo, which leads to an IPv4 address
            "2001:db8::/32",  # documentation
            "2002::/16",  # 6to4, which leads to an IPv4 address
            "3fff::/20",  # documentation
        ),
    )
)
_EMBEDS_V4 = (IPv6Network("::ffff:0:0/96"), IPv6Network("64:ff9b::/96"))
"""IPv4-mapped addresses, and those that a NAT64 translates: the last 32 bits say where they lead."""


def is_public(address: IPv4Address | IPv6Address) -> bool:
    """Whether an address is one of the internet, and not of this computer, its network, or no host at all."""
    if isinstance(address, IPv4Address):
        return not any(address in network for network in _SPECIAL_V4)
    if any(address in network for network in _EMBEDS_V4):
        return is_public(IPv4Address(int(address) & 0xFFFF_FFFF))
    return address in _PUBLIC_V6 and not any(address in network for network in _SPECIAL_V6)


def is_written_address(host: str) -> bool:
    """Whether a host is no name; also the spellings that no standard knows and some systems accept, such as 127.1."""
    return ":" in host or host.replace(".", "").isdigit()


def leads_outside(address: str) -> bool:
    """Whether a written address is one of the internet. ValueError for what is no address in its usual spelling."""
    # IPv6 addresses of this computer's network may have a zone, as in fe80::1%eth0.
    return is_public(ip_address(address.partition("%")[0]))
