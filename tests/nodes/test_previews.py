"""Previews on the node: in time or not at all, and whatever a machine sends, the run goes on."""

from __future__ import annotations

import asyncio
import io
from typing import Any

import pytest
from comfyui_outpost.api.errors import UnsupportedMedia
from comfyui_outpost.api.events import LiveStatus, NodeProgress, PreviewImage
from comfyui_outpost.nodes.media.images import MAX_PREVIEW_BYTES, MAX_PREVIEW_PIXELS, PREVIEW_SIDE, decode_preview
from comfyui_outpost.nodes.previews import Previews
from comfyui_outpost.tests.nodes.hosts import FakeHost
from comfyui_outpost.tests.nodes.machines import ScriptedMachine
from comfyui_outpost.tests.server.graphs import sleep
from PIL import Image

RED, SIZE = (255, 0, 0), (16, 8)


def encoded(form: str = "JPEG", mode: str = "RGB", size: tuple[int, int] = SIZE, colour: Any = None) -> bytes:
    file = io.BytesIO()
    Image.new(mode, size, colour if colour is not None else RED).save(file, form)
    return file.getvalue()


def preview(data: bytes) -> PreviewImage:
    return PreviewImage("r", "1", "image/jpeg", data)


async def test_a_preview_of_a_run_is_shown_and_progress_stays_where_it_is(open_workplace: Any) -> None:
    asked: list[bool] = []

    async def script(job: Any, emit: Any) -> None:
        asked.append(job.preview_images)
        emit(LiveStatus(job.run_id, "Executing KSampler", 0.5))
        emit(PreviewImage(job.run_id, "1", "image/jpeg", encoded()))
        await shown(1)
        emit(PreviewImage(job.run_id, "1", "image/jpeg", b"\xff\xd8\xff no picture"))
        emit(NodeProgress(job.run_id, "1", 1, 2))
        emit(PreviewImage(job.run_id, "1", "image/png", encoded("PNG")))
        await shown(2)

    async def shown(count: int) -> None:
        await asyncio.wait_for(place.host.showed(count), 20)

    async with open_workplace(machines={"builtin": ScriptedMachine(script)}) as place:
        result = await place.run(sleep(0))

    assert asked == [True]
    assert result.run.status.value == "success"
    assert [picture.size for picture in place.host.pictures] == [SIZE, SIZE]
    red, green, blue = place.host.pictures[0].getpixel((0, 0))
    assert red > 240 and max(green, blue) < 15


async def test_of_previews_that_come_too_fast_only_the_latest_is_shown() -> None:
    host, last = FakeHost(), len(COLOURS) - 1
    previews = Previews(host.preview)
    for colour in COLOURS:
        previews.on_event(preview(encoded("PNG", colour=colour)))
    await host.showed(1)
    assert colours(host) == [COLOURS[last]]

    # While one is shown, all the others come.
    def show(picture: Image.Image) -> None:
        host.preview(picture)
        for colour in COLOURS if len(host.pictures) == 2 else ():
            busy.on_event(preview(encoded("PNG", colour=colour)))

    busy = Previews(show)
    busy.on_event(preview(encoded("PNG", colour=COLOURS[0])))
    await host.showed(3)
    await busy.close()
    assert colours(host) == [COLOURS[last], COLOURS[0], COLOURS[last]]
    await previews.close()


COLOURS = [(shade, 255 - shade, 7) for shade in range(20)]


def colours(host: FakeHost) -> list[Any]:
    return [picture.getpixel((0, 0)) for picture in host.pictures]


async def test_after_the_end_nothing_is_shown_any_more() -> None:
    host = FakeHost()
    previews = Previews(host.preview)
    previews.on_event(preview(encoded()))
    await previews.close()
    await asyncio.sleep(0)
    assert host.pictures == []
    await Previews(host.preview).close()


async def test_a_broken_preview_is_passed_over_and_the_next_one_shown(caplog: pytest.LogCaptureFixture) -> None:
    host = FakeHost()
    previews = Previews(host.preview)
    previews.on_event(preview(b"<html>"))
    await asyncio.sleep(0)
    previews.on_event(preview(encoded()))
    await host.showed(1)
    await previews.close()
    assert len(host.pictures) == 1
    assert not [record for record in caplog.records if record.levelname not in ("DEBUG", "INFO")]


@pytest.mark.parametrize(
    ("form", "mode", "colour"),
    [
        ("JPEG", "RGB", RED),
        ("JPEG", "L", 128),
        ("JPEG", "CMYK", (0, 255, 255, 0)),
        ("PNG", "RGBA", (255, 0, 0, 128)),
        ("PNG", "P", 3),
        ("PNG", "1", 1),
        ("PNG", "I;16", 40_000),
        ("PNG", "LA", (128, 0)),
    ],
)
def test_every_kind_of_picture_becomes_what_comfyui_can_send(form: str, mode: str, colour: Any) -> None:
    picture = decode_preview(encoded(form, mode, colour=colour))
    assert (picture.mode, picture.size) == ("RGB", SIZE)
    picture.save(io.BytesIO(), "JPEG")


def test_a_large_picture_is_scaled_down_and_a_small_one_is_left() -> None:
    assert decode_preview(encoded(size=(2000, 1000))).size == (PREVIEW_SIDE, PREVIEW_SIDE // 2)
    assert decode_preview(encoded(size=(3, 2))).size == (3, 2)


HUGE = encoded("PNG", "1", size=(MAX_PREVIEW_PIXELS, 2), colour=0)
"""A few kilobytes that would become megabytes."""
LONG = encoded() + bytes(MAX_PREVIEW_BYTES)


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\xff\xd8\xff",
        b"<html>",
        encoded("GIF"),
        encoded("PNG")[:50],
        encoded("JPEG", size=(64, 64))[:500],
        HUGE,
        LONG,
    ],
    ids=["empty", "a beginning", "html", "gif", "cut png", "cut jpeg", "huge", "long"],
)
def test_what_is_no_picture_or_too_large_a_one_is_refused(data: bytes) -> None:
    with pytest.raises(UnsupportedMedia):
        decode_preview(data)
