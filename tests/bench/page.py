"""How long the list of 500 deployments takes to open in a real ComfyUI's page."""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import AsyncGenerator
from pathlib import Path
from statistics import median

from comfyui_outpost.api.client import Client
from comfyui_outpost.tests.browser.desk import CHROMIUM, Desk, open_desk
from comfyui_outpost.tests.comfyui.conftest import INSTALLATIONS
from figures import Figure
from server import ZERO_COMPUTE, deploy

DEPLOYMENTS = 500
TIMES = 11
# From the click until a frame with all the entries has been drawn.
WATCH = """
(count) => { window.opened = new Promise((resolve) => {
    let start;
    addEventListener("pointerup", () => (start = performance.now()), { capture: true, once: true });
    new MutationObserver((_, observer) => {
        if (document.querySelectorAll(".litemenu-entry").length < count) return;
        observer.disconnect();
        requestAnimationFrame(() => setTimeout(() => resolve(performance.now() - start)));
    }).observe(document.body, { childList: true, subtree: true });
}); }
"""
PLAIN = """
(count) => { const node = LiteGraph.createNode("EmptyImage"); node.pos = [600, 140]; app.graph.add(node);
             const values = Array.from({ length: count }, (_, index) => `Deployment ${index} · production`);
             node.addWidget("combo", "plain", values[0], () => {}, { values });
             node.setSize(node.computeSize()); return String(node.id); }
"""
WHERE = """
([id, name]) => { const node = app.graph.getNodeById(id); const list = node.widgets.find((each) => each.name === name);
                  return [node.pos[0] + node.size[0] / 2, node.pos[1] + list.y + 10]; }
"""


async def figures() -> AsyncGenerator[Figure, None]:
    """Baseline: a list of the page's own with as many fixed values. The first opening has a figure of its own."""
    if CHROMIUM is None:
        return
    with tempfile.TemporaryDirectory() as folder:
        async with open_desk(INSTALLATIONS[0], Path(folder)) as desk:
            await _deploy(desk.client)
            cold, *opened = await _open(desk, "deployment_id")
            baseline_cold, *baseline = await _open(desk, "plain")
    yield Figure("nodes_list_500", median(opened), "ms", median(baseline), 100.0)
    yield Figure("nodes_list_500_first", cold, "ms", baseline_cold, 100.0)


async def _deploy(client: Client) -> None:
    for _ in range(0, DEPLOYMENTS, 10):
        await asyncio.gather(*(deploy(client, ZERO_COMPUTE) for _ in range(10)))


async def _open(desk: Desk, name: str) -> list[float]:
    """The times that a list takes to open one after another, in milliseconds."""
    await desk.clear()
    ours, plain = await desk.add("OutpostRunDeployment"), await desk.page.evaluate(PLAIN, DEPLOYMENTS)
    node = plain if name == "plain" else ours
    await desk.until(
        "([id, name]) => app.graph.getNodeById(id).widgets.some((w) => w.name === name && w.y > 0)", [node, name]
    )
    x, y = await desk.page.evaluate(WHERE, [node, name])
    taken = []
    for _ in range(TIMES):
        await desk.page.evaluate(WATCH, DEPLOYMENTS)
        await desk.page.mouse.click(x, y)
        taken.append(await desk.page.evaluate("() => window.opened"))
        await desk.page.locator(".comfy-context-menu-filter:focus").wait_for()  # which hears of the key
        await desk.page.keyboard.press("Escape")
        await desk.until("() => !document.querySelector('.litemenu-entry')")
    return taken
