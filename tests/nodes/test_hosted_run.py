"""A picture goes to a run on the hosted platform, as it was recorded, and comes back."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from comfyui_outpost.api.client import Client
from comfyui_outpost.api.errors import RunFailed
from comfyui_outpost.api.settings import Connection
from comfyui_outpost.nodes import media
from comfyui_outpost.nodes.execution import run_deployment
from comfyui_outpost.tests.fakes import recordings
from comfyui_outpost.tests.fakes.hosted import STREAMED_RUNS, HostedPlatform
from comfyui_outpost.tests.fakes.serving import KEY, served
from comfyui_outpost.tests.nodes.hosts import FakeHost
from PIL import Image

PICTURE = torch.randint(0, 256, (1, 5, 7, 3), generator=torch.Generator().manual_seed(0)).float() / 255


def finishes(server: HostedPlatform, stream: str, base_url: str, *, status: str) -> None:
    """The next run is this recording, and what it puts out comes from the store."""
    run_id = STREAMED_RUNS[stream]
    server.stream = recordings.stream(stream).replace(b"https://bucket.example/", f"{base_url}/store/".encode())
    for file in files_of(server):
        file["url"] = file["url"].replace(server.run["id"], run_id)
    server.run |= {"id": run_id, "status": status}


def keep_outputs(server: HostedPlatform) -> None:
    """The store holds what the run put out: the picture inverted as PNG, and a blue one as WebP."""
    sent = next(iter(server.library.objects.values()))
    inverted = Image.fromarray(255 - np.asarray(Image.open(io.BytesIO(sent))))
    for file in files_of(server):
        is_png = file["filename"].endswith(".png")
        picture, data = inverted if is_png else Image.new("RGB", (4, 4), (0, 0, 255)), io.BytesIO()
        picture.save(data, "PNG" if is_png else "WEBP", lossless=True)
        server.library.objects[file["url"].removeprefix("https://bucket.example/")] = data.getvalue()


def files_of(server: HostedPlatform) -> list[dict[str, Any]]:
    outputs = server.run["outputs"]
    return [file for output in outputs for files in output["data"].values() for file in files]


async def test_a_picture_comes_back_from_the_hosted_platform_as_what_the_run_made_of_it(
    tmp_path: Path,
) -> None:
    server, host = HostedPlatform(), FakeHost(tmp_path)
    async with served(server.app) as base_url, Client(Connection(base_url, KEY)) as client:
        finishes(server, "ok", base_url, status="success")
        server.on_submission = lambda: keep_outputs(server)

        result = await run_deployment(
            client, host, deployment_id=server.deployment["id"], inputs={"input_image": PICTURE, "caption": "a cat"}
        )

    [inverted, blue] = result.images
    expected = torch.from_numpy(255 - media.to_pixels(PICTURE[0])).float() / 255
    assert torch.equal(inverted.image[0], expected)
    assert blue.image.shape == (1, 4, 4, 3)
    [submission] = server.log.submissions()
    sent = json.loads(submission.body)["inputs"]
    assert sent["caption"] == "a cat"
    assert sent["input_image"].startswith(f"{base_url}/store/inputs/")
    assert host.shares == sorted(host.shares)
    assert host.texts[-1] == f"run {result.run.id}: success"
    assert not any("Authorization" in each.headers for each in server.log.requests if "/store/" in each.path)


async def test_a_run_that_fails_on_the_hosted_platform_names_the_node(tmp_path: Path) -> None:
    server, host = HostedPlatform(), FakeHost(tmp_path)
    async with served(server.app) as base_url, Client(Connection(base_url, KEY)) as client:
        finishes(server, "execution_error", base_url, status="failed")

        with pytest.raises(RunFailed, match=r"node 2 \(ImageInvert\)"):
            await run_deployment(
                client, host, deployment_id=server.deployment["id"], inputs={"input_image": PICTURE, "caption": "x"}
            )

    assert len(server.log.submissions()) == 1
