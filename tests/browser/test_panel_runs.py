"""Runs in the panel as a user meets them: started by the form, watched, cancelled, repeated, taken to the canvas."""

from __future__ import annotations

import asyncio
import signal
import socket
from pathlib import Path
from typing import Any

import pytest
from comfyui_outpost.api.client import Client
from comfyui_outpost.api.events import LiveStatus, PreviewImage
from comfyui_outpost.api.server.machines import Emit, Job
from comfyui_outpost.api.settings import Connection
from comfyui_outpost.nodes import contact_sheet
from comfyui_outpost.tests.comfyui.lane import external, node
from comfyui_outpost.tests.server.machines import ScriptedMachine
from comfyui_outpost.tests.server.process import started
from playwright.async_api import expect

from .desk import CHROMIUM, Desk, connected

pytestmark = [
    pytest.mark.asyncio(loop_scope="session"),
    pytest.mark.skipif(CHROMIUM is None, reason="there is no Chromium on this computer: apt install chromium"),
]
SLOW = {
    "1": external("Text", "prompt", default_value="a cat"),
    "2": node("EmptyImage", width=64, height=64),
    "3": node("OutpostSleep", seconds=60, image=["2", 0]),
    "4": node("SaveImage", images=["3", 0], output_id="result"),
}
BLUR = {
    "1": external("Image", "photo"),
    "2": external("Number", "blur", default_value=1),
    "3": node("ImageBlur", image=["1", 0], blur_radius=["2", 0], sigma=1),
    "4": node("SaveImage", images=["3", 0], output_id="picture"),
    "5": external("Text", "words", default_value="hello"),
    "6": node("PreviewAny", source=["5", 0], output_id="said"),
}
DRAWN = """
() => { app.graph.clear();
    const add = (type, x, values) => { const node = LiteGraph.createNode(type); node.pos = [x, 100];
        app.graph.add(node);
        for (const [name, value] of Object.entries(values)) node.widgets.find((w) => w.name === name).value = value; };
    add("ComfyUIDeployExternalImage", 300, { input_id: "photo" });
    add("ComfyUIDeployExternalNumber", 700, { input_id: "blur" });
    return JSON.parse(JSON.stringify(app.graph.serialize())); }
"""
WIDGETS = """
() => app.graph._nodes.map((node) => [node.comfyClass ?? node.type, (node.widgets ?? []).map((w) => [w.name, w.value])])
"""
LINKED = """
() => { const node = app.graph._nodes.find((each) => each.comfyClass === "ComfyUIDeployExternalImage");
        const slot = node.inputs.findIndex((each) => each.name === "default_value");
        return node.getInputNode(slot)?.comfyClass; }
"""
START = """
async (id) => (await fetch("/api/outpost/runs", {
    method: "POST", headers: { "Outpost-Page": "1", "Content-Type": "application/json" },
    body: JSON.stringify({
        deployment_id: id, key: "a-deed-of-the-test", inputs: { photo: "http://127.0.0.1:9/x.png" } }),
})).status
"""


async def deployed(desk: Desk, graph: Any, name: str, workflow: Any = None, *, client: Client | None = None) -> str:
    client = client or desk.client
    made = await client.workflows.create(name, workflow or {"nodes": []}, workflow_api=graph)
    deployment = await client.deployments.create(
        workflow_id=made.workflow_id,
        workflow_version_id=made.workflow_version_id or "",
        machine_id=(await client.machines.list())[0].id,
    )
    return deployment.id


async def act(desk: Desk, name: str, deed: str) -> None:
    """Choose something in the menu of the first row of this name."""
    await desk.panel.get_by_role("button", name=f"More for {name}").first.click()
    await desk.panel.get_by_role("menuitem", name=deed, exact=True).click()


async def test_a_long_run_is_started_by_the_form_watched_cancelled_and_repeated(panel_desk: Desk) -> None:
    desk, panel = panel_desk, panel_desk.panel
    deployment_id = await deployed(desk, SLOW, "Slow")
    await desk.show("run", deployment_id=deployment_id)
    await panel.get_by_label("prompt").fill("a dog")
    await panel.get_by_role("button", name="Run", exact=True).click()
    run = await _newest(desk, deployment_id)
    assert (await desk.client.runs.get(run)).workflow_inputs == {"prompt": "a dog"}
    await panel.get_by_text("a dog").wait_for()  # the form leads to the run

    await desk.show("runs")
    bar = panel.get_by_role("progressbar", name="Progress of Slow · production")
    await bar.wait_for()
    await panel.get_by_role("listitem").filter(has_text="Running").first.wait_for()
    await desk.until("() => document.querySelector('.outpost-progress').ariaValueNow > 0")
    await desk.until(
        "() => [...document.querySelectorAll('.p-badge, [class*=badge]')].some((e) => e.textContent === '1')"
    )
    await panel.get_by_role("button", name="Slow · production").first.click()
    await panel.get_by_text("a dog").wait_for()
    await panel.get_by_role("button", name="Cancel", exact=True).click()
    await panel.get_by_role("status").filter(has_text="Cancelled").wait_for()
    assert (await desk.client.runs.get(run)).status.value == "cancelled"

    await panel.get_by_role("button", name="Run again").click()
    again = await _newest(desk, deployment_id)
    assert again != run
    assert (await desk.client.runs.get(again)).workflow_inputs == {"prompt": "a dog"}
    await desk.show("runs")
    await panel.get_by_role("button", name="Running", exact=True).click()
    await expect(panel.get_by_role("listitem").filter(has_text="Slow")).to_have_count(1)
    await act(desk, "Slow", "Cancel")
    await panel.get_by_text("No run is like that.").wait_for()
    await panel.get_by_role("button", name="Show all runs").click()
    await expect(panel.get_by_role("listitem").filter(has_text="Cancelled")).to_have_count(2)


async def test_outputs_come_to_the_canvas_and_the_graph_opens_with_the_inputs_of_its_run(panel_desk: Desk) -> None:
    desk, panel = panel_desk, panel_desk.panel
    deployment_id = await deployed(desk, BLUR, "<b>Blur</b>", await desk.page.evaluate(DRAWN))
    file = await desk.client.files.upload(contact_sheet.made_up_picture(), content_type="image/png", name="a lake.png")
    run = await desk.client.runs.queue(deployment_id, {"photo": file.url, "blur": 7, "words": "<i>quiet</i>"})
    await desk.client.runs.follow(run)

    await desk.show("runs")
    await panel.locator(".outpost-thumb img[data-shown]").wait_for()
    await desk.show("runs", run_id=run)
    picture = panel.get_by_role("img", name="picture")
    await picture.wait_for()
    await desk.until("() => document.querySelector('.outpost-output img')?.naturalWidth > 1")
    await panel.locator("pre").get_by_text("<i>quiet</i>").wait_for()
    await desk.clear()
    await panel.get_by_role("button", name="Put picture on the canvas").click()
    await panel.get_by_text("1 node is on the canvas.").wait_for()
    [[kind, widgets]] = await desk.page.evaluate(WIDGETS)
    name = dict(widgets)["image"]
    assert (kind, name[:8]) == ("LoadImage", "outpost-")
    assert (desk.comfyui.workspace / "input" / name).read_bytes()[:4] == b"\x89PNG"
    known = (await desk.comfyui.get("/object_info/LoadImage"))["LoadImage"]["input"]["required"]["image"][0]
    assert name in known, "a page that is loaded anew takes it for missing"
    loader = await desk.page.evaluate("() => String(app.graph._nodes[0].id)")
    save = await desk.add("PreviewImage", 500)
    await desk.connect(loader, 0, save, "images")
    async with desk.page.expect_response("**/prompt") as answer:
        await desk.queue()
    assert (await answer.value).ok
    await panel.get_by_role("button", name="Put said on the canvas").click()
    await desk.until("() => app.graph._nodes.length === 3")
    kind, widgets = (await desk.page.evaluate(WIDGETS))[-1]
    assert (kind, [value for _, value in widgets]) == (
        "Note",
        ["<i>quiet</i>"],
    )  # its ComfyUI has none that gives a text

    await act(desk, "<b>Blur</b>", "Open its graph with these inputs")
    await panel.get_by_text("The graph is open. What could not be put into it: words").wait_for()
    found = dict(await desk.page.evaluate(WIDGETS))
    assert dict(found["ComfyUIDeployExternalNumber"])["default_value"] == 7
    assert dict(found["LoadImage"])["image"].startswith("outpost-")
    assert await desk.page.evaluate(LINKED) == "LoadImage"
    assert (await desk.saved())["extra"]["outpost"]["version"] == 1
    assert all("sig=" not in each and "?s=" not in each for each in desk.sent)


async def test_what_failed_is_told_whole_and_a_toast_says_so_while_the_panel_is_closed(panel_desk: Desk) -> None:
    desk, panel = panel_desk, panel_desk.panel
    await desk.page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    deployment_id = await deployed(desk, BLUR, "Broken")
    await desk.show("runs")
    await desk.hide()
    assert await desk.page.evaluate(START, deployment_id) == 200
    await desk.page.get_by_text("Broken · production has failed:").first.wait_for()
    await desk.show("runs")
    await panel.get_by_role("button", name="Failed", exact=True).click()
    await panel.get_by_role("button", name="Broken · production").first.click()
    error = panel.locator("pre").first
    await error.get_by_text("ComfyUIDeployExternalImage").wait_for()
    await panel.get_by_role("button", name="Copy the error").click()
    await panel.get_by_text("Copied").wait_for()
    assert await desk.page.evaluate("() => navigator.clipboard.readText()") == await error.inner_text()
    await panel.get_by_role("tab", name="Runs").click()
    await panel.get_by_role("button", name="All", exact=True).click()


async def test_progress_and_previews_are_seen_as_they_come(panel_desk: Desk, start_platform: Any) -> None:
    desk, panel, may_end = panel_desk, panel_desk.panel, asyncio.Event()

    async def play(job: Job, emit: Emit) -> None:
        emit(LiveStatus(job.run_id, "Sampling, step 3", 0.4))
        emit(PreviewImage(job.run_id, "3", "image/png", contact_sheet.made_up_picture()))
        await may_end.wait()

    async with (
        start_platform(machines={"builtin": ScriptedMachine(play)}) as platform,
        connected(desk, Connection(platform.url, platform.owner.api_key)) as client,
    ):
        await desk.show("runs")
        await panel.get_by_text("No runs yet").wait_for()
        run = await client.runs.queue(await deployed(desk, SLOW, "Sampled", client=client), {}, preview_images=True)
        await panel.get_by_role("listitem").filter(has_text="Sampling, step 3").wait_for()
        bar = panel.get_by_role("progressbar", name="Progress of Sampled · production")
        await expect(bar).to_have_attribute("aria-valuenow", "40")
        await desk.until("() => document.querySelector('.outpost-thumb img')?.naturalWidth > 1")
        await desk.show("runs", run_id=run)
        await desk.until("() => document.querySelector('.outpost-large')?.naturalWidth > 1")
        may_end.set()
        await panel.get_by_role("status").filter(has_text="Done").wait_for()
        await panel.get_by_text("It has put out nothing.").wait_for()


async def test_a_platform_that_is_killed_and_comes_back_leaves_the_list_right(panel_desk: Desk, tmp_path: Path) -> None:
    desk, panel, port = panel_desk, panel_desk.panel, str(_free_port())
    desk.expected.append("status of 502")  # of what the page asks for while there is no platform
    async with started(tmp_path / "platform", "--port", port) as server:
        await server.begin()
        connection = Connection(server.url, server.api_key or "")
        async with connected(desk, connection) as client:
            await desk.show("runs")
            await panel.get_by_text("No runs yet").wait_for()
            going = await client.runs.queue(await deployed(desk, SLOW, "Going", client=client), {})
            await panel.get_by_role("listitem").filter(has_text="Running").wait_for()
            await server.end(signal.SIGKILL)
            async with started(tmp_path / "platform", "--port", port) as again:
                await again.begin()
                await client.runs.cancel(going)
                await panel.get_by_role("listitem").filter(has_text="Cancelled").wait_for(timeout=60_000)
                ended = await client.runs.queue(await deployed(desk, SLOW, "Other", client=client), {})
                await panel.get_by_role("button", name="Other · production").first.wait_for()
                shown = await panel.get_by_role("listitem").all_inner_texts()
                assert [text.split(" ")[0] for text in shown] == ["Other", "Going"], (shown, ended)


def _free_port() -> int:
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        return held.getsockname()[1]


async def _newest(desk: Desk, deployment_id: str) -> str:
    """The newest run, as soon as there is one at work."""
    while True:
        runs = await desk.client.runs.list(deployment_id=deployment_id)
        if runs and not runs[0].status.is_terminal:
            return runs[0].id
        await asyncio.sleep(0.05)
