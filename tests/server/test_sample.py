"""The sample of a first start: the same in an editor as executed, and of use on the built-in machine."""

from __future__ import annotations

from io import BytesIO
from typing import Any

import pytest
from comfyui_outpost.api.server.sample import SAMPLE_WORKFLOW, SAMPLE_WORKFLOW_API
from comfyui_outpost.nodes.external.images import NODES as IMAGE_NODES
from comfyui_outpost.nodes.external.inputs import NODES as INPUT_NODES
from comfyui_outpost.nodes.external.outputs import NODES as OUTPUT_NODES
from PIL import Image

from .graphs import png
from .talking import Talker

pytestmark = pytest.mark.shared_platform

OURS: dict[str, Any] = {**INPUT_NODES, **IMAGE_NODES, **OUTPUT_NODES}
WIDGETS = ("STRING", "INT", "FLOAT", "BOOLEAN")
DRAWN = {str(each["id"]): each for each in SAMPLE_WORKFLOW["nodes"]}


def _widgets(class_type: str) -> list[str]:
    """The names of the widgets that an editor gives a node of ours, in order."""
    declared = OURS[class_type].INPUT_TYPES()
    fields = {**declared["required"], **declared.get("optional", {})}
    return [name for name, (kind, *_) in fields.items() if isinstance(kind, list) or kind in WIDGETS]


def test_the_editors_graph_has_the_nodes_that_are_executed():
    assert {number: each["type"] for number, each in DRAWN.items()} == {
        number: each["class_type"] for number, each in SAMPLE_WORKFLOW_API.items()
    }
    assert SAMPLE_WORKFLOW["last_node_id"] == max(map(int, DRAWN))
    assert len({tuple(each["pos"]) for each in DRAWN.values()}) == len(DRAWN)


def test_the_editors_graph_has_the_links_that_are_executed_at_both_ends():
    drawn = {}
    for number, source, output, target, slot, kind in SAMPLE_WORKFLOW["links"]:
        start, end = DRAWN[str(source)]["outputs"][output], DRAWN[str(target)]["inputs"][slot]
        assert number in start["links"]
        assert end["link"] == number
        assert start["type"] == end["type"] == kind
        drawn[str(target), end["name"]] = [str(source), output]
    ends = [each for node in DRAWN.values() for each in node["inputs"] if each["link"] is not None]
    assert len(ends) == len(drawn) == SAMPLE_WORKFLOW["last_link_id"]
    assert drawn == {
        (number, name): value
        for number, node in SAMPLE_WORKFLOW_API.items()
        for name, value in node["inputs"].items()
        if isinstance(value, list)
    }


def test_the_editors_graph_has_the_values_that_are_executed_where_the_classes_have_their_widgets():
    ours = {number: node for number, node in SAMPLE_WORKFLOW_API.items() if node["class_type"] in OURS}
    assert len(ours) == 3
    for number, node in ours.items():
        values = dict(zip(_widgets(node["class_type"]), DRAWN[number]["widgets_values"], strict=True))
        assert values == {name: value for name, value in node["inputs"].items() if not isinstance(value, list)}


@pytest.mark.one_backing
async def test_it_has_a_picture_and_a_radius_within_limits_as_inputs_and_one_output(platform: Any, owner: Talker):
    found = await owner.get(f"/deployment/{platform.owner.deployment_id}")
    inputs = {each["input_id"]: each for each in found["input_types"]}
    assert [(name, each["type"], each["required"]) for name, each in inputs.items()] == [
        ("image", "string", True),
        ("blur", "integer", False),
    ]
    assert inputs["blur"].items() >= {"default_value": 0, "min_value": 0, "max_value": 100}.items()
    assert [each["output_id"] for each in found["output_types"]] == ["result"]


@pytest.mark.one_backing
async def test_the_radius_of_a_run_has_an_effect_and_has_none_when_it_is_left_out(platform: Any, owner: Talker):
    half = Image.new("RGB", (16, 8), "black")
    half.paste("white", (8, 0, 16, 8))
    half.save(sent := BytesIO(), "PNG")
    url = await owner.upload(sent.getvalue())
    colours = {}
    for blur in ({}, {"blur": 4}):
        run = await owner.end_of(await owner.queue(platform.owner.deployment_id, {"image": url, **blur}))
        assert run["status"] == "success", run["error"]
        (output,) = run["outputs"]
        (file,) = output["data"]["images"]
        image = Image.open(BytesIO((await owner.ask("GET", file["url"])).content)).convert("L")
        assert (output["output_id"], image.size) == ("result", (16, 8))
        colours[bool(blur)] = image.getcolors(256)
    assert sorted(colours[False]) == [(64, 0), (64, 255)]
    assert len(colours[True]) > 8


@pytest.mark.one_backing
@pytest.mark.parametrize("blur", [-1, 101, 1.5])
async def test_a_radius_that_is_out_of_its_limits_is_refused(platform: Any, owner: Talker, blur: float):
    inputs = {"image": await owner.upload(png()), "blur": blur}
    body = {"deployment_id": platform.owner.deployment_id, "inputs": inputs}
    answer = await owner.ask("POST", "/run/deployment/queue", json=body)
    assert answer.status_code == 422
    assert "'blur'" in answer.json()["detail"][0]["msg"]
