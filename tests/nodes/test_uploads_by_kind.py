"""The nodes that bring things to the platform, with ComfyUI around them."""

from __future__ import annotations

import asyncio
import sys
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import pytest
import torch
from comfyui_outpost import NODE_CLASS_MAPPINGS
from comfyui_outpost.api.errors import InvalidInput, RunFailed, TransferError
from comfyui_outpost.api.outputs import OutputKind
from comfyui_outpost.nodes import host, media
from comfyui_outpost.nodes.given_files import GivenFiles, given_files
from comfyui_outpost.nodes.media import audio, exr, latents, video
from comfyui_outpost.nodes.remote_files import RemoteFile
from comfyui_outpost.tests.nodes.conftest import SECRETS
from comfyui_outpost.tests.nodes.sites import ANNOUNCE, PUT, SUBMIT
from comfyui_outpost.tests.nodes.test_outputs_by_kind import frames, tone
from comfyui_outpost.tests.server.graphs import SAVE_IMAGE, node

IMAGE = torch.linspace(0, 1, 24).reshape(1, 2, 4, 3)


TOO_MUCH = node("ImageBlur", image=["1", 0], blur_radius=500)


@pytest.fixture
def execute(inside_comfyui, place):
    """Executes a node as ComfyUI does, on a thread; what it returns, and the bytes behind the URLs."""
    host.contents.cache_clear()

    async def run(name: str, **inputs: Any) -> tuple[list[RemoteFile], list[bytes]]:
        node = NODE_CLASS_MAPPINGS[f"Outpost{name}"]()
        urls, files = await asyncio.to_thread(node.run, unique_id="1", **inputs)
        assert [file.url for file in files] == urls
        assert not SECRETS.search(str(files)), "ComfyUI writes this text into its history"
        return files, [await place.client.files.download(url, max_bytes=10**8) for url in urls]

    return run


def suffixes(files: list[RemoteFile]) -> list[str]:
    return [Path(file.url.partition("?")[0]).suffix for file in files]


async def test_images_are_png_or_on_demand_exr_with_all_their_floats(execute, place):
    batch = torch.cat([IMAGE, 1 - IMAGE])
    files, [first, second] = await execute("UploadImage", image=batch)
    assert suffixes(files) == [".png", ".png"]
    assert torch.equal(media.decode(second).image, batch[1:].mul(255).round().div(255))
    assert len(first) > 0

    node = NODE_CLASS_MAPPINGS["OutpostUploadImage"]
    files, data = await execute("UploadImage", image=IMAGE * 9 - 3, precision=node.EXR)
    assert suffixes(files) == [".exr"]
    assert torch.equal(exr.decode(data[0]), (IMAGE * 9 - 3)[0])
    assert node.INPUT_TYPES()["optional"]["precision"][0] == [node.PNG, node.EXR]


async def test_an_image_keeps_its_mask_as_transparency(execute):
    mask = torch.tensor([[[0.0, 1.0, 0.2, 0.4]] * 2])
    _, [data] = await execute("UploadImage", image=IMAGE, mask=mask)
    assert torch.allclose(media.decode(data).mask, mask)


async def test_a_mask_is_a_grey_image(execute):
    mask = torch.arange(256).reshape(1, 16, 16) / 255
    _, [data] = await execute("UploadMask", mask=mask)
    assert torch.equal(media.decode(data).image[..., 0], mask)
    assert data[25] == 0, "the colour type of a grey PNG"


async def test_a_video_is_sent_as_its_file_and_frames_become_one(execute, tmp_path):
    film = video.VideoFile(video.encode_frames(frames(), 12, tmp_path).path)
    files, [data] = await execute("UploadVideo", video=film)
    assert (suffixes(files), data) == ([".mp4"], Path(film.get_stream_source()).read_bytes())

    _, [data] = await execute("UploadVideo", image=frames(), fps=8.0, audio=tone(0.5))
    parts = video.decode_frames(data)
    assert (list(parts.images.shape), float(parts.frame_rate)) == ([6, 32, 32, 3], 8.0)
    assert parts.audio is not None


async def test_a_video_needs_a_video_or_images_and_not_both(execute, place):
    for inputs in ({}, {"audio": tone()}, {"video": object(), "image": frames()}):
        with pytest.raises(InvalidInput, match="takes a video or images"):
            await execute("UploadVideo", **inputs)
    with pytest.raises(InvalidInput, match="adds a sound only to images"):
        await execute("UploadVideo", video=object(), audio=tone())
    assert place.site.count(ANNOUNCE) == 0


async def test_a_batch_of_sounds_is_one_file_each(execute):
    both = {"waveform": torch.cat([tone()["waveform"], -tone()["waveform"]]), "sample_rate": 44100}
    files, data = await execute("UploadAudio", audio=both)
    assert suffixes(files) == [".flac", ".flac"]
    assert torch.equal(torch.cat([audio.decode(each)["waveform"] for each in data]), both["waveform"])


async def test_a_latent_is_a_file_for_load_latent(execute):
    latent = {"samples": torch.randn(2, 4, 8, 8)}
    files, [data] = await execute("UploadLatent", latent=latent)
    assert suffixes(files) == [".latent"]
    assert torch.equal(latents.decode(data)["samples"], latent["samples"])


async def test_what_is_none_of_its_kind_is_refused(execute, place):
    for name, inputs in (
        ("Audio", {"audio": {"samples": IMAGE}}),
        ("Latent", {"latent": {}}),
        ("Mask", {"mask": IMAGE}),
    ):
        with pytest.raises(InvalidInput):
            await execute(f"Upload{name}", **inputs)
    assert place.site.count(ANNOUNCE) == 0


async def test_a_file_of_the_input_folder_is_sent_as_it_is_and_once(execute, inside_comfyui, place):
    (inside_comfyui / "input" / "3d").mkdir()
    (inside_comfyui / "input" / "3d" / "a mesh.glb").write_bytes(b"glTF and more")
    node = NODE_CLASS_MAPPINGS["OutpostUploadFile"]
    assert node.INPUT_TYPES()["required"]["file"][0] == ["3d/a mesh.glb"]

    for _ in range(2):
        files, data = await execute("UploadFile", file="3d/a mesh.glb")
        assert (data, files[0].kind.value) == ([b"glTF and more"], "3d")
    assert place.site.count(PUT) == 1

    before = node.IS_CHANGED(unique_id="1", file="3d/a mesh.glb")
    (inside_comfyui / "input" / "3d" / "a mesh.glb").write_bytes(b"glTF and something else")
    assert node.IS_CHANGED(unique_id="1", file="3d/a mesh.glb") != before
    assert (await execute("UploadFile", file="3d/a mesh.glb"))[1] == [b"glTF and something else"]


@pytest.mark.parametrize(
    "name", ["../secret.txt", "link.txt", "folder/secret.txt", "", ".", "nothing.txt", "a\0b", "{secret}"]
)
async def test_no_file_of_another_folder_is_sent(execute, inside_comfyui, place, name):
    secret = inside_comfyui / "secret.txt"
    secret.write_text("a secret")
    (inside_comfyui / "input" / "link.txt").symlink_to(secret)
    (inside_comfyui / "input" / "folder").symlink_to(inside_comfyui)

    with pytest.raises(InvalidInput, match="There is no file") as caught:
        await execute("UploadFile", file=name.replace("{secret}", str(secret)))

    assert place.site.count(ANNOUNCE) == 0
    assert name == "{secret}" or str(inside_comfyui) not in str(caught.value)


async def test_nothing_is_left_of_what_was_encoded(execute, inside_comfyui):
    await execute("UploadAudio", audio=tone())
    await execute("UploadVideo", image=frames(), fps=8.0)
    assert [path for path in (inside_comfyui / "temp").rglob("*") if path.is_file()] == []


async def test_what_the_platform_has_lost_is_uploaded_again_by_the_next_prompt(execute, inside_comfyui, place):
    upload, run = NODE_CLASS_MAPPINGS["OutpostUploadImage"], NODE_CLASS_MAPPINGS["OutpostRunDeployment"]
    given_files.cache_clear()
    [file], _ = await execute("UploadImage", image=IMAGE)
    [other], _ = await upload_again(execute, "2", image=1 - IMAGE)
    before, deployment_id = upload.IS_CHANGED(unique_id="1"), await place.deploy(SAVE_IMAGE)

    async def queue() -> Any:
        inputs = {"deployment_id": deployment_id, "deadline_minutes": 1.0, "unique_id": "9", "image": file}
        return (await asyncio.to_thread(run().run, **inputs))["result"][0][0]

    assert torch.equal(await queue(), IMAGE.mul(255).round().div(255))
    assert upload.IS_CHANGED(unique_id="1") == before, "a file that is there is no reason to run anything again"

    lose(place, file)
    with pytest.raises(RunFailed):
        await queue()
    with pytest.raises(TransferError, match=rf"The upload {file.file_id} .image. can no longer be read") as caught:
        await queue()
    assert place.site.count(SUBMIT) == 2, "nobody pays for a run that cannot succeed"
    assert not SECRETS.search(str(caught.value))

    after = upload.IS_CHANGED(unique_id="1")
    assert after != before
    assert upload.IS_CHANGED(unique_id="2") == before, "the other one is there"
    [file], _ = await execute("UploadImage", image=IMAGE)
    assert torch.equal(await queue(), IMAGE.mul(255).round().div(255))
    assert upload.IS_CHANGED(unique_id="1") == after
    assert await place.client.files.is_there(other.url)


async def test_a_failure_of_another_kind_sends_nothing_again(execute, inside_comfyui, place):
    given_files.cache_clear()
    upload, broken = NODE_CLASS_MAPPINGS["OutpostUploadImage"], {**SAVE_IMAGE, "2": TOO_MUCH}
    [file], _ = await execute("UploadImage", image=IMAGE)
    before = upload.IS_CHANGED(unique_id="1")

    run, deployment_id = NODE_CLASS_MAPPINGS["OutpostRunDeployment"], await place.deploy(broken)
    for _ in range(2):
        inputs = {"deployment_id": deployment_id, "deadline_minutes": 1.0, "unique_id": "9", "image": file}
        with pytest.raises(RunFailed):
            await asyncio.to_thread(run().run, **inputs)

    assert upload.IS_CHANGED(unique_id="1") == before, "another deployment that has the same file would run again"


async def test_a_file_that_is_lost_before_it_is_downloaded_is_uploaded_again_too(execute, inside_comfyui, place):
    given_files.cache_clear()
    node = NODE_CLASS_MAPPINGS["OutpostUploadImage"]
    [file], _ = await execute("UploadImage", image=IMAGE)
    before = node.IS_CHANGED(unique_id="1")
    lose(place, file)

    with pytest.raises(TransferError, match="can no longer be read"):
        await asyncio.to_thread(NODE_CLASS_MAPPINGS["OutpostDownloadImage"]().run, unique_id="2", file=file)

    assert node.IS_CHANGED(unique_id="1") != before
    assert len((await execute("UploadImage", image=IMAGE))[0]) == 1


def test_a_url_that_has_expired_is_a_reason_where_it_is_connected_and_a_file_is_none():
    now = datetime(2030, 1, 1, tzinfo=timezone.utc)
    given = GivenFiles(now=lambda: now)
    given.give("1", [RemoteFile(OutputKind.IMAGE, "img_1", "https://platform.invalid/1", expires_at=now)])

    assert given.losses("1", with_url=False) == 0
    assert given.losses("1", with_url=True) == 1
    assert given.losses("1", with_url=True) == 1, "once, however often ComfyUI asks"
    assert given.losses("2", with_url=True) == 0


def test_comfyui_is_told_when_a_connected_url_has_expired(comfyui_folder, monkeypatch):
    given_files.cache_clear()
    node = NODE_CLASS_MAPPINGS["OutpostUploadImage"]
    queue = sys.modules["server"].PromptServer.instance.prompt_queue
    before, long_ago = node.IS_CHANGED(unique_id="1"), datetime(2020, 1, 1, tzinfo=timezone.utc)
    given_files().give("1", [RemoteFile(OutputKind.IMAGE, "img_1", "https://p.invalid/1", expires_at=long_ago)])

    assert node.IS_CHANGED(unique_id="1") == before, "only the file is connected"
    prompt = {"1": {"inputs": {}}, "2": {"inputs": {"text": ["1", 0]}}}
    monkeypatch.setattr(queue, "currently_running", {0: (0, "p", prompt, {}, [])}, raising=False)
    assert node.IS_CHANGED(unique_id="1") != before


async def upload_again(execute: Any, unique_id: str, image: Any) -> Any:
    node = NODE_CLASS_MAPPINGS["OutpostUploadImage"]()
    urls, files = await asyncio.to_thread(node.run, unique_id=unique_id, image=image)
    return files, urls


def lose(place: Any, file: RemoteFile) -> None:
    """The platform loses the object behind an upload."""
    objects = place.platform.parts.config.data / "objects" / "files"
    [path] = [each for each in objects.rglob("*") if each.is_file() and file.file_id in str(each)]
    path.unlink()
