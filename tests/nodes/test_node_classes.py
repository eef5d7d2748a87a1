"""The nodes as ComfyUI sees them. Graphs that people have saved depend on every name in here."""

from __future__ import annotations

import asyncio
import copy
import inspect
from typing import Any

import pytest
import torch
from comfyui_outpost import NODE_CLASS_MAPPINGS, NODE_DISPLAY_NAME_MAPPINGS
from comfyui_outpost.api.errors import ConfigurationError
from comfyui_outpost.nodes.runs import AnyInputs
from comfyui_outpost.tests.nodes import comfyui_modules
from comfyui_outpost.tests.server.graphs import SAVE_IMAGE

UPLOADED = {"types": ("STRING", "OUTPOST_FILE"), "names": ("url", "file"), "lists": (True, True)}


def upload(*required: str, optional: tuple[str, ...] = ()) -> dict[str, Any]:
    return {"required": list(required), "optional": list(optional), **UPLOADED}


def taken(kind: str, name: str, *more: str) -> dict[str, Any]:
    return {"required": ["run", "output", *more], "optional": [], "types": (kind,), "names": (name,), "lists": (True,)}


INTERFACE: dict[str, dict[str, Any]] = {
    "OutpostUploadImage": upload("image", optional=("mask", "precision")),
    "OutpostUploadMask": upload("mask"),
    "OutpostUploadVideo": upload(optional=("video", "image", "fps", "audio")),
    "OutpostUploadAudio": upload("audio"),
    "OutpostUploadLatent": upload("latent"),
    "OutpostUploadFile": upload("file"),
    "OutpostRunDeployment": {
        "required": ["deployment_id", "deadline_minutes"],
        "optional": ["always_run", "outputs"],
        "types": ("IMAGE", "MASK", "OUTPOST_RUN"),
        "names": ("image", "mask", "run"),
        "lists": (True, True, False),
    },
    "OutpostQueueDeployment": {
        "required": ["deployment_id"],
        "optional": ["always_run"],
        "types": ("OUTPOST_PENDING_RUN", "STRING"),
        "names": ("run", "run_id"),
        "lists": (False, False),
    },
    "OutpostWaitForRuns": {
        "required": ["deadline_minutes", "on_failure"],
        "optional": ["run_1", "run_ids"],
        "types": ("IMAGE", "MASK", "OUTPOST_RUN", "STRING"),
        "names": ("image", "mask", "runs", "messages"),
        "lists": (True, True, True, True),
    },
    "OutpostRunDeploymentForEach": {
        "required": ["deployment_id", "at_most", "on_failure", "deadline_minutes"],
        "optional": ["always_run", "outputs"],
        "types": ("IMAGE", "MASK", "OUTPOST_RUN", "STRING"),
        "names": ("image", "mask", "runs", "messages"),
        "lists": (True, True, True, True),
    },
    "OutpostRunOutputs": {
        "required": ["run", "output"],
        "optional": [],
        "types": ("IMAGE", "MASK", "STRING"),
        "names": ("image", "mask", "text"),
        "lists": (True, True, True),
    },
    "OutpostRunImages": taken("IMAGE", "image"),
    "OutpostRunMasks": taken("MASK", "mask", "channel"),
    "OutpostRunVideo": taken("VIDEO", "video"),
    "OutpostRunAudio": taken("AUDIO", "audio"),
    "OutpostRunText": taken("STRING", "text"),
    "OutpostRunLatent": taken("LATENT", "latent"),
    "OutpostRun3D": taken("STRING", "model_file"),
    "OutpostRunFiles": taken("STRING", "path"),
    "OutpostVideoFrames": {
        "required": ["video"],
        "optional": [],
        "types": ("IMAGE", "AUDIO", "FLOAT"),
        "names": ("image", "audio", "fps"),
        "lists": (False, False, False),
    },
    "OutpostDownloadImage": {
        "required": [],
        "optional": ["url", "file"],
        "types": ("IMAGE", "MASK"),
        "names": ("image", "mask"),
        "lists": (False, False),
    },
    "OutpostLoadAsset": {
        "required": ["asset_id"],
        "optional": [],
        "types": ("IMAGE", "MASK", "STRING", "OUTPOST_FILE"),
        "names": ("image", "mask", "url", "file"),
        "lists": (False, False, False, False),
    },
    "OutpostSaveToAssets": {
        "required": ["name", "folder"],
        "optional": ["image", "mask", "video", "audio", "file", "output_file"],
        "types": ("STRING",),
        "names": ("asset_id",),
        "lists": (True,),
    },
}
CATEGORIES = ("Outpost", "Outpost/Results", "Outpost/Files")
OURS = {node_id: node for node_id, node in NODE_CLASS_MAPPINGS.items() if node_id.startswith("Outpost")}


@pytest.fixture(autouse=True)
def comfyui_modules_are_there(monkeypatch: pytest.MonkeyPatch, tmp_path: Any) -> None:
    comfyui_modules.install(monkeypatch, tmp_path / "comfyui")


def test_the_ids_of_the_nodes_and_the_names_of_what_they_take_and_give_are_stable_for_ever():
    assert {
        node_id: {
            "required": list(node.INPUT_TYPES()["required"]),
            "optional": list(node.INPUT_TYPES().get("optional", {})),
            "types": tuple(node.RETURN_TYPES),
            "names": node.RETURN_NAMES,
            "lists": node.OUTPUT_IS_LIST[: len(node.RETURN_NAMES)],
        }
        for node_id, node in OURS.items()
    } == INTERFACE
    assert set(NODE_DISPLAY_NAME_MAPPINGS) == set(NODE_CLASS_MAPPINGS)
    assert all(NODE_DISPLAY_NAME_MAPPINGS[node_id].endswith(" (Outpost)") for node_id in OURS)


def test_nodes_that_run_stand_apart_from_those_for_results_and_files_and_no_result_reads_like_an_order():
    categories = {node_id.removeprefix("Outpost"): node.CATEGORY for node_id, node in OURS.items()}
    run = ("RunDeployment", "QueueDeployment", "WaitForRuns", "RunDeploymentForEach")
    files = ("Upload", "Download", "LoadAsset", "SaveToAssets")
    assert categories == {
        name: "Outpost" if name in run else "Outpost/Files" if name.startswith(files) else "Outpost/Results"
        for name in categories
    }
    results = {
        NODE_DISPLAY_NAME_MAPPINGS[f"Outpost{name}"] for name in categories if categories[name].endswith("Results")
    }
    assert {"Images of a Run (Outpost)", "3D Model of a Run (Outpost)", "Outputs of a Run (Outpost)"} < results
    assert not any(name.startswith("Run ") for name in results)


@pytest.mark.parametrize("node", OURS.values(), ids=OURS)
def test_every_input_has_a_type_and_a_tooltip_and_every_node_a_description(node: Any):
    inputs = node.INPUT_TYPES()
    for kind, options in [*inputs["required"].values(), *inputs.get("optional", {}).values()]:
        assert isinstance(kind, (str, list)), "a list holds what there is to choose from"
        assert options["tooltip"].endswith(".")
    assert node.DESCRIPTION.endswith(".")
    assert node.CATEGORY in CATEGORIES
    assert len(tuple(node.RETURN_TYPES)) == len(node.RETURN_NAMES) == len(node.OUTPUT_TOOLTIPS)
    assert len(node.OUTPUT_IS_LIST) == len(node.RETURN_TYPES)
    assert all(tooltip.endswith(".") for tooltip in node.OUTPUT_TOOLTIPS)


@pytest.mark.parametrize("node", OURS.values(), ids=OURS)
def test_the_function_of_a_node_takes_what_the_node_declares(node: Any):
    inputs = node.INPUT_TYPES()
    declared = {*inputs["required"], *inputs.get("optional", {}), *inputs.get("hidden", {})}
    parameters = inspect.signature(getattr(node, node.FUNCTION)).parameters

    named = {name for name, each in parameters.items() if each.kind is not each.VAR_KEYWORD} - {"self"}
    takes_others = any(each.kind is each.VAR_KEYWORD for each in parameters.values())
    assert named <= declared if takes_others else named == declared


def test_the_inputs_of_a_run_are_any_and_none_is_listed():
    inputs = NODE_CLASS_MAPPINGS["OutpostRunDeployment"].INPUT_TYPES()["optional"]

    assert isinstance(inputs, AnyInputs)
    assert "whatever it is called" in inputs
    assert inputs["whatever it is called"] == ("*", {"forceInput": True})
    assert list(inputs) == ["always_run", "outputs"]
    assert "anything" in copy.deepcopy(inputs)


def test_no_node_asks_for_a_key_or_an_address():
    for node in OURS.values():
        for name in node.INPUT_TYPES()["required"]:
            assert not any(word in name for word in ("key", "token", "secret", "url", "host"))


async def test_upload_run_and_outputs_work_together_in_a_graph(inside_comfyui, place):
    names = ("OutpostUploadImage", "OutpostRunDeployment", "OutpostRunOutputs")
    upload, run, outputs = (NODE_CLASS_MAPPINGS[name]() for name in names)
    deployment_id = await place.deploy(SAVE_IMAGE)
    image, mask = torch.full((1, 3, 2, 3), 0.2), torch.tensor([[[0.0, 1.0], [0.2, 0.4], [0.6, 0.8]]])

    def graph() -> Any:
        [_], [file] = upload.run(image=image, mask=mask, unique_id="1")
        answer = run.run(deployment_id=deployment_id, deadline_minutes=1.0, unique_id="5:3", image=file)
        images, masks, done = answer["result"]
        return images, masks, outputs.run(run=done, output="result")

    images, masks, picked = await asyncio.to_thread(graph)

    assert torch.equal(images[0], image)
    assert torch.allclose(masks[0], mask)
    assert torch.equal(picked[0][0], image)
    submissions = [each for each in place.site.headers if "Outpost-Prompt-Id" in each]
    assert [each["Outpost-Prompt-Id"] for each in submissions] == [comfyui_modules.PROMPT_ID]


async def test_without_a_connection_a_node_says_what_to_do(inside_comfyui, monkeypatch, tmp_path):
    monkeypatch.delenv("OUTPOST_BASE_URL")
    monkeypatch.delenv("OUTPOST_API_KEY")
    monkeypatch.setenv("OUTPOST_SETTINGS", str(tmp_path / "none.json"))
    upload = NODE_CLASS_MAPPINGS["OutpostUploadImage"]()

    with pytest.raises(ConfigurationError, match=r"No platform is set up. Start one on this computer"):
        await asyncio.to_thread(upload.run, image=torch.zeros(1, 2, 2, 3), unique_id="1")
