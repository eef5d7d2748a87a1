"""A real ComfyUI that starts a platform for itself, with a second ComfyUI of its folder as the machine."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import aiohttp
import psutil
import pytest
from comfyui_outpost.api.client import Client
from comfyui_outpost.api.connections import HERE, change_book
from comfyui_outpost.api.panel.connections.here import Here
from comfyui_outpost.api.settings import load_connection
from comfyui_outpost.tests.machines.jobs import SAVE, node

from .conftest import REPOSITORY
from .installations import Installation
from .instance import Instance, Outcome, start
from .lane import run_deployment, save

OWN = {"Outpost-Page": "1", "Content-Type": "application/json"}
GRAPH = {**SAVE, "1": node("EmptyImage", width=8, height=8, batch_size=1, color=7)}


async def start_here(comfyui: Instance) -> list[dict[str, Any]]:
    """What the page is told while the platform starts."""
    async with (
        aiohttp.ClientSession() as session,
        session.post(f"{comfyui.url}/outpost/here/start", headers=OWN, raise_for_status=True) as answer,
    ):
        text = await answer.text()
    return [json.loads(line) for line in text.splitlines()]


async def deploy(client: Client, machine_type: str) -> str:
    """Deploy a graph on the only machine of a type; the deployment's id."""
    [machine] = [each for each in await client.machines.list() if each.type == machine_type]
    assert machine.status in ("not-started", "ready"), "it is started by its first run"
    made = await client.workflows.create("here", {}, workflow_api=GRAPH)
    deployment = await client.deployments.create(
        workflow_id=made.workflow_id, workflow_version_id=str(made.workflow_version_id), machine_id=machine.id
    )
    return deployment.id


def processes_of(folder: Path) -> list[psutil.Process]:
    """Everything that runs for the platform in this folder: itself, and its ComfyUI."""
    found: list[psutil.Process] = []
    for process in psutil.process_iter():
        try:
            if process.environ().get("OUTPOST_SETTINGS") == str(folder / "connection.json"):
                found.append(process)
        except psutil.Error:
            continue
    return found


async def all_gone(processes: list[psutil.Process]) -> None:
    while any(each.is_running() and each.status() != psutil.STATUS_ZOMBIE for each in processes):
        await asyncio.sleep(0.05)


async def test_it_runs_on_a_second_comfyui_and_nothing_is_left_of_it_when_comfyui_is_killed(
    installation: Installation, python: Path, tmp_path: Path
) -> None:
    settings = tmp_path / "connection.json"
    environment = {"OUTPOST_SETTINGS": str(settings), "CUDA_VISIBLE_DEVICES": ""}
    nodes = {"ComfyUI-Outpost": REPOSITORY}
    async with start(installation, python, custom_nodes=nodes, environment=environment) as comfyui:
        told = await start_here(comfyui)
        assert told[-1]["state"] == "ready", told
        connection = load_connection({}, settings)
        assert connection.api_key not in json.dumps(told)
        assert [each["kind"] for each in told[-1]["connections"]] == ["here"]
        assert told[-1]["current"] == "here"
        async with Client(connection) as client:
            deployment = await client.deployments.get(await deploy(client, "managed"))
            run = await client.runs.execute(deployment, {}, deadline=60)
            assert len(run.outputs) == 1
            [machine] = [each for each in await client.machines.list() if each.type == "managed"]
            assert machine.idle_timeout == 300  # whoever sits there tries one thing after another
        processes = processes_of(tmp_path)
        assert len(processes) >= 3, "ComfyUI, the platform, the second ComfyUI"
        await comfyui.kill()
        await asyncio.wait_for(all_gone(processes), 30)


async def test_a_node_starts_the_platform_again_when_it_is_the_one_that_was_chosen(
    oldest_installation: Installation, python: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = tmp_path / "connection.json"
    monkeypatch.setenv("OUTPOST_SETTINGS", str(settings))
    here = Here(folder=lambda: oldest_installation.folder, arguments=list)
    await asyncio.to_thread(here.ensure)
    change_book(settings, lambda book: book.using(HERE))
    try:
        async with Client(load_connection()) as client:
            deployment_id = await deploy(client, "builtin")
    finally:
        await asyncio.to_thread(here.stop)

    environment = {"OUTPOST_SETTINGS": str(settings)}
    nodes = {"ComfyUI-Outpost": REPOSITORY}
    async with start(oldest_installation, python, custom_nodes=nodes, environment=environment) as comfyui:
        prompt_id = await comfyui.queue({"1": run_deployment(deployment_id), "2": save(["1", 0])})
        execution = await comfyui.follow(prompt_id)
        assert execution.outcome is Outcome.SUCCESS, execution.history
        processes = processes_of(tmp_path)
    await asyncio.wait_for(all_gone(processes), 30)
