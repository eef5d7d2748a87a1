"""The open graph on the page: what it would take and give when it is deployed."""

from __future__ import annotations

from typing import Any

import pytest
from comfyui_outpost.tests.panel.conftest import Page

FORM = "/outpost/graphs/form"


def external(kind: str, input_id: str, **inputs: Any) -> dict[str, Any]:
    return {"class_type": f"ComfyUIDeployExternal{kind}", "inputs": {"input_id": input_id, **inputs}}


SAVE = {"class_type": "SaveImage", "inputs": {"images": ["1", 0], "output_id": "picture"}}
STEPS = external("NumberSliderInt", "steps", default_value=20, min_value=1, max_value=50, display_name="Steps")


async def described(page: Page, graph: Any) -> Any:
    """Without any platform: the graph is not sent anywhere."""
    return await page.done("POST", FORM, {"workflow_api": graph})


async def test_a_graph_is_described_as_its_deployment_would_be(page: Page):
    told = await described(page, {"1": external("Image", "photo"), "2": STEPS, "3": SAVE})

    assert [(each["input_id"], each["label"], each["is_required"]) for each in told["inputs"]] == [
        ("photo", "photo", True),
        ("steps", "Steps", False),
    ]
    widget = told["inputs"][1]["widget"]
    assert (widget["default"], widget["min"], widget["max"], widget["is_slider"]) == (20, 1, 50, True)
    assert [(each["name"], each["kind"]) for each in told["outputs"]] == [("picture", "image")]
    assert (told["open"], told["warnings"]) == (0, [])


WARNED = [
    ({}, [{"kind": "empty", "name": ""}]),
    ({"1": STEPS}, [{"kind": "no_output", "name": ""}]),
    ({"1": STEPS, "2": STEPS, "3": STEPS, "4": SAVE}, [{"kind": "twice", "name": "steps"}]),
    ({"1": external("Text", ""), "2": external("Text", ""), "3": SAVE}, []),
]


@pytest.mark.parametrize(("graph", "warnings"), WARNED)
async def test_what_a_person_should_know_is_told(page: Page, graph: Any, warnings: Any):
    assert (await described(page, graph))["warnings"] == warnings


async def test_a_graph_without_inputs_of_its_own_tells_how_many_values_are_open(page: Page):
    graph = {"1": {"class_type": "EmptyImage", "inputs": {"width": 8, "height": 8, "x": ["9", 0]}}, "2": SAVE}

    told = await described(page, graph)

    assert (told["inputs"], told["open"]) == ([], 2)


@pytest.mark.parametrize("graph", [{"1": None}, {"1": {"inputs": []}}, {"1": {"class_type": 7, "inputs": {"a": {}}}}])
async def test_a_strange_graph_is_no_failure(page: Page, graph: Any):
    assert (await described(page, graph))["inputs"] == []


@pytest.mark.parametrize("body", [{}, {"workflow_api": []}, {"workflow_api": "x"}])
async def test_what_is_no_graph_is_refused(page: Page, body: Any):
    assert (await page.send("POST", FORM, body)).status == 422
