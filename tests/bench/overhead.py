"""What the way there and back costs when the machine has nothing to do, and what a second run of an image sends."""

from __future__ import annotations

import io
import tempfile
import time
from collections.abc import AsyncGenerator, Iterator
from pathlib import Path

import torch
from comfyui_outpost.api.client import ContentCache
from comfyui_outpost.nodes import execution
from figures import Figure, median_ms
from pictures import photograph
from PIL import Image
from server import ZERO_COMPUTE, Server, SilentHost, deploy, serve

RUNS = 21
SIZES = (("overhead_1mp", 1024, 1024, 60.0), ("overhead_4k", 3840, 2160, 400.0))


async def figures() -> AsyncGenerator[Figure, None]:
    """Baseline of an overhead: Pillow alone writing and reading the same picture once, with nothing sent anywhere."""
    with tempfile.TemporaryDirectory() as folder:
        async with serve(Path(folder)) as server:
            async with server.client() as client:
                deployment = await deploy(client, ZERO_COMPUTE)
            for name, width, height, goal in SIZES:
                runs, pillow = [], []
                for image in _tensors(width, height):
                    runs.append(await _run(server, deployment, image))
                    pillow.append(_pillow(image))
                yield Figure(name, median_ms(runs[1:]), "ms", median_ms(pillow[1:]), goal)
            yield await _reupload(server, deployment)


def _tensors(width: int, height: int) -> Iterator[torch.Tensor]:
    """As many pictures as runs, none like another: the same one would be sent only once."""
    base = torch.from_numpy(photograph(width, height, seed=1)).to(torch.float32).div(255)
    for shift in range(RUNS + 1):
        yield base.roll(shift, dims=1).unsqueeze(0)


async def _run(server: Server, deployment: str, image: torch.Tensor, contents: ContentCache | None = None) -> float:
    start = time.perf_counter()
    async with server.client(contents) as client:
        result = await execution.run_deployment(client, SilentHost(), deployment_id=deployment, inputs={"image": image})
    seconds = time.perf_counter() - start
    assert torch.equal(result.images[0].image, image)
    return seconds


def _pillow(image: torch.Tensor) -> float:
    start = time.perf_counter()
    pixels = image[0].mul(255).round().to(torch.uint8).numpy()
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "PNG")
    Image.open(file).load()
    return time.perf_counter() - start


async def _reupload(server: Server, deployment: str) -> Figure:
    contents, sent = ContentCache(), []
    image = torch.from_numpy(photograph(1024, 1024, seed=99)).to(torch.float32).div(255).unsqueeze(0)
    for _ in range(2):
        async with server.client(contents) as client:
            result = await execution.run_deployment(
                client, SilentHost(), deployment_id=deployment, inputs={"image": image}
            )
        sent.append(result.stopwatch.sent_bytes)
    return Figure("reupload_bytes", sent[1], "bytes", sent[0], 0.0)
