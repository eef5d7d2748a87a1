"""The example graphs: ComfyUI lists them, and they are made of nodes that it has."""

import json
from pathlib import Path

import pytest

from .conftest import REPOSITORY
from .installations import Installation
from .lane import Lane

pytestmark = pytest.mark.asyncio(loop_scope="session")

EXAMPLES = sorted((REPOSITORY / "example_workflows").glob("*.json"))
ONLY_IN_THE_PAGE = {"Note"}


async def test_every_example_is_made_of_nodes_and_inputs_that_this_comfyui_has(lane: Lane):
    assert EXAMPLES
    for file in EXAMPLES:
        graph = json.loads(file.read_text(encoding="utf-8"))
        kinds = {node["type"] for node in graph["nodes"]} - ONLY_IN_THE_PAGE
        missing = [kind for kind in sorted(kinds) if await lane.comfyui.object_info(kind) is None]
        assert missing == [], file.name
        assert any(kind.startswith(("Outpost", "ComfyUIDeploy")) for kind in kinds)


async def test_the_examples_name_no_deployment_file_or_account_of_anybody(lane: Lane):
    for file in EXAMPLES:
        text = file.read_text(encoding="utf-8")
        assert lane.api_key not in text and "http" not in text and str(Path.home()) not in text
        for node in json.loads(text)["nodes"]:
            if node["type"].startswith("Outpost") and "Deployment" in node["type"]:
                assert node["widgets_values"][0] == "", f"{file.name} names a deployment"


async def test_newer_comfyuis_offer_the_examples_as_templates(lane: Lane, installation: Installation):
    if not (installation.folder / "app" / "custom_node_manager.py").exists():
        pytest.skip("this ComfyUI has no templates of custom nodes")
    listing = await lane.comfyui.get("/workflow_templates")
    assert sorted(listing["ComfyUI-Outpost"]) == [file.stem for file in EXAMPLES]
