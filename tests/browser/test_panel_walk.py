"""One way through the whole panel, as somebody goes it: from a graph to production, back, and away again."""

from __future__ import annotations

import asyncio
import io
import re
import wave
from collections.abc import AsyncGenerator, Awaitable, Callable
from typing import TypeVar

import pytest
import pytest_asyncio
from comfyui_outpost.api.models import Deployment, RunStatus
from comfyui_outpost.nodes import contact_sheet
from comfyui_outpost.tests.bench.server import deploy
from comfyui_outpost.tests.comfyui.conftest import INSTALLATIONS
from comfyui_outpost.tests.comfyui.installations import PYPI_VERSION
from comfyui_outpost.tests.comfyui.instance import Outcome, read_outcome
from comfyui_outpost.tests.comfyui.lane import external, node
from comfyui_outpost.tests.server.process import Launch
from playwright.async_api import FilePayload, expect

from .desk import CHROMIUM, Desk, open_desk

pytestmark = [
    pytest.mark.asyncio(loop_scope="session"),
    pytest.mark.skipif(CHROMIUM is None, reason="there is no Chromium on this computer: apt install chromium"),
]
OTHERS = [pytest.param(each, id=each.name) for each in INSTALLATIONS if each.version != PYPI_VERSION]
"""The oldest one's own page has no sidebar."""
NO_OTHER = pytest.param(None, id="none", marks=pytest.mark.skip(reason="no ComfyUI was found whose page has a sidebar"))
T = TypeVar("T")
NAME = "Walked"
# What the page's own menu of a node has for this package, by the text of its entries.
EXPOSE = """
([id, widget]) => { const node = app.graph.getNodeById(id);
    const entries = app.collectNodeMenuItems?.(node) ?? app.canvas.getNodeMenuOptions(node);
    const [entry] = entries.filter((each) => each?.content === "Expose as input");
    entry.submenu.options.find((each) => each.content === widget).callback(); }
"""
REMEMBERED = """
() => { const { workflow_id, version } = (app.rootGraph ?? app.graph).extra.outpost ?? {};
        return workflow_id ? { workflow_id, version } : null; }
"""
HAS_ASSET = """
(id) => app.graph._nodes.some((node) => node.type === "OutpostLoadAsset"
                              && node.widgets.find((each) => each.name === "asset_id").value === id)
"""
EVERY_KIND = {
    "1": node("EmptyImage", width=64, height=64, batch_size=4, color=255),
    "2": node("CreateVideo", images=["1", 0], fps=4.0),
    "3": node("SaveVideo", video=["2", 0], filename_prefix="film", format="mp4", codec="h264"),
    "4": node("LoadAudio", audio="tone.wav"),
    "5": node("SaveAudio", audio=["4", 0], filename_prefix="sound"),
    "6": external("Text", "words", default_value="hello"),
    "7": node("PreviewAny", source=["6", 0]),
}
PLACED = "() => app.graph._nodes.map((node) => [String(node.id), node.comfyClass, node.widgets[0].value])"
STORED = """
async () => { const databases = await indexedDB.databases?.() ?? [];
    return [JSON.stringify({ ...localStorage }), JSON.stringify({ ...sessionStorage }), JSON.stringify(databases),
            document.documentElement.outerHTML]; }
"""


@pytest_asyncio.fixture(scope="module", loop_scope="session", params=OTHERS or [NO_OTHER])
async def own_desk(
    request: pytest.FixtureRequest, launch: Launch, tmp_path_factory: pytest.TempPathFactory
) -> AsyncGenerator[Desk, None]:
    """A desk in the page that came with a ComfyUI."""
    async with open_desk(request.param, tmp_path_factory.mktemp("desk"), has_own_page=True, launch=launch) as desk:
        await desk.clear()
        yield desk
    assert desk.complaints() == []


async def test_a_graph_goes_to_production_is_rolled_back_and_deleted(desk: Desk) -> None:
    await _walk(desk)


async def test_it_goes_the_same_way_in_the_page_that_came_with_its_comfyui(own_desk: Desk) -> None:
    await _walk(own_desk)


async def test_outputs_of_every_kind_come_to_the_canvas_and_are_executed_from_there(own_desk: Desk) -> None:
    desk, client = own_desk, own_desk.client
    await desk.clear()
    (desk.comfyui.workspace / "input" / "tone.wav").write_bytes(_tone())
    here = await client.machines.create_custom("Here", desk.comfyui.url)
    run = await client.runs.queue(await deploy(client, EVERY_KIND, machine_id=here.id), {})
    await client.runs.follow(run)
    await desk.show("runs", run_id=run)
    await desk.panel.get_by_role("button", name="More for").click()
    await desk.panel.get_by_role("menuitem", name="Put the outputs on the canvas").click()
    await desk.panel.get_by_text("3 nodes are on the canvas.").wait_for()

    loaders = {kind: (node_id, value) for node_id, kind, value in await desk.page.evaluate(PLACED)}
    assert set(loaders) == {"LoadVideo", "LoadAudio", "PrimitiveStringMultiline"}
    assert loaders["PrimitiveStringMultiline"][1] == "hello"
    for kind, given, suffix in (("LoadVideo", "SaveVideo", ".mp4"), ("LoadAudio", "SaveAudio", ".flac")):
        loader, file = loaders[kind]
        assert (file[:8], file[-len(suffix) :]) == ("outpost-", suffix)
        assert (desk.comfyui.workspace / "input" / file).stat().st_size > 0
        await desk.connect(loader, 0, await desk.add(given, 900), given.removeprefix("Save").lower())
    shown = await desk.add("PreviewAny", 900)
    await desk.connect(loaders["PrimitiveStringMultiline"][0], 0, shown, "source")
    async with desk.page.expect_response("**/prompt") as answer:
        await desk.queue()
    prompt_id = (await (await answer.value).json())["prompt_id"]
    while not (ended := await desk.comfyui.history(prompt_id)):
        await asyncio.sleep(0.05)
    assert (read_outcome(ended), ended["outputs"][shown]["text"]) == (Outcome.SUCCESS, ["hello"])


def _tone() -> bytes:
    """A second of a sound, as a WAV file."""
    data = io.BytesIO()
    with wave.open(data, "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(8000)
        file.writeframes(b"\0\0\0\x20" * 4000)
    return data.getvalue()


async def _walk(desk: Desk) -> None:
    desk.expected.append("/history")  # of deployments, which not every platform keeps
    empty = await _draw(desk)
    await _expose(desk, empty)
    await _deploy_to_staging(desk)
    await _run_by_the_form(desk, width=96)
    await _promote(desk)
    await _deploy_a_second_version(desk, empty)
    await _roll_back(desk)
    await _change_the_workflow(desk)
    await _clone_the_workflow(desk)
    await _upload_an_asset(desk)
    await _delete(desk)
    await _the_key_is_nowhere(desk)


async def _draw(desk: Desk) -> str:
    """A small graph that any machine can execute; the id of its first node."""
    empty, invert, save = [
        await desk.add(kind, x) for kind, x in (("EmptyImage", 60), ("ImageInvert", 460), ("SaveImage", 860))
    ]
    await desk.connect(empty, 0, invert, "image")
    await desk.connect(invert, 0, save, "images")
    return empty


async def _expose(desk: Desk, node: str) -> None:
    before = (await desk.prompt())[node]["inputs"]["width"]
    await desk.page.evaluate(EXPOSE, [node, "width"])
    prompt = await desk.prompt()
    source = prompt[prompt[node]["inputs"]["width"][0]]
    assert source["class_type"].startswith("ComfyUIDeployExternalNumber")
    assert (source["inputs"]["input_id"], source["inputs"]["default_value"]) == ("width", before)


async def _deploy_to_staging(desk: Desk) -> None:
    await desk.page.keyboard.press("Alt+Shift+Enter")
    view = desk.panel.locator("[data-view=deploy]")
    await view.get_by_role("textbox", name="Name of the workflow").fill(NAME)
    await view.get_by_role("combobox", name="Environment").select_option("staging")
    await view.get_by_role("button", name="Deploy", exact=True).click()
    await expect(view).to_contain_text("runs version 1 in staging", timeout=60_000)

    [deployment] = await _deployments(desk)
    workflow = await desk.client.workflows.get(deployment.workflow_id)
    assert (deployment.environment, workflow.name) == ("staging", NAME)
    assert await desk.page.evaluate(REMEMBERED) == {"workflow_id": deployment.workflow_id, "version": 1}


async def _run_by_the_form(desk: Desk, *, width: int) -> None:
    await desk.panel.get_by_role("button", name="Run", exact=True).click()
    form = desk.panel.locator("[data-view=run]")
    await form.get_by_role("textbox", name="width").fill(str(width))
    await form.get_by_role("button", name="Run", exact=True).click()
    told = desk.panel.locator("[data-view=runs]").filter(has_text=f"{NAME} · staging")
    await told.get_by_text("Done", exact=True).first.wait_for()

    [deployment] = await _deployments(desk)
    [run] = await desk.client.runs.list(deployment_id=deployment.id)
    await _eventually(lambda: _status(desk, run.id), RunStatus.SUCCESS)
    assert (await desk.client.runs.get(run.id)).workflow_inputs == {"width": width}


async def _status(desk: Desk, run_id: str) -> RunStatus:
    return (await desk.client.runs.get(run_id)).status


async def _promote(desk: Desk) -> None:
    await desk.show("deployments")
    await _choose(desk, "Promote to another environment")
    dialog = desk.page.get_by_role("dialog")
    await dialog.get_by_role("combobox", name="Environment").select_option("production")
    await dialog.get_by_role("button", name="Promote").click()
    await dialog.wait_for(state="detached")

    by_environment = {each.environment: each for each in await _deployments(desk)}
    assert set(by_environment) == {"staging", "production"}
    assert by_environment["production"].workflow_version_id == by_environment["staging"].workflow_version_id


async def _deploy_a_second_version(desk: Desk, node: str) -> None:
    await desk.set(node, height=128)
    await desk.show("deploy")
    view = desk.panel.locator("[data-view=deploy]")
    await view.get_by_text(f"Version 2 of “{NAME}”").wait_for()
    await view.get_by_role("textbox", name="Comment").fill("Higher")
    await view.get_by_role("combobox", name="Environment").select_option("production")
    await view.get_by_role("button", name="Deploy", exact=True).click()
    await view.get_by_text("runs version 2 in production").wait_for()
    production = await _production(desk)
    newest = (await desk.client.workflows.versions(production.workflow_id))[0]
    assert (newest.version, newest.comment, production.workflow_version_id) == (2, "Higher", newest.id)


async def _roll_back(desk: Desk) -> None:
    await desk.show("deployments")
    await _choose(desk, "Roll back", environment="production")
    dialog = desk.page.get_by_role("dialog")
    await dialog.get_by_role("button", name="Roll back").click()
    await dialog.wait_for(state="detached")
    versions = await desk.client.workflows.versions((await _production(desk)).workflow_id)
    assert (await _production(desk)).workflow_version_id == versions[1].id


async def _change_the_workflow(desk: Desk) -> None:
    workflow_id = (await _production(desk)).workflow_id
    await desk.show("workflows")
    await _choose(desk, "Pin to the top", name=NAME)
    await _choose(desk, "Rename", name=NAME)
    dialog = desk.page.get_by_role("dialog")
    await dialog.get_by_label("Name").fill(f"{NAME} far")
    await dialog.get_by_role("button", name="Save").click()
    await desk.panel.get_by_role("button", name=f"More for {NAME} far").wait_for()
    changed = await desk.client.workflows.get(workflow_id)
    assert (changed.name, changed.pinned) == (f"{NAME} far", True)

    await desk.show("workflows", workflow_id=workflow_id)
    await desk.panel.get_by_role("button", name="Compare with the open graph").first.click()
    await desk.panel.get_by_text("The open graph and version 2 are equal.").wait_for()


async def _clone_the_workflow(desk: Desk) -> None:
    await desk.show("workflows")
    await _choose(desk, "Clone", name=f"{NAME} far")
    dialog = desk.page.get_by_role("dialog")
    await dialog.get_by_label("Name").fill("Another")
    await dialog.get_by_role("button", name="Save").click()
    await desk.panel.get_by_role("button", name="More for Another").wait_for()
    [clone] = [each for each in await desk.client.workflows.list() if each.name == "Another"]
    await _choose(desk, "Delete", name="Another")
    await desk.panel.get_by_role("button", name="Undo").click()
    await desk.panel.get_by_role("button", name="More for Another").wait_for()
    assert (await desk.client.workflows.get(clone.id)).name == "Another"
    await desk.client.workflows.delete(clone.id)


async def _upload_an_asset(desk: Desk) -> None:
    await desk.show("assets")
    data = contact_sheet.made_up_picture()
    file: FilePayload = {"name": "walked.png", "mimeType": "image/png", "buffer": data}
    await desk.panel.locator("input[type=file]").first.set_input_files(file)
    await desk.panel.get_by_role("button", name="walked.png", exact=True).wait_for()
    [asset] = [each for each in await desk.client.assets.list() if each.name == "walked.png"]
    assert asset.file_size == len(data)
    await _choose(desk, "Put on the canvas", name="walked.png")
    await desk.until(HAS_ASSET, asset.id)
    await _choose(desk, "Delete", name="walked.png")
    await desk.hide()

    async def there() -> list[str]:
        return [each.id for each in await desk.client.assets.list() if each.id == asset.id]

    await _eventually(there, [])


async def _delete(desk: Desk) -> None:
    workflow_id = (await _production(desk)).workflow_id
    await desk.show("deployments")
    await _choose(desk, "Delete", environment="staging")
    await desk.panel.get_by_role("button", name="Undo").click()
    await _choose(desk, "Delete", environment="staging")
    await _choose(desk, "Delete", environment="production")
    await desk.hide()
    await _eventually(lambda: _deployments(desk), [])
    await desk.show("workflows")
    await _choose(desk, "Delete", name=f"{NAME} far")
    await desk.hide()

    async def there() -> list[str]:
        return [each.id for each in await desk.client.workflows.list() if each.id == workflow_id]

    await _eventually(there, [])


async def _the_key_is_nowhere(desk: Desk) -> None:
    key = desk.server.connection.api_key
    seen = [*desk.sent, *desk.console, *await desk.page.evaluate(STORED)]
    assert [each[:200] for each in seen if key in each] == []


async def _choose(desk: Desk, entry: str, *, name: str = NAME, environment: str = "") -> None:
    """Do something by the menu of a row."""
    called = re.compile(f"^More for {name}.*{environment}$")
    await desk.panel.get_by_role("button", name=called).first.click()
    await desk.panel.get_by_role("menuitem", name=entry, exact=True).click()


async def _deployments(desk: Desk) -> list[Deployment]:
    """Those of this walk: the account comes with one."""
    return [
        each for each in await desk.client.deployments.list() if each.workflow and each.workflow.name.startswith(NAME)
    ]


async def _production(desk: Desk) -> Deployment:
    [found] = [each for each in await _deployments(desk) if each.environment == "production"]
    return found


async def _eventually(ask: Callable[[], Awaitable[T]], wanted: T) -> None:
    """What was asked for by the page takes a moment to be done."""
    for _ in range(100):
        if await ask() == wanted:
            return
        await asyncio.sleep(0.1)
    assert await ask() == wanted
