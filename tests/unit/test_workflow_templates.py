"""What people build is analysed without a crash: every workflow of ComfyUI's templates."""

from __future__ import annotations

from functools import cache
from typing import Any

import pytest
from comfyui_outpost.api.inputs import PREFIX, inputs_of, with_widgets
from comfyui_outpost.api.outputs import outputs_of
from comfyui_outpost.api.server.editor_graph import classes_of_workflow, graph_of_classes
from comfyui_outpost.api.server.graph import class_of, classes_of, compile_graph, draft_graph
from comfyui_outpost.api.server.preflight import lacks_of
from comfyui_outpost.tests.fakes.comfyui import STOCK
from comfyui_outpost.tests.fakes.templates import Template, templates

NODES = STOCK | {"VAEDecode": {"input": {"required": {"samples": ["LATENT"], "vae": ["VAE"]}}}}
"""A small ComfyUI: most of what the templates use it lacks."""
URL = "https://platform.example/objects/inputs/photo.png"


@cache
def executable() -> list[tuple[Template, dict[str, Any]]]:
    """Every graph that would be executed, and where it is from."""
    return [(template, graph) for template in templates() for graph in template.executable()]


def with_external_nodes(graph: dict[str, Any]) -> dict[str, Any]:
    """A graph whose pictures are inputs of a deployment, and whose prompts are, too."""
    changed: dict[str, Any] = {}
    for node_id, node in graph.items():
        match node["class_type"]:
            case "LoadImage":
                changed[node_id] = {"class_type": f"{PREFIX}Image", "inputs": {"input_id": f"image {node_id}"}}
            case "CLIPTextEncode":
                text = {"class_type": f"{PREFIX}Text", "inputs": {"input_id": f"text {node_id}"}}
                changed[f"{node_id}-text"] = text
                fields = {**node["inputs"], "text": [f"{node_id}-text", 0]}
                changed[node_id] = {**node, "inputs": fields}
            case _:
                changed[node_id] = node
    return changed


def values_for(graph: dict[str, Any]) -> dict[str, str]:
    return {each.input_id: URL if "Image" in each.class_type else "a cat" for each in inputs_of(graph)}


def test_there_are_hundreds_of_them_and_they_are_large():
    assert len(templates()) > 600
    assert len(executable()) > 800
    assert max(len(graph) for _, graph in executable()) > 50


def test_inputs_and_outputs_are_found_in_every_graph():
    total = 0
    for template, graph in executable():
        inputs = inputs_of(graph)
        assert with_widgets(graph, {each.input_id: each.default_value for each in inputs}) == graph, template.name
        assert outputs_of(graph) == []
        total += len(inputs)
    assert total > 300


def test_external_nodes_are_compiled_out_of_every_graph():
    compiled_away = 0
    for template, graph in executable():
        graph = with_external_nodes(graph)
        inputs = values_for(graph) if any(class_of(node).startswith(PREFIX) for node in graph.values()) else {}
        draft = draft_graph(graph, inputs, NODES)
        made = compile_graph(graph, inputs, NODES, names=dict.fromkeys(draft.files, "outpost/photo.png"))
        assert not any(class_of(node).startswith(PREFIX) for node in made.prompt.values()), template.name
        assert URL not in str(made.prompt)
        assert PREFIX not in str(draft.missing)
        compiled_away += len(inputs)
    assert compiled_away > 500


def test_the_nodes_that_a_machine_lacks_are_named_for_every_graph():
    for template, graph in executable():
        found = lacks_of(graph, None, NODES, NODES.keys())
        named = {lack.node_class for lack in found if lack.kind == "node_class"}
        assert named <= classes_of(graph) - NODES.keys(), template.name
        assert all(lack.message and lack.node_id in graph for lack in found)


def test_the_classes_of_the_editors_graph_are_those_that_would_be_executed():
    for template in [each for each in templates() if each.is_editors][::40]:
        classes = set(classes_of_workflow(template.content).values())
        drawn = {node["type"] for node in template.content["nodes"] if node.get("mode", 0) == 0}
        subgraphs = {each["id"] for each in (template.content.get("definitions") or {}).get("subgraphs", [])}
        assert drawn - subgraphs - {"Note", "MarkdownNote", "Reroute", "PrimitiveNode"} <= classes, template.name
        assert not classes & {"Note", "MarkdownNote", "Reroute", "PrimitiveNode", *subgraphs}, template.name


def test_of_the_editors_graphs_every_class_that_a_machine_lacks_is_named():
    lacking = 0
    for template in templates():
        classes = classes_of_workflow(template.content) if template.is_editors else {}
        found = lacks_of(graph_of_classes(classes), None, NODES, NODES.keys())
        named = {lack.node_id for lack in found if lack.kind == "node_class"}
        expected = {node_id for node_id, name in classes.items() if name not in NODES}
        assert named <= expected
        assert len(named) == min(len(expected), 50), template.name
        lacking += len(named)
    assert lacking > 3000


class TestTheEditorsGraph:
    def test_a_subgraph_is_looked_into_once_also_one_that_has_itself_in_it(self):
        workflow = {
            "nodes": [{"id": 1, "type": "s"}, {"id": 2, "type": "s"}, {"id": 3, "type": "unused"}],
            "definitions": {
                "subgraphs": [{"id": "s", "nodes": [{"id": 4, "type": "KSampler"}, {"id": 5, "type": "s"}]}]
            },
        }
        assert classes_of_workflow(workflow) == {"1:4": "KSampler", "3": "unused"}

    def test_what_is_muted_or_bypassed_counts_for_nothing_with_all_that_is_in_it(self):
        nodes = [
            {"id": 1, "type": "s", "mode": 4},
            {"id": 2, "type": "A", "mode": 2},
            {"id": 3, "type": "B", "mode": 0},
        ]
        subgraphs = [{"id": "s", "nodes": [{"id": 4, "type": "C"}]}]
        assert classes_of_workflow({"nodes": nodes, "definitions": {"subgraphs": subgraphs}}) == {"3": "B"}

    def test_a_group_node_stands_for_its_nodes(self):
        group = {"nodes": [{"index": 0, "type": "KSampler"}, {"index": 1, "type": "VAEDecode"}]}
        workflow = {"nodes": [{"id": 7, "type": "workflow>mine"}], "extra": {"groupNodes": {"mine": group}}}
        assert classes_of_workflow(workflow) == {"7:0": "KSampler", "7:1": "VAEDecode"}

    @pytest.mark.parametrize(
        "odd",
        [
            {},
            {"nodes": 5},
            {"nodes": [None, 5, {}, {"type": 5}, {"type": []}]},
            {"nodes": [], "definitions": {"subgraphs": [None, {}, {"id": []}]}, "extra": {"groupNodes": {"x": 5}}},
            {"nodes": [], "definitions": 5, "extra": []},
        ],
    )
    def test_nonsense_has_no_classes(self, odd: Any):
        assert classes_of_workflow(odd) == {}
