"""The package in the page that the oldest ComfyUI brings itself, which has no lists with names and no dialogs."""

from __future__ import annotations

from collections.abc import AsyncGenerator

import pytest
import pytest_asyncio
from comfyui_outpost.tests.bench.server import deploy
from comfyui_outpost.tests.comfyui.conftest import INSTALLATIONS
from comfyui_outpost.tests.comfyui.lane import INVERT
from comfyui_outpost.tests.server.process import Launch
from playwright.async_api import Dialog

from .desk import CHROMIUM, PICTURE, Desk, open_desk
from .forms import HOSTILE, PORTRAIT, answered, input_field

pytestmark = [
    pytest.mark.asyncio(loop_scope="session"),
    pytest.mark.skipif(CHROMIUM is None, reason="there is no Chromium on this computer: apt install chromium"),
]
RUN = "OutpostRunDeployment"
HAS_PICTURE = "(id) => !!app.graph.getNodeById(id).imgs?.length"
FILL_LIST = """
(id) => { const list = app.graph.getNodeById(id).widgets[0]; list.options.values.unshift(list.value); }
"""
WHERE_WIDGET = """
([id, name]) => { const node = app.graph.getNodeById(id), list = node.widgets.find((each) => each.name === name);
                  const [x, y] = app.canvas.ds.offset, box = app.canvas.canvas.getBoundingClientRect();
                  return [box.x + node.pos[0] + x + node.size[0] / 2, box.y + node.pos[1] + y + list.last_y + 10]; }
"""
OPEN_NODE_MENU = """
(id) => { const node = app.graph.getNodeById(id);
          new LiteGraph.ContextMenu(app.canvas.getNodeMenuOptions(node), { title: node.type }); }
"""
CLOSE_MENUS = "() => document.querySelectorAll('.litecontextmenu').forEach((each) => each.remove())"
PRESS_ADD = """
(id) => { app.graph.getNodeById(id).widgets.find((each) => each.name === "Add input").callback(); }
"""


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def old_desk(launch: Launch, tmp_path_factory: pytest.TempPathFactory) -> AsyncGenerator[Desk, None]:
    async with open_desk(INSTALLATIONS[0], tmp_path_factory.mktemp("desk"), has_own_page=True, launch=launch) as desk:
        yield desk


async def test_a_deployment_is_chosen_run_saved_and_run_again(old_desk: Desk) -> None:
    desk = old_desk
    await desk.clear()
    deployment_id = await deploy(desk.client, INVERT)
    load, run, save = [await desk.add(kind, x) for kind, x in (("LoadImage", 60), (RUN, 480), ("SaveImage", 900))]
    await desk.set(load, image=PICTURE)

    await desk.choose(run, deployment_id)
    await desk.connect(load, 0, run, "image")
    await desk.connect(run, "inverted", save, "images")
    await desk.queue()
    await desk.until(HAS_PICTURE, save, seconds=60)
    prompt = await desk.prompt()
    await desk.load(await desk.saved())

    assert await desk.prompt() == prompt
    inputs = prompt[run]["inputs"]
    assert (inputs["deployment_id"], inputs["image"], inputs["outputs"]) == (deployment_id, [load, 0], '["inverted"]')
    assert [line for line in desk.complaints() if "error" in line] == []


async def test_an_input_of_any_name_is_added_by_hand(old_desk: Desk) -> None:
    desk = old_desk
    await desk.clear()
    node = await desk.add(RUN)

    told: list[str] = []

    async def hear(dialog: Dialog) -> None:
        told.append(dialog.message)
        await dialog.accept()

    desk.page.on("dialog", hear)
    for name in ("by hand", "deadline_minutes"):
        await desk.page.evaluate(PRESS_ADD, node)
        await desk.page.locator(".outpost-dialog input").fill(name)
        await desk.page.keyboard.press("Enter")
        await desk.page.locator(".outpost-dialog").wait_for(state="detached")

    await desk.until("(id) => app.graph.getNodeById(id).inputs?.some((each) => each.name === 'by hand')", node)
    assert [each[0] for each in (await desk.look(node))["inputs"]] == ["by hand"]
    assert told == ["“deadline_minutes” is an input of the node itself."]


async def test_names_and_choices_that_are_meant_ill_run_no_script_in_menus(old_desk: Desk) -> None:
    desk = old_desk
    await desk.clear()
    async with answered(desk.page) as routes:
        routes.forms[PORTRAIT]["inputs"] = [
            input_field(
                "style", "enum", "COMBO,STRING", {"type": "combo", "default": "oil", "options": ["oil", HOSTILE]}
            ),
            input_field(HOSTILE, "text", "STRING", {"type": "text", "default": "cat"}),
        ]
        node = await desk.add(RUN)
        await desk.choose(node, PORTRAIT)
        await desk.set(node, deployment_id=HOSTILE)  # as a graph of somebody else may have it
        entries = desk.page.locator(".litemenu-entry")

        await desk.page.evaluate(FILL_LIST, node)
        await desk.until(
            "(id) => app.graph.getNodeById(id).widgets.find((each) => each.name === 'style').last_y > 0", node
        )
        await desk.page.mouse.click(*await desk.page.evaluate(WHERE_WIDGET, [node, "deployment_id"]))
        await entries.first.wait_for()
        assert HOSTILE in await entries.all_text_contents()
        await desk.page.keyboard.press("Escape")
        await desk.page.evaluate(CLOSE_MENUS)
        await desk.page.mouse.click(*await desk.page.evaluate(WHERE_WIDGET, [node, "style"]))
        await entries.filter(has_text=HOSTILE).click()
        assert (await desk.prompt())[node]["inputs"]["style"] == HOSTILE
        await desk.page.evaluate(OPEN_NODE_MENU, node)
        assert "Properties" in await entries.all_text_contents()
        await desk.page.evaluate(CLOSE_MENUS)
        assert await desk.page.locator("img[src=x]").count() == 0
        assert await desk.page.evaluate("() => window.pwned") is None
