"""A run that does not succeed, and a platform that goes away: the error says which run, why, and what became of it."""

from __future__ import annotations

import asyncio
import struct
import zlib
from typing import Any

import pytest
import torch
from comfyui_outpost.api.errors import (
    ConnectionFailed,
    RunCancelled,
    RunDeadlineExceeded,
    RunFailed,
    RunTimedOut,
    TooLarge,
    TransferError,
    Unprocessable,
    UnsupportedMedia,
    UrlExpired,
)
from comfyui_outpost.api.models import RunStatus
from comfyui_outpost.nodes.sending import upload_images
from comfyui_outpost.nodes.stopwatch import Stopwatch
from comfyui_outpost.tests.fakes.serving import FakeTime
from comfyui_outpost.tests.nodes.hosts import Interrupted
from comfyui_outpost.tests.nodes.machines import ScriptedMachine, puts_out
from comfyui_outpost.tests.nodes.sites import ANNOUNCE, FETCH, PUT, READ, SUBMIT
from comfyui_outpost.tests.server.graphs import SAVE_IMAGE, external, node, sleep

LONG = 600
PIXELS = torch.linspace(0, 1, 48).reshape(1, 4, 4, 3)
TWO_PICTURES = {
    "1": external("ImageBatch", "pictures"),
    "2": node("SaveImage", images=["1", 0], output_id="result"),
}


@pytest.fixture
async def hurried(open_workplace):
    """A workplace whose client's waiting takes no time."""
    time = FakeTime()
    async with open_workplace(client={"sleep": time.sleep, "clock": time.clock}) as place:
        yield place


async def test_a_run_that_fails_tells_its_node_its_class_and_the_reason(place):
    graph = {**SAVE_IMAGE, "2": node("ImageBlur", image=["1", 0], blur_radius=500)}

    with pytest.raises(RunFailed) as caught:
        await place.run(graph, image=PIXELS)

    [run] = await place.runs()
    assert str(caught.value) == (
        f"Run {run.id} failed: node 2 (ImageBlur): ValueError: the blur_radius goes from 0 to 100, not 500"
    )
    assert caught.value.run_id == run.id
    assert caught.value.failure.node_id == "2"


async def test_a_node_that_the_machine_lacks_is_named_before_there_is_a_run(place):
    says = r"node 7 needs the node class 'ImageInvertt'.+Written alike there: 'ImageInvert'"
    with pytest.raises(Unprocessable, match=says):
        await place.run({"7": node("ImageInvertt")})
    assert await place.runs() == []


async def test_a_run_that_somebody_else_cancels_is_cancelled(place):
    task = asyncio.create_task(place.run(sleep(LONG)))
    await place.host.told("Executing OutpostSleep")
    [run] = await place.runs()
    await place.client.runs.cancel(run.id)

    with pytest.raises(RunCancelled, match=f"Run {run.id} was cancelled"):
        await task


async def test_a_run_that_takes_longer_than_its_deployment_allows_is_timed_out(place):
    deployment_id = await place.deploy(sleep(LONG), run_timeout=0.1)

    with pytest.raises(RunTimedOut, match=r"took longer than the platform allows. Raise the time limit"):
        await place.run(deployment_id)

    assert [each.status for each in await place.runs()] == [RunStatus.TIMEOUT]


async def test_the_callers_deadline_names_the_run_and_lets_it_go_on(place):
    deployment_id = await place.deploy(sleep(LONG))
    with pytest.raises(RunDeadlineExceeded, match=r"did not end within 0\.5 s\. It was left alone") as caught:
        await place.run(deployment_id, deadline=0.5)

    [run] = await place.runs()
    assert caught.value.run_id == run.id
    assert run.id in str(caught.value)
    assert not run.status.is_terminal


async def test_a_server_that_goes_away_in_the_middle_of_a_run_is_told_with_the_run_and_nothing_is_sent_twice(hurried):
    task = asyncio.create_task(hurried.run(sleep(LONG)))
    await hurried.host.told("Executing OutpostSleep")
    await hurried.site.kill()

    with pytest.raises(ConnectionFailed) as caught:
        await task

    [run] = await hurried.runs()
    assert f"Run {run.id} may still be going on" in str(caught.value)
    assert hurried.site.count(SUBMIT) == 1
    assert not run.status.is_terminal


async def test_a_server_that_goes_away_during_the_upload_is_a_transfer_error(hurried):
    hurried.site.hold(PUT)
    task = asyncio.create_task(hurried.run(SAVE_IMAGE, image=PIXELS))
    await hurried.site.has_held(PUT)
    await hurried.site.kill()

    with pytest.raises(TransferError, match="after 3 attempts"):
        await task

    assert await hurried.runs() == []


async def test_a_server_that_goes_away_during_the_download_is_a_transfer_error_that_names_the_run(hurried):
    hurried.site.hold(FETCH)
    task = asyncio.create_task(hurried.run(SAVE_IMAGE, image=PIXELS))
    await hurried.site.has_held(FETCH)
    await hurried.host.told("downloading the outputs")
    await hurried.site.kill()

    with pytest.raises(TransferError, match="after 3 attempts") as caught:
        await task

    [run] = await hurried.runs()
    assert run.status is RunStatus.SUCCESS
    assert f"'result' of run {run.id}" in str(caught.value)


async def test_a_transfer_that_breaks_now_and_then_is_made_again(hurried):
    hurried.site.fail(PUT, 503, 502)
    hurried.site.fail(FETCH, 500)

    result = await hurried.run(SAVE_IMAGE, image=PIXELS)

    assert len(result.images) == 1
    assert (hurried.site.count(PUT), hurried.site.count(FETCH), hurried.site.count(SUBMIT)) == (3, 2, 1)


async def test_an_output_whose_url_has_expired_is_asked_for_once_more(place):
    place.site.fail(FETCH, None, 403, 403)  # the second one to come, while the run goes on and after it

    result = await place.run(TWO_PICTURES, pictures=torch.cat([PIXELS, 1 - PIXELS]))

    images = torch.cat([each.image for each in result.images])
    assert torch.allclose(images, torch.cat([PIXELS, 1 - PIXELS]), atol=1 / 255)
    assert (place.site.count(FETCH), place.site.count(READ)) == (4, 2)


async def test_an_output_that_stays_away_is_an_error_that_names_it(place):
    place.site.fail(FETCH, 404, 404, 404, 404)

    with pytest.raises(UrlExpired, match=r"'result' of run .*The store refused the download"):
        await place.run(SAVE_IMAGE, image=PIXELS)

    assert place.site.count(FETCH) == 3


async def test_an_output_is_fetched_once_and_while_the_run_goes_on(place):
    await place.run(SAVE_IMAGE, image=PIXELS)
    assert place.site.count(FETCH) == 1

    graph = {**SAVE_IMAGE, "3": node("OutpostSleep", image=["1", 0], seconds=60)}
    task = asyncio.create_task(place.run(graph, image=PIXELS))
    await place.host.told("Executing OutpostSleep")
    while place.site.count(FETCH) < 2:
        await asyncio.sleep(0.01)
    assert not task.done()
    place.host.stop()
    with pytest.raises(Interrupted):
        await task


def bomb() -> bytes:
    """A PNG of a few bytes that announces 40 thousand million pixels."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", 200_000, 200_000, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b"\0")) + chunk(b"IEND", b"")


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"just words", "cannot be read"),
        (b"", "empty"),
        (bomb(), "pixels"),
        (b'{"not": "an image"}', "JSON text"),
    ],
    ids=["a text", "nothing", "a bomb", "json"],
)
async def test_an_output_that_is_no_image_is_named_with_its_run(open_workplace, data: bytes, reason: str):
    async with open_workplace(machines={"builtin": puts_out(data)}) as place:
        with pytest.raises(UnsupportedMedia, match=f"output 'result' of run .*{reason}"):
            await place.run(sleep(0))


async def test_a_file_that_is_no_image_and_is_not_said_to_be_one_comes_as_a_file(open_workplace):
    async with open_workplace(machines={"builtin": puts_out(b"a,b\n", name="table.csv", kind="files")}) as place:
        result = await place.run(sleep(0))

    assert (result.images, result.texts) == ([], [])
    assert [part.value.path.read_bytes() for part in result.parts] == [b"a,b\n"]
    assert place.site.count(FETCH) == 1


async def test_a_picture_that_is_too_large_for_the_platform_ends_the_uploads_beside_it(open_workplace):
    async with open_workplace(max_file_bytes=5000) as place:
        large = torch.rand(64, 64, 3)
        with pytest.raises(TooLarge, match="this server accepts at most 5000"):
            await upload_images(place.client, [large, *PIXELS], stopwatch=Stopwatch())

        assert place.site.count(SUBMIT) == 0
        assert place.site.count(ANNOUNCE) <= 2


async def test_what_breaks_inside_a_machine_is_told_without_its_inside(open_workplace, caplog):
    async def script(job: Any, emit: Any) -> None:
        raise RuntimeError("/home/somebody/secret.py exploded")

    async with open_workplace(machines={"builtin": ScriptedMachine(script)}) as place:
        with pytest.raises(RunFailed, match="The machine failed for a reason of its own; the server's log has it"):
            await place.run(sleep(0))
    caplog.clear()  # the reason is in the server's log, where it belongs
