"""One run for each image of a batch or entry of a list: in order, a few at a time, and one failure is not the end."""

from __future__ import annotations

import asyncio
from collections import Counter

import pytest
import torch
from comfyui_outpost.api.errors import InvalidInput, RunDeadlineExceeded, RunFailed, Unauthorized
from comfyui_outpost.api.models import RunStatus
from comfyui_outpost.nodes import media
from comfyui_outpost.nodes.each import ForEach, entries
from comfyui_outpost.nodes.execution import Flow
from comfyui_outpost.nodes.on_failure import OnFailure
from comfyui_outpost.nodes.waiting import interruptible
from comfyui_outpost.tests.nodes.hosts import Interrupted
from comfyui_outpost.tests.nodes.sites import ANNOUNCE, CANCEL, PUT, SUBMIT
from comfyui_outpost.tests.server.graphs import ECHO, INVERT, SAVE_IMAGE, external, node

BLURRED = {
    "1": external("Image", "image"),
    "2": external("NumberInt", "radius", default_value=1),
    "3": node("ImageBlur", image=["1", 0], blur_radius=["2", 0]),
    "4": node("SaveImage", images=["3", 0], output_id="blurred"),
}
SLEEPS = {
    "1": external("Number", "seconds", default_value=0.0),
    "2": node("OutpostSleep", image=["3", 0], seconds=["1", 0]),
    "3": node("EmptyImage", width=8, height=8),
    "4": node("SaveImage", images=["2", 0], output_id="slept"),
}
BATCHES = {"1": external("ImageBatch", "images"), "2": node("SaveImage", images=["1", 0], output_id="same")}
LONG = 600.0


def noise(count: int, *, seed: int = 0, size: int = 8) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(0, 256, (count, size, size, 3), generator=generator).float() / 255


async def for_each(place, graph, *, limit=4, on_failure=OnFailure.STOP, deadline=None, **inputs):
    deployment_id = graph if isinstance(graph, str) else await place.deploy(graph)
    runs = ForEach(place.client, place.host, limit=limit, on_failure=on_failure, deadline=deadline)
    return await interruptible(place.host.check_interrupted, runs.run(deployment_id, inputs))


async def test_each_image_of_a_batch_is_a_run_and_the_results_are_a_batch_in_the_same_order(place):
    batch = noise(5)

    results = await for_each(
        place, INVERT | {"3": node("SaveImage", images=["2", 0], output_id="inverted")}, image=[batch]
    )

    images, masks = media.batch(results.outputs.result.images)
    assert torch.equal(images[0], (255 - (batch * 255).round()) / 255)
    assert masks[0].shape == (5, 8, 8)
    assert len(results.ends.results) == 5
    assert results.ends.messages == [""] * 5
    assert place.site.count(SUBMIT) == 5
    assert place.host.shares == sorted(place.host.shares)
    assert place.host.texts[-1].startswith("5 of 5 done")


async def test_entries_of_lists_go_together_and_one_entry_goes_to_all(place):
    results = await for_each(place, ECHO, text=["a", "b", "c"])
    assert results.outputs.result.texts == ["a", "b", "c"]

    image = noise(1)
    results = await for_each(place, BLURRED, image=[image], radius=[1, 2, 3])

    inputs = [each.run.workflow_inputs for each in results.ends.results]
    assert [each["radius"] for each in inputs] == [1, 2, 3]
    assert len({each["image"] for each in inputs}) == 1
    assert place.site.count(PUT) == 1, "the same picture travels once"


@pytest.mark.parametrize("graph", [BLURRED, BATCHES | {"3": external("NumberInt", "radius", default_value=1)}])
async def test_an_image_that_goes_to_all_is_converted_and_hashed_once(place, monkeypatch, graph):
    calls: Counter[str] = Counter()

    def counted(name):
        function = getattr(media, name)

        def count(*args):
            calls[name] += 1
            return function(*args)

        return count

    for name in ("to_pixels", "digest", "encode_png"):
        monkeypatch.setattr(media, name, counted(name))
    name = "image" if graph is BLURRED else "images"

    results = await for_each(place, graph, radius=list(range(8)), **{name: [noise(1)]})

    assert len(results.ends.finished) == 8
    assert calls == {"to_pixels": 1, "digest": 1, "encode_png": 1}
    assert place.site.count(PUT) == 1


async def test_an_image_that_cannot_be_sent_is_named(place):
    with pytest.raises(InvalidInput, match=r"'image' cannot be sent.*not numbers"):
        await for_each(place, BLURRED, image=[noise(1) * float("nan")], radius=[1, 2])

    assert place.site.count(SUBMIT) == place.site.count(ANNOUNCE) == 0


async def test_numbers_of_entries_that_do_not_agree_are_named_with_the_inputs(place):
    with pytest.raises(InvalidInput, match="'image' has 3, 'radius' has 2"):
        await for_each(place, BLURRED, image=[noise(2), noise(1)], radius=[1, 2])
    with pytest.raises(InvalidInput, match="nothing on the input 'radius'"):
        await for_each(place, BLURRED, image=[noise(2)], radius=[])

    assert place.site.count(SUBMIT) == place.site.count(ANNOUNCE) == 0


async def test_an_input_that_takes_a_batch_gets_whole_batches(place):
    results = await for_each(place, BATCHES, images=[noise(2), noise(3)])

    assert [len(each.images) for each in results.ends.results] == [2, 3]


async def test_masks_of_transparency_are_divided_like_their_images(place):
    deployment = await place.client.deployments.get(await place.deploy(SAVE_IMAGE))
    masks = torch.rand(2, 8, 8)

    runs = entries(deployment, {"image": [noise(2)], "image:alpha": [masks], "words": ["for all"]})

    assert [each["image:alpha"].shape for each in runs] == [(1, 8, 8)] * 2
    assert torch.equal(runs[1]["image:alpha"], masks[1:])
    assert [each["words"] for each in runs] == ["for all"] * 2


async def test_at_most_so_many_are_submitted_at_a_time(open_workplace):
    async with open_workplace(builtin_slots=8) as place:
        work = asyncio.create_task(for_each(place, SLEEPS, limit=2, seconds=[LONG] * 6))
        await place.host.told("Executing OutpostSleep")
        while len(await place.runs()) < 2:
            await asyncio.sleep(0.01)
        assert [run.status.is_terminal for run in await place.runs()] == [False, False]

        first = (await place.runs())[0]
        await place.client.runs.cancel(first.id)  # ends all: a failure stops
        with pytest.raises(Exception, match=first.id):
            await work
        assert {run.status for run in await place.runs()} == {RunStatus.CANCELLED}
        assert place.site.count(SUBMIT) <= 3


async def test_the_results_are_in_order_whichever_run_ends_first(open_workplace):
    async with open_workplace(builtin_slots=3) as place:
        results = await for_each(place, SLEEPS, seconds=[0.6, 0.3, 0.0])

        seconds = [run.workflow_inputs["seconds"] for run in (each.run for each in results.ends.results)]
        assert seconds == [0.6, 0.3, 0.0]
        ends = [run.ended_at for run in (each.run for each in results.ends.results)]
        assert ends == sorted(ends, reverse=True)


async def test_a_failure_stops_the_others(place):
    with pytest.raises(RunFailed, match="blur_radius goes from 0 to 100"):
        await for_each(place, BLURRED, image=[noise(6)], radius=[500, 1, 1, 1, 1, 1], limit=1)

    assert [run.status for run in await place.runs()] == [RunStatus.FAILED]


async def test_a_failure_can_be_skipped_with_its_reason(place):
    results = await for_each(place, BLURRED, on_failure=OnFailure.SKIP, image=[noise(3)], radius=[1, 500, 2])

    assert [each.run.workflow_inputs["radius"] for each in results.ends.results] == [1, 2]
    assert [bool(message) for message in results.ends.messages] == [False, True, False]
    assert "blur_radius goes from 0 to 100, not 500" in results.ends.messages[1]
    assert len(results.outputs.result.images) == 2
    assert "3 of 3 done, 1 failed" in place.host.texts[-1]


async def test_a_failure_can_be_a_black_image_in_its_place(place):
    results = await for_each(place, BLURRED, on_failure=OnFailure.BLANK, image=[noise(3) + 0.01], radius=[500, 1, 2])

    images, masks = media.batch(results.outputs.result.images)
    assert images[0].shape == (3, 8, 8, 3)
    assert images[0][0].max() == masks[0].max() == 0
    assert images[0][1].max() > 0
    assert [len(results.outputs.result.pick("blurred").images), len(results.ends.results)] == [3, 2]
    assert "500" in results.ends.messages[0]


TWO_OUTPUTS = {
    "1": external("ImageBatch", "images"),
    "2": external("NumberInt", "radius", default_value=1),
    "3": node("ImageBlur", image=["1", 0], blur_radius=["2", 0]),
    "4": node("SaveImage", images=["3", 0], output_id="blurred"),
    "5": node("ImageScale", image=["3", 0], upscale_method="nearest-exact", width=16, height=4, crop="disabled"),
    "7": node("SaveImage", images=["5", 0], output_id="flat"),
}


async def test_black_images_are_as_many_and_as_large_as_the_output_has_elsewhere(place):
    pairs = [noise(2) + 0.01] * 3

    results = await for_each(place, TWO_OUTPUTS, on_failure=OnFailure.BLANK, images=pairs, radius=[1, 500, 2])

    result = results.outputs.result
    shapes = [tuple(each.image.shape) for each in result.images]
    assert shapes == [(1, 8, 8, 3), (1, 8, 8, 3), (1, 4, 16, 3), (1, 4, 16, 3)] * 3
    assert [bool(each.image.max() > 0) for each in result.images] == [True] * 4 + [False] * 4 + [True] * 4
    assert media.batch(result.pick("flat").images)[0][0].shape == (6, 4, 16, 3)
    assert media.batch(result.pick("blurred").images)[0][0].shape == (6, 8, 8, 3)


async def test_a_deadline_leaves_all_runs_alone_and_tells_their_ids(open_workplace):
    async with open_workplace(builtin_slots=2) as place:
        deployment_id = await place.deploy(SLEEPS)

        with pytest.raises(RunDeadlineExceeded, match="Wait For Runs") as caught:
            await for_each(place, deployment_id, limit=2, deadline=1.0, seconds=[0.0, LONG, LONG, LONG])

        runs = await place.runs()
        assert {run.status for run in runs} <= {RunStatus.SUCCESS, RunStatus.RUNNING, RunStatus.QUEUED}
        assert [run.status for run in runs].count(RunStatus.SUCCESS) == 1
        assert 2 <= len(runs) <= 3, "nothing more is begun"
        assert all(run.id in str(caught.value) for run in runs)
        assert place.site.count(CANCEL) == 0


async def test_when_all_fail_the_reason_is_an_error_whatever_was_chosen(place):
    for on_failure in OnFailure:
        with pytest.raises(RunFailed, match="blur_radius"):
            await for_each(place, BLURRED, on_failure=on_failure, image=[noise(2)], radius=[500])


async def test_what_concerns_all_runs_is_no_failure_of_one(place):
    deployment_id = await place.deploy(ECHO)
    place.site.fail(SUBMIT, 401)

    with pytest.raises(Unauthorized):
        await for_each(place, deployment_id, on_failure=OnFailure.SKIP, limit=1, text=["a", "b", "c"])

    assert place.site.count(SUBMIT) == 1


async def test_stopping_cancels_all_of_them(open_workplace):
    async with open_workplace(builtin_slots=2) as place:
        work = asyncio.create_task(for_each(place, SLEEPS, limit=3, seconds=[LONG] * 5))
        while len(await place.runs()) < 3:
            await asyncio.sleep(0.01)

        place.host.stop()
        with pytest.raises(Interrupted):
            await work

        assert {run.status for run in await place.runs()} == {RunStatus.CANCELLED}
        assert len(await place.runs()) == 3


async def test_one_run_beside_them_is_not_touched(place):
    other = await Flow(place.client, place.host).submit(await place.deploy(SLEEPS), {"seconds": LONG}, source="")
    with pytest.raises(RunFailed):
        await for_each(place, BLURRED, image=[noise(1)], radius=[500])

    statuses = {run.id: run.status for run in await place.runs()}
    assert not statuses[other].is_terminal
