"""The panel's workflows in a real page: found, changed, opened and compared as somebody does who sits at it."""

from __future__ import annotations

import copy
from collections.abc import AsyncGenerator
from typing import Any

import pytest
import pytest_asyncio
from comfyui_outpost.api.errors import NotFound
from comfyui_outpost.api.server.sample import SAMPLE_NAME, SAMPLE_WORKFLOW, SAMPLE_WORKFLOW_API
from playwright.async_api import Locator, expect

from .desk import CHROMIUM, Desk

pytestmark = [
    pytest.mark.asyncio(loop_scope="session"),
    pytest.mark.skipif(CHROMIUM is None, reason="there is no Chromium on this computer: apt install chromium"),
]
HOSTILE = '<img src=x onerror="window.pwned = 1">'
DRAWN = {
    "last_node_id": 2,
    "last_link_id": 1,
    "nodes": [
        {
            "id": 1,
            "type": "EmptyImage",
            "pos": [100, 100],
            "size": [300, 130],
            "order": 0,
            "mode": 0,
            "flags": {},
            "inputs": [],
            "outputs": [{"name": "IMAGE", "type": "IMAGE", "links": [1]}],
            "properties": {},
            "widgets_values": [64, 64, 1, 255],
        },
        {
            "id": 2,
            "type": "SaveImage",
            "pos": [500, 100],
            "size": [300, 200],
            "order": 1,
            "mode": 0,
            "flags": {},
            "inputs": [{"name": "images", "type": "IMAGE", "link": 1}],
            "outputs": [],
            "properties": {},
            "widgets_values": ["kept"],
            "title": HOSTILE,
        },
    ],
    "links": [[1, 1, 0, 2, 0, "IMAGE"]],
    "groups": [],
    "config": {},
    "extra": {},
    "version": 0.4,
}
EXECUTED = {
    "1": {"class_type": "EmptyImage", "inputs": {"width": 64, "height": 64, "batch_size": 1, "color": 255}},
    "2": {"class_type": "SaveImage", "inputs": {"images": ["1", 0], "filename_prefix": "kept"}},
}
SELECTED = "() => Object.values(app.canvas.selected_nodes ?? {}).map((node) => node.type)"
REMEMBERED = """
() => { const { workflow_id, version } = (app.rootGraph ?? app.graph).extra.outpost ?? {};
        return workflow_id ? { workflow_id, version } : null; }
"""
TABS = "() => app.extensionManager.workflow.openWorkflows.map((each) => each.filename)"
TELL = """
(event) => document.querySelector("outpost-panel").state.panel.feed.tell("changed", event)
"""


@pytest_asyncio.fixture(loop_scope="session")
async def desk(panel_desk: Desk) -> AsyncGenerator[Desk, None]:
    """A desk whose account has no workflow."""
    for each in await panel_desk.client.workflows.list():
        await panel_desk.client.workflows.delete(each.id)
    yield panel_desk
    await panel_desk.page.evaluate("() => document.querySelector('outpost-panel')?.state.panel.kept.clear()")
    await panel_desk.show("workflows")  # where it opens again: what was shown is deleted then
    await panel_desk.hide()


def rows(desk: Desk) -> Locator:
    return desk.panel.get_by_role("list", name="Workflows").locator("[data-main]")


async def choose(desk: Desk, name: str, entry: str) -> None:
    """Do something by the menu of a workflow."""
    await desk.panel.get_by_role("button", name=f"More for {name}", exact=True).click()
    await desk.panel.get_by_role("menuitem", name=entry, exact=True).click()


async def answer(desk: Desk, label: str, text: str) -> None:
    """Type into the field of a dialog, and save."""
    await desk.page.get_by_role("dialog").get_by_label(label).fill(text)
    await desk.page.get_by_role("dialog").get_by_role("button", name="Save").click()


async def keep(desk: Desk, name: str, *comments: str, drawn: Any = DRAWN) -> str:
    """A workflow with a version for each comment after the first."""
    made = await desk.client.workflows.create(name, drawn, workflow_api=EXECUTED)
    for number, comment in enumerate(comments):
        executed = copy.deepcopy(EXECUTED)
        executed["1"]["inputs"]["width"] = 128 + number
        await desk.client.workflows.add_version(made.workflow_id, drawn, workflow_api=executed, comment=comment)
    return made.workflow_id


async def test_workflows_are_found_and_changed(desk: Desk) -> None:
    await desk.show("workflows")
    await desk.panel.get_by_text("No workflows yet").wait_for()
    portrait, hostile = await keep(desk, "Portrait"), await keep(desk, HOSTILE)
    await keep(desk, "Landscape")
    await desk.page.evaluate(TELL, {"kind": "workflow"})
    await expect(rows(desk)).to_have_count(3)
    await desk.panel.get_by_text(HOSTILE, exact=True).wait_for()

    search = desk.panel.get_by_role("searchbox")
    await search.fill("ORTR")
    await expect(rows(desk)).to_have_count(1)
    await choose(desk, "Portrait", "Rename")
    await answer(desk, "Name", "Portrait of a cat")
    await desk.panel.get_by_role("button", name="More for Portrait of a cat").wait_for()
    await choose(desk, "Portrait of a cat", "Describe")
    await answer(desk, "Description", "Soft light.\nFor the cover.")
    await choose(desk, "Portrait of a cat", "Clone")
    await answer(desk, "Name", "Portrait of a dog")
    await expect(rows(desk)).to_have_count(2)
    await search.fill("no such name")
    await desk.panel.get_by_role("button", name="Show all workflows").click()
    await expect(rows(desk)).to_have_count(4)
    await choose(desk, HOSTILE, "Pin to the top")
    await expect(rows(desk).first).to_contain_text(HOSTILE)
    await desk.panel.get_by_role("img", name="Pinned").wait_for()

    changed = await desk.client.workflows.get(portrait)
    assert (changed.name, changed.description) == ("Portrait of a cat", "Soft light.\nFor the cover.")
    assert (await desk.client.workflows.get(hostile)).pinned is True
    assert await desk.page.evaluate("() => window.pwned") is None


async def test_what_is_deleted_can_be_brought_back_for_a_while(desk: Desk) -> None:
    kept, gone = await keep(desk, "Kept"), await keep(desk, "Gone")
    await desk.show("workflows")
    await choose(desk, "Kept", "Delete")
    await expect(rows(desk)).to_have_count(1)
    assert (await desk.client.workflows.get(kept)).name == "Kept"
    await desk.panel.get_by_role("button", name="Undo").click()
    await expect(rows(desk)).to_have_count(2)

    await desk.show("workflows", workflow_id=gone)
    await choose(desk, "Gone", "Delete")
    await expect(rows(desk)).to_have_count(1)  # that of the list, where one comes back to
    async with desk.page.expect_response(lambda response: response.request.method == "DELETE"):
        await desk.hide()
    with pytest.raises(NotFound):
        await desk.client.workflows.get(gone)
    assert (await desk.client.workflows.get(kept)).name == "Kept"


async def test_all_of_it_is_reached_by_keys_and_the_search_stays(desk: Desk) -> None:
    for name in ("alpha 1", "alpha 2", "beta"):
        await keep(desk, name)
    await desk.show("workflows")
    await desk.panel.get_by_role("searchbox").fill("alpha")
    await expect(rows(desk)).to_have_count(2)
    await rows(desk).first.focus()
    await desk.page.keyboard.press("ArrowDown")
    await expect(rows(desk).nth(1)).to_be_focused()
    await desk.page.keyboard.press("Enter")
    await desk.panel.get_by_role("heading", name="alpha 1").wait_for()
    await desk.panel.get_by_role("button", name="Back").click()
    await expect(desk.panel.get_by_role("searchbox")).to_have_value("alpha")
    await expect(rows(desk)).to_have_count(2)


async def test_a_version_is_opened_and_compared_with_what_is_open(desk: Desk) -> None:
    workflow_id = await keep(desk, f"Portrait {HOSTILE}", "Wider", f"{HOSTILE} " * 240)
    desk.sent.clear()
    await desk.show("workflows", workflow_id=workflow_id)
    version = desk.panel.get_by_role("listitem").filter(has_text="v1")
    await version.get_by_role("button").first.click()
    tabs = await desk.page.evaluate(TABS)
    await version.get_by_role("button", name="Open in a new tab").click()
    await desk.until("() => (app.rootGraph ?? app.graph).extra?.outpost?.version === 1")
    assert await desk.page.evaluate(REMEMBERED) == {"workflow_id": workflow_id, "version": 1}
    assert len(await desk.page.evaluate(TABS)) == len(tabs) + 1
    await version.get_by_text("in the open tab").wait_for()

    await version.get_by_role("button", name="Compare").click()
    await desk.panel.get_by_text("The open graph and version 1 are equal.").wait_for()
    await desk.set("1", width=72)
    await desk.add("PreviewImage", 900)
    await desk.connect("1", 0, "3", "images")
    await desk.panel.get_by_role("button", name="Compare again").click()
    await desk.panel.get_by_text("1 added, 0 removed, 1 changed, 1 the same").wait_for()
    changed = desk.panel.get_by_role("listitem").filter(has_text="EmptyImage #1")
    assert [text.split()[-1] for text in await changed.locator("dd").all_inner_texts()] == ["64", "72"]
    await changed.get_by_role("button").click()
    assert await desk.page.evaluate(SELECTED) == ["EmptyImage"]

    await desk.show("workflows", workflow_id=workflow_id, compare=3)
    await desk.panel.get_by_text("129", exact=True).wait_for()
    assert await desk.page.evaluate("() => window.pwned") is None
    assert not [sent for sent in desk.sent if sent.startswith("POST") and "/prompt" in sent.split()[1]]


async def test_a_graph_takes_no_other_ones_place(desk: Desk) -> None:
    workflow_id = await keep(desk, "../Same: name", drawn={"nodes": []})
    await desk.show("workflows", workflow_id=workflow_id)
    for name in ("_Same_ name v1", "_Same_ name v1 (2)"):
        await desk.panel.get_by_role("button", name="Open in a new tab").first.click()
        await desk.until(
            "(name) => app.extensionManager.workflow.activeWorkflow.filename === name && app.graph._nodes.length === 2",
            name,
        )
        await desk.set("1", width=80)
    assert await desk.page.evaluate(REMEMBERED) == {"workflow_id": workflow_id, "version": 1}


def inputs_of(prompt: dict[str, Any]) -> dict[str, Any]:
    """The class and the inputs of each node, links among them."""
    return {number: (each["class_type"], each["inputs"]) for number, each in prompt.items()}


async def test_the_sample_of_every_platform_is_opened_and_compared_without_a_loss(desk: Desk) -> None:
    made = await desk.client.workflows.create(SAMPLE_NAME, SAMPLE_WORKFLOW, workflow_api=SAMPLE_WORKFLOW_API)
    await desk.show("workflows", workflow_id=made.workflow_id)
    await desk.panel.get_by_role("button", name="Open in a new tab").first.click()
    await desk.until("(id) => (app.rootGraph ?? app.graph).extra?.outpost?.workflow_id === id", made.workflow_id)
    assert inputs_of(await desk.prompt()) == inputs_of(SAMPLE_WORKFLOW_API)

    await desk.show("workflows", workflow_id=made.workflow_id, compare=1)
    await desk.panel.get_by_text("The open graph and version 1 are equal.").wait_for()
    await expect(desk.panel.get_by_role("alert")).to_have_count(0)
    assert not await desk.page.evaluate("() => app.extensionManager.workflow.activeWorkflow.isModified")


async def test_what_the_page_loses_of_a_version_without_an_editors_graph_is_named(desk: Desk) -> None:
    number = {"input_id": "blur", "default_value": 2, "min_value": 0}
    kept = {
        "1": EXECUTED["1"],
        "2": {"class_type": "ComfyUIDeployExternalNumber", "inputs": number},
        "3": {"class_type": "ImageBlur", "inputs": {"image": ["1", 0], "blur_radius": ["2", 0], "sigma": 1}},
        "4": {"class_type": "SaveImage", "inputs": {"images": ["3", 0], "filename_prefix": "x", "output_id": "soft"}},
    }
    made = await desk.client.workflows.create("Softened", {"nodes": []}, workflow_api=kept)
    await desk.show("workflows", workflow_id=made.workflow_id)
    await desk.panel.get_by_role("button", name="Open in a new tab").first.click()
    told = desk.panel.get_by_role("alert")
    await told.filter(has_text="could not take over all of it. Lost: ").wait_for()
    titles = await desk.page.evaluate("() => Object.fromEntries(app.graph._nodes.map((each) => [each.id, each.title]))")
    names = [("min_value", "2"), ("blur_radius", "3"), ("output_id", "4")]
    await expect(told).to_contain_text(f"Lost: {', '.join(f'{name} of {titles[node]}' for name, node in names)}.")
    await expect(told).to_have_count(1)
    assert (await desk.prompt())["3"]["inputs"] == {"image": ["1", 0], "blur_radius": 1, "sigma": 1}
    await told.get_by_role("button", name="Close").click()

    whole = await keep(desk, "Whole", drawn={"nodes": []})
    await desk.show("workflows", workflow_id=whole)
    await desk.panel.get_by_role("button", name="Open in a new tab").first.click()
    await desk.panel.get_by_text("in the open tab").wait_for()
    await expect(told).to_have_count(0)


async def test_what_cannot_be_read_is_told_and_asked_for_again(desk: Desk) -> None:
    await keep(desk, "There it is")
    desk.expected += ["503"]

    async def refuse(route: Any) -> None:
        await route.fulfill(status=503, json={"detail": "The platform sleeps.", "code": "unavailable"})

    await desk.page.route("**/outpost/workflows?*", refuse)
    await desk.show("workflows")
    await desk.panel.get_by_role("alert").filter(has_text="The platform sleeps.").wait_for()
    await desk.page.unroute("**/outpost/workflows?*")
    await desk.panel.get_by_role("button", name="Try again").click()
    await expect(rows(desk)).to_have_count(1)


IS_BESIDE = """
() => { const { ds, canvas } = app.canvas, box = canvas.getBoundingClientRect();
        const panel = document.querySelector("outpost-panel").getBoundingClientRect();
        return app.graph._nodes.length === 2 && app.graph._nodes.every(({ pos, size }) => {
            const at = (axis, more = 0) => (pos[axis] + more + ds.offset[axis]) * ds.scale;
            return box.left + at(0) >= panel.right && at(0, size[0]) <= box.width
                && at(1, -30) >= 0 && at(1, size[1]) <= box.height; }); }
"""


@pytest.mark.parametrize("drawn", [{**DRAWN, "extra": {"ds": {"scale": 1, "offset": [-60, 0]}}}, DRAWN, {"nodes": []}])
async def test_a_graph_that_is_opened_is_beside_the_panel(desk: Desk, drawn: dict[str, Any]) -> None:
    workflow_id = await keep(desk, "Portrait", drawn=drawn)
    await desk.show("workflows", workflow_id=workflow_id)
    await desk.panel.get_by_role("button", name="Open in a new tab").first.click()
    await desk.until("(id) => (app.rootGraph ?? app.graph).extra?.outpost?.workflow_id === id", workflow_id)
    await desk.until(IS_BESIDE)
