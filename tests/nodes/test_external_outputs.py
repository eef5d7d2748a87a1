"""Output nodes with an output_id, on real files."""

from __future__ import annotations

import io
import json
import sys
import types
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from comfyui_outpost import NODE_CLASS_MAPPINGS
from comfyui_outpost.api.errors import InvalidInput
from comfyui_outpost.api.outputs import OutputKind, kind_of_output
from comfyui_outpost.nodes.media import exr
from comfyui_outpost.tests.nodes import comfyui_modules
from PIL import Image

INTERFACE = {
    "ComfyDeployOutputImage": "images filename_prefix file_type quality output_id",
    "ComfyDeployOutputText": "text filename_prefix file_type output_id",
    "ComfyDeployOutputFile": "file_path output_id",
    "ComfyDeployOutputEXR": "images filename_prefix output_id",
}
WORKFLOW = {"prompt": {"1": {"class_type": "X"}}, "extra_pnginfo": {"workflow": {"nodes": []}}}


@pytest.fixture(autouse=True)
def output(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """ComfyUI's output folder."""
    comfyui_modules.install(monkeypatch, tmp_path / "comfyui")
    folder = tmp_path / "comfyui" / "output"

    def next_output(prefix: str, root: str, width: int, height: int) -> tuple[str, str, int, str, str]:
        place = Path(root) / prefix.replace("%width%", str(width))
        place.parent.mkdir(parents=True, exist_ok=True)
        subfolder = place.parent.relative_to(root).as_posix()
        number = 1 + len(list(place.parent.glob(f"{place.name}_*")))
        return str(place.parent), place.name, number, "" if subfolder == "." else subfolder, prefix

    monkeypatch.setattr(sys.modules["folder_paths"], "get_save_image_path", next_output, raising=False)
    arguments = types.ModuleType("comfy.cli_args")
    vars(arguments)["args"] = types.SimpleNamespace(disable_metadata=False)
    monkeypatch.setitem(sys.modules, "comfy.cli_args", arguments)
    return folder


def run(kind: str, **inputs: Any) -> Any:
    return NODE_CLASS_MAPPINGS[f"ComfyDeployOutput{kind}"]().run(**inputs)["ui"]


def pixels(count: int, channels: int) -> Any:
    return np.random.default_rng(channels).integers(0, 256, (count, 6, 9, channels), np.uint8)


def image_of(array: Any) -> torch.Tensor:
    return torch.from_numpy(array.astype(np.float32) / np.float32(255))


@pytest.mark.parametrize("name", INTERFACE)
def test_the_interface_is_that_of_existing_graphs(name: str):
    node = NODE_CLASS_MAPPINGS[name]
    types = node.INPUT_TYPES()
    fields = {**types["required"], **types["optional"]}
    assert " ".join(fields) == INTERFACE[name]
    assert (node.OUTPUT_NODE, node.RETURN_TYPES) == (True, ())
    assert [field for field, (_, options) in fields.items() if not options["tooltip"]] == []


@pytest.mark.parametrize("channels", [1, 3, 4])
def test_a_png_has_every_pixel_and_the_graph_and_is_known_by_its_output_id(output: Path, channels: int):
    sent = pixels(2, channels)

    ui = run("Image", images=image_of(sent), filename_prefix="a/%width%", file_type="png", output_id="cat", **WORKFLOW)

    assert ui == {
        "images": [
            {"filename": f"9_0000{number}_.png", "subfolder": "a", "type": "output", "output_id": "cat"}
            for number in (1, 2)
        ]
    }
    for array, record in zip(sent, ui["images"], strict=True):
        picture = Image.open(io.BytesIO((output / "a" / record["filename"]).read_bytes()))
        assert np.array_equal(np.asarray(picture).reshape(array.shape), array)
        assert json.loads(picture.info["prompt"]) == WORKFLOW["prompt"]
        assert json.loads(picture.info["workflow"]) == WORKFLOW["extra_pnginfo"]["workflow"]


def test_nothing_is_written_into_a_png_when_the_user_wants_that(output: Path):
    sys.modules["comfy.cli_args"].args.disable_metadata = True
    run("Image", images=image_of(pixels(1, 3)), **WORKFLOW)
    assert not {"prompt", "workflow"} & set(Image.open(io.BytesIO((output / "ComfyUI_00001_.png").read_bytes())).info)


@pytest.mark.parametrize(("file_type", "kind"), [("jpg", "JPEG"), ("webp", "WEBP")])
def test_other_files_are_what_they_are_called(output: Path, file_type: str, kind: str):
    (record,) = run("Image", images=image_of(pixels(1, 3)), file_type=file_type, quality=100)["images"]
    with Image.open(output / record["filename"]) as picture:
        assert (picture.format, picture.size, record["filename"][-4:]) == (kind, (9, 6), f".{file_type}"[-4:])


def test_transparency_is_not_dropped_for_a_jpg(output: Path):
    with pytest.raises(InvalidInput, match="png or webp"):
        run("Image", images=image_of(pixels(1, 4)), file_type="jpg")
    assert list(output.iterdir()) == []


@pytest.mark.parametrize("prefix", ["../x", "a/../../x", "a\\..\\..\\x", "/etc/x"])
def test_nothing_is_saved_outside_of_the_output_folder(output: Path, prefix: str):
    for kind, inputs in (("Image", {"images": image_of(pixels(1, 3))}), ("Text", {"text": "x"})):
        with pytest.raises(InvalidInput, match="'output_"):
            run(kind, filename_prefix=prefix, **inputs)
    assert list(output.iterdir()) == [] and not (output.parent / "x_00001_.png").exists()


def test_an_exr_has_every_value(output: Path):
    image = torch.tensor([[[[0.1, 5.0, -1.0]]]])
    (record,) = run("EXR", images=image, output_id="light")["images"]
    assert torch.equal(exr.decode((output / record["filename"]).read_bytes()), image[0])
    assert kind_of_output(record["filename"], in_list="images") is OutputKind.IMAGE


def test_a_text_is_put_out_and_kept(output: Path):
    assert run("Text", text="für\nyou", file_type="md") == {"text": ["für\nyou"]}
    assert (output / "ComfyUI_00001_.md").read_text(encoding="utf-8") == "für\nyou"


def test_a_file_of_the_output_folder_is_put_out(output: Path):
    (output / "3d").mkdir()
    (output / "3d" / "model.glb").write_bytes(b"glTF")
    (output / "top.bin").write_bytes(b"x")
    expected = {"filename": "model.glb", "subfolder": "3d", "type": "output", "output_id": "mesh"}

    for path in ("3d/model.glb", str(output / "3d" / "model.glb")):
        assert run("File", file_path=path, output_id="mesh") == {"files": [expected]}
    assert run("File", file_path="top.bin")["files"][0]["subfolder"] == ""


def test_a_file_of_another_folder_is_not_put_out_and_its_folder_not_told(output: Path, tmp_path: Path):
    (tmp_path / "secret").write_bytes(b"key")
    (output / "link").symlink_to(tmp_path / "secret")
    for path in ("../../secret", str(tmp_path / "secret"), "link", "none.txt", "", "."):
        with pytest.raises(InvalidInput, match="'mesh'") as caught:
            run("File", file_path=path, output_id="mesh")
        assert str(tmp_path) not in str(caught.value)
        assert caught.value.__suppress_context__, "the log would tell the folder"
