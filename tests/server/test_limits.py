"""What one key cannot do to the others: large bodies, large answers, and going on after it was revoked."""

from __future__ import annotations

from typing import Any

import pytest

from .graphs import ECHO, external, node, sleep
from .talking import Talker, talkers

pytestmark = pytest.mark.shared_platform

WIDGETS = {"1": node("PreviewAny", source="a secret default")}
DECLARED = {"1": external("Text", "text", default_value=""), "2": node("PreviewAny", source=["1", 0], prefix="mine")}


@pytest.fixture
async def runner(owner: Talker, platform: Any):
    """Somebody with a key of the owner's that may only run."""
    made = await owner.post("/platform/api-keys", {"name": "runner", "scope": "run"})
    async with talkers(platform.url, made["key"], secrets=[]) as (talker,):
        yield talker


@pytest.mark.one_backing
async def test_a_body_for_a_small_thing_is_small(owner: Talker):
    answer = await owner.ask("POST", "/platform/api-keys", json={"name": "x", "more": "y" * 300_000})
    assert (answer.status_code, answer.json()["code"]) == (413, "too_large")
    assert "262144 bytes" in answer.json()["detail"]


@pytest.mark.one_backing
async def test_a_run_takes_a_thousand_inputs_at_the_most(owner: Talker):
    body = {"deployment_id": await owner.deploy(ECHO), "inputs": {str(number): {} for number in range(20_000)}}
    answer = await owner.ask("POST", "/run/deployment/queue", json=body)
    assert answer.status_code == 422
    assert len(answer.json()["detail"]) <= 10


async def test_lists_of_runs_leave_out_their_inputs(owner: Talker):
    run_id = await owner.queue(await owner.deploy(ECHO), {"text": "x" * 100_000})
    await owner.end_of(run_id)
    for path in ("/runs", f"/runs?deployment_id={(await owner.get(f'/run/{run_id}'))['deployment_id']}"):
        answer = await owner.ask("GET", path)
        assert run_id in answer.text
        assert "xxxx" not in answer.text
    assert (await owner.get(f"/run/{run_id}"))["workflow_inputs"]["text"] == "x" * 100_000


async def test_a_key_that_may_only_run_sets_what_the_graph_declares_and_no_widget(owner: Talker, runner: Talker):
    deployment = await owner.deploy(DECLARED)
    inputs = {"text": "hello", "2.prefix": "HACK"}
    answer = await runner.ask("POST", "/run/deployment/queue", json={"deployment_id": deployment, "inputs": inputs})
    assert answer.status_code == 422
    assert "There is no input '2.prefix'" in answer.text
    assert (await owner.run(DECLARED, inputs))["status"] == "success"


async def test_a_key_that_may_only_run_sees_no_values_of_widgets(owner: Talker, runner: Talker):
    deployment = await owner.deploy(WIDGETS)
    seen = await runner.ask("GET", f"/deployment/{deployment}")
    assert [each["input_id"] for each in seen.json()["input_types"]] == ["1.source"]
    assert "a secret default" not in seen.text
    assert "a secret default" in (await owner.ask("GET", f"/deployment/{deployment}")).text


async def test_a_stream_ends_soon_after_its_key_was_revoked(start_platform):
    async with (
        start_platform(keep_alive_seconds=0.05) as platform,
        talkers(platform.url, platform.owner.api_key, secrets=[]) as (owner,),
    ):
        made = await owner.post("/platform/api-keys", {"name": "runner", "scope": "run"})
        run_id = await owner.queue(await owner.deploy(sleep(600)))
        async with (
            talkers(platform.url, made["key"], secrets=[]) as (runner,),
            runner.stream("GET", f"/run/{run_id}/stream") as events,
        ):
            first = await anext(events)
            assert (await owner.ask("DELETE", f"/platform/api-keys/{made['id']}")).status_code == 200
            rest = [event async for event in events]
        assert first.data["prompt_id"] == run_id
        assert not any(event.status in ("success", "failed", "cancelled", "timeout") for event in rest)
        await owner.post(f"/run/{run_id}/cancel", {})
