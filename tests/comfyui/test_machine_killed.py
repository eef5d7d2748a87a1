"""A real ComfyUI that is killed: every run on it ends once and says why, and the next run works."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import psutil
import pytest
from comfyui_outpost.api.client import Client
from comfyui_outpost.api.events import NodeStarted
from comfyui_outpost.api.models import Deployment, Run, RunStatus
from comfyui_outpost.api.server.machines import MachineError, MachineSettings
from comfyui_outpost.api.server.machines.managed import ManagedMachine
from comfyui_outpost.tests.bench.server import serve
from comfyui_outpost.tests.machines.jobs import SAVE, Trial, node

from .conftest import PROBES
from .installations import Installation, provide
from .instance import Instance, start
from .messages import Json
from .process import free_port, prepare_environment
from .workspace import lay_out, page_options

PACKAGES = {"Probe-Nodes": PROBES}
SLOW = {"1": node("Slow")}
EMPTY_IMAGE = node("EmptyImage", width=8, height=8, batch_size=1, color=7)
WORKING = {**SAVE, "1": EMPTY_IMAGE}


async def deploy(client: Client, machine_id: str, graph: Json) -> Deployment:
    made = await client.workflows.create("killed", {}, workflow_api=graph)
    version_id = str(made.workflow_version_id)
    return await client.deployments.create(
        workflow_id=made.workflow_id, workflow_version_id=version_id, machine_id=machine_id
    )


async def end_of(client: Client, run_id: str) -> Run:
    """A run after it has ended, which it does within the time that a test has."""
    while not (run := await client.runs.get(run_id)).status.is_terminal:
        await asyncio.sleep(0.05)
    return run


async def until_queue_is(comfyui: Instance, *, running: int, pending: int) -> None:
    while True:
        queue = await comfyui.get("/queue")
        if (len(queue["queue_running"]), len(queue["queue_pending"])) == (running, pending):
            return
        await asyncio.sleep(0.02)


async def test_runs_at_work_and_waiting_on_a_comfyui_that_is_killed_fail_and_the_next_one_works(
    installation: Installation, python: Path, tmp_path: Path
):
    port = free_port()
    async with serve(tmp_path / "platform") as server, server.client() as client:
        async with start(installation, python, custom_nodes=PACKAGES, port=port) as comfyui:
            machine = await client.machines.create_custom("the GPU", comfyui.url, concurrency_limit=2)
            slow = await deploy(client, machine.id, SLOW)
            next_one = await deploy(client, machine.id, WORKING)
            run_ids = [await client.runs.queue(slow.id, {})]
            await until_queue_is(comfyui, running=1, pending=0)
            run_ids.append(await client.runs.queue(slow.id, {}))
            await until_queue_is(comfyui, running=1, pending=1)
            await comfyui.kill()

        async with start(installation, python, custom_nodes=PACKAGES, port=port) as comfyui:
            runs = [await end_of(client, run_id) for run_id in run_ids]
            assert [run.status for run in runs] == [RunStatus.FAILED] * 2
            for run in runs:
                assert run.error is not None
                assert "ComfyUI was restarted" in run.error.message
                assert comfyui.url not in str(run.error)
                assert str(tmp_path) not in str(run.error)
            run = await client.runs.execute(next_one, {}, deadline=60)
            assert len(run.outputs) == 1
            assert await comfyui.get("/queue") == {"queue_running": [], "queue_pending": []}
            assert len(await comfyui.get("/history")) == 1, "what was lost is not executed a second time"


@asynccontextmanager
async def managed(installation: Installation, python: Path, folder: Path) -> AsyncIterator[ManagedMachine]:
    (folder / "ComfyUI").mkdir()
    lay_out(folder / "ComfyUI", provide(installation), PACKAGES)
    machine = ManagedMachine(
        MachineSettings("m", "managed", folder=folder / "ComfyUI"),
        python=python,
        log_folder=folder / "logs",
        work_folder=folder / "machines",
        arguments=page_options(folder / "ComfyUI"),
        environment=prepare_environment(os.environ, {"CUDA_VISIBLE_DEVICES": ""}),
    )
    try:
        yield machine
    finally:
        await machine.close()


def kill_comfyui() -> None:
    """Kill the ComfyUI that this process has started."""
    found = [each for each in psutil.Process().children(recursive=True) if "--output-directory" in each.cmdline()]
    for process in found:
        process.kill()
    assert found


async def test_a_managed_comfyui_that_is_killed_at_work_fails_its_run_and_another_one_is_started(
    installation: Installation, python: Path, tmp_path: Path
):
    async with managed(installation, python, tmp_path) as machine:
        slow = Trial(SLOW, run_id="slow")
        run = slow.start_on(machine)
        while not slow.of(NodeStarted):
            await asyncio.sleep(0.02)
        kill_comfyui()
        with pytest.raises(MachineError) as caught:
            await run
        assert caught.value.failure.message
        assert str(tmp_path) not in caught.value.failure.message
        assert slow.outputs == []

        trial = await Trial(WORKING, run_id="next").on(machine)

        assert len(trial.outputs) == 1
        assert machine.process_count == 1
        assert len(machine.log_files()) == 2
