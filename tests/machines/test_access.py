"""How one gets to a ComfyUI that is not for everybody: tokens, paths, certificates and proxies."""

from __future__ import annotations

import asyncio
import base64
import os
import ssl
import sys
from pathlib import Path
from typing import Any

import pytest
import trustme
from aiohttp import web
from comfyui_outpost.api.server.machines import MachineError, MachineSettings
from comfyui_outpost.api.server.machines.comfyui import ComfyUIMachine
from comfyui_outpost.tests.fakes.comfyui import Execution, FakeComfyUI
from comfyui_outpost.tests.fakes.flaky import Flaky, answer
from comfyui_outpost.tests.fakes.serving import served
from yarl import URL

from .conftest import HASTE
from .jobs import IMAGE_URL, INVERT, SAVE, Trial

PREFIX = "/gpus/one"
TOKEN = "a-token-that-nobody-may-see"
EVERY_PATH = {
    f"{PREFIX}{path}"
    for path in ("/system_stats", "/object_info", "/queue", "/view", "/upload/image", "/ws", "/prompt", "/interrupt")
}
"""What a machine asks for; under two of them there is more."""

IN_A_PROGRAM = """
import asyncio, sys
from comfyui_outpost.api.server.machines import MachineError, MachineSettings
from comfyui_outpost.api.server.machines.comfyui import ComfyUIMachine
from comfyui_outpost.tests.machines.jobs import IMAGE_URL, INVERT, Trial

async def main(endpoint):
    machine = ComfyUIMachine(MachineSettings("m", "comfyui", endpoint=endpoint))
    try:
        await machine.health()
        trial = await Trial(INVERT, {"image": IMAGE_URL}, {IMAGE_URL: b"pixels"}).on(machine)
        print(trial.outputs[0].files[0][3].decode())
    except MachineError as error:
        print(error.failure.message)
    finally:
        await machine.close()

asyncio.run(main(sys.argv[1]))
"""


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    """A company's own, which no computer trusts unless it is told to."""
    return trustme.CA()


def identity(authority: trustme.CA, name: str) -> ssl.SSLContext:
    """What a server with that name proves itself with."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert(name).configure_cert(context)
    return context


def machine_at(endpoint: str, *, auth_token: str | None = None) -> ComfyUIMachine:
    settings = MachineSettings("m", "comfyui", endpoint=endpoint, auth_token=auth_token)
    return ComfyUIMachine(settings, patience=HASTE)


async def run_with(endpoint: str, **environment: str) -> str:
    """The output of a run on a ComfyUI, or why there was none, as a program with those variables sees it."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-W", "error", "-c", IN_A_PROGRAM, endpoint),
        stdout=asyncio.subprocess.PIPE,
        env={"PATH": os.environ["PATH"], **environment},
    )
    said, _ = await asyncio.wait_for(process.communicate(), 60)
    return said.decode().strip()


async def test_a_certificate_of_ones_own_authority_is_trusted_when_the_environment_names_it(
    comfyui: FakeComfyUI, authority: trustme.CA, tmp_path: Path
):
    certificates = tmp_path / "authority.pem"
    authority.cert_pem.write_to_path(str(certificates))
    async with served(comfyui.app, ssl_context=identity(authority, "127.0.0.1")) as url:
        assert url.startswith("https://")
        assert "certificate" in await run_with(url)
        assert comfyui.log.requests == []
        assert await run_with(url, SSL_CERT_FILE=str(certificates)) == "a picture"
    assert comfyui.log.named("GET", "/ws")
    assert list(comfyui.uploads.values()) == [b"pixels"]


async def test_a_certificate_for_another_name_is_refused_by_whoever_trusts_its_authority(
    comfyui: FakeComfyUI, authority: trustme.CA, tmp_path: Path
):
    certificates = tmp_path / "authority.pem"
    authority.cert_pem.write_to_path(str(certificates))
    async with served(comfyui.app, ssl_context=identity(authority, "somebody-else.example")) as url:
        assert "certificate" in await run_with(url, SSL_CERT_FILE=str(certificates))
    assert comfyui.log.requests == []


class Gate:
    """Lets through what carries the right header, to a ComfyUI under a path."""

    def __init__(self, comfyui: FakeComfyUI, header: str) -> None:
        self.refused: list[str] = []
        self.passed: list[tuple[str, str]] = []
        self._header = header
        self.app = web.Application(client_max_size=1 << 30, middlewares=[self._look])
        self.app.add_subapp(PREFIX, comfyui.app)

    @web.middleware
    async def _look(self, request: web.Request, handler: Any) -> web.StreamResponse:
        if request.headers.get("Authorization") != self._header:
            self.refused.append(request.path)
            raise web.HTTPUnauthorized
        self.passed.append((request.method, request.path))
        return await handler(request)


@pytest.mark.parametrize(
    ("token", "header"),
    [(TOKEN, f"Bearer {TOKEN}"), ("me:secret", "Basic " + base64.b64encode(b"me:secret").decode())],
)
async def test_a_token_opens_every_route_under_a_path(comfyui: FakeComfyUI, token: str, header: str):
    gate = Gate(comfyui, header)
    async with served(gate.app) as url:
        machine = machine_at(url + PREFIX, auth_token=token)
        await machine.health()
        await Trial(INVERT, {"image": IMAGE_URL}, {IMAGE_URL: b"pixels"}).on(machine)
        await stop_a_run_at_work(comfyui, machine)
        await machine.close()

    assert gate.refused == []
    asked = {path for _, path in gate.passed}
    assert all(any(each.startswith(path) for each in asked) for path in EVERY_PATH), asked
    assert all(path.startswith(f"{PREFIX}/") for path in asked)
    assert ("HEAD", f"{PREFIX}/view") in gate.passed
    assert any(path.startswith(f"{PREFIX}/history/") for path in asked)


async def test_a_wrong_token_ends_the_run_with_a_reason_in_which_it_is_not_told(comfyui: FakeComfyUI):
    gate = Gate(comfyui, "Bearer another")
    async with served(gate.app) as url:
        machine = machine_at(url + PREFIX, auth_token=TOKEN)
        message = (await Trial(SAVE).failure_on(machine)).failure.message
        await machine.close()
    assert "auth_token" in message
    assert TOKEN not in message
    assert comfyui.log.requests == []


async def test_a_whole_run_goes_through_a_proxy_to_another_computer(
    comfyui: FakeComfyUI, url: str, monkeypatch: pytest.MonkeyPatch
):
    use_proxy(monkeypatch, url)
    # The name leads nowhere here: only the proxy knows it. Ours answers for every computer.
    machine = machine_at("http://gpu.invalid:8188")

    trial = await Trial(INVERT, {"image": IMAGE_URL}, {IMAGE_URL: b"pixels"}).on(machine)

    await machine.close()
    assert len(trial.outputs) == 1
    assert {seen.headers["Host"] for seen in comfyui.log.requests} == {"gpu.invalid:8188"}
    asked = {URL(seen.path).path for seen in comfyui.log.requests}
    assert asked > {"/ws", "/upload/image", "/prompt", "/view"}


async def test_no_proxy_is_asked_about_this_computer_or_what_the_environment_excepts(
    comfyui: FakeComfyUI, url: str, monkeypatch: pytest.MonkeyPatch
):
    stranger = Flaky(answer({}))
    async with served(stranger.app) as proxy:
        use_proxy(monkeypatch, proxy)
        for endpoint in (url, url.replace("127.0.0.1", "localhost")):
            machine = machine_at(endpoint)
            await Trial(SAVE).on(machine)
            await machine.close()
        monkeypatch.setenv("no_proxy", "gpu.invalid")
        machine = machine_at("http://gpu.invalid:8188")
        with pytest.raises(MachineError, match="leads to no address"):
            await machine.health()
        await machine.close()
    assert stranger.log.requests == []


@pytest.mark.parametrize("path", ["/view", "/upload/image"])
async def test_no_upload_follows_a_redirect(comfyui: FakeComfyUI, url: str, path: str):
    stranger = Flaky(answer({}))
    async with served(stranger.app) as other:
        comfyui.fail(path, *[redirect_to(f"{other}{path}")] * 20)
        machine = machine_at(url, auth_token=TOKEN)
        with pytest.raises(MachineError, match="redirects"):
            await Trial(INVERT, {"image": IMAGE_URL}, {IMAGE_URL: b"pixels"}).on(machine)
        await machine.close()
    assert stranger.log.requests == []


@pytest.mark.parametrize("path", ["/queue", "/interrupt"])
async def test_stopping_a_run_follows_no_redirect(
    comfyui: FakeComfyUI, url: str, path: str, caplog: pytest.LogCaptureFixture
):
    stranger = Flaky(answer({}))
    async with served(stranger.app) as other:
        machine = machine_at(url, auth_token=TOKEN)
        comfyui.script = Execution.work_for_ever
        run = Trial(SAVE).start_on(machine)
        await comfyui.wait_until(lambda: comfyui.running is not None)
        comfyui.fail(path, *[redirect_to(f"{other}{path}")] * 20)
        run.cancel()
        with pytest.raises(asyncio.CancelledError):
            await run
        await machine.close()
    assert stranger.log.requests == []
    assert comfyui.interruptions == []
    assert "could not be stopped on its machine" in caplog.text


async def stop_a_run_at_work(comfyui: FakeComfyUI, machine: ComfyUIMachine) -> None:
    comfyui.script = Execution.work_for_ever
    run = Trial(SAVE, run_id="to be stopped").start_on(machine)
    await comfyui.wait_until(lambda: comfyui.running is not None)
    run.cancel()
    with pytest.raises(asyncio.CancelledError):
        await run


def redirect_to(url: str) -> Any:
    async def redirect(request: web.Request) -> web.StreamResponse:
        return web.Response(status=307, headers={"Location": url})

    return redirect


def use_proxy(monkeypatch: pytest.MonkeyPatch, url: str) -> None:
    for name in ("http_proxy", "HTTP_PROXY"):
        monkeypatch.setenv(name, url)
    for name in ("no_proxy", "NO_PROXY"):
        monkeypatch.delenv(name, raising=False)
