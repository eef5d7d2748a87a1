"""A node that would wait for a run on its own ComfyUI says so at once, instead of waiting for ever."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from typing import Any

import httpx
import pytest
from comfyui_outpost.api.errors import Conflict
from comfyui_outpost.tests.fakes.comfyui import Execution, FakeComfyUI, execute_all, serve
from comfyui_outpost.tests.nodes.conftest import Workplace
from comfyui_outpost.tests.nodes.hosts import Interrupted
from comfyui_outpost.tests.nodes.sites import SUBMIT
from comfyui_outpost.tests.server.graphs import node

GRAPH = {"1": node("PreviewAny", source="a text")}
AT_WORK = {"1": node("OutpostRunDeployment")}


async def script(execution: Execution) -> None:
    if execution.prompt == AT_WORK:
        await execution.work_for_ever()
    await execute_all(execution)


@pytest.fixture
async def endpoint() -> AsyncGenerator[str, None]:
    """A ComfyUI whose node is being executed, for ever."""
    comfyui = FakeComfyUI(script)
    async with serve(comfyui) as url, httpx.AsyncClient(base_url=url, trust_env=False) as page:
        await page.post("/prompt", json={"prompt": AT_WORK, "client_id": "a page"})
        await comfyui.wait_until(lambda: comfyui.running is not None)
        yield url


async def prompt_at_work(endpoint: str) -> str:
    async with httpx.AsyncClient(base_url=endpoint, trust_env=False) as page:
        return (await page.get("/queue")).json()["queue_running"][0][1]


async def deployment_on(place: Workplace, endpoint: str) -> str:
    machine = await place.client.machines.create_custom("this very ComfyUI", endpoint)
    made = await place.client.workflows.create("a graph", {}, workflow_api=GRAPH)
    deployment = await place.client.deployments.create(
        workflow_id=made.workflow_id, workflow_version_id=made.workflow_version_id or "", machine_id=machine.id
    )
    return deployment.id


async def test_it_is_refused_with_the_reason_and_nothing_waits(place: Any, endpoint: str):
    deployment = await deployment_on(place, endpoint)
    place.host.prompt_id = await prompt_at_work(endpoint)

    with pytest.raises(Conflict, match=r"wait for itself for ever.*'this very ComfyUI'"):
        await asyncio.wait_for(place.run(deployment), 20)

    assert await place.runs() == []
    assert place.site.count(SUBMIT) == 1


async def test_a_prompt_of_another_comfyui_may_wait_for_it(place: Any, endpoint: str):
    deployment = await deployment_on(place, endpoint)
    place.host.prompt_id = "of another ComfyUI"

    run = asyncio.ensure_future(place.run(deployment))
    while not await place.runs():
        await asyncio.sleep(0.01)
    place.host.stop()
    with pytest.raises(Interrupted):
        await run
