"""The same pixels travel once."""

from __future__ import annotations

import asyncio
from datetime import datetime, timedelta, timezone

import pytest
import torch
from comfyui_outpost.api.client import Client, ContentCache
from comfyui_outpost.api.errors import RunFailed, TransferError
from comfyui_outpost.api.settings import Connection
from comfyui_outpost.nodes.execution import run_deployment
from comfyui_outpost.nodes.sending import upload_images
from comfyui_outpost.nodes.stopwatch import Stopwatch
from comfyui_outpost.tests.nodes.hosts import FakeHost
from comfyui_outpost.tests.nodes.sites import ANNOUNCE, PUT
from comfyui_outpost.tests.server.graphs import SAVE_IMAGE, external, node

PIXELS = torch.linspace(0, 1, 48).reshape(1, 4, 4, 3)
TWO = {**SAVE_IMAGE, "3": external("Image", "other"), "4": node("SaveImage", images=["3", 0])}


async def test_one_picture_in_two_inputs_is_uploaded_once(place):
    result = await place.run(TWO, image=PIXELS, other=PIXELS.clone())

    assert (place.site.count(ANNOUNCE), place.site.count(PUT)) == (1, 1)
    assert result.run.workflow_inputs["image"] == result.run.workflow_inputs["other"]
    assert len(result.images) == 2


async def test_a_picture_that_is_many_times_in_a_batch_is_uploaded_once(place):
    urls = await upload_images(place.client, list(PIXELS.expand(20, -1, -1, -1)), stopwatch=Stopwatch())

    assert len(urls) == 20
    assert len(set(urls)) == 1
    assert place.site.count(PUT) == 1


async def test_a_second_run_with_the_same_pixels_uploads_nothing(place):
    deployment_id = await place.deploy(SAVE_IMAGE)
    await place.run(deployment_id, image=PIXELS)
    second = await place.run(deployment_id, image=PIXELS.clone())

    assert place.site.count(PUT) == 1
    assert second.stopwatch.sent_bytes == 0
    assert len(await place.runs()) == 2


async def test_pixels_that_differ_by_one_bit_or_in_shape_are_other_pixels(place):
    nearly = PIXELS.clone()
    nearly[0, 0, 0, 0] = 1 / 255

    await upload_images(place.client, [PIXELS[0], nearly[0], PIXELS[0].reshape(2, 8, 3)], stopwatch=Stopwatch())

    assert place.site.count(PUT) == 3


async def test_two_prompts_with_event_loops_of_their_own_share_what_was_uploaded(place):
    connection, contents = Connection(place.site.url, place.platform.owner.api_key), ContentCache()
    deployment_id = await place.deploy(SAVE_IMAGE)

    async def prompt() -> list[torch.Tensor]:
        async with Client(connection, contents=contents) as client:
            result = await run_deployment(client, FakeHost(), deployment_id=deployment_id, inputs={"image": PIXELS})
            return [each.image for each in result.images]

    both = await asyncio.gather(*(asyncio.to_thread(asyncio.run, prompt()) for _ in range(2)))

    assert place.site.count(PUT) == 1
    assert torch.equal(both[0][0], both[1][0])


async def test_pixels_are_uploaded_again_when_their_url_is_about_to_expire(open_workplace):
    now = [datetime.now(timezone.utc)]
    contents = ContentCache(now=lambda: now[0])
    async with open_workplace(url_seconds=3600, client={"contents": contents}) as place:
        for minutes, uploads in ((0, 1), (45, 1), (10, 2)):
            now[0] += timedelta(minutes=minutes)
            await upload_images(place.client, list(PIXELS), stopwatch=Stopwatch())
            assert place.site.count(PUT) == uploads, f"after {minutes} more minutes"


async def test_an_upload_that_failed_is_made_anew_by_the_next_run(place):
    place.site.fail(PUT, 400)
    deployment_id = await place.deploy(SAVE_IMAGE)
    with pytest.raises(TransferError, match=r"The store refused the upload \(400\)"):
        await place.run(deployment_id, image=PIXELS)

    result = await place.run(deployment_id, image=PIXELS)

    assert place.site.count(PUT) == 2
    assert len(result.images) == 1


async def test_pixels_are_uploaded_again_when_the_platform_has_lost_their_file(place):
    deployment_id = await place.deploy(SAVE_IMAGE)
    await place.run(deployment_id, image=PIXELS)
    for file in (place.platform.parts.config.data / "objects" / "files").rglob("*"):
        if file.is_file():
            file.unlink()

    with pytest.raises(RunFailed):
        await place.run(deployment_id, image=PIXELS)
    result = await place.run(deployment_id, image=PIXELS)

    assert place.site.count(PUT) == 2
    assert torch.equal(result.images[0].image, PIXELS.mul(255).round().div(255))
