"""What is on the sockets of the outputs of a deployment, whether or not anything is connected to them."""

from __future__ import annotations

import asyncio
import io
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from comfyui_outpost import NODE_CLASS_MAPPINGS
from comfyui_outpost.nodes import local_files, slots, sockets
from comfyui_outpost.nodes.execution import Finished
from comfyui_outpost.tests.nodes.comfyui_modules import Blocker
from comfyui_outpost.tests.nodes.machines import PutOut, puts_out_all
from comfyui_outpost.tests.server.graphs import sleep
from PIL import Image

MESH = PutOut(b"glTF and more", "mesh.glb", "3d", "SaveGLB", "mesh")
DAMAGED = PutOut(b"fLaC, and then nothing that a sound has", "sound.flac", "audio", "SaveAudio", "sound")


def png(red: int = 255, *, width: int = 4) -> bytes:
    file = io.BytesIO()
    Image.new("RGB", (width, 2), (red, 0, 0)).save(file, "PNG")
    return file.getvalue()


@pytest.fixture
def execute(open_workplace, comfyui_folder, monkeypatch):
    """Runs the node in ComfyUI on a machine that puts out all of this; what is on the sockets of these names."""

    async def run(
        *outputs: Sequence[PutOut], names: Sequence[str], times: int = 1
    ) -> tuple[list[Any], list[list[Any]]]:
        async with open_workplace(machines={"builtin": puts_out_all(*outputs)}) as place:
            monkeypatch.setenv("OUTPOST_BASE_URL", place.site.url)
            monkeypatch.setenv("OUTPOST_API_KEY", place.platform.owner.api_key)
            deployment_id, node = await place.deploy(sleep(0)), NODE_CLASS_MAPPINGS["OutpostRunDeployment"]()
            inputs = {"deployment_id": deployment_id, "deadline_minutes": 1.0, "outputs": json.dumps(names)}
            for _ in range(times):
                answer = await asyncio.to_thread(node.run, unique_id="1", **inputs)
            images, _, _, *dynamic = answer["result"]
            return images, dynamic

    return run


def shares_memory(one: torch.Tensor, other: torch.Tensor) -> bool:
    return one.untyped_storage().data_ptr() == other.untyped_storage().data_ptr()


async def test_a_damaged_sound_blocks_its_own_socket_and_fails_nothing_else(execute, comfyui_folder, caplog):
    [image], [[sound], [picture], [mesh]] = await execute(
        [PutOut(png(), "a.png", output_id="picture")], [DAMAGED], [MESH], names=["sound", "picture", "mesh"]
    )

    assert isinstance(sound, Blocker)
    assert sound.message.startswith("The file 'sound.flac' of the run"), "it says which file"
    assert str(comfyui_folder) not in sound.message
    assert sound.message in caplog.text, "also where nothing is connected"
    assert torch.equal(picture, image)
    assert (comfyui_folder / "output" / mesh).read_bytes() == MESH.data


async def test_what_cannot_be_kept_blocks_its_own_socket(execute, comfyui_folder):
    (comfyui_folder / "output" / "outpost").write_text("somebody's file, where the folder should be")

    [image], [[mesh], [picture]] = await execute(
        [PutOut(png(), "a.png", output_id="picture")], [MESH], names=["mesh", "picture"]
    )

    assert isinstance(mesh, Blocker)
    assert mesh.message.startswith("The output 'mesh' of run ")
    assert mesh.message.endswith("could not be read or kept: File exists")
    assert picture is image


async def test_the_same_file_is_kept_once_however_often_it_is_put_out(execute, comfyui_folder):
    _, [[mesh]] = await execute([MESH], names=["mesh"], times=3)

    kept = [path for path in (comfyui_folder / "output").rglob("*") if path.is_file()]
    assert kept == [comfyui_folder / "output" / mesh]
    assert kept[0].read_bytes() == MESH.data


async def test_the_images_of_an_output_are_no_copy(execute):
    red, blue = png(), png(1)
    first = [PutOut(red, "a.png", output_id="first"), PutOut(blue, "b.png", output_id="first")]
    images, [one, other, both] = await execute(
        first, [PutOut(blue, "c.png", output_id="second")], names=["first", "second", "first"]
    )

    [batch], [[part], [last], [again]] = images, [one, other, both]
    assert [len(each) for each in (batch, part, last, again)] == [3, 2, 1, 2]
    assert torch.equal(part, batch[:2]) and torch.equal(last, batch[2:])
    assert all(shares_memory(each, batch) for each in (part, last, again))


async def test_where_one_output_has_all_images_its_socket_has_the_very_same_tensor(execute):
    images, [named] = await execute(
        [PutOut(png(), "a.png", output_id="all"), PutOut(png(9), "b.png", output_id="all")], names=["all"]
    )

    assert len(named) == len(images) == 1
    assert named[0] is images[0]


async def test_images_that_do_not_follow_each_other_are_the_right_ones(open_workplace):
    machine = puts_out_all([PutOut(png(1), "a.png", output_id="first")], [PutOut(png(2), "b.png", output_id="second")])
    async with open_workplace(machines={"builtin": machine}) as place:
        deployment_id = await place.deploy(sleep(0))
        runs = [Finished(await place.run(deployment_id), {}) for _ in range(2)]

    images, _, dynamic = await slots.carried(slots.together(runs), ["first", "second"])

    reds = [[round(red * 255) for red in each[:, 0, 0, 0].tolist()] for [each] in (images, *dynamic)]
    assert reds == [[1, 2, 1, 2], [1, 1], [2, 2]]


async def test_images_of_different_sizes_stay_as_they_are(execute):
    images, [named] = await execute(
        [PutOut(png(width=4), "a.png", output_id="all"), PutOut(png(width=6), "b.png", output_id="all")],
        names=["all"],
    )

    assert len(named) == len(images) == 2
    assert all(one is other for one, other in zip(named, images, strict=True))


def test_a_copy_that_somebody_has_changed_is_left_alone(tmp_path: Path):
    source = tmp_path / "source"
    source.write_bytes(b"glTF")
    first = local_files.keep(source, "mesh.glb", root=tmp_path)
    (tmp_path / first).write_bytes(b"mine")

    second = local_files.keep(source, "mesh.glb", root=tmp_path)

    assert (tmp_path / first).read_bytes() == b"mine"
    assert (tmp_path / second).read_bytes() == b"glTF"
    assert local_files.keep(source, "mesh.glb", root=tmp_path) == second
    assert len(list((tmp_path / "outpost").iterdir())) == 2


def test_every_kind_has_a_type_of_socket():
    assert set(sockets.TYPES) == set(sockets.OutputKind)
