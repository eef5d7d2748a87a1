"""A graph on one ComfyUI samples a picture on another one, through a platform: steps, previews and pixels come back."""

from __future__ import annotations

import io
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
import pytest_asyncio
from comfyui_outpost.api.client import Client
from comfyui_outpost.api.events import NodeProgress, PreviewImage, RunEvent
from comfyui_outpost.api.models import Deployment
from numpy.typing import NDArray
from PIL import Image

from .installations import Installation
from .instance import Execution, Instance, Outcome
from .lane import Pixels, node, read_image, run_deployment, save
from .messages import Json
from .test_machines import STEPS, diffusion
from .tiny_checkpoint import CHECKPOINT

# The ComfyUIs and the platform that all tests share live on this event loop.
pytestmark = pytest.mark.asyncio(loop_scope="session")

ALIKE = 8.0
"""How far, in the mean, a preview may be from the one that it was before it was encoded once more; of 255."""
SHOWING = {
    "1": node("EmptyImage", width=8, height=8, batch_size=2, color=0x102030),
    "2": node("PreviewImage", images=["1", 0]),
    "3": node("SaveImage", images=["1", 0], filename_prefix="kept"),
}


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def machine_id(client: Client, stock: Instance, installation: Installation) -> str:
    return (await client.machines.create_custom(installation.name, stock.url)).id


async def deploy(client: Client, machine_id: str, graph: Any) -> Deployment:
    made = await client.workflows.create("remote", {}, workflow_api=graph)
    return await client.deployments.create(
        workflow_id=made.workflow_id, workflow_version_id=made.workflow_version_id or "", machine_id=machine_id
    )


@dataclass(frozen=True)
class Sampled:
    """What somebody sees of a picture that is sampled: the picture, the steps and the previews."""

    execution: Execution
    picture: Pixels
    steps: list[float]
    previews: list[NDArray[np.float32]]
    preview_nodes: set[str | None]


async def executed(
    instance: Instance, graph: Json, *, sampler: str, saver: str, extra_data: Json | None = None
) -> Sampled:
    """Execute a graph, whose nodes `sampler` and `saver` sample and save a picture."""
    heard = len(instance.heard)
    execution = await instance.follow(await instance.queue(graph, extra_data=extra_data), timeout=120)
    assert execution.outcome is Outcome.SUCCESS, instance.log()[-4000:]
    [record] = execution.outputs(saver)["images"]
    told = [message.data for message in execution.messages if message.type == "progress"]
    previews = [message for message in instance.heard[heard:] if message.type == "preview"]
    for message in previews:
        assert message.data.get("prompt_id", execution.prompt_id) == execution.prompt_id
    return Sampled(
        execution,
        read_image(await instance.view(**record)),
        [each["value"] / each["max"] for each in told if each["node"] == sampler],
        [np.asarray(Image.open(io.BytesIO(message.blob)).convert("RGB"), np.float32) for message in previews],
        {message.data.get("node_id") for message in previews},
    )


def directly(seed: int) -> Json:
    """The graph of the deployment without its inputs, for the remote ComfyUI itself."""
    graph = diffusion(seed)
    kept = {node_id: each for node_id, each in graph.items() if node_id not in ("2", "5")}
    kept["1"] = node("CheckpointLoaderSimple", ckpt_name=str(CHECKPOINT))
    kept["3"] = node("CLIPTextEncode", clip=["1", 1], text="a cat")
    kept["6"]["inputs"]["seed"] = seed
    kept["8"]["inputs"]["filename_prefix"] = "directly"
    return kept


async def test_a_sampler_elsewhere_is_followed_and_seen_at_the_node_and_gives_the_same_pixels(
    client: Client, comfyui: Instance, stock: Instance, machine_id: str
):
    deployment = await deploy(client, machine_id, diffusion(41))

    def graph(seed: int) -> Json:
        return {"1": run_deployment(deployment.id, prompt="a cat", seed=seed), "2": save(["1", 0], "remote")}

    here = await executed(comfyui, graph(42), sampler="1", saver="2")
    # Another seed in between: the remote ComfyUI does not remember the first picture then.
    other = await executed(comfyui, graph(43), sampler="1", saver="2")
    shows = {"preview_method": "auto"}
    there = await executed(stock, directly(42), sampler="6", saver="8", extra_data=shows)

    assert np.array_equal(here.picture, there.picture)
    assert not np.array_equal(here.picture, other.picture)
    assert here.steps == sorted(here.steps)
    assert len({step for step in here.steps if 0 < step < 1}) >= 3  # ComfyUI itself passes over some that come fast
    assert here.steps[-1] == 1
    tells_nodes = there.preview_nodes != {None}
    assert here.preview_nodes == ({"1"} if tells_nodes else {None})
    assert 1 <= len(here.previews) <= STEPS
    for preview in here.previews:
        assert min(float(np.abs(preview - each).mean()) for each in there.previews) < ALIKE


async def test_only_a_run_that_asks_for_previews_is_shown_any(client: Client, machine_id: str, stock: Instance):
    deployment = await deploy(client, machine_id, diffusion(44))
    asked: list[RunEvent] = []
    plain: list[RunEvent] = []
    await client.runs.execute(deployment, {"prompt": "a"}, on_event=asked.append, preview_images=True)
    await client.runs.execute(deployment, {"prompt": "b"}, on_event=plain.append)

    previews = [event for event in asked if isinstance(event, PreviewImage)]
    assert {(event.node_id, event.content_type) for event in previews} == {("6", "image/jpeg")}
    assert not [event for event in plain if isinstance(event, PreviewImage)]
    for events in (asked, plain):
        assert any(isinstance(event, NodeProgress) and event.node_id == "6" for event in events)


async def test_what_a_preview_node_shows_comes_back_only_on_request(client: Client, machine_id: str):
    deployment = await deploy(client, machine_id, SHOWING)
    plain = await client.runs.execute(deployment, {})
    asked = await client.runs.execute(deployment, {}, temporary_files=True)

    assert {output.node_id for output in plain.outputs} == {"3"}
    types = {output.node_id: [file.type for file in output.files] for output in asked.outputs}
    assert types == {"2": ["temp"] * 2, "3": ["output"] * 2}
    for output in asked.outputs:
        for file in output.files:
            shown = read_image(await client.files.download(file.url, max_bytes=10_000))
            assert shown[..., :3].tolist() == [[[0x10, 0x20, 0x30]] * 8] * 8
