"""`outpost serve --comfyui`: a ComfyUI by its address or its folder is a machine, and the same one at every start."""

from __future__ import annotations

import asyncio
import json
import re
import shutil
import signal
import sys
from collections.abc import AsyncGenerator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any

import psutil
import pytest
from aiohttp import web
from comfyui_outpost.api.client import Client
from comfyui_outpost.api.errors import ConfigurationError
from comfyui_outpost.api.models import Machine, Run
from comfyui_outpost.api.server.own_machines import read_comfyuis
from comfyui_outpost.api.settings import Connection
from comfyui_outpost.tests.fakes import comfyui_main
from comfyui_outpost.tests.fakes.comfyui import FakeComfyUI, serve
from comfyui_outpost.tests.fakes.serving import end
from comfyui_outpost.tests.server.graphs import node
from comfyui_outpost.tests.server.process import Launch, Server, started

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="Windows has no signal that ends a server cleanly")

PICTURE = {
    "1": node("EmptyImage", width=8, height=8),
    "2": node("SaveImage", images=["1", 0], filename_prefix="kept"),
}
FACTS = {"9": node("PreviewAny", source="facts")}
TOKENS = ("the-first-token", "the-second-token")
Serving = Callable[..., AbstractAsyncContextManager[Server]]
TELLS = re.compile(r"^Machine (?P<name>.+), (?P<id>[0-9a-f-]{36}): (?P<state>.+)$", re.MULTILINE)


@asynccontextmanager
async def _serving(launch: Launch, data: Path, *options: str, **environment: str) -> AsyncGenerator[Server, None]:
    async with started(data, *options, environment=environment, launch=launch) as server:
        await server.begin()
        await server.said("Deploy a graph there")
        yield server
        assert await server.end(signal.SIGTERM) == 0
    assert not any(token in "".join(server.output) for token in TOKENS)


@pytest.fixture
def serving(launch: Launch) -> Serving:
    """Starts a server that has said how its ComfyUIs are, and that ends well."""
    return partial(_serving, launch)


def told(server: Server) -> list[tuple[str, str, str]]:
    """What it says of each of its machines: name, id and state."""
    return TELLS.findall("".join(server.output))


@asynccontextmanager
async def client_of(server: Server, key: str) -> AsyncGenerator[Client, None]:
    async with Client(Connection(server.url, key)) as client:
        yield client


def key_of(server: Server) -> str:
    assert server.api_key
    return server.api_key


async def run_on(client: Client, machine_id: str, graph: dict[str, Any]) -> Run:
    """Deploy a graph on a machine, and run it."""
    made = await client.workflows.create("a graph", {}, workflow_api=graph)
    deployment = await client.deployments.create(
        workflow_id=made.workflow_id, workflow_version_id=made.workflow_version_id or "", machine_id=machine_id
    )
    return await client.runs.execute(deployment, {}, deadline=60)


def tokens_of(comfyui: FakeComfyUI) -> set[str | None]:
    """What it was told by those who came, and forgets then."""
    found = {request.headers.get("Authorization") for request in comfyui.log.requests}
    comfyui.log.requests.clear()
    return found


async def test_one_by_its_address_is_a_machine_and_the_same_one_at_the_next_start(tmp_path: Path, serving: Serving):
    async with serve(FakeComfyUI()) as url:
        async with serving(tmp_path / "data", "--comfyui", url) as server, client_of(server, key_of(server)) as client:
            [(name, machine_id, state)] = told(server)
            assert (name, state) == (url.removeprefix("http://"), "ready")
            assert f'"machine_id": "{machine_id}"' in "".join(server.output)
            assert [each.type for each in await client.machines.list()] == ["builtin", "comfyui"]
            [sample] = await client.deployments.list()
            assert (await client.machines.get(sample.machine_id or "")).type == "builtin"
            assert (await run_on(client, machine_id, PICTURE)).outputs[0].files
            key = key_of(server)

        for again in (url, f"{url}/"):
            async with serving(tmp_path / "data", "--comfyui", again) as server, client_of(server, key) as client:
                assert told(server) == [(name, machine_id, "ready")]
                assert server.api_key is None
                assert len(await client.machines.list()) == 2


async def test_one_that_was_deleted_is_made_anew(tmp_path: Path, serving: Serving):
    async with serve(FakeComfyUI()) as url:
        async with serving(tmp_path / "data", "--comfyui", url) as server, client_of(server, key_of(server)) as client:
            [(_, first, _)] = told(server)
            await client.machines.delete(first)
        async with serving(tmp_path / "data", "--comfyui", url) as server:
            [(_, second, state)] = told(server)
    assert (second != first, state) == (True, "ready")


async def test_one_that_does_not_answer_is_added_all_the_same_and_runs_wait_for_it(
    tmp_path: Path, unused_tcp_port: int, serving: Serving
):
    url = f"http://127.0.0.1:{unused_tcp_port}"
    async with serving(tmp_path / "data", "--comfyui", url) as server, client_of(server, key_of(server)) as client:
        [(_, machine_id, state)] = told(server)
        assert state.startswith("does not answer yet; runs wait for it (")
        made = await client.workflows.create("a graph", {}, workflow_api=PICTURE)
        deployment = await client.deployments.create(
            workflow_id=made.workflow_id, workflow_version_id=made.workflow_version_id or "", machine_id=machine_id
        )
        run_id = await client.runs.queue(deployment.id, {})
        assert (await client.runs.get(run_id)).status.value == "queued"
        runner = web.AppRunner(FakeComfyUI().app, shutdown_timeout=0.05)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", unused_tcp_port).start()
        ended = await client.runs.execute(deployment, {}, deadline=60)
        assert ended.outputs[0].files
        assert (await client.runs.get(run_id)).status.value == "success"
        await end(runner)


async def test_its_token_is_read_from_the_environment_and_a_new_one_is_taken_over(tmp_path: Path, serving: Serving):
    comfyui = FakeComfyUI()
    async with serve(comfyui) as url:
        for token in TOKENS:
            async with serving(tmp_path / "data", "--comfyui", url, OUTPOST_COMFYUI_TOKEN=token) as server:
                pass
            assert tokens_of(comfyui) == {f"Bearer {token}"}
        async with serving(tmp_path / "data", "--comfyui", url):
            pass
        assert tokens_of(comfyui) == {f"Bearer {TOKENS[1]}"}, "without one the last one stays"
    assert len(told(server)) == 1


async def test_one_by_its_folder_is_started_at_once_and_gone_with_the_server(tmp_path: Path, serving: Serving):
    folder = tmp_path / "My ComfyUI"
    folder.mkdir()
    shutil.copy(comfyui_main.__file__, folder / "main.py")
    options = ["--comfyui", str(folder), "--comfyui-python", sys.executable]

    async with serving(tmp_path / "data", *options) as server, client_of(server, key_of(server)) as client:
        [(name, machine_id, state)] = told(server)
        assert (name, state) == ("My ComfyUI", "is being started")
        machine = await client.machines.get(machine_id)
        assert (machine.type, machine.keep_warm, machine.concurrency_limit) == ("managed", True, 1)
        await until_it_runs(client, machine)
        facts = json.loads((await run_on(client, machine_id, FACTS)).outputs[0].texts[0])
        [log] = await client.machines.logs(machine_id)
        assert (log.is_running, "Starting the small ComfyUI" in log.text) == (True, True)
        key = key_of(server)
    assert not psutil.pid_exists(facts["pid"])

    async with serving(tmp_path / "data", *options) as server, client_of(server, key) as client:
        assert told(server) == [(name, machine_id, state)]
        assert len(await client.machines.list()) == 2


async def until_it_runs(client: Client, machine: Machine) -> None:
    """Return when a process of it is there, for which no run has asked."""
    while not any(log.is_running for log in await client.machines.logs(machine.id)):
        await asyncio.sleep(0.05)


def folder(at: Path) -> Path:
    at.mkdir(parents=True)
    (at / "main.py").touch()
    return at


def test_what_is_named_twice_is_there_once_and_a_folder_has_the_name_that_it_was_allowed_under(tmp_path: Path):
    allowed, other = folder(tmp_path / "a" / "ComfyUI"), folder(tmp_path / "b" / "Other")
    named = ["http://gpu:8188", "http://GPU:8188/", "https://gpu/comfy", str(allowed), str(other), f"{other}/"]
    urls, folders = read_comfyuis(named, allowed={"main": allowed})
    assert urls == ["http://gpu:8188", "https://gpu/comfy"]
    assert folders == {"main": allowed, "Other": other}


def test_two_folders_of_one_name_are_told_apart_by_names_of_their_own(tmp_path: Path):
    first, second = folder(tmp_path / "a" / "ComfyUI"), folder(tmp_path / "b" / "ComfyUI")
    with pytest.raises(ConfigurationError, match="--comfyui-folder NAME="):
        read_comfyuis([str(first), str(second)], allowed={})
    with pytest.raises(ConfigurationError, match="'ComfyUI'"):
        read_comfyuis([str(second)], allowed={"ComfyUI": first})
    assert read_comfyuis([str(first), str(second)], allowed={"second": second})[1] == {
        "ComfyUI": first,
        "second": second,
    }


@pytest.mark.parametrize(
    ("named", "says"),
    [
        ("127.0.0.1:8188", "neither the URL of a ComfyUI, such as http://127.0.0.1:8188, nor a folder"),
        ("/nowhere/at/all", "which has a main.py"),
        ("http://", "has to be a URL that begins with http:// or https://"),
        ("http://gpu:8188/?token=secret", "something after a ? or #"),
        ("http://somebody:secret@gpu:8188", "OUTPOST_COMFYUI_TOKEN=name:password"),
        ("http://169.254.169.254", "no ComfyUI is reached there"),
    ],
)
def test_what_is_no_comfyui_is_one_sentence_and_nothing_is_made(terminal, tmp_path: Path, named: str, says: str):
    said = terminal.run_here("serve", "--port", "0", "--data", str(tmp_path / "data"), "--comfyui", named)

    assert (said.code, said.out) == (1, "")
    assert said.err.startswith("outpost: ")
    assert says in said.err
    assert len(said.err.splitlines()) == 1
    assert "secret" not in said.err
    assert not (tmp_path / "data").exists()


def test_a_token_that_no_request_can_carry_is_one_sentence(terminal, tmp_path: Path, monkeypatch):
    monkeypatch.setenv("OUTPOST_COMFYUI_TOKEN", "schlüssel")
    said = terminal.run_here("serve", "--port", "0", "--data", str(tmp_path / "data"), "--comfyui", "http://gpu")

    assert said.code == 1
    assert said.err.startswith("outpost: OUTPOST_COMFYUI_TOKEN cannot be used: ")
    assert "schlüssel" not in said.err
