"""Every kind of output that a ComfyUI makes comes through the platform as the bytes that it has written."""

from __future__ import annotations

import io
import json
import struct
from collections.abc import AsyncIterator, Iterable
from dataclasses import dataclass
from pathlib import Path

import aiohttp
import numpy as np
import pytest
import pytest_asyncio
from comfyui_outpost.api.client import Client
from comfyui_outpost.api.models import Run
from comfyui_outpost.api.server.objects import safe_name
from PIL import Image

from .installations import PYPI_VERSION, Installation
from .instance import Instance
from .lane import node
from .messages import Json

# The ComfyUIs and the platform that all tests share live on this event loop.
pytestmark = pytest.mark.asyncio(loop_scope="session")

ANY_TYPE = "application/octet-stream"


@dataclass(frozen=True)
class Kept:
    """A file that the platform keeps, as it gives it out."""

    node_id: str
    kind: str
    filename: str
    content_type: str
    content: bytes


@dataclass(frozen=True)
class Remote:
    """A platform with one machine, which is a ComfyUI by its URL."""

    comfyui: Instance
    client: Client
    machine_id: str

    async def run(self, graph: Json) -> tuple[Run, list[Kept]]:
        """Run a graph to its success: the run, and every file that it has put out."""
        made = await self.client.workflows.create("outputs", {}, workflow_api=graph)
        version_id = str(made.workflow_version_id)
        deployment = await self.client.deployments.create(
            workflow_id=made.workflow_id, workflow_version_id=version_id, machine_id=self.machine_id
        )
        run = await self.client.runs.execute(deployment, {}, deadline=60)
        async with aiohttp.ClientSession() as session:
            return run, [kept async for kept in _download(session, run)]

    def written(self) -> dict[str, bytes]:
        """What lies in ComfyUI's output folder, by the names that the platform gives to files."""
        folder = self.comfyui.workspace / "output"
        return {safe_name(path.name): path.read_bytes() for path in folder.rglob("*") if path.is_file()}

    async def knows(self, node_class: str) -> bool:
        return await self.comfyui.object_info(node_class) is not None


async def _download(session: aiohttp.ClientSession, run: Run) -> AsyncIterator[Kept]:
    for output in run.outputs:
        for kind, items in output.data.items():
            for file in items:
                if isinstance(file, (str, bool)):
                    continue
                async with session.get(file.url, raise_for_status=True) as response:
                    content_type = response.headers["Content-Type"]
                    yield Kept(str(output.node_id), kind, file.filename, content_type, await response.read())


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def remote(stock: Instance, client: Client) -> Remote:
    machine = await client.machines.create_custom("the GPU", stock.url)
    return Remote(stock, client, machine.id)


def check_bytes(files: Iterable[Kept], written: dict[str, bytes]) -> None:
    """What the platform gives out is what ComfyUI has written."""
    for file in files:
        assert file.content == written[file.filename], file.filename


def types_of(files: Iterable[Kept]) -> dict[tuple[str, str], str]:
    """Content types by suffix, and by the node and the list that the file belongs to."""
    return {(file.node_id, Path(file.filename).suffix): file.content_type for file in files}


def tensors(latent: bytes) -> dict[str, bytes]:
    """The numbers of a safetensors file by name, without what else is said in it."""
    (length,) = struct.unpack_from("<Q", latent)
    header, body = json.loads(latent[8 : 8 + length]), latent[8 + length :]
    return {
        name: body[slice(*about["data_offsets"])] + json.dumps([about["dtype"], about["shape"]]).encode()
        for name, about in header.items()
        if name != "__metadata__"
    }


IMAGE = node("EmptyImage", width=16, height=16, batch_size=2, color=0x336699)


async def test_pictures_with_and_without_transparency_and_moving_ones(remote: Remote):
    animation = {"images": ["11", 0], "fps": 6.0}
    graph = {
        "1": IMAGE,
        "2": node("SaveImage", images=["1", 0], filename_prefix="plain"),
        "3": node("SolidMask", value=0.25, width=16, height=16),
        "4": node("JoinImageWithAlpha", image=["1", 0], alpha=["3", 0]),
        "5": node("SaveImage", images=["4", 0], filename_prefix="alpha"),
        "6": node("SaveAnimatedWEBP", **animation, filename_prefix="webp", lossless=True, quality=80, method="default"),
        "7": node("SaveAnimatedPNG", **animation, filename_prefix="apng", compress_level=4),
        "8": node("PreviewImage", images=["1", 0]),
        "9": node("EmptyImage", width=16, height=16, batch_size=1, color=0xFF0000),
        "10": node("EmptyImage", width=16, height=16, batch_size=1, color=0x00FF00),
        "11": node("ImageBatch", image1=["9", 0], image2=["10", 0]),
    }

    _, files = await remote.run(graph)

    check_bytes(files, remote.written())
    assert types_of(files) == {
        ("2", ".png"): "image/png",
        ("5", ".png"): "image/png",
        ("6", ".webp"): "image/webp",
        ("7", ".png"): "image/png",
    }
    images = {file.node_id: Image.open(io.BytesIO(file.content)) for file in files}
    assert {node_id: image.mode for node_id, image in images.items()} == {
        "2": "RGB",
        "5": "RGBA",
        "6": "RGB",
        "7": "RGB",
    }
    assert images["5"].getpixel((0, 0)) == (0x33, 0x66, 0x99, 191)
    assert [getattr(images[each], "n_frames", 1) for each in ("2", "6", "7")] == [1, 2, 2]


async def test_sixteen_bits_stay_sixteen_bits(remote: Remote):
    graph = {"1": node("WriteFiles", name="deep")}
    if await remote.knows("SaveImageAdvanced"):
        deep = {"format": "png", "format.bit_depth": "16-bit", "format.input_color_space": "sRGB"}
        linear = {"format": "exr", "format.bit_depth": "32-bit float", "format.input_color_space": "linear"}
        graph |= {
            "2": IMAGE,
            "3": node("SaveImageAdvanced", images=["2", 0], filename_prefix="deep16", **deep),
            "4": node("SaveImageAdvanced", images=["2", 0], filename_prefix="linear", **linear),
        }

    _, files = await remote.run(graph)

    check_bytes(files, remote.written())
    found = {(file.node_id, Path(file.filename).suffix): file for file in files}
    ramp = np.asarray(Image.open(io.BytesIO(found["1", ".png"].content)))
    assert ramp.astype(np.int64).ravel().tolist() == np.linspace(0, 65535, 48, dtype=np.uint16).tolist()
    assert found["1", ".png"].content_type == "image/png"
    if "3" in graph:
        assert found["3", ".png"].content_type == "image/png"
        assert found["3", ".png"].content[24] == 16, "the bits of each channel, by the PNG's own header"
        assert found["4", ".exr"].content_type == "image/x-exr"


async def test_video_and_sound(remote: Remote, installation: Installation):
    if installation.version == PYPI_VERSION:
        assert not await remote.knows("SaveVideo"), "it makes some after all: test it"
        return
    sound, video = {"audio": ["3", 0]}, {"video": ["2", 0]}
    graph = {
        "1": IMAGE,
        "2": node("CreateVideo", images=["1", 0], fps=4.0),
        "3": node("EmptyAudio", duration=0.2, sample_rate=44100, channels=2),
        "4": node("SaveVideo", **video, filename_prefix="film", format="mp4", codec="h264"),
        "5": node("SaveWEBM", images=["1", 0], filename_prefix="web", codec="vp9", fps=4.0, crf=32.0),
        "6": node("SaveAudio", **sound, filename_prefix="flac"),
        "7": node("SaveAudioMP3", **sound, filename_prefix="mp3", quality="V0"),
        "8": node("SaveAudioOpus", **sound, filename_prefix="opus", quality="64k"),
        "9": node("PreviewAudio", **sound),
    }

    _, files = await remote.run(graph)

    check_bytes(files, remote.written())
    assert types_of(files) == {
        ("4", ".mp4"): "video/mp4",
        ("5", ".webm"): "video/webm",
        ("6", ".flac"): "audio/flac",
        ("7", ".mp3"): "audio/mpeg",
        ("8", ".opus"): "audio/ogg",
    }


async def test_a_latent_comes_back_and_is_the_same_when_it_is_loaded_again(remote: Remote):
    _, [first] = await remote.run(
        {"1": node("Noise", seed=7), "2": node("SaveLatent", samples=["1", 0], filename_prefix="noise")}
    )
    await remote.comfyui.upload_image(first.content, "again.latent")

    _, [second] = await remote.run(
        {
            "1": node("LoadLatent", latent="again.latent"),
            "2": node("SaveLatent", samples=["1", 0], filename_prefix="n2"),
        }
    )

    check_bytes([first, second], remote.written())
    assert (first.content_type, Path(first.filename).suffix) == (ANY_TYPE, ".latent")
    assert tensors(second.content) == tensors(first.content)
    assert any(any(each) for each in tensors(first.content).values())


async def test_every_file_that_a_custom_node_reports_under_whatever_key(remote: Remote):
    _, files = await remote.run({"1": node("WriteFiles", name="reported")})

    check_bytes(files, remote.written())
    assert {file.kind: file.content_type for file in files} == {
        "deep": "image/png",
        "facts": "application/json",
        "point_clouds": ANY_TYPE,
        "weights": ANY_TYPE,
        "with a blank": ANY_TYPE,
        "empty": ANY_TYPE,
    }


async def test_texts_and_meshes(remote: Remote, installation: Installation):
    if installation.version == PYPI_VERSION:
        assert not await remote.knows("SaveGLB"), "it makes some after all: test it"
        return
    graph = {
        "1": node("PreviewAny", source="a text\nof two lines"),
        "4": node("Triangle"),
        "5": node("SaveGLB", mesh=["4", 0], filename_prefix="mesh"),
    }
    types, texts = {("5", ".glb"): "model/gltf-binary"}, {"1": ["a text\nof two lines"]}
    if await remote.knows("SaveText"):  # newer ones do
        graph["2"] = node("SaveText", text=["3", 0], filename_prefix="said", format="json")
        graph["3"] = node("PrimitiveString", value='{"said": "ü"}')
        types["2", ".json"], texts["2"] = "application/json", ['{"said": "ü"}']

    run, files = await remote.run(graph)

    check_bytes(files, remote.written())
    assert types_of(files) == types
    assert {output.node_id: output.texts for output in run.outputs if output.texts} == texts
    [mesh] = [file for file in files if file.node_id == "5"]
    assert mesh.content.startswith(b"glTF")
