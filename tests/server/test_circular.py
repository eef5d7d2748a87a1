"""Runs that would wait for themselves: asked for by a node inside the only ComfyUI that could execute them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from typing import Any

import httpx
import pytest
from aiohttp import web
from comfyui_outpost.api.server import circular
from comfyui_outpost.tests.fakes.comfyui import Execution, FakeComfyUI, execute_all, serve

from .graphs import ECHO, node
from .machines import ScriptedMachine, put_out_text
from .talking import Talker

# A run is refused before the store hears of it.
pytestmark = [pytest.mark.shared_platform, pytest.mark.one_backing]

HEADER = "Outpost-Prompt-Id"
GRAPH = {
    "1": node("EmptyImage", width=8, height=8),
    "2": node("SaveImage", images=["1", 0], filename_prefix="kept"),
}
"""What the fake ComfyUI executes."""
WAITING = {"1": node("OutpostRunDeployment")}
"""The prompt of somebody whose node waits for a run."""


async def script(execution: Execution) -> None:
    """Work for ever on the prompt that waits, and do everything else."""
    if execution.prompt == WAITING:
        await execution.work_for_ever()
    await execute_all(execution)


@pytest.fixture
def comfyui() -> FakeComfyUI:
    return FakeComfyUI(script)


@pytest.fixture
async def endpoint(comfyui: FakeComfyUI) -> AsyncGenerator[str, None]:
    async with serve(comfyui) as url:
        yield url


async def waiting_prompt(comfyui: FakeComfyUI, endpoint: str) -> str:
    """Begin with a prompt whose node waits; its id."""
    async with httpx.AsyncClient(base_url=endpoint, trust_env=False) as somebody:
        answer = await somebody.post("/prompt", json={"prompt": WAITING, "client_id": "a page"})
    await comfyui.wait_until(lambda: comfyui.running is not None)
    return answer.json()["prompt_id"]


async def machine(owner: Talker, name: str, endpoint: str) -> str:
    made = await owner.post("/machine/custom", {"name": name, "endpoint": endpoint})
    return made["id"]


async def deploy(owner: Talker, machine_id: str, graph: Any = GRAPH) -> str:
    made = await owner.post("/workflow", {"name": "a graph", "workflow_json": {}, "workflow_api": graph})
    wanted = {"workflow_id": made["workflow_id"], "workflow_version_id": made["workflow_version_id"]}
    return (await owner.post("/deployment", {**wanted, "machine_id": machine_id}))["id"]


async def refusal(owner: Talker, deployment_id: str, prompt_id: str, *, way: str = "queue", status: int = 409) -> str:
    """What is said about a run that has to be refused."""
    answer = await owner.ask(
        "POST", f"/run/deployment/{way}", json={"deployment_id": deployment_id}, headers={HEADER: prompt_id}
    )
    assert answer.status_code == status, answer.text
    return answer.json()["detail"]


def asked_for_its_queue(comfyui: FakeComfyUI) -> int:
    return sum(each.path == "/queue" for each in comfyui.log.requests)


@pytest.mark.parametrize("way", ["queue", "sync", "stream"])
@pytest.mark.parametrize("host", ["127.0.0.1", "localhost"])
async def test_it_is_refused_at_once_whatever_the_machine_is_called(
    owner: Talker, comfyui: FakeComfyUI, endpoint: str, way: str, host: str
):
    deployment = await deploy(owner, await machine(owner, "my GPU", endpoint.replace("127.0.0.1", host)))
    prompt_id = await waiting_prompt(comfyui, endpoint)

    said = await refusal(owner, deployment, prompt_id, way=way)

    assert "wait for itself for ever" in said
    assert "'my GPU'" in said
    assert "another machine" in said
    assert prompt_id not in said
    assert endpoint not in said
    assert await owner.get("/runs") == []
    assert len(comfyui.submitted) == 1, "nothing has come to the ComfyUI but the prompt that waits"


async def test_a_prompt_that_has_ended_or_is_somewhere_else_keeps_no_run_from_beginning(
    owner: Talker, comfyui: FakeComfyUI, endpoint: str
):
    deployment = await deploy(owner, await machine(owner, "my GPU", endpoint))
    prompt_id = await waiting_prompt(comfyui, endpoint)
    await refusal(owner, deployment, prompt_id)
    assert comfyui.running
    comfyui.running.interruption.set()
    await comfyui.wait_until(lambda: comfyui.running is None)

    for each in (prompt_id, "of another ComfyUI"):
        run = await owner.end_of(await owner.queue(deployment, headers={HEADER: each}))
        assert run["status"] == "success"


async def test_another_machine_takes_it(owner: Talker, comfyui: FakeComfyUI, endpoint: str):
    prompt_id = await waiting_prompt(comfyui, endpoint)
    async with serve(FakeComfyUI()) as elsewhere:
        await machine(owner, "here", endpoint)
        deployment = await deploy(owner, await machine(owner, "elsewhere", elsewhere))
        run = await owner.end_of(await owner.queue(deployment, headers={HEADER: prompt_id}))
    assert run["status"] == "success"
    builtin = await owner.deploy(ECHO)
    assert (await owner.end_of(await owner.queue(builtin, headers={HEADER: prompt_id})))["status"] == "success"


async def test_without_the_header_nobody_is_asked(owner: Talker, comfyui: FakeComfyUI, endpoint: str):
    deployment = await deploy(owner, await machine(owner, "my GPU", endpoint))
    await waiting_prompt(comfyui, endpoint)
    run_id = await owner.queue(deployment)
    await comfyui.wait_until(lambda: len(comfyui.submitted) == 2)
    before = asked_for_its_queue(comfyui)
    other = await owner.queue(deployment)
    assert asked_for_its_queue(comfyui) == before
    for each in (run_id, other):
        await owner.post(f"/run/{each}/cancel", None)


async def test_of_a_pool_another_machine_takes_it_and_it_is_refused_when_there_is_no_other(
    owner: Talker, comfyui: FakeComfyUI, endpoint: str
):
    same = [await machine(owner, name, endpoint.replace("127.0.0.1", name)) for name in ("127.0.0.1", "localhost")]
    async with serve(FakeComfyUI()) as elsewhere:
        other = await machine(owner, "elsewhere", elsewhere)
        pools = [
            (await owner.post("/machine/create", {"name": "pool", "type": "pool", "machine_ids": ids}))["id"]
            for ids in (same, [same[0], other])
        ]
        deployments = [await deploy(owner, pool) for pool in pools]
        prompt_id = await waiting_prompt(comfyui, endpoint)

        said = await refusal(owner, deployments[0], prompt_id)
        assert "'127.0.0.1', 'localhost'" in said
        for _ in range(3):
            run = await owner.end_of(await owner.queue(deployments[1], headers={HEADER: prompt_id}))
            assert (run["status"], run["machine_id"]) == ("success", other)


@pytest.mark.parametrize(("processes", "is_refused"), [(1, True), (2, False)])
async def test_a_managed_machine_with_another_process_takes_it(start_platform, processes: int, is_refused: bool):
    managed = ScriptedMachine(put_out_text)
    managed.prompts.add("at work")
    async with start_platform(machines={"managed": managed}) as platform, httpx.AsyncClient(trust_env=False) as http:
        owner = platform.owner
        machine_id = await platform.parts.store.machines.add(
            owner.owner, name="on demand", kind="managed", slots=processes
        )
        await platform.parts.fleet.refresh()
        talker = Talker(http, [owner.api_key])
        http.base_url, http.headers["Authorization"] = platform.url, f"Bearer {owner.api_key}"
        deployment = await deploy(talker, machine_id)
        if is_refused:
            assert "'on demand'" in await refusal(talker, deployment, "at work")
        else:
            run_id = await talker.queue(deployment, headers={HEADER: "at work"})
            assert (await talker.end_of(run_id))["status"] == "success"


async def test_a_machine_that_does_not_say_in_time_holds_nobody_up(
    owner: Talker, comfyui: FakeComfyUI, endpoint: str, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(circular, "ANSWER_SECONDS", 0.1)
    deployment = await deploy(owner, await machine(owner, "my GPU", endpoint))

    async def never(request: web.Request) -> web.StreamResponse:
        await asyncio.Event().wait()
        raise AssertionError

    comfyui.fail("/queue", never)
    run = await owner.end_of(await owner.queue(deployment, headers={HEADER: "a prompt"}))
    assert run["status"] == "success"


@pytest.mark.parametrize("prompt_id", ["", "x" * 101, "schön".encode("latin-1").decode("latin-1"), "a\tb"])
async def test_what_cannot_be_the_id_of_a_prompt_is_refused(owner: Talker, prompt_id: str):
    deployment = await owner.deploy(ECHO)
    answer = await owner.ask(
        "POST",
        "/run/deployment/queue",
        json={"deployment_id": deployment},
        headers=[(HEADER.encode(), prompt_id.encode("latin-1"))],
    )
    assert answer.status_code == 400
    assert HEADER in answer.json()["detail"]
