"""A machine that does what a test has written down for it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable

from comfyui_outpost.api.models import Graph, Lack
from comfyui_outpost.api.server.machines import Emit, Job, OutputBytes

Script = Callable[[Job, Emit], Awaitable[None]]


class ScriptedMachine:
    """Plays the script for every run."""

    def __init__(self, script: Script) -> None:
        self._script = script

    async def run(self, job: Job, emit: Emit) -> None:
        await self._script(job, emit)

    async def health(self) -> None:
        """It can always take a run."""

    async def lacks(self, graph: Graph, inputs: object, *, may_start: bool = False) -> list[Lack]:
        """It has everything."""
        return []

    async def close(self) -> None:
        """It holds nothing."""


def puts_out(data: bytes, *, name: str = "result.png", kind: str = "images") -> ScriptedMachine:
    """A machine whose every run puts out one file as the output `result`."""

    async def chunks() -> AsyncIterator[bytes]:
        yield data

    async def script(job: Job, emit: Emit) -> None:
        file = OutputBytes(kind, name, "image/png", chunks())
        await job.outputs.add("1", "SaveImage", output_id="result", files=[file], texts=[])

    return ScriptedMachine(script)
