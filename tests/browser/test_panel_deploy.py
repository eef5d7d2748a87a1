"""Deploying from the panel as somebody does it: inputs made of widgets, versions, deployments and runs by a form."""

from __future__ import annotations

import asyncio
import io
import itertools
import json
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from comfyui_outpost.api.models import Deployment, RunStatus, WorkflowVersion
from comfyui_outpost.api.settings import load_connection
from comfyui_outpost.nodes import contact_sheet
from PIL import Image
from playwright.async_api import Locator, Route, expect

from .desk import CHROMIUM, TRACKER, Desk

pytestmark = [
    pytest.mark.asyncio(loop_scope="session"),
    pytest.mark.skipif(CHROMIUM is None, reason="there is no Chromium on this computer: apt install chromium"),
]
REMEMBERED = """
() => { const { workflow_id, version } = (app.rootGraph ?? app.graph).extra.outpost ?? {};
        return workflow_id ? { workflow_id, version } : null; }
"""
UNDO = f"() => {TRACKER}.undo()"
SELECT = "(ids) => app.canvas.selectNodes(ids.map((id) => app.graph.getNodeById(id)))"
COUNT = "(count) => app.graph.nodes.length === count"
FORGET = "() => { delete (app.rootGraph ?? app.graph).extra.outpost; }"
OPEN_ANOTHER = "async (graph) => { await app.loadGraphData(JSON.parse(graph), true, true, 'Another'); }"
OPEN_THIRD = OPEN_ANOTHER.replace("Another", "Third")
SELECTED = "() => Object.values(app.canvas.selected_nodes ?? {}).map((node) => node.type)"
# The page tells of a change only where the graph differs from what it has seen of it; it may have seen the new one.
KEEP_QUIET = """
() => { window.keepQuiet = (event) => event.stopImmediatePropagation();
        app.api.addEventListener("graphChanged", window.keepQuiet); }
"""
# The moment at which the view is there and nothing of it has been painted yet.
EMPTY_WHEN_SHOWN = """
() => { const seen = new MutationObserver(() => {
            if (!document.querySelector("outpost-panel [data-view=deploy]")) return;
            seen.disconnect();
            app.graph.clear();
            app.api.dispatchEvent(new CustomEvent("graphChanged")); });
        seen.observe(document, { subtree: true, childList: true, attributes: true }); }
"""
HOSTILE = "<img src=x onerror=window.pwned=1>"


def _drawn(node_id: int, kind: str, **more: Any) -> dict[str, Any]:
    """A node as the editor keeps it."""
    at = {"pos": [400 * node_id, 100], "size": [200, 100], "order": node_id}
    return {"id": node_id, "type": kind, "mode": 0, "flags": {}, "properties": {}, **at, **more}


# What was drawn on a ComfyUI with a node that no other has.
UNKNOWN = {
    "nodes": [
        _drawn(1, "NobodyHasThis", outputs=[{"name": "IMAGE", "type": "IMAGE", "links": [1]}], widgets_values=[3]),
        _drawn(2, "SaveImage", inputs=[{"name": "images", "type": "IMAGE", "link": 1}], widgets_values=["x"]),
    ],
    "links": [[1, 1, 0, 2, 0, "IMAGE"]],
    "version": 0.4,
}


async def _draw(desk: Desk, *kinds: str) -> list[str]:
    """Nodes one after the other, each connected to the one before."""
    nodes = [await desk.add(kind, 60 + 400 * index) for index, kind in enumerate(kinds)]
    for (source, target), kind in zip(itertools.pairwise(nodes), kinds[1:], strict=True):
        await desk.connect(source, 0, target, "images" if kind == "SaveImage" else "image")
    await desk.rest()
    return nodes


async def _until(condition: Callable[[], Awaitable[Any]]) -> Any:
    async with asyncio.timeout(20):
        while not (found := await condition()):
            await asyncio.sleep(0.05)
    return found


def _button(desk: Desk, name: str) -> Locator:
    return desk.panel.get_by_role("button", name=name, exact=True)


async def _deploy(desk: Desk) -> None:
    # What was deployed before may be on the screen still.
    async with desk.page.expect_response(
        lambda answer: answer.request.method in ("POST", "PATCH") and "/outpost/deployments" in answer.url
    ):
        await _button(desk, "Deploy").click()
    await desk.panel.get_by_text("It is in ").wait_for()


async def _runs(desk: Desk, name: str) -> None:
    """Wait until it is said that a workflow of this name is deployed."""
    await desk.panel.get_by_text(f"“{name}” runs version 1").wait_for()


async def _deployments(desk: Desk, name: str) -> dict[str, Deployment]:
    return {str(each.environment): each for each in await desk.client.deployments.list() if each.name == name}


async def test_a_graph_that_changes_while_the_view_opens_is_read_again(panel_desk: Desk) -> None:
    desk = panel_desk
    await _draw(desk, "EmptyImage", "SaveImage")
    await desk.page.evaluate(EMPTY_WHEN_SHOWN)
    await desk.show("deploy")

    await desk.panel.get_by_text("There is nothing to execute in this graph.").wait_for()


async def test_a_widget_becomes_an_input_in_one_step_and_the_graph_makes_the_same(panel_desk: Desk) -> None:
    desk = panel_desk
    load, scale, blur, save = await _draw(desk, "LoadImage", "ImageScale", "ImageBlur", "SaveImage")
    await desk.set(blur, blur_radius=7)
    await desk.rest()
    before, made = await desk.prompt(), await _made(desk, save)
    await desk.page.evaluate(SELECT, [scale, blur])
    await desk.show("deploy")
    await desk.panel.get_by_text("Make a value an input").click()
    for count, name in enumerate(
        ("blur_radius of ImageBlur", "upscale_method of Upscale Image", "image of Load Image"), 5
    ):
        await _button(desk, f"Expose {name} as input").click()
        await desk.until(COUNT, count)
        await _button(desk, f"Expose {name} as input").wait_for(state="detached")

    prompt = await desk.prompt()
    number, choice, image = [_external(prompt, kind) for kind in ("NumberSliderInt", "Enum", "Image")]
    assert prompt[blur]["inputs"]["blur_radius"] == [number[0], 0]
    assert (number[1]["input_id"], number[1]["default_value"]) == ("blur_radius", 7)
    assert (number[1]["min_value"], number[1]["max_value"]) == (1, 31)
    assert prompt[scale]["inputs"]["upscale_method"] == [choice[0], 0]
    assert "lanczos" in json.loads(choice[1]["options"])
    assert prompt[scale]["inputs"]["image"] == [image[0], 0]
    assert (image[1]["input_id"], image[1]["default_value"]) == ("image", [load, 0])
    await desk.panel.get_by_title("blur_radius", exact=True).wait_for()
    assert await _made(desk, save) == made

    for count in (6, 5, 4):
        await desk.page.evaluate(UNDO)
        await desk.until(COUNT, count)
    assert await desk.prompt() == before


def _external(prompt: dict[str, Any], kind: str) -> tuple[str, dict[str, Any]]:
    name = f"ComfyUIDeployExternal{kind}"
    return next((id, each["inputs"]) for id, each in prompt.items() if each["class_type"] == name)


async def _made(desk: Desk, node: str) -> bytes:
    """The pixels that the graph makes here."""
    known = set(await _history(desk))
    await desk.queue()
    ended = await _until(lambda: _new(desk, known))
    [file] = ended["outputs"][node]["images"]
    shown = await desk.page.request.get(f"{desk.comfyui.url}/view", params=file)
    return Image.open(io.BytesIO(await shown.body())).tobytes()


async def _history(desk: Desk) -> dict[str, Any]:
    return await (await desk.page.request.get(f"{desk.comfyui.url}/history")).json()


async def _new(desk: Desk, known: set[str]) -> Any:
    return next((each for id, each in (await _history(desk)).items() if id not in known), None)


async def test_a_graph_is_deployed_again_only_as_what_is_new(panel_desk: Desk) -> None:
    desk = panel_desk
    empty, _, _ = await _draw(desk, "EmptyImage", "ImageInvert", "SaveImage")
    await desk.show("deploy")
    await desk.panel.get_by_label("Name of the workflow").fill(HOSTILE)
    await desk.panel.get_by_role("combobox", name="Environment").select_option("staging")
    await desk.panel.get_by_label("Comment on this version").fill("first light")
    await _deploy(desk)

    made = (await _deployments(desk, HOSTILE))["staging"]
    assert await desk.page.evaluate(REMEMBERED) == {"workflow_id": made.workflow_id, "version": 1}
    assert (await desk.saved())["extra"]["outpost"]["connection"] == load_connection({}, desk.settings).id
    [version] = await desk.client.workflows.versions(str(made.workflow_id))
    assert (version.comment, version.id) == ("first light", made.workflow_version_id)
    kept = await desk.client.workflows.version(str(made.workflow_id), 1)
    assert kept.workflow_api == await desk.prompt()

    # As it is: another environment runs the same version.
    await desk.panel.get_by_text("unchanged").wait_for()
    await desk.panel.get_by_role("combobox", name="Environment").select_option("production")
    await _deploy(desk)
    assert len(await desk.client.workflows.versions(str(made.workflow_id))) == 1
    assert (await _deployments(desk, HOSTILE))["production"].workflow_version_id == version.id

    # Another graph is a new version; it replaces the first one.
    await desk.set(empty, width=64)
    await desk.rest()
    await desk.panel.get_by_text("Version 2 of").wait_for()
    await _deploy(desk)
    versions = await desk.client.workflows.versions(str(made.workflow_id))
    assert [each.version for each in versions] == [2, 1]
    now = await _deployments(desk, HOSTILE)
    assert (now["production"].workflow_version_id, now["staging"].workflow_version_id) == (versions[0].id, version.id)
    assert await desk.page.evaluate("() => window.pwned") is None

    # The calls have what is needed, and a node can run it.
    await desk.panel.get_by_role("button", name="Python client").click()
    calls = await desk.panel.locator("pre").inner_text()
    assert str(now["production"].id) in calls
    assert desk.server.connection.base_url in calls
    assert "PLATFORM_API_KEY" in calls
    await _button(desk, "Put a node on the canvas").click()
    await desk.until(COUNT, 4)
    chosen = "() => app.graph.nodes.find((each) => each.comfyClass === 'OutpostRunDeployment').widgets[0].value"
    assert await desk.page.evaluate(chosen) == now["production"].id


async def test_a_failure_in_the_middle_is_said_and_nothing_is_done_twice(panel_desk: Desk) -> None:
    desk = panel_desk
    desk.expected += ["Failed to load resource"]
    _, save = await _draw(desk, "EmptyImage", "SaveImage")
    await desk.page.evaluate("() => { delete app.graph.extra.outpost; }")
    failures = 1

    async def break_off(route: Route) -> None:
        nonlocal failures
        if route.request.method == "POST" and failures:
            failures -= 1
            await route.fetch()  # it arrives, and its answer is lost
            await route.abort()
        else:
            await route.continue_()

    await desk.page.route("**/outpost/deployments", break_off)
    await desk.show("deploy")
    await desk.panel.get_by_text(f"SaveImage {save}", exact=True).wait_for()  # it has no name of its own
    await desk.panel.get_by_label("Name of the workflow").fill("Broken off")
    await _button(desk, "Deploy").click()
    await desk.panel.get_by_text("ComfyUI does not answer.").wait_for()
    await desk.panel.get_by_text("Version 1 is kept.").wait_for()
    await _button(desk, "Try again").click()
    await _runs(desk, "Broken off")
    await desk.page.unroute("**/outpost/deployments")

    [workflow] = [each for each in await desk.client.workflows.list() if each.name == "Broken off"]
    assert len(await desk.client.workflows.versions(workflow.id)) == 1
    assert len([each for each in await desk.client.deployments.list() if each.workflow_id == workflow.id]) == 1


async def test_only_the_graph_that_was_deployed_is_marked_as_what_it_became(panel_desk: Desk) -> None:
    desk = panel_desk
    empty, *_ = await _draw(desk, "EmptyImage", "ImageInvert", "SaveImage")
    await desk.page.evaluate(FORGET)
    deployed, another = await desk.prompt(), await desk.saved()
    has_arrived, may_go_on = asyncio.Event(), asyncio.Event()

    async def hold(route: Route) -> None:
        if route.request.method == "POST":
            has_arrived.set()
            await may_go_on.wait()
        await route.continue_()

    await desk.page.route("**/outpost/workflows", hold)
    await desk.show("deploy")
    await desk.panel.get_by_label("Name of the workflow").fill("Held")
    await _button(desk, "Deploy").click()
    async with asyncio.timeout(20):
        await has_arrived.wait()
    await desk.page.evaluate(OPEN_ANOTHER, json.dumps(another))
    await desk.set(empty, width=32)
    may_go_on.set()
    await desk.panel.get_by_text("Another graph is open by now").wait_for()
    await _runs(desk, "Held")
    await desk.page.unroute("**/outpost/workflows")

    assert await desk.page.evaluate(REMEMBERED) is None
    [held] = (await _deployments(desk, "Held")).values()
    assert (await desk.client.workflows.version(str(held.workflow_id), 1)).workflow_api == deployed

    # The other one becomes a workflow of its own.
    await desk.panel.get_by_label("Name of the workflow").fill("Another")
    await _button(desk, "Deploy").click()
    await _runs(desk, "Another")
    assert len(await desk.client.workflows.versions(str(held.workflow_id))) == 1
    [other] = (await _deployments(desk, "Another")).values()
    assert await desk.page.evaluate(REMEMBERED) == {"workflow_id": other.workflow_id, "version": 1}


async def test_what_was_deployed_is_told_of_its_own_graph_only(panel_desk: Desk) -> None:
    desk = panel_desk
    empty, *_ = await _draw(desk, "EmptyImage", "SaveImage")
    await desk.page.evaluate(FORGET)
    another = await desk.saved()
    await desk.show("deploy")
    await desk.panel.get_by_label("Name of the workflow").fill("Told once")
    await _deploy(desk)
    await _runs(desk, "Told once")

    await desk.page.evaluate(OPEN_THIRD, json.dumps(another))
    await desk.set(empty, width=48)
    await desk.panel.get_by_text("It is in ").wait_for(state="detached")
    await desk.panel.get_by_text("“Told once” runs").wait_for(state="detached")
    await expect(_button(desk, "Deploy")).to_be_enabled()


async def test_a_machine_that_is_asleep_is_not_started_by_looking_at_it(panel_desk: Desk) -> None:
    desk = panel_desk
    asked = list[str]()

    async def asleep(route: Route) -> None:
        answer = await route.fetch()
        told = await answer.json()
        for machine in told["machines"]:
            machine |= {"kind": "managed", "status": "ready", "processes": 0}
        await route.fulfill(response=answer, json=told)

    desk.page.on("request", lambda sent: asked.append(sent.url))
    await desk.page.route("**/outpost/machines", asleep)
    await _draw(desk, "EmptyImage", "SaveImage")
    await desk.show("machines")
    await desk.show("deploy")
    await desk.panel.get_by_text("It is asleep. What it lacks for this graph is found out").wait_for()
    await desk.page.unroute("**/outpost/machines")
    assert not [url for url in asked if url.endswith("/check")]


async def test_what_the_graph_itself_lacks_is_not_put_down_to_the_machine(panel_desk: Desk) -> None:
    desk = panel_desk
    save = await desk.add("SaveImage")
    await desk.rest()
    message = f"node {save} (SaveImage): the input 'images' is missing, and the node cannot do without it"
    lack = {"kind": "required_input", "node_id": save, "node_class": "SaveImage", "input_name": "images", "value": None}
    verdict = {"is_known": True, "reason": None, "lacks": [{**lack, "near": [], "message": message}]}
    await desk.page.route("**/check", lambda route: route.fulfill(json=verdict))  # as a real ComfyUI says it
    await desk.show("machines")
    await desk.show("deploy")
    await desk.panel.get_by_text("This graph is not complete").wait_for()
    await desk.panel.get_by_text("Connect something to “images” of Save Image").wait_for()
    assert await desk.panel.get_by_text("is missing", exact=False).filter(visible=True).count() == 0
    button = _button(desk, "Show the node")
    before = await button.bounding_box()
    await desk.panel.get_by_text("Details", exact=True).click()
    await desk.panel.get_by_text(message).wait_for()
    after = await button.bounding_box()
    assert before and after
    assert (after["width"], after["height"]) == (before["width"], before["height"])

    await _button(desk, "Deploy").click()
    dialog = desk.page.get_by_role("dialog")
    await dialog.get_by_role("heading", name="This graph is not complete").wait_for()
    await dialog.get_by_role("button", name="Cancel").click()
    await desk.page.unroute("**/check")


async def test_what_a_machine_lacks_is_named_and_only_a_second_yes_deploys_it(panel_desk: Desk) -> None:
    desk = panel_desk
    await _draw(desk, "EmptyImage", "LatentBlend", "SaveImage")
    await desk.page.evaluate("() => { delete app.graph.extra.outpost; }")
    await desk.show("deploy")
    await desk.panel.get_by_label("Name of the workflow").fill("Lacking")
    await desk.panel.get_by_text("LatentBlend").first.wait_for()
    await _button(desk, "Deploy").click()
    dialog = desk.page.get_by_role("dialog")
    await dialog.get_by_text("LatentBlend").first.wait_for()
    await dialog.get_by_role("button", name="Cancel").click()
    assert await _deployments(desk, "Lacking") == {}
    await _button(desk, "Deploy").click()
    await dialog.get_by_role("button", name="Deploy anyway").click()
    await _runs(desk, "Lacking")
    assert await _deployments(desk, "Lacking") != {}


async def test_a_graph_that_is_opened_is_seen_also_where_the_page_tells_of_no_change(panel_desk: Desk) -> None:
    desk = panel_desk
    await desk.hide()
    await desk.page.evaluate(KEEP_QUIET)
    await desk.show("deploy")
    await desk.panel.get_by_text("There is nothing to execute in this graph.").wait_for()
    await desk.load(UNKNOWN)
    await desk.panel.get_by_text("1 thing is missing").wait_for()
    await desk.page.evaluate("() => app.api.removeEventListener('graphChanged', window.keepQuiet)")


async def test_an_empty_graph_is_not_deployed_and_a_node_that_is_nowhere_is_named(panel_desk: Desk) -> None:
    desk = panel_desk
    await desk.show("machines")
    await desk.show("deploy")
    await desk.panel.get_by_text("There is nothing to execute in this graph.").wait_for()
    await expect(_button(desk, "Deploy")).to_be_disabled()
    await desk.load(UNKNOWN)
    await desk.panel.get_by_text("1 thing is missing").wait_for()
    assert await desk.panel.locator(".outpost-lack b").all_inner_texts() == ["NobodyHasThis"]
    await _button(desk, "Show the node").click()
    assert await desk.page.evaluate(SELECTED) == ["NobodyHasThis"]

    await desk.panel.get_by_label("Name of the workflow").fill("Foreign")
    await _button(desk, "Deploy").click()
    dialog = desk.page.get_by_role("dialog")
    await dialog.get_by_text("NobodyHasThis", exact=True).wait_for()
    await dialog.get_by_role("button", name="Deploy anyway").click()
    await _runs(desk, "Foreign")
    [made] = (await _deployments(desk, "Foreign")).values()
    kept = (await desk.client.workflows.version(str(made.workflow_id), 1)).workflow_api or {}
    assert {node["class_type"] for node in kept.values()} == {"NobodyHasThis", "SaveImage"}
    await desk.hide()


async def _choose(desk: Desk, deployment: Deployment, entry: str) -> Locator:
    await desk.show("deployments", deployment_id=deployment.id)
    await desk.panel.get_by_role("button", name="More for").click()
    await desk.panel.get_by_role("menuitem", name=entry).click()
    return desk.page.get_by_role("dialog")


async def test_a_deployment_is_promoted_rolled_back_put_to_rest_and_deleted(panel_desk: Desk) -> None:
    desk = panel_desk
    desk.expected.append("status of 422")
    empty, *_ = await _draw(desk, "EmptyImage", "SaveImage")
    await desk.page.evaluate("() => { delete app.graph.extra.outpost; }")
    await desk.show("deploy")
    await desk.panel.get_by_label("Name of the workflow").fill("Portraits")
    await desk.panel.get_by_role("combobox", name="Environment").select_option("staging")
    await _deploy(desk)
    await desk.set(empty, width=48)
    await desk.rest()
    await desk.panel.get_by_text("Version 2 of").wait_for()
    await _deploy(desk)
    staging = (await _deployments(desk, "Portraits"))["staging"]
    versions = await desk.client.workflows.versions(str(staging.workflow_id))

    dialog = await _choose(desk, staging, "Promote")
    await dialog.get_by_text("Nothing is deployed in “production” yet.").wait_for()
    await dialog.get_by_role("button", name="Promote").click()
    await desk.panel.get_by_text("Portraits runs version 2 in production now.").wait_for()
    production = (await _deployments(desk, "Portraits"))["production"]
    assert production.workflow_version_id == versions[0].id

    dialog = await _choose(desk, staging, "Roll back")
    await dialog.get_by_role("radio", name="Version 1").check()
    await dialog.get_by_role("button", name="Roll back").click()
    await desk.panel.get_by_text("Portraits runs version 1 again.").wait_for()
    now = await _deployments(desk, "Portraits")
    assert now["staging"].workflow_version_id == versions[1].id
    assert now["production"].workflow_version_id == versions[0].id

    await _change(desk, staging, versions)

    await _choose(desk, staging, "Deactivate")
    await desk.panel.get_by_text("not active").wait_for()
    assert (await desk.client.deployments.get(staging.id)).is_active is False

    await desk.show("deployments")
    await desk.panel.get_by_label("Search deployments").fill("portraits stag")
    row = desk.panel.get_by_role("button", name="Portraits", exact=False).first
    for undo in (True, False):
        await desk.panel.get_by_role("button", name="More for Portraits · staging").click()
        await desk.panel.get_by_role("menuitem", name="Delete").click()
        await row.wait_for(state="detached")
        if undo:
            await _button(desk, "Undo").click()
            await row.wait_for()
    await desk.hide()
    await _until(lambda: _is_gone(desk, staging.id))
    assert production.id in {each.id for each in await desk.client.deployments.list()}


async def _change(desk: Desk, deployment: Deployment, versions: list[WorkflowVersion]) -> None:
    """Let a deployment run another version on another machine, and then one that the machine cannot execute."""
    client, panel = desk.client, desk.panel
    other = await client.machines.create("Elsewhere", "builtin")
    lacking = {"1": {"class_type": "LatentBlend", "inputs": {}}}
    newest = await client.workflows.add_version(str(deployment.workflow_id), {"nodes": []}, workflow_api=lacking)

    async def now() -> tuple[str | None, str | None]:
        found = await client.deployments.get(deployment.id)
        return found.workflow_version_id, found.machine_id

    dialog = await _choose(desk, deployment, "Change version or machine")
    save = dialog.get_by_role("button", name="Save")
    await expect(save).to_be_disabled()  # nothing is changed yet
    await dialog.get_by_role("combobox", name="Version").select_option(versions[0].id)
    await dialog.get_by_role("combobox", name="Machine").select_option(other.id)
    await save.click()
    await panel.get_by_text("Portraits runs version 2 on Elsewhere now.").wait_for()
    assert await now() == (versions[0].id, other.id)

    await _choose(desk, deployment, "Change version or machine")
    await dialog.get_by_role("combobox", name="Version").select_option(newest.id)
    await save.click()
    await dialog.get_by_role("alert").filter(has_text="LatentBlend").wait_for()
    assert await now() == (versions[0].id, other.id)
    await dialog.get_by_label("Although the machine may lack something for it").check()
    await save.click()
    await panel.get_by_text("Portraits runs version 3 on Elsewhere now.").wait_for()
    assert await now() == (newest.id, other.id)


async def _is_gone(desk: Desk, deployment_id: str) -> bool:
    return deployment_id not in {each.id for each in await desk.client.deployments.list()}


async def test_a_run_is_started_once_from_its_form(panel_desk: Desk) -> None:
    desk = panel_desk
    deployment_id = await _with_inputs(desk)
    await desk.show("run", deployment_id=deployment_id)
    panel, run = desk.panel, _button(desk, "Run")
    await run.click()
    await panel.get_by_text("A value is needed.").wait_for()
    assert await panel.get_by_text("The default is used where nothing is given.").count() == 1
    steps = panel.get_by_role("textbox", name="Radius")
    await steps.fill("")
    await steps.press_sequentially("900")
    await panel.get_by_text("At most 31.").wait_for()
    before = await run.bounding_box()
    await steps.blur()
    assert await run.bounding_box() == before  # what moves at a blur is missed by the click that caused it
    await steps.fill("5")
    await panel.get_by_label("Drop a file here").first.set_input_files(
        {"name": "dusk.png", "mimeType": "image/png", "buffer": contact_sheet.made_up_picture()}
    )
    await panel.get_by_role("button", name="Remove dusk.png").wait_for()
    await panel.locator("canvas.outpost-preview:visible").wait_for()
    await run.click()
    await panel.locator("[data-view=runs]").wait_for()

    runs = await _until(lambda: desk.client.runs.list(deployment_id=deployment_id))
    assert len(runs) == 1
    found = await desk.client.runs.get(runs[0].id)
    assert (found.workflow_inputs or {})["radius"] == 5
    ended = await _until(lambda: _ended(desk, found.id))
    assert ended.status is RunStatus.SUCCESS
    assert not [each for each in desk.sent if desk.server.connection.api_key in each]


async def _ended(desk: Desk, run_id: str) -> Any:
    run = await desk.client.runs.get(run_id)
    return run if run.status.is_terminal else None


async def _with_inputs(desk: Desk) -> str:
    """A deployment that needs a picture and takes a number."""
    number = {"input_id": "radius", "default_value": 3, "min_value": 1, "max_value": 31, "display_name": "Radius"}
    graph = {
        "1": {"class_type": "ComfyUIDeployExternalImage", "inputs": {"input_id": "photo"}},
        "2": {"class_type": "ComfyUIDeployExternalNumberSliderInt", "inputs": number},
        "3": {"class_type": "ImageBlur", "inputs": {"image": ["1", 0], "blur_radius": ["2", 0], "sigma": 1.0}},
        "4": {"class_type": "SaveImage", "inputs": {"images": ["3", 0], "filename_prefix": "x"}},
        "5": {"class_type": "ComfyUIDeployExternalImage", "inputs": {"input_id": "other", "default_value": ["1", 0]}},
    }
    made = await desk.client.workflows.create("Blurred", {"nodes": []}, workflow_api=graph)
    deployment = await desk.client.deployments.create(
        workflow_id=made.workflow_id,
        workflow_version_id=str(made.workflow_version_id),
        machine_id=(await desk.client.machines.list())[0].id,
        check_machine=False,
    )
    return deployment.id
