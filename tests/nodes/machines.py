"""A machine that does what a test has written down for it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import dataclass

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

    async def executes(self, prompt_id: str) -> bool:
        """It is no ComfyUI."""
        return False

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


def puts_out_all(*outputs: Sequence[PutOut]) -> ScriptedMachine:
    """A machine whose every run puts out all of this: node "1" the first of them, node "2" the second, and so on."""

    async def script(job: Job, emit: Emit) -> None:
        for number, put_out in enumerate(outputs, start=1):
            files = [OutputBytes(each.kind, each.name, each.content_type, _chunks(each.data)) for each in put_out]
            first = put_out[0]
            await job.outputs.add(
                str(number), first.node_class, output_id=first.output_id, files=files, texts=list(first.texts)
            )

    return ScriptedMachine(script)


@dataclass(frozen=True)
class PutOut:
    """A file that a node puts out, in the list `kind`."""

    data: bytes
    name: str
    kind: str = "images"
    node_class: str = ""
    output_id: str | None = None
    content_type: str = "application/octet-stream"
    texts: tuple[str, ...] = ()


async def _chunks(data: bytes) -> AsyncIterator[bytes]:
    yield data
