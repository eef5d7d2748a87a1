"""The library in a graph, and images from the internet."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
import torch
from aiohttp import web
from comfyui_outpost import NODE_CLASS_MAPPINGS
from comfyui_outpost.api.errors import InvalidInput, NotFound, SizeLimitExceeded, TransferError, UnsupportedMedia
from comfyui_outpost.nodes import downloads, host
from comfyui_outpost.nodes.media import audio, video
from comfyui_outpost.nodes.remote_files import RemoteFile
from comfyui_outpost.nodes.sending import upload_images
from comfyui_outpost.nodes.stopwatch import Stopwatch
from comfyui_outpost.tests.fakes.serving import served
from comfyui_outpost.tests.nodes.comfyui_modules import Blocker
from comfyui_outpost.tests.nodes.conftest import SECRETS
from comfyui_outpost.tests.nodes.test_outputs_by_kind import frames, tone
from comfyui_outpost.tests.server.graphs import SAVE_IMAGE, png

IMAGE = torch.tensor([[[[1.0, 0.2, 0.0], [0.4, 0.6, 0.8]]]])


@pytest.fixture
def execute(inside_comfyui):
    """Executes a node as ComfyUI does, on a thread."""
    host.contents.cache_clear()

    async def run(node: str, /, **inputs: Any) -> Any:
        return await asyncio.to_thread(NODE_CLASS_MAPPINGS[f"Outpost{node}"]().run, unique_id="1", **inputs)

    return run


@pytest.fixture
def save(execute):
    async def run(name: str = "kept", folder: str = "", **inputs: Any) -> list[str]:
        answer = await execute("SaveToAssets", name=name, folder=folder, **inputs)
        assert not SECRETS.search(str(answer)), "ComfyUI writes this into its history"
        assert [each["id"] for each in answer["ui"]["outpost_assets"]] == answer["result"][0]
        return answer["result"][0]

    return run


async def test_an_image_goes_into_the_library_and_comes_out_of_it(execute, save, place):
    [asset_id] = await save(folder="refs/hands", image=IMAGE)

    asset = await place.client.assets.get(asset_id)
    assert (asset.name, asset.path.rpartition("/")[0]) == ("kept.png", "refs/hands")
    image, mask, url, file = await execute("LoadAsset", asset_id=f" {asset_id} ")
    assert torch.equal(image, IMAGE)
    assert not mask.any()
    assert await place.client.files.download(url, max_bytes=10**6)
    assert str(file) == f"<image asset {asset_id}>"
    result = await place.run(SAVE_IMAGE, image=file)
    assert torch.equal(result.images[0].image, IMAGE)


async def test_transparency_comes_and_goes_with_an_image(execute, save):
    mask = torch.tensor([[[0.2, 1.0]]])
    [asset_id] = await save(image=IMAGE, mask=mask)
    assert torch.allclose((await execute("LoadAsset", asset_id=asset_id))[1], mask)


async def test_a_folder_that_is_there_is_used_and_none_is_made_twice(save, place):
    for folder in ("refs", "refs/hands", "/refs//hands/", "refs\\hands"):
        await save(name=f"in {len(folder)}", folder=folder, image=IMAGE)

    assert [each.path for each in await place.client.assets.list() if each.is_folder] == ["refs"]
    inside = await place.client.assets.list("refs")
    assert [each.path for each in inside if each.is_folder] == ["refs/hands"]
    assert sorted(each.name for each in await place.client.assets.list("refs/hands")) == [
        "in 10.png",
        "in 13.png",
    ]


async def test_every_kind_can_be_kept_and_images_of_a_batch_are_numbered(
    execute, save, place, tmp_path, inside_comfyui
):
    film = video.VideoFile(video.encode_frames(frames(), 12, tmp_path).path)
    (inside_comfyui / "output" / "outpost").mkdir()
    (inside_comfyui / "output" / "outpost" / "mesh_00001_.glb").write_bytes(b"glTF")
    [upload] = await upload_images(place.client, [1 - IMAGE[0]], stopwatch=Stopwatch())

    ids = await save(
        image=torch.cat([IMAGE, IMAGE / 2]),
        video=film,
        audio=tone(),
        file=upload,
        output_file="outpost/mesh_00001_.glb",
    )

    assets = [await place.client.assets.get(each) for each in ids]
    assert [each.name for each in assets] == [
        "kept_00001.png",
        "kept_00002.png",
        "kept_00003.mp4",
        "kept_00004.flac",
        "kept_00005.glb",
        "kept_00006.png",
    ]
    image, _, url, file = await execute("LoadAsset", asset_id=ids[3])
    assert isinstance(image, Blocker) and "is no image" in image.message
    sound = audio.decode(await place.client.files.download(url, max_bytes=10**7))
    assert torch.equal(sound["waveform"], tone()["waveform"])
    assert file.kind.value == "audio"


async def test_the_same_content_is_one_asset_until_it_is_deleted_or_moved(save, place):
    [first] = await save(image=IMAGE)
    assert await save(image=IMAGE.clone()) == [first]
    assert await save(name="other", image=IMAGE) != [first]
    assert await save(image=IMAGE / 2) != [first]

    await place.client.assets.delete(first)
    [second] = await save(image=IMAGE)
    assert second != first
    await save(folder="refs", image=IMAGE / 3)
    await place.client.assets.move(second, "refs")
    assert await save(image=IMAGE) not in ([first], [second])


async def test_what_cannot_be_kept_is_said_before_anything_is(save, place, inside_comfyui):
    (inside_comfyui / "secret.txt").write_text("a secret")
    for inputs, message in (
        ({}, "There is nothing to save"),
        ({"image": IMAGE, "name": "a/b"}, "needs a name"),
        ({"image": IMAGE, "name": " "}, "needs a name"),
        ({"image": IMAGE, "folder": "../up"}, "without dots"),
        ({"output_file": "../secret.txt"}, "There is no file"),
        ({"image": IMAGE * float("nan")}, "NaN"),
    ):
        with pytest.raises(InvalidInput, match=message):
            await save(**inputs)
    assert await place.client.assets.list() == []


async def test_an_asset_that_is_not_there_or_a_folder_is_refused(execute, place):
    folder = await place.client.assets.create_folder("refs")
    with pytest.raises(InvalidInput, match="is a folder"):
        await execute("LoadAsset", asset_id=folder.id)
    with pytest.raises(InvalidInput, match="needs the id of an asset"):
        await execute("LoadAsset", asset_id=" ")
    with pytest.raises(NotFound):
        await execute("LoadAsset", asset_id="img_0000000000000000")


async def test_an_image_behind_a_url_of_the_platform_or_in_a_file_is_downloaded(execute, place):
    [upload] = await upload_images(place.client, [IMAGE[0]], stopwatch=Stopwatch())
    for inputs in ({"url": f" {upload.url} "}, {"file": upload}):
        image, mask = await execute("DownloadImage", **inputs)
        assert torch.equal(image, IMAGE)
        assert not mask.any()


@pytest.fixture
async def elsewhere():
    """A server on this computer that is not the platform."""

    async def image(request: web.Request) -> web.Response:
        assert "Authorization" not in request.headers
        return web.Response(body=png(), content_type="image/png")

    async def text(_: web.Request) -> web.Response:
        return web.Response(text="no image")

    app = web.Application()
    app.add_routes([web.get("/image.png", image), web.get("/text", text)])
    async with served(app) as url:
        yield url


async def test_a_private_address_is_refused_unless_the_user_allows_it(execute, elsewhere, monkeypatch):
    with pytest.raises(InvalidInput, match="an address of this computer") as caught:
        await execute("DownloadImage", url=f"{elsewhere}/image.png?token=secret")
    assert "secret" not in str(caught.value)

    monkeypatch.setenv("OUTPOST_ALLOW_PRIVATE_ADDRESSES", "1")
    image, _ = await execute("DownloadImage", url=f"{elsewhere}/image.png")
    assert list(image.shape) == [1, 4, 4, 3]
    with pytest.raises(UnsupportedMedia, match=r"The image behind the URL .* cannot be read"):
        await execute("DownloadImage", url=f"{elsewhere}/text")
    with pytest.raises(TransferError, match="404"):
        await execute("DownloadImage", url=f"{elsewhere}/nothing?token=secret")
    monkeypatch.setattr(downloads, "MAX_IMAGE_BYTES", 10)
    with pytest.raises(SizeLimitExceeded, match="10 bytes"):
        await execute("DownloadImage", url=f"{elsewhere}/image.png")


async def test_only_the_web_is_opened_and_one_thing_at_a_time(execute, place):
    [upload] = await upload_images(place.client, [IMAGE[0]], stopwatch=Stopwatch())
    for inputs in ({"url": "file:///etc/passwd"}, {"url": "ftp://example.com/a.png"}, {"url": "cat.png"}):
        with pytest.raises(InvalidInput):
            await execute("DownloadImage", **inputs)
    for inputs in ({}, {"url": upload.url, "file": upload}):
        with pytest.raises(InvalidInput, match="one of the two"):
            await execute("DownloadImage", **inputs)
    assert isinstance(upload, RemoteFile)
