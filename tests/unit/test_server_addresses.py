"""Which URLs the server may request, and which lead into its own network."""

from __future__ import annotations

from ipaddress import ip_address

import pytest
from comfyui_outpost.api.addresses import is_public
from comfyui_outpost.api.errors import Unprocessable
from comfyui_outpost.api.server.addresses import check_url

PRIVATE = [
    "0.0.0.0",
    "0.1.2.3",
    "10.0.0.1",
    "100.64.0.1",
    "100.127.255.255",
    "127.0.0.1",
    "127.255.255.254",
    "169.254.169.254",
    "172.16.0.1",
    "172.31.255.255",
    "192.0.0.1",
    "192.0.2.1",
    "192.88.99.1",
    "192.168.1.1",
    "198.18.0.1",
    "198.19.255.255",
    "198.51.100.1",
    "203.0.113.1",
    "224.0.0.1",
    "239.255.255.255",
    "240.0.0.1",
    "255.255.255.255",
    "::",
    "::1",
    "::7f00:1",
    "::ffff:127.0.0.1",
    "::ffff:10.0.0.1",
    "64:ff9b::7f00:1",
    "64:ff9b::a9fe:a9fe",
    "64:ff9b:1::1",
    "100::1",
    "2001::1",
    "2001:db8::1",
    "2002:7f00:1::",
    "3fff::1",
    "5f00::1",
    "fc00::1",
    "fd12:3456::1",
    "fe80::1",
    "fec0::1",
    "ff02::1",
]
PUBLIC = [
    "1.1.1.1",
    "9.255.255.255",
    "11.0.0.0",
    "93.184.216.34",
    "100.63.255.255",
    "100.128.0.0",
    "172.15.255.255",
    "172.32.0.0",
    "192.167.255.255",
    "198.20.0.0",
    "223.255.255.255",
    "2001:200::1",
    "2606:4700:4700::1111",
    "::ffff:93.184.216.34",
    "64:ff9b::5db8:d822",
]
SPELLINGS = ["127.1", "2130706433", "0177.0.0.1", "127.0.0.1.", "127.0.0.01", "①②⑦.⓪.⓪.①", "１２７.0.0.1"]
"""Hosts that some systems take for 127.0.0.1."""


@pytest.mark.parametrize("address", PRIVATE)
def test_an_address_of_no_public_host_is_refused(address: str):
    assert not is_public(ip_address(address))
    host = f"[{address}]" if ":" in address else address
    with pytest.raises(Unprocessable, match="its network"):
        check_url(f"http://{host}:8188/x", allow_private=False)
    assert check_url(f"http://{host}:8188/x", allow_private=True).port == 8188


@pytest.mark.parametrize("address", PUBLIC)
def test_an_address_of_the_internet_is_accepted(address: str):
    assert is_public(ip_address(address))
    host = f"[{address}]" if ":" in address else address
    assert check_url(f"https://{host}/x", allow_private=False).raw_host == address


@pytest.mark.parametrize("host", [*SPELLINGS, "[fe80::1%25eth0]", "[::1%251]"])
def test_another_spelling_of_a_private_address_is_refused(host: str):
    with pytest.raises(Unprocessable):
        check_url(f"http://{host}/", allow_private=False)


@pytest.mark.parametrize(
    "url",
    [
        "file:///etc/passwd",
        "ftp://example.com/x",
        "gopher://example.com/x",
        "//example.com/x",
        "example.com/x",
        "http:///x",
        "http://:80/x",
        "http://",
        "http://example.com:99999/",
        "http://[::1/",
        "http://exam ple.com/",
        "http://example.com/\r\nHost: other",
        "http://example.com/\x00",
        "",
    ],
)
@pytest.mark.parametrize("allow_private", [True, False])
def test_what_is_no_url_of_the_web_is_refused(url: str, allow_private: bool):
    with pytest.raises(Unprocessable) as caught:
        check_url(url, allow_private=allow_private)
    assert "passwd" not in str(caught.value)


@pytest.mark.parametrize(
    "url", ["https://example.com:8443/a%2fb%7e?sig=a%2Fb+c%3d%3D&x=%e2%82%ac", "http://name:word@example.com/?q"]
)
def test_a_signed_url_is_requested_byte_for_byte(url: str):
    assert str(check_url(url, allow_private=False)) == url


def test_a_url_that_is_not_written_out_is_requested_as_a_browser_would():
    url = check_url("https://exämple.com/ä?ö", allow_private=False)
    assert str(url) == "https://xn--exmple-cua.com/%C3%A4?%C3%B6"
