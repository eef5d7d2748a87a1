"""What a graph asks for, and the check of values against it."""

import json

import pytest
from comfyui_outpost.api.errors import InvalidInput
from comfyui_outpost.api.inputs import (
    EXTERNAL_CLASSES,
    InputKind,
    check_inputs,
    declared_inputs,
    inputs_of,
    kind_of,
)
from comfyui_outpost.api.models import Deployment
from comfyui_outpost.api.outputs import outputs_of
from comfyui_outpost.tests.fakes import recordings

URL = "https://bucket.example/inputs/a.png"


def external(kind: str, **fields: object) -> dict[str, object]:
    return {"class_type": f"ComfyUIDeployExternal{kind}", "inputs": {"input_id": "x", **fields}}


def check(value: object, kind: str, **fields: object) -> object:
    return check_inputs(inputs_of({"1": external(kind, **fields)}), {"x": value})["x"]


def test_inputs_are_read_from_the_graph_with_those_that_the_platform_does_not_list():
    body = recordings.body("get_deployment_deployment_id", "input_types of many")
    deployment = Deployment.model_validate(body)

    declared = declared_inputs(deployment) or []

    listed = {each["input_id"] for each in body["input_types"]}
    assert {each.input_id for each in declared} > listed
    assert {kind_of(each) for each in declared} >= {InputKind.IMAGE, InputKind.INTEGER, InputKind.BOOLEAN}


def test_inputs_are_the_listed_ones_when_the_graph_is_not_told():
    body = recordings.body("get_deployment_deployment_id", "ok")
    deployment = Deployment.model_validate({**body, "version": None})

    assert [each.input_id for each in declared_inputs(deployment) or []] == [
        each["input_id"] for each in body["input_types"]
    ]
    assert declared_inputs(Deployment(id=body["id"])) is None


def test_an_id_that_several_nodes_share_is_one_input():
    graph = {"1": external("Text"), "2": external("Number"), "3": {"class_type": "KSampler", "inputs": {}}}

    assert [each.class_type for each in inputs_of(graph)] == ["ComfyUIDeployExternalText"]


@pytest.mark.parametrize("node", [None, [], "x", {}, {"class_type": "ComfyUIDeployExternalText"}, {"inputs": {}}])
def test_a_graph_with_strange_nodes_is_read(node):
    assert inputs_of({"1": node}) == []
    assert outputs_of({"1": node}) == []


def test_outputs_are_the_nodes_with_an_output_id():
    graph = {"5": {"class_type": "ComfyDeployOutputText", "inputs": {"output_id": "caption"}}, "6": external("Text")}

    [output] = outputs_of(graph)

    assert (output.output_id, output.node_id, output.class_type) == ("caption", "5", "ComfyDeployOutputText")


@pytest.mark.parametrize(
    ("kind", "fields", "required"),
    [
        ("Image", {}, True),
        ("Image", {"default_value": ["4", 0]}, False),
        ("Image", {"default_value_url": ""}, True),
        ("Image", {"default_value_url": URL}, False),
        ("ImageBatch", {"images": "[]"}, True),
        ("Text", {}, False),
        ("Seed", {}, False),
    ],
)
def test_an_input_is_required_when_there_is_nothing_to_fall_back_on(kind, fields, required):
    [declared] = inputs_of({"1": external(kind, **fields)})

    assert declared.required is required


def test_a_default_that_is_a_link_is_no_value():
    [declared] = inputs_of({"1": external("Image", default_value=["4", 0])})

    assert declared.default_value is None


@pytest.mark.parametrize(
    ("kind", "value", "expected"),
    [
        ("Image", URL, URL),
        ("Image", "data:image/png;base64,x", "data:image/png;base64,x"),
        ("ImageBatch", [URL, URL], json.dumps([URL, URL])),
        ("ImageBatch", json.dumps([URL]), json.dumps([URL])),
        ("Text", "a", "a"),
        ("Text", 3, "3"),
        ("NumberInt", "3", 3),
        ("NumberInt", 3.0, 3),
        ("NumberInt", "-3.0", -3),
        ("Seed", 2**63 + 1, 2**63 + 1),
        ("Seed", str(2**63 + 1), 2**63 + 1),
        ("Number", "1.5", 1.5),
        ("Number", 3, 3.0),
        ("Boolean", False, False),
        ("Something", "new", "new"),
    ],
)
def test_a_value_is_brought_to_the_type_of_its_input(kind, value, expected):
    checked = check(value, kind)

    assert checked == expected
    assert type(checked) is type(expected)


@pytest.mark.parametrize(
    ("kind", "value"),
    [
        ("Image", "a.png"),
        ("Image", 3),
        ("ImageBatch", []),
        ("ImageBatch", "no JSON"),
        ("ImageBatch", ["a.png"]),
        ("NumberInt", 1.5),
        ("NumberInt", "many"),
        ("NumberInt", True),
        ("NumberInt", float("inf")),
        ("Number", float("nan")),
        ("Number", True),
        ("Boolean", "true"),
        ("Boolean", 1),
        ("Text", True),
        ("Text", None),
        ("Text", ["a"]),
    ],
)
def test_a_value_of_another_type_is_refused_with_the_name_of_its_input(kind, value):
    with pytest.raises(InvalidInput, match=r"The input 'x' takes") as caught:
        check(value, kind)

    assert caught.value.input_id == "x"


def test_a_number_stays_within_its_limits():
    assert check(8, "NumberSliderInt", min_value=8, max_value=9) == 8
    with pytest.raises(InvalidInput, match="from 8 to 9, not 10"):
        check(10, "NumberSliderInt", min_value=8, max_value=9)
    with pytest.raises(InvalidInput, match="from -∞ to 9"):
        check(10, "Number", max_value=9)


def test_an_enum_takes_one_of_its_options():
    options = json.dumps(["a", "b"])

    assert check("a", "Enum", options=options) == "a"
    with pytest.raises(InvalidInput, match="one of 'a', 'b', not 'c'"):
        check("c", "Enum", options=options)


def test_an_input_that_does_not_exist_is_refused_with_the_list_of_those_that_do():
    with pytest.raises(InvalidInput, match=r"no input 'y'\. The inputs of this deployment are: 'x'"):
        check_inputs(inputs_of({"1": external("Text")}), {"y": "a"})


@pytest.mark.parametrize("values", [{}, {"x": None}, {"x": ""}])
def test_a_required_input_that_is_missing_is_named(values):
    with pytest.raises(InvalidInput, match=r"'x' \(image\) is missing"):
        check_inputs(inputs_of({"1": external("Image")}), values)


def test_every_class_of_input_nodes_has_a_field_for_its_default():
    assert all(each.default_fields for each in EXTERNAL_CLASSES.values())
