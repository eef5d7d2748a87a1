"""Machines whose ComfyUIs the server starts: what is told of starts that fail, and of processes that come and go."""

from __future__ import annotations

import os
import shutil
import signal
from collections.abc import AsyncGenerator
from pathlib import Path
from typing import Any

import psutil
import pytest
from comfyui_outpost.api.account_events import MachineChanged
from comfyui_outpost.api.server.machines import guard
from comfyui_outpost.tests.fakes import comfyui_main

from .account import following
from .gpus import deploy_on
from .graphs import node
from .talking import Talker, talkers

pytestmark = pytest.mark.one_backing

PICTURE = {
    "1": node("EmptyImage", width=8, height=8),
    "2": node("SaveImage", images=["1", 0], filename_prefix="kept"),
}
FAILING = "import sys; sys.exit('ModuleNotFoundError: No module named \\'torchsde\\'')"
HINT = "--comfyui-python"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A ComfyUI that cannot be started."""
    folder = tmp_path / "ComfyUI"
    folder.mkdir()
    (folder / "main.py").write_text(FAILING)
    return folder


@pytest.fixture
async def owner(start_platform: Any, folder: Path, tmp_path: Path, allow_log: Any) -> AsyncGenerator[Talker, None]:
    """Somebody on a platform that may start it, and asks machines that are well only every 30 seconds."""
    allow_log("could not be started")
    async with (
        start_platform(comfyui_folders={"main": folder}) as platform,
        talkers(platform.url, platform.owner.api_key, secrets=[str(tmp_path)]) as (owner,),
    ):
        yield owner


def repair(folder: Path) -> None:
    shutil.copy(comfyui_main.__file__, folder / "main.py")


async def managed(owner: Talker, **settings: Any) -> str:
    return (await owner.post("/machine/serverless", {"name": "mine", "idle_timeout": 600, **settings}))["id"]


async def listed(owner: Talker, machine_id: str) -> dict[str, Any]:
    """What the list says of it; it is not asked for that."""
    return next(each for each in await owner.get("/machines") if each["id"] == machine_id)


def processes() -> list[int]:
    return [each.pid for each in psutil.Process().children() if str(guard.__file__) in each.cmdline()]


async def test_one_that_is_kept_warm_and_cannot_be_started_is_listed_with_the_reason_until_it_can(
    owner: Talker, folder: Path, caplog: pytest.LogCaptureFixture
):
    async with following(owner) as told:
        machine_id = await managed(owner, keep_warm=True)
        await told.until(lambda told: told.of(MachineChanged, machine_id=machine_id, status="error"))

        broken = await listed(owner, machine_id)
        assert broken["status"] == "error"
        assert "No module named 'torchsde'" in broken["status_reason"]
        assert HINT in broken["status_reason"]
        assert (await owner.get(f"/machine/{machine_id}"))["status"] == "error"
        assert "(mine) takes runs, and no ComfyUI of it is started yet" in caplog.text
        assert "(mine) is ready" not in caplog.text

        repair(folder)
        await told.until(lambda told: told.of(MachineChanged, machine_id=machine_id)[-1].processes == 1)
        well = await listed(owner, machine_id)
        assert (well["status"], well["status_reason"]) == ("ready", None)
        assert "(mine) is ready" in caplog.text


async def test_one_that_is_started_on_demand_is_listed_with_why_it_could_not_and_the_next_run_tries_again(
    owner: Talker, folder: Path
):
    machine_id = await managed(owner)
    assert (await listed(owner, machine_id))["status"] == "ready"
    deployment_id = await deploy_on(owner, machine_id, PICTURE, check_machine=False)
    async with following(owner) as told:
        failed = await owner.end_of(await owner.queue(deployment_id))
        assert HINT in failed["error"]["message"]
        await told.until(lambda told: told.of(MachineChanged, machine_id=machine_id, status="error"))
        broken = await listed(owner, machine_id)
        assert (broken["status"], HINT in broken["status_reason"]) == ("error", True)
        assert (await owner.get(f"/machine/{machine_id}"))["status"] == "error"

        repair(folder)
        done = await owner.end_of(await owner.queue(deployment_id))
        assert done["status"] == "success"
        await told.until(lambda told: told.of(MachineChanged, machine_id=machine_id)[-1].status == "ready")
        well = await listed(owner, machine_id)
        assert (well["status"], well["status_reason"]) == ("ready", None)


async def test_a_process_that_comes_dies_or_was_idle_for_long_is_told_at_once(
    owner: Talker, folder: Path, allow_log: Any
):
    allow_log("is of no more use, and is stopped")  # the one that has died
    repair(folder)
    machine_id = await managed(owner)
    async with following(owner) as told:

        async def until_there_are(count: int) -> None:
            await told.until(
                lambda told: (found := told.of(MachineChanged, machine_id=machine_id)) and found[-1].processes == count
            )

        await until_there_are(0)
        await owner.end_of(await owner.queue(await deploy_on(owner, machine_id, PICTURE)))
        await until_there_are(1)
        os.kill(processes()[0], signal.SIGKILL)
        await until_there_are(0)
        await owner.patch(f"/machine/serverless/{machine_id}", {"idle_timeout": 1})
        await owner.post(f"/machine/{machine_id}/start", None)
        await until_there_are(1)
        await until_there_are(0)
        assert (await listed(owner, machine_id))["processes"] == 0


async def test_a_run_that_waits_for_a_folder_which_was_not_named_again_says_how_to_name_it(
    start_platform: Any, tmp_path: Path, allow_log: Any
):
    allow_log("could not be started")
    async with start_platform() as platform, talkers(platform.url, platform.owner.api_key, secrets=[]) as (owner,):
        store = platform.parts.store
        kept = {"name": "mine", "kind": "managed", "slots": 1, "comfyui": "main", "keep_warm": True}
        machine_id = await store.machines.add(platform.owner.owner, **kept)
        await platform.parts.fleet.refresh()
        await owner.get(f"/machine/{machine_id}")
        run_id = await owner.queue(await deploy_on(owner, machine_id, PICTURE, check_machine=False))

        run = await owner.get(f"/run/{run_id}")

        assert run["status"] == "queued"
        assert run["live_status"].endswith("start the server with --comfyui-folder main=PATH")
