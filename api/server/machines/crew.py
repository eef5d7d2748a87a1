"""The processes of a ComfyUI that the server starts: what each is, and which are at work."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from ...models import Graph, Lack
from . import Emit, Job, MachineError, MachineLost
from .comfyui import ComfyUIMachine
from .facts import Facts, together
from .process import ComfyUIProcess

DEATH_SECONDS = 1
"""For the end of a process to be noticed, after it has broken off its connections."""
ANSWER_SECONDS = 2
"""For a process to tell of itself: one at work on a big model may not find the time."""


@dataclass(eq=False)
class Worker:
    """One process, and the ComfyUI in it."""

    number: int
    process: ComfyUIProcess
    comfyui: ComfyUIMachine
    retirement: asyncio.TimerHandle | None = None
    is_leaving: bool = False
    """Whether it is to be stopped once it has nothing to do."""
    facts: Facts = field(default_factory=Facts)
    """What it told of itself when it was last asked."""
    asked: int = 0
    """How many ask it something at the moment: it does not go from under them for having nothing to do."""

    async def lacks(self, graph: Graph, inputs: Mapping[str, Any] | None) -> list[Lack]:
        """What the ComfyUI lacks for a graph. Raises MachineError."""
        self.asked += 1
        try:
            return await self.comfyui.lacks(graph, inputs)
        finally:
            self.asked -= 1

    async def run(self, job: Job, emit: Emit) -> None:
        """Execute a run; MachineError with the end of the log as soon as the process dies."""
        work = asyncio.ensure_future(self.comfyui.run(job, emit))
        death = asyncio.ensure_future(self.process.wait())
        try:
            await asyncio.wait({work, death}, return_when=asyncio.FIRST_COMPLETED)
            if work.done() and isinstance(work.exception(), MachineLost):
                await asyncio.wait({death}, timeout=DEATH_SECONDS)
            if death.done() and (not work.done() or work.exception()):
                lost = work.exception() if work.done() else None
                was_sent = lost.was_sent if isinstance(lost, MachineLost) else True
                raise MachineLost(self.process.ended("in the middle of the run").failure, was_sent=was_sent)
            await work
        finally:
            work.cancel()
            death.cancel()
            await asyncio.gather(work, death, return_exceptions=True)

    async def ask(self) -> Facts:
        """What it tells of itself; what it told before when it is too busy to answer."""
        with suppress(MachineError, asyncio.TimeoutError):
            self.facts = await asyncio.wait_for(self.comfyui.health(), ANSWER_SECONDS)
        return self.facts

    async def stop(self) -> None:
        if self.retirement:
            self.retirement.cancel()
        await self.comfyui.close()
        await self.process.stop()


@dataclass
class Crew:
    """The processes of one machine. `idle` has the one that was used last at its end."""

    all: set[Worker] = field(default_factory=set[Worker])
    idle: list[Worker] = field(default_factory=list[Worker])
    starting: set[ComfyUIProcess] = field(default_factory=set[ComfyUIProcess])
    taken: set[int] = field(default_factory=set[int])
    """Numbers of processes that run or are being started: each has its GPU by its number."""
    _last: Facts = field(default_factory=Facts)

    def forget(self, worker: Worker) -> None:
        """It takes no runs any more. Its number is taken until it has ended."""
        self.all.discard(worker)
        if worker in self.idle:
            self.idle.remove(worker)

    async def facts(self) -> Facts:
        """What the processes are together; without one, what the last ones were."""
        running = [worker for worker in self.all if worker.process.is_running]
        if running:
            self._last = together(await asyncio.gather(*(worker.ask() for worker in running)))
            return replace(self._last, processes=len(running))
        return replace(self._last, vram_free=None, processes=0)

    @property
    def running_logs(self) -> set[Path]:
        """The logs of the processes that are there."""
        processes = [*self.starting, *(worker.process for worker in self.all)]
        return {process.log for process in processes if process.is_running}
