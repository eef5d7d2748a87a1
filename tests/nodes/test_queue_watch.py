"""How many runs come before one that waits is looked up while it waits, and less and less often."""

from __future__ import annotations

import asyncio

import pytest
from comfyui_outpost.api.events import StatusChanged
from comfyui_outpost.api.models import Run, RunStatus
from comfyui_outpost.nodes.queue_watch import FIRST_LOOK_SECONDS, LAST_LOOK_SECONDS, QueueWatch

RUN_ID = "0d7b1f0e-8d3c-4a35-9b57-9a1d2c5be001"
WAIT_SECONDS = 20


class Queue:
    """A platform with one run in its queue, and time that passes only when somebody sleeps."""

    def __init__(self) -> None:
        self.runs = self
        self.slept: list[float] = []
        self.shown: asyncio.Queue[int] = asyncio.Queue()
        self._position = 100
        self.watch = QueueWatch(self, self.shown.put_nowait, sleep=self._sleep)

    async def get(self, run_id: str) -> Run:
        self._position -= 1
        return Run(id=run_id, status=RunStatus.QUEUED, queue_position=self._position)

    async def _sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        await asyncio.sleep(0)

    def now(self, status: RunStatus) -> None:
        self.watch.on_event(StatusChanged(RUN_ID, status))

    async def is_shown(self) -> int:
        return await asyncio.wait_for(self.shown.get(), WAIT_SECONDS)


@pytest.fixture
async def queue():
    queue = Queue()
    yield queue
    await queue.watch.close()


async def test_a_run_that_has_to_wait_again_is_looked_at_again(queue: Queue):
    queue.now(RunStatus.QUEUED)
    await queue.is_shown()
    queue.now(RunStatus.STARTED)
    await asyncio.sleep(0)
    while not queue.shown.empty():
        queue.shown.get_nowait()

    queue.now(RunStatus.QUEUED)

    assert await queue.is_shown() < 99


async def test_it_is_looked_at_less_and_less_often(queue: Queue):
    queue.now(RunStatus.QUEUED)
    for _ in range(20):
        await queue.is_shown()

    assert queue.slept[0] == FIRST_LOOK_SECONDS
    assert queue.slept == sorted(queue.slept)
    assert queue.slept[-1] == LAST_LOOK_SECONDS
    assert sum(queue.slept[:8]) > 30


async def test_nothing_is_left_running(queue: Queue):
    before = asyncio.all_tasks()
    for status in (RunStatus.QUEUED, RunStatus.STARTED, RunStatus.QUEUED):
        queue.now(status)

    await queue.watch.close()

    assert asyncio.all_tasks() == before
