"""Jobs as the dispatcher gives them to a machine, and what comes of them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from comfyui_outpost.api.errors import InvalidInput
from comfyui_outpost.api.events import RunEvent
from comfyui_outpost.api.server.machines import Job, Machine, MachineError, OutputBytes

RUN_ID = "0d7b1f0e-8d3c-4a35-9b57-9a1d2c5be0aa"
SIGNATURE = "a-signature-that-nobody-may-see"
IMAGE_URL = f"https://platform.example/objects/inputs/photo.png?s={SIGNATURE}"
Graph = dict[str, Any]


def node(class_type: str, **inputs: Any) -> Graph:
    """One node of a graph in API format."""
    return {"class_type": class_type, "inputs": inputs}


def external(kind: str, input_id: str, **fields: Any) -> Graph:
    """A node that stands for an input of a deployment."""
    return node(f"ComfyUIDeployExternal{kind}", input_id=input_id, **fields)


SAVE: Graph = {
    "1": node("EmptyImage", width=8, height=8),
    "2": node("SaveImage", images=["1", 0], filename_prefix="kept", output_id="result"),
}
"""Puts out one picture."""

INVERT: Graph = {
    "1": external("Image", "image"),
    "2": node("ImageInvert", image=["1", 0]),
    "3": node("SaveImage", images=["2", 0], filename_prefix="kept", output_id="result"),
}
"""Takes a picture and puts out another one."""


@dataclass(frozen=True)
class Output:
    """What a node of a run has put out."""

    node_id: str
    node_class: str
    output_id: str | None
    files: list[tuple[str, str, str, bytes]]
    """Kind, name, content type, content."""
    texts: list[str]
    types: list[str] = field(default_factory=list)
    """Of the files: `output`, or `temp` for what a node only shows."""


@dataclass
class Trial:
    """One run on a machine. `disk_full` makes the store of its outputs fail."""

    graph: Graph
    inputs: Mapping[str, Any] = field(default_factory=dict)
    files: Mapping[str, bytes] = field(default_factory=dict)
    run_id: str = RUN_ID
    disk_full: bool = False
    is_repeated: bool = False
    preview_images: bool = False
    temporary_files: bool = False
    outputs: list[Output] = field(default_factory=list)
    events: list[RunEvent] = field(default_factory=list)
    largest_chunk: int = 0
    _task: asyncio.Task[None] | None = None

    async def on(self, machine: Machine) -> Trial:
        """Execute it to its end."""
        await machine.run(self._job(), self.events.append)
        return self

    def start_on(self, machine: Machine) -> asyncio.Task[None]:
        """Begin with it."""
        self._task = asyncio.create_task(machine.run(self._job(), self.events.append))
        return self._task

    async def failure_on(self, machine: Machine) -> MachineError:
        """Execute it, which has to fail: why."""
        try:
            await machine.run(self._job(), self.events.append)
        except MachineError as error:
            assert SIGNATURE not in str(error)
            return error
        raise AssertionError("it did not fail")

    def of(self, kind: type[RunEvent]) -> list[Any]:
        """The events of one kind, in order."""
        return [event for event in self.events if isinstance(event, kind)]

    def _job(self) -> Job:
        return Job(
            self.run_id,
            self.graph,
            self.inputs,
            read_file=self._read,
            outputs=self,
            is_repeated=self.is_repeated,
            preview_images=self.preview_images,
            temporary_files=self.temporary_files,
        )

    async def _read(self, url: str) -> AsyncIterator[bytes]:
        if url not in self.files:
            raise InvalidInput("There is no such object: it was deleted")
        yield self.files[url]

    async def add(
        self, node_id: str, node_class: str, *, output_id: str | None, files: list[OutputBytes], texts: list[str]
    ) -> None:
        kept = [(file.kind, file.filename, file.content_type, await self._take(file)) for file in files]
        types = [file.type for file in files]
        self.outputs.append(Output(node_id, node_class, output_id, kept, texts, types))

    async def _take(self, file: OutputBytes) -> bytes:
        content = bytearray()
        async for chunk in file.chunks:
            if self.disk_full:
                raise OSError(28, "No space left on device")
            self.largest_chunk = max(self.largest_chunk, len(chunk))
            content += chunk if len(content) < 1024 * 1024 else b""
        return bytes(content)
