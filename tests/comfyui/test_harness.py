"""The harness itself: each ComfyUI found on this machine starts, runs prompts, and reports how they ended."""

import io
import os
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio
from PIL import Image

from .installations import Installation, InstallationError, find_installations
from .instance import Instance, Outcome, start
from .process import ComfyUIError

# A ComfyUI takes seconds to start: the tests of this file share one, and the event loop that it lives on.
pytestmark = pytest.mark.asyncio(loop_scope="module")

SLOW_AND_FAILING_NODES = """
import time

import comfy.utils


class Slow:
    RETURN_TYPES = ()
    OUTPUT_NODE = True
    FUNCTION = "run"

    @classmethod
    def INPUT_TYPES(cls):
        return {"required": {}}

    def run(self):
        bar = comfy.utils.ProgressBar(10_000)
        for _ in range(10_000):
            bar.update(1)
            time.sleep(0.01)
        return {"ui": {}}


class Failing(Slow):
    def run(self):
        raise ValueError("this node always fails")


NODE_CLASS_MAPPINGS = {"Slow": Slow, "Failing": Failing}
"""


@pytest.fixture(scope="module")
def node_package(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A node that runs for minutes unless it is interrupted, and one that fails."""
    folder = tmp_path_factory.mktemp("package")
    (folder / "__init__.py").write_text(SLOW_AND_FAILING_NODES, encoding="utf-8")
    return folder


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def comfyui(installation: Installation, python: Path, node_package: Path) -> AsyncIterator[Instance]:
    async with start(installation, python, custom_nodes={"Test-Nodes": node_package}) as instance:
        yield instance


async def test_a_prompt_saves_images_with_the_pixels_it_asks_for(comfyui: Instance):
    empty = {"width": 40, "height": 24, "batch_size": 2, "color": 0x336699}
    save = {"images": ["1", 0], "filename_prefix": "harness/image"}
    prompt_id = await comfyui.queue(
        {"1": {"class_type": "EmptyImage", "inputs": empty}, "2": {"class_type": "SaveImage", "inputs": save}}
    )

    execution = await comfyui.follow(prompt_id)

    assert execution.outcome is Outcome.SUCCESS
    assert [message.data["node"] for message in execution.messages if message.type == "executing"] == ["1", "2", None]
    images = [Image.open(io.BytesIO(await comfyui.view(**record))) for record in execution.outputs("2")["images"]]
    assert [(image.size, image.getcolors()) for image in images] == [((40, 24), [(40 * 24, (0x33, 0x66, 0x99))])] * 2


async def test_an_uploaded_image_comes_back_as_it_was(comfyui: Instance):
    content = io.BytesIO()
    Image.new("RGB", (9, 7), (1, 2, 3)).save(content, "PNG")

    uploaded = await comfyui.upload_image(content.getvalue(), "uploaded.png")

    assert await comfyui.view(uploaded["name"], type="input") == content.getvalue()
    assert (comfyui.workspace / "input" / "uploaded.png").read_bytes() == content.getvalue()


async def test_an_interrupted_prompt_ends_as_interrupted(comfyui: Instance):
    prompt_id = await comfyui.queue({"1": {"class_type": "Slow", "inputs": {}}})
    await comfyui.wait_for_message(lambda message: message.type == "progress" and message.is_about(prompt_id))

    await comfyui.interrupt()

    assert (await comfyui.follow(prompt_id)).outcome is Outcome.INTERRUPTED


async def test_a_failing_node_ends_its_prompt_with_the_nodes_words(comfyui: Instance):
    execution = await comfyui.follow(await comfyui.queue({"1": {"class_type": "Failing", "inputs": {}}}))

    assert execution.outcome is Outcome.ERROR
    (failure,) = [message for message in execution.messages if message.type == "execution_error"]
    assert failure.data["exception_message"].strip() == "this node always fails"


async def test_a_prompt_of_another_client_is_followed_without_messages(comfyui: Instance):
    prompt_id = await comfyui.queue({"1": {"class_type": "Failing", "inputs": {}}}, client_id="somebody-else")

    execution = await comfyui.follow(prompt_id)

    assert (execution.outcome, execution.messages) == (Outcome.ERROR, [])


async def test_a_refused_prompt_says_what_is_wrong_with_it(comfyui: Instance):
    with pytest.raises(ComfyUIError, match="NoSuchNode"):
        await comfyui.queue({"1": {"class_type": "NoSuchNode", "inputs": {}}})


async def test_only_nodes_that_exist_have_object_info(comfyui: Instance):
    assert await comfyui.object_info("NoSuchNode") is None
    assert (await comfyui.object_info("Slow") or {})["output_node"] is True


async def test_a_comfyui_that_cannot_start_is_reported_with_its_log(installation: Installation, python: Path):
    with pytest.raises(ComfyUIError, match="no-such-option"):
        async with start(installation, python, arguments=["--no-such-option"]):
            pytest.fail("It started.")


async def test_a_folder_without_a_comfyui_is_named_in_the_error(tmp_path: Path):
    with pytest.raises(InstallationError, match=f"{tmp_path.name} holds no ComfyUI"):
        find_installations(tmp_path, environment={"COMFYUI_PATH": str(tmp_path)}, home=tmp_path)


async def test_folders_are_found_in_comfyui_path_and_in_the_home_once_each(tmp_path: Path):
    folders = [tmp_path / "one", tmp_path / "comfy" / "ComfyUI"]
    for folder in folders:
        folder.mkdir(parents=True)
        (folder / "main.py").touch()
    named = os.pathsep.join(map(str, [*folders, ""]))

    found = find_installations(tmp_path, environment={"COMFYUI_PATH": named}, home=tmp_path)

    assert [installation.folder for installation in found[1:]] == folders
