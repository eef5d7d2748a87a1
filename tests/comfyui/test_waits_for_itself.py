"""A node inside a real ComfyUI that asks for a run on this very ComfyUI, whose queue is serial."""

from __future__ import annotations

import time

import pytest
from comfyui_outpost.api.client import Client

from .instance import Instance, Outcome
from .lane import Lane, node, run_deployment, save
from .messages import Json

# The ComfyUIs and the platform that all tests share live on this event loop.
pytestmark = pytest.mark.asyncio(loop_scope="session")

GRAPH = {"1": node("EmptyImage", width=8, height=8, batch_size=1, color=255), "2": save(["1", 0])}
AT_ONCE = 15.0
"""Seconds within which people see the reason on a slow machine; else it would be told when the deadline is over."""


async def deploy(client: Client, machine_id: str) -> str:
    made = await client.workflows.create("a graph", {}, workflow_api=GRAPH)
    deployment = await client.deployments.create(
        workflow_id=made.workflow_id, workflow_version_id=made.workflow_version_id or "", machine_id=machine_id
    )
    return deployment.id


async def failure_of(comfyui: Instance, deployment_id: str) -> Json:
    """What ComfyUI says of a graph whose node asks for a run of the deployment."""
    graph = {"1": run_deployment(deployment_id), "2": save(["1", 0])}
    execution = await comfyui.follow(await comfyui.queue(graph))
    assert execution.outcome is Outcome.ERROR
    [failure] = [message.data for message in execution.messages if message.type == "execution_error"]
    return failure


async def test_it_is_refused_at_once_and_the_node_says_why(lane: Lane):
    client, comfyui = lane.client, lane.comfyui
    elsewhere = await lane.deploy(GRAPH)
    for host in ("localhost", "127.0.0.1"):  # the first execution loads what the nodes need
        machine = await client.machines.create_custom("my GPU", comfyui.url.replace("127.0.0.1", host))
        deployment = await deploy(client, machine.id)
        began = time.monotonic()

        failure = await failure_of(comfyui, deployment)

        seconds = time.monotonic() - began
        assert (failure["node_id"], failure["exception_type"].rpartition(".")[2]) == ("1", "Conflict")
        assert "wait for itself for ever" in failure["exception_message"]
        assert "Put the deployment on another machine than 'my GPU'" in failure["exception_message"]
        assert lane.api_key not in str(failure)
        assert await client.runs.list(deployment_id=deployment) == []
    assert seconds < AT_ONCE

    graph = {"1": run_deployment(elsewhere), "2": save(["1", 0])}
    assert (await comfyui.follow(await comfyui.queue(graph))).outcome is Outcome.SUCCESS
    directly = await client.runs.execute(await client.deployments.get(deployment), {}, deadline=60)
    assert directly.outputs[0].files, "it takes runs that nobody inside it waits for"
