"""How long the panel takes to show a list of 5,000 workflows, and how long scrolling through it stops the page."""

from __future__ import annotations

import json
import tempfile
from collections.abc import AsyncGenerator
from pathlib import Path
from statistics import median

from api_rows import furnish
from comfyui_outpost.api.settings import save_connection
from comfyui_outpost.tests.browser.desk import CHROMIUM, Desk, open_desk
from comfyui_outpost.tests.comfyui.conftest import INSTALLATIONS
from figures import Figure
from server import serve

WORKFLOWS = 5000
TIMES = 11
OURS = ("Workflows, deployments", "outpost-panel [data-main]")
COMFYUIS = ("Node Library", "[role=treeitem]")
"""The name of a tab's button, and a row of what it shows."""
# From the click until a frame with the first rows has been drawn.
WATCH = """
(row) => { window.opened = new Promise((resolve) => {
    let start;
    addEventListener("pointerdown", () => (start = performance.now()), { capture: true, once: true });
    const look = () => start !== undefined && document.querySelectorAll(row).length >= 5
        ? requestAnimationFrame(() => setTimeout(() => resolve(performance.now() - start)))
        : requestAnimationFrame(look);
    look();
}); }
"""
# A turn of the wheel in every frame, until the last row is there; without a count of rows, as many frames of nothing.
SCROLL = """
async ([selector, count]) => {
    const box = document.querySelector(selector), frame = () => new Promise(requestAnimationFrame);
    const last = () => box.querySelector(`[aria-posinset="${count}"]`);
    for (let frames = 0; frames < 6000 && !(count && last()) && (count || frames < 600); frames++) {
        if (count) box.scrollTop += 400;
        await frame();
    }
    return !!(count && last());
}
"""


async def figures() -> AsyncGenerator[Figure, None]:
    """Baselines: a tab of ComfyUI's own, and the same page while nobody scrolls.

    Tasks are told by the processor's time, and by the clock, which other programs on the computer lengthen.
    """
    if CHROMIUM is None:
        return
    with tempfile.TemporaryDirectory() as folder:
        furnished = await furnish(Path(folder) / "furnished", workflows=WORKFLOWS, runs=1000)
        async with (
            open_desk(INSTALLATIONS[0], Path(folder), keeps_connection=True) as desk,
            serve(furnished.folder, api_key=furnished.api_key) as server,
        ):
            assert desk.settings
            save_connection(server.connection, desk.settings)
            baseline_cold, *baseline = [await _open(desk, *COMFYUIS) for _ in range(TIMES)]
            cold, *opened = [await _open(desk, *OURS) for _ in range(TIMES)]
            await desk.show("workflows")
            await desk.panel.locator('[aria-setsize="-1"]').first.wait_for()
            idle, _ = await _longest_task(desk, rows=0)
            task, is_at_end = await _longest_task(desk, rows=WORKFLOWS + 2)
            assert is_at_end
            await desk.hide()
    yield Figure("panel_open_5000", median(opened), "ms", median(baseline), 200.0)
    yield Figure("panel_open_5000_first", cold, "ms", baseline_cold, 200.0)
    yield Figure("panel_scroll_5000", task["tdur"], "ms", idle["tdur"], 50.0)
    yield Figure("panel_scroll_5000_clock", task["dur"], "ms", idle["dur"], 50.0)


async def _open(desk: Desk, button: str, row: str) -> float:
    """The time that a tab takes to show its first rows, in milliseconds. It is closed again."""
    await desk.page.evaluate(WATCH, row)
    await desk.page.get_by_role("button", name=button).click()
    taken = await desk.page.evaluate("() => window.opened")
    await desk.page.evaluate("() => app.extensionManager.sidebarTab.activeSidebarTabId = null")
    await desk.until("(row) => !document.querySelector(row)", row)
    return taken


async def _longest_task(desk: Desk, *, rows: int) -> tuple[dict[str, float], bool]:
    """How long scrolling kept the page from anything else, in milliseconds, and whether it came to the last row."""
    browser = desk.page.context.browser
    assert browser
    await browser.start_tracing(page=desk.page, categories=["toplevel"])
    is_at_end = await desk.page.evaluate(SCROLL, ["outpost-panel .outpost-scroller", rows])
    events = json.loads(await browser.stop_tracing())["traceEvents"]
    mains = {
        (each["pid"], each["tid"])
        for each in events
        if each["name"] == "thread_name" and each["args"]["name"] == "CrRendererMain"
    }
    tasks = [each for each in events if each["name"].endswith("RunTask") and (each["pid"], each["tid"]) in mains]
    assert tasks
    return {name: max(each.get(name, 0) for each in tasks) / 1000 for name in ("dur", "tdur")}, is_at_end
