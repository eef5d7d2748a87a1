"""Machines and the library in the panel, as somebody at the page uses them, and what the platform then has."""

from __future__ import annotations

import asyncio
import re
import shutil
from pathlib import Path
from typing import Any

import pytest
from comfyui_outpost.api.client import Client
from comfyui_outpost.api.errors import RunFailed
from comfyui_outpost.api.settings import Connection
from comfyui_outpost.tests.bench.server import deploy
from comfyui_outpost.tests.comfyui.lane import node
from comfyui_outpost.tests.fakes import comfyui_main
from playwright.async_api import Locator, Route, expect

from .desk import CHROMIUM, Desk, connected
from .forms import HOSTILE

pytestmark = [
    pytest.mark.asyncio(loop_scope="session"),
    pytest.mark.skipif(CHROMIUM is None, reason="there is no Chromium on this computer: apt install chromium"),
]
CHANGED = "(kind) => document.querySelector('outpost-panel').state.panel.feed.tell('changed', { kind })"
NODES = "() => app.graph._nodes.map((node) => [node.type, node.widgets[0].value])"


async def _names(desk: Desk) -> set[str]:
    return {each.name for each in await desk.client.machines.list()}


async def _choose(desk: Desk, name: str, deed: str) -> None:
    """Choose an entry of the menu of something."""
    await desk.panel.get_by_role("button", name=f"More for {name}", exact=True).first.click()
    await desk.page.get_by_role("menuitem", name=deed, exact=True).click()


def _row(desk: Desk, name: str) -> Locator:
    return desk.panel.get_by_role("button", name=re.compile(f"^{re.escape(name)}"))


async def test_a_machine_on_demand_is_added_started_read_changed_and_stopped(
    panel_desk: Desk, start_platform: Any, tmp_path: Path
) -> None:
    desk, panel, page = panel_desk, panel_desk.panel, panel_desk.page
    (tmp_path / "small").mkdir()
    shutil.copy(comfyui_main.__file__, tmp_path / "small" / "main.py")
    async with (
        start_platform(comfyui_folders={"small": tmp_path / "small"}) as platform,
        connected(desk, Connection(platform.url, platform.owner.api_key)) as client,
    ):
        await desk.show("machines")
        await desk.is_connected()
        await panel.get_by_role("button", name="Add a machine").click()
        dialog = page.get_by_role("dialog", name="Add a machine")
        await dialog.get_by_label("Kind").select_option(label="ComfyUI on demand")
        await dialog.get_by_label("Name", exact=True).fill("On demand")
        await dialog.get_by_role("combobox", name="ComfyUI").select_option("small")
        await dialog.get_by_label("Seconds without a run").fill("900")
        await _save(dialog)
        await _row(desk, "On demand").click()
        await panel.get_by_text("it was not started yet").wait_for()
        [machine] = [each for each in await client.machines.list() if each.name == "On demand"]
        assert (machine.type, machine.processes, machine.idle_timeout) == ("managed", 0, 900)

        await _choose(desk, "On demand", "Start")
        await panel.get_by_text("On demand is being started.").wait_for()
        await panel.get_by_role("log").get_by_text("Starting the small ComfyUI").wait_for()
        assert (await client.machines.get(machine.id)).processes == 1

        dialog = await _edit(desk, "On demand")
        await dialog.get_by_label("Name", exact=True).fill("Always there")
        await dialog.get_by_label("Runs at once").fill("2")
        await dialog.get_by_label("Keep one process").check()
        await _save(dialog)
        await panel.get_by_text("never: one process stays").wait_for()
        now = await client.machines.get(machine.id)
        assert (now.name, now.concurrency_limit, now.keep_warm, now.processes) == ("Always there", 2, True, 1)

        run = await _work_for_ever(client, machine.id)
        await desk.show("machines")
        await _row(desk, "Always there").click()
        await panel.get_by_text("1 of 2 at work").wait_for()
        await _choose(desk, "Always there", "Stop")
        await panel.get_by_text("Always there is stopped when its runs have ended.").wait_for()
        assert (await client.machines.get(machine.id)).working == 1
        await _choose(desk, "Always there", "Stop at once")
        sure = page.get_by_role("dialog", name="Stop at once")
        await sure.get_by_role("button", name="Stop at once").click()
        await panel.get_by_text("Always there is stopped.").wait_for()
        with pytest.raises(RunFailed):
            await client.runs.follow(run)
        assert (await client.machines.get(machine.id)).processes == 0
        await panel.get_by_role("log").get_by_text("Starting the small ComfyUI").wait_for()
        await desk.show("machines")  # a panel opens where it was, and the platform that comes back has no such machine
        await desk.hide()
    await desk.show("machines")
    await desk.is_connected()


async def _work_for_ever(client: Client, machine_id: str) -> str:
    """A run that ends only with its machine."""
    graph = {"1": node("KSampler", seed=1, text="work for ever"), "2": node("PreviewAny", source=["1", 0])}
    run = await client.runs.queue(await deploy(client, graph, machine_id=machine_id), {})
    while not (await client.machines.get(machine_id)).working:
        await asyncio.sleep(0.05)
    return run


async def test_a_machine_is_added_looked_at_changed_and_deleted(panel_desk: Desk) -> None:
    desk, panel, page = panel_desk, panel_desk.panel, panel_desk.page
    desk.expected.append("status of 422")
    await desk.show("machines")
    await desk.is_connected()
    await _row(desk, "built-in").wait_for()
    await panel.get_by_role("button", name="Add a machine").click()
    dialog = page.get_by_role("dialog", name="Add a machine")
    await dialog.get_by_label("Name", exact=True).fill("Studio")
    await dialog.get_by_role("textbox", name="Address").fill("http://127.0.0.1:9")
    await dialog.get_by_role("button", name="Save").click()
    await dialog.get_by_role("alert").wait_for()
    assert await _names(desk) == {"built-in"}
    await dialog.get_by_role("textbox", name="Address").fill(desk.comfyui.url)
    await dialog.get_by_label("Token").fill("token-of-the-machine")
    await page.keyboard.press("Enter")
    await dialog.wait_for(state="detached")
    await _row(desk, "Studio").wait_for()
    await panel.get_by_text("ComfyUI by its address").wait_for()
    assert await _names(desk) == {"built-in", "Studio"}

    studio = next(each for each in await desk.client.machines.list() if each.name == "Studio")
    await desk.client.machines.create(HOSTILE, "pool", machine_ids=[studio.id])
    await page.evaluate(CHANGED, "machine")
    await _row(desk, HOSTILE).click()
    await panel.get_by_text("Machines of this pool").wait_for()
    dialog = await _edit(desk, HOSTILE)
    await dialog.get_by_label("Studio").uncheck()
    await dialog.get_by_role("button", name="Save").click()
    await dialog.get_by_role("alert").wait_for()  # a pool of nothing is none
    for name in ("Studio", "built-in"):
        await dialog.get_by_label(name).check()
    await _save(dialog)
    await _row(desk, "built-in").wait_for()
    [pool] = [each for each in await desk.client.machines.list() if each.type == "pool"]
    assert set(pool.machine_ids or []) == {each.id for each in await desk.client.machines.list()} - {pool.id}

    await _row(desk, "Studio").click()
    await panel.get_by_text(desk.comfyui.url).wait_for()
    assert await page.evaluate("() => window.pwned") is None
    desk.sent.clear()
    dialog = await _edit(desk, "Studio")
    await expect(dialog.get_by_role("textbox", name="Address")).to_have_value(desk.comfyui.url)
    await dialog.get_by_label("Name", exact=True).fill("Atelier")
    await dialog.get_by_label("Runs at once").fill("4")
    await _save(dialog)
    await panel.get_by_role("heading", name="Atelier").wait_for()
    changed = await desk.client.machines.get(studio.id)
    assert (changed.name, changed.concurrency_limit, changed.endpoint) == ("Atelier", 4, desk.comfyui.url)
    [wish] = [each for each in desk.sent if each.startswith("PATCH")]
    assert "auth_token" not in wish, "it stays as it is"

    await _choose(desk, "Atelier", "Delete")
    sure = page.get_by_role("dialog", name="Delete a machine that is used?")
    await sure.get_by_text(HOSTILE).wait_for()
    await sure.get_by_role("button", name="Delete").click()
    await panel.get_by_text("Machines of this pool").wait_for()
    await panel.get_by_role("button", name="Undo").click()
    await panel.get_by_role("button", name="Back").click()
    await _choose(desk, HOSTILE, "Delete")
    await expect(_row(desk, HOSTILE)).to_have_count(0)
    async with page.expect_response(lambda answer: answer.request.method == "DELETE"):
        await desk.hide()
        await desk.show("machines")
        await panel.get_by_role("button", name="Undo").wait_for()  # a panel that is moved or hidden takes nothing away
        await page.evaluate("() => window.dispatchEvent(new Event('pagehide'))")  # a page that is left does it at once
    assert await _names(desk) == {"built-in", "Atelier"}


async def _edit(desk: Desk, name: str) -> Locator:
    await _choose(desk, name, "Edit")
    return desk.page.get_by_role("dialog", name="Edit")


async def _save(dialog: Locator) -> None:
    await dialog.get_by_role("button", name="Save").click()
    await dialog.wait_for(state="detached")


async def test_what_a_machine_lacks_is_named_and_shown_on_the_canvas(panel_desk: Desk) -> None:
    desk, panel, page = panel_desk, panel_desk.panel, panel_desk.page
    await desk.show("machines")
    await _row(desk, "built-in").click()
    await panel.get_by_role("button", name="Check").click()
    await panel.get_by_text("has nothing to execute").wait_for()
    save, latent = await desk.add("SaveImage", 700), await desk.add("CheckpointLoaderSimple")
    decode = await desk.add("VAEDecode", 400)
    await desk.connect(latent, "VAE", decode, "vae")
    await desk.connect(decode, 0, save, "images")
    await panel.get_by_role("button", name="Check").click()
    await panel.get_by_role("status").get_by_text("CheckpointLoaderSimple", exact=True).wait_for()
    await panel.get_by_role("button", name="Show the node").first.click()
    assert await page.evaluate("() => Object.keys(app.canvas.selected_nodes).length") == 1


async def test_a_machine_with_deployments_is_deleted_only_after_a_second_yes(panel_desk: Desk) -> None:
    desk, panel, page = panel_desk, panel_desk.panel, panel_desk.page
    [deployment, *_] = await desk.client.deployments.list()
    await desk.show("machines")
    await _choose(desk, "built-in", "Delete")
    dialog = page.get_by_role("dialog", name="Delete a machine that is used?")
    await dialog.get_by_text(str(deployment.environment)).wait_for()
    await dialog.get_by_role("button", name="Cancel").click()
    await _choose(desk, "built-in", "Delete")
    await dialog.get_by_role("button", name="Delete").click()
    await expect(_row(desk, "built-in")).to_have_count(0)
    await panel.get_by_role("button", name="Undo").click()
    await _row(desk, "built-in").wait_for()
    assert "built-in" in await _names(desk)


async def test_files_come_into_the_library_and_are_put_in_order(panel_desk: Desk) -> None:
    desk, panel, page = panel_desk, panel_desk.panel, panel_desk.page
    picture = (desk.comfyui.workspace / "input" / "landscape.png").read_bytes()
    await desk.show("assets")
    await panel.get_by_text("There is nothing in this folder.").wait_for()
    await panel.get_by_label("Upload files").set_input_files(
        [
            {"name": "one.png", "mimeType": "image/png", "buffer": picture},
            {"name": "<b>two<b>.json", "mimeType": "application/json", "buffer": b"{}"},
            {"name": "three.png", "mimeType": "image/png", "buffer": picture},
        ]
    )
    for name in ("one.png", "<b>two<b>.json", "three.png"):
        await _row(desk, name).wait_for()
    await panel.get_by_label("Uploads").wait_for(state="detached")
    await desk.until("() => document.querySelectorAll('outpost-panel .outpost-picture img[src]').length === 2")

    await panel.get_by_role("button", name="New folder").click()
    await page.get_by_role("dialog").get_by_label("Name").fill("refs")
    await page.keyboard.press("Enter")
    await _row(desk, "refs").wait_for()
    await _row(desk, "one.png").drag_to(_row(desk, "refs"))
    await expect(_row(desk, "one.png")).to_have_count(0)
    await _choose(desk, "three.png", "Move")
    dialog = page.get_by_role("dialog", name="Move three.png")
    await expect(dialog.get_by_role("button", name="Move here")).to_be_disabled()
    await dialog.get_by_role("button", name="refs").click()
    await dialog.get_by_role("button", name="Move here").click()
    await expect(_row(desk, "three.png")).to_have_count(0)
    await _choose(desk, "<b>two<b>.json", "Rename")
    await page.get_by_role("dialog").get_by_label("Name").fill("two.json")
    await page.keyboard.press("Enter")
    await _row(desk, "two.json").wait_for()
    assert {each.name for each in await desk.client.assets.list("refs")} == {"one.png", "three.png"}

    await _row(desk, "refs").click()
    await _row(desk, "one.png").wait_for()
    await _choose(desk, "one.png", "Put on the canvas")
    [asset, *_] = [each for each in await desk.client.assets.list("refs") if each.name == "one.png"]
    assert await page.evaluate(NODES) == [["OutpostLoadAsset", asset.id]]
    await _row(desk, "three.png").click()
    await desk.until("() => document.querySelector('.outpost-dialog img.outpost-large')?.naturalWidth > 300")
    async with page.expect_download() as saved:
        await page.get_by_role("dialog").get_by_role("button", name="Save").click()
    assert (await saved.value).suggested_filename == "three.png"
    assert Path(await (await saved.value).path()).read_bytes() == picture
    await page.keyboard.press("Escape")
    await _choose(desk, "three.png", "Delete")
    await expect(_row(desk, "three.png")).to_have_count(0)
    await panel.get_by_role("button", name="Undo").click()
    await _row(desk, "three.png").wait_for()
    await panel.get_by_role("button", name="Back").click()
    await panel.get_by_role("searchbox").fill("THREE")
    await _row(desk, "three.png").wait_for()
    await expect(_row(desk, "two.json")).to_have_count(0)


async def test_what_does_not_arrive_is_said_and_can_be_tried_again(panel_desk: Desk) -> None:
    desk, panel, page = panel_desk, panel_desk.panel, panel_desk.page
    desk.expected.append("Failed to load resource")

    async def refuse(route: Route) -> None:
        await route.fulfill(status=503, json={"detail": "The platform is away.", "code": "unavailable"})

    await page.route("**/outpost/assets?*", refuse)
    await desk.show("assets")
    await panel.get_by_label("Upload files").set_input_files(
        {"name": "late.json", "mimeType": "application/json", "buffer": b"{}"}
    )
    uploads = panel.get_by_label("Uploads")
    await uploads.get_by_text("The platform is away.").wait_for()
    await panel.get_by_role("alert").first.wait_for()
    await page.unroute("**/outpost/assets?*")
    await uploads.get_by_role("button", name="Try again").click()
    await uploads.wait_for(state="detached")
    await panel.get_by_role("searchbox").fill("")
    await panel.get_by_role("tab", name="Machines").click()
    await panel.get_by_role("tab", name="Assets").click()
    await _row(desk, "late.json").wait_for()
