"""A server that is killed and started again: no run is lost, none is run twice, and streams go on."""

from __future__ import annotations

import asyncio
import os
import re
import signal
import sys
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest

from .graphs import ECHO, sleep
from .talking import TERMINAL, Talker, talkers

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="there are no such signals")


@dataclass
class Server:
    """A server process, as a user starts it."""

    process: asyncio.subprocess.Process
    url: str
    output: list[str]
    """What it has said so far, on both of its outputs."""

    @property
    def api_key(self) -> str | None:
        """The key that its first start has shown."""
        found = re.findall(r"outpost_[\w-]{40,}", "".join(self.output))
        assert len(found) <= 1, "a key is shown once"
        return found[0] if found else None

    async def end(self, number: int) -> int:
        """Send a signal and wait for the end; the exit code."""
        self.process.send_signal(number)
        return await asyncio.wait_for(self.process.wait(), 20)


def command(data: Path) -> list[str]:
    """What a user types, with any free port."""
    program = [sys.executable, "-W", "error", "-m", "comfyui_outpost.api.cli"]
    return [*program, "serve", "--port", "0", "--data", str(data)]


@asynccontextmanager
async def server(data: Path) -> AsyncGenerator[Server, None]:
    """A server process on a folder; it is killed at the end of the block if it is still there."""
    command = [
        sys.executable,
        "-W",
        "error",
        "-m",
        "comfyui_outpost.api.cli",
        "serve",
        "--port",
        "0",
        "--data",
        str(data),
    ]
    process = await asyncio.create_subprocess_exec(
        *command,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
        cwd=data.parent,
        env={"PATH": os.environ["PATH"], "HOME": str(data.parent), "PYTHONUNBUFFERED": "1"},
    )
    output: list[str] = []
    reading = asyncio.create_task(_read(process, output))
    try:
        await asyncio.wait_for(_until(lambda: " serves http" in "".join(output) or reading.done()), 20)
        (url,) = re.findall(r" serves (http://\S+)", "".join(output)) or pytest.fail("".join(output))
        yield Server(process, url, output)
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()
        await reading
    assert "Traceback" not in "".join(output)


async def _read(process: asyncio.subprocess.Process, output: list[str]) -> None:
    assert process.stdout is not None
    while line := await process.stdout.readline():
        output.append(line.decode())


async def _until(condition) -> None:
    while not condition():
        await asyncio.sleep(0.005)


@asynccontextmanager
async def talking(at: Server, key: str) -> AsyncGenerator[Talker, None]:
    async with talkers(at.url, key, secrets=[key]) as (owner,):
        yield owner


async def _first_key(at: Server) -> str:
    await asyncio.wait_for(_until(lambda: at.api_key), 20)
    return str(at.api_key)


async def test_after_a_kill_every_run_ends_once_and_a_stream_resumes(tmp_path: Path):
    data = tmp_path / "data"
    async with server(data) as first:
        key = await _first_key(first)
        async with talking(first, key) as owner:
            finished = await owner.queue(await owner.deploy(ECHO), {"text": "before"})
            before = await owner.end_of(finished)
            finished_log = await owner.follow(finished)
            deployment = await owner.deploy(sleep(0.4))
            runs = [await owner.queue(deployment) for _ in range(4)]
            statuses = [(await owner.until(run_id, "running"))["status"] for run_id in runs[:2]]
            assert statuses == ["running", "running"]
            assert (await owner.get(f"/run/{runs[3]}"))["status"] == "queued"
            seen: list[int] = []
            with pytest.raises(httpx.RemoteProtocolError):
                async with owner.stream("GET", f"/run/{runs[0]}/stream") as events:
                    async for event in events:
                        if event.number:
                            seen.append(event.number)
                        if event.status == "running":
                            await first.end(signal.SIGKILL)
    async with server(data) as second:
        assert second.api_key is None, "the key is shown only once"
        async with talking(second, key) as owner:
            resumed = await owner.follow(runs[0], after=seen[-1])
            assert next(event.number for event in resumed if event.number) == seen[-1] + 1
            assert resumed[-1].status == "success"
            for run_id in runs:
                run = await owner.end_of(run_id)
                assert (run["status"], len(run["outputs"])) == ("success", 1)
                log = [event for event in await owner.follow(run_id) if event.number]
                assert [event.number for event in log] == list(range(1, len(log) + 1))
                assert [event.status for event in log if event.status in TERMINAL] == ["success"]
            after = await owner.get(f"/run/{finished}")
            assert (after["ended_at"], after["status"]) == (before["ended_at"], "success")
            assert [event.data for event in await owner.follow(finished) if event.status] == [
                event.data for event in finished_log if event.status
            ]
            picture = await owner.ask("GET", run["outputs"][0]["data"]["images"][0]["url"])
            assert picture.content.startswith(b"\x89PNG")
        assert await second.end(signal.SIGTERM) == 0
    for said in (first.output[-1:], second.output):
        assert key not in "".join(said)
    assert not list(data.rglob("*.part"))


async def test_a_server_that_is_asked_to_stop_hands_its_runs_back(tmp_path: Path):
    data = tmp_path / "data"
    async with server(data) as first:
        key = await _first_key(first)
        async with talking(first, key) as owner:
            run_id = await owner.queue(await owner.deploy(sleep(0.3)))
            await owner.until(run_id, "running")
            assert await first.end(signal.SIGTERM) == 0
    async with server(data) as second, talking(second, key) as owner:
        run = await owner.end_of(run_id)
        assert (run["status"], len(run["outputs"])) == ("success", 1)
        statuses = [event.status for event in await owner.follow(run_id) if event.status]
        assert statuses == ["queued", "started", "running", "queued", "started", "running", "success"]
        assert await second.end(signal.SIGTERM) == 0
