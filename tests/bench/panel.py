"""What the panel weighs, and what opening and closing it leaves behind."""

from __future__ import annotations

import tempfile
from collections.abc import AsyncGenerator
from pathlib import Path

from comfyui_outpost.tests.browser.desk import CHROMIUM, Desk, open_desk
from comfyui_outpost.tests.comfyui.conftest import INSTALLATIONS, REPOSITORY
from figures import Figure
from playwright.async_api import CDPSession

TIMES = 200
WARM_UP = 10
TOGGLE = """
async ([id, times]) => { const { sidebarTab } = app.extensionManager, frame = () => new Promise(requestAnimationFrame);
    const count = () => document.querySelectorAll("*").length;
    let shown = 0;
    for (let turn = 0; turn < times; turn++) {
        const before = count();
        for (const _ of ["open", "close"]) {
            sidebarTab.toggleSidebarTab(id);
            await frame(); await frame();
            if (count() > before) shown++;
        }
    }
    return shown; }
"""


async def figures() -> AsyncGenerator[Figure, None]:
    """Baselines: the bytes of the panel's own folders, and a tab of ComfyUI's own, opened and closed as often."""
    web = REPOSITORY / "web"
    sizes = {path: path.stat().st_size for path in web.rglob("*.js")}
    of_panel = sum(sizes[path] for path in sizes if path.relative_to(web).parts[0] in ("panel", "kit", "vendor"))
    yield Figure("panel_bytes", sum(sizes.values()), "bytes", of_panel, 150_000.0)
    if CHROMIUM is None:
        return
    with tempfile.TemporaryDirectory() as folder:
        async with open_desk(INSTALLATIONS[0], Path(folder), keeps_connection=True) as desk:
            session = await desk.page.context.new_cdp_session(desk.page)
            baseline = await _left_behind(desk, session, "node-library")
            ours = await _left_behind(desk, session, "outpost")
    for name, left in ours.items():
        yield Figure(f"panel_leak_{TIMES}_{name}", left, name, baseline[name], float(TIMES))


async def _left_behind(desk: Desk, session: CDPSession, tab: str) -> dict[str, float]:
    """How many more nodes and listeners there are after a tab was opened and closed many times."""
    await desk.page.evaluate(TOGGLE, [tab, WARM_UP])
    before = await _counted(session)
    assert await desk.page.evaluate(TOGGLE, [tab, TIMES]) == TIMES, f"{tab} was not shown and hidden each time"
    after = await _counted(session)
    return {name: after[name] - before[name] for name in after}


async def _counted(session: CDPSession) -> dict[str, float]:
    for _ in range(3):
        await session.send("HeapProfiler.collectGarbage")
    found = await session.send("Memory.getDOMCounters")
    return {"nodes": found["nodes"], "listeners": found["jsEventListeners"]}
