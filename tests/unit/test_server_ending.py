"""Ending background tasks, also one that has not heard that it was cancelled."""

from __future__ import annotations

import asyncio

from comfyui_outpost.api.server import ending
from comfyui_outpost.api.server.ending import end_tasks


async def test_a_task_that_swallows_its_first_cancellation_is_ended_all_the_same(monkeypatch):
    monkeypatch.setattr(ending, "AGAIN_SECONDS", 0.01)
    swallowed = 0

    async def deaf() -> None:
        nonlocal swallowed
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            swallowed += 1
        await asyncio.Event().wait()

    task = asyncio.create_task(deaf())
    await asyncio.sleep(0)
    await asyncio.wait_for(end_tasks([task]), 20)
    assert (task.cancelled(), swallowed) == (True, 1)


async def test_tasks_that_fail_or_are_done_disturb_nobody():
    async def fails() -> None:
        raise RuntimeError("said elsewhere")

    async def is_done() -> None:
        return None

    tasks = [asyncio.create_task(fails()), asyncio.create_task(is_done())]
    await asyncio.wait(tasks)
    await end_tasks(tasks)
    await end_tasks([])
