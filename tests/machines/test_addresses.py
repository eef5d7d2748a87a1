"""Which addresses may be a ComfyUI's, and what an endpoint is told to be before it is saved."""

from __future__ import annotations

import asyncio
import base64
import socket
from collections.abc import AsyncIterator
from typing import Any

import pytest
from aiohttp import web
from comfyui_outpost.api.errors import InvalidInput
from comfyui_outpost.api.server.machines import MachineError, MachineSettings
from comfyui_outpost.api.server.machines.comfyui import ComfyUIMachine, Patience, check_comfyui
from comfyui_outpost.api.server.machines.comfyui_address import _GuardedResolver, is_forbidden
from comfyui_outpost.tests.fakes.comfyui import FakeComfyUI
from comfyui_outpost.tests.fakes.flaky import Act, Flaky, answer, break_off, break_off_after, silence, text
from comfyui_outpost.tests.fakes.serving import served

from .conftest import HASTE
from .jobs import SAVE, Trial

TOKEN = "a-token-that-nobody-may-see"
BODY = "words of a stranger"


@pytest.mark.parametrize(
    ("host", "is_refused"),
    [
        ("127.0.0.1", False),
        ("::1", False),
        ("192.168.1.20", False),
        ("10.1.2.3", False),
        ("fd00::1", False),
        ("8.8.8.8", False),
        ("a-name", False),
        ("169.254.169.254", True),
        ("fe80::1", True),
        ("fe80::1%eth0", True),
        ("::ffff:169.254.169.254", True),
        ("224.0.0.1", True),
        ("ff02::1", True),
        ("0.0.0.0", True),
        ("::", True),
        ("::ffff:192.168.1.20", False),
        ("64:ff9b::c0a8:114", False),
        ("2002:c0a8:114::1", False),
        ("2a00:1450:4001::a9fe:a9fe", False),
        ("100.100.100.200", True),
        ("168.63.129.16", True),
        ("fd00:ec2::254", True),
        ("fd20:ce::254", True),
        ("64:ff9b::a9fe:a9fe", True),
        ("64:ff9b:1::a9fe:a9fe", True),
        ("64:ff9b::6464:64c8", True),
        ("2002:a9fe:a9fe::1", True),
        ("::169.254.169.254", True),
        ("::ffff:0:169.254.169.254", True),
    ],
)
def test_addresses_at_which_no_comfyui_is_are_refused(host: str, is_refused: bool):
    assert is_forbidden(host) is is_refused


ODD_NUMBERS = [
    "2852039166",
    "169.254.43518",
    "169.254.169.254.",
    "169.254.169.254..",
    "0251.0376.0251.0376",
    "0xa9fea9fe",
    "0xA9.0xFE.0xA9.0xFE",
    "169.254.0xa9fe",
    "127.1",
    "0",
    "0x",
    "1.2.3.4.5",
]
"""Numbers that some systems read as an address, and some of them as one that is refused."""


@pytest.mark.parametrize("host", ODD_NUMBERS)
async def test_a_number_that_is_written_as_no_address_is_none_and_no_name_either(host: str):
    assert is_forbidden(host)
    with pytest.raises(InvalidInput, match="not written as addresses are"):
        await check_comfyui(f"http://{host}:8188", auth_token=None)
    with pytest.raises(OSError, match="not written as addresses are"):
        await _GuardedResolver().resolve(host)


@pytest.mark.parametrize(
    "host", ["gpu-1", "gpu.local.", "10-1-2-3.example", "0xbeef.example", "1.2.3.4.example", "abc"]
)
def test_a_name_may_have_digits(host: str):
    assert not is_forbidden(host)


@pytest.mark.parametrize(
    ("endpoint", "reason"),
    [
        ("", "begins with http"),
        ("ftp://192.168.1.20", "begins with http"),
        ("192.168.1.20:8188", "begins with http"),
        ("http://", "URL"),
        ("http://[::1", "not a URL"),
        ("http://a:99999", "not a URL"),
        ("http://me:secret@gpu:8188", "auth_token"),
        ("http://gpu:8188/?token=1", "after a"),
        ("http://gpu:8188/#page", "after a"),
        ("http://169.254.169.254/latest", "link-local"),
        ("http://[fe80::1]:8188", "link-local"),
        ("http://[fd00:ec2::254]", "keys"),
        ("http://[64:ff9b::a9fe:a9fe]", "keys"),
        ("http://[2002:a9fe:a9fe::1]", "keys"),
        ("http://100.100.100.200", "keys"),
        ("http://169\N{IDEOGRAPHIC FULL STOP}254.169.254", "link-local"),
        ("http://0.0.0.0:8188", "unspecified"),
    ],
)
async def test_an_endpoint_that_can_be_none_is_refused_with_one_sentence(endpoint: str, reason: str):
    with pytest.raises(InvalidInput, match=reason) as caught:
        await check_comfyui(endpoint, auth_token=None)
    assert caught.value.input_id == "endpoint"
    assert "secret" not in str(caught.value)
    assert "\n" not in str(caught.value)


async def test_a_name_that_leads_to_a_metadata_service_is_refused(monkeypatch: pytest.MonkeyPatch):
    async def lead(*args: Any, **options: Any) -> list[Any]:
        return [(socket.AF_INET6, socket.SOCK_STREAM, 6, "", ("64:ff9b::a9fe:a9fe", 8188, 0, 0))]

    monkeypatch.setattr(asyncio.get_running_loop(), "getaddrinfo", lead)
    with pytest.raises(InvalidInput, match="keeps its keys"):
        await check_comfyui("http://gpu.example:8188", auth_token=None)


async def test_a_name_that_leads_nowhere_is_said_so():
    with pytest.raises(InvalidInput, match="leads to no address"):
        await check_comfyui("http://0x7f.0.0.1.x.invalid", auth_token=None)


async def test_a_name_that_leads_to_a_refused_address_is_refused_whenever_it_is_resolved():
    resolver = _GuardedResolver()
    with pytest.raises(OSError, match="link-local"):
        await resolver.resolve("169.254.169.254", 80)
    assert [each["host"] for each in await resolver.resolve("127.0.0.1", 80)] == ["127.0.0.1"]
    await resolver.close()


async def test_a_comfyui_is_known_by_its_version(comfyui: FakeComfyUI, url: str):
    assert await check_comfyui(f"{url}/", auth_token=None) == "0.9.9"
    comfyui.stats = {"system": {"os": "nt"}, "devices": []}
    assert await check_comfyui(url, auth_token=None) == "unknown"
    comfyui.stats = {"system": {"comfyui_version": "<script>" + BODY}, "devices": []}
    assert await check_comfyui(url, auth_token=None) == "unknown"


@pytest.mark.parametrize(
    ("act", "reason"),
    [
        (text(BODY), "no JSON"),
        (answer({"message": BODY}), "no ComfyUI"),
        (answer([BODY]), "no ComfyUI"),
        (answer({"system": BODY, "devices": []}), "no ComfyUI"),
        (text(BODY, 404), "no ComfyUI"),
        (text(BODY, 401), "refuses the auth_token"),
        (text(BODY, 403), "refuses the auth_token"),
        (text(BODY, 500), "500"),
        (text(BODY, 502), "502"),
        (text(BODY, 302, headers={"Location": "http://127.0.0.1:1/"}), "redirects"),
        (break_off, "broke the connection off"),
        (break_off_after(b'{"system": {', announced=100), "broke the connection off"),
    ],
)
async def test_whatever_else_answers_is_told_in_one_sentence_without_its_words(act: Act, reason: str):
    async with served(Flaky(act).app) as url:
        with pytest.raises(InvalidInput, match=reason) as caught:
            await check_comfyui(url, auth_token=TOKEN)
    assert BODY not in str(caught.value)
    assert TOKEN not in str(caught.value)
    assert "127.0.0.1" not in str(caught.value)


async def test_nobody_and_silence_are_told_apart(monkeypatch: pytest.MonkeyPatch):
    with pytest.raises(InvalidInput, match="nobody answers"):
        await check_comfyui("http://127.0.0.1:1", auth_token=None)
    monkeypatch.setattr(Patience, "answer", 0.1)
    over = asyncio.Event()
    async with served(Flaky(silence(over)).app) as url:
        with pytest.raises(InvalidInput, match="does not answer in time"):
            await check_comfyui(url, auth_token=None)
        over.set()


async def test_tls_without_a_trusted_certificate_is_said_so():
    async with served(FakeComfyUI().app) as url:
        with pytest.raises(InvalidInput, match="certificate"):
            await check_comfyui(url.replace("http://", "https://"), auth_token=None)


@pytest.mark.parametrize("token", ["line\nbreak", "Schlüssel", "tab\tinside"])
async def test_a_token_that_no_request_can_carry_is_refused_and_not_shown(token: str):
    with pytest.raises(InvalidInput) as caught:
        await check_comfyui("http://127.0.0.1:1", auth_token=token)
    assert caught.value.input_id == "auth_token"
    assert token not in str(caught.value)


@pytest.mark.parametrize(
    ("token", "header"),
    [
        (TOKEN, f"Bearer {TOKEN}"),
        ("me:secret", "Basic " + base64.b64encode(b"me:secret").decode()),
        ("", None),
        (None, None),
    ],
)
async def test_the_token_goes_with_every_request_and_the_websocket(
    comfyui: FakeComfyUI, url: str, token: str | None, header: str | None
):
    settings = MachineSettings("m", "comfyui", endpoint=url, auth_token=token)
    machine = ComfyUIMachine(settings, patience=HASTE)
    await Trial(SAVE).on(machine)
    await machine.close()
    assert {seen.headers.get("Authorization") for seen in comfyui.log.requests} == {header}
    assert comfyui.log.named("GET", "/ws")
    assert token is None or not token or token not in repr(settings)


@pytest.fixture
async def elsewhere() -> AsyncIterator[tuple[Flaky, str]]:
    """A server to which nothing may ever be sent."""
    stranger = Flaky(answer({}))
    async with served(stranger.app) as url:
        yield stranger, url


@pytest.mark.parametrize("path", ["/system_stats", "/object_info/SaveImage", "/queue", "/ws", "/prompt", "/view"])
async def test_no_request_follows_a_redirect(comfyui: FakeComfyUI, url: str, path: str, elsewhere: tuple[Flaky, str]):
    stranger, other = elsewhere

    async def redirect(request: web.Request) -> web.StreamResponse:
        return web.Response(status=307, headers={"Location": f"{other}{path}"})

    comfyui.fail(path, *[redirect] * 20)
    settings = MachineSettings("m", "comfyui", endpoint=url, auth_token=TOKEN)
    machine = ComfyUIMachine(settings, patience=HASTE)

    with pytest.raises(MachineError, match="redirects"):
        await (machine.health() if path == "/system_stats" else Trial(SAVE, is_repeated=True).on(machine))

    await machine.close()
    assert stranger.log.requests == []


async def test_a_proxy_from_the_environment_is_used_but_never_for_this_computer(
    monkeypatch: pytest.MonkeyPatch, elsewhere: tuple[Flaky, str], url: str
):
    proxy, address = elsewhere
    for name in ("http_proxy", "HTTP_PROXY"):
        monkeypatch.setenv(name, address)
    for name in ("no_proxy", "NO_PROXY"):
        monkeypatch.delenv(name, raising=False)

    assert await check_comfyui(url, auth_token=None) == "0.9.9"
    assert proxy.log.requests == []
    with pytest.raises(InvalidInput, match="no ComfyUI"):
        await check_comfyui("http://192.0.2.1:8188", auth_token=None)
    seen: Any = proxy.log.requests[0]
    assert (seen.method, seen.headers["Host"]) == ("GET", "192.0.2.1:8188")
