"""Tensors go to a run and come back from it."""

from __future__ import annotations

import asyncio
import json

import pytest
import torch
from comfyui_outpost.api.errors import InvalidInput
from comfyui_outpost.nodes import media
from comfyui_outpost.nodes.run_outputs import RunOutputs
from comfyui_outpost.nodes.sending import upload_images
from comfyui_outpost.nodes.stopwatch import Stopwatch
from comfyui_outpost.tests.server.graphs import ECHO, EVERY_KIND, SAVE_IMAGE, external, node

BATCH = {
    "1": external("ImageBatch", "pictures"),
    "2": node("SaveImage", images=["1", 0], output_id="result"),
}
TWO_SIZES = {
    "1": node("EmptyImage", width=8, height=4, color=0xFF0000),
    "2": node("EmptyImage", width=2, height=2, color=0x0000FF),
    "3": node("SaveImage", images=["1", 0], output_id="wide"),
    "4": node("SaveImage", images=["2", 0]),
    "5": node("PreviewAny", source="a caption", output_id="words"),
}


def picture(count: int = 1, height: int = 5, width: int = 7, channels: int = 3, seed: int = 0) -> torch.Tensor:
    """Noise with values that eight bits can hold."""
    shape = (count, height, width, channels)
    return torch.randint(0, 256, shape, generator=torch.Generator().manual_seed(seed)).float() / 255


async def test_an_image_comes_back_bit_for_bit(place):
    sent = picture(height=33, width=70)

    result = await place.run(SAVE_IMAGE, image=sent)

    [part] = result.images
    assert torch.equal(part.image, sent)
    assert not part.mask.any()
    assert result.run.status.value == "success"
    assert place.host.shares[-1] == 1
    assert place.host.texts[-1] == f"run {result.run.id}: success"


async def test_what_was_computed_remotely_comes_back_exactly(place):
    graph = {**SAVE_IMAGE, "2": node("ImageInvert", image=["1", 0]), "3": node("SaveImage", images=["2", 0])}
    sent = picture()

    result = await place.run(graph, image=sent)

    expected = torch.from_numpy(255 - media.to_pixels(sent[0])).float() / 255
    assert torch.equal(result.images[0].image[0], expected)


async def test_a_mask_arrives_as_a_picture_with_one_as_white(place):
    mask = torch.tensor([[[0.0, 1.0], [51 / 255, 0.2]]])

    result = await place.run(SAVE_IMAGE, image=mask)

    assert torch.equal(result.images[0].image, mask.unsqueeze(-1).expand(-1, -1, -1, 3))


async def test_transparency_from_a_mask_comes_back_as_the_same_mask(place):
    sent, mask = picture(2), picture(2, channels=1, seed=1)[..., 0]

    urls = await upload_images(place.client, media.images_with_alpha(sent, mask), stopwatch=Stopwatch())
    results = [await place.run(SAVE_IMAGE, image=url) for url in urls]

    assert torch.equal(torch.cat([each.images[0].image for each in results]), sent)
    assert torch.allclose(torch.cat([each.images[0].mask for each in results]), mask, atol=1e-7)


@pytest.mark.parametrize("count", [1, 9])
async def test_a_batch_arrives_and_comes_back_in_its_order(place, count):
    sent = picture(count)

    result = await place.run(BATCH, pictures=sent)

    [images], [masks] = media.batch(result.images)
    assert torch.equal(images, sent)
    assert masks.shape == (count, 5, 7)
    assert len(json.loads(result.run.workflow_inputs["pictures"])) == count


async def test_a_batch_is_also_a_list_of_urls_or_its_json(place):
    urls = await upload_images(place.client, list(picture(2)), stopwatch=Stopwatch())

    for pictures in (urls, json.dumps([each.url for each in urls])):
        result = await place.run(BATCH, pictures=pictures)
        assert torch.equal(torch.cat([each.image for each in result.images]), picture(2))


async def test_urls_numbers_booleans_and_texts_arrive_as_what_they_are(place):
    [url] = await upload_images(place.client, list(picture()), stopwatch=Stopwatch())
    values = {"text": 'süß, "quoted"\n…', "steps": 20, "strength": 0.25, "loud": True, "size": "large"}

    result = await place.run(EVERY_KIND, image=url, **values)

    assert {**result.run.workflow_inputs, "image": ""} == {**values, "image": ""}
    assert type(result.run.workflow_inputs["loud"]) is bool


async def test_numbers_become_the_type_that_the_deployment_wants(place):
    result = await place.run(EVERY_KIND, image=picture(), steps=3.0, strength=2, text=5)

    told = result.run.workflow_inputs
    assert (told["steps"], type(told["steps"])) == (3, int)
    assert (told["strength"], type(told["strength"])) == (2.0, float)
    assert told["text"] == "5"


async def test_inputs_with_a_default_may_be_left_out(place):
    assert (await place.run(ECHO)).texts == ["nothing was said"]


async def test_outputs_of_one_size_are_one_batch_and_of_different_sizes_a_list(place):
    result = await place.run(TWO_SIZES)

    assert [list(each.shape) for each in media.batch(result.images)[0]] in (
        [[1, 4, 8, 3], [1, 2, 2, 3]],
        [[1, 2, 2, 3], [1, 4, 8, 3]],
    )
    assert [list(each.shape) for each in media.batch([*result.pick("wide").images] * 2)[0]] == [[2, 4, 8, 3]]


async def test_outputs_are_picked_by_output_id_and_by_node(place):
    result = await place.run(TWO_SIZES)

    [wide] = result.pick("wide").images
    [small] = result.pick("4").images
    assert torch.equal(wide.image, torch.tensor([1.0, 0, 0]).expand(1, 4, 8, 3))
    assert torch.equal(small.image, torch.tensor([0, 0, 1.0]).expand(1, 2, 2, 3))
    assert torch.equal(result.pick("3").images[0].image, wide.image)
    assert (result.pick("words").texts, result.pick("words").images) == (["a caption"], [])
    assert result.texts == ["a caption"]


async def test_picking_an_output_that_is_not_there_names_those_that_are(place):
    result = await place.run(TWO_SIZES)

    with pytest.raises(InvalidInput, match=r"has no output 'result'. Its outputs are: #1 'wide' \(1 image\), "):
        result.pick("result")


async def test_run_outputs_gives_a_batch_and_the_texts_of_what_was_picked(place):
    result = await place.run(TWO_SIZES)

    [image], [mask], texts = await asyncio.to_thread(RunOutputs().run, result, " wide ")
    everything = await asyncio.to_thread(RunOutputs().run, result, "")

    assert (list(image.shape), list(mask.shape)) == ([1, 4, 8, 3], [1, 4, 8])
    assert texts == [None], "outside of ComfyUI nothing can stand for an output that is not there"
    assert len(everything[0]) == 2
    assert everything[2] == ["a caption"]


async def test_a_run_without_outputs_is_a_success_with_none(place):
    result = await place.run({"1": node("EmptyImage", width=8, height=8), "2": node("PreviewImage", images=["1", 0])})

    assert (result.images, result.texts) == ([], [])
    with pytest.raises(InvalidInput, match="It has put out nothing at all"):
        result.pick("anything")


async def test_the_stopwatch_knows_where_the_time_went(place):
    result = await place.run(SAVE_IMAGE, image=picture(height=64, width=64))

    assert set(result.stopwatch.seconds) == {"encode", "upload", "queue", "run", "download", "decode", "total"}
    assert all(seconds >= 0 for seconds in result.stopwatch.seconds.values())
    assert result.stopwatch.sent_bytes > 64 * 64 * 3
