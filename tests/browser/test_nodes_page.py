"""Our nodes in ComfyUI's page, with a real platform behind them: choose a deployment, run it, see what comes back."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

import numpy as np
import pytest
from comfyui_outpost.api.models import RunStatus
from comfyui_outpost.api.server.sample import SAMPLE_NAME, SAMPLE_WORKFLOW, SAMPLE_WORKFLOW_API
from comfyui_outpost.nodes import contact_sheet
from comfyui_outpost.tests.bench.server import deploy
from comfyui_outpost.tests.comfyui.conftest import REPOSITORY
from comfyui_outpost.tests.comfyui.lane import external, node, read_image

from .desk import CHROMIUM, NOTE, PICTURE, Desk

pytestmark = [
    pytest.mark.asyncio(loop_scope="session"),
    pytest.mark.skipif(CHROMIUM is None, reason="there is no Chromium on this computer: apt install chromium"),
]
RUN = "OutpostRunDeployment"
EXAMPLES = sorted((REPOSITORY / "example_workflows").glob("*.json"))
GRAPH = {
    "1": external("Image", "image", display_name="Photo"),
    "2": external("NumberInt", "count", default_value=3, min_value=1, max_value=9),
    "3": node("OutpostSleep", image=["1", 0], seconds=1),
    "4": node("ImageInvert", image=["3", 0]),
    "5": node("SaveImage", images=["4", 0], output_id="inverted"),
    "6": node("PreviewAny", source=["2", 0], output_id="told"),
}
SLEEPER = {
    "1": external("Image", "image"),
    "2": node("OutpostSleep", image=["1", 0], seconds=60),
    "3": node("SaveImage", images=["2", 0], output_id="late"),
}
HAS_PICTURE = "(id) => !!app.graph.getNodeById(id).imgs?.length"
# What old servers tell of progress today's page does not put on a node: there it is a line of ours.
# It may be gone before anybody looks, so it is noted when it comes.
NOTE_PROGRESS = """
(id) => { window.sawProgress = false;
          const look = () => {
              window.sawProgress ||= app.graph.getNodeById(id).progress > 0
              || [...document.querySelectorAll(".outpost-line")].some((line) => /running/.test(line.textContent)); };
          new MutationObserver(look).observe(document.body, { subtree: true, childList: true, characterData: true });
          app.api?.addEventListener("progress", look);
          const draw = () => { look(); if (!window.sawProgress) requestAnimationFrame(draw); };
          draw(); }
"""
ENTRIES = ".litemenu-entry"
SAY = """
async ([id, news]) => { const styles = document.querySelector("link[href$='outpost.css']").href;
                        const { say } = await import(styles.replace("outpost.css", "views/run_report.js"));
                        say(app.graph.getNodeById(id), news); }
"""
SIZE = "(id) => [...app.graph.getNodeById(id).size]"
LINES = """
() => [...document.querySelectorAll(".outpost-line")].map((line) => {
    const { clientHeight, scrollHeight } = line;
    return [Math.round(clientHeight / 17), scrollHeight > clientHeight]; })
"""


async def _named(desk: Desk, name: str, graph: dict) -> str:
    """The id of a new deployment of a graph, which is called so in the list."""
    workflow = await desk.client.workflows.create(name, {}, workflow_api=graph)
    deployment = await desk.client.deployments.create(
        workflow_id=workflow.workflow_id,
        workflow_version_id=workflow.workflow_version_id or "",
        machine_id=(await desk.client.machines.list())[0].id,
    )
    return deployment.id


async def _wired(desk: Desk, deployment_id: str, output: str) -> tuple[str, str]:
    """A picture that goes through a deployment into a SaveImage; the ids of the two nodes."""
    load, run, save = [await desk.add(kind, x) for kind, x in (("LoadImage", 60), (RUN, 480), ("SaveImage", 900))]
    await desk.set(load, image=PICTURE)
    await desk.choose(run, deployment_id)
    await desk.connect(load, 0, run, "image")
    await desk.connect(run, output, save, "images")
    return run, save


async def _runs(desk: Desk, deployment_id: str) -> list[str]:
    """The ids of the runs of a deployment that was made for one test."""
    return [str(run.id) for run in await desk.client.runs.list(deployment_id=deployment_id)]


async def test_a_person_chooses_a_deployment_connects_it_and_runs_it(desk: Desk) -> None:
    deployment_id = await _named(desk, "Invert a photo", GRAPH)
    load, run, save = [await desk.add(kind, x) for kind, x in (("LoadImage", 60), (RUN, 480), ("SaveImage", 900))]
    await desk.set(load, image=PICTURE)
    await desk.open_list(run)
    await desk.page.locator(ENTRIES).filter(has_text="Invert a photo").click()
    chosen = "(id) => app.graph.getNodeById(id).outputs.some((each) => each.name === 'inverted')"
    await desk.until(chosen, run)

    look = await desk.look(run)
    await desk.connect(load, 0, run, "image")
    await desk.connect(run, "inverted", save, "images")
    await desk.page.evaluate(NOTE_PROGRESS, run)
    await desk.queue()
    await desk.until(HAS_PICTURE, save, seconds=60)
    await desk.until("() => window.sawProgress")
    await desk.until(f"() => ({NOTE})().some((each) => each.startsWith('success · '))")

    assert dict(look["widgets"])["deployment_id"] == deployment_id and dict(look["widgets"])["count"] == 3
    assert ["image", "Photo"] in [each[:2] for each in look["inputs"]]
    assert [each[0] for each in look["outputs"][3:]] == ["inverted", "told"]
    (saved,) = [file for file in (desk.comfyui.workspace / "output").iterdir() if file.suffix == ".png"]
    assert np.array_equal(read_image(saved.read_bytes()), 255 - read_image(contact_sheet.made_up_picture()))
    assert len(await _runs(desk, deployment_id)) == 1


async def test_a_graph_that_was_saved_runs_again_from_cache(desk: Desk) -> None:
    deployment_id = await _named(desk, "Again", GRAPH)
    run, save = await _wired(desk, deployment_id, "inverted")
    await desk.queue()
    await desk.until(HAS_PICTURE, save, seconds=60)
    before = await desk.comfyui.get("/history")
    prompt, graph = await desk.prompt(), await desk.saved()

    await desk.open()
    await desk.load(graph)
    assert await desk.prompt() == prompt
    await desk.queue()
    async with asyncio.timeout(30):
        while (await desk.comfyui.get("/history")).keys() == before.keys():
            await asyncio.sleep(0.05)

    assert len(await _runs(desk, deployment_id)) == 1
    await desk.set(run, count=4)
    await desk.queue()
    await desk.until(f"() => ({NOTE})().some((each) => each.startsWith('success · '))", seconds=60)
    async with asyncio.timeout(30):
        while len(await _runs(desk, deployment_id)) < 2:
            await asyncio.sleep(0.05)


async def test_cancelling_in_the_page_cancels_the_remote_run(desk: Desk) -> None:
    deployment_id = await _named(desk, "Late", SLEEPER)
    await _wired(desk, deployment_id, "late")
    await desk.queue()
    async with asyncio.timeout(30):
        while not (ids := await _runs(desk, deployment_id)):
            await asyncio.sleep(0.05)
        while (await desk.client.runs.get(ids[0])).status is not RunStatus.RUNNING:
            await asyncio.sleep(0.05)

    await desk.page.evaluate("() => app.api.interrupt(null)")

    async with asyncio.timeout(30):
        while (await desk.client.runs.get(ids[0])).status is not RunStatus.CANCELLED:
            await asyncio.sleep(0.05)
    desk.expected.append("interrupt")


async def test_what_a_node_says_is_seen_whole_and_leaves_no_room_behind(desk: Desk) -> None:
    # The page still has pictures of nodes that had the first ids, in other tests.
    await desk.page.evaluate("() => { app.graph.last_node_id = 900; }")
    run = await desk.add(RUN)
    before = await desk.page.evaluate(SIZE, run)
    hint = "Remove it with “Remove what is gone” in this node's menu, which opens by a click of the right button."
    await desk.page.evaluate(SAY, [run, {"run": {"text": "failed · " + "word " * 80}, "remarks": [hint]}])
    await desk.until("() => document.querySelector('.outpost-line')?.clientHeight > 0")
    assert await desk.page.evaluate(LINES) == [[3, True], [2, False]], "the first says more than there is room for"
    (saved,) = (await desk.saved())["nodes"]
    size = list(saved["size"].values()) if isinstance(saved["size"], dict) else saved["size"]
    assert size == before, "what is not saved takes no room"

    await desk.page.evaluate(SAY, [run, {"run": None, "remarks": []}])
    assert await desk.page.evaluate(SIZE, run) == before


async def test_a_node_says_why_it_failed_in_place_of_how_it_ended_before(desk: Desk) -> None:
    deployment_id = await _named(desk, "Fails at times", GRAPH)
    run, _ = await _wired(desk, deployment_id, "inverted")
    await desk.queue()
    await desk.until(f"() => ({NOTE})().some((each) => each.startsWith('success · '))", seconds=60)
    await desk.set(run, deployment_id="00000000-0000-4000-8000-000000000000")
    desk.expected.append("404")

    await desk.queue()
    await desk.until("() => document.querySelectorAll('.outpost-failed').length === 1", seconds=60)

    (line,) = [each for each in await desk.note() if not each.startswith("The ")]
    assert line.startswith("failed · ") and "00000000-0000-4000-8000-000000000000" in line
    await desk.choose(run, deployment_id)
    await desk.page.locator(".outpost-failed").wait_for(state="detached")  # that was of another one
    await desk.set(run, count=7)
    await desk.queue()
    await desk.until(f"() => ({NOTE})().some((each) => each.startsWith('success · '))", seconds=60)
    assert await desk.page.locator(".outpost-failed").count() == 0


async def test_a_run_that_was_queued_is_told_without_a_time_and_is_no_failure(desk: Desk) -> None:
    deployment_id = await _named(desk, "Collected later", GRAPH)
    load, queue = [await desk.add(kind, x) for kind, x in (("LoadImage", 60), ("OutpostQueueDeployment", 480))]
    wait, save = [await desk.add(kind, x) for kind, x in (("OutpostWaitForRuns", 900), ("PreviewImage", 1260))]
    await desk.set(load, image=PICTURE)
    await desk.choose(queue, deployment_id)
    await desk.connect(load, 0, queue, "image")
    await desk.connect(queue, "run", wait, "run_1")
    await desk.connect(wait, 0, save, "images")

    await desk.queue()
    await desk.until(HAS_PICTURE, save, seconds=60)

    lines = await desk.note()
    assert "queued" in lines and [each for each in lines if each.startswith("success · ")]
    assert await desk.page.locator(".outpost-failed").count() == 0


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda example: example.stem)
async def test_an_example_opens_and_can_be_queued(desk: Desk, example: Path) -> None:
    graph = json.loads(example.read_text("utf-8"))
    await desk.load(graph)

    unknown = "(types) => types.filter((type) => !LiteGraph.registered_node_types[type])"
    types = sorted({each["type"] for each in graph["nodes"]})
    assert await desk.page.evaluate(unknown, types) == []
    prompt = await desk.prompt()
    executed = {str(each["id"]) for each in graph["nodes"] if each["type"] not in ("Note", "MarkdownNote")}
    assert prompt.keys() == executed
    await desk.page.keyboard.press("Escape")


async def test_the_example_runs_the_deployment_that_every_platform_has(desk: Desk) -> None:
    (example,) = [each for each in EXAMPLES if each.stem == "Run a deployment"]
    await desk.load(json.loads(example.read_text("utf-8")))
    nodes = {each["type"]: str(each["id"]) for each in json.loads(example.read_text("utf-8"))["nodes"]}
    await desk.set(nodes["LoadImage"], image=PICTURE)
    (sample,) = [each for each in await desk.client.deployments.list() if each.workflow.name == SAMPLE_NAME]

    await desk.choose(nodes[RUN], str(sample.id))
    await desk.queue()

    await desk.until(HAS_PICTURE, nodes["PreviewImage"], seconds=60)
    assert "failed" not in " ".join(await desk.note())


async def test_the_sample_of_every_platform_is_executed_as_it_is_drawn(desk: Desk) -> None:
    await desk.load(SAMPLE_WORKFLOW)
    prompt = {
        number: {name: each[name] for name in ("class_type", "inputs")}
        for number, each in (await desk.prompt()).items()
    }
    assert prompt == SAMPLE_WORKFLOW_API


async def test_the_key_is_in_no_request_of_the_page_and_kept_nowhere_in_it(desk: Desk, tmp_path: Path) -> None:
    deployment_id = await deploy(desk.client, GRAPH)
    await _wired(desk, deployment_id, "inverted")
    key = desk.server.connection.api_key

    kept = await desk.page.evaluate(
        "() => JSON.stringify([{ ...localStorage }, { ...sessionStorage }, document.cookie])"
    )

    assert key and key not in kept
    assert key not in await desk.page.content()
    assert key not in str(await desk.saved()) and key not in str(await desk.prompt())
    assert desk.sent and not [sent for sent in desk.sent if key in sent]
    assert [sent for sent in desk.sent if "/outpost/deployments" in sent]
