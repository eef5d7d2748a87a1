"""Whatever can be known to be wrong is said before anything is uploaded."""

from __future__ import annotations

import pytest
import torch
from comfyui_outpost.api.errors import InvalidInput, NotFound, UnsupportedMedia
from comfyui_outpost.nodes.sending import upload_images
from comfyui_outpost.nodes.stopwatch import Stopwatch
from comfyui_outpost.tests.nodes.sites import ANNOUNCE, SUBMIT
from comfyui_outpost.tests.server.graphs import EVERY_KIND, external, node

GOOD = torch.zeros(1, 4, 4, 3)
BAD = torch.full((1, 4, 4, 3), float("nan"))
PICTURES = {**EVERY_KIND, "8": external("ImageBatch", "pictures"), "9": external("Image", "second")}

WRONG = {
    "an unknown input": ({"colour": GOOD}, "no input 'colour'.*'image', 'text', 'steps'"),
    "a missing input": ({"image": None, "text": "a"}, "The input 'image' .image. is missing"),
    "an empty url": ({"image": ""}, "The input 'image' .image. is missing"),
    "a text for a number": ({"steps": "many"}, "The input 'steps' takes an integer, not 'many'"),
    "a broken number": ({"steps": 2.5}, "The input 'steps' takes an integer, not 2.5"),
    "a number out of its limits": ({"steps": 101}, "The input 'steps' goes from 1 to 100, not 101"),
    "a boolean for a number": ({"strength": True}, "The input 'strength' takes a number, not True"),
    "a number for a boolean": ({"loud": 1}, "The input 'loud' takes true or false, not 1"),
    "an option that is none": ({"size": "huge"}, "The input 'size' is one of 'small', 'large', not 'huge'"),
    "a text for an image": ({"second": "cat.png"}, "The input 'second' takes an image"),
    "another object for an image": ({"second": {"samples": GOOD}}, "The input 'second' takes an image"),
    "an image for a text": ({"text": GOOD}, "The input 'text' .text. takes no image"),
    "an image for an integer": ({"steps": GOOD}, "The input 'steps' .integer. takes no image"),
    "an image for an option": ({"size": GOOD}, "The input 'size' .enum. takes no image"),
    "a batch for one image": (
        {"second": GOOD.expand(3, -1, -1, -1)},
        "The input 'second' cannot be sent: it takes one image.* batch of 3",
    ),
    "a batch of masks for one image": (
        {"second": torch.zeros(2, 4, 4)},
        "'second' cannot be sent: it takes one image.* batch of 2",
    ),
    "pixels that are no numbers": ({"second": BAD}, "The input 'second' cannot be sent: .*not numbers"),
    "one such picture in a batch": ({"pictures": torch.cat([GOOD] * 9 + [BAD])}, "'pictures' cannot be sent: .*NaN"),
    "an empty batch": ({"pictures": GOOD[:0]}, "The input 'pictures' cannot be sent: .*nothing in the batch"),
    "an empty batch for one image": ({"second": GOOD[:0]}, "The input 'second' cannot be sent: .*nothing in the"),
    "an image without pixels": ({"second": GOOD[:, :0]}, "The input 'second' cannot be sent: .*at least one pixel"),
    "whole numbers as pixels": ({"second": GOOD.byte()}, "The input 'second' cannot be sent: .*floating point"),
    "a tensor of another shape": ({"second": GOOD[None]}, "The input 'second' cannot be sent: .*the shape"),
}


@pytest.mark.parametrize("wrong", WRONG)
async def test_it_is_refused_by_the_name_of_the_input_and_nothing_is_sent(place, wrong):
    inputs, message = WRONG[wrong]
    inputs = {"image": GOOD, "second": GOOD, "pictures": torch.cat([GOOD, GOOD]), **inputs}

    with pytest.raises(InvalidInput, match=message) as caught:
        await place.run(PICTURES, **inputs)

    assert caught.value.input_id in str(caught.value)
    assert place.site.count(ANNOUNCE) == 0
    assert place.site.count(SUBMIT) == 0
    assert await place.runs() == []


async def test_an_image_with_five_channels_is_unsupported_media(place):
    with pytest.raises(UnsupportedMedia, match=r"The input 'second' cannot be sent: .*1 to 4 channels") as caught:
        await place.run(PICTURES, image=GOOD, pictures=GOOD, second=torch.zeros(1, 4, 4, 5))

    assert caught.value.input_id == "second"
    assert place.site.count(ANNOUNCE) == 0


async def test_upload_image_checks_the_whole_batch_before_it_sends_anything(place):
    with pytest.raises(InvalidInput, match="NaN"):
        await upload_images(place.client, [*GOOD] * 9 + [*BAD], stopwatch=Stopwatch())

    assert place.site.count(ANNOUNCE) == 0


async def test_a_deployment_that_is_not_there_is_said_before_anything_is_sent(place):
    with pytest.raises(NotFound, match="There is no deployment"):
        await place.run("00000000-0000-0000-0000-000000000000", image=GOOD)
    with pytest.raises(InvalidInput, match="'my deployment' is not an id"):
        await place.run("my deployment", image=GOOD)

    assert place.site.count(ANNOUNCE) == 0


async def test_a_file_input_takes_an_image(place):
    graph = {"1": external("File", "file"), "2": node("PreviewAny", source=["1", 0])}

    assert "image.png" in (await place.run(graph, file=GOOD)).texts[0]
