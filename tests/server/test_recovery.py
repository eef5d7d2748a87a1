"""A server that is killed and started again: no run is lost, none is run twice, and streams go on."""

from __future__ import annotations

import signal
import sys
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path

import httpx
import pytest
from comfyui_outpost.api.account_events import RunChanged, StreamBegun

from .account import following
from .graphs import ECHO, sleep
from .process import Launch, Server, started
from .talking import TERMINAL, Talker, talkers

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="there are no such signals")


@asynccontextmanager
async def server(data: Path, launch: Launch) -> AsyncGenerator[Server, None]:
    """A server process that serves."""
    async with started(data, launch=launch) as found:
        await found.begin()
        yield found


@asynccontextmanager
async def talking(at: Server, key: str) -> AsyncGenerator[Talker, None]:
    async with talkers(at.url, key, secrets=[key]) as (owner,):
        yield owner


async def test_after_a_kill_every_run_ends_once_and_a_stream_resumes(tmp_path: Path, launch: Launch):
    data = tmp_path / "data"
    async with server(data, launch) as first:
        key = str(first.api_key)
        async with talking(first, key) as owner:
            async with following(owner) as told:
                begun = told.numbers[0]
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
    async with server(data, launch) as second:
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
            async with following(owner, after=begun) as told:
                await told.until(lambda told: len({each.run_id for each in told.of(RunChanged, progress=1.0)}) == 5)
                assert told.of(StreamBegun) == [StreamBegun(is_resumed=True)]
            picture = await owner.ask("GET", run["outputs"][0]["data"]["images"][0]["url"])
            assert picture.content.startswith(b"\x89PNG")
        assert await second.end(signal.SIGTERM) == 0
    for said in (first.output[-1:], second.output):
        assert key not in "".join(said)
    assert not list((data / "objects").glob(".parts/*"))


async def test_a_server_that_is_asked_to_stop_hands_its_runs_back(tmp_path: Path, launch: Launch):
    data = tmp_path / "data"
    async with server(data, launch) as first:
        key = str(first.api_key)
        async with talking(first, key) as owner:
            run_id = await owner.queue(await owner.deploy(sleep(0.3)))
            await owner.until(run_id, "running")
            assert await first.end(signal.SIGTERM) == 0
    async with server(data, launch) as second, talking(second, key) as owner:
        run = await owner.end_of(run_id)
        assert (run["status"], len(run["outputs"])) == ("success", 1)
        statuses = [event.status for event in await owner.follow(run_id) if event.status]
        assert statuses == ["queued", "started", "running", "queued", "started", "running", "success"]
        assert await second.end(signal.SIGTERM) == 0
