"""The hosted platform's own Python package, `comfydeploy`, against a server of this package: unchanged, by its URL."""

from __future__ import annotations

import asyncio
import base64
import json
from typing import Any

import pytest
from comfydeploy import ComfyDeploy
from comfydeploy.models import errors
from comfyui_outpost.tests.server.graphs import png
from comfyui_outpost.tests.server.machines import ScriptedMachine, work_for_ever

UNKNOWN_ID = "00000000-0000-0000-0000-000000000001"
ENDS = ("success", "failed", "timeout", "cancelled")


def picture() -> str:
    return f"data:image/png;base64,{base64.b64encode(png()).decode()}"


async def end_of(client: ComfyDeploy, run_id: str) -> Any:
    """The run as the published package reads it, when it has ended."""
    while True:
        run = (await client.run.get_async(run_id=run_id)).workflow_run_model
        assert run is not None
        if run.status in ENDS:
            return run


@pytest.mark.parametrize("prefix", ["", "/api"])
async def test_the_published_package_queues_and_reads_a_run(platform: Any, prefix: str) -> None:
    owner = platform.owner
    request = {"deployment_id": owner.deployment_id, "inputs": {"image": picture(), "blur": 1}}

    async with ComfyDeploy(bearer=owner.api_key, server_url=platform.url + prefix) as client:
        queued = await client.run.deployment.queue_async(request=request)
        run = await asyncio.wait_for(end_of(client, queued.create_run_response.run_id), 60)

    assert (run.id, run.status) == (queued.create_run_response.run_id, "success")
    [output] = run.outputs
    assert output.run_id == run.id
    assert output.data["images"][0].url.startswith(platform.url)
    assert run.created_at <= run.updated_at
    assert run.created_at.utcoffset().total_seconds() == 0
    assert owner.api_key not in repr(run)


async def test_the_published_package_waits_in_its_own_way_too(platform: Any) -> None:
    owner = platform.owner
    request = {"deployment_id": owner.deployment_id, "inputs": {"image": picture()}}

    def queue_and_read() -> str:
        with ComfyDeploy(bearer=owner.api_key, server_url=platform.url) as client:
            queued = client.run.deployment.queue(request=request)
            return client.run.get(run_id=queued.create_run_response.run_id).workflow_run_model.id

    assert len(await asyncio.to_thread(queue_and_read)) == 36


async def test_the_published_package_cancels_a_run(start_platform: Any) -> None:
    machine = ScriptedMachine(work_for_ever)
    async with start_platform(machines={"builtin": machine}) as platform:
        owner = platform.owner
        request = {"deployment_id": owner.deployment_id, "inputs": {"image": picture()}}
        async with ComfyDeploy(bearer=owner.api_key, server_url=platform.url) as client:
            run_id = (await client.run.deployment.queue_async(request=request)).create_run_response.run_id

            await client.run.cancel_async(run_id=run_id)
            run = await asyncio.wait_for(end_of(client, run_id), 60)

    assert run.status == "cancelled"


async def test_the_published_package_reads_the_errors_too(platform: Any) -> None:
    owner = platform.owner
    async with ComfyDeploy(bearer=owner.api_key, server_url=platform.url) as client:
        with pytest.raises(errors.SDKError) as unknown:
            await client.run.deployment.queue_async(request={"deployment_id": UNKNOWN_ID})
        with pytest.raises(errors.HTTPValidationError) as wrong:
            await client.run.deployment.queue_async(
                request={"deployment_id": owner.deployment_id, "inputs": {"image": picture()}, "webhook": "no URL"}
            )
    async with ComfyDeploy(bearer="wrong", server_url=platform.url) as client:
        with pytest.raises(errors.SDKError) as refused:
            await client.run.get_async(run_id=UNKNOWN_ID)

    assert (unknown.value.status_code, refused.value.status_code) == (404, 401)
    assert [each.loc for each in wrong.value.data.detail] == [["body", "webhook"]]
    assert json.loads(unknown.value.body)["code"] == "not_found"
