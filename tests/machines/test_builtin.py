"""The built-in machine: how much it works on, and that all runs together do not take more."""

from __future__ import annotations

import asyncio
import io
import subprocess
import sys
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Any

import numpy as np
import pytest
from comfyui_outpost.api.errors import UnsupportedMedia
from comfyui_outpost.api.server.config import ServerConfig
from comfyui_outpost.api.server.machines import MachineSettings
from comfyui_outpost.api.server.machines.builtin import MAX_RUN_PIXELS, PIXELS_AT_WORK, BuiltinMachine
from comfyui_outpost.api.server.machines.picture import MAX_PIXELS, Picture
from comfyui_outpost.api.server.machines.pixel_budget import PixelBudget
from comfyui_outpost.api.server.platform import _kinds
from PIL import Image

from .jobs import IMAGE_URL, INVERT, Trial, node

SIDE = 64
SIZE = SIDE * SIDE


def encoded(mode: str = "RGB", size: tuple[int, int] = (SIDE, SIDE), *, form: str = "PNG", **options: Any) -> bytes:
    file = io.BytesIO()
    Image.new(mode, size).save(file, form, **options)
    return file.getvalue()


def inverting(run_id: str = "r") -> Trial:
    return Trial(INVERT, {"image": IMAGE_URL}, {IMAGE_URL: encoded()}, run_id=run_id)


class WatchedBudget(PixelBudget):
    """One that remembers the most that was held at a time."""

    held = most = 0

    @asynccontextmanager
    async def taken(self, pixels: int) -> AsyncGenerator[None, None]:
        async with super().taken(pixels):
            self.held += pixels
            self.most = max(self.most, self.held)
            try:
                yield
            finally:
                self.held -= pixels


async def settled() -> None:
    """Return when whatever can go on without anything from outside has done so."""
    for _ in range(10):
        await asyncio.sleep(0)


def test_limits_are_in_proportion():
    assert MAX_PIXELS == 32 * 1024 * 1024
    assert MAX_RUN_PIXELS == 4 * MAX_PIXELS
    assert PIXELS_AT_WORK == 2 * MAX_PIXELS


async def test_a_small_file_with_a_large_image_is_refused_before_it_is_read():
    bomb = encoded("1", (8192, 4097))
    assert len(bomb) < 10_000
    with pytest.raises(UnsupportedMedia, match="8192 x 4097 pixels is above the limit"):
        Picture.from_file(bomb)
    failure = (await Trial(INVERT, {"image": IMAGE_URL}, {IMAGE_URL: bomb}).failure_on(BuiltinMachine())).failure
    assert "above the limit" in failure.message
    assert Picture.from_file(encoded("1", (8192, 4096))).size == MAX_PIXELS


async def test_runs_of_all_machines_share_what_is_computed_at_a_time():
    budget = WatchedBudget(2 * SIZE)
    machines = [BuiltinMachine(budget), BuiltinMachine(budget)]
    trials = [inverting(f"run-{number}") for number in range(6)]
    await asyncio.gather(*(trial.on(machines[number % 2]) for number, trial in enumerate(trials)))
    assert [len(trial.outputs) for trial in trials] == [1] * 6
    assert (budget.most, budget.held) == (2 * SIZE, 0)


async def test_every_node_that_computes_takes_as_many_pixels_as_it_has_and_makes():
    budget = WatchedBudget(PIXELS_AT_WORK)
    graph = {
        "1": node("EmptyImage", width=SIDE, height=SIDE),
        "2": node("ImageScale", image=["1", 0], width=2 * SIDE, height=SIDE),
        "3": node("SaveImage", images=["2", 0]),
    }
    await Trial(graph).on(BuiltinMachine(budget))
    assert budget.most == 3 * SIZE
    graph["2"]["inputs"]["height"] = 0  # in proportion: how large it will be is not known before
    await Trial(graph).on(BuiltinMachine(budget))
    assert budget.most == SIZE + MAX_PIXELS


@pytest.mark.parametrize("size", [(-4, 4), (0, 0), (2**20, 2**20), (-(2**40), 1)])
async def test_a_size_that_cannot_be_takes_nothing_from_the_budget_for_good(size: tuple[int, int]):
    budget = PixelBudget(2 * SIZE)
    graph = {
        "1": node("EmptyImage", width=8, height=8),
        "2": node("ImageScale", image=["1", 0], width=size[0], height=size[1]),
        "3": node("SaveImage", images=["2", 0]),
    }
    assert "outside of" in (await Trial(graph).failure_on(BuiltinMachine(budget))).failure.message
    assert len((await inverting().on(BuiltinMachine(budget))).outputs) == 1


async def test_a_run_that_waits_for_its_turn_can_be_cancelled_and_takes_nothing_with_it():
    budget = PixelBudget(2 * SIZE)
    machine = BuiltinMachine(budget)
    async with budget.taken(SIZE):
        waiting = inverting("waiting")
        run = waiting.start_on(machine)
        while not waiting.events:
            await asyncio.sleep(0)
        await settled()
        run.cancel()
        with pytest.raises(asyncio.CancelledError):
            await run
        assert waiting.outputs == []
    assert len((await inverting("next").on(machine)).outputs) == 1


async def test_whoever_wants_much_is_not_overtaken_and_more_than_all_is_all():
    budget, order = PixelBudget(10), list[str]()

    async def work(name: str, pixels: int) -> None:
        async with budget.taken(pixels):
            order.append(name)

    async with budget.taken(6):
        tasks = [asyncio.create_task(work(name, pixels)) for name, pixels in (("all", 99), ("one", 1), ("four", 4))]
        await settled()
        assert order == []
        tasks[1].cancel()
        await settled()
    await asyncio.gather(*tasks, return_exceptions=True)
    assert order == ["all", "four"]


async def test_the_first_in_line_that_is_cancelled_makes_way():
    budget, order = PixelBudget(10), list[str]()

    async def work(name: str, pixels: int) -> None:
        async with budget.taken(pixels):
            order.append(name)

    async with budget.taken(6):
        first, second = asyncio.create_task(work("first", 10)), asyncio.create_task(work("second", 4))
        await settled()
        first.cancel()
        await asyncio.gather(first, return_exceptions=True)
        await second
    assert order == ["second"]


async def test_a_server_gives_all_its_built_in_machines_one_budget(tmp_path: Any):
    make = _kinds(ServerConfig(data=tmp_path))["builtin"]
    first, second = (make(MachineSettings(name, "builtin")) for name in ("first", "second"))
    assert isinstance(first, BuiltinMachine)
    assert isinstance(second, BuiltinMachine)
    assert first is not second
    assert first._budget is second._budget


def test_a_file_is_not_kept_as_pixels_too():
    picture = Picture.from_file(encoded("RGB", form="JPEG"))
    assert picture.to_png().startswith(b"\x89PNG")
    assert picture.pixels() is not picture.pixels()
    assert picture.computed is None


def test_a_picture_on_its_side_is_read_upright():
    exif = Image.Exif()
    exif[0x0112] = 6
    picture = Picture.from_file(encoded("RGB", (8, 4), form="JPEG", exif=exif))
    assert (picture.size, picture.pixels().shape) == (32, (8, 4, 3))


@pytest.mark.skipif(sys.platform == "win32", reason="Windows does not tell the most memory that a process had")
def test_a_column_becomes_a_row_without_the_square_in_between():
    code = """
import resource, sys
import numpy as np
from comfyui_outpost.api.server.machines.builtin import Fields, _scale
column = np.full((8192, 1, 3), 7, np.uint8)
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
row = _scale(column, Fields({"width": 8192, "height": 1}))
grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
assert row.shape == (1, 8192, 3) and (row == 7).all()
print(grown * (1 if sys.platform == "darwin" else 1024))
"""
    told = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True)
    assert int(told.stdout) < 64 * 1024 * 1024  # the square has 256 MiB


def test_pixels_survive_as_they_are():
    pixels = np.random.default_rng(1).integers(0, 256, (5, 7, 4), np.uint8)
    assert np.array_equal(Picture.from_file(Picture.from_pixels(pixels).to_png()).pixels(), pixels)
