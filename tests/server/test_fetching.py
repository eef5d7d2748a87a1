"""Fetching a file that somebody names: what comes, what is refused, and that nothing inside can be reached this way."""

from __future__ import annotations

import asyncio
import gzip
from collections.abc import AsyncGenerator
from contextlib import suppress
from dataclasses import dataclass, field
from urllib.parse import quote, urlsplit

import pytest
from aiohttp import web
from comfyui_outpost.api.errors import ApiError, BadRequest, TooLarge, Unprocessable
from comfyui_outpost.api.server.addresses import outgoing_session
from comfyui_outpost.api.server.fetching import FetchedFile, fetch_url
from comfyui_outpost.tests.fakes.names import Names
from comfyui_outpost.tests.fakes.serving import Log, reset, served

SECRET = "permission-that-nobody-may-see"
PNG = b"\x89PNG\r\n\x1a\n" + b"a picture"
CD = "Content-Disposition"


@dataclass
class Host:
    """Somebody's server, which redirects where a test says, and what it was asked."""

    url: str
    log: Log
    targets: dict[str, str] = field(default_factory=dict)
    was_stopped: asyncio.Event = field(default_factory=asyncio.Event)
    """Set when a client has closed the connection of an endless file."""

    @property
    def port(self) -> int:
        return int(urlsplit(self.url).port or 0)

    async def answer(self, request: web.Request) -> web.StreamResponse:
        await self.log.take(request)
        match request.path.split("/"):
            case [_, "to", name]:
                return web.Response(
                    status=int(request.query.get("status", 302)), headers={"Location": self.targets[name]}
                )
            case [_, "named"]:
                return web.Response(body=PNG, headers={CD: request.query["as"], "Content-Type": "image/png"})
            case [_, "status", code]:
                return web.Response(status=int(code), text=f"a reason with {SECRET}")
            case [_, "endless"]:
                return await self._endless(request)
            case [_, "silent"]:
                await asyncio.Event().wait()
            case [_, "short" | "stuck" as how]:
                return await _broken(request, is_stuck=how == "stuck")
            case [_, "reset"]:
                reset(request)
            case [_, "zipped"]:
                return web.Response(body=gzip.compress(bytes(10_000)), headers={"Content-Encoding": "gzip"})
            case _:
                pass
        return web.Response(body=PNG, content_type="image/png")

    async def _endless(self, request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        try:
            with suppress(ConnectionResetError):  # that is what it waits for; how it comes depends on the moment
                while True:
                    await response.write(bytes(64 * 1024))
        finally:
            self.was_stopped.set()
        return response


async def _broken(request: web.Request, *, is_stuck: bool) -> web.StreamResponse:
    """Half of a file, and then the end, or nothing."""
    response = web.StreamResponse(headers={"Content-Length": "20"})
    await response.prepare(request)
    await response.write(b"0123456789")
    if is_stuck:
        await asyncio.Event().wait()
    reset(request)
    return response


@pytest.fixture
async def host() -> AsyncGenerator[Host, None]:
    app, found = web.Application(), Host("", Log())
    app.router.add_get("/{path:.*}", found.answer)
    async with served(app, cancels_handlers=True) as url:
        found.url = url
        yield found


async def _read(url: str, *, max_bytes: int = 1000, silence_seconds: float = 5) -> tuple[FetchedFile, bytes]:
    fetching = fetch_url(url, allow_private=True, max_bytes=max_bytes, silence_seconds=silence_seconds)
    async with fetching as file:
        return file, b"".join([chunk async for chunk in file.chunks()])


async def _refusal(
    url: str, error: type[ApiError], *, allow_private: bool = True, names: Names | None = None, **limits: float
) -> str:
    """Why a URL cannot be fetched; the reason keeps the secrets of the URL and of the answer."""
    with pytest.raises(error) as caught:
        async with fetch_url(
            url,
            allow_private=allow_private,
            max_bytes=int(limits.get("max_bytes", 1000)),
            silence_seconds=limits.get("silence_seconds", 5),
            resolver=names,
        ) as file:
            assert [chunk async for chunk in file.chunks()]
    assert type(caught.value) is error
    assert SECRET not in str(caught.value)
    return str(caught.value)


async def test_a_file_comes_with_its_name_its_type_and_its_size(host: Host):
    file, data = await _read(f"{host.url}/folder/a%20cat.png?sig={SECRET}%2F")
    assert data == PNG
    assert (file.name, file.content_type, file.size) == ("a_cat.png", "image/png", len(PNG))
    (seen,) = host.log.requests
    assert seen.path == f"/folder/a%20cat.png?sig={SECRET}%2F", "a signed URL is asked for as it is written"
    assert not {"Authorization", "Cookie", "Referer"} & set(seen.headers)


@pytest.mark.parametrize(
    ("said", "name"),
    [
        ("attachment; filename=cat.png", "cat.png"),
        ('inline; filename="../../etc/pass wd"', "pass_wd"),
        ('attachment; filename="C:\\\\x\\\\cat.png"', "cat.png"),
        ("attachment; filename*=UTF-8''k%C3%A4fer.png", "käfer.png"),
        ("attachment; filename=.bashrc", "bashrc"),
        ("attachment", "named"),
        ("; ;=", "named"),
    ],
)
async def test_a_file_is_called_what_its_server_calls_it_without_a_path(host: Host, said: str, name: str):
    assert (await _read(f"{host.url}/named?as={quote(said)}"))[0].name == name


async def test_a_file_that_nobody_has_given_a_name_has_one(host: Host):
    assert (await _read(host.url))[0].name == "file"
    assert (await _read(f"{host.url}/..%2f?x"))[0].name == "file"


async def test_a_file_that_comes_compressed_unasked_is_unpacked_and_measured_unpacked(host: Host):
    file, data = await _read(f"{host.url}/zipped", max_bytes=10_000)
    assert (file.size, data) == (None, bytes(10_000))
    assert host.log.requests[0].headers["Accept-Encoding"] == "identity"
    assert "9999 bytes" in await _refusal(f"{host.url}/zipped", TooLarge, max_bytes=9_999)


async def test_an_answer_that_nobody_wants_is_not_unpacked(host: Host):
    async with outgoing_session(allow_private=True) as session, session.get(f"{host.url}/zipped") as answer:
        packed = await answer.read()
    assert gzip.decompress(packed) == bytes(10_000)


async def test_a_file_that_is_announced_too_large_is_refused_before_it_comes(host: Host):
    with pytest.raises(TooLarge, match="more than the 5 bytes"):
        async with fetch_url(f"{host.url}/x", allow_private=True, max_bytes=5):
            raise AssertionError("nothing of it was wanted")
    _, data = await _read(f"{host.url}/x", max_bytes=len(PNG))
    assert data == PNG


async def test_a_file_without_an_end_is_read_up_to_the_limit_and_the_connection_closed(host: Host):
    assert "1000000 bytes" in await _refusal(f"{host.url}/endless", TooLarge, max_bytes=1_000_000)
    await asyncio.wait_for(host.was_stopped.wait(), 10)


async def test_whoever_does_not_want_the_rest_leaves_it(host: Host):
    async with fetch_url(f"{host.url}/endless", allow_private=True, max_bytes=10**12) as file:
        assert file.size is None
    await asyncio.wait_for(host.was_stopped.wait(), 10)


async def test_redirects_are_followed_wherever_they_are_relative_to(host: Host):
    host.targets |= {"1": "2", "2": f"{host.url}/to/3", "3": "/cat.png?sig=a%2Fb"}
    file, data = await _read(f"{host.url}/to/1?status=307")
    assert (file.name, data) == ("cat.png", PNG)
    assert [seen.path for seen in host.log.requests][-1] == "/cat.png?sig=a%2Fb"


async def test_a_redirect_in_a_circle_ends(host: Host):
    host.targets["1"] = f"/to/1?{SECRET}=1"
    assert "more than 3 times" in await _refusal(f"{host.url}/to/1", BadRequest)
    assert len(host.log.requests) == 4


@pytest.mark.parametrize(
    "target", ["file:///etc/passwd", "ftp://example.com/", "gopher://x/", "http://", "http://[::1"]
)
async def test_a_redirect_to_something_else_than_the_web_is_refused(host: Host, target: str):
    host.targets["1"] = target
    with pytest.raises(ApiError) as caught:
        await _read(f"{host.url}/to/1")
    assert type(caught.value) in (BadRequest, Unprocessable)
    assert "passwd" not in str(caught.value)


@pytest.mark.parametrize("status", [204, 206, 300, 304, 401, 403, 404, 416, 500, 503])
async def test_an_answer_that_is_not_the_file_is_an_error_that_names_its_status_alone(host: Host, status: int):
    reason = await _refusal(f"{host.url}/status/{status}?{SECRET}=1", BadRequest)
    assert reason == f"127.0.0.1 answered {status} instead of the file"


@pytest.mark.parametrize("path", ["short", "stuck"])
async def test_a_file_that_breaks_off_is_not_taken_for_a_whole_one(host: Host, path: str):
    assert "did not arrive whole" in await _refusal(f"{host.url}/{path}?{SECRET}=1", BadRequest, silence_seconds=0.1)


@pytest.mark.parametrize(("path", "reason"), [("silent", "did not answer in time"), ("reset", "cannot be reached")])
async def test_a_server_that_says_nothing_is_an_error(host: Host, path: str, reason: str):
    assert reason in await _refusal(f"{host.url}/{path}?{SECRET}=1", BadRequest, silence_seconds=0.1)


async def test_a_server_that_is_not_there_is_an_error(unused_tcp_port: int):
    assert "cannot be reached" in await _refusal(f"http://127.0.0.1:{unused_tcp_port}/?{SECRET}", BadRequest)
    unknown = Names({})
    assert "cannot be reached" in await _refusal(f"http://nowhere.example/?{SECRET}", BadRequest, names=unknown)


async def test_a_private_address_is_refused_before_anything_is_sent(host: Host):
    reason = await _refusal(f"{host.url}/?{SECRET}", Unprocessable, allow_private=False)
    assert reason.startswith("body.url: 127.0.0.1 is an address of this computer")
    assert host.log.requests == []


@pytest.mark.parametrize(
    "addresses", [["127.0.0.1"], ["::1"], ["::ffff:127.0.0.1"], ["93.184.216.34", "127.0.0.1"]], ids=" ".join
)
async def test_a_name_of_a_private_address_is_refused_before_anything_is_sent(host: Host, addresses: list[str]):
    names = Names({"inside.example": [addresses]})
    url = f"http://inside.example:{host.port}/?{SECRET}"
    reason = await _refusal(url, Unprocessable, allow_private=False, names=names)
    assert "inside.example is an address of this computer" in reason
    assert host.log.requests == []


@pytest.mark.parametrize("name", ["localhost", "LOCALHOST", "0x7f.1", "0x7f000001", "localhost."])
async def test_what_the_system_takes_for_this_computer_is_refused(host: Host, name: str):
    with pytest.raises(ApiError):
        async with fetch_url(f"http://{name}:{host.port}/", allow_private=False, max_bytes=1000):
            pass
    assert host.log.requests == []


async def test_a_redirect_from_a_public_host_into_the_network_is_refused(host: Host, connections: Connections):
    connections.led_to[("93.184.216.34", 80)] = ("127.0.0.1", host.port)
    names = Names({"outside.example": [["93.184.216.34"]], "inside.example": [["10.0.0.1"]]})
    host.targets |= {"address": f"{host.url}/secret", "name": "http://inside.example/secret", "this": "/cat.png"}
    for to in ("address", "name"):
        url = f"http://outside.example/to/{to}"
        assert "its network" in await _refusal(url, Unprocessable, allow_private=False, names=names)
    assert [seen.path for seen in host.log.requests] == ["/to/address", "/to/name"]
    async with fetch_url("http://outside.example/to/this", allow_private=False, max_bytes=99, resolver=names) as file:
        assert [chunk async for chunk in file.chunks()] == [PNG]
    assert set(connections.made) == {("93.184.216.34", 80)}


async def test_a_name_that_is_changed_after_it_was_checked_gains_nothing(host: Host, connections: Connections):
    names = Names({"changing.example": [["93.184.216.34"], ["127.0.0.1"]]})
    url = f"http://changing.example:{host.port}/"
    assert "cannot be reached" in await _refusal(url, BadRequest, allow_private=False, names=names)
    assert names.asked == ["changing.example"], "it is looked up once"
    assert connections.made == [("93.184.216.34", host.port)], "and what was looked up is what is connected to"
    assert "its network" in await _refusal(url, Unprocessable, allow_private=False, names=names)
    assert host.log.requests == []


@dataclass
class Connections:
    """Where this process wanted to connect to; nothing leaves the computer."""

    made: list[tuple[str, int]] = field(default_factory=list)
    led_to: dict[tuple[str, int], tuple[str, int]] = field(default_factory=dict)
    """Where connections end instead; the others are refused."""


@pytest.fixture
async def connections(monkeypatch: pytest.MonkeyPatch) -> Connections:
    loop, found = asyncio.get_running_loop(), Connections()
    connect = loop.sock_connect

    async def sock_connect(sock: object, address: tuple[str, int]) -> None:
        found.made.append(address[:2])
        if (instead := found.led_to.get(address[:2])) is None:
            raise ConnectionRefusedError("nothing leaves the computer")
        await connect(sock, instead)  # pyright: ignore[reportArgumentType]

    monkeypatch.setattr(loop, "sock_connect", sock_connect)
    return found
