"""How long a run's event takes from the server's sending it to its text being on the screen."""

from __future__ import annotations

import asyncio
import tempfile
import time
from collections.abc import AsyncGenerator
from pathlib import Path
from statistics import median
from typing import Any

from comfyui_outpost.api.client import Client
from comfyui_outpost.api.events import ExecutionStarted, LiveStatus
from comfyui_outpost.api.server.app import serving
from comfyui_outpost.api.server.config import ServerConfig
from comfyui_outpost.api.server.machines import Emit, Job
from comfyui_outpost.api.server.platform import open_platform
from comfyui_outpost.api.settings import Connection, save_connection
from comfyui_outpost.tests.browser.desk import CHROMIUM, open_desk
from comfyui_outpost.tests.comfyui.conftest import INSTALLATIONS
from comfyui_outpost.tests.fakes.deploying import kinds_of
from comfyui_outpost.tests.server.machines import ScriptedMachine
from figures import Figure
from server import deploy

EVENTS = 50
PAUSE = 0.25
"""Seconds between two events: the platform tells of progress at most ten times in a second."""
GRAPH: dict[str, Any] = {
    "1": {"class_type": "EmptyImage", "inputs": {"width": 8, "height": 8}},
    "2": {"class_type": "SaveImage", "inputs": {"images": ["1", 0]}},
}
# Both clocks are this computer's. A text is on the screen at the end of the frame that it is drawn in.
WATCH = """
() => { window.seen = {};
    const look = () => {
        const [, step] = /step (\\d+)/.exec(document.querySelector("outpost-panel").textContent) ?? [];
        if (!step || window.seen[step]) return;
        window.seen[step] = -1;
        requestAnimationFrame(() => setTimeout(() => { window.seen[step] = Date.now(); }));
    };
    new MutationObserver(look).observe(document.querySelector("outpost-panel"),
        { subtree: true, childList: true, characterData: true }); }
"""


async def figures() -> AsyncGenerator[Figure, None]:
    """Baseline: the same time for the worst of them."""
    if CHROMIUM is None:
        return
    sent: list[float] = []
    may_begin, may_end = asyncio.Event(), asyncio.Event()

    async def play(job: Job, emit: Emit) -> None:
        emit(ExecutionStarted(job.run_id))
        await may_begin.wait()
        for step in range(EVENTS):
            await asyncio.sleep(PAUSE)
            sent.append(time.time() * 1000)
            emit(LiveStatus(job.run_id, f"step {step}", step / EVENTS))
        await may_end.wait()  # the end of a run takes its last step from the screen

    with tempfile.TemporaryDirectory() as folder:
        config = ServerConfig(Path(folder) / "scripted")
        async with (
            open_desk(INSTALLATIONS[0], Path(folder), keeps_connection=True) as desk,
            open_platform(config, kinds=kinds_of({"builtin": ScriptedMachine(play)})) as parts,
            serving(parts, host="127.0.0.1", port=0) as url,
        ):
            assert desk.settings
            assert parts.first_start
            connection = Connection(url, parts.first_start.api_key)
            save_connection(connection, desk.settings)
            async with Client(connection) as client:
                await desk.show("runs")
                await client.runs.queue(await deploy(client, GRAPH), {})
                await desk.panel.get_by_role("progressbar").wait_for()
                await desk.page.evaluate(WATCH)
                may_begin.set()
                await desk.until("(last) => window.seen[last] > 0", EVENTS - 1, seconds=60)
                seen: dict[str, float] = await desk.page.evaluate("() => window.seen")
                may_end.set()
    taken = sorted(seen[str(step)] - time_sent for step, time_sent in enumerate(sent) if str(step) in seen)
    assert len(taken) == EVENTS, f"only {len(taken)} of {EVENTS} came to the screen"
    yield Figure("panel_event", median(taken), "ms", taken[-1], 100.0)
    yield Figure("panel_event_worst", taken[-1], "ms", median(taken), 200.0)
