"""Everything that a run puts out comes back, each kind as what ComfyUI has for it."""

from __future__ import annotations

import asyncio
import inspect
import io
import json
import sys
import threading
import types
from fractions import Fraction
from pathlib import Path

import pytest
import torch
from comfyui_outpost.api.errors import InvalidInput, RunFailed, TransferError, UnsupportedMedia
from comfyui_outpost.api.models import Asset, Failure
from comfyui_outpost.api.outputs import OutputKind, kind_of_asset, kind_of_output
from comfyui_outpost.api.server.machines import MachineError
from comfyui_outpost.nodes import host, media, sockets
from comfyui_outpost.nodes import outputs as outputs_module
from comfyui_outpost.nodes.media import audio, latents, video
from comfyui_outpost.nodes.run_outputs import NODES, Run3D, RunFiles, RunMasks, RunText, RunVideo, VideoFrames
from comfyui_outpost.tests.nodes.comfyui_modules import Blocker
from comfyui_outpost.tests.nodes.hosts import WAIT_SECONDS
from comfyui_outpost.tests.nodes.machines import PutOut, ScriptedMachine, puts_out_all
from comfyui_outpost.tests.nodes.sites import FETCH
from comfyui_outpost.tests.server.graphs import png, sleep
from PIL import Image

NOISE = torch.randn(1, 4, 8, 8, generator=torch.manual_seed(7))
GRAPH = sleep(0)


def frames(count: int = 6, *, size: int = 32) -> torch.Tensor:
    """Frames that grow lighter, so that a codec keeps them apart."""
    levels = torch.linspace(0.1, 0.9, count).reshape(count, 1, 1, 1)
    return levels.expand(count, size, size, 3).contiguous()


def tone(seconds: float = 0.25, *, rate: int = 44100) -> dict[str, object]:
    """A sound of two channels that 16 bits hold exactly."""
    steps = torch.arange(int(seconds * rate)) % 64
    return {"waveform": torch.stack([steps, -steps])[None].float() / 128, "sample_rate": rate}


def film_bytes(folder: Path) -> bytes:
    return video.encode_frames(frames(), Fraction(12), folder, audio=tone(0.5)).path.read_bytes()


def sound_bytes(folder: Path) -> bytes:
    (sound,) = audio.sounds(tone())
    return audio.encode(sound, folder).path.read_bytes()


def latent_bytes(folder: Path) -> bytes:
    return latents.encode({"samples": NOISE}, folder).path.read_bytes()


def animation(kind: str) -> bytes:
    pictures = [Image.new("RGB", (8, 8), colour) for colour in ("red", "lime", "blue")]
    file = io.BytesIO()
    pictures[0].save(file, kind, save_all=True, append_images=pictures[1:], duration=100, lossless=True)
    return file.getvalue()


@pytest.mark.parametrize(
    ("filename", "in_list", "class_type", "kind"),
    [
        ("a.png", "images", "SaveImage", OutputKind.IMAGE),
        ("a.webp", "images", "SaveAnimatedWEBP", OutputKind.IMAGE),
        ("a.gif", "images", "", OutputKind.IMAGE),
        ("a.gif", "gifs", "VHS_VideoCombine", OutputKind.VIDEO),
        ("a.mp4", "gifs", "", OutputKind.VIDEO),
        ("a.mp4", "images", "SaveVideo", OutputKind.VIDEO),
        ("a.mp4", "images", "", OutputKind.VIDEO),
        ("a.webm", "audio", "", OutputKind.AUDIO),
        ("a.flac", "audio", "SaveAudio", OutputKind.AUDIO),
        ("a.latent", "latents", "SaveLatent", OutputKind.LATENT),
        ("a.glb", "3d", "SaveGLB", OutputKind.MODEL_3D),
        ("a.ply", "point_clouds", "", OutputKind.MODEL_3D),
        ("a.json", "images", "", OutputKind.FILE),
        ("a.txt", "files", "", OutputKind.FILE),
        ("a.txt", "text", "ComfyDeployOutputText", OutputKind.TEXT),
        ("a.png", "files", "ComfyDeployOutputFile", OutputKind.FILE),
        ("no suffix", "images", "", OutputKind.IMAGE),
        ("no suffix", "who knows", "", OutputKind.FILE),
        (".png", "who knows", "", OutputKind.FILE),
    ],
)
def test_what_a_file_is_is_told_by_its_node_its_list_and_its_name(filename, in_list, class_type, kind):
    assert kind_of_output(filename, in_list=in_list, class_type=class_type) is kind


@pytest.mark.parametrize(
    ("name", "mime_type", "kind"),
    [
        ("a.png", "application/octet-stream", OutputKind.IMAGE),
        ("a.exr", "image/x-exr", OutputKind.IMAGE),
        ("a.webm", "audio/webm", OutputKind.AUDIO),
        ("a.mp3", None, OutputKind.AUDIO),
        ("photo", "image/jpeg", OutputKind.IMAGE),
        ("a.glb", "model/gltf-binary", OutputKind.MODEL_3D),
        ("a.svg", "image/svg+xml", OutputKind.FILE),
        ("a.unknown", "text/plain", OutputKind.FILE),
    ],
)
def test_what_an_asset_is_is_told_by_its_name_or_else_by_its_media_type(name, mime_type, kind):
    asset = Asset.model_validate({"id": "a1", "name": name, "path": name, "mime_type": mime_type})
    assert kind_of_asset(asset) is kind


async def test_a_run_gives_each_kind_as_what_comfyui_has_for_it(open_workplace, tmp_path):
    film, sound, latent = film_bytes(tmp_path), sound_bytes(tmp_path), latent_bytes(tmp_path)
    machine = puts_out_all(
        [PutOut(png(), "a.png", output_id="picture")],
        [PutOut(film, "film.mp4", "images", "SaveVideo", "film")],
        [PutOut(sound, "sound.flac", "audio", "SaveAudio", "sound")],
        [PutOut(latent, "noise.latent", "latents", "SaveLatent")],
        [PutOut(b"glTF", "../../mesh.glb", "3d", "SaveGLB")],
        [PutOut(b'{"a": 1}', "facts.json", "files", "Facts", texts=("said",))],
    )
    async with open_workplace(machines={"builtin": machine}) as place:
        result = await place.run(GRAPH)
        assert [part.kind.value for part in result.parts] == ["image", "video", "audio", "latent", "3d", "file", "text"]
        assert repr(result) == (
            f"<run {result.run.id}: 1 image, 1 video, 1 sound, 1 latent, 1 3D file, 1 file, 1 text>"
        )

    files = [part.value for part in result.parts if not isinstance(part.value, (str, media.Decoded))]
    assert [file.path.read_bytes() for file in files] == [film, sound, latent, b"glTF", b'{"a": 1}']
    assert len({file.path.parent for file in files}) == 1
    assert [file.path.suffix for file in files] == [".mp4", ".flac", ".latent", ".glb", ".json"]
    assert "mesh" in files[3].path.name and ".." not in str(files[3].path)
    assert not any(str(tmp_path) in repr(part) for part in result.parts)


async def executed(node, **inputs: object):
    """What a node gives, executed on a thread as ComfyUI does."""
    return await asyncio.to_thread(node().run, **inputs)


@pytest.fixture
async def mixed(open_workplace, tmp_path, comfyui_folder):
    """A result with two of many kinds, and ComfyUI around it."""
    (second,) = audio.sounds(tone(0.5))
    other_sound = audio.encode(second, tmp_path).path.read_bytes()
    machine = puts_out_all(
        [PutOut(film_bytes(tmp_path), "film.mp4", "images", "SaveVideo", "film")],
        [PutOut(sound_bytes(tmp_path), "a.flac", "audio", "SaveAudio"), PutOut(other_sound, "b.flac", "audio")],
        [PutOut(latent_bytes(tmp_path), "noise.latent", "latents", "SaveLatent", "noise")],
        [PutOut(b"glTF", "mesh.glb", "3d", "SaveGLB"), PutOut(b"glTF2", "mesh.glb", "3d")],
        [PutOut(b"{}", "facts.json", "files", "Facts", texts=("said",))],
        [PutOut(animation("GIF"), "moving.gif", node_class="SaveAnimatedGIF", output_id="moving")],
    )
    async with open_workplace(machines={"builtin": machine}) as place:
        yield await place.run(GRAPH)


async def test_every_kind_has_a_node_that_gives_it(mixed, comfyui_folder):
    async def take(name: str, output: str = "", **more: object):
        return (await executed(NODES[f"OutpostRun{name}"], run=mixed, output=output, **more))[0]

    [moving] = await take("Images")
    assert list(moving.shape) == [3, 8, 8, 3]
    sounds = await take("Audio")
    assert [list(each["waveform"].shape) for each in sounds] == [[1, 2, 11025], [1, 2, 22050]]
    assert torch.equal(sounds[0]["waveform"], tone()["waveform"])
    [latent] = await take("Latent", "noise")
    assert torch.equal(latent["samples"], NOISE)
    assert await take("Text") == ["said"]
    models = await take("3D", "#4")
    assert [(comfyui_folder / "output" / path).read_bytes() for path in models] == [b"glTF", b"glTF2"]
    assert all(path.startswith("outpost/mesh_") and path.endswith(".glb") for path in models)
    files = await take("Files")
    assert len(files) == 7
    assert all((comfyui_folder / "output" / path).is_file() for path in files)


async def test_a_video_is_its_file_until_somebody_wants_its_frames(mixed):
    [film] = (await executed(RunVideo, run=mixed, output="film"))[0]

    assert video.is_video(film)
    images, sound, fps = await executed(VideoFrames, video=film)
    assert list(images.shape) == [6, 32, 32, 3]
    assert (images - frames()).abs().max() < 0.05
    assert fps == 12.0
    assert sound["sample_rate"] == 44100


async def test_the_loop_goes_on_while_a_video_is_decoded(comfyui_folder, monkeypatch):
    monkeypatch.setitem(sys.modules, "execution", types.SimpleNamespace(get_output_data=executed))
    node, goes_on = host.awaited(inspect.unwrap(VideoFrames.run)), threading.Event()

    class Film:
        def get_components(self):
            assert goes_on.wait(WAIT_SECONDS), "nothing else could happen"
            return types.SimpleNamespace(images=frames(), audio=tone(), frame_rate=Fraction(12))

    asyncio.get_running_loop().call_soon(goes_on.set)
    assert (await node(VideoFrames(), Film()))[2] == 12.0


async def test_a_video_without_sound_blocks_what_wants_to_hear_it(tmp_path, comfyui_folder):
    silent = video.VideoFile(video.encode_frames(frames(), 12, tmp_path).path)

    assert isinstance((await executed(VideoFrames, video=silent))[1], Blocker)


async def test_what_a_run_has_not_put_out_blocks_and_says_what_there_is(mixed):
    [blocker] = (await executed(RunText, run=mixed, output="film"))[0]

    assert isinstance(blocker, Blocker)
    assert "has put out no text here. Its outputs are: #1 'film' (1 video)." in blocker.message
    with pytest.raises(InvalidInput, match=r"no output '#7'. .*#1 'film' .1 video., #2 '2' .2 sounds.") as caught:
        await executed(Run3D, run=mixed, output="#7")
    assert "http" not in str(caught.value)


async def test_an_output_is_known_by_its_place_but_an_id_comes_first(mixed):
    assert [part.kind for part in mixed.pick("#3").parts] == [OutputKind.LATENT]
    assert mixed.pick("#5").texts == ["said"]
    assert len(mixed.pick("2").parts) == 2


async def test_a_mask_is_the_transparency_or_a_channel(open_workplace, comfyui_folder):
    picture = Image.new("RGBA", (4, 2), (255, 51, 0, 102))
    file = io.BytesIO()
    picture.save(file, "PNG")
    async with open_workplace(machines={"builtin": puts_out_all([PutOut(file.getvalue(), "a.png")])}) as place:
        result = await place.run(GRAPH)

    async def mask(channel: str):
        [found] = (await executed(RunMasks, run=result, output="", channel=channel))[0]
        assert list(found.shape) == [1, 2, 4]
        return round(found[0, 0, 0].item() * 255)

    assert {name: await mask(name) for name in RunMasks.CHANNELS} == {"alpha": 153, "red": 255, "green": 51, "blue": 0}


async def test_what_an_unknown_node_puts_out_under_a_name_is_there_as_a_file_too(open_workplace, comfyui_folder):
    picture = png()
    machine = puts_out_all([PutOut(picture, "a.png", node_class="SomebodysSave", output_id="mine")])
    async with open_workplace(machines={"builtin": machine}) as place:
        result = await place.run(GRAPH)

    [path] = sockets.values(result.pick("mine"), OutputKind.FILE)
    assert (comfyui_folder / "output" / path).read_bytes() == picture
    assert len(sockets.values(result.pick("mine"), OutputKind.IMAGE)) == 1
    [blocker] = (await executed(RunFiles, run=result, output=""))[0]
    assert isinstance(blocker, Blocker), "an image is no file to the node for files"


async def test_a_text_file_of_a_node_for_texts_is_a_text(open_workplace):
    text = PutOut('{"said": "ü"}'.encode(), "said.json", "text", "ComfyDeployOutputText", "said")
    async with open_workplace(machines={"builtin": puts_out_all([text])}) as place:
        assert (await place.run(GRAPH)).pick("said").texts == ['{"said": "ü"}']


async def test_a_text_that_is_none_is_named(open_workplace):
    broken = PutOut(b"\xff\xfe\x00", "said.txt", "text", "ComfyDeployOutputText", "said")
    async with open_workplace(machines={"builtin": puts_out_all([broken])}) as place:
        with pytest.raises(UnsupportedMedia, match=r"output 'said' of run .* not in UTF-8"):
            await place.run(GRAPH)


@pytest.mark.parametrize("kind", ["GIF", "WEBP", "PNG"])
async def test_a_moving_picture_is_a_batch(open_workplace, kind):
    data = animation(kind)
    async with open_workplace(machines={"builtin": puts_out_all([PutOut(data, f"a.{kind.lower()}")])}) as place:
        [image] = (await place.run(GRAPH)).images
    assert [[round(each) for each in frame[0, 0].tolist()] for frame in image.image] == [
        [1, 0, 0],
        [0, 1, 0],
        [0, 0, 1],
    ]


async def test_a_file_above_the_limit_is_an_error_and_leaves_nothing(open_workplace, tmp_path, monkeypatch):
    monkeypatch.setattr(outputs_module, "MAX_DOWNLOAD_BYTES", 100)
    machine = puts_out_all([PutOut(b"x" * 60, "small.bin", "files")], [PutOut(b"y" * 101, "large.bin", "files")])
    async with open_workplace(machines={"builtin": machine}) as place:
        with pytest.raises(TransferError, match=r"output '2' of run .* did not arrive: .*limit of 100 bytes"):
            await place.run(GRAPH)
    assert [path for path in (tmp_path / "files").rglob("*") if path.is_file()] == []


async def test_an_expired_url_of_a_file_is_signed_anew(open_workplace):
    machine = puts_out_all([PutOut(b"same", "a.bin", "files"), PutOut(b"other", "b.bin", "files")])
    async with open_workplace(machines={"builtin": machine}) as place:
        place.site.fail(FETCH, 403, 403)
        result = await place.run(GRAPH)
    assert [part.value.path.read_bytes() for part in result.parts] == [b"same", b"other"]


async def test_two_runs_keep_their_files_apart(open_workplace):
    async with open_workplace(machines={"builtin": puts_out_all([PutOut(b"{}", "a.json", "files")])}) as place:
        first, second = [(await place.run(GRAPH)).parts[0].value for _ in range(2)]
    assert first.path != second.path
    assert json.loads(first.path.read_text()) == json.loads(second.path.read_text()) == {}


async def test_a_file_is_fetched_while_the_run_goes_on(open_workplace):
    sites = []

    async def script(job, emit):
        await puts_out_all([PutOut(b"{}", "a.json", "files")]).run(job, emit)
        while not sites[0].count(FETCH):
            await asyncio.sleep(0.01)

    async with open_workplace(machines={"builtin": ScriptedMachine(script)}) as place:
        sites.append(place.site)
        result = await asyncio.wait_for(place.run(GRAPH), WAIT_SECONDS)
    assert [part.value.path.read_bytes() for part in result.parts] == [b"{}"]
    assert place.site.count(FETCH) == 1


async def test_nothing_is_left_of_a_run_that_fails_after_it_has_put_out_a_file(open_workplace, tmp_path):
    async def script(job, emit):
        await puts_out_all([PutOut(b"{}", "a.json", "files")]).run(job, emit)
        raise MachineError(Failure(message="and then it failed"))

    async with open_workplace(machines={"builtin": ScriptedMachine(script)}) as place:
        with pytest.raises(RunFailed, match="and then it failed"):
            await place.run(GRAPH)
    assert [path for path in (tmp_path / "files").rglob("*") if path.is_file()] == []
