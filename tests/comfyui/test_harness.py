"""The harness itself: each ComfyUI found on this machine starts, runs prompts, and reports how they ended."""

import io
import os
from pathlib import Path

import pytest
from PIL import Image

from .compiled import compiled
from .installations import Installation, InstallationError, find_installations
from .instance import Instance, Outcome, start
from .process import ComfyUIError

# The ComfyUIs and the platform that all tests share live on this event loop.
pytestmark = pytest.mark.asyncio(loop_scope="session")


async def test_a_prompt_saves_images_with_the_pixels_it_asks_for(stock: Instance):
    empty = {"width": 40, "height": 24, "batch_size": 2, "color": 0x336699}
    save = {"images": ["1", 0], "filename_prefix": "harness/image"}
    prompt_id = await stock.queue(
        {"1": {"class_type": "EmptyImage", "inputs": empty}, "2": {"class_type": "SaveImage", "inputs": save}}
    )

    execution = await stock.follow(prompt_id)

    assert execution.outcome is Outcome.SUCCESS
    assert [message.data["node"] for message in execution.messages if message.type == "executing"] == ["1", "2", None]
    images = [Image.open(io.BytesIO(await stock.view(**record))) for record in execution.outputs("2")["images"]]
    assert [(image.size, image.getcolors()) for image in images] == [((40, 24), [(40 * 24, (0x33, 0x66, 0x99))])] * 2


async def test_an_uploaded_image_comes_back_as_it_was(stock: Instance):
    content = io.BytesIO()
    Image.new("RGB", (9, 7), (1, 2, 3)).save(content, "PNG")

    uploaded = await stock.upload_image(content.getvalue(), "uploaded.png")

    assert await stock.view(uploaded["name"], type="input") == content.getvalue()
    assert (stock.workspace / "input" / "uploaded.png").read_bytes() == content.getvalue()


async def test_an_interrupted_prompt_ends_as_interrupted(stock: Instance):
    prompt_id = await stock.queue({"1": {"class_type": "Slow", "inputs": {}}})
    await stock.wait_for_message(lambda message: message.type == "progress" and message.is_about(prompt_id))

    await stock.interrupt()

    assert (await stock.follow(prompt_id)).outcome is Outcome.INTERRUPTED


async def test_a_failing_node_ends_its_prompt_with_the_nodes_words(stock: Instance):
    execution = await stock.follow(await stock.queue({"1": {"class_type": "Failing", "inputs": {}}}))

    assert execution.outcome is Outcome.ERROR
    (failure,) = [message for message in execution.messages if message.type == "execution_error"]
    assert failure.data["exception_message"].strip() == "this node always fails"


async def test_a_prompt_of_another_client_is_followed_without_messages(stock: Instance):
    prompt_id = await stock.queue({"1": {"class_type": "Failing", "inputs": {}}}, client_id="somebody-else")

    execution = await stock.follow(prompt_id)

    assert (execution.outcome, execution.messages) == (Outcome.ERROR, [])


async def test_a_refused_prompt_says_what_is_wrong_with_it(stock: Instance):
    with pytest.raises(ComfyUIError, match="NoSuchNode"):
        await stock.queue({"1": {"class_type": "NoSuchNode", "inputs": {}}})


async def test_only_nodes_that_exist_have_object_info(stock: Instance):
    assert await stock.object_info("NoSuchNode") is None
    assert (await stock.object_info("Slow") or {})["output_node"] is True


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


async def test_what_is_compiled_of_a_comfyui_is_in_a_copy_that_follows_its_folder_and_the_folder_stays_as_it_was(
    tmp_path: Path,
):
    folder = tmp_path / "ComfyUI"
    for part in ("comfy", "custom_nodes/mine", "models/loras", "somebodys/folder"):
        (folder / part).mkdir(parents=True)
    for file in ("main.py", "comfy/samplers.py", "custom_nodes/mine/nodes.py", "somebodys/notes.py"):
        (folder / file).write_text("NUMBER = 1\n", encoding="utf-8")
    before = sorted(folder.rglob("*"))
    [_, installation] = find_installations(tmp_path, environment={"COMFYUI_PATH": str(folder)}, home=tmp_path)

    first = compiled(installation, tmp_path / "copies")
    again = compiled(installation, tmp_path / "copies")
    (folder / "comfy" / "samplers.py").write_text("NUMBER = 22\n", encoding="utf-8")
    changed = compiled(installation, tmp_path / "copies")

    assert again == first != changed
    assert (first / "comfy" / "samplers.py").read_text(encoding="utf-8") == "NUMBER = 1\n"
    assert (changed / "comfy" / "samplers.py").read_text(encoding="utf-8") == "NUMBER = 22\n"
    assert len([*(first / "comfy" / "__pycache__").iterdir()]) == len([*(first / "__pycache__").iterdir()]) == 1
    assert (first / "models" / "loras").is_dir()
    assert not (first / "custom_nodes").exists()
    assert sorted(folder.rglob("*")) == before
    assert sorted((tmp_path / "copies").iterdir()) == sorted((first, changed))
