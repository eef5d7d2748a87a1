"""What a page is told about a deployment so that a person can fill in its inputs."""

from __future__ import annotations

import json
from typing import Any

import pytest
from comfyui_outpost.api.forms import LARGEST_INTEGER, Form, FormInput, form_of, name_of
from comfyui_outpost.api.inputs import EXTERNAL_CLASSES, MAX_WIDGETS, PREFIX
from comfyui_outpost.api.models import Deployment
from comfyui_outpost.tests.fakes import recordings

ID = "0b3c2a10-0000-4000-8000-000000000001"
HOSTILE = "</script><img src=x onerror=alert(1)>\u202e\"'`${x}\n"
SIGNED = "https://store.example/a.png?X-Amz-Signature=secret"
IMAGE = "IMAGE,MASK,OUTPOST_FILE,STRING"
ANY_FILE = "IMAGE,MASK,VIDEO,AUDIO,LATENT,OUTPOST_FILE,STRING"


def external(kind: str, **fields: Any) -> dict[str, Any]:
    return {"class_type": PREFIX + kind, "inputs": {"input_id": "x", **fields}}


def form(*nodes: Any, **more: Any) -> Form:
    graph = {str(number): node for number, node in enumerate(nodes, start=1)}
    version = {"id": ID, "workflow_id": ID, "version": 1, "workflow": {"nodes": []}, "workflow_api": graph}
    # As it comes over the wire: NaN, integers of any size and all.
    return form_of(Deployment.model_validate_json(json.dumps({"id": ID, "version": version, **more})))


def only(kind: str, **fields: Any) -> FormInput:
    (asked,) = form(external(kind, **fields)).inputs
    return asked


def widget(kind: str, **fields: Any) -> dict[str, Any]:
    asked = only(kind, **fields).widget
    assert asked
    return asked.model_dump(mode="json", exclude_none=True)


@pytest.mark.parametrize(
    ("kind", "socket", "widget_type"),
    [
        ("Text", "STRING", "multiline"),
        ("TextAny", "STRING", "multiline"),
        ("TextSingleLine", "STRING", "text"),
        ("Image", IMAGE, None),
        ("ImageAlpha", IMAGE, None),
        ("ImageBatch", IMAGE, None),
        ("Video", "VIDEO,OUTPOST_FILE,STRING", None),
        ("Vid", "VIDEO,OUTPOST_FILE,STRING", None),
        ("Audio", "AUDIO,OUTPOST_FILE,STRING", None),
        ("EXR", "IMAGE,OUTPOST_FILE,STRING", None),
        ("File", ANY_FILE, None),
        ("Number", "FLOAT", "float"),
        ("NumberInt", "INT", "int"),
        ("NumberSlider", "FLOAT", "float"),
        ("NumberSliderInt", "INT", "int"),
        ("Boolean", "BOOLEAN", "boolean"),
        ("Enum", "COMBO,STRING", "combo"),
        ("Seed", "INT", "seed"),
        ("Lora", "STRING", "text"),
        ("Checkpoint", "STRING", "text"),
        ("FaceModel", "STRING", "text"),
        ("OfSomebodyElse", "STRING", "text"),
    ],
)
def test_each_class_of_input_has_its_socket_and_its_widget(kind: str, socket: str, widget_type: str | None):
    asked = only(kind, options='["a", "b"]', min_value=0, max_value=9)

    assert (asked.socket, asked.widget and asked.widget.type) == (socket, widget_type)
    assert asked.has_alpha is (kind == "ImageAlpha")
    assert not asked.is_open
    assert bool(asked.widget and asked.widget.is_slider) is ("Slider" in kind)


def test_no_class_is_forgotten_above():
    (parameters,) = [
        mark.args[1]
        for mark in test_each_class_of_input_has_its_socket_and_its_widget.pytestmark  # type: ignore[attr-defined]
    ]
    assert {PREFIX + kind for kind, *_ in parameters} >= set(EXTERNAL_CLASSES)


@pytest.mark.parametrize(
    ("kind", "fields", "expected"),
    [
        ("NumberInt", {"default_value": 7}, {"default": 7}),
        ("NumberInt", {"default_value": 7.0}, {"default": 7}),
        ("NumberInt", {"default_value": "7"}, {"default": 7}),
        ("NumberInt", {"default_value": 7.5}, {}),
        ("NumberInt", {"default_value": "many"}, {}),
        ("NumberInt", {"default_value": True}, {}),
        ("Number", {"default_value": "0.5"}, {"default": 0.5}),
        ("Number", {"default_value": 2}, {"default": 2}),
        ("Number", {"default_value": float("nan")}, {}),
        ("Number", {"default_value": float("inf"), "max_value": float("inf")}, {}),
        ("Number", {"default_value": "1e999"}, {}),
        ("Number", {"min_value": float("-inf"), "max_value": 1}, {"max": 1}),
        ("Number", {"default_value": ["4", 0]}, {}),
        ("Number", {"default_value": {"a": 1}}, {}),
        ("NumberSlider", {"min_value": 1, "max_value": 0}, {"is_slider": True}),
        ("NumberSlider", {"min_value": 0, "max_value": 1, "step": 0}, {"is_slider": True, "min": 0, "max": 1}),
        ("NumberSliderInt", {"max_value": "9", "step": -1}, {"is_slider": True}),
        ("Boolean", {"default_value": True}, {"default": True}),
        ("Boolean", {"default_value": "True"}, {"default": True}),
        ("Boolean", {"default_value": "false"}, {"default": False}),
        ("Boolean", {"default_value": "yes"}, {}),
        ("Boolean", {"default_value": 1}, {}),
        ("Text", {"default_value": 5}, {"default": "5"}),
        ("Text", {"default_value": ["4", 0]}, {}),
        ("Lora", {"default_value": "a.safetensors"}, {"default": "a.safetensors"}),
        ("Enum", {"options": '["a", "b"]', "default_value": "b"}, {"default": "b", "options": ["a", "b"]}),
        ("Enum", {"options": '["a", "b"]', "default_value": "c"}, {"options": ["a", "b"]}),
        ("Enum", {"options": "no json", "default_value": "c"}, {"type": "text", "default": "c"}),
        ("Enum", {"options": "[]", "default_value": "c"}, {"type": "text", "default": "c"}),
        ("Seed", {"default_value": 2**53 - 1}, {"default": LARGEST_INTEGER}),
        ("Seed", {"min_value": 0, "max_value": 2**64 - 1}, {"min": 0, "max": LARGEST_INTEGER}),
        ("Seed", {"min_value": -(2**63)}, {"min": -LARGEST_INTEGER}),
        ("Seed", {"default_value": 10**4000}, {"default": LARGEST_INTEGER}),
    ],
)
def test_a_widget_gets_only_what_it_can_hold(kind: str, fields: dict[str, Any], expected: dict[str, Any]):
    told = widget(kind, **fields)
    extra = {} if "type" in expected else {"type": told["type"]}
    slider = {"is_slider": False}
    assert told == {**slider, **extra, **expected}
    json.dumps(told, allow_nan=False)


def test_a_seed_that_a_page_cannot_count_to_is_told_in_words():
    asked = only("Seed", default_value=2**64 - 1, description="Of the noise")

    assert asked.tooltip == (
        "Of the noise\nThe deployment's own value, 18446744073709551615, is larger than a page can count."
    )
    assert only("Seed", default_value=2**53 - 1, description="Of the noise").tooltip == "Of the noise"
    assert only("Seed", default_value=10**4000).tooltip == (
        "The deployment's own value is larger than a page can count."
    )


@pytest.mark.parametrize(
    ("fields", "is_required"),
    [({}, True), ({"default_value": ["4", 0]}, False), ({"default_value_url": SIGNED}, False)],
)
def test_an_image_is_required_unless_something_is_connected_or_stands_there(fields: dict[str, Any], is_required: bool):
    told = form(external("Image", **fields))

    assert told.inputs[0].is_required is is_required
    assert "secret" not in told.model_dump_json()


def test_texts_of_other_people_are_kept_as_they_are():
    texts = {"input_id": HOSTILE, "display_name": HOSTILE, "description": HOSTILE, "default_value": HOSTILE}
    told = form(external("Enum", **texts, options=json.dumps([HOSTILE])), name=HOSTILE, environment=HOSTILE)

    (asked,) = told.inputs
    assert asked.widget
    assert (told.name, told.environment) == (HOSTILE, HOSTILE)
    assert (asked.input_id, asked.label, asked.tooltip, asked.widget.default) == (HOSTILE,) * 4
    assert asked.widget.options == [HOSTILE]


def test_a_label_is_the_id_where_there_is_no_other():
    assert only("Text").label == "x"
    assert only("Text", display_name="").label == "x"
    assert only("Text", display_name="Prompt").label == "Prompt"


@pytest.mark.parametrize(
    ("value", "kind", "socket", "widget_type"),
    [
        (1, "number", "FLOAT,INT", "float"),  # of a share such as `denoise`, JSON says the same as of an integer
        (0.5, "number", "FLOAT,INT", "float"),
        (True, "boolean", "BOOLEAN", "boolean"),
        ("euler", "text", "STRING", "text"),
        ("a cat\nand a dog", "text", "STRING", "multiline"),
        ("word " * 20, "text", "STRING", "multiline"),
    ],
)
def test_a_graph_without_inputs_of_its_own_offers_its_widgets(value: Any, kind: str, socket: str, widget_type: str):
    (asked,) = form({"class_type": "KSampler", "inputs": {"value": value, "model": ["2", 0]}}).inputs

    assert (asked.input_id, asked.label, asked.is_open) == ("1.value", "KSampler: value", True)
    assert (asked.kind, asked.socket) == (kind, socket)
    assert asked.widget and (asked.widget.type, asked.widget.default) == (widget_type, value)


def test_of_very_many_widgets_the_first_are_offered():
    nodes = [{"class_type": "KSampler", "inputs": {f"w{number}": number for number in range(10)}}] * (MAX_WIDGETS // 5)

    asked = form(*nodes).inputs

    assert len(asked) == MAX_WIDGETS
    assert all(each.is_open for each in asked)


def test_outputs_have_the_socket_of_their_kind():
    def saves(class_type: str, **fields: Any) -> dict[str, Any]:
        return {"class_type": class_type, "inputs": fields}

    told = form(
        saves("SaveImage", output_id="picture"),
        saves("SaveVideo"),
        saves("SaveAudio"),
        saves("PreviewAny"),
        saves("SaveLatent"),
        saves("SaveGLB"),
        saves("OfSomebodyElse", output_id="thing"),
        saves("OfSomebodyElse"),
    )

    assert [each.class_type for each in told.outputs[:2]] == ["SaveImage", "SaveVideo"]
    assert [(each.name, each.kind, each.socket, each.node_id, each.is_named) for each in told.outputs] == [
        ("picture", "image", "IMAGE", "1", True),
        ("2", "video", "VIDEO", "2", False),
        ("3", "audio", "AUDIO", "3", False),
        ("4", "text", "STRING", "4", False),
        ("5", "latent", "LATENT", "5", False),
        ("6", "3d", "STRING", "6", False),
        ("thing", "file", "STRING", "7", True),
    ]


@pytest.mark.parametrize("body", ["ok", "input_types of many"])
def test_a_platform_that_tells_no_graph_is_believed_what_it_lists(body: str):
    recorded = recordings.body("get_deployment_deployment_id", body)
    with_graph = {each.input_id: each for each in form_of(Deployment.model_validate(recorded)).inputs}

    told = form_of(Deployment.model_validate({**recorded, "version": None}))

    assert [each.input_id for each in told.inputs] == [each["input_id"] for each in recorded["input_types"]]
    for each in told.inputs:
        same = with_graph[each.input_id]
        assert (each.kind, each.socket, each.label, each.widget) == (same.kind, same.socket, same.label, same.widget)
    assert told.is_active


def test_a_deployment_of_which_nothing_is_told_has_neither_inputs_nor_outputs():
    told = form_of(Deployment(id=ID))

    assert (told.inputs, told.outputs) == ([], [])
    assert told.name == ID[:8]


@pytest.mark.parametrize("node", [None, [], "x", {}, {"class_type": f"{PREFIX}Text"}, {"inputs": {"input_id": 5}}])
def test_a_graph_with_strange_nodes_is_read(node: Any):
    assert form(node).inputs == []


def test_a_deployment_is_called_after_its_workflow_where_it_has_no_name():
    workflow = {"id": ID, "name": "Portraits"}
    assert name_of(Deployment.model_validate({"id": ID, "workflow": workflow})) == "Portraits"
    assert name_of(Deployment.model_validate({"id": ID, "workflow": workflow, "name": "Best"})) == "Best"
    assert not form(is_active=False).is_active


def test_a_form_holds_neither_the_graph_nor_the_address_of_a_picture():
    told = form(external("Image", default_value_url=SIGNED), {"class_type": "Hidden", "inputs": {"secret": 1}})

    text = told.model_dump_json()
    assert "Hidden" not in text
    assert "Signature" not in text
