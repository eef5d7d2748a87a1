"""Runs that a graph starts now and collects later, in real ComfyUIs, and what becomes of those that nobody wants."""

from __future__ import annotations

import asyncio
import json
import re
import statistics
import time
from datetime import datetime, timezone

import numpy as np
import pytest
from comfyui_outpost.api.client import Client
from comfyui_outpost.api.models import Run, RunStatus
from comfyui_outpost.tests.bench.server import Server, deploy

from .conftest import REPOSITORY
from .installations import Installation
from .instance import Outcome, start
from .lane import INVERT, Lane, external, node, picture, run_deployment, save
from .messages import Json

# The ComfyUIs and the platform that all tests share live on this event loop.
pytestmark = pytest.mark.asyncio(loop_scope="session")

CANCEL_SECONDS = 1.0
WAIT_SECONDS = 20
ECHO: Json = {
    "1": external("Text", "text", default_value="nothing was said"),
    "2": node("PreviewAny", source=["1", 0], output_id="echo"),
}
SLEEPS: Json = {
    "1": node("EmptyImage", width=8, height=8),
    "2": node("OutpostSleep", image=["1", 0], seconds=60),
    "3": node("SaveImage", images=["2", 0], output_id="slept"),
}
SLOW: Json = {"8": node("EmptyImage", width=8, height=8), "9": node("OutpostSleep", image=["8", 0], seconds=3)}
SLOW["10"] = node("SaveImage", images=["9", 0])
FAILS: Json = {
    "1": node("EmptyImage", width=8, height=8),
    "17": node("ImageBlur", image=["1", 0], blur_radius=500),
    "3": node("SaveImage", images=["17", 0], output_id="blurred"),
}
ANSWERS = 30
SLOWER = 10
"""How many times slower the page may be while ten runs wait; it is not slower when nothing blocks."""


def queue(deployment_id: str, **inputs: object) -> Json:
    return node("OutpostQueueDeployment", deployment_id=deployment_id, **inputs)


def wait_for(on_failure: str = "stop", **runs: object) -> Json:
    return node("OutpostWaitForRuns", deadline_minutes=1.0, on_failure=on_failure, **runs)


def for_each(deployment_id: str, **inputs: object) -> Json:
    options = {"at_most": 4, "on_failure": "stop", "deadline_minutes": 1.0}
    return node("OutpostRunDeploymentForEach", deployment_id=deployment_id, **{**options, **inputs})


async def runs_of(client: Client, deployment_id: str) -> list[Run]:
    """The runs of a deployment, oldest first."""
    return (await client.runs.list(deployment_id=deployment_id))[::-1]


async def until_ended(client: Client, run_id: str) -> Run:
    deadline = time.monotonic() + WAIT_SECONDS
    while not (run := await client.runs.get(run_id)).status.is_terminal:
        assert time.monotonic() < deadline, run
        await asyncio.sleep(0.02)
    return run


async def until_executing(lane: Lane, prompt_id: str, node_id: str) -> None:
    await lane.comfyui.wait_for_message(
        lambda message: message.type == "executing" and message.is_about(prompt_id) and message.data["node"] == node_id
    )


async def test_runs_go_on_side_by_side_while_local_nodes_work_and_are_collected_in_order(lane: Lane):
    sent = [picture(1), picture(2)]
    deployment_id = await lane.deploy(INVERT)

    execution = await lane.execute(
        {
            "1": await lane.load(sent[0]),
            "2": await lane.load(sent[1]),
            "3": queue(deployment_id, image=["1", 0]),
            "4": queue(deployment_id, image=["2", 0]),
            "5": node("Busy", seconds=0.1, after=["3", 1]),
            "6": wait_for(run_2=["4", 0], run_1=["3", 0], run_ids=["5", 0]),
            "7": save(["6", 0]),
            "8": node("ShowTexts", text=["6", 3]),
        }
    )

    first, second = await lane.saved(execution, "7")
    assert np.array_equal(first, 255 - sent[0])
    assert np.array_equal(second, 255 - sent[1])
    assert execution.outputs("8")["text"] == ["", ""]
    runs = await runs_of(lane.client, deployment_id)
    assert len(runs) == 2
    assert [each["run_id"] for each in execution.outputs("6")["outpost_run"]] == [
        execution.outputs(node_id)["outpost_run"][0]["run_id"] for node_id in ("3", "4")
    ]
    for run in runs:
        assert f"run {run.id} of deployment {deployment_id} was queued" in lane.comfyui.log()


async def test_an_interrupt_during_a_local_node_cancels_the_queued_runs_of_that_prompt_only(
    lane: Lane, installation: Installation
):
    deployment_id = await lane.deploy({**SLEEPS, "9": external("Text", "note", default_value="none")})
    await lane.execute({"1": queue(deployment_id)})  # a prompt that has ended, whose run nobody has collected
    elsewhere = await lane.client.runs.queue(deployment_id, {})
    prompt_id = await lane.queue(
        {
            "2": queue(deployment_id),
            # One after the other: while a local node is busy nothing is heard of an answer that is on its way.
            "3": queue(deployment_id, note=["4", 0]),
            "4": node("Busy", seconds=0.0, after=["2", 1]),
            "5": node("Busy", seconds=4.0, after=["3", 1]),
        }
    )
    while len(await runs_of(lane.client, deployment_id)) < 4:
        await asyncio.sleep(0.02)
    await until_executing(lane, prompt_id, "5")
    uncollected, other, *mine = await runs_of(lane.client, deployment_id)
    assert other.id == elsewhere

    interrupted_at = datetime.now(timezone.utc)
    await lane.comfyui.interrupt()
    ends = [(await until_ended(lane.client, run.id)) for run in mine]

    assert await lane.comfyui.history(prompt_id) is None, "the local node is still at work"
    assert [run.status for run in ends] == [RunStatus.CANCELLED] * 2
    seconds = max((run.ended_at - interrupted_at).total_seconds() for run in ends if run.ended_at)
    print(f"{installation.name}: queued runs cancelled {seconds:.2f} s after the interrupt")
    assert seconds < CANCEL_SECONDS
    await lane.comfyui.follow(prompt_id, timeout=WAIT_SECONDS)
    for run_id in (uncollected.id, elsewhere):
        assert not (await lane.client.runs.get(run_id)).status.is_terminal
        await lane.client.runs.cancel(run_id)


async def test_a_failure_elsewhere_in_the_graph_cancels_queued_runs(lane: Lane):
    deployment_id, echo = await lane.deploy(SLEEPS), await lane.deploy(ECHO)
    graph = {
        "1": queue(deployment_id),
        "2": node("Busy", seconds=0.0, after=["1", 1]),
        "3": run_deployment(echo, text=["2", 0]),
        "4": node("Fail", run=["3", 2]),
    }

    await lane.error_of(graph)

    (run,) = await runs_of(lane.client, deployment_id)
    assert (await until_ended(lane.client, run.id)).status is RunStatus.CANCELLED
    # Its run is of no use: the same prompt submits another one.
    await lane.error_of(graph)
    assert len(await runs_of(lane.client, deployment_id)) == 2
    # So does one that has been waiting for the end of the one that failed.
    for prompt_id in [await lane.queue(graph) for _ in range(2)]:
        await lane.comfyui.follow(prompt_id, timeout=WAIT_SECONDS)
    assert len(await runs_of(lane.client, deployment_id)) == 4


async def test_a_failure_elsewhere_in_the_graph_cancels_the_run_that_a_node_waits_for(
    lane: Lane, has_async_nodes: bool
):
    if not has_async_nodes:
        pytest.skip("one node after the other: nothing else can fail while a run is waited for")
    slow, echo = await lane.deploy(SLEEPS), await lane.deploy({**SLOW, **ECHO})

    await lane.error_of(
        {
            "1": run_deployment(slow),
            "2": save(["1", 0]),
            "3": run_deployment(echo),
            "4": node("Fail", run=["3", 2]),
        }
    )

    (run,) = await runs_of(lane.client, slow)
    assert (await until_ended(lane.client, run.id)).status is RunStatus.CANCELLED


async def test_an_interrupt_while_runs_are_waited_for_cancels_them_and_not_those_known_by_id(lane: Lane):
    deployment_id = await lane.deploy(SLEEPS)
    elsewhere = await lane.client.runs.queue(deployment_id, {})
    prompt_id = await lane.queue(
        {"1": queue(deployment_id), "2": wait_for(run_1=["1", 0], run_ids=elsewhere), "3": save(["2", 0])}
    )
    await until_executing(lane, prompt_id, "2")
    await lane.gateway.wait_for_request("GET /api/run/")

    await lane.comfyui.interrupt()

    assert (await lane.comfyui.follow(prompt_id, timeout=WAIT_SECONDS)).outcome is Outcome.INTERRUPTED
    _, mine = await runs_of(lane.client, deployment_id)
    assert (await until_ended(lane.client, mine.id)).status is RunStatus.CANCELLED
    assert not (await lane.client.runs.get(elsewhere)).status.is_terminal
    await lane.client.runs.cancel(elsewhere)


async def test_a_queued_run_is_cached_when_it_was_of_use_and_submitted_again_when_it_was_not(lane: Lane):
    good, bad = await lane.deploy(ECHO), await lane.deploy(FAILS)
    graph = {"1": queue(good, text="a"), "2": wait_for(run_1=["1", 0]), "3": node("ShowTexts", text=["2", 3])}
    await lane.execute(graph)
    await lane.execute(graph)
    assert len(await runs_of(lane.client, good)) == 1

    graph = {"1": queue(bad), "2": wait_for(run_1=["1", 0]), "3": save(["2", 0])}
    failure = await lane.error_of(graph)
    assert "node 17 (ImageBlur)" in failure["exception_message"]
    await lane.error_of(graph)
    assert len(await runs_of(lane.client, bad)) == 2


async def test_outputs_of_a_deployment_have_sockets_of_their_own(lane: Lane, has_progress_text: bool):
    sent = picture(3)
    echo = {"4": ECHO["1"], "5": node("PreviewAny", source=["4", 0], output_id="echo")}
    deployment_id = await lane.deploy({**INVERT, **echo})

    execution = await lane.execute(
        {
            "1": await lane.load(sent),
            "2": run_deployment(deployment_id, image=["1", 0], text="hello", outputs='["echo", "inverted"]'),
            "3": node("ShowTexts", text=["2", 3]),
            "4": save(["2", 4]),
        }
    )

    assert execution.outputs("3")["text"] == ["hello"]
    assert np.array_equal((await lane.saved(execution, "4"))[0], 255 - sent)
    (shown,) = execution.outputs("2")["outpost_run"]
    assert (shown["run_id"], shown["status"]) == (lane.traffic.run_ids[0], "success") and shown["seconds"] > 0
    texts = [message.data for message in execution.messages if message.type == "outpost.text"]
    assert bool(texts) is not has_progress_text, "ComfyUI shows them by itself where it can"
    assert {text["node"] for text in texts} <= {"2"}
    info = await lane.comfyui.object_info("OutpostRunDeployment")
    assert info and info["output"] == ["IMAGE", "MASK", "OUTPOST_RUN"]


async def test_an_output_that_the_deployment_does_not_have_is_told_to_whoever_is_connected(
    lane: Lane, has_async_nodes: bool
):
    run = run_deployment(await lane.deploy(ECHO), outputs='["gone"]')

    execution = await lane.comfyui.follow(await lane.queue({"1": run, "2": save(["1", 3])}))

    (failure,) = [message.data for message in execution.messages if message.type == "execution_error"]
    assert failure["node_id"] == "2"
    assert not has_async_nodes or "no output 'gone'" in failure["exception_message"]


async def test_always_run_runs_each_time_and_a_number_that_changes_does_too(lane: Lane):
    deployment_id = await lane.deploy(ECHO)

    def graph(**inputs: object) -> Json:
        run = run_deployment(deployment_id, outputs='["echo"]', **inputs)
        return {"1": run, "2": node("ShowTexts", text=["1", 3])}

    for _ in range(2):
        await lane.execute(graph(text="a", always_run=True))
    for text in ("b", "b", "c"):
        await lane.execute(graph(text=text))

    assert len(lane.traffic.run_ids) == 4


async def test_an_input_called_like_one_of_the_nodes_own_is_sent_under_its_other_name(lane: Lane):
    graph = {"1": external("Text", "outputs"), "2": node("PreviewAny", source=["1", 0], output_id="echo")}
    values = {"outputs": '["echo"]', "input:outputs": "mine"}

    run = run_deployment(await lane.deploy(graph), **values)
    execution = await lane.execute({"1": run, "2": node("ShowTexts", text=["1", 3])})

    assert execution.outputs("2")["text"] == ["mine"]


async def test_each_image_of_a_batch_is_a_run_of_its_own(lane: Lane):
    sent = [picture(4), picture(5)]
    deployment = {**INVERT, "4": external("Text", "text"), "5": node("PreviewAny", source=["4", 0], output_id="echo")}
    deployment_id = await lane.deploy(deployment)

    execution = await lane.execute(
        {
            "1": await lane.load(sent[0]),
            "2": await lane.load(sent[1]),
            "3": node("ImageBatch", image1=["1", 0], image2=["2", 0]),
            "4": for_each(deployment_id, image=["3", 0], text="for all", outputs='["echo", "inverted"]'),
            "5": node("ShowShapes", image=["4", 0]),
            "6": save(["4", 5]),
            "7": node("ShowTexts", text=["4", 4]),
        }
    )

    assert execution.outputs("5")["shapes"] == [[2, 24, 40, 3]]
    saved = await lane.saved(execution, "6")
    assert [np.array_equal(each, 255 - picture) for each, picture in zip(saved, sent, strict=True)] == [True, True]
    assert execution.outputs("7")["text"] == ["for all", "for all"]
    assert len(execution.outputs("4")["outpost_run"]) == 2


async def test_a_local_node_that_hears_nothing_does_not_keep_a_run_from_being_cancelled(
    lane: Lane, has_async_nodes: bool
):
    if not has_async_nodes:
        pytest.skip("one node after the other: nothing local works while a run is waited for")
    prompt_id = await lane.queue(
        {
            "1": run_deployment(await lane.deploy(SLEEPS)),
            "2": save(["1", 0]),
            "3": run_deployment(await lane.deploy(ECHO), text="a", outputs='["echo"]'),
            "4": node("Busy", seconds=4.0, after=["3", 3]),
        }
    )
    await until_executing(lane, prompt_id, "4")
    await lane.gateway.wait_for_run()
    (sleeping,) = [run for run in await lane.runs() if not run.status.is_terminal]

    interrupted_at = datetime.now(timezone.utc)
    await lane.comfyui.interrupt()
    run = await until_ended(lane.client, sleeping.id)

    assert run.status is RunStatus.CANCELLED and run.ended_at
    assert (run.ended_at - interrupted_at).total_seconds() < CANCEL_SECONDS
    assert await lane.comfyui.history(prompt_id) is None, "the local node is still at work"
    await lane.comfyui.follow(prompt_id, timeout=WAIT_SECONDS)


async def test_the_page_is_as_quick_as_ever_while_ten_runs_wait(lane: Lane):
    async def seconds() -> float:
        times = []
        for _ in range(ANSWERS):
            begun = time.perf_counter()
            await lane.comfyui.get("/object_info/OutpostRunDeployment")
            times.append(time.perf_counter() - begun)
        return statistics.median(times)

    idle = await seconds()
    deployment_id = await lane.deploy(SLEEPS)
    graph: Json = {str(number): queue(deployment_id) for number in range(10)}
    graph["20"] = wait_for(**{f"run_{number}": [str(number), 0] for number in range(10)})
    prompt_id = await lane.queue({**graph, "21": save(["20", 0])})
    await until_executing(lane, prompt_id, "20")
    await lane.gateway.wait_for_request("GET /api/run/")

    busy = await seconds()

    await lane.comfyui.interrupt()
    assert (await lane.comfyui.follow(prompt_id, timeout=WAIT_SECONDS)).outcome is Outcome.INTERRUPTED
    print(f"an answer takes {idle * 1000:.1f} ms, and {busy * 1000:.1f} ms while ten runs wait")
    assert busy < idle * SLOWER
    ends = [await until_ended(lane.client, run.id) for run in await runs_of(lane.client, deployment_id)]
    assert [run.status for run in ends] == [RunStatus.CANCELLED] * 10


async def test_what_was_submitted_when_comfyui_was_killed_is_collected_by_the_id_in_its_log(
    installation: Installation, python: object, server: Server, client: Client, tmp_path: object
):
    slow, echo = await deploy(client, SLEEPS), await deploy(client, {**SLOW, **ECHO})
    options = {
        "custom_nodes": {"ComfyUI-Outpost": REPOSITORY, "Probe-Nodes": REPOSITORY / "tests/comfyui/probe_nodes"},
        "environment": {
            "OUTPOST_BASE_URL": server.connection.base_url,
            "OUTPOST_API_KEY": server.connection.api_key,
            "OUTPOST_SETTINGS": str(tmp_path / "connection.json"),
        },
    }
    async with start(installation, python, **options) as killed:
        await killed.queue({"1": run_deployment(echo, text="survives"), "2": save(["1", 0])})
        while not (submitted := re.search(rf"run (\S+) of deployment {echo}", killed.log())):
            await asyncio.sleep(0.05)
        await killed.kill()
    run_id = submitted[1]
    assert (await client.runs.get(run_id)).status is not RunStatus.CANCELLED

    async with start(installation, python, **options) as again:
        graph = {
            "1": wait_for(run_ids=f"{run_id}\n"),
            "2": node("OutpostRunOutputs", run=["1", 2], output="echo"),
            "3": node("ShowTexts", text=["2", 2]),
        }
        execution = await again.follow(await again.queue(graph))
        assert execution.outputs("3")["text"] == ["survives"]

        settings = again.workspace / "user" / "default" / "comfy.settings.json"
        settings.parent.mkdir(parents=True, exist_ok=True)
        settings.write_text(json.dumps({"Outpost.OnClose": "cancel"}))
        await again.queue({"1": run_deployment(slow), "2": save(["1", 0])})
        while not await runs_of(client, slow):
            await asyncio.sleep(0.05)
        (run,) = await runs_of(client, slow)
        while run.id not in again.log():
            await asyncio.sleep(0.05)
        await again.press_ctrl_c()
    assert (await until_ended(client, run.id)).status is RunStatus.CANCELLED
