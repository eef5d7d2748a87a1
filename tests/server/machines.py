"""Machines that do what a test says."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable

from comfyui_outpost.api.events import ExecutionStarted
from comfyui_outpost.api.models import Graph, Lack, MachineLog
from comfyui_outpost.api.server.machines import Emit, Job, OutputBytes

Play = Callable[[Job, Emit], Awaitable[None]]


class ScriptedMachine:
    """Plays a test's script for every run, and remembers which runs began, in order."""

    def __init__(self, play: Play) -> None:
        self._play = play
        self.began: list[str] = []
        self.stopped: list[str] = []
        """The runs that were cancelled while they worked."""
        self.prompts: set[str] = set()
        """What its ComfyUI is at work on."""
        self.is_closed = False

    async def run(self, job: Job, emit: Emit) -> None:
        self.began.append(job.run_id)
        emit(ExecutionStarted(job.run_id))
        try:
            await self._play(job, emit)
        except asyncio.CancelledError:
            self.stopped.append(job.run_id)
            raise

    async def health(self) -> None:
        """It can always take a run."""

    async def lacks(self, graph: Graph, inputs: object, *, may_start: bool = False) -> list[Lack]:
        """It has everything."""
        return []

    async def executes(self, prompt_id: str) -> bool:
        return prompt_id in self.prompts

    async def logs(self, limit_bytes: int) -> list[MachineLog]:
        """It has no process."""
        return []

    async def close(self) -> None:
        self.is_closed = True


async def work_for_ever(job: Job, emit: Emit) -> None:
    """A script that ends only when it is cancelled."""
    await asyncio.Event().wait()


async def put_out_text(job: Job, emit: Emit) -> None:
    """A script with one output."""
    await job.outputs.add("1", "PreviewAny", output_id=None, files=[], texts=["done"])


def picture(data: bytes, *, filename: str = "x.png") -> OutputBytes:
    """A file to put out."""

    async def chunks() -> AsyncIterator[bytes]:
        yield data

    return OutputBytes("images", filename, "image/png", chunks())
