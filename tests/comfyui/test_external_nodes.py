"""External nodes and outputs inside real ComfyUIs: in the editor with their defaults, and on a platform's machine."""

from __future__ import annotations

import base64
import io
import json
import struct
import wave
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
import pytest_asyncio
from comfyui_outpost.api.inputs import EXTERNAL_CLASSES
from comfyui_outpost.api.server.machines import MachineSettings
from comfyui_outpost.api.server.machines.comfyui import ComfyUIMachine
from comfyui_outpost.tests.bench.server import Server, deploy
from comfyui_outpost.tests.machines.jobs import Trial
from PIL import Image

from .checked import CheckedMachine
from .gateway import Gateway
from .installations import Installation
from .instance import Instance, start
from .lane import Lane, external, node, picture, read_image
from .messages import Json

# The ComfyUIs and the platform that all tests share live on this event loop.
pytestmark = pytest.mark.asyncio(loop_scope="session")

REPOSITORY = Path(__file__).resolve().parents[2]
URL = "https://platform.example/objects/inputs/{}?s=signature"
SECRET = "permission-that-nobody-may-see"
THEIRS = {"Aaa-Theirs": "ComfyUIDeployExternalTextSingleLine", "Zzz-Theirs": "ComfyUIDeployExternalFaceModel"}
"""Other packages, which ComfyUI loads before or after ours, and the class that each of them has too."""

OTHER_PACKAGE = """
class Theirs:
    RETURN_TYPES = ("STRING",)
    FUNCTION = "run"
    CATEGORY = "theirs"

    @classmethod
    def INPUT_TYPES(cls):
        return {"required": {"input_id": ("STRING", {"default": "x"})}}

    def run(self, input_id):
        return ("theirs",)


NODE_CLASS_MAPPINGS = {"THE_CLASS": Theirs}
NODE_DISPLAY_NAME_MAPPINGS = {"THE_CLASS": "Theirs"}
"""

SHOW_VALUES = """
import hashlib, json


class Any(str):
    def __ne__(self, other):
        return False


def told(value):
    if isinstance(value, dict):
        return {name: told(each) for name, each in value.items()}
    if hasattr(value, "shape"):
        digest = hashlib.sha256(value.contiguous().numpy().tobytes()).hexdigest()
        return [list(value.shape), digest, float(value.min()), float(value.max())]
    return value


class Show:
    RETURN_TYPES = ()
    OUTPUT_NODE = True
    FUNCTION = "run"

    @classmethod
    def INPUT_TYPES(cls):
        return {"required": {}, "optional": {name: (Any("*"), {"forceInput": True}) for name in "abcde"}}

    def run(self, **values):
        return {"ui": {"text": [json.dumps(told(values))]}}


NODE_CLASS_MAPPINGS = {"ShowValues": Show}
"""


@pytest.fixture(scope="module")
def packages(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Other packages of nodes: one that shows values, and some that have classes of the same names as ours."""
    codes = {name: OTHER_PACKAGE.replace("THE_CLASS", each) for name, each in THEIRS.items()}
    codes["Show-Values"] = SHOW_VALUES
    found: dict[str, Path] = {}
    for name, code in codes.items():
        found[name] = tmp_path_factory.mktemp(name)
        (found[name] / "__init__.py").write_text(code, encoding="utf-8")
    return found


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def comfyui(
    installation: Installation,
    python: Path,
    gateway: Gateway,
    server: Server,
    packages: dict[str, Path],
    tmp_path_factory: pytest.TempPathFactory,
) -> AsyncIterator[Instance]:
    environment = {
        "OUTPOST_BASE_URL": gateway.url,
        "OUTPOST_API_KEY": server.connection.api_key,
        "OUTPOST_SETTINGS": str(tmp_path_factory.mktemp("settings") / "connection.json"),
        "OUTPOST_ALLOW_PRIVATE_ADDRESSES": "",
    }
    # A folder is listed in the order in which it was filled, or the other way round: ours is loaded in the middle.
    first, *others = packages
    nodes = {first: packages[first], "ComfyUI-Outpost": REPOSITORY, **{name: packages[name] for name in others}}
    async with start(installation, python, custom_nodes=nodes, environment=environment) as instance:
        for name in ("loras/style/ink.safetensors", "checkpoints/tiny.safetensors"):
            path = instance.workspace / "models" / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(b"")
        yield instance


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def machine(comfyui: Instance) -> AsyncIterator[ComfyUIMachine]:
    """The same ComfyUI as a machine of a platform."""
    machine = CheckedMachine(MachineSettings("m", "comfyui", endpoint=comfyui.url))
    yield machine
    await machine.close()


def png(pixels: Any) -> bytes:
    content = io.BytesIO()
    Image.fromarray(pixels).save(content, "PNG")
    return content.getvalue()


def sound() -> bytes:
    """A WAV file of 4 samples on 2 channels."""
    content = io.BytesIO()
    with wave.open(content, "wb") as file:
        file.setnchannels(2)
        file.setsampwidth(2)
        file.setframerate(8000)
        file.writeframes(struct.pack("<8h", 0, 1, -1, 2, -2, 3, 32767, -32768))
    return content.getvalue()


def film() -> bytes:
    """Six frames of one colour each, 32x16 pixels, without sound."""
    content = io.BytesIO()
    with av.open(content, "w", format="mp4") as container:
        stream = container.add_stream("h264", rate=6)
        stream.width, stream.height, stream.pix_fmt = 32, 16, "yuv420p"
        for shade in range(6):
            frame = av.VideoFrame.from_ndarray(np.full((16, 32, 3), shade * 40, np.uint8), format="rgb24")
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    return content.getvalue()


def light() -> bytes:
    """An OpenEXR file of 2x1 pixels: 0.5 and 4.0 in all channels."""
    content = io.BytesIO()
    with av.open(content, "w", format="image2pipe") as container:
        stream = container.add_stream("exr", rate=1)
        stream.width, stream.height, stream.pix_fmt = 2, 1, "gbrpf32le"
        frame = av.VideoFrame.from_ndarray(np.array([[[0.5] * 3, [4.0] * 3]], np.float32), format="gbrpf32le")
        container.mux(stream.encode(frame))
        container.mux(stream.encode())
    return content.getvalue()


async def saved(lane: Lane, execution: Any, node_id: str) -> list[Any]:
    """The pixels of the images that an output node has written."""
    records = [{**record} for record in execution.outputs(node_id)["images"]]
    for record in records:
        record.pop("output_id")
    return [read_image(await lane.comfyui.view(**record)) for record in records]


def show(**links: object) -> Json:
    return node("ShowValues", **links)


def shown(execution: Any, node_id: str) -> Any:
    (text,) = execution.outputs(node_id)["text"]
    return json.loads(text)


VALUES = {
    "1": external("Text", "prompt", default_value="a cat"),
    "2": external("TextAny", "any", default_value="a dog"),
    "3": external("Number", "factor", default_value=1.5),
    "4": external("NumberInt", "width", default_value=24),
    "5": external("NumberSlider", "share", default_value=0.25, min_value=0.0, max_value=1.0),
    "6": external("NumberSliderInt", "height", default_value=3, min_value=0, max_value=10),
    "7": external("Boolean", "is_on", default_value=True),
    "8": external("Enum", "method", default_value="bilinear", options='["bilinear", "area"]'),
    "9": external("Seed", "seed", default_value=7, min_value=1, max_value=99),
    "10": external("Lora", "lora", default_lora_name="style\\ink.safetensors"),
    "11": external("Checkpoint", "checkpoint", default_value="tiny.safetensors"),
    "20": node("EmptyImage", width=["4", 0], height=["6", 0], batch_size=1, color=255),
    "21": node("ImageScaleBy", image=["20", 0], upscale_method=["8", 0], scale_by=["3", 0]),
    "22": node("ImageBlend", image1=["21", 0], image2=["21", 0], blend_factor=["5", 0], blend_mode="normal"),
    "30": show(a=["1", 0], b=["2", 0], c=["3", 0], d=["4", 0], e=["5", 0]),
    "31": show(a=["6", 0], b=["7", 0], c=["8", 0], d=["9", 0]),
    "32": show(a=["10", 0], b=["11", 0]),
    "40": node(
        "ComfyDeployOutputImage",
        images=["22", 0],
        filename_prefix="kept",
        file_type="png",
        quality=80,
        output_id="scaled",
    ),
    "41": node("ComfyDeployOutputText", text=["1", 0], filename_prefix="kept", file_type="txt", output_id="words"),
}
"""A graph in which every class whose value is no file goes into nodes of ComfyUI."""


async def test_every_class_is_there_and_what_another_package_has_is_left_to_it(lane: Lane):
    outputs = [f"ComfyDeployOutput{kind}" for kind in ("Image", "Text", "File", "EXR")]
    for name in [*EXTERNAL_CLASSES, *outputs]:
        info = await lane.comfyui.object_info(name)
        assert info, name
        json.dumps(info, allow_nan=False)
        is_theirs = name in THEIRS.values()
        assert info["category"].startswith("theirs" if is_theirs else "Outpost"), name
        assert info["display_name"].endswith("Theirs" if is_theirs else "(Outpost)"), name


async def test_in_the_editor_values_are_their_defaults(lane: Lane):
    execution = await lane.execute(VALUES)

    assert shown(execution, "30") == {"a": "a cat", "b": "a dog", "c": 1.5, "d": 24, "e": 0.25}
    assert shown(execution, "31") == {"a": 3, "b": True, "c": "bilinear", "d": 7}
    assert shown(execution, "32") == {"a": "style/ink.safetensors", "b": "tiny.safetensors"}
    (found,) = await saved(lane, execution, "40")
    assert found.shape == (4, 36, 3)
    assert execution.outputs("40")["images"][0]["output_id"] == "scaled"
    assert execution.outputs("41")["text"] == ["a cat"]


async def test_on_a_machine_values_are_those_of_the_run(machine: ComfyUIMachine):
    values = {
        "prompt": "a hat",
        "any": "a bat",
        "factor": 2.0,
        "width": 10,
        "share": 0.5,
        "height": 4,
        "is_on": False,
        "method": "area",
        "seed": 42,
        "lora": "style/ink.safetensors",
        "checkpoint": "tiny.safetensors",
    }

    trial = await Trial(VALUES, values, run_id="values").on(machine)

    outputs = {output.node_id: output for output in trial.outputs}
    told = [json.loads(outputs[node_id].texts[0]) for node_id in ("30", "31", "32")]
    assert told[0] == {"a": "a hat", "b": "a bat", "c": 2.0, "d": 10, "e": 0.5}
    assert told[1] == {"a": 4, "b": False, "c": "area", "d": 42}
    assert told[2] == {"a": "style/ink.safetensors", "b": "tiny.safetensors"}
    assert (outputs["40"].output_id, outputs["41"].output_id) == ("scaled", "words")
    assert read_image(outputs["40"].files[0][3]).shape == (8, 20, 3)
    assert (outputs["41"].texts, outputs["41"].files) == (["a hat"], [])


async def test_a_seed_that_is_not_set_is_another_one_each_time(lane: Lane):
    graph = {"1": external("Seed", "seed", default_value=-1, min_value=1, max_value=10**9), "2": show(a=["1", 0])}
    seeds = [shown(await lane.execute(graph), "2")["a"] for _ in range(2)]
    assert seeds[0] != seeds[1] and all(1 <= seed <= 10**9 for seed in seeds)


async def test_a_number_that_stands_in_place_of_the_id_is_the_value_as_on_the_hosted_platform(lane: Lane):
    graph = {
        "1": external("NumberInt", "5", default_value=1),
        "2": node("ComfyUIDeployExternalNumber", input_id=2.5, default_value=1.0),
        "3": show(a=["1", 0], b=["2", 0]),
    }
    assert shown(await lane.execute(graph), "3") == {"a": 5, "b": 2.5}


def media(**urls: str) -> Json:
    """A graph of every class whose value is a file; each has the input that its value is put into, if it is given."""
    return {
        "1": external("Image", "image", **({"default_value_url": urls["image"]} if urls else {})),
        "2": external("ImageBatch", "images", images=json.dumps([urls["image"]] if urls else [])),
        "3": external("Audio", "audio", audio_file=urls.get("audio", "")),
        "4": external("EXR", "exr", exr_file=urls.get("exr", ""), tonemap="linear"),
        "5": external(
            "Video",
            "video",
            force_rate=0,
            force_size="Disabled",
            custom_width=512,
            custom_height=512,
            frame_load_cap=0,
            skip_first_frames=1,
            select_every_nth=2,
            **({"default_value_url": urls["video"]} if urls else {}),
        ),
        "6": external("Vid", "vid", **({"default_value": urls["video"]} if urls else {})),
        "7": external("File", "file", file_url=urls.get("audio", "")),
        "10": show(a=["1", 0], b=["2", 0], c=["3", 0]),
        "11": show(a=["4", 0], b=["4", 1], c=["5", 0], d=["5", 1], e=["5", 3]),
        "12": show(a=["6", 0], b=["7", 0]),
    }


def check_media(told: dict[str, Any], workspace: Path) -> None:
    assert [told["10"][name][0] for name in "ab"] == [[1, 24, 40, 3]] * 2
    assert told["10"]["a"][1] == told["10"]["b"][1]
    assert told["10"]["c"]["sample_rate"] == 8000 and told["10"]["c"]["waveform"][0] == [1, 2, 4]
    assert told["10"]["c"]["waveform"][2:] == [-1.0, 32767 / 32768]
    assert told["11"]["a"][0] == [1, 1, 2, 3] and told["11"]["a"][2:] == [0.5, 4.0]
    assert told["11"]["b"][2:] == [0.0, 0.0]
    assert told["11"]["c"][0] == [3, 16, 32, 3] and told["11"]["d"] == 3
    assert (told["11"]["e"]["source_frame_count"], told["11"]["e"]["loaded_fps"]) == (6, 3.0)
    for name, content in (("a", film()), ("b", sound())):
        path = Path(told["12"][name])
        assert path.is_relative_to(workspace.resolve()) and path.read_bytes() == content


async def test_in_the_editor_files_are_those_of_the_input_folder(lane: Lane):
    contents = {"image.png": png(picture(1)), "sound.wav": sound(), "light.exr": light(), "film.mp4": film()}
    for name, content in contents.items():
        (lane.comfyui.workspace / "input" / name).write_bytes(content)

    execution = await lane.execute(media(image="image.png", audio="sound.wav", exr="light.exr", video="film.mp4"))

    check_media({node_id: shown(execution, node_id) for node_id in ("10", "11", "12")}, lane.comfyui.workspace)


async def test_on_a_machine_files_of_every_kind_are_brought_to_it(comfyui: Instance, machine: ComfyUIMachine):
    names = {"image": "i.png", "audio": "a.wav", "exr": "e.exr", "video": "v.mp4"}
    urls = {kind: URL.format(name) for kind, name in names.items()}
    values = {**urls, "images": json.dumps([urls["image"]]), "vid": urls["video"], "file": urls["audio"]}
    contents = {"image": png(picture(1)), "audio": sound(), "exr": light(), "video": film()}
    files = {urls[kind]: content for kind, content in contents.items()}

    for graph, inputs, run_id in ((media(), values, "given"), (media(**urls), {}, "defaults")):
        trial = await Trial(graph, inputs, files, run_id=run_id).on(machine)
        check_media({output.node_id: json.loads(output.texts[0]) for output in trial.outputs}, comfyui.workspace)
        assert "signature" not in str(trial.events)


async def test_a_deployment_takes_files_of_a_platform_on_this_computer_and_names_its_outputs(lane: Lane):
    sent = picture(5)
    graph = {
        "1": external("Image", "photo"),
        "2": external("File", "any"),
        "3": external("Text", "words", default_value="none"),
        "4": node(
            "ComfyDeployOutputImage", images=["1", 0], file_type="png", quality=1, filename_prefix="e", output_id="same"
        ),
        "5": node("ComfyDeployOutputText", text=["3", 0], filename_prefix="e", file_type="txt", output_id="said"),
        "6": show(a=["2", 0]),
    }
    machine = await lane.client.machines.create_custom("with our nodes", lane.comfyui.url)
    deployment = await lane.client.deployments.get(await deploy(lane.client, graph, machine_id=machine.id))
    uploaded = await lane.client.files.upload(png(sent), content_type="image/png", name="photo.png")

    run = await lane.client.runs.execute(
        deployment, {"photo": uploaded.url, "any": uploaded.url, "words": "hello"}, deadline=60
    )

    outputs = {output.node_id: output for output in run.outputs}
    assert (outputs["4"].output_id, outputs["5"].output_id) == ("same", "said")
    assert outputs["5"].data["text"] == ["hello"]
    content = await lane.client.files.download(outputs["4"].files[0].url, max_bytes=10**6)
    assert np.array_equal(read_image(content), sent)
    (told,) = outputs["6"].data["text"]
    assert Path(json.loads(str(told))["a"]).read_bytes() == png(sent)


async def test_on_a_machine_transparency_comes_along_where_it_is_asked_for(machine: ComfyUIMachine):
    sent = picture(2, channels=4)
    graph = {
        "1": external("ImageAlpha", "image"),
        "2": node("ComfyDeployOutputImage", images=["1", 0], filename_prefix="a", file_type="png", quality=1),
    }
    trial = await Trial(graph, {"image": URL.format("a.png")}, {URL.format("a.png"): png(sent)}, run_id="alpha").on(
        machine
    )
    assert np.array_equal(read_image(trial.outputs[0].files[0][3])[..., :3], sent[..., :3])
    assert np.allclose(read_image(trial.outputs[0].files[0][3]), sent, rtol=0, atol=1)


async def test_a_file_of_the_platform_is_fetched_and_one_of_another_local_server_is_not(lane: Lane, gateway: Gateway):
    sent = picture(3)
    uploaded = await lane.client.files.upload(png(sent), content_type="image/png", name="photo.png")
    own = uploaded.url.replace(lane.client.connection.origin, gateway.url)

    def graph(url: str) -> Json:
        image = external("Image", "photo", default_value_url=url)
        return {
            "1": image,
            "2": node("ComfyDeployOutputImage", images=["1", 0], file_type="png", quality=1, filename_prefix="f"),
        }

    (found,) = await saved(lane, await lane.execute(graph(own)), "2")
    failure = await lane.error_of(graph(f"{lane.comfyui.url}/view?filename=x&token={SECRET}"))

    assert np.array_equal(found, sent)
    assert "'photo'" in failure["exception_message"] and "OUTPOST_ALLOW_PRIVATE" in failure["exception_message"]
    assert SECRET not in failure["exception_message"] + "".join(failure["traceback"])


async def test_a_picture_may_stand_in_the_graph_itself(lane: Lane):
    sent = picture(4)
    url = "data:image/png;base64," + base64.b64encode(png(sent)).decode()
    graph = {
        "1": node("ComfyUIDeployExternalImage", input_id=url),
        "2": node("ComfyDeployOutputImage", images=["1", 0], file_type="png", quality=1, filename_prefix="d"),
    }
    assert np.array_equal((await saved(lane, await lane.execute(graph), "2"))[0], sent)


async def test_a_file_of_the_output_folder_is_an_output_and_no_other_is(lane: Lane, machine: ComfyUIMachine):
    (lane.comfyui.workspace / "output" / "3d").mkdir(exist_ok=True)
    (lane.comfyui.workspace / "output" / "3d" / "model.glb").write_bytes(b"glTF")

    def graph(path: str) -> Json:
        text = external("Text", "path", default_value=path)
        return {"1": text, "2": node("ComfyDeployOutputFile", file_path=["1", 0], output_id="mesh")}

    trial = await Trial(graph("3d/model.glb"), run_id="file").on(machine)
    failure = await lane.error_of(graph("../input/example.png"))

    [output] = trial.outputs
    assert (output.output_id, [file[3] for file in output.files]) == ("mesh", [b"glTF"])
    assert "'mesh'" in failure["exception_message"]
    assert str(lane.comfyui.workspace) not in failure["exception_message"]


async def test_values_that_cannot_be_used_are_named_by_their_input(lane: Lane):
    lora = {"1": external("Lora", "style", default_lora_name="none.safetensors"), "2": show(a=["1", 0])}
    share = external("NumberSlider", "share", default_value=5.0, min_value=0.0, max_value=1.0)
    for graph, name in ((lora, "'style'"), ({"1": share, "2": show(a=["1", 0])}, "'share'")):
        assert name in (await lane.error_of(graph))["exception_message"]
