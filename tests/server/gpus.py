"""Several ComfyUIs as machines of one platform."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from typing import Any

from comfyui_outpost.api.server.config import Rhythm
from comfyui_outpost.api.server.machines import Machine, MachineSettings
from comfyui_outpost.api.server.machines.comfyui import ComfyUIMachine, Patience
from comfyui_outpost.tests.fakes.comfyui import Execution, FakeComfyUI, serve

from .graphs import Graph, node
from .talking import Talker

QUICK = Rhythm(well=0.05, first=0.05, longest=0.2)
IMPATIENT = Patience(away=0.3, retry=0.02, quiet=5, stop=2, answer=2)


def impatient(settings: MachineSettings) -> Machine:
    """A machine that soon takes a ComfyUI for dead."""
    return ComfyUIMachine(settings, patience=IMPATIENT)


def diffusion(model: str = "plain.safetensors", *, text: str = "a cat") -> Graph:
    """A graph with a model."""
    return {
        "1": node("CheckpointLoaderSimple", ckpt_name=model),
        "2": node("KSampler", seed=1, text=text, model=["1", 0]),
        "3": node("SaveImage", images=["2", 0], filename_prefix="x", output_id="result"),
    }


async def work_for_ever(execution: Execution) -> None:
    """A script that ends only when it is interrupted."""
    await execution.work_for_ever()


@dataclass
class Box:
    """A computer with a GPU: its ComfyUI, and the machine that it is on the platform."""

    comfyui: FakeComfyUI
    machine_id: str
    name: str

    @property
    def sent(self) -> int:
        """How many graphs it was sent."""
        return len(self.comfyui.submitted)


@asynccontextmanager
async def boxes(owner: Talker, *names: str) -> AsyncGenerator[list[Box], None]:
    """A ComfyUI for each name, added as a machine."""
    async with AsyncExitStack() as stack:
        found: list[Box] = []
        for name in names:
            comfyui = FakeComfyUI()
            url = await stack.enter_async_context(serve(comfyui))
            made = await owner.post("/machine/custom", {"name": name, "endpoint": url})
            found.append(Box(comfyui, made["id"], name))
        yield found


async def pool_of(owner: Talker, *members: Box, name: str = "all of them") -> str:
    """A pool of these; its id."""
    body = {"name": name, "type": "pool", "machine_ids": [each.machine_id for each in members]}
    return (await owner.post("/machine/create", body))["id"]


async def deploy_on(owner: Talker, machine_id: str, graph: Graph, **options: Any) -> str:
    """A deployment of a graph on a machine or pool; its id."""
    made = await owner.post("/workflow", {"name": "a test's graph", "workflow_json": {}, "workflow_api": graph})
    wanted = {"workflow_id": made["workflow_id"], "workflow_version_id": made["workflow_version_id"]}
    return (await owner.post("/deployment", {**wanted, "machine_id": machine_id, **options}))["id"]
