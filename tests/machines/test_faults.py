"""A ComfyUI that fails in the middle: the run ends in exactly one way, with a reason, and is never sent twice."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from aiohttp import web
from comfyui_outpost.api.events import ExecutionSucceeded, LiveStatus
from comfyui_outpost.api.server.machines import MachineError, MachineSettings
from comfyui_outpost.api.server.machines.comfyui import ComfyUIMachine
from comfyui_outpost.tests.fakes.comfyui import Execution, FakeComfyUI
from comfyui_outpost.tests.fakes.flaky import Act, answer, break_off, break_off_after, text

from .conftest import HASTE
from .jobs import IMAGE_URL, INVERT, RUN_ID, SAVE, Trial

NONSENSE: list[Act] = [
    text("<html>"),
    text('{"half'),
    text("", 502),
    text("busy", 503),
    break_off,
    break_off_after(b'{"', announced=500),
    answer([]),
    answer({"prompt_id": 5}),
]


async def test_a_websocket_that_is_cut_changes_nothing(comfyui: FakeComfyUI, machine: ComfyUIMachine):
    async def script(execution: Execution) -> None:
        await execution.say("executing", node="1")
        comfyui.cut_websockets()
        await comfyui.wait_until(lambda: len(comfyui.log.named("GET", "/ws")) == 2)
        await execution.put_out("2", {"text": ["after"]})

    comfyui.script = script
    trial = await Trial(SAVE).on(machine)
    assert trial.outputs[0].texts == ["after"]
    assert len(comfyui.submitted) == 1


async def test_a_run_that_ends_while_the_websocket_is_gone_is_read_from_the_record(
    comfyui: FakeComfyUI, machine: ComfyUIMachine
):
    async def script(execution: Execution) -> None:
        comfyui.cut_websockets()
        execution.outputs["2"] = {"images": [comfyui.write("unheard.png")]}

    comfyui.script = script
    comfyui_was_away = [text("", 503)] * 3
    trial = Trial(SAVE)
    run = trial.start_on(machine)
    comfyui.fail("/queue", answer({"queue_running": [], "queue_pending": []}), *comfyui_was_away)
    await run
    assert [file[1] for file in trial.outputs[0].files] == ["unheard.png"]
    assert len(trial.of(ExecutionSucceeded)) == 1


async def test_a_last_message_that_never_comes_is_not_waited_for(comfyui: FakeComfyUI, machine: ComfyUIMachine):
    async def script(execution: Execution) -> None:
        execution.client_id = "nobody"

    comfyui.script = script
    trial = await Trial(SAVE).on(machine)
    assert len(trial.of(ExecutionSucceeded)) == 1


async def test_a_comfyui_that_was_restarted_fails_the_run_which_it_has_forgotten(
    comfyui: FakeComfyUI, machine: ComfyUIMachine
):
    async def script(execution: Execution) -> None:
        comfyui.restart()

    comfyui.script = script
    failure = (await Trial(SAVE).failure_on(machine)).failure
    assert "restarted" in failure.message
    assert len(comfyui.submitted) == 1


async def test_a_comfyui_that_is_gone_for_good_fails_the_run(comfyui: FakeComfyUI, machine: ComfyUIMachine):
    async def script(execution: Execution) -> None:
        for path in ("/ws", "/queue", "/history"):
            comfyui.fail(path, *[break_off] * 10_000)
        comfyui.cut_websockets()
        await execution.work_for_ever()

    comfyui.script = script
    trial = Trial(SAVE)
    failure = (await trial.failure_on(machine)).failure
    assert "cannot be reached" in failure.message
    assert "127.0.0.1" not in failure.message
    assert trial.of(LiveStatus)[-1].text.startswith("Waiting: The machine's ComfyUI"), "meanwhile people see why"


@pytest.mark.parametrize("act", NONSENSE)
@pytest.mark.parametrize("path", ["/object_info/SaveImage", "/queue", "/ws"])
async def test_nonsense_before_the_run_is_sent_fails_it_or_does_no_harm(
    comfyui: FakeComfyUI, machine: ComfyUIMachine, path: str, act: Act
):
    comfyui.fail(path, act)
    trial = Trial(SAVE)
    try:
        await trial.on(machine)
    except MachineError:
        assert comfyui.submitted == []
    else:
        assert len(trial.outputs) == len(comfyui.submitted) == 1


@pytest.mark.parametrize("act", NONSENSE)
async def test_a_graph_that_was_taken_with_nonsense_is_followed_and_not_sent_again(
    comfyui: FakeComfyUI, machine: ComfyUIMachine, act: Act
):
    accept = comfyui._submit

    async def accept_and_talk_nonsense(request: web.Request) -> web.StreamResponse:
        await accept(request)
        return await act(request)

    comfyui.fail("/prompt", accept_and_talk_nonsense)
    trial = await Trial(SAVE).on(machine)
    assert len(trial.outputs) == 1
    assert len(comfyui.submitted) == 1


@pytest.mark.parametrize("act", NONSENSE)
async def test_a_graph_that_was_not_taken_fails_and_is_not_sent_again(
    comfyui: FakeComfyUI, machine: ComfyUIMachine, act: Act
):
    comfyui.fail("/prompt", act)
    assert (await Trial(SAVE).failure_on(machine)).failure.message
    assert comfyui.submitted == []
    assert len(comfyui.log.named("POST", "/prompt")) == 1


@pytest.mark.parametrize("act", NONSENSE[:6])
async def test_nonsense_about_the_end_is_asked_again(comfyui: FakeComfyUI, machine: ComfyUIMachine, act: Act):
    async def script(execution: Execution) -> None:
        comfyui.fail(f"/history/{execution.prompt_id}", act, act, act)
        await execution.put_out("2", {"text": ["done"]})

    comfyui.script = script
    assert (await Trial(SAVE).on(machine)).outputs[0].texts == ["done"]


@pytest.mark.parametrize("act", [break_off, break_off_after(b"half", announced=100), text("", 503)])
async def test_an_output_that_breaks_off_is_fetched_again(comfyui: FakeComfyUI, machine: ComfyUIMachine, act: Act):
    comfyui.fail("/view", act)
    trial = await Trial(SAVE).on(machine)
    [output] = trial.outputs
    assert output.files == [("images", "2_00001_.png", "image/png", b"a picture")]


@pytest.mark.parametrize(
    ("acts", "reason"),
    [
        ([text("", 404)], "404"),
        ([break_off] * 9, "broke the connection off"),
        ([break_off_after(b"half", announced=100)] * 9, "broke the connection off"),
    ],
)
async def test_an_output_that_cannot_be_fetched_fails_the_run_with_its_node(
    comfyui: FakeComfyUI, machine: ComfyUIMachine, acts: list[Act], reason: str
):
    comfyui.fail("/view", *acts)
    trial = Trial(SAVE)
    failure = (await trial.failure_on(machine)).failure
    assert failure.message.startswith("An output cannot be read: ")
    assert reason in failure.message
    assert (failure.node_id, failure.node_class) == ("2", "SaveImage")
    assert trial.outputs == []


async def test_a_name_that_tries_to_leave_its_folder_is_only_ever_a_name(comfyui: FakeComfyUI, machine: ComfyUIMachine):
    async def script(execution: Execution) -> None:
        await execution.put_out("2", {"images": [{"filename": "../../etc/passwd", "subfolder": "/", "type": "output"}]})

    comfyui.script = script
    assert "400" in (await Trial(SAVE).failure_on(machine)).failure.message
    assert {seen.path.partition("?")[0] for seen in comfyui.log.requests if "passwd" in seen.path} == {"/view"}


@pytest.mark.parametrize("is_at_work", [False, True])
async def test_a_full_disk_on_our_side_stops_the_run_on_the_comfyui(
    comfyui: FakeComfyUI, machine: ComfyUIMachine, is_at_work: bool
):
    async def script(execution: Execution) -> None:
        await execution.put_out("2", {"images": [comfyui.write("a.png")]})
        if is_at_work:
            await execution.work_for_ever()

    comfyui.script = script
    with pytest.raises(OSError, match="No space left"):
        await Trial(SAVE, disk_full=True).on(machine)
    assert (comfyui.running, comfyui.pending) == (None, [])


async def test_a_file_that_is_too_large_for_the_machine_is_said_so(comfyui: FakeComfyUI, machine: ComfyUIMachine):
    comfyui.fail("/upload/image", text("Maximum request body size exceeded", 413))
    failure = (await Trial(INVERT, {"image": IMAGE_URL}, {IMAGE_URL: b"x"}).failure_on(machine)).failure
    assert "--max-upload-size" in failure.message


async def test_a_full_disk_on_the_machine_fails_the_upload_with_a_reason(comfyui: FakeComfyUI, machine: ComfyUIMachine):
    comfyui.fail("/upload/image", text("Internal Server Error", 500))
    failure = (await Trial(INVERT, {"image": IMAGE_URL}, {IMAGE_URL: b"x"}).failure_on(machine)).failure
    assert "/upload/image with 500" in failure.message
    assert comfyui.submitted == []


@pytest.mark.parametrize("lie", [{}, {"queue_running": None}, {"queue_running": [None, [], "x", [1]]}, [1], "x", 5])
async def test_a_machine_that_lies_about_its_queue_does_no_harm(
    comfyui: FakeComfyUI, machine: ComfyUIMachine, lie: Any
):
    comfyui.fail("/queue", *[answer(lie)] * 1000)
    assert len((await Trial(SAVE).on(machine)).outputs) == 1


async def test_a_run_that_cannot_be_stopped_ends_all_the_same_and_says_so_in_the_log(
    comfyui: FakeComfyUI, url: str, caplog: pytest.LogCaptureFixture
):
    async def script(execution: Execution) -> None:
        await asyncio.Event().wait()

    comfyui.script = script
    patience = type(HASTE)(away=1, retry=0.01, quiet=0.1, stop=0.1, answer=1)
    machine = ComfyUIMachine(MachineSettings("m", "comfyui", endpoint=url), patience=patience)
    run = Trial(SAVE).start_on(machine)
    await comfyui.wait_until(lambda: comfyui.running is not None)
    run.cancel()
    with pytest.raises(asyncio.CancelledError):
        await run
    assert not await machine.is_idle()
    await machine.close()
    assert f"run {RUN_ID} could not be stopped" in caplog.text


async def test_a_run_that_is_cancelled_while_it_is_being_sent_waits_for_what_became_of_it(
    comfyui: FakeComfyUI, machine: ComfyUIMachine
):
    may_answer, accept = asyncio.Event(), comfyui._submit

    async def accept_late(request: web.Request) -> web.StreamResponse:
        await may_answer.wait()
        return await accept(request)

    comfyui.script = Execution.work_for_ever
    comfyui.fail("/prompt", accept_late)
    run = Trial(SAVE).start_on(machine)
    await comfyui.wait_until(lambda: bool(comfyui.log.named("POST", "/prompt")))
    run.cancel()
    done, _ = await asyncio.wait({run}, timeout=0.1)
    run.cancel()
    done, _ = await asyncio.wait({run}, timeout=0.1)
    assert not done, "the graph may be taken after the run has ended"
    may_answer.set()
    with pytest.raises(asyncio.CancelledError):
        await run
    assert len(comfyui.submitted) == 1
    assert (comfyui.pending, comfyui.running) == ([], None)


async def test_many_runs_in_a_row_leave_nothing_behind(comfyui: FakeComfyUI, machine: ComfyUIMachine):
    for number in range(20):
        await Trial(INVERT, {"image": IMAGE_URL}, {IMAGE_URL: b"x"}, run_id=f"warm-{number}").on(machine)
    tasks, transports = len(asyncio.all_tasks()), len(comfyui._sockets)
    for number in range(50):
        await Trial(INVERT, {"image": IMAGE_URL}, {IMAGE_URL: b"x"}, run_id=f"run-{number}").on(machine)
    assert len(asyncio.all_tasks()) <= tasks
    assert len(comfyui._sockets) <= transports
    assert machine._uploads is not None
    assert machine._uploads._at_work == {}
