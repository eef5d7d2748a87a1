"""The nodes as ComfyUI sees them. Graphs that people have saved depend on every name in here."""

from __future__ import annotations

import asyncio
import copy
import inspect
import json
import sys
import types
from typing import Any

import pytest
import torch
from comfyui_outpost import NODE_CLASS_MAPPINGS, NODE_DISPLAY_NAME_MAPPINGS
from comfyui_outpost.api.errors import ConfigurationError
from comfyui_outpost.nodes.runs import AnyInputs
from comfyui_outpost.tests.server.graphs import SAVE_IMAGE

INTERFACE = {
    "OutpostUploadImage": {
        "required": ["image"],
        "optional": ["mask"],
        "types": ("STRING",),
        "names": ("url",),
        "lists": (True,),
    },
    "OutpostRunDeployment": {
        "required": ["deployment_id", "deadline_minutes"],
        "optional": [],
        "types": ("IMAGE", "MASK", "OUTPOST_RUN"),
        "names": ("image", "mask", "run"),
        "lists": (True, True, False),
    },
    "OutpostRunOutputs": {
        "required": ["run", "output"],
        "optional": [],
        "types": ("IMAGE", "MASK", "STRING"),
        "names": ("image", "mask", "text"),
        "lists": (True, True, True),
    },
}
PROMPT_ID = "5d1c9a80-the-prompt-that-is-at-work"


def test_the_ids_of_the_nodes_and_the_names_of_what_they_take_and_give_are_stable_for_ever():
    assert {
        node_id: {
            "required": list(node.INPUT_TYPES()["required"]),
            "optional": list(node.INPUT_TYPES().get("optional", {})),
            "types": node.RETURN_TYPES,
            "names": node.RETURN_NAMES,
            "lists": node.OUTPUT_IS_LIST,
        }
        for node_id, node in NODE_CLASS_MAPPINGS.items()
    } == INTERFACE
    assert set(NODE_DISPLAY_NAME_MAPPINGS) == set(INTERFACE)


@pytest.mark.parametrize("node", NODE_CLASS_MAPPINGS.values(), ids=NODE_CLASS_MAPPINGS)
def test_every_input_has_a_type_and_a_tooltip_and_every_node_a_description(node: Any):
    inputs = node.INPUT_TYPES()
    for kind, options in [*inputs["required"].values(), *inputs.get("optional", {}).values()]:
        assert isinstance(kind, str)
        assert options["tooltip"].endswith(".")
    assert node.DESCRIPTION.endswith(".")
    assert node.CATEGORY == "Outpost"
    assert len(node.RETURN_TYPES) == len(node.RETURN_NAMES) == len(node.OUTPUT_IS_LIST) == len(node.OUTPUT_TOOLTIPS)


@pytest.mark.parametrize("node", NODE_CLASS_MAPPINGS.values(), ids=NODE_CLASS_MAPPINGS)
def test_the_function_of_a_node_takes_what_the_node_declares(node: Any):
    inputs = node.INPUT_TYPES()
    declared = {*inputs["required"], *inputs.get("optional", {}), *inputs.get("hidden", {})}
    parameters = inspect.signature(getattr(node, node.FUNCTION)).parameters

    assert declared == {name for name, each in parameters.items() if each.kind is not each.VAR_KEYWORD} - {"self"}


def test_the_inputs_of_a_run_are_any_and_none_is_listed():
    inputs = NODE_CLASS_MAPPINGS["OutpostRunDeployment"].INPUT_TYPES()["optional"]

    assert isinstance(inputs, AnyInputs)
    assert "whatever it is called" in inputs
    assert inputs["whatever it is called"] == ("*", {"forceInput": True})
    assert (list(inputs), len(inputs), json.dumps(inputs)) == ([], 0, "{}")
    assert "anything" in copy.deepcopy(inputs)


def test_no_node_asks_for_a_key_or_an_address():
    for node in NODE_CLASS_MAPPINGS.values():
        for name in node.INPUT_TYPES()["required"]:
            assert not any(word in name for word in ("key", "token", "secret", "url", "host"))


class _Bar:
    def __init__(self, total: int, node_id: str | None = None) -> None:
        self.node_id = node_id

    def update_absolute(self, value: int, total: int, preview: object = None) -> None: ...


class _Queue:
    currently_running = {0: (0, PROMPT_ID, {}, {}, [])}  # noqa: RUF012 ComfyUI's, and nobody changes it


@pytest.fixture
def inside_comfyui(monkeypatch: pytest.MonkeyPatch, place) -> None:
    """The few modules of ComfyUI that a node meets, and a connection in the environment."""
    management = types.ModuleType("comfy.model_management")
    management.InterruptProcessingException = type("InterruptProcessingException", (Exception,), {})
    management.throw_exception_if_processing_interrupted = lambda: None
    utils = types.ModuleType("comfy.utils")
    utils.ProgressBar = _Bar
    comfy = types.ModuleType("comfy")
    comfy.model_management, comfy.utils = management, utils
    server = types.ModuleType("server")
    server.PromptServer = types.SimpleNamespace(instance=types.SimpleNamespace(prompt_queue=_Queue()))
    for name, module in (("comfy", comfy), ("comfy.model_management", management), ("comfy.utils", utils)):
        monkeypatch.setitem(sys.modules, name, module)
    monkeypatch.setitem(sys.modules, "server", server)
    monkeypatch.setenv("OUTPOST_BASE_URL", place.site.url)
    monkeypatch.setenv("OUTPOST_API_KEY", place.platform.owner.api_key)


async def test_upload_run_and_outputs_work_together_in_a_graph(inside_comfyui, place):
    upload, run, outputs = (NODE_CLASS_MAPPINGS[node_id]() for node_id in INTERFACE)
    deployment_id = await place.deploy(SAVE_IMAGE)
    image, mask = torch.full((1, 3, 2, 3), 0.2), torch.tensor([[[0.0, 1.0], [0.2, 0.4], [0.6, 0.8]]])

    def graph() -> Any:
        ([url],) = upload.run(image=image, mask=mask, unique_id="1")
        images, masks, done = run.run(deployment_id=deployment_id, deadline_minutes=1.0, unique_id="5:3", image=url)
        return images, masks, outputs.run(run=done, output="result")

    images, masks, picked = await asyncio.to_thread(graph)

    assert torch.equal(images[0], image)
    assert torch.allclose(masks[0], mask)
    assert torch.equal(picked[0][0], image)
    submissions = [each for each in place.site.headers if "Outpost-Prompt-Id" in each]
    assert [each["Outpost-Prompt-Id"] for each in submissions] == [PROMPT_ID]


async def test_without_a_connection_a_node_says_what_to_do(inside_comfyui, monkeypatch, tmp_path):
    monkeypatch.delenv("OUTPOST_BASE_URL")
    monkeypatch.delenv("OUTPOST_API_KEY")
    monkeypatch.setenv("OUTPOST_SETTINGS", str(tmp_path / "none.json"))
    upload = NODE_CLASS_MAPPINGS["OutpostUploadImage"]()

    with pytest.raises(ConfigurationError, match=r"No platform is set up. Set OUTPOST_BASE_URL"):
        await asyncio.to_thread(upload.run, image=torch.zeros(1, 2, 2, 3), unique_id="1")
