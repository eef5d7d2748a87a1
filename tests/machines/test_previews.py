"""What a ComfyUI only shows: pictures of a sampler at work and files of preview nodes, for runs that ask for them."""

from __future__ import annotations

import json
import struct
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from comfyui_outpost.api.events import NodeExecuted, PreviewImage
from comfyui_outpost.api.server.machines.builtin import BuiltinMachine
from comfyui_outpost.api.server.machines.comfyui import ComfyUIMachine
from comfyui_outpost.api.server.machines.comfyui_messages import MAX_PREVIEW_BYTES
from comfyui_outpost.tests.fakes.comfyui import Execution, FakeComfyUI

from .jobs import INVERT, RUN_ID, SAVE, Trial, node

JPEG, PNG = b"\xff\xd8\xff a picture", b"\x89PNG a picture"


def plain(image: bytes, *, kind: int = 1, image_type: int = 1) -> bytes:
    """A preview as every version sends it to a client that has said nothing."""
    return struct.pack(">II", kind, image_type) + image


def described(image: bytes, **metadata: Any) -> bytes:
    """A preview as newer versions send it to a client that takes such ones."""
    told = json.dumps({"image_type": "image/jpeg", **metadata}).encode()
    return struct.pack(">II", 4, len(told)) + told + image


def shows(comfyui: FakeComfyUI, *messages: Any) -> None:
    """Have the ComfyUI send these; a function gets the prompt's id first."""

    async def script(execution: Execution) -> None:
        for message in messages:
            content = message(execution.prompt_id) if callable(message) else message
            await comfyui.send(execution.client_id, content)
        await execution.put_out("2", {"images": [comfyui.write("a.png")]})

    comfyui.script = script


async def test_a_preview_of_every_version_is_told_with_its_node(comfyui: FakeComfyUI, machine: ComfyUIMachine):
    shows(
        comfyui,
        {"type": "executing", "data": {"node": "1"}},
        plain(JPEG),
        plain(PNG, image_type=2),
        lambda prompt_id: described(JPEG, node_id="2.0.1", display_node_id="2", prompt_id=prompt_id),
        lambda prompt_id: described(PNG, node_id="2", prompt_id=prompt_id, image_type="image/png"),
    )

    trial = await Trial(SAVE, preview_images=True).on(machine)

    assert trial.of(PreviewImage) == [
        PreviewImage(RUN_ID, "1", "image/jpeg", JPEG),
        PreviewImage(RUN_ID, "1", "image/png", PNG),
        PreviewImage(RUN_ID, "2", "image/jpeg", JPEG),
        PreviewImage(RUN_ID, "2", "image/png", PNG),
    ]
    assert len(trial.outputs) == 1


async def test_a_comfyui_is_told_that_previews_are_wanted(comfyui: FakeComfyUI, machine: ComfyUIMachine):
    await Trial(SAVE, preview_images=True).on(machine)
    [sent] = comfyui.submitted
    assert sent["extra_data"] == {"preview_method": "auto"}
    assert comfyui.told == {RUN_ID: {"type": "feature_flags", "data": {"supports_preview_metadata": True}}}


async def test_a_run_that_did_not_ask_gets_no_preview_and_none_is_asked_for(
    comfyui: FakeComfyUI, machine: ComfyUIMachine
):
    shows(comfyui, plain(JPEG), lambda prompt_id: described(JPEG, node_id="1", prompt_id=prompt_id))

    trial = await Trial(SAVE).on(machine)

    assert trial.of(PreviewImage) == []
    assert "extra_data" not in comfyui.submitted[0]
    assert comfyui.told == {}
    assert len(trial.outputs) == 1


async def test_previews_of_other_prompts_and_what_is_none_are_left_out(comfyui: FakeComfyUI, machine: ComfyUIMachine):
    shows(
        comfyui,
        described(JPEG, node_id="1", prompt_id="somebody-else"),
        described(JPEG, node_id="1"),
        lambda prompt_id: described(JPEG, node_id="1", prompt_id=prompt_id, image_type="text/html"),
        lambda prompt_id: described(JPEG, node_id="1", prompt_id=prompt_id, image_type=["image/png"]),
        plain(JPEG, image_type=9),
        plain(JPEG, kind=2),
        plain(JPEG, kind=1 << 31),
        struct.pack(">II", 4, 1 << 31) + b"{}",
        struct.pack(">II", 4, 2) + b"[]" + JPEG,
        struct.pack(">II", 4, 100_000) + b"[" * 100_000,
        struct.pack(">I", 4),
        {"type": "preview_image", "data": {"node": "1", "image": "text"}},
    )
    trial = await Trial(SAVE, preview_images=True).on(machine)
    assert trial.of(PreviewImage) == []
    assert len(trial.outputs) == 1


async def test_a_preview_that_is_far_too_large_is_passed_over(comfyui: FakeComfyUI, machine: ComfyUIMachine):
    largest = bytes(MAX_PREVIEW_BYTES - 8)
    shows(comfyui, plain(largest), plain(largest + b"!"))
    trial = await Trial(SAVE, preview_images=True).on(machine)
    assert [len(event.data) for event in trial.of(PreviewImage)] == [len(largest)]


async def test_previews_go_on_after_a_websocket_was_cut(comfyui: FakeComfyUI, machine: ComfyUIMachine):
    async def script(execution: Execution) -> None:
        comfyui.told.clear()
        comfyui.cut_websockets()
        await comfyui.wait_until(lambda: execution.client_id in comfyui.told)
        await comfyui.send(execution.client_id, described(JPEG, node_id="1", prompt_id=execution.prompt_id))

    comfyui.script = script
    trial = await Trial(SAVE, preview_images=True).on(machine)
    assert [event.data for event in trial.of(PreviewImage)] == [JPEG]


async def test_a_preview_belongs_to_the_node_of_the_runs_own_graph(comfyui: FakeComfyUI, machine: ComfyUIMachine):
    # The External input becomes a LoadImage, and what else is sent for it still is node 1 to whoever follows the run.
    sent: dict[str, Any] = {}

    async def script(execution: Execution) -> None:
        sent.update(execution.prompt)
        for node_id in execution.prompt:
            await comfyui.send(execution.client_id, described(JPEG, node_id=node_id, prompt_id=execution.prompt_id))

    comfyui.script = script
    url = "https://platform.example/objects/inputs/photo.png"
    trial = await Trial(INVERT, {"image": url}, {url: b"pixels"}, preview_images=True).on(machine)
    assert {event.node_id for event in trial.of(PreviewImage)} == set(INVERT)
    assert len(trial.of(PreviewImage)) == len(sent)


def both(comfyui: FakeComfyUI) -> dict[str, Any]:
    """What a node puts out that saves one picture and shows another one of the same name."""
    return {
        "images": [
            comfyui.write("a.png", b"kept"),
            comfyui.write("a.png", b"shown", type="temp"),
            comfyui.write("b.png", b"the user's own", type="input"),
        ]
    }


@pytest.mark.parametrize("temporary_files", [False, True])
async def test_files_of_preview_nodes_are_outputs_only_on_request(
    comfyui: FakeComfyUI, machine: ComfyUIMachine, temporary_files: bool
):
    async def script(execution: Execution) -> None:
        await execution.put_out("2", both(comfyui))

    comfyui.script = script
    trial = await Trial(SAVE, temporary_files=temporary_files).on(machine)

    [output] = trial.outputs  # that the record tells of it again makes no second one
    contents = [(type, content) for type, (*_, content) in zip(output.types, output.files, strict=True)]
    assert contents == [("output", b"kept"), ("temp", b"shown")][: 1 + temporary_files]
    fetched = {parse_qs(urlsplit(seen.path).query)["type"][0] for seen in comfyui.log.named("GET", "/view")}
    assert fetched == ({"output", "temp"} if temporary_files else {"output"})


async def test_a_temporary_file_is_read_before_a_later_run_can_write_over_it(
    comfyui: FakeComfyUI, machine: ComfyUIMachine
):
    async def script(execution: Execution) -> None:
        await execution.put_out("2", {"images": [comfyui.write("a.png", b"first", type="temp")]})
        await comfyui.wait_until(lambda: bool(trial.outputs))
        comfyui.write("a.png", b"second", type="temp")

    comfyui.script = script
    trial = Trial(SAVE, temporary_files=True)
    await trial.on(machine)
    assert [content for output in trial.outputs for *_, content in output.files] == [b"first"]
    assert len(trial.of(NodeExecuted)) == 1


@pytest.mark.parametrize("temporary_files", [False, True])
async def test_the_built_in_machine_keeps_what_is_shown_only_on_request(temporary_files: bool):
    graph = {"1": node("EmptyImage", width=4, height=4, batch_size=2), "2": node("PreviewImage", images=["1", 0])}
    trial = await Trial(graph, temporary_files=temporary_files).on(BuiltinMachine())
    assert [output.types for output in trial.outputs] == ([["temp", "temp"]] if temporary_files else [])
    assert all(content.startswith(b"\x89PNG") for output in trial.outputs for *_, content in output.files)
