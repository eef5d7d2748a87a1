"""What a machine puts out when it means no good, or a lot of it: names, kinds, texts, sizes and full disks."""

from __future__ import annotations

import asyncio
import errno
import json
import sys
import threading
from collections.abc import AsyncGenerator, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psutil
import pytest
from aiohttp import web
from comfyui_outpost.api.server.objects import Folder
from comfyui_outpost.tests.fakes.comfyui import Execution, FakeComfyUI, execute_all
from comfyui_outpost.tests.fakes.comfyui_host import Host
from comfyui_outpost.tests.fakes.flaky import text

from .process import started
from .remote import HASTY, PICTURE, Remote, remote_of
from .talking import Talker, talkers

# What goes wrong on a machine has nothing to do with the database.
pytestmark = [pytest.mark.shared_platform, pytest.mark.one_backing]

MEBIBYTE = 1024**2
LARGE = 2 * 1024 * MEBIBYTE
MAX_GROWTH = 64 * MEBIBYTE
BLOCK = bytes(range(256)) * 1024

NAMES = [
    "../../../../escaped.png",
    "..\\..\\escaped.png",
    "/etc/escaped.png",
    "C:\\Windows\\escaped.png",
    "C:escaped.png",
    "..%2F..%2Fescaped.png",
    "%2e%2e%2fescaped.png",
    "nul\0byte.png",
    "half of a \ud800 character.png",
    "line\r\nbreak.png",
    "CON",
    "aux.png",
    ".",
    "..",
    "",
    ".hidden",
    "long" * 1000 + ".png",
    "ü" * 200 + ".png",
    "a name?with=a&query#and a hash.png",
]


@pytest.fixture(scope="module")
def shared_settings() -> dict[str, Any]:
    return HASTY


@pytest.fixture
async def remote(owner: Talker) -> AsyncGenerator[Remote, None]:
    async with remote_of(owner) as remote:
        yield remote


@pytest.fixture
def objects(platform: Any) -> Path:
    return platform.folder / "objects"


def files_in(folder: Path) -> set[Path]:
    return {path for path in folder.rglob("*") if path.is_file()}


def putting_out(**ui: Any) -> Any:
    """A script that puts out just this."""

    async def script(execution: Execution) -> None:
        await execution.put_out("2", ui)

    return script


@pytest.mark.parametrize("name", NAMES, ids=ascii)
@pytest.mark.parametrize("subfolder", ["", "../../.."], ids=["in the folder", "outside"])
async def test_whatever_an_output_is_called_it_is_kept_in_its_place(
    remote: Remote, objects: Path, name: str, subfolder: str
):
    everywhere = objects.parent.parent
    file = {"filename": name, "subfolder": subfolder, "type": "output"}
    remote.comfyui.script = putting_out(images=[file])
    remote.fail("/view", text(b"whatever is asked for"), times=10)
    before = files_in(everywhere)

    run_id = await remote.queue()
    run = await remote.end_of(run_id)

    assert run["status"] == "success"
    [kept] = run["outputs"][0]["data"]["images"]
    assert not set(kept["filename"]) & set('/\\\0\r\n:%?"')
    assert kept["filename"].strip(".")
    assert len(kept["filename"]) <= 100
    assert kept["subfolder"] == ""
    answer = await remote.owner.ask("GET", kept["url"])
    assert answer.content == b"whatever is asked for"
    new = {path for path in files_in(everywhere) - before if "outpost.sqlite" not in path.name}
    assert [path.parent for path in new] == [objects / "runs" / run_id]
    await remote.works_again(sent=1)


async def test_whatever_a_list_or_a_text_is_called_the_run_can_be_read(remote: Remote):
    odd = "nul\0, half of a \ud800 character, ü"
    file = {"filename": "a.png", "subfolder": "", "type": "output"}
    remote.comfyui.script = putting_out(**{odd: [file], "text": [odd], "": [file], "x" * 5000: [file]})
    remote.fail("/view", text(b"a picture"), times=10)
    run = await remote.end_of(await remote.queue())
    assert run["status"] == "success"
    [output] = run["outputs"]
    assert len(output["data"]) == 4
    assert output["data"]["text"] == [odd]
    assert "\0" not in json.dumps(output)
    await remote.works_again(sent=1)


async def test_a_full_disk_on_our_side_fails_the_run_with_that_reason_and_stops_it(
    remote: Remote, objects: Path, monkeypatch: pytest.MonkeyPatch, expect_log: Any
):
    expect_log("could not be kept")
    before = files_in(objects)
    is_full = True
    write = Folder.write

    async def write_to_a_full_disk(self: Folder, key: str, chunks: Any, *, limit: int | None) -> None:
        if is_full:
            raise OSError(errno.ENOSPC, "No space left on device", str(objects))
        await write(self, key, chunks, limit=limit)

    monkeypatch.setattr(Folder, "write", write_to_a_full_disk)

    async def script(execution: Execution) -> None:
        await execute_all(execution)
        await execution.work_for_ever()

    remote.comfyui.script = script
    run_id = await remote.queue()
    assert "disk" in await remote.failure_of(run_id)
    assert len(remote.comfyui.interruptions) == 1
    assert files_in(objects) == before
    is_full = False
    await remote.works_again(sent=1)


async def test_an_output_above_the_platforms_limit_fails_the_run_with_that_reason(
    as_owner: Any, tmp_path: Path, expect_log: Any
):
    expect_log("could not be kept")
    async with as_owner(**HASTY, max_file_bytes=100) as owner, remote_of(owner) as remote:
        remote.fail("/view", text(b"x" * 101))
        reason = await remote.failure_of(await remote.queue())
        assert "100 bytes" in reason
        assert files_in(tmp_path / "platform" / "objects") == set()
        await remote.works_again(sent=1)


async def send_two_gigabytes(request: web.Request) -> web.StreamResponse:
    response = web.StreamResponse(headers={"Content-Length": str(LARGE)})
    await response.prepare(request)
    for _ in range(LARGE // len(BLOCK)):
        await response.write(BLOCK)
    await response.write_eof()
    return response


@contextmanager
def growth_of(pid: int) -> Iterator[list[int]]:
    """By how many bytes the memory of a process grew at most during the block."""
    process, is_over, grown = psutil.Process(pid), threading.Event(), [0]
    before = process.memory_info().rss

    def watch() -> None:
        while not is_over.wait(0.01):
            grown[0] = max(grown[0], process.memory_info().rss - before)

    watching = threading.Thread(target=watch)
    watching.start()
    try:
        yield grown
    finally:
        is_over.set()
        watching.join()


@pytest.mark.skipif(sys.platform == "win32", reason="the server is a process that is killed at the end")
async def test_an_output_of_two_gigabytes_goes_through_the_server_without_being_held(tmp_path: Path):
    comfyui = FakeComfyUI()
    host = Host(comfyui)
    await host.start()
    async with started(tmp_path / "data") as server:
        await server.begin()
        async with talkers(server.url, server.api_key, secrets=[]) as (owner,):
            machine = await owner.post("/machine/custom", {"name": "the GPU", "endpoint": host.url})
            remote = Remote(comfyui, host, owner, machine["id"])
            await remote.end_of(await remote.queue())
            deployment_id = await remote.deploy(PICTURE)
            remote.fail("/view", send_two_gigabytes)
            with growth_of(server.process.pid) as grown:
                run_id = await owner.queue(deployment_id)
                run = await asyncio.wait_for(ended(owner, run_id), 120)
            assert run["status"] == "success"
            [kept] = files_in(tmp_path / "data" / "objects" / "runs" / run_id)
            assert kept.stat().st_size == LARGE
            with kept.open("rb") as file:
                assert file.read(len(BLOCK)) == BLOCK
                file.seek(-len(BLOCK), 2)
                assert file.read() == BLOCK
            assert grown[0] <= MAX_GROWTH, f"{grown[0] / MEBIBYTE:.1f} MiB"
            kept.unlink()
            await remote.works_again(sent=2)
    await host.kill()


async def ended(owner: Any, run_id: str) -> Any:
    """A run once it has ended, which may take longer than a stream is waited for."""
    while (run := await owner.get(f"/run/{run_id}"))["status"] in ("queued", "started", "running"):
        await asyncio.sleep(0.1)
    return run
