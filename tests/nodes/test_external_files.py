"""External nodes that take files, on real files from real servers."""

from __future__ import annotations

import asyncio
import base64
import inspect
import io
import json
import os
import sys
import threading
import zipfile
from collections.abc import AsyncGenerator
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from aiohttp import web
from comfyui_outpost import NODE_CLASS_MAPPINGS
from comfyui_outpost.api.errors import InvalidInput
from comfyui_outpost.nodes import host, media
from comfyui_outpost.nodes.external import files
from comfyui_outpost.nodes.external.archive import images_in
from comfyui_outpost.nodes.external.video import SIZES, Cut, size
from comfyui_outpost.nodes.media import audio, exr, video
from comfyui_outpost.tests.fakes.serving import Log, served
from comfyui_outpost.tests.nodes import comfyui_modules
from PIL import Image

SECRET = "permission-that-nobody-may-see"


def pixels(seed: int, *, channels: int = 3, side: int = 8) -> Any:
    return np.random.default_rng(seed).integers(0, 256, (side, side + 2, channels), np.uint8)


def png(array: Any, kind: str = "PNG") -> bytes:
    content = io.BytesIO()
    Image.fromarray(array).save(content, kind)
    return content.getvalue()


def tensor(array: Any) -> torch.Tensor:
    """The IMAGE of an array of bytes."""
    return torch.from_numpy(array.astype(np.float32) / np.float32(255))[None]


def to_bytes(image: torch.Tensor) -> Any:
    return media.to_pixels(image[0])


class Server:
    """Somebody's server with files on it."""

    def __init__(self) -> None:
        self.url = ""
        self.files: dict[str, bytes] = {}
        self.log = Log()

    async def answer(self, request: web.Request) -> web.StreamResponse:
        await self.log.take(request)
        if request.path == "/never":
            await asyncio.Event().wait()
        content = self.files.get(request.path[1:])
        return web.Response(body=content) if content is not None else web.Response(status=404, text=SECRET)

    def put(self, name: str, content: bytes) -> str:
        """The URL of a file, which is a permission."""
        self.files[name] = content
        return f"{self.url}/{name}?s={SECRET}"


@pytest.fixture
async def server() -> AsyncGenerator[Server, None]:
    server, app = Server(), web.Application()
    app.router.add_get("/{rest:.*}", server.answer)
    async with served(app) as server.url:
        yield server


@pytest.fixture(autouse=True)
def comfyui(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """ComfyUI's folders, for a user who allows files from this computer's own servers and has no platform."""
    folder = tmp_path / "comfyui"
    comfyui_modules.install(monkeypatch, folder)
    monkeypatch.setattr(sys.modules["comfy.utils"], "common_upscale", upscale, raising=False)
    monkeypatch.setenv("OUTPOST_ALLOW_PRIVATE_ADDRESSES", "1")
    monkeypatch.setenv("OUTPOST_SETTINGS", str(tmp_path / "none.json"))
    for name in ("OUTPOST_BASE_URL", "OUTPOST_API_KEY"):
        monkeypatch.delenv(name, raising=False)
    return folder


def upscale(samples: torch.Tensor, width: int, height: int, method: str, crop: str) -> torch.Tensor:
    """ComfyUI's, as far as the size goes."""
    return torch.nn.functional.interpolate(samples, (height, width))


async def run(kind: str, **inputs: Any) -> Any:
    """What a node gives, executed on a thread as ComfyUI does."""
    node = NODE_CLASS_MAPPINGS[f"ComfyUIDeployExternal{kind}"]()
    return await asyncio.to_thread(node.run, **{"input_id": "photo", "unique_id": "1", **inputs})


async def refusal(kind: str, **inputs: Any) -> str:
    with pytest.raises(InvalidInput) as caught:
        await run(kind, **inputs)
    assert caught.value.input_id == "photo"
    assert "'photo'" in str(caught.value)
    error: BaseException | None = caught.value
    while error:
        assert SECRET not in str(error)
        error = error.__cause__ or error.__context__
    return str(caught.value)


async def test_an_image_comes_pixel_for_pixel_from_the_url_in_place_of_the_id(server: Server):
    sent = pixels(1)
    url = server.put("photo.png", png(sent))

    (by_id,) = await run("Image", input_id=url, default_value=tensor(pixels(2)), default_value_url=f"{server.url}/no")
    (by_default,) = await run("Image", default_value_url=url, default_value=tensor(pixels(2)))

    assert np.array_equal(to_bytes(by_id), sent)
    assert np.array_equal(to_bytes(by_default), sent)
    assert {request.path for request in server.log.requests} == {f"/photo.png?s={SECRET}"}
    assert not {"Authorization", "Cookie"} & set(server.log.requests[0].headers)


async def test_without_a_url_an_image_is_what_is_connected():
    image = tensor(pixels(3))
    assert (await run("Image", default_value=image))[0] is image
    assert (await run("ImageAlpha", default_value=image))[0] is image
    assert (await run("ImageBatch", images="[]", default_value=image))[0] is image


async def test_an_image_is_one_of_comfyui_s_input_folder(comfyui: Path):
    sent = pixels(4)
    (comfyui / "input" / "outpost").mkdir()
    (comfyui / "input" / "outpost" / "a.png").write_bytes(png(sent))

    for name in ("outpost/a.png", "outpost/a.png [input]"):
        assert np.array_equal(to_bytes((await run("Image", default_value_url=name))[0]), sent)


async def test_a_data_url_is_an_image_too():
    sent = pixels(5)
    url = "data:image/png;base64," + base64.b64encode(png(sent)).decode()
    assert np.array_equal(to_bytes((await run("Image", input_id=url))[0]), sent)


async def test_alpha_is_the_fourth_channel_where_it_is_asked_for_and_nowhere_else(server: Server):
    clear, opaque = pixels(6, channels=4), pixels(7)
    url = server.put("clear.png", png(clear))

    (with_alpha,) = await run("ImageAlpha", input_id=url)
    (without,) = await run("Image", input_id=url)
    (added,) = await run("ImageAlpha", input_id=server.put("opaque.png", png(opaque)))

    assert np.array_equal(to_bytes(with_alpha), clear)
    assert np.array_equal(to_bytes(without), clear[..., :3])
    assert np.array_equal(to_bytes(added)[..., :3], opaque) and (to_bytes(added)[..., 3] == 255).all()


def zipped(**files: bytes) -> bytes:
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in files.items():
            archive.writestr(name.replace("_", "."), data)
    return content.getvalue()


async def test_a_batch_is_the_images_behind_its_urls_in_order(server: Server, comfyui: Path):
    sent = [pixels(number) for number in range(5)]
    (comfyui / "input" / "c.png").write_bytes(png(sent[4]))
    archive = zipped(b_png=png(sent[2]), readme_txt=b"hello", a_png=png(sent[3]))
    urls = [server.put(f"{number}.png", png(sent[number])) for number in range(2)]

    (batch,) = await run("ImageBatch", images=json.dumps([*urls, server.put("more.zip", archive), "c.png"]))

    assert batch.shape == (5, 8, 10, 3)
    assert [np.array_equal(media.to_pixels(image), each) for image, each in zip(batch, sent, strict=True)] == [True] * 5


async def test_a_batch_of_different_sizes_is_refused_and_nothing_is_scaled(server: Server):
    urls = [server.put("a.png", png(pixels(1))), server.put("b.png", png(pixels(2, side=16)))]
    assert "10x8, 18x16" in await refusal("ImageBatch", images=json.dumps(urls))


async def test_the_images_of_a_zip_file_may_have_only_so_many_pixels_together(
    server: Server, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(media, "MAX_PIXELS", 100)
    archive = zipped(a_png=png(pixels(1)), b_png=png(pixels(2)))

    reason = await refusal("ImageBatch", images=json.dumps([server.put("many.zip", archive)]))

    assert "10x8 pixels, more than the 20 allowed" in reason


async def test_a_name_that_is_too_long_for_a_file_is_refused_without_a_local_path(comfyui: Path):
    reason = await refusal("Image", default_value_url="a" * 5000)

    assert str(comfyui) not in reason and "too long" not in reason


async def test_a_zip_file_that_holds_more_than_it_should_is_refused():
    bomb = zipped(a_png=bytes(100_000))
    with pytest.raises(Exception, match="more than is read"):
        images_in(bomb, max_bytes=99_999, max_images=3)
    with pytest.raises(InvalidInput, match="2 images"):
        images_in(zipped(a_png=b"1", b_png=b"2"), max_bytes=100, max_images=1)
    with pytest.raises(InvalidInput, match="damaged"):
        images_in(bomb[:50], max_bytes=100, max_images=1)


async def test_a_sound_comes_sample_for_sample(server: Server, tmp_path: Path, comfyui: Path):
    wave = torch.from_numpy(np.random.default_rng(8).integers(-(2**15), 2**15, (2, 4000)).astype(np.float32) / 2**15)
    (sound,) = audio.sounds({"waveform": wave[None], "sample_rate": 8000})
    content = audio.encode(sound, tmp_path).path.read_bytes()
    (comfyui / "input" / "song.flac").write_bytes(content)

    (fetched,) = await run("Audio", audio_file=server.put("song.flac", content))
    (local,) = await run("Audio", audio_file="song.flac")

    for found in (fetched, local):
        assert found["sample_rate"] == 8000 and torch.equal(found["waveform"], wave[None])
    assert (await run("Audio", audio_file="", default_value=local))[0] is local
    assert list((comfyui / "temp" / "outpost").iterdir()) == [], "what was fetched is kept"


async def test_an_exr_keeps_its_values_or_is_made_fit_to_be_shown(server: Server):
    image = torch.tensor([[[0.0, 0.001, 0.5, 0.25], [1.0, 4.0, -1.0, 1.0]]])
    url = server.put("light.exr", exr.encode(image))

    linear, mask = await run("EXR", exr_file=url, tonemap="linear")
    shown, _ = await run("EXR", exr_file=url, tonemap="sRGB")
    reinhard, _ = await run("EXR", exr_file=url, tonemap="Reinhard")

    assert torch.equal(linear[0], image[..., :3])
    assert torch.allclose(mask[0], 1 - image[..., 3])
    assert torch.allclose(shown[0, 0, 0], torch.tensor([0.0, 0.01292, 0.735357]), atol=1e-5)
    assert torch.allclose(shown[0, 0, 1], torch.tensor([1.0, 1.0, 0.0]))
    assert torch.allclose(reinhard[0, 0, 1], torch.tensor([0.735357, 0.906332, 0.0]), atol=1e-5)


async def test_without_an_exr_the_image_that_is_connected_is_taken_opaque_unless_a_mask_is_too():
    image, mask = tensor(pixels(9)), torch.ones(1, 8, 10)
    given, opaque = await run("EXR", exr_file="", default_image=image)
    assert given is image and torch.equal(opaque, torch.zeros(1, 8, 10))
    assert (await run("EXR", exr_file="", default_image=image, default_mask=mask))[1] is mask


async def test_a_video_is_its_frames_and_its_sound(server: Server, tmp_path: Path, comfyui: Path):
    frames = torch.linspace(0, 1, 12).reshape(12, 1, 1, 1).expand(12, 32, 48, 3)
    sound = {"waveform": torch.sin(torch.arange(8000) / 20).reshape(1, 1, -1), "sample_rate": 16000}
    made = video.encode_frames(frames, 24, tmp_path, audio=sound)
    content = made.path.read_bytes()
    (comfyui / "input" / "own.mp4").write_bytes(content)

    taken, count, heard, info, latent = await run("Video", input_id=server.put("clip.mp4", content))
    part, number, part_heard, _, samples = await run(
        "Video", default_video="own.mp4", skip_first_frames=2, select_every_nth=2, frame_load_cap=3, vae=Vae()
    )

    assert taken.shape == (12, 32, 48, 3) and count == 12
    assert torch.allclose(taken.mean((1, 2, 3)), frames.mean((1, 2, 3)), atol=0.03)
    assert heard["sample_rate"] == 16000 and abs(heard["waveform"].shape[-1] - 8000) <= 2048
    assert (info["source_fps"], info["loaded_frame_count"], info["loaded_width"]) == (24.0, 12, 48)
    assert isinstance(latent, comfyui_modules.Blocker)
    assert number == 3 and torch.equal(part, taken[[2, 4, 6]])
    assert part_heard["waveform"].shape[-1] == 16000 * 6 // 24
    assert samples["samples"].shape == (3, 32, 48, 3)
    assert list((comfyui / "temp" / "outpost").iterdir()) == [], "what was fetched is kept"
    assert "skip fewer" in await refusal("Video", default_video="own.mp4", skip_first_frames=12)
    assert "Meta Batch" in await refusal("Video", default_video="own.mp4", meta_batch=object())


async def test_the_loop_goes_on_while_a_vae_encodes_and_nothing_is_kept_for_training(tmp_path: Path, comfyui: Path):
    made = video.encode_frames(torch.rand(2, 32, 48, 3), 24, tmp_path)
    (comfyui / "input" / "own.mp4").write_bytes(made.path.read_bytes())
    node, goes_on = NODE_CLASS_MAPPINGS["ComfyUIDeployExternalVideo"], threading.Event()

    class Slow:
        weight = torch.ones(1, requires_grad=True)

        def encode(self, images: torch.Tensor) -> torch.Tensor:
            assert goes_on.wait(20), "nothing else could happen"
            return images * self.weight

    inputs = {"input_id": "clip", "unique_id": "1", "default_video": "own.mp4", "vae": Slow()}
    asyncio.get_running_loop().call_soon(goes_on.set)
    *_, latent = await inspect.unwrap(node.run)(node(), **inputs)

    assert not latent["samples"].requires_grad


class Vae:
    """Encodes nothing."""

    def encode(self, images: torch.Tensor) -> torch.Tensor:
        return images


async def test_a_video_without_sound_gives_none_and_the_frames_of_a_chosen_size(tmp_path: Path, comfyui: Path):
    made = video.encode_frames(torch.zeros(3, 32, 48, 3), 10, comfyui / "input")

    taken, _, heard, info, _ = await run("Video", default_video=made.path.name, force_size="Custom", custom_height=16)

    assert taken.shape == (3, 16, 512, 3) and (info["loaded_width"], info["source_width"]) == (512, 48)
    assert isinstance(heard, comfyui_modules.Blocker)


@pytest.mark.parametrize(("kind", "field"), [("File", "file_url"), ("Vid", "default_value"), ("Vid", "input_id")])
async def test_a_file_is_given_by_where_it_is(server: Server, comfyui: Path, kind: str, field: str):
    (path,) = await run(kind, **{field: server.put("clip.mp4", b"bytes of a film")})

    assert Path(path).read_bytes() == b"bytes of a film"
    assert Path(path).parent == comfyui / "temp" / "outpost" and path.endswith(".mp4")

    if field != "input_id":
        (comfyui / "input" / "own.mp4").write_bytes(b"own")
        assert (await run(kind, **{field: "own.mp4"}))[0] == str((comfyui / "input" / "own.mp4").resolve())


async def test_a_file_of_another_folder_is_not_taken(comfyui: Path, tmp_path: Path):
    (tmp_path / "secret.png").write_bytes(png(pixels(1)))
    (comfyui / "input" / "link.png").symlink_to(tmp_path / "secret.png")
    for name in ("../../secret.png", str(tmp_path / "secret.png"), "link.png", "none.png", "file:///etc/passwd"):
        for kind, field in (("Image", "default_value_url"), ("File", "file_url"), ("Audio", "audio_file")):
            await refusal(kind, **{field: name})


@pytest.mark.parametrize(
    ("kind", "inputs"),
    [
        ("Image", {}),
        ("ImageAlpha", {}),
        ("ImageBatch", {"images": "[]"}),
        ("ImageBatch", {"images": "a.png, b.png"}),
        ("ImageBatch", {"images": "[1, 2]"}),
        ("Audio", {"audio_file": ""}),
        ("EXR", {"exr_file": ""}),
        ("Video", {}),
        ("Vid", {}),
        ("File", {}),
        ("Image", {"default_value_url": "data:image/png,plain"}),
        ("Image", {"default_value_url": "data:image/png;base64,???"}),
        ("Image", {"default_value_url": "http://[::1"}),
    ],
)
async def test_an_input_without_a_value_that_can_be_used_is_named(kind: str, inputs: Any):
    assert await refusal(kind, **inputs)


@pytest.mark.parametrize(
    ("kind", "field"),
    [
        ("Image", "default_value_url"),
        ("Audio", "audio_file"),
        ("EXR", "exr_file"),
        ("Video", "default_value_url"),
    ],
)
async def test_a_file_that_is_none_of_its_kind_is_named(server: Server, comfyui: Path, kind: str, field: str):
    assert "'photo'" in await refusal(kind, **{field: server.put("x.bin", b"not what you want")})
    assert "404" in await refusal(kind, **{field: f"{server.url}/none?s={SECRET}"})
    await refusal("EXR", exr_file=server.put("really.png", png(pixels(1))))
    assert not [*(comfyui / "temp").rglob("external-*")]


async def test_private_addresses_are_refused_unless_the_user_allows_them(
    server: Server, monkeypatch: pytest.MonkeyPatch
):
    url = server.put("photo.png", png(pixels(1)))
    for value in ("", "0", "no"):
        monkeypatch.setenv("OUTPOST_ALLOW_PRIVATE_ADDRESSES", value)
        assert "OUTPOST_ALLOW_PRIVATE_ADDRESSES=1" in await refusal("Image", default_value_url=url)
    assert server.log.requests == []


async def test_a_platform_s_own_files_are_fetched_wherever_it_is(server: Server, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.delenv("OUTPOST_ALLOW_PRIVATE_ADDRESSES")
    monkeypatch.setenv("OUTPOST_BASE_URL", server.url)
    monkeypatch.setenv("OUTPOST_API_KEY", "key-that-nobody-may-see")
    sent = pixels(1)

    (image,) = await run("Image", input_id=server.put("photo.png", png(sent)))

    assert np.array_equal(to_bytes(image), sent)
    assert all("key-that" not in str(request.headers) for request in server.log.requests)


async def test_another_file_under_the_same_name_makes_the_node_run_again(comfyui: Path):
    node = NODE_CLASS_MAPPINGS["ComfyUIDeployExternalAudio"]
    path = comfyui / "input" / "a.wav"
    path.write_bytes(b"1")
    before = node.IS_CHANGED(input_id="x", audio_file="a.wav")
    os.utime(path, (1, 1))
    assert before and node.IS_CHANGED(input_id="x", audio_file="a.wav") != before
    assert node.IS_CHANGED(audio_file="https://x.example/y") == node.IS_CHANGED(audio_file=None) == ""
    assert node.IS_CHANGED(audio_file="../../secret") == ""


async def test_what_is_too_big_is_not_decoded(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(files, "MAX_IMAGE_BYTES", 30)
    with pytest.raises(InvalidInput, match="bigger than the limit of 30 bytes"):
        await run("Image", input_id="data:image/png;base64," + "A" * 48)


async def test_a_user_who_interrupts_waits_for_no_server(
    server: Server, monkeypatch: pytest.MonkeyPatch, comfyui: Path
):
    class Interrupted(Exception):
        pass

    def check() -> None:
        if server.log.requests:
            raise Interrupted

    management = sys.modules["comfy.model_management"]
    monkeypatch.setattr(management, "throw_exception_if_processing_interrupted", check)
    for kind, field in (("Image", "default_value_url"), ("File", "file_url")):
        server.log.requests.clear()
        with pytest.raises(Interrupted):
            await run(kind, **{field: f"{server.url}/never"})
    assert list((comfyui / "temp" / "outpost").iterdir()) == []


RATE = Fraction(24)


@pytest.mark.parametrize(
    ("cut", "expected"),
    [
        (Cut(), list(range(10))),
        (Cut(frame_load_cap=3), [0, 1, 2]),
        (Cut(skip_first_frames=8), [8, 9]),
        (Cut(skip_first_frames=10), []),
        (Cut(select_every_nth=3), [0, 3, 6, 9]),
        (Cut(select_every_nth=3, skip_first_frames=1, frame_load_cap=2), [1, 4]),
        (Cut(force_rate=12), [0, 2, 4, 6, 8]),
        (Cut(force_rate=48), [index // 2 for index in range(20)]),
        (Cut(force_rate=1), [0]),
        (Cut(force_rate=12, skip_first_frames=1, frame_load_cap=2), [2, 4]),
    ],
)
def test_frames_are_taken_at_another_rate_and_then_skipped_and_counted(cut: Cut, expected: list[int]):
    assert cut.indices(10, RATE) == expected


def test_the_sound_of_a_part_is_the_part_of_the_sound():
    sound = {"waveform": torch.arange(2400).reshape(1, 1, -1), "sample_rate": 2400}
    part = Cut(skip_first_frames=6, frame_load_cap=12).sound(sound, 12, RATE)["waveform"]
    assert part[0, 0].tolist() == list(range(600, 1800))
    assert Cut().sound(sound, 24, RATE)["waveform"].shape == (1, 1, 2400)


@pytest.mark.parametrize(
    ("wanted", "expected"),
    [
        ("Disabled", (100, 50)),
        ("Custom", (30, 40)),
        ("Custom Width", (30, 16)),
        ("Custom Height", (80, 40)),
        ("256x?", (256, 128)),
        ("?x256", (512, 256)),
        ("256x256", (256, 256)),
    ],
)
def test_the_size_of_frames_follows_from_what_is_chosen(wanted: str, expected: tuple[int, int]):
    assert wanted in SIZES
    assert size(100, 50, wanted=wanted, custom_width=30, custom_height=40) == expected


def test_nothing_of_comfyui_is_needed_to_list_the_nodes(monkeypatch: pytest.MonkeyPatch):
    assert host.input_files() == []
