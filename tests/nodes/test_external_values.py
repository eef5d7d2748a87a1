"""External nodes for texts, numbers, choices, seeds and models, and the interface of all of them."""

from __future__ import annotations

import math
import sys
from pathlib import Path
from typing import Any

import pytest
from comfyui_outpost import NODE_CLASS_MAPPINGS
from comfyui_outpost.api.errors import InvalidInput
from comfyui_outpost.api.inputs import EXTERNAL_CLASSES, external_inputs
from comfyui_outpost.tests.nodes import comfyui_modules

PREFIX = "ComfyUIDeployExternal"
LABELS = ("display_name", "description")
VIDEO = "force_rate force_size custom_width custom_height frame_load_cap skip_first_frames select_every_nth"

INTERFACE: dict[str, tuple[str, str, str]] = {
    "Text": ("input_id default_value display_name description", "STRING", "text"),
    "TextAny": ("input_id default_value display_name description", "*", "text"),
    "TextSingleLine": ("input_id default_value display_name description", "STRING", "text"),
    "Image": ("input_id default_value display_name description default_value_url", "IMAGE", "image"),
    "ImageAlpha": ("input_id default_value display_name description", "IMAGE", "image"),
    "ImageBatch": ("input_id images default_value display_name description", "IMAGE", "image"),
    "Video": (
        f"input_id {VIDEO} meta_batch vae default_video display_name description default_value_url",
        "IMAGE INT AUDIO VHS_VIDEOINFO LATENT",
        "IMAGE frame_count audio video_info LATENT",
    ),
    "Vid": ("input_id meta_batch default_value", "STRING", "video"),
    "Audio": ("input_id audio_file default_value display_name description", "AUDIO", "audio"),
    "Number": ("input_id default_value display_name description", "FLOAT", "value"),
    "NumberInt": ("input_id default_value display_name description", "INT", "value"),
    "NumberSlider": ("input_id default_value min_value max_value display_name description", "FLOAT", "value"),
    "NumberSliderInt": ("input_id default_value min_value max_value display_name description", "INT", "value"),
    "Boolean": ("input_id default_value display_name description", "BOOLEAN", "bool_value"),
    "Enum": ("input_id default_value options display_name description", "*", "text"),
    "Seed": ("input_id default_value min_value max_value display_name description", "INT", "seed"),
    "Lora": (
        "input_id default_lora_name lora_save_name display_name description lora_url bearer_token",
        "*",
        "path",
    ),
    "Checkpoint": ("input_id default_value display_name description", "*", "path"),
    "FaceModel": (
        "input_id default_face_model_name face_model_save_name display_name description face_model_url",
        "*",
        "path",
    ),
    "EXR": (
        "input_id exr_file tonemap default_image default_mask display_name description",
        "IMAGE MASK",
        "image mask",
    ),
    "File": ("input_id display_name description file_url", "*", "path"),
}
LORAS = ["plain.safetensors", "style\\ink.safetensors", "style/oil.safetensors"]


@pytest.fixture(autouse=True)
def comfyui(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """ComfyUI's modules, with some models."""
    folder = tmp_path / "comfyui"
    comfyui_modules.install(monkeypatch, folder)
    files = {"loras": LORAS, "checkpoints": ["one.safetensors"]}
    monkeypatch.setattr(sys.modules["folder_paths"], "folder_names_and_paths", dict.fromkeys(files, ()))
    monkeypatch.setattr(sys.modules["folder_paths"], "get_filename_list", files.__getitem__, raising=False)
    return folder


def run(kind: str, **inputs: Any) -> Any:
    """What a node of a class that does not wait gives on its first output."""
    return NODE_CLASS_MAPPINGS[PREFIX + kind]().run(**{"input_id": "size", **inputs})[0]


def refusal(kind: str, **inputs: Any) -> InvalidInput:
    with pytest.raises(InvalidInput) as caught:
        run(kind, **inputs)
    return caught.value


@pytest.mark.parametrize("kind", INTERFACE)
def test_the_interface_is_that_of_existing_graphs_in_which_values_stand_by_position(kind: str):
    node = NODE_CLASS_MAPPINGS[PREFIX + kind]
    types = node.INPUT_TYPES()
    fields = {**types["required"], **types["optional"]}
    inputs, outputs, names = INTERFACE[kind]

    assert " ".join(fields) == inputs
    assert tuple(outputs.split()) == node.RETURN_TYPES
    assert tuple(node.RETURN_NAMES) == tuple(names.split())
    assert len(node.OUTPUT_TOOLTIPS) == len(node.RETURN_TYPES)
    assert set(types) <= {"required", "optional", "hidden"}
    assert [name for name, (_, options) in fields.items() if not options["tooltip"]] == []
    assert node.DESCRIPTION and node.CATEGORY == "Outpost/External"
    assert fields["input_id"][1]["default"].startswith("input_")


def test_every_class_that_a_platform_knows_is_there_and_no_other():
    ours = {name for name in NODE_CLASS_MAPPINGS if name.startswith(PREFIX)}
    assert ours == set(EXTERNAL_CLASSES) == {PREFIX + kind for kind in INTERFACE}


@pytest.mark.parametrize("kind", INTERFACE)
def test_a_node_with_nothing_but_its_defaults_is_an_input_for_a_platform(kind: str):
    types = NODE_CLASS_MAPPINGS[PREFIX + kind].INPUT_TYPES()
    fields = {**types["required"], **types["optional"]}
    defaults = {name: options["default"] for name, (_, options) in fields.items() if "default" in options}
    (declared,) = external_inputs({"1": {"class_type": PREFIX + kind, "inputs": defaults}})
    assert declared.input_id == defaults["input_id"]


@pytest.mark.parametrize("kind", INTERFACE)
def test_where_the_value_of_a_run_is_put_the_node_has_an_input(kind: str):
    types = NODE_CLASS_MAPPINGS[PREFIX + kind].INPUT_TYPES()
    assert EXTERNAL_CLASSES[PREFIX + kind].default_fields[0] in {**types["required"], **types["optional"]} or (
        kind == "ImageAlpha"
    ), "it has a place for a link only"


def test_the_outputs_that_go_into_any_input_are_equal_to_every_type():
    for kind in ("TextAny", "Enum", "Lora", "Checkpoint", "FaceModel", "File"):
        (returned,) = NODE_CLASS_MAPPINGS[PREFIX + kind].RETURN_TYPES
        is_other = [returned != "COMBO", returned != ["a", "b"]]
        assert is_other == [False, False], f"ComfyUI compares the types of {kind} in this way"


@pytest.mark.parametrize("kind", ["Text", "TextAny", "TextSingleLine"])
def test_a_text_is_the_default_which_the_platform_replaces(kind: str):
    assert run(kind, default_value="a cat\nin a hat") == "a cat\nin a hat"
    assert run(kind, input_id="a dog", default_value="a dog", display_name="x", description="y") == "a dog"
    assert run(kind) == ""


@pytest.mark.parametrize(
    ("kind", "inputs", "expected"),
    [
        ("Number", {"default_value": 2}, 2.0),
        ("Number", {"default_value": 2.5, "input_id": "7.25"}, 7.25),
        ("Number", {"default_value": 2.5, "input_id": "-1e-3"}, -0.001),
        ("Number", {"default_value": 2.5, "input_id": "nan"}, 2.5),
        ("Number", {"default_value": 2.5, "input_id": "infinity"}, 2.5),
        ("Number", {"default_value": 2.5, "input_id": 7.25}, 7.25),
        ("NumberInt", {"default_value": 3, "input_id": 12}, 12),
        ("NumberInt", {"default_value": 3}, 3),
        ("NumberInt", {"default_value": "3"}, 3),
        ("NumberInt", {"default_value": 3, "input_id": "12"}, 12),
        ("NumberInt", {"default_value": 3, "input_id": "12.0"}, 12),
        ("NumberSlider", {}, 0.5),
        ("NumberSlider", {"input_id": "0.25"}, 0.25),
        ("NumberSlider", {"default_value": 5, "min_value": 0, "max_value": 10}, 5.0),
        ("NumberSliderInt", {}, 1),
        ("NumberSliderInt", {"default_value": 1, "input_id": "10"}, 10),
    ],
)
def test_a_number_is_the_value_in_place_of_the_id_or_else_the_default(kind: str, inputs: Any, expected: Any):
    value = run(kind, **inputs)
    assert (value, type(value)) == (expected, type(expected))


@pytest.mark.parametrize(
    ("kind", "inputs"),
    [
        ("Number", {"default_value": "many"}),
        ("Number", {"default_value": math.nan}),
        ("NumberInt", {"default_value": 2.5}),
        ("NumberInt", {"default_value": True}),
        ("NumberSlider", {"default_value": 1.5}),
        ("NumberSlider", {"default_value": -0.01}),
        ("NumberSlider", {"default_value": 1, "min_value": 2, "max_value": 0}),
        ("NumberSliderInt", {"default_value": 11}),
        ("Boolean", {"default_value": "yes"}),
        ("Enum", {"default_value": "huge", "options": '["small", "large"]'}),
        ("Enum", {"default_value": "small", "options": "small, large"}),
        ("Enum", {"default_value": "small", "options": '{"small": 1}'}),
        ("Lora", {}),
        ("Lora", {"default_lora_name": "other.safetensors"}),
        ("Lora", {"lora_url": "https://models.example/x.safetensors?token=secret"}),
        ("Lora", {"lora_url": "https://models.example/x?token=secret", "lora_save_name": "new.safetensors"}),
        ("Checkpoint", {"default_value": "two.safetensors"}),
        ("Checkpoint", {"default_value": "https://models.example/x.safetensors?token=secret"}),
        ("FaceModel", {}),
        ("FaceModel", {"face_model_url": "https://models.example/x?token=secret", "face_model_save_name": "x"}),
    ],
)
def test_a_value_that_cannot_be_used_is_an_error_that_names_the_input(kind: str, inputs: Any):
    error = refusal(kind, **inputs)
    assert error.input_id == "size" and "'size'" in str(error)
    assert "secret" not in str(error)


def test_an_input_whose_id_has_become_its_value_is_named_as_it_is_shown():
    assert "'Width'" in str(refusal("NumberSlider", input_id="17", display_name="Width"))


def test_a_boolean_is_one():
    assert run("Boolean", default_value=True) is True


@pytest.mark.parametrize("options", ['["small", "large"]', "", " ", "[]"])
def test_a_choice_is_one_of_its_options_where_it_has_some(options: str):
    assert run("Enum", default_value="large", options=options) == "large"


@pytest.mark.parametrize(
    ("value", "is_fixed"), [(-1, False), (0, False), (1, True), (7, True), (10, True), (11, False)]
)
def test_a_seed_outside_of_its_limits_is_a_random_one(value: int, is_fixed: bool):
    node = NODE_CLASS_MAPPINGS[f"{PREFIX}Seed"]
    limits = {"min_value": 1, "max_value": 10}

    drawn = {run("Seed", default_value=value, **limits) for _ in range(100)}
    changed = node.IS_CHANGED(input_id="size", default_value=value, **limits)

    assert drawn == {value} if is_fixed else len(drawn) > 1 and drawn <= set(range(1, 11))
    assert math.isnan(changed) is not is_fixed


def test_the_limits_of_a_seed_may_be_the_wrong_way_round_and_the_same():
    assert run("Seed", default_value=-1, min_value=9, max_value=9) == 9
    assert 2 <= run("Seed", default_value=-1, min_value=4, max_value=2) <= 4
    assert run("Seed", default_value=3, min_value=4, max_value=2) == 3
    assert NODE_CLASS_MAPPINGS[f"{PREFIX}Seed"].IS_CHANGED(default_value=3, min_value=4, max_value=2) == 0.0


def test_a_seed_that_comes_by_a_link_does_not_make_everything_run_again():
    assert NODE_CLASS_MAPPINGS[f"{PREFIX}Seed"].IS_CHANGED(default_value=None, min_value=1, max_value=9) == 0.0
    assert NODE_CLASS_MAPPINGS[f"{PREFIX}Seed"].IS_CHANGED() == 0.0


@pytest.mark.parametrize(
    ("inputs", "expected"),
    [
        ({"default_lora_name": "plain.safetensors"}, "plain.safetensors"),
        ({"default_lora_name": "style/ink.safetensors"}, "style\\ink.safetensors"),
        ({"default_lora_name": "style\\oil.safetensors"}, "style/oil.safetensors"),
        ({"default_lora_name": "plain.safetensors", "lora_url": "style/oil.safetensors"}, "style/oil.safetensors"),
        ({"lora_url": "https://models.example/x", "lora_save_name": "plain.safetensors"}, "plain.safetensors"),
    ],
)
def test_a_model_is_one_of_comfyui_s_however_its_folder_is_written(inputs: Any, expected: str):
    assert run("Lora", **inputs) == expected


def test_a_face_model_is_left_to_who_takes_it_where_comfyui_does_not_know_its_folder():
    assert run("FaceModel", default_face_model_name="me.safetensors") == "me.safetensors"
    assert run("FaceModel", default_face_model_name="me", face_model_url="you.safetensors") == "you.safetensors"


@pytest.mark.parametrize(("kind", "name"), [("Lora", "default_lora_name"), ("Checkpoint", "default_value")])
def test_a_model_that_this_comfyui_lacks_is_no_reason_to_refuse_the_graph(kind: str, name: str):
    assert NODE_CLASS_MAPPINGS[PREFIX + kind].VALIDATE_INPUTS(**{name: "other.safetensors"}) is True
    assert NODE_CLASS_MAPPINGS[PREFIX + kind].VALIDATE_INPUTS() is True


def test_what_another_package_has_registered_before_is_left_to_it(monkeypatch: pytest.MonkeyPatch):
    import importlib
    import types

    import comfyui_outpost.nodes as nodes

    theirs = types.ModuleType("nodes")
    vars(theirs)["NODE_CLASS_MAPPINGS"] = {f"{PREFIX}Text": object, "ComfyDeployOutputFile": object}
    with monkeypatch.context() as context:
        context.setitem(sys.modules, "nodes", theirs)
        importlib.reload(nodes)
        assert not {f"{PREFIX}Text", "ComfyDeployOutputFile"} & set(nodes.NODE_CLASS_MAPPINGS)
        assert not {f"{PREFIX}Text", "ComfyDeployOutputFile"} & set(nodes.NODE_DISPLAY_NAME_MAPPINGS)
        assert {f"{PREFIX}Image", "ComfyDeployOutputImage"} <= set(nodes.NODE_CLASS_MAPPINGS)
    importlib.reload(nodes)
    assert f"{PREFIX}Text" in nodes.NODE_CLASS_MAPPINGS
