"""A ComfyUI with our nodes, the platform that they speak to, and the words to test them with."""

from __future__ import annotations

import asyncio
import hashlib
import io
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass

import numpy as np
from comfyui_outpost.api.client import Client
from comfyui_outpost.api.models import Run
from comfyui_outpost.tests.bench.server import deploy
from numpy.typing import NDArray
from PIL import Image

from .gateway import Gateway, Traffic
from .instance import Execution, Instance, Outcome
from .messages import Json, Message

Pixels = NDArray[np.uint8]


def node(class_type: str, **inputs: object) -> Json:
    """A node of an executable graph; a link is `["node id", output index]`."""
    return {"class_type": class_type, "inputs": inputs}


def external(kind: str, input_id: str, **fields: object) -> Json:
    """A node that stands for an input of a deployment."""
    return node(f"ComfyUIDeployExternal{kind}", input_id=input_id, **fields)


def run_deployment(deployment_id: str, **inputs: object) -> Json:
    return node("OutpostRunDeployment", deployment_id=deployment_id, deadline_minutes=1.0, **inputs)


def save(images: list[object], name: str = "outpost") -> Json:
    """ComfyUI's own SaveImage, behind a link."""
    return node("SaveImage", images=images, filename_prefix=name)


INVERT = {
    "1": external("Image", "image"),
    "2": node("ImageInvert", image=["1", 0]),
    "3": node("SaveImage", images=["2", 0], output_id="inverted"),
}
SAME = {"1": external("Image", "image"), "2": node("SaveImage", images=["1", 0], output_id="same")}


def sleep(seconds: float) -> Json:
    """A graph that takes its time with an image."""
    return {
        "1": external("Image", "image"),
        "2": node("OutpostSleep", image=["1", 0], seconds=seconds),
        "3": node("SaveImage", images=["2", 0]),
    }


def picture(seed: int, *, size: tuple[int, int] = (40, 24), channels: int = 3) -> Pixels:
    """Noise `[H, W, C]` with every value in it; another seed is another picture. `size` is width and height."""
    width, height = size
    return np.random.default_rng(seed).integers(0, 256, (height, width, channels), np.uint8)


def read_image(content: bytes) -> Pixels:
    return np.asarray(Image.open(io.BytesIO(content)))


@dataclass(frozen=True)
class Lane:
    """What one test works with. `client` speaks to the platform itself, ComfyUI through the gateway."""

    comfyui: Instance
    client: Client
    gateway: Gateway
    api_key: str

    @property
    def traffic(self) -> Traffic:
        return self.gateway.traffic

    async def load(self, pixels: Pixels) -> Json:
        """A LoadImage node for these pixels, which are uploaded to ComfyUI."""
        content = io.BytesIO()
        Image.fromarray(pixels).save(content, "PNG")
        uploaded = await self.comfyui.upload_image(content.getvalue(), f"{hashlib.sha256(pixels).hexdigest()}.png")
        return node("LoadImage", image=uploaded["name"])

    @asynccontextmanager
    async def busy_machine(self) -> AsyncGenerator[None]:
        """During the block the platform's machine has no free slot."""
        sleeper = await self.deploy({"1": node("OutpostSleep", seconds=60)})
        slots = (await self.client.machines.list())[0].concurrency_limit or 1
        run_ids = [await self.client.runs.queue(sleeper, {}) for _ in range(slots)]
        try:
            yield
        finally:
            await asyncio.gather(*map(self.client.runs.cancel, run_ids))

    async def deploy(self, graph: Json) -> str:
        """The id of a new deployment of a graph."""
        return await deploy(self.client, graph)

    async def queue(self, graph: Json) -> str:
        return await self.comfyui.queue(graph, extra_data={"extra_pnginfo": {"workflow": {"nodes": []}}})

    async def execute(self, graph: Json) -> Execution:
        """Execute a graph, which has to succeed."""
        execution = await self.comfyui.follow(await self.queue(graph))
        assert execution.outcome is Outcome.SUCCESS, self.comfyui.log()[-4000:]
        return execution

    async def error_of(self, graph: Json) -> Json:
        """Execute a graph, which has to fail: what ComfyUI says about that."""
        execution = await self.comfyui.follow(await self.queue(graph))
        assert execution.outcome is Outcome.ERROR
        (failure,) = [message.data for message in execution.messages if message.type == "execution_error"]
        return failure

    async def saved(self, execution: Execution, node_id: str) -> list[Pixels]:
        """The pixels of the images that a SaveImage has written."""
        return [read_image(await self.comfyui.view(**record)) for record in execution.outputs(node_id)["images"]]

    async def runs(self) -> list[Run]:
        """The remote runs of this test as the platform knows them, in the order of their submission."""
        return [await self.client.runs.get(run_id) for run_id in self.traffic.run_ids]

    async def wait_for_progress(self, prompt_id: str, node_id: str) -> Message:
        """The first progress of a node, which it makes when its remote run is at work."""
        return await self.comfyui.wait_for_message(
            lambda message: (
                message.type == "progress"
                and message.is_about(prompt_id)
                and message.data["node"] == node_id
                and message.data["value"] > 0
            )
        )
