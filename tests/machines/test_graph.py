"""Graphs with External nodes become graphs that a stock ComfyUI executes."""

from __future__ import annotations

import json
from typing import Any

import pytest
from comfyui_outpost.api.inputs import with_widgets
from comfyui_outpost.api.server.graph import MAX_ADDED, Compiled, classes_of, compile_graph, draft_graph
from comfyui_outpost.api.server.machines import MachineError
from comfyui_outpost.tests.fakes.comfyui import STOCK, node_class

from .jobs import IMAGE_URL, INVERT, Graph, external, node

OTHER_URL = "https://platform.example/objects/inputs/other.jpg?s=1"


def compiled(graph: Graph, info: Any = STOCK, **inputs: Any) -> Compiled:
    names = {IMAGE_URL: "outpost/photo.png", OTHER_URL: "outpost/other.jpg"}
    draft_graph(graph, inputs, info)
    return compile_graph(graph, inputs, info, names=names, draw=lambda low, high: high)


def text_of(graph: Graph, info: Any = STOCK, **inputs: Any) -> Any:
    """What the output node "9" of a graph gets as its source."""
    return compiled(graph, info, **inputs).prompt["9"]["inputs"]["source"]


def test_a_value_is_written_into_every_consumer_and_its_node_is_gone():
    graph = {
        "1": external("Text", "prompt"),
        "2": node("KSampler", text=["1", 0], seed=1),
        "9": node("PreviewAny", source=["1", 0]),
        "10": node("PreviewAny", source=["2", 0]),
    }

    prompt = compiled(graph, prompt="a cat").prompt

    assert prompt["2"]["inputs"] == {"text": "a cat", "seed": 1}
    assert prompt["9"]["inputs"] == {"source": "a cat"}
    assert "1" not in prompt
    assert graph["2"]["inputs"]["text"] == ["1", 0], "the deployment's own graph was changed"


@pytest.mark.parametrize(
    ("given", "fields", "expected"),
    [
        ({"x": "given"}, {"default_value": "default"}, "given"),
        ({"x": ""}, {"default_value": "default"}, ""),
        ({}, {"default_value": "default"}, "default"),
        ({}, {}, ""),
    ],
)
def test_a_default_applies_when_nothing_is_given(given: Any, fields: Any, expected: Any):
    graph = {"1": external("Text", "x", **fields), "9": node("PreviewAny", source=["1", 0])}
    assert text_of(graph, **given) == expected


@pytest.mark.parametrize(("kind", "expected"), [("NumberInt", 0), ("Number", 0.0), ("Boolean", False)])
def test_without_a_default_a_value_is_the_natural_one_of_its_kind(kind: str, expected: Any):
    value = text_of({"1": external(kind, "x"), "9": node("PreviewAny", source=["1", 0])})
    assert (value, type(value)) == (expected, type(expected))


def test_defaults_come_from_other_external_nodes_too():
    graph = {
        "1": external("Text", "style", default_value="baroque"),
        "2": external("Text", "prompt", default_value=["1", 0]),
        "9": node("PreviewAny", source=["2", 0]),
    }
    assert text_of(graph, style="gothic") == "gothic"
    assert text_of(graph, prompt="plain") == "plain"


@pytest.mark.parametrize(
    ("fields", "given", "expected"),
    [
        ({"default_value": -1, "min_value": 5, "max_value": 9}, {}, 9),
        ({"default_value": -1}, {}, 4294967295),
        ({"default_value": 7, "min_value": 5, "max_value": 9}, {}, 7),
        ({"default_value": -1, "min_value": 9, "max_value": 5}, {}, 4294967295),
        ({"default_value": -1, "min_value": 5, "max_value": 9}, {"x": 6}, 6),
    ],
)
def test_a_seed_is_random_within_its_limits_unless_it_is_given_or_fixed(fields: Any, given: Any, expected: int):
    graph = {"1": external("Seed", "x", **fields), "9": node("PreviewAny", source=["1", 0])}
    assert text_of(graph, **given) == expected


def test_every_consumer_of_a_random_seed_gets_the_same_one():
    graph = {
        "1": external("Seed", "seed", default_value=-1),
        "2": node("PreviewAny", source=["1", 0]),
        "3": node("PreviewAny", source=["1", 0]),
    }
    prompts = [compile_graph(graph, {}, STOCK, names={}).prompt for _ in range(3)]
    assert all(prompt["2"]["inputs"] == prompt["3"]["inputs"] for prompt in prompts)
    assert len({prompt["2"]["inputs"]["source"] for prompt in prompts}) == 3


def test_an_image_becomes_a_load_node_with_the_same_id():
    assert draft_graph(INVERT, {"image": IMAGE_URL}, STOCK).files == [IMAGE_URL]
    made = compiled(INVERT, image=IMAGE_URL)
    assert made.prompt["1"] == node("LoadImage", image="outpost/photo.png")
    assert made.prompt["2"]["inputs"]["image"] == ["1", 0]
    assert "platform.example" not in json.dumps(made.prompt)


def test_a_linked_default_image_is_used_when_none_is_given_and_costs_nothing_otherwise():
    graph = {
        "1": node("EmptyImage", width=8, height=8),
        "2": external("Image", "image", default_value=["1", 0]),
        "3": node("SaveImage", images=["2", 0]),
    }
    without, given = compiled(graph), compiled(graph, image=IMAGE_URL)
    assert without.prompt["3"]["inputs"]["images"] == ["1", 0]
    assert "2" not in without.prompt
    assert given.prompt["3"]["inputs"]["images"] == ["2", 0]
    assert "1" not in given.prompt


def test_an_image_keeps_its_transparency_where_the_graph_asks_for_it():
    graph = {"1": external("ImageAlpha", "image"), "2": node("SaveImage", images=["1", 0])}
    made = compiled(graph, image=IMAGE_URL)
    assert made.prompt["1"] == node("JoinImageWithAlpha", image=["1-file", 0], alpha=["1-file", 1])
    assert made.prompt["1-file"] == node("LoadImage", image="outpost/photo.png")
    assert made.origins == {"1-file": "1"}


@pytest.mark.parametrize("count", [1, 2, 3, 5])
def test_a_batch_becomes_a_chain_in_the_order_of_its_images(count: int):
    urls = [IMAGE_URL, OTHER_URL, IMAGE_URL, IMAGE_URL, OTHER_URL][:count]
    graph = {"1": external("ImageBatch", "images"), "1-1": node("SaveImage", images=["1", 0])}

    made = compiled(graph, images=json.dumps(urls))

    def images(link: list[Any]) -> list[str]:
        found = made.prompt[link[0]]
        if found["class_type"] == "LoadImage":
            return [found["inputs"]["image"]]
        return images(found["inputs"]["image1"]) + images(found["inputs"]["image2"])

    names = {IMAGE_URL: "outpost/photo.png", OTHER_URL: "outpost/other.jpg"}
    assert images(made.prompt["1-1"]["inputs"]["images"]) == [names[url] for url in urls]
    assert set(made.origins.values()) <= {"1"}


def test_nodes_that_are_added_take_the_name_of_no_other_one():
    urls = json.dumps([IMAGE_URL, OTHER_URL, IMAGE_URL])
    taken = {name: node("SaveImage", images=["0", 0]) for name in ("0-1", "0-1-2", "0-to-2", "0-to-2-2")}
    batches = {"0": external("ImageBatch", "x"), "0-to": external("ImageBatch", "x")}
    made = compiled({**batches, **taken, "last": node("SaveImage", images=["0-to", 0])}, x=urls)
    assert all(made.prompt[name]["class_type"] == "SaveImage" for name in taken)
    added = [name for name, each in made.prompt.items() if each["class_type"] == "LoadImage"]
    assert len(added) == 6
    assert "0-1-3" in added


def test_of_names_that_are_taken_none_is_tried_twice():
    length = 2000
    taken = {f"0-1{'-' * number}": node("SaveImage", images=["0", 0]) for number in range(length)}
    made = compiled({"0": external("ImageBatch", "x"), **taken}, x=json.dumps([IMAGE_URL, OTHER_URL]))
    assert max(map(len, made.origins)) < 10


def test_a_batch_that_is_a_default_has_the_same_limit_as_one_that_is_given():
    def batch(count: int) -> Graph:
        return {"1": external("ImageBatch", "x", images=json.dumps(["a.png"] * count)), "9": save("1")}

    assert len(compiled(batch(1000)).origins) == 1998
    with pytest.raises(MachineError, match="not a list of URLs, 1 to 1000 of them"):
        compiled(batch(1001))


def test_a_batch_for_very_many_nodes_is_refused_before_it_has_filled_the_memory():
    graph = {f"{number}": external("ImageBatch", "x") for number in range(1000)}
    graph |= {f"save {number}": save(f"{number}") for number in range(1000)}
    with pytest.raises(MachineError, match=f"more than {MAX_ADDED} nodes") as raised:
        compiled(graph, x=json.dumps(["a.png"] * 1000))
    assert raised.value.failure.node_class == "ComfyUIDeployExternalImageBatch"


def save(source: str) -> Graph:
    return node("SaveImage", images=[source, 0])


def test_sound_and_video_become_what_the_comfyui_loads_them_with():
    graph = {
        "1": external("Audio", "sound"),
        "2": external("Video", "film"),
        "3": node("SaveImage", images=["2", 0]),
        "4": node("PreviewAny", source=["1", 0]),
        "5": node("PreviewAny", source=["2", 2]),
    }
    prompt = compiled(graph, sound=OTHER_URL, film=IMAGE_URL).prompt
    assert prompt["1"] == node("LoadAudio", audio="outpost/other.jpg")
    assert prompt["2"] == node("GetVideoComponents", video=["2-file", 0])
    assert prompt["2-file"] == node("LoadVideo", file="outpost/photo.png")
    assert prompt["5"]["inputs"]["source"] == ["2", 1]


def test_a_file_of_no_known_kind_is_its_name_in_the_input_folder():
    graph = {"1": external("File", "file"), "9": node("PreviewAny", source=["1", 0])}
    assert text_of(graph, file=IMAGE_URL) == "outpost/photo.png"


@pytest.mark.parametrize(
    ("graph", "inputs", "reason"),
    [
        (INVERT, {}, "'image' is missing and has no default"),
        ({"1": external("File", "f"), "9": node("PreviewAny", source=["1", 0])}, {}, "'f' is missing"),
        (
            {"1": external("ImageBatch", "b"), "9": node("PreviewAny", source=["1", 0])},
            {"b": "{"},
            "not a list of URLs",
        ),
        (
            {"1": external("Lora", "l"), "9": node("PreviewAny", source=["1", 0])},
            {"l": IMAGE_URL},
            "downloads no models",
        ),
        ({"1": external("Video", "v"), "9": node("PreviewAny", source=["1", 1])}, {"v": IMAGE_URL}, "output 1"),
        (
            {
                "1": external("Text", "a", default_value=["2", 0]),
                "2": external("Text", "b", default_value=["1", 0]),
                "9": node("PreviewAny", source=["1", 0]),
            },
            {},
            "circle",
        ),
    ],
)
def test_what_cannot_be_compiled_is_said_with_its_node(graph: Graph, inputs: Any, reason: str):
    with pytest.raises(MachineError, match=reason) as caught:
        compiled(graph, **inputs)
    assert caught.value.failure.node_id in ("1", "2")
    assert str(caught.value.failure.node_class).startswith("ComfyUIDeployExternal")


def test_a_class_that_the_comfyui_lacks_is_named_with_its_node():
    graph = {
        "1": node("FancyUpscaler"),
        "2": node("OtherThing", image=["1", 0]),
        "3": node("SaveImage", images=["2", 0]),
    }
    assert draft_graph(graph, {}, STOCK).missing == {"1": "FancyUpscaler", "2": "OtherThing"}


def test_a_class_that_is_lacking_for_an_external_node_is_named_with_that_node():
    graph = {"1": external("Video", "clip", default_value="a.mp4"), "2": node("SaveImage", images=["1", 0])}
    without = {name: info for name, info in STOCK.items() if name != "LoadVideo"}
    assert draft_graph(graph, {}, without).missing == {"1": "LoadVideo"}


def test_a_class_that_is_lacking_and_not_needed_is_left_out():
    graph = {
        "1": node("FancyLoader"),
        "2": external("Image", "image", default_value=["1", 0]),
        "3": node("SaveImage", images=["2", 0]),
    }
    assert set(compiled(graph, image=IMAGE_URL).prompt) == {"2", "3"}


def test_an_output_node_that_is_lacking_and_not_used_is_still_an_error():
    graph = {"1": node("EmptyImage"), "2": node("FancySave", images=["1", 0])}
    assert draft_graph(graph, {}, STOCK).missing == {"2": "FancySave"}


def test_output_ids_are_told_and_not_sent():
    graph = {
        "1": node("EmptyImage", width=8, height=8),
        "2": node("SaveImage", images=["1", 0], filename_prefix="a", output_id="picture"),
        "3": node("ComfyDeployOutputImage", images=["1", 0], filename_prefix="b", file_type="webp", output_id="deploy"),
        "4": node("ComfyDeployOutputText", text="words", output_id="words"),
    }
    made = compiled(graph)
    assert made.output_ids == {"2": "picture", "3": "deploy", "4": "words"}
    assert "output_id" not in json.dumps(made.prompt)
    assert made.prompt["3"] == node("SaveImage", images=["1", 0], filename_prefix="b")
    assert made.prompt["4"] == node("PreviewAny", source="words")


def test_an_output_node_that_the_comfyui_has_stays_as_it_is():
    own = node("ComfyDeployOutputImage", images=["1", 0], file_type="webp", output_id="deploy")
    info = {**STOCK, own["class_type"]: node_class(output=True, images=["IMAGE"], output_id=["STRING", {}])}
    made = compiled({"1": node("EmptyImage"), "2": own}, info)
    assert made.prompt["2"] == own
    assert made.output_ids == {"2": "deploy"}


def test_an_external_node_that_the_comfyui_has_stays_and_gets_its_value():
    graph = {
        "1": external("Text", "prompt", default_value="default"),
        "2": external("Lora", "lora", default_lora_name="a.safetensors"),
        "9": node("PreviewAny", source=["1", 0]),
        "10": node("PreviewAny", source=["2", 0]),
    }
    own = {
        name: node_class(input_id=["STRING", {}]) for name in ("ComfyUIDeployExternalText", "ComfyUIDeployExternalLora")
    }
    prompt = compiled(graph, {**STOCK, **own}, prompt="a cat", lora=OTHER_URL).prompt
    assert prompt["1"]["inputs"] == {"input_id": "prompt", "default_value": "a cat"}
    assert prompt["2"]["inputs"]["lora_url"] == OTHER_URL
    assert prompt["9"]["inputs"]["source"] == ["1", 0]


def test_a_file_travels_by_upload_even_where_the_comfyui_has_the_node():
    info = {**STOCK, "ComfyUIDeployExternalImage": node_class(input_id=["STRING", {}])}
    assert compiled(INVERT, info, image=IMAGE_URL).prompt["1"]["class_type"] == "LoadImage"


def test_any_input_of_any_node_can_be_addressed():
    graph = {
        "5:3": node("KSampler", seed=1, text="before"),
        "6": node("LoadImage", image="example.png"),
        "7": node("SaveImage", images=["6", 0]),
        "9": node("PreviewAny", source=["5:3", 0]),
    }
    inputs = {"5:3.text": "after", "5:3.seed": 2, "6.image": IMAGE_URL, "77.text": "nobody's"}
    prompt = compile_graph(with_widgets(graph, inputs), inputs, STOCK, names={IMAGE_URL: "outpost/photo.png"}).prompt
    assert prompt["5:3"]["inputs"] == {"seed": 2, "text": "after"}
    assert prompt["6"]["inputs"] == {"image": "outpost/photo.png"}


UPLOAD = ["STRING", {"outpost_upload": True}]
"""How our own nodes declare what a file is brought for."""


@pytest.mark.parametrize(
    ("kind", "field"),
    [
        ("Image", "default_value_url"),
        ("Audio", "audio_file"),
        ("Video", "default_value_url"),
        ("Vid", "default_value"),
        ("EXR", "exr_file"),
        ("File", "file_url"),
    ],
)
def test_a_node_that_takes_an_uploaded_file_stays_and_gets_its_name(kind: str, field: str):
    info = STOCK | {f"ComfyUIDeployExternal{kind}": node_class(**{field: UPLOAD})}
    by_default = {"1": external(kind, "photo", **{field: OTHER_URL}), "9": node("PreviewAny", source=["1", 0])}
    without = {"1": external(kind, "photo"), "9": node("PreviewAny", source=["1", 0])}

    for graph, inputs, name in (
        (by_default, {"photo": IMAGE_URL}, "outpost/photo.png"),
        (without, {"photo": IMAGE_URL}, "outpost/photo.png"),
        (by_default, {}, "outpost/other.jpg"),
    ):
        assert compiled(graph, info, **inputs).prompt["1"]["inputs"] == {"input_id": "photo", field: name}
    assert draft_graph(by_default, {"photo": IMAGE_URL}, info).missing == {}
    assert compiled(without, info).prompt["1"]["inputs"] == {"input_id": "photo"}


@pytest.mark.parametrize(
    ("given", "names"),
    [
        (json.dumps([IMAGE_URL, OTHER_URL]), ["outpost/photo.png", "outpost/other.jpg"]),
        ([OTHER_URL, "own.png"], ["outpost/other.jpg", "own.png"]),
    ],
)
def test_a_node_that_takes_uploaded_files_gets_their_names(given: Any, names: list[str]):
    info = STOCK | {"ComfyUIDeployExternalImageBatch": node_class(images=UPLOAD)}
    graph = {"1": external("ImageBatch", "photos", images="[]"), "9": node("PreviewAny", source=["1", 0])}

    assert json.loads(compiled(graph, info, photos=given).prompt["1"]["inputs"]["images"]) == names
    assert compiled(graph, info).prompt["1"]["inputs"]["images"] == "[]"


def test_a_node_of_another_package_that_wants_a_url_is_compiled_away_as_before():
    info = STOCK | {"ComfyUIDeployExternalImage": node_class(default_value_url=["STRING", {}])}
    graph = {"1": external("Image", "photo"), "9": node("PreviewAny", source=["1", 0])}
    assert compiled(graph, info, photo=IMAGE_URL).prompt["1"]["class_type"] == "LoadImage"


def test_a_number_whose_id_looks_like_one_is_not_mixed_up_with_its_id():
    info = STOCK | {f"ComfyUIDeployExternal{kind}": node_class() for kind in ("NumberInt", "Text")}
    graph = {
        "1": external("NumberInt", "5", default_value=1),
        "2": external("Text", "6"),
        "9": node("PreviewAny", source=["1", 0], more=["2", 0]),
    }
    prompt = compiled(graph, info, **{"5": 8, "6": "x"}).prompt
    assert prompt["1"]["inputs"] == {"input_id": "8", "default_value": 8}
    assert prompt["2"]["inputs"] == {"input_id": "6", "default_value": "x"}


@pytest.mark.parametrize(
    ("node_class_name", "name", "asked", "sent"),
    [
        ("CheckpointLoaderSimple", "ckpt_name", "xl/base.safetensors", "xl\\base.safetensors"),
        ("CheckpointLoaderSimple", "ckpt_name", "plain.safetensors", "plain.safetensors"),
        ("NewLoader", "name", "flux\\dev.safetensors", "flux/dev.safetensors"),
        ("NewLoader", "name", "gone.safetensors", "gone.safetensors"),
    ],
)
def test_model_names_match_across_separators(node_class_name: str, name: str, asked: str, sent: str):
    graph = {"1": node(node_class_name, **{name: asked}), "9": node("PreviewAny", source=["1", 0])}
    assert compiled(graph).prompt["1"]["inputs"][name] == sent


def test_only_choices_that_are_not_there_are_worth_asking_for_again():
    graph = {
        "0": external("Checkpoint", "model"),
        "1": node("CheckpointLoaderSimple", ckpt_name="xl/base.safetensors"),
        "2": node("NewLoader", name=["0", 0]),
        "3": node("LoadImage", image="not-in-the-list.png"),
        "9": node("SaveImage", images=["1", 0], masks=["2", 0], more=["3", 0]),
    }
    assert draft_graph(graph, {"model": "flux\\dev.safetensors"}, STOCK).unmatched == set()
    assert draft_graph(graph, {"model": "gone.safetensors"}, STOCK).unmatched == {"NewLoader"}


def test_what_is_asked_of_the_comfyui_includes_what_may_stand_in():
    graph = {"1": external("ImageBatch", "images"), "2": node("ComfyDeployOutputImage", images=["1", 0])}
    assert classes_of(graph) == {
        "ComfyUIDeployExternalImageBatch",
        "ComfyDeployOutputImage",
        "LoadImage",
        "ImageBatch",
        "SaveImage",
    }


@pytest.mark.parametrize("graph", [{}, {"1": None}, {"1": {"class_type": 5}}, {"1": {"inputs": []}, "2": []}])
def test_of_graphs_that_make_no_sense_nothing_is_left_but_what_is_missing(graph: Any):
    assert compiled(graph).prompt.keys() == draft_graph(graph, {}, STOCK).missing.keys()
