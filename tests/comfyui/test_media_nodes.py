"""Each kind of media makes the whole way: out of a real ComfyUI, through the platform to another, and back."""

from __future__ import annotations

import json
import re

import numpy as np
import pytest
import pytest_asyncio
from comfyui_outpost.api.client import Client

from .installations import PYPI_VERSION, Installation
from .instance import Instance
from .lane import SAME, Lane, external, node, picture, run_deployment, save
from .messages import Json

# The ComfyUIs and the platform that all tests share live on this event loop.
pytestmark = pytest.mark.asyncio(loop_scope="session")

GIVE_BACK = {"1": external("File", "file"), "2": node("GiveBack", file=["1", 0], output_id="back")}
SIGNATURE = re.compile(r"[?&]s=[\w-]{20,}")


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def machine_id(stock: Instance, client: Client) -> str:
    """A machine that is a ComfyUI without our nodes; it gives back whatever file comes."""
    return (await client.machines.create_custom("the other ComfyUI", stock.url)).id


@pytest_asyncio.fixture(loop_scope="session")
async def give_back(lane: Lane, machine_id: str) -> str:
    """The id of a deployment that puts out the file that comes in, as the output `back`."""
    made = await lane.client.workflows.create("give back", {}, workflow_api=GIVE_BACK)
    deployment = await lane.client.deployments.create(
        workflow_id=made.workflow_id, workflow_version_id=str(made.workflow_version_id), machine_id=machine_id
    )
    return deployment.id


def written(lane: Lane, path: str) -> bytes:
    return (lane.comfyui.workspace / "output" / path).read_bytes()


def run_output(kind: str, run: str, **inputs: object) -> Json:
    return node(f"OutpostRun{kind}", run=[run, 2], output="back", **inputs)


async def test_a_sound_comes_back_sample_for_sample(lane: Lane, give_back: str):
    execution = await lane.execute(
        {
            "1": node("MakeSound", seconds=1.5),
            "2": run_deployment(give_back, file=["1", 0]),
            "3": run_output("Audio", "2"),
            "4": node("ShowSound", audio=["3", 0]),
            "5": node("ShowSound", audio=["1", 0]),
            "6": node("OutpostUploadAudio", audio=["1", 0]),
            "7": run_deployment(give_back, file=["6", 1]),
            "8": run_output("Audio", "7"),
            "9": node("ShowSound", audio=["8", 0]),
        }
    )

    assert execution.outputs("4") == execution.outputs("9") == execution.outputs("5")
    assert execution.outputs("4")["shape"] == [1, 2, 66150]
    assert lane.traffic.count("PUT /api/objects/") == 1


async def test_a_latent_comes_back_bit_for_bit(lane: Lane, give_back: str):
    execution = await lane.execute(
        {
            "1": node("Noise", seed=11),
            "2": run_deployment(give_back, file=["1", 0]),
            "3": run_output("Latent", "2"),
            "4": node("ShowLatent", latent=["3", 0]),
            "5": node("ShowLatent", latent=["1", 0]),
            "6": node("SaveLatent", samples=["3", 0], filename_prefix="back"),
            "7": node("OutpostUploadLatent", latent=["1", 0]),
            "8": run_deployment(give_back, file=["7", 1]),
            "9": run_output("Latent", "8"),
            "10": node("ShowLatent", latent=["9", 0]),
        }
    )

    assert execution.outputs("4") == execution.outputs("10") == execution.outputs("5")


async def test_a_video_comes_back_as_its_file_and_as_frames_and_sound(lane: Lane, give_back: str):
    execution = await lane.execute(
        {
            "1": node("MakeFrames", count=8),
            "2": node("MakeSound", seconds=1.0),
            "3": node("OutpostUploadVideo", image=["1", 0], fps=8.0, audio=["2", 0]),
            "4": run_deployment(give_back, file=["3", 1]),
            "5": run_output("Video", "4"),
            "6": node("OutpostVideoFrames", video=["5", 0]),
            "7": node("ShowTensor", image=["6", 0]),
            "8": node("ShowTensor", image=["1", 0]),
            "9": node("ShowSound", audio=["6", 1]),
            "10": run_output("Files", "4"),
            "11": node("ShowTexts", text=["10", 0]),
            # A video is sent on as the file that it is.
            "12": run_deployment(give_back, file=["5", 0]),
            "13": run_output("Files", "12"),
            "14": node("ShowTexts", text=["13", 0]),
        }
    )

    shown, made = execution.outputs("7"), execution.outputs("8")
    assert shown["shape"] == made["shape"] == [8, 48, 64, 3]
    assert all(abs(each - wanted) < 15 for each, wanted in zip(shown["mean"], made["mean"], strict=True))
    assert execution.outputs("9")["shape"][:2] == [1, 2]
    [first], [second] = execution.outputs("11")["text"], execution.outputs("14")["text"]
    assert first == second, "the same content is kept once"
    assert written(lane, first) == written(lane, second)
    assert written(lane, first)[4:8] == b"ftyp"
    assert lane.traffic.count("PUT /api/objects/") == 1


async def test_comfyuis_own_nodes_for_video_and_sound_take_what_comes_back(
    lane: Lane, give_back: str, installation: Installation
):
    if installation.version == PYPI_VERSION:
        assert await lane.comfyui.object_info("SaveVideo") is None, "it has some after all: test it"
        return
    execution = await lane.execute(
        {
            "1": node("MakeFrames", count=8),
            "2": node("MakeSound", seconds=1.0),
            "3": node("CreateVideo", images=["1", 0], audio=["2", 0], fps=8.0),
            "4": run_deployment(give_back, file=["3", 0]),
            "5": run_output("Video", "4"),
            "6": node("SaveVideo", video=["5", 0], filename_prefix="film", format="mp4", codec="h264"),
            "7": node("GetVideoComponents", video=["5", 0]),
            "8": node("ShowTensor", image=["7", 0]),
            "9": run_deployment(give_back, file=["2", 0]),
            "10": run_output("Audio", "9"),
            "11": node("SaveAudio", audio=["10", 0], filename_prefix="sound"),
        }
    )

    assert execution.outputs("8")["shape"] == [8, 48, 64, 3]
    [film] = execution.outputs("6")["images"]
    assert (await lane.comfyui.view(**film))[4:8] == b"ftyp"
    [sound] = execution.outputs("11")["audio"]
    assert (await lane.comfyui.view(**sound))[:4] == b"fLaC"


async def test_a_3d_file_goes_there_and_comes_back_for_preview_3d(lane: Lane, give_back: str):
    await lane.comfyui.upload_image(b"glTF, or so it says", "mesh.glb")
    graph = {
        "1": node("OutpostUploadFile", file="mesh.glb"),
        "2": run_deployment(give_back, file=["1", 1]),
        "3": run_output("3D", "2"),
        "4": node("ShowTexts", text=["3", 0]),
    }
    has_preview = await lane.comfyui.object_info("Preview3D") is not None
    execution = await lane.execute(graph | ({"5": node("Preview3D", model_file=["3", 0])} if has_preview else {}))

    [path] = execution.outputs("4")["text"]
    assert re.fullmatch(r"outpost/[\w.-]+_[0-9a-f]{16}\.glb", path)
    assert written(lane, path) == b"glTF, or so it says"
    if has_preview:
        assert execution.outputs("5")["result"][0] == path


async def test_images_come_back_in_floats_by_exr_and_masks_by_any_channel(lane: Lane, give_back: str):
    sent = picture(7, channels=4)
    execution = await lane.execute(
        {
            "1": await lane.load(sent),
            "2": node("OutpostUploadImage", image=["1", 0], mask=["1", 1], precision="float (EXR)"),
            "3": run_deployment(give_back, file=["2", 1]),
            "4": run_output("Images", "3"),
            "5": save(["4", 0], "exr"),
            "6": run_output("Masks", "3", channel="alpha"),
            "7": node("MaskToImage", mask=["6", 0]),
            "8": save(["7", 0], "alpha"),
            "9": node("OutpostUploadMask", mask=["1", 1]),
            "10": run_deployment(give_back, file=["9", 1]),
            "11": run_output("Masks", "10", channel="red"),
            "12": node("MaskToImage", mask=["11", 0]),
            "13": save(["12", 0], "red"),
        }
    )

    (colour,), (alpha,), (red,) = [await lane.saved(execution, each) for each in ("5", "8", "13")]
    assert np.array_equal(colour, sent[..., :3])
    # ComfyUI's SaveImage does not round, so 1 - (1 - alpha) in floats may be one less.
    assert np.abs(alpha[..., 0].astype(int) - (255 - sent[..., 3].astype(int))).max() <= 1
    assert np.array_equal(red[..., 0], 255 - sent[..., 3])


async def test_what_goes_into_the_library_comes_out_of_it(lane: Lane):
    sent = picture(8)
    execution = await lane.execute(
        {
            "1": await lane.load(sent),
            "2": node("OutpostSaveToAssets", name="kept", folder="refs/hands", image=["1", 0]),
            "3": node("OutpostLoadAsset", asset_id=["2", 0]),
            "4": save(["3", 0], "asset"),
            "5": node("OutpostDownloadImage", file=["3", 3]),
            "6": save(["5", 0], "file"),
            "7": run_deployment(await lane.deploy(SAME), image=["3", 3]),
            "8": save(["7", 0], "run"),
        }
    )

    for each in ("4", "6", "8"):
        assert np.array_equal((await lane.saved(execution, each))[0], sent)
    [shown] = execution.outputs("2")["outpost_assets"]
    assert shown["name"] == "kept.png"
    assert not SIGNATURE.search(json.dumps(execution.history))


async def test_an_image_is_downloaded_from_the_platform_by_its_url(lane: Lane):
    sent = picture(9)
    by_file = {
        "1": await lane.load(sent),
        "2": node("OutpostUploadImage", image=["1", 0]),
        "3": node("OutpostDownloadImage", file=["2", 1]),
        "4": save(["3", 0], "downloaded"),
    }
    await lane.execute(by_file)

    # The upload has been executed already, when nobody wanted its URL.
    execution = await lane.execute(
        {**by_file, "3": node("OutpostDownloadImage", url=["2", 0]), "4": save(["3", 0], "by-url")}
    )

    assert np.array_equal((await lane.saved(execution, "4"))[0], sent)
    assert not SIGNATURE.search(json.dumps(execution.history))


async def test_an_uploaded_file_tells_no_secret_when_the_node_behind_it_fails(lane: Lane):
    graph = {
        "1": await lane.load(picture(10)),
        "2": node("OutpostUploadImage", image=["1", 0]),
        "3": node("FailFile", file=["2", 1]),
    }

    error = await lane.error_of(graph)

    assert re.fullmatch(r"<image upload \w+>", error["current_inputs"]["file"][0])
    assert not SIGNATURE.search(json.dumps(error))
    assert not SIGNATURE.search(json.dumps(await lane.comfyui.history(error["prompt_id"])))
