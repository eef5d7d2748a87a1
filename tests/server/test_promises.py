"""What a platform has promised and keeps, whatever is changed around it."""

from __future__ import annotations

import asyncio
from typing import Any
from uuid import uuid4

import pytest
from comfyui_outpost.api.models import RunStatus

from .graphs import ECHO, sleep
from .machines import ScriptedMachine, work_for_ever
from .talking import Talker, talkers

pytestmark = pytest.mark.shared_platform

KEY = {"Idempotency-Key": "asked-for-twice"}


async def test_a_request_that_is_repeated_is_the_same_run_although_its_deployment_takes_no_more(owner: Talker):
    deployment = await owner.deploy(ECHO)
    first = await owner.queue(deployment, {"text": "hello"}, headers=KEY)
    await owner.post(f"/deployment/{deployment}/deactivate", {})
    assert await owner.queue(deployment, {"text": "hello"}, headers=KEY) == first
    body = {"deployment_id": deployment, "inputs": {"text": "another"}}
    other = await owner.ask("POST", "/run/deployment/queue", json=body, headers=KEY)
    assert (other.status_code, first in other.text) == (409, True)
    new = await owner.ask("POST", "/run/deployment/queue", json=body)
    assert (new.status_code, "deactivated" in new.text) == (409, True)
    assert [each["id"] for each in await owner.get(f"/runs?deployment_id={deployment}")] == [first]


async def test_a_cancellation_and_a_server_that_gives_its_run_back_at_once_leave_no_run_without_an_end(
    start_platform: Any,
):
    async with (
        start_platform(machines={"none": ScriptedMachine(work_for_ever)}) as platform,
        talkers(platform.url, platform.owner.api_key, secrets=[]) as (owner,),
    ):
        store, deployment = platform.parts.store, await owner.deploy(ECHO)
        for _ in range(20):
            run_id = await owner.queue(deployment)
            claimed = await store.work.claim(platform.owner.machine_id, seconds=60)
            assert claimed is not None
            await asyncio.gather(store.work.release(claimed), store.runs.request_cancel(run_id))
            run = await store.runs.get(platform.owner.owner, run_id)
            assert run.status is RunStatus.CANCELLED


async def test_a_change_of_a_deployment_names_what_is_not_there_and_changes_nothing(owner: Talker):
    deployment, nothing = await owner.deploy(ECHO), str(uuid4())
    before = await owner.get(f"/deployment/{deployment}")
    change = {"machine_id": nothing, "environment": "staging", "name": "changed"}
    answer = await owner.ask("PATCH", f"/deployment/{deployment}", json=change)
    assert (answer.status_code, answer.json()["detail"]) == (404, f"There is no machine {nothing}")
    assert await owner.get(f"/deployment/{deployment}") == before


async def test_a_machine_that_only_deleted_workflows_used_can_be_deleted(owner: Talker):
    made = await owner.post("/machine/create", {"name": "short-lived", "type": "builtin"})
    graph = {"name": "short-lived", "workflow_api": ECHO, "machine_id": made["id"]}
    workflow = await owner.post("/workflow", graph)
    assert (await owner.ask("DELETE", f"/machine/{made['id']}")).status_code == 409
    assert (await owner.ask("DELETE", f"/workflow/{workflow['workflow_id']}")).status_code == 200
    assert (await owner.ask("DELETE", f"/machine/{made['id']}")).status_code == 200


@pytest.mark.own_platform
async def test_a_stream_that_fails_on_the_way_breaks_off_and_is_no_second_answer(
    platform: Any, owner: Talker, expect_log: Any, monkeypatch: Any
):
    expect_log("broke off")
    read_log, is_away = platform.parts.store.runs.events, asyncio.Event()

    async def read_or_fail(run_id: str, *, after: int) -> Any:
        if is_away.is_set():
            raise OSError("the disk is away")
        return await read_log(run_id, after=after)

    monkeypatch.setattr(platform.parts.feed, "_read_log", read_or_fail)
    run_id = await owner.queue(await owner.deploy(sleep(600)))
    await owner.until(run_id, "running")
    port = int(platform.url.rpartition(":")[2])
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    key = platform.owner.api_key
    head = f"GET /run/{run_id}/stream HTTP/1.1\r\nHost: x\r\nConnection: close\r\nAuthorization: Bearer {key}\r\n\r\n"
    writer.write(head.encode())
    received = await asyncio.wait_for(reader.readuntil(b"prompt_id"), 20)
    is_away.set()
    await owner.post(f"/run/{run_id}/cancel", {})
    try:
        while piece := await asyncio.wait_for(reader.read(65536), 20):
            received += piece
    except ConnectionResetError:
        pass
    finally:
        writer.close()
    assert received.count(b"HTTP/1.1") == 1
    assert not received.endswith(b"0\r\n\r\n")
