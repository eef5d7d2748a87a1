"""A server that is killed while a machine works on a run: what is at work is taken up, and never sent again."""

from __future__ import annotations

import asyncio
import signal
import sys
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from comfyui_outpost.tests.fakes.comfyui import Execution, FakeComfyUI, execute_all
from comfyui_outpost.tests.fakes.comfyui_host import Host

from .graphs import INVERT, png
from .process import Launch, started
from .remote import TOKEN, Remote
from .talking import talkers

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="there are no such signals")

Killed = Callable[[Remote, str], Awaitable[None]]


@asynccontextmanager
async def serving(
    data: Path, launch: Launch, remote: Remote | None = None, *, key: str = ""
) -> AsyncGenerator[Remote, None]:
    """A server process on a folder, with the ComfyUI of an earlier one or a new one; it is killed at the end."""
    async with started(data, launch=launch) as server:
        await server.begin()
        key = key or str(server.api_key)
        async with talkers(server.url, key, secrets=[key, TOKEN, str(data)]) as (owner,):
            if remote:
                yield Remote(remote.comfyui, remote.host, owner, remote.machine_id, [TOKEN, remote.host.url])
            else:
                comfyui = FakeComfyUI()
                host = Host(comfyui)
                await host.start()
                body = {"name": "the GPU", "endpoint": host.url, "auth_token": TOKEN}
                machine = await owner.post("/machine/custom", body)
                yield Remote(comfyui, host, owner, machine["id"], [TOKEN, host.url])
            if server.process.returncode is None:
                await server.end(signal.SIGKILL)


async def in_the_queue(remote: Remote, run_id: str) -> None:
    await remote.comfyui.wait_until(lambda: len(remote.comfyui.submitted) == 1)


async def executing(remote: Remote, run_id: str) -> None:
    await remote.owner.until(run_id, "running")


async def with_an_output(remote: Remote, run_id: str) -> None:
    async with remote.owner.stream("GET", f"/run/{run_id}/stream") as events:
        async for event in events:
            if event.name == "output_ready":
                return


@pytest.mark.parametrize("when", [in_the_queue, executing, with_an_output], ids=lambda each: each.__name__)
@pytest.mark.parametrize("ends_meanwhile", [False, True])
async def test_a_run_that_a_machine_has_is_taken_up_and_not_sent_again(
    tmp_path: Path, launch: Launch, when: Killed, ends_meanwhile: bool
):
    may_end = asyncio.Event()

    async def script(execution: Execution) -> None:
        await execute_all(execution)
        await may_end.wait()

    async with serving(tmp_path / "data", launch) as first:
        first.comfyui.script = script
        run_id = await first.queue()
        await when(first, run_id)
        key = first.owner.http.headers["Authorization"].removeprefix("Bearer ")
    if ends_meanwhile:
        may_end.set()
        await first.comfyui.wait_until(lambda: bool(first.comfyui.history))
    async with serving(tmp_path / "data", launch, first, key=key) as second:
        if not ends_meanwhile:
            await second.owner.until(run_id, "running")
            may_end.set()
        run = await second.end_of(run_id)
        assert (run["status"], len(run["outputs"])) == ("success", 1)
        assert len(second.comfyui.submitted) == 1
        await second.works_again(sent=1)
    await first.host.kill()


async def test_a_run_that_was_not_sent_yet_is_sent_once(tmp_path: Path, launch: Launch):
    reached = asyncio.Event()

    async def hold(request: object) -> object:
        reached.set()
        await asyncio.Event().wait()

    async with serving(tmp_path / "data", launch) as first:
        first.comfyui.fail("/upload/image", hold)  # pyright: ignore[reportArgumentType]
        run_id = await first.queue(INVERT, {"image": await first.owner.upload(png())})
        await reached.wait()
        key = first.owner.http.headers["Authorization"].removeprefix("Bearer ")
    async with serving(tmp_path / "data", launch, first, key=key) as second:
        assert (await second.end_of(run_id))["status"] == "success"
        assert list(second.comfyui.uploads.values()) == [png()]
        await second.works_again(sent=1)
    await first.host.kill()
