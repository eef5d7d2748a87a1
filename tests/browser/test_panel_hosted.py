"""The panel on the hosted platform, as that has been recorded to answer: what it offers is done, the rest is said."""

from __future__ import annotations

import json
import re
from collections.abc import AsyncGenerator
from typing import Any
from urllib.parse import urlsplit

import pytest
import pytest_asyncio
from comfyui_outpost.api.settings import Connection
from comfyui_outpost.nodes import contact_sheet
from comfyui_outpost.tests.fakes.hosted import HostedPlatform
from comfyui_outpost.tests.fakes.serving import KEY, served
from playwright.async_api import FilePayload

from .desk import CHROMIUM, Desk, connected

pytestmark = [
    pytest.mark.asyncio(loop_scope="session"),
    pytest.mark.skipif(CHROMIUM is None, reason="there is no Chromium on this computer: apt install chromium"),
]
NAME = "Far away"
CONNECTION = "document.querySelector('outpost-panel').state.panel.connection"


@pytest_asyncio.fixture(loop_scope="session")
async def hosted(panel_desk: Desk) -> AsyncGenerator[HostedPlatform, None]:
    """The platform that the panel is connected with during a test."""
    platform = HostedPlatform()
    await panel_desk.show("connect")
    await panel_desk.until(f"() => {CONNECTION}")
    before = await panel_desk.page.evaluate(f"() => {CONNECTION}")
    async with served(platform.app) as url, connected(panel_desk, Connection(url, KEY)):
        await panel_desk.until(f"(before) => {CONNECTION} !== before", before)
        yield platform
    assert [each[:200] for each in (*panel_desk.sent, *panel_desk.console) if KEY in each] == []


async def test_a_graph_is_deployed_run_and_promoted(panel_desk: Desk, hosted: HostedPlatform) -> None:
    desk, panel = panel_desk, panel_desk.panel
    desk.expected.append("/history")  # of deployments, which it does not keep
    hosted.library.objects |= dict.fromkeys(_paths_of_pictures(hosted), contact_sheet.made_up_picture())
    source, save = await desk.add("EmptyImage", 60), await desk.add("SaveImage", 460)
    await desk.connect(source, 0, save, "images")
    await desk.show("deploy")
    view = panel.locator("[data-view=deploy]")
    await view.get_by_role("textbox", name="Name of the workflow").fill(NAME)
    await view.get_by_role("combobox", name="Environment").select_option("staging")
    await view.get_by_role("button", name="Deploy", exact=True).click()
    await view.get_by_text("runs version 1 in staging").wait_for()
    [made] = _bodies(hosted, "POST", "/api/workflow")
    assert set(json.loads(made["workflow_api"])) == {source, save}
    [deployment] = [row for row in hosted.deployments.rows.values() if row["environment"] == "staging"]
    assert hosted.workflows.rows[deployment["workflow_id"]]["name"] == NAME

    await panel.get_by_role("button", name="Run", exact=True).click()
    await panel.locator("[data-view=run]").get_by_role("button", name="Run", exact=True).click()
    await panel.locator("[data-view=runs]").get_by_text("Done", exact=True).first.wait_for()
    assert len(hosted.log.submissions()) == 1
    await desk.until("() => document.querySelector('.outpost-view img')?.naturalWidth > 1")

    await desk.show("deployments", deployment_id=deployment["id"])
    await _choose(desk, "Promote to another environment")
    dialog = desk.page.get_by_role("dialog")
    await dialog.get_by_role("combobox", name="Environment").select_option("preview")
    await dialog.get_by_role("button", name="Promote").click()
    await dialog.wait_for(state="detached")
    [promoted] = [row for row in hosted.deployments.rows.values() if row["environment"] == "preview"]
    assert promoted["workflow_version_id"] == deployment["workflow_version_id"]


async def test_what_it_does_not_do_is_said_and_what_was_there_stays(panel_desk: Desk, hosted: HostedPlatform) -> None:
    desk, panel = panel_desk, panel_desk.panel
    desk.expected += ["/outpost/deployments/", "/history", "/outpost/machines/"]
    before = set(hosted.deployments.rows)
    await desk.show("deployments")
    await _choose(desk, "Delete")
    await desk.hide()
    await desk.page.get_by_text("deletes only deployments that are shares").first.wait_for()
    assert set(hosted.deployments.rows) == before
    await desk.show("machines")
    await panel.get_by_text("local serverless (runnerd)").first.wait_for()


async def test_workflows_and_files_are_kept_in_order(panel_desk: Desk, hosted: HostedPlatform) -> None:
    desk, panel = panel_desk, panel_desk.panel
    [workflow] = hosted.workflows.rows.values()
    await desk.show("workflows")
    await _choose(desk, "Rename", name=workflow["name"])
    dialog = desk.page.get_by_role("dialog")
    await dialog.get_by_label("Name").fill(NAME)
    await dialog.get_by_role("button", name="Save").click()
    await panel.get_by_role("button", name=f"More for {NAME}").wait_for()
    assert workflow["name"] == NAME

    await desk.show("assets")
    data = contact_sheet.made_up_picture()
    file: FilePayload = {"name": "far.png", "mimeType": "image/png", "buffer": data}
    await panel.locator("input[type=file]").first.set_input_files(file)
    await panel.get_by_role("button", name="far.png", exact=True).wait_for()
    assert [row["file_size"] for row in hosted.library.assets.values()] == [len(data)]


def _paths_of_pictures(hosted: HostedPlatform) -> list[str]:
    """Where the pictures are that its run has put out."""
    images = [image for output in hosted.run["outputs"] for image in output["data"].get("images", [])]
    return [urlsplit(image["url"]).path.lstrip("/") for image in images]


def _bodies(hosted: HostedPlatform, method: str, path: str) -> list[Any]:
    return [json.loads(each.body) for each in hosted.log.named(method, path)]


async def _choose(desk: Desk, entry: str, *, name: str = "") -> None:
    """Do something by the menu of the first row of this name."""
    await desk.panel.get_by_role("button", name=re.compile(f"^More for {re.escape(name)}")).first.click()
    await desk.panel.get_by_role("menuitem", name=entry, exact=True).click()
