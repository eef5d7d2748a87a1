"""The package in ComfyUI's page: a real ComfyUI, its real front end, in a real browser."""

from __future__ import annotations

import shutil
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
from comfyui_outpost.nodes import contact_sheet
from comfyui_outpost.tests.bench.server import serve
from comfyui_outpost.tests.comfyui.conftest import INSTALLATIONS, REPOSITORY
from comfyui_outpost.tests.comfyui.installations import PYPI_VERSION, Installation
from comfyui_outpost.tests.comfyui.instance import start
from comfyui_outpost.tests.comfyui.process import find_python
from playwright.async_api import Page, async_playwright

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
FRONT_END = find_spec("comfyui_frontend_package")
OPTIONS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
IS_READY = """
() => !!(window.app?.graph && window.LiteGraph?.registered_node_types?.OutpostRunDeployment
         && document.querySelector("canvas"))
"""
ADD_INPUT = """
() => { const node = app.graph.getNodeById(2);
        const button = node.widgets.find((each) => each.name === "Add input");
        void button.callback(button, app.canvas, node); }
"""
CONNECT = """
() => { const [load, run, save] = [1, 2, 3].map((id) => app.graph.getNodeById(id));
        load.connect(0, run, run.inputs.findIndex((each) => each.name === "image"));
        run.connect(0, save, save.inputs.findIndex((each) => each.name === "images")); }
"""
HAS_PICTURE = "() => { const node = app.graph.getNodeById(3); return !!node.imgs?.length; }"

pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="there is no Chromium on this computer: apt install chromium")


def _graph(deployment_id: str) -> dict[str, Any]:
    def node(number: int, kind: str, values: list[Any], inputs: list[Any], outputs: list[str]) -> dict[str, Any]:
        return {
            "id": number,
            "type": kind,
            "pos": [40 + 400 * (number - 1), 140],
            "size": [330, 300],
            "flags": {},
            "order": number - 1,
            "mode": 0,
            "inputs": inputs,
            "outputs": [{"name": name, "type": name.upper(), "links": []} for name in outputs],
            "properties": {},
            "widgets_values": values,
        }

    nodes = [
        node(1, "LoadImage", ["landscape.png", "image"], [], ["IMAGE", "MASK"]),
        node(2, "OutpostRunDeployment", [deployment_id, 60.0], [], ["image", "mask", "run"]),
        node(3, "SaveImage", ["outpost"], [{"name": "images", "type": "IMAGE", "link": None}], []),
    ]
    empty: dict[str, Any] = {"links": [], "groups": [], "config": {}, "extra": {}}
    return {"last_node_id": 3, "last_link_id": 0, "nodes": nodes, "version": 0.4, **empty}


@asynccontextmanager
async def _page(installation: Installation, folder: Path) -> AsyncGenerator[tuple[Page, str, str], None]:
    """A page with ComfyUI in it, the id of a deployment, and the key that must be nowhere to be seen."""
    arguments: list[str] = []
    is_old = installation.version == PYPI_VERSION  # it carries its own page
    if not is_old and FRONT_END and FRONT_END.submodule_search_locations:
        arguments = ["--front-end-root", str(Path(FRONT_END.submodule_search_locations[0]) / "static")]
    async with serve(folder / "platform") as server:
        async with server.client() as client:
            deployment_id = (await client.deployments.list())[0].id
        connection = server.connection
        environment = {"OUTPOST_BASE_URL": connection.base_url, "OUTPOST_API_KEY": connection.api_key}
        nodes = {"ComfyUI-Outpost": REPOSITORY}
        async with (
            start(
                installation,
                find_python(REPOSITORY),
                custom_nodes=nodes,
                environment=environment,
                arguments=arguments,
            ) as comfyui,
            async_playwright() as playwright,
        ):
            (comfyui.workspace / "input" / "landscape.png").write_bytes(contact_sheet.made_up_picture())
            browser = await playwright.chromium.launch(executable_path=CHROMIUM, args=OPTIONS)
            page = await browser.new_page(viewport={"width": 1280, "height": 760})
            await page.request.post(f"{comfyui.url}/settings", data={"Comfy.TutorialCompleted": True})
            await page.goto(comfyui.url)
            await page.wait_for_function(IS_READY, timeout=60_000)
            yield page, deployment_id, connection.api_key
            await browser.close()


@pytest.mark.parametrize("installation", INSTALLATIONS, ids=lambda found: found.name)
async def test_a_person_adds_an_input_connects_it_runs_and_finds_it_again_after_saving(
    installation: Installation, tmp_path: Path
) -> None:
    async with _page(installation, tmp_path) as (page, deployment_id, key):
        page.on("dialog", lambda dialog: dialog.accept("image"))
        await page.evaluate("(graph) => app.loadGraphData(graph)", _graph(deployment_id))
        await page.evaluate(ADD_INPUT)
        await _answer_dialog(page, "image")
        await page.wait_for_function("() => app.graph.getNodeById(2).inputs?.some((each) => each.name === 'image')")
        await page.evaluate(CONNECT)
        await page.evaluate("() => void app.queuePrompt(0)")
        await page.wait_for_function(HAS_PICTURE, timeout=60_000)
        before = await page.evaluate("async () => (await app.graphToPrompt()).output")

        saved = await page.evaluate("() => app.graph.serialize()")
        await page.evaluate("(graph) => app.loadGraphData(graph)", saved)
        after = await page.evaluate("async () => (await app.graphToPrompt()).output")

        assert before["2"]["inputs"] == after["2"]["inputs"]
        assert after["2"]["inputs"] == {"deployment_id": deployment_id, "deadline_minutes": 60, "image": ["1", 0]}
        assert key not in await page.content()
        assert key not in str(saved)


async def _answer_dialog(page: Page, text: str) -> None:
    """Type into the page's own dialog; old pages ask by the browser's dialog, which is answered elsewhere."""
    if await page.evaluate("() => !!app.extensionManager?.dialog?.prompt"):
        field = page.locator("[role=dialog] input:visible")
        await field.fill(text)
        await field.press("Enter")


async def test_names_that_cannot_be_inputs_are_refused_with_a_reason(tmp_path: Path) -> None:
    module = (REPOSITORY / "web" / "run_deployment.js").read_text(encoding="utf-8")
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=CHROMIUM, args=OPTIONS)
        page = await browser.new_page()
        reasons = await page.evaluate(
            """async (module) => {
                const { objection } = await import("data:text/javascript," + encodeURIComponent(module));
                return ["", "deployment_id", "unique_id", "mask", "image"].map((name) =>
                    objection(name, [{ name: "mask" }]));
            }""",
            module,
        )
        await browser.close()
    assert [bool(reason) for reason in reasons] == [True, True, True, True, False]
