"""Files behind URLs that stand in a graph: what comes, what is refused, and that nothing inside is reached this way."""

from __future__ import annotations

import asyncio
import gzip
import ssl
from collections.abc import AsyncGenerator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
import trustme
from aiohttp import web
from comfyui_outpost.api.client.foreign import ForeignFiles
from comfyui_outpost.api.errors import ConnectionFailed, InvalidInput, OutpostError, SizeLimitExceeded, TransferError
from comfyui_outpost.tests.fakes.serving import Log, reset, served

SECRET = "permission-that-nobody-may-see"
CONTENT = b"what was asked for"
MAX_BYTES = 1000


@dataclass
class Server:
    """Somebody's server, which redirects where a test says, and what it was asked."""

    url: str
    log: Log
    targets: dict[str, str] = field(default_factory=dict)

    @property
    def port(self) -> int:
        return urlsplit(self.url).port or 0


@pytest.fixture
async def server() -> AsyncGenerator[Server, None]:
    found: list[Server] = []

    async def answer(request: web.Request) -> web.StreamResponse:
        server = found[0]
        await server.log.take(request)
        match request.path.split("/"):
            case [_, "to", name]:
                return web.Response(
                    status=int(request.query.get("status", 302)), headers={"Location": server.targets[name]}
                )
            case [_, "status", code]:
                return web.Response(status=int(code), text=f"a reason with {SECRET}")
            case [_, "silent"]:
                await asyncio.Event().wait()
            case [_, "drip" | "endless" | "short" as how]:
                return await _slowly(request, how)
            case [_, "zipped"]:
                return web.Response(body=gzip.compress(bytes(100_000)), headers={"Content-Encoding": "gzip"})
            case _:
                pass
        return web.Response(body=CONTENT)

    app = web.Application()
    app.router.add_get("/{rest:.*}", answer)
    async with served(app, cancels_handlers=True) as url:
        found.append(Server(url, Log()))
        yield found[0]


async def _slowly(request: web.Request, how: str) -> web.StreamResponse:
    response = web.StreamResponse(headers={"Content-Length": "20"} if how == "short" else {})
    await response.prepare(request)
    await response.write(b"0123456789")
    if how == "short":
        reset(request)
    while how == "endless":
        await response.write(bytes(1000))
    while how == "drip":
        await response.write(b".")
        await asyncio.sleep(0.02)
    return response


class Names:
    """Names of hosts, and what was looked up; each answer is given once, the last one for ever."""

    def __init__(self, **names: Sequence[Sequence[str]]) -> None:
        self._names = {name.replace("_", "."): list(answers) for name, answers in names.items()}
        self.asked: list[str] = []

    async def __call__(self, host: str, port: int) -> Sequence[str]:
        self.asked.append(host)
        if host not in self._names:
            raise OSError(f"no such name: {host}")
        answers = self._names[host]
        return answers.pop(0) if len(answers) > 1 else answers[0]


def checks(error: BaseException | None) -> None:
    """An error and what is behind it tell no permission."""
    while error:
        assert SECRET not in str(error)
        error = error.__cause__ or error.__context__


async def refused(files: ForeignFiles, url: str) -> OutpostError:
    with pytest.raises(OutpostError) as caught:
        await files.get(url, max_bytes=MAX_BYTES)
    checks(caught.value)
    return caught.value


async def test_a_file_comes_without_credentials_and_its_url_byte_for_byte(server: Server, tmp_path: Path):
    files, path = ForeignFiles(allow_private=True), tmp_path / "file"

    assert await files.get(f"{server.url}/a%2fb%7e?sig=a%2Fb+c%3d%3D", max_bytes=MAX_BYTES) == CONTENT
    assert await files.get_to(f"{server.url}/x", path, max_bytes=MAX_BYTES) == len(CONTENT)

    assert path.read_bytes() == CONTENT
    assert server.log.requests[0].path == "/a%2fb%7e?sig=a%2Fb+c%3d%3D"
    for request in server.log.requests:
        assert not {"Authorization", "Cookie", "x-api-key"} & set(request.headers)


@pytest.mark.parametrize(
    "host",
    [
        "127.0.0.1",
        "127.1",
        "2130706433",
        "0x7f000001",
        "0177.0.0.1",
        "0.0.0.0",
        "localhost",
        "[::1]",
        "[::]",
        "[::ffff:127.0.0.1]",
        "[64:ff9b::7f00:1]",
        "10.0.0.1",
        "169.254.169.254",
        "[fe80::1]",
        "[fd00:ec2::254]",
    ],
)
async def test_an_address_of_this_computer_or_its_network_is_never_connected_to(server: Server, host: str):
    error = await refused(ForeignFiles(connect_seconds=2), f"http://{host}:{server.port}/x?s={SECRET}")
    assert isinstance(error, (InvalidInput, ConnectionFailed)), (
        "a spelling that the system does not know has no address"
    )
    assert server.log.requests == []


async def test_a_refusal_says_how_to_allow_it(server: Server):
    assert "OUTPOST_ALLOW_PRIVATE_ADDRESSES=1" in str(await refused(ForeignFiles(), server.url))


async def test_a_name_that_leads_inside_is_refused_also_when_it_leads_outside_too(server: Server):
    names = Names(evil_example=[["93.184.216.34", "127.0.0.1"]], lost_example=[[]])
    files = ForeignFiles(look_up=names)

    assert "evil.example" in str(await refused(files, f"http://evil.example:{server.port}/x?s={SECRET}"))
    await refused(files, f"http://lost.example:{server.port}/x")
    assert isinstance(await refused(files, f"http://unknown.example:{server.port}/x"), ConnectionFailed)
    assert server.log.requests == []


async def test_the_connection_goes_to_the_address_that_was_looked_at(server: Server):
    names = Names(files_example=[["127.0.0.1"], ["10.9.9.9"]])
    files = ForeignFiles(look_up=names, is_public=lambda address: address == "127.0.0.1")

    assert await files.get(f"http://files.example:{server.port}/x", max_bytes=MAX_BYTES) == CONTENT

    assert names.asked == ["files.example"], "it was looked up once more, when it could have changed"
    assert server.log.requests[0].headers["Host"] == f"files.example:{server.port}"


async def test_a_certificate_has_to_be_that_of_the_name_and_not_of_the_address(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    authority, app = trustme.CA(), web.Application()
    authority.cert_pem.write_to_path(str(tmp_path / "authority.pem"))
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "authority.pem"))
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    authority.issue_cert("files.example").configure_cert(context)
    app.router.add_get("/x", _content)
    names = Names(files_example=[["127.0.0.1"]], other_example=[["127.0.0.1"]])
    files = ForeignFiles(look_up=names, is_public=lambda address: True)

    async with served(app, ssl_context=context) as url:
        port = urlsplit(url).port
        assert await files.get(f"https://files.example:{port}/x", max_bytes=MAX_BYTES) == CONTENT
        assert "certificate" in str(await refused(files, f"https://other.example:{port}/x?s={SECRET}"))


async def _content(request: web.Request) -> web.Response:
    return web.Response(body=CONTENT)


async def test_behind_a_proxy_names_are_looked_at_and_the_proxy_is_asked_by_name(
    server: Server, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("http_proxy", server.url)
    files = ForeignFiles(look_up=Names(files_example=[["93.184.216.34"]], evil_example=[["10.0.0.1"]]))

    assert await files.get("http://files.example/x", max_bytes=MAX_BYTES) == CONTENT
    assert await files.get("http://only-the-proxy-knows.example/x", max_bytes=MAX_BYTES) == CONTENT
    await refused(files, "http://evil.example/x")
    await refused(files, "http://10.0.0.1/x")

    assert [request.headers["Host"] for request in server.log.requests] == [
        "files.example",
        "only-the-proxy-knows.example",
    ]


async def test_the_next_address_of_a_name_is_tried_when_one_accepts_no_connection(server: Server):
    names = Names(files_example=[["127.0.0.2", "127.0.0.1"]])
    files = ForeignFiles(look_up=names, is_public=lambda address: True)
    assert await files.get(f"http://files.example:{server.port}/x", max_bytes=MAX_BYTES) == CONTENT


async def test_what_lies_behind_the_platform_s_own_origin_may_be_private(server: Server):
    files = ForeignFiles(trusted_url=f"{server.url}/api")

    assert await files.get(f"{server.url}/objects/x", max_bytes=MAX_BYTES) == CONTENT

    await refused(files, f"http://localhost:{server.port}/objects/x")
    await refused(files, f"http://127.0.0.1:{server.port + 1}/objects/x")


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
async def test_a_redirect_is_followed(server: Server, status: int):
    server.targets = {"there": "/x"}
    files = ForeignFiles(trusted_url=server.url)
    assert await files.get(f"{server.url}/to/there?status={status}", max_bytes=MAX_BYTES) == CONTENT


async def test_a_redirect_into_the_network_is_refused(server: Server):
    server.targets = {
        "inside": f"http://localhost:{server.port}/secret?s={SECRET}",
        "metadata": "http://169.254.169.254/latest/meta-data",
        "file": "file:///etc/passwd",
        "nowhere": "http://[::1",
    }
    for name in server.targets:
        assert isinstance(await refused(ForeignFiles(trusted_url=server.url), f"{server.url}/to/{name}"), InvalidInput)
    assert {request.path.split("/")[1] for request in server.log.requests} == {"to"}


async def test_redirects_end(server: Server):
    server.targets = {"again": "/to/again"}
    error = await refused(ForeignFiles(allow_private=True), f"{server.url}/to/again?s={SECRET}")
    assert isinstance(error, TransferError)
    assert len(server.log.requests) == 4


@pytest.mark.parametrize("url", ["file:///etc/passwd", "ftp://example.com/x", "example.com/x", "http://", "//x/y", ""])
async def test_what_is_no_url_of_the_web_is_refused(url: str):
    assert isinstance(await refused(ForeignFiles(allow_private=True), url), InvalidInput)


@pytest.mark.parametrize(
    ("path", "kind"),
    [
        ("status/404", TransferError),
        ("status/500", TransferError),
        ("status/206", TransferError),
        ("endless", SizeLimitExceeded),
        ("zipped", TransferError),
        ("short", OutpostError),
        ("silent", ConnectionFailed),
        ("drip", TransferError),
    ],
)
async def test_what_gives_no_whole_file_in_time_and_within_the_limit_is_an_error(
    server: Server, tmp_path: Path, path: str, kind: type[Exception]
):
    files = ForeignFiles(allow_private=True, silence_seconds=0.3, total_seconds=1.0)

    assert isinstance(await refused(files, f"{server.url}/{path}?s={SECRET}"), kind)

    with pytest.raises(kind) as caught:
        await files.get_to(f"{server.url}/{path}?s={SECRET}", tmp_path / "file", max_bytes=MAX_BYTES)
    checks(caught.value)
    assert list(tmp_path.iterdir()) == []


async def test_a_file_that_is_announced_too_big_is_not_read(server: Server):
    files: Any = ForeignFiles(allow_private=True)
    with pytest.raises(SizeLimitExceeded):
        await files.get(f"{server.url}/x", max_bytes=len(CONTENT) - 1)
