"""Every kind of media that a graph has is sent to the inputs that take it, exactly, and once."""

from __future__ import annotations

import hashlib
from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest
import torch
from comfyui_outpost.api.errors import InvalidInput, TransferError
from comfyui_outpost.api.outputs import OutputKind
from comfyui_outpost.nodes import media
from comfyui_outpost.nodes.media import audio, exr, latents, video
from comfyui_outpost.nodes.remote_files import RemoteFile
from comfyui_outpost.nodes.sending import upload_images
from comfyui_outpost.nodes.stopwatch import Stopwatch
from comfyui_outpost.tests.nodes.sites import ANNOUNCE, PUT, SUBMIT
from comfyui_outpost.tests.nodes.test_outputs_by_kind import frames, tone
from comfyui_outpost.tests.server.graphs import SAVE_IMAGE, external, node

KINDS = ("Video", "Audio", "EXR", "File", "Image", "ImageBatch", "Text", "NumberInt")
GRAPH = {
    **{str(number): external(kind, kind.lower(), default_value="none") for number, kind in enumerate(KINDS)},
    **{
        f"{number}0": node("PreviewAny", source=[str(number), 0], output_id=f"{kind.lower()} url")
        for number, kind in enumerate(KINDS[:4])
    },
}
IMAGE = torch.rand(1, 4, 6, 3, generator=torch.manual_seed(1))
LATENT = {"samples": torch.randn(1, 4, 8, 8), "noise_mask": torch.rand(1, 1, 8, 8)}


@pytest.fixture
async def received(place):
    """Runs a graph that takes one input; what the machine gets for it: the URL, and the bytes behind it."""
    deployment_id = await place.deploy({name: each for name, each in GRAPH.items() if not needs_image(each)})

    async def send(name: str, value: Any) -> tuple[str, bytes]:
        result = await place.run(deployment_id, **{name: value})
        url = result.pick(f"{name} url").texts[0]
        return url, await place.client.files.download(url, max_bytes=10**8)

    return send


def needs_image(each: Any) -> bool:
    return each["class_type"] in ("ComfyUIDeployExternalImage", "ComfyUIDeployExternalImageBatch")


def a_video(folder: Path) -> video.VideoFile:
    return video.VideoFile(video.encode_frames(frames(), Fraction(12), folder, audio=tone(0.5)).path)


async def test_a_video_that_is_a_file_is_sent_as_that_file(received, tmp_path):
    film = a_video(tmp_path)

    url, data = await received("video", film)

    assert data == Path(film.get_stream_source()).read_bytes()
    assert url.partition("?")[0].endswith(".mp4")


async def test_a_sound_arrives_sample_for_sample(received):
    url, data = await received("audio", tone())

    assert url.partition("?")[0].endswith(".flac")
    assert torch.equal(audio.decode(data)["waveform"], tone()["waveform"])

    loud = {"waveform": torch.randn(1, 2, 500) * 3, "sample_rate": 22050}
    url, data = await received("audio", loud)
    assert url.partition("?")[0].endswith(".wav")
    assert torch.equal(audio.decode(data)["waveform"], loud["waveform"])


async def test_a_latent_arrives_bit_for_bit_with_what_belongs_to_it(received):
    url, data = await received("file", LATENT)

    assert url.partition("?")[0].endswith(".latent")
    arrived = latents.decode(data)
    assert arrived.keys() == LATENT.keys()
    assert all(torch.equal(arrived[name], LATENT[name]) for name in LATENT)


async def test_an_input_for_exr_gets_the_floats_as_they_are(received):
    wild = IMAGE * 40 - 20

    url, data = await received("exr", wild)

    assert url.partition("?")[0].endswith(".exr")
    assert torch.equal(exr.decode(data), wild[0])


async def test_a_file_input_takes_each_kind_and_a_url(received, place, tmp_path):
    film = a_video(tmp_path)
    for value, suffix in ((film, ".mp4"), (tone(), ".flac"), (IMAGE, ".png"), (LATENT, ".latent")):
        url, _ = await received("file", value)
        assert url.partition("?")[0].endswith(suffix)
    assert (await received("file", url))[0].partition("?")[0] == url.partition("?")[0]


async def test_content_is_sent_once_whatever_it_is(received, place, tmp_path):
    film = a_video(tmp_path)
    for name, value in (("video", film), ("audio", tone()), ("file", LATENT), ("exr", IMAGE)):
        before = place.site.count(PUT)
        first = await received(name, value)
        second = await received(name, value)
        assert first[1] == second[1]
        assert place.site.count(PUT) == before + 1, name


async def test_the_same_pixels_as_png_and_as_exr_are_two_contents(received, place):
    _, as_exr = await received("exr", IMAGE)
    _, as_png = await received("file", IMAGE)

    assert place.site.count(PUT) == 2
    assert hashlib.sha256(as_exr).digest() != hashlib.sha256(as_png).digest()


async def test_an_uploaded_file_is_a_value_and_tells_no_secret(received, place):
    [file] = await upload_images(place.client, [IMAGE[0]], stopwatch=Stopwatch())

    assert (await received("file", file))[0].partition("?")[0] == file.url.partition("?")[0]
    assert str(file) == repr(file) == f"<image upload {file.file_id}>"
    assert place.site.count(PUT) == 1


async def test_an_uploaded_file_whose_url_is_about_to_expire_gets_a_new_one(open_workplace):
    async with open_workplace(url_seconds=60) as place:
        [file] = await upload_images(place.client, [IMAGE[0]], stopwatch=Stopwatch())
        result = await place.run(SAVE_IMAGE, image=file)

        assert place.site.count("GET /api/file/{file_id}") == 1
        assert len(result.images) == 1


async def test_a_mask_becomes_the_transparency_of_an_image(place):
    mask = torch.tensor([[[0.0, 0.2, 0.4, 0.6, 0.8, 1.0]] * 4])

    result = await place.run(SAVE_IMAGE, **{"image": IMAGE, "image:alpha": mask})

    assert torch.equal(result.images[0].mask, mask.mul(255).round().div(255))
    assert torch.equal(result.images[0].image, IMAGE.mul(255).round().div(255))
    assert "image:alpha" not in result.run.workflow_inputs


async def test_a_list_of_images_of_different_sizes_and_uploads_is_a_batch(place):
    graph = {"1": external("ImageBatch", "pictures"), "2": node("SaveImage", images=["1", 0])}
    [file] = await upload_images(place.client, [IMAGE[0]], stopwatch=Stopwatch())

    result = await place.run(graph, pictures=[torch.zeros(2, 3, 5, 3), file])

    assert [list(each.image.shape[1:3]) for each in result.images] == [[3, 5], [3, 5], [4, 6]]


WRONG = {
    "a sound for a video": ({"video": tone()}, "The input 'video' takes a video, and a sound is connected to it"),
    "images for a video": ({"video": frames()}, "The input 'video' takes a video, and an image is connected to it"),
    "an image for a sound": ({"audio": IMAGE}, "The input 'audio' takes a sound, and an image is connected to it"),
    "a latent for an image": ({"image": LATENT}, "The input 'image' takes an image, and a latent is connected to it"),
    "a sound for a text": ({"text": tone()}, "The input 'text' .text. takes no audio"),
    "a file for a number": (
        {"numberint": RemoteFile(OutputKind.FILE, "file_1", "https://secret.invalid/?s=1")},
        "The input 'numberint' .integer. takes no file",
    ),
    "an uploaded image for a sound": (
        {"audio": RemoteFile(OutputKind.IMAGE, "img_1", "https://secret.invalid/?s=1")},
        "The input 'audio' takes a sound, and an image is connected to it",
    ),
    "a batch of sounds": (
        {"audio": {"waveform": torch.zeros(2, 1, 8), "sample_rate": 8000}},
        "The input 'audio' cannot be sent: it takes one audio, and a batch of 2",
    ),
    "a sound that is none": (
        {"audio": {"waveform": torch.full((1, 1, 4), float("nan")), "sample_rate": 8000}},
        "The input 'audio' cannot be sent: ",
    ),
    "transparency of nothing": ({"video:alpha": torch.zeros(1, 4, 4)}, "'video:alpha' is the transparency of 'video'"),
    "transparency of a picture behind a URL": (
        {"image": "https://pictures.invalid/a.png", "image:alpha": torch.zeros(1, 4, 6)},
        "'image:alpha' is the transparency of 'image', and that is not an image but a value",
    ),
    "transparency of a sound": (
        {"file": tone(), "file:alpha": torch.zeros(1, 4, 6)},
        "The input 'file' cannot be sent: only an image can be given transparency",
    ),
    "transparency of an uploaded file": (
        {"image": RemoteFile(OutputKind.IMAGE, "img_1", "https://secret.invalid/?s=1"), "image:alpha": IMAGE[..., 0]},
        "The input 'image' cannot be sent: a file that has been uploaded already",
    ),
    "a mask of another size": (
        {"image": IMAGE, "image:alpha": torch.zeros(1, 9, 9)},
        "The input 'image' cannot be sent: .*scale the mask",
    ),
    "an empty list": ({"imagebatch": []}, "The input 'imagebatch' takes a batch"),
}


@pytest.mark.parametrize("wrong", WRONG)
async def test_what_cannot_be_sent_is_named_before_anything_is(place, wrong):
    inputs, message = WRONG[wrong]

    with pytest.raises(InvalidInput, match=message) as caught:
        await place.run(GRAPH, **{"image": IMAGE, "imagebatch": IMAGE, "exr": IMAGE, **inputs})

    assert caught.value.input_id
    assert (place.site.count(ANNOUNCE), place.site.count(SUBMIT)) == (0, 0)
    assert "secret.invalid" not in str(caught.value)
    assert not media.is_tensor(caught.value.input_id)


async def test_no_file_is_left_where_media_were_encoded(received, place, tmp_path):
    await received("audio", tone())
    await received("video", a_video(tmp_path))

    assert list((tmp_path / "files").rglob("*")) == []


async def test_a_file_of_another_connection_is_refused_and_its_url_is_not_sent(place):
    deployment_id = await place.deploy(GRAPH)
    elsewhere = RemoteFile(OutputKind.IMAGE, "img_1", "https://secret.invalid/?s=1", connection_id="another")

    with pytest.raises(TransferError, match="was given to another connection"):
        await place.run(deployment_id, image=elsewhere)

    assert elsewhere.fate.is_lost, "the node that gave it has to be executed again"
    assert await place.runs() == []
