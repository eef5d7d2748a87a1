"""A run on a ComfyUI by its URL: what is sent, what is told of it, and what comes back."""

from __future__ import annotations

import asyncio
import base64
import json
import struct
from typing import Any

import aiohttp
import pytest
from aiohttp import web
from comfyui_outpost.api.events import (
    ExecutionCached,
    ExecutionStarted,
    ExecutionSucceeded,
    LiveStatus,
    NodeExecuted,
    NodeProgress,
    NodesProgress,
    NodeStarted,
    Rejected,
)
from comfyui_outpost.api.server.machines import MachineError, MachineSettings
from comfyui_outpost.api.server.machines.comfyui import ComfyUIMachine
from comfyui_outpost.api.server.machines.comfyui_messages import words
from comfyui_outpost.tests.fakes.comfyui import Execution, FakeComfyUI, Interrupted, NodeFailed, node_class
from comfyui_outpost.tests.fakes.flaky import answer, text
from comfyui_outpost.tests.fakes.serving import served

from .conftest import HASTE
from .jobs import IMAGE_URL, INVERT, RUN_ID, SAVE, SIGNATURE, Trial, external, node


async def test_a_run_is_sent_once_and_its_output_comes_back(comfyui: FakeComfyUI, machine: ComfyUIMachine):
    trial = await Trial(SAVE).on(machine)

    [sent] = comfyui.submitted
    assert sent == {
        "prompt": {**SAVE, "2": node("SaveImage", images=["1", 0], filename_prefix="kept")},
        "client_id": RUN_ID,
    }
    [output] = trial.outputs
    assert (output.node_id, output.node_class, output.output_id) == ("2", "SaveImage", "result")
    assert output.files == [("images", "2_00001_.png", "image/png", b"a picture")]
    assert [event.node_id for event in trial.of(NodeStarted)] == ["1", "2", None]
    assert trial.of(ExecutionStarted) == [ExecutionStarted(RUN_ID)]
    assert trial.of(ExecutionSucceeded) == [ExecutionSucceeded(RUN_ID)]
    assert [event.node_id for event in trial.of(NodeExecuted)] == ["2"]


async def test_a_file_is_uploaded_once_for_all_runs_that_have_its_content(
    comfyui: FakeComfyUI, machine: ComfyUIMachine
):
    other = "https://platform.example/objects/inputs/other.png?s=2"
    files = {IMAGE_URL: b"pixels", other: b"pixels"}

    await Trial(INVERT, {"image": IMAGE_URL}, files).on(machine)
    await Trial(INVERT, {"image": other}, files).on(machine)

    [name] = comfyui.uploads
    assert comfyui.uploads[name] == b"pixels"
    assert [sent["prompt"]["1"]["inputs"]["image"] for sent in comfyui.submitted] == [name, name]
    assert len(comfyui.log.named("POST", "/upload/image")) == 1
    assert SIGNATURE not in str(comfyui.log)


async def test_two_runs_at_once_upload_the_same_content_once(comfyui: FakeComfyUI, machine: ComfyUIMachine):
    trials = [Trial(INVERT, {"image": IMAGE_URL}, {IMAGE_URL: b"pixels"}, run_id=f"run-{n}") for n in range(4)]
    await asyncio.gather(*(trial.on(machine) for trial in trials))
    assert len(comfyui.log.named("POST", "/upload/image")) == 1
    assert all(len(trial.outputs) == 1 for trial in trials)


async def test_a_file_that_a_full_disk_has_cut_is_uploaded_anew(comfyui: FakeComfyUI, machine: ComfyUIMachine):
    trial = Trial(INVERT, {"image": IMAGE_URL}, {IMAGE_URL: b"pixels"})
    await trial.on(machine)
    [name] = comfyui.uploads
    comfyui.uploads[name] = b"pix"

    await trial.on(machine)

    assert comfyui.uploads == {name: b"pixels"}


class Changing(dict[str, bytes]):
    """Files of which every reading brings the next content."""

    def __init__(self, url: str, *contents: bytes) -> None:
        super().__init__({url: contents[-1]})
        self._contents = iter(contents)

    def __getitem__(self, url: str) -> bytes:
        return next(self._contents)


@pytest.mark.parametrize("second", [b"poison", b"poison and more", b"p", b""])
async def test_a_file_that_changes_while_it_is_uploaded_fails_the_run_and_is_nobodys(
    comfyui: FakeComfyUI, machine: ComfyUIMachine, second: bytes
):
    changing = Trial(INVERT, {"image": IMAGE_URL}, Changing(IMAGE_URL, b"pixels", second))

    failure = (await changing.failure_on(machine)).failure

    assert failure.message == "A file of the run has changed while it was sent to the machine: start the run again"
    assert comfyui.uploads == {}
    assert comfyui.submitted == []

    await Trial(INVERT, {"image": IMAGE_URL}, {IMAGE_URL: b"pixels"}, run_id="another").on(machine)
    assert list(comfyui.uploads.values()) == [b"pixels"]


async def test_a_file_that_changes_leaves_one_that_was_cut_as_cut(comfyui: FakeComfyUI, machine: ComfyUIMachine):
    await Trial(INVERT, {"image": IMAGE_URL}, {IMAGE_URL: b"pixels"}).on(machine)
    [name] = comfyui.uploads
    comfyui.uploads[name] = b"pix"

    await Trial(INVERT, {"image": IMAGE_URL}, Changing(IMAGE_URL, b"pixels", b"poison")).failure_on(machine)

    assert comfyui.uploads == {name: b"pix"}


async def test_a_file_that_is_deleted_while_it_is_uploaded_fails_the_run_with_its_reason(
    comfyui: FakeComfyUI, machine: ComfyUIMachine
):
    class Deleted(dict[str, bytes]):
        def __getitem__(self, url: str) -> bytes:
            return self.pop(url)

    trial = Trial(INVERT, {"image": IMAGE_URL}, Deleted({IMAGE_URL: b"pixels"}))
    failure = (await trial.failure_on(machine)).failure
    assert failure.message == "image: There is no such object: it was deleted"
    assert comfyui.uploads == {}


async def test_a_data_url_is_uploaded_as_its_bytes(comfyui: FakeComfyUI, machine: ComfyUIMachine):
    url = "data:image/png;base64," + base64.b64encode(b"pixels").decode()
    await Trial(INVERT, {"image": url}).on(machine)
    [(name, content)] = comfyui.uploads.items()
    assert content == b"pixels"
    assert name.endswith(".png")


@pytest.mark.parametrize(
    ("file", "reason"),
    [
        ("data:image/png;base64,?", "image: the data: URL is not valid base64"),
        ("https://elsewhere.example/a.png", "image: There is no such object: it was deleted"),
    ],
)
async def test_a_file_that_cannot_be_read_fails_the_run_before_it_is_sent_and_names_its_input(
    comfyui: FakeComfyUI, machine: ComfyUIMachine, file: str, reason: str
):
    error = await Trial(INVERT, {"image": file}).failure_on(machine)
    assert error.failure.message == reason
    assert comfyui.submitted == []


async def test_a_default_that_cannot_be_read_is_named_by_its_input_and_what_is_fixed_in_the_graph_by_none(
    comfyui: FakeComfyUI, machine: ComfyUIMachine
):
    file = "https://elsewhere.example/a.png"
    default = {**INVERT, "1": external("Image", "photo", default_value_url=file)}
    fixed = {**INVERT, "1": node("LoadImage", image=file)}
    reason = "There is no such object: it was deleted"
    assert (await Trial(default).failure_on(machine)).failure.message == f"photo: {reason}"
    assert (await Trial(fixed).failure_on(machine)).failure.message == f"A file of the run cannot be read: {reason}"


async def test_every_file_and_text_that_a_node_reports_comes_back_but_previews(
    comfyui: FakeComfyUI, machine: ComfyUIMachine
):
    async def script(execution: Execution) -> None:
        ui = {
            "images": [comfyui.write("a.png"), comfyui.write("b.png", type="temp")],
            "gifs": [comfyui.write("film.mp4", b"film", subfolder="video/today")],
            "audio": [comfyui.write("sound.flac", b"sound")],
            "3d": [comfyui.write("mesh.glb", b"mesh")],
            "latents": [comfyui.write("noise.latent", b"noise")],
            "text": ["first", "second"],
            "animated": [True],
            "result": ["some/path.glb", {"camera": 1}],
            "width": [512],
            "broken": [{"filename": 5}, None, {"type": "output"}],
        }
        await execution.put_out("2", ui)

    comfyui.script = script
    trial = await Trial(SAVE).on(machine)

    [output] = trial.outputs
    assert [(kind, name, content) for kind, name, _, content in output.files] == [
        ("images", "a.png", b"a picture"),
        ("gifs", "film.mp4", b"film"),
        ("audio", "sound.flac", b"sound"),
        ("3d", "mesh.glb", b"mesh"),
        ("latents", "noise.latent", b"noise"),
    ]
    types = [content_type for _, _, content_type, _ in output.files]
    assert types == ["image/png", "video/mp4", "audio/flac", "model/gltf-binary", "application/octet-stream"]
    assert output.texts == ["first", "second"]


async def test_a_large_output_is_never_held_as_a_whole(comfyui: FakeComfyUI, machine: ComfyUIMachine):
    async def script(execution: Execution) -> None:
        await execution.put_out("2", {"files": [comfyui.write("large.bin", bytes(32 * 1024 * 1024))]})

    comfyui.script = script
    trial = await Trial(SAVE).on(machine)

    assert len(trial.outputs) == 1
    assert 0 < trial.largest_chunk <= 512 * 1024


async def test_outputs_arrive_while_the_run_goes_on(comfyui: FakeComfyUI, machine: ComfyUIMachine):
    may_end = asyncio.Event()

    async def script(execution: Execution) -> None:
        await execution.put_out("2", {"text": ["early"]})
        await may_end.wait()

    comfyui.script = script
    trial = Trial(SAVE)
    run = trial.start_on(machine)
    await comfyui.wait_until(lambda: comfyui.running is not None)
    while not trial.outputs:
        await asyncio.sleep(0)
    assert not run.done()
    may_end.set()
    await run
    assert [output.texts for output in trial.outputs] == [["early"]]


async def test_results_that_the_comfyui_still_had_come_back_from_its_record(
    comfyui: FakeComfyUI, machine: ComfyUIMachine
):
    async def script(execution: Execution) -> None:
        await execution.say("execution_cached", nodes=["1", "2"])
        execution.outputs["2"] = {"images": [comfyui.write("kept.png")]}

    comfyui.script = script
    trial = await Trial(SAVE).on(machine)

    assert trial.of(ExecutionCached) == [ExecutionCached(RUN_ID, ("1", "2"))]
    assert [file[1] for file in trial.outputs[0].files] == ["kept.png"]


async def test_nodes_that_were_made_while_executing_are_told_of_as_those_that_made_them(
    comfyui: FakeComfyUI, machine: ComfyUIMachine
):
    async def script(execution: Execution) -> None:
        await execution.say("executing", node="2.0.0.1", display_node="2")
        await execution.say("executed", node="2.0.0.1", display_node="2", output={"text": ["said"]})
        execution.outputs["2.0.0.1"] = {"text": ["said"]}
        execution.meta["2.0.0.1"] = {"node_id": "2.0.0.1", "display_node": "2"}

    comfyui.script = script
    trial = await Trial(SAVE).on(machine)

    assert [event.node_id for event in trial.of(NodeStarted)] == ["2", None]
    assert [(output.node_id, output.output_id, output.texts) for output in trial.outputs] == [("2", "result", ["said"])]


async def test_nodes_that_were_added_are_told_of_as_the_node_that_they_belong_to(
    comfyui: FakeComfyUI, machine: ComfyUIMachine
):
    graph = {"1": external("ImageBatch", "images"), "2": node("SaveImage", images=["1", 0])}
    urls = [f"https://platform.example/{number}.png" for number in range(3)]
    files = {url: url.encode() for url in urls}

    trial = await Trial(graph, {"images": json.dumps(urls)}, files).on(machine)

    assert {event.node_id for event in trial.of(NodeStarted)} == {"1", "2", None}
    assert "Executing ComfyUIDeployExternalImageBatch" in {event.text for event in trial.of(LiveStatus)}


async def test_progress_is_told_per_node_and_over_the_whole_graph(comfyui: FakeComfyUI, machine: ComfyUIMachine):
    async def script(execution: Execution) -> None:
        await execution.say("executing", node="1")
        for step in range(4):
            await execution.say("progress", node="1", value=step + 1, max=4)
        state = {"1": {"value": 2, "max": 4}, "x": {"value": 1, "max": 0}, "y": None, "2": {"display_node_id": "2"}}
        await execution.say("progress_state", nodes=state)
        await execution.say("progress", node="1", value="much", max=4)
        await execution.say("executing", node="2")

    comfyui.script = script
    trial = await Trial(SAVE).on(machine)

    assert [(event.value, event.maximum) for event in trial.of(NodeProgress)] == [(1, 4), (2, 4), (3, 4), (4, 4)]
    assert trial.of(NodesProgress) == [NodesProgress(RUN_ID, {"1": 0.5})]
    shares = [event.progress for event in trial.of(LiveStatus)]
    assert shares == sorted(shares)
    assert shares == [0, 0.125, 0.25, 0.375, 0.5, 0.5]
    assert trial.of(LiveStatus)[-1].text == "Executing SaveImage"


async def test_only_this_prompt_is_listened_to_and_what_makes_no_sense_is_left_out(
    comfyui: FakeComfyUI, machine: ComfyUIMachine
):
    async def script(execution: Execution) -> None:
        jpeg, metadata = b"\xff\xd8jpeg", b'{"node_id": "1"}'
        for message in (
            "{half",
            "[]",
            '{"type": 5}',
            b"",
            b"\x00\x00\x00\x01\x00\x00\x00\x01" + jpeg,
            struct.pack(">II", 4, len(metadata)) + metadata + jpeg,
            struct.pack(">II", 3, 1) + b"1waiting for a GPU",
            struct.pack(">II", 3, 1 << 31) + b"1",
            {"type": "executing", "data": {"node": "1", "prompt_id": "somebody-else"}},
            {"type": "executing", "data": {"node": None, "prompt_id": "somebody-else"}},
            {"type": "executed", "data": {"node": "1", "output": None}},
            {"type": "a_custom_node_says", "data": [1, 2]},
        ):
            await comfyui.send(execution.client_id, message)
        await execution.put_out("2", {"text": ["done"]})

    comfyui.script = script
    trial = await Trial(SAVE).on(machine)

    assert trial.outputs[0].texts == ["done"]
    assert [event.node_id for event in trial.of(NodeStarted)] == [None]
    assert "waiting for a GPU" in {event.text for event in trial.of(LiveStatus)}


async def test_a_failing_node_is_the_runs_failure_in_the_words_of_the_runs_own_graph(
    comfyui: FakeComfyUI, machine: ComfyUIMachine
):
    async def script(execution: Execution) -> None:
        message = "cannot read '/home/somebody/ComfyUI/input/a.png' or https://x.example/a?sig=secret\n"
        raise NodeFailed(
            node_id="1", node_type="LoadImage", exception_message=message, exception_type="PIL.UnidentifiedImageError"
        )

    comfyui.script = script
    failure = (await Trial(INVERT, {"image": IMAGE_URL}, {IMAGE_URL: b"x"}).failure_on(machine)).failure

    assert (failure.node_id, failure.node_class) == ("1", "ComfyUIDeployExternalImage")
    assert failure.exception_type == "UnidentifiedImageError"
    assert failure.message == "cannot read 'a.png' or https://x.example/a?…"


async def test_a_run_that_somebody_interrupts_on_the_machine_fails(comfyui: FakeComfyUI, machine: ComfyUIMachine):
    async def script(execution: Execution) -> None:
        raise Interrupted

    comfyui.script = script
    assert "interrupted" in (await Trial(SAVE).failure_on(machine)).failure.message


async def test_a_refused_graph_is_told_with_node_and_reason(comfyui: FakeComfyUI, machine: ComfyUIMachine):
    reason = {"type": "value_not_in_list", "message": "Value not in list", "details": "ckpt_name: 'x' not in []"}
    reason["extra_info"] = {"everything": "that would be right"}
    node_errors = {"1": {"errors": [reason], "class_type": "EmptyImage"}, "2": {"errors": []}}
    answers = answer({"error": {"message": "Prompt outputs failed validation"}, "node_errors": node_errors}, 400)
    comfyui.fail("/prompt", answers)
    trial = Trial(SAVE)

    failure = (await trial.failure_on(machine)).failure

    assert (failure.node_id, failure.node_class, failure.exception_type) == ("1", "EmptyImage", "value_not_in_list")
    assert failure.message == "Value not in list: ckpt_name: 'x' not in [] (and 1 more nodes)"
    [rejected] = trial.of(Rejected)
    assert rejected.failure == failure
    told = {"type": "value_not_in_list", "message": "Value not in list: ckpt_name: 'x' not in []"}
    assert rejected.node_errors["1"] == {"class_type": "EmptyImage", "errors": [told]}


@pytest.mark.parametrize(
    ("status", "body"),
    [
        (400, {"error": {"type": "prompt_no_outputs", "message": "Prompt has no outputs", "details": ""}}),
        (400, {"error": "a text", "node_errors": []}),
        (400, {"node_errors": {"1": None}}),
        (500, "500 Internal Server Error"),
        (400, None),
    ],
)
async def test_a_refusal_of_any_shape_is_a_failure(
    comfyui: FakeComfyUI, machine: ComfyUIMachine, status: int, body: Any
):
    comfyui.fail("/prompt", text(json.dumps(body) if isinstance(body, dict) else str(body), status))
    trial = Trial(SAVE)
    failure = (await trial.failure_on(machine)).failure
    assert failure.message
    assert len(trial.of(Rejected)) == 1
    assert len(comfyui.log.named("POST", "/prompt")) == 1


async def test_a_graph_of_which_only_a_part_would_be_executed_is_not_executed_at_all(
    comfyui: FakeComfyUI, machine: ComfyUIMachine
):
    accepted = comfyui._submit

    async def accept_a_part(request: Any) -> Any:
        given = json.loads((await accepted(request)).body)
        node_errors = {"2": {"errors": [{"type": "t", "message": "Required input is missing", "details": "images"}]}}
        return await answer({**given, "node_errors": node_errors})(request)

    async def script(execution: Execution) -> None:
        await execution.work_for_ever()

    comfyui.script = script
    comfyui.fail("/prompt", accept_a_part)
    trial = Trial(SAVE)

    assert (await trial.failure_on(machine)).failure.message == "Required input is missing: images"
    await comfyui.wait_until(lambda: comfyui.running is None and not comfyui.pending)
    assert trial.outputs == []


async def test_a_class_that_is_lacking_fails_the_run_before_it_is_sent(comfyui: FakeComfyUI, machine: ComfyUIMachine):
    graph = {"1": node("Fancy/Image + Loader?"), "2": node("SaveImage", images=["1", 0])}
    failure = (await Trial(graph).failure_on(machine)).failure
    assert (failure.node_id, failure.node_class) == ("1", "Fancy/Image + Loader?")
    assert comfyui.submitted == []

    comfyui.classes["Fancy/Image + Loader?"] = node_class()
    await Trial(graph).on(machine)
    assert len(comfyui.submitted) == 1


async def test_a_model_that_came_later_is_found(comfyui: FakeComfyUI, machine: ComfyUIMachine):
    graph = {
        "1": node("CheckpointLoaderSimple", ckpt_name="new/model.safetensors"),
        "2": node("SaveImage", images=["1", 0]),
    }
    await Trial(graph).on(machine)
    comfyui.classes["CheckpointLoaderSimple"] = node_class(ckpt_name=[["new\\model.safetensors"]])
    await Trial(graph).on(machine)
    asked = [sent["prompt"]["1"]["inputs"]["ckpt_name"] for sent in comfyui.submitted]
    assert asked == ["new/model.safetensors", "new\\model.safetensors"]


async def test_what_a_comfyui_tells_of_its_nodes_is_remembered(comfyui: FakeComfyUI, machine: ComfyUIMachine):
    await Trial(SAVE).on(machine)
    asked = len(comfyui.log.named("GET", "/object_info/SaveImage"))
    await Trial(SAVE).on(machine)
    assert (asked, len(comfyui.log.named("GET", "/object_info/SaveImage"))) == (1, 1)


async def test_a_cancelled_run_that_waits_leaves_the_queue_and_hurts_no_other(
    comfyui: FakeComfyUI, machine: ComfyUIMachine
):
    async def script(execution: Execution) -> None:
        await execution.work_for_ever()

    comfyui.script = script
    first, second = Trial(SAVE, run_id="first"), Trial(SAVE, run_id="second")
    running = first.start_on(machine)
    await comfyui.wait_until(lambda: comfyui.running is not None)
    waiting = second.start_on(machine)
    await comfyui.wait_until(lambda: len(comfyui.pending) == 1)

    await cancel(waiting)

    assert (comfyui.pending, comfyui.interruptions) == ([], [])
    assert comfyui.running is not None
    await cancel(running)
    assert comfyui.running is None


@pytest.mark.parametrize("is_old", [False, True])
async def test_a_cancelled_run_at_work_is_interrupted_and_its_task_ends_when_it_has_stopped(
    comfyui: FakeComfyUI, machine: ComfyUIMachine, is_old: bool
):
    stopped = []

    async def script(execution: Execution) -> None:
        try:
            await execution.work_for_ever()
        finally:
            await asyncio.sleep(0.05)  # what a node takes to notice
            stopped.append(execution.prompt_id)

    comfyui.is_old, comfyui.script = is_old, script
    run = Trial(SAVE).start_on(machine)
    await comfyui.wait_until(lambda: comfyui.running is not None)
    assert comfyui.running
    prompt_id = comfyui.running.prompt_id

    await cancel(run)

    assert stopped == [prompt_id]
    assert set(comfyui.interruptions) == {prompt_id}


async def test_a_run_that_is_cancelled_while_it_is_being_sent_is_not_executed(
    comfyui: FakeComfyUI, machine: ComfyUIMachine
):
    may_answer = asyncio.Event()
    accepted = comfyui._submit

    async def accept_slowly(request: Any) -> Any:
        await may_answer.wait()
        return await accepted(request)

    async def script(execution: Execution) -> None:
        await execution.work_for_ever()

    comfyui.script = script
    comfyui.fail("/prompt", accept_slowly)
    run = Trial(SAVE).start_on(machine)
    await comfyui.wait_until(lambda: bool(comfyui.log.named("POST", "/prompt")))
    run.cancel()
    may_answer.set()
    with pytest.raises(asyncio.CancelledError):
        await run
    assert (comfyui.pending, comfyui.running) == ([], None)


async def test_a_prompt_that_an_earlier_server_has_sent_is_followed_and_not_sent_again(
    comfyui: FakeComfyUI, url: str, machine: ComfyUIMachine
):
    may_go_on = asyncio.Event()

    async def script(execution: Execution) -> None:
        await may_go_on.wait()
        await execution.put_out("2", {"text": ["once"]})

    comfyui.script = script
    async with aiohttp.ClientSession(url) as earlier:
        await earlier.post("/prompt", json={"prompt": SAVE, "client_id": RUN_ID})
    await comfyui.wait_until(lambda: comfyui.running is not None)
    trial = Trial(SAVE, is_repeated=True)
    run = trial.start_on(machine)
    await comfyui.wait_until(lambda: len(comfyui.log.named("GET", "/ws")) == 1)
    may_go_on.set()
    await run

    assert len(comfyui.submitted) == 1
    assert trial.outputs[0].texts == ["once"]


async def test_a_machine_under_a_path_is_used_under_that_path():
    outer = web.Application()
    outer.add_subapp("/gpu/one", FakeComfyUI().app)
    async with served(outer) as url:
        machine = ComfyUIMachine(MachineSettings("m", "comfyui", endpoint=f"{url}/gpu/one/"), patience=HASTE)
        trial = await Trial(INVERT, {"image": IMAGE_URL}, {IMAGE_URL: b"x"}).on(machine)
        await machine.close()
    assert len(trial.outputs) == 1


async def test_health_is_whether_it_answers(comfyui: FakeComfyUI, url: str, machine: ComfyUIMachine):
    await machine.health()
    away = ComfyUIMachine(MachineSettings("m", "comfyui", endpoint="http://127.0.0.1:1"))
    with pytest.raises(MachineError, match="nobody answers"):
        await away.health()
    await away.close()


async def test_an_endpoint_that_cannot_be_used_fails_the_run_and_nothing_else():
    machine = ComfyUIMachine(MachineSettings("m", "comfyui", endpoint="ftp://x"))
    assert "http" in (await Trial(SAVE).failure_on(machine)).failure.message
    await machine.close()


async def test_two_hundred_steps_a_second_do_not_fall_behind(comfyui: FakeComfyUI, machine: ComfyUIMachine):
    delays: list[float] = []
    clock = asyncio.get_running_loop().time

    async def script(execution: Execution) -> None:
        await execution.say("executing", node="1")
        for _ in range(200):
            await execution.say("progress", node="1", value=clock(), max=1e9)
            await asyncio.sleep(0.005)

    comfyui.script = script
    trial = Trial(SAVE)
    trial.events = _Timed(delays, clock)
    await trial.on(machine)

    assert len(delays) == 200
    assert sorted(delays)[100] < 0.05


class _Timed(list[Any]):
    def __init__(self, delays: list[float], clock: Any) -> None:
        super().__init__()
        self._delays = delays
        self._clock = clock

    def append(self, event: Any) -> None:
        if isinstance(event, NodeProgress):
            self._delays.append(self._clock() - event.value)
        super().append(event)


@pytest.mark.parametrize(
    ("said", "kept"),
    [
        ("No such file: '/root/comfy/ComfyUI/models/a.ckpt'", "No such file: 'a.ckpt'"),
        (r"C:\Users\me\ComfyUI\main.py failed", "main.py failed"),
        ("~/comfy/ComfyUI/x.py", "x.py"),
        (
            "No such file: '/home/me/My Models/a.ckpt' or 'D:\\\\My Models\\\\b.ckpt'",
            "No such file: 'a.ckpt' or 'b.ckpt'",
        ),
        ("'/root/x.py: failed in a/b'", "'x.py: failed in a/b'"),
        ("3/4 done, see https://docs.example/a/b/c", "3/4 done, see https://docs.example/a/b/c"),
        ("GET https://x.example/f?token=abc", "GET https://x.example/f?…"),
        ("\n".join(map(str, range(20))), "\n".join(map(str, range(12, 20)))),
    ],
)
def test_words_of_a_machine_are_kept_without_its_folders_and_secrets(said: str, kept: str):
    assert words(said) == kept


async def cancel(task: asyncio.Task[None]) -> None:
    """Cancel a run, and wait for it to have stopped."""
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
