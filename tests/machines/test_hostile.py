"""A ComfyUI that floods, lies or talks nonsense: a run on it ends, and nothing of that reaches whoever follows it."""

from __future__ import annotations

import asyncio
import gc
import json
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from comfyui_outpost.api.events import (
    ExecutionCached,
    LiveStatus,
    NodeExecuted,
    NodeProgress,
    NodesProgress,
    NodeStarted,
    encode,
)
from comfyui_outpost.api.server.machines import MachineError
from comfyui_outpost.api.server.machines.comfyui import ComfyUIMachine
from comfyui_outpost.api.server.machines.comfyui_files import MAX_FILES
from comfyui_outpost.api.server.machines.comfyui_nodes import MAX_REMEMBERED, KnownNodes
from comfyui_outpost.api.server.machines.comfyui_wire import MANY_CLASSES, Wire
from comfyui_outpost.tests.fakes.comfyui import Execution, FakeComfyUI, node_class
from comfyui_outpost.tests.fakes.flaky import answer, text

from .jobs import RUN_ID, SAVE, Graph, Trial, node

MEGABYTE = 1024 * 1024


@contextmanager
def chatter(comfyui: FakeComfyUI) -> Iterator[None]:
    """Messages as a monitor of the machine sends them to everybody, all the time."""

    async def talk() -> None:
        while True:
            await comfyui.send(RUN_ID, {"type": "status", "data": {"status": {"exec_info": {"queue_remaining": 1}}}})
            await comfyui.send(RUN_ID, {"type": "monitor", "data": {"cpu": 1, "prompt_id": "somebody-else"}})
            await asyncio.sleep(0.01)

    talking = asyncio.create_task(talk())
    yield
    talking.cancel()


async def test_a_run_that_somebody_took_from_the_queue_is_noticed_however_much_is_told_of_others(
    comfyui: FakeComfyUI, machine: ComfyUIMachine
):
    comfyui.script = Execution.work_for_ever
    comfyui.pending.append([0, "somebody-else", {}, {"client_id": "somebody-else"}, []])
    await comfyui.changed()
    await comfyui.wait_until(lambda: comfyui.running is not None)
    run = Trial(SAVE).start_on(machine)
    await comfyui.wait_until(lambda: len(comfyui.pending) == 1)

    with chatter(comfyui):
        comfyui.pending.clear()
        with pytest.raises(MachineError, match="history cleared"):
            await asyncio.wait_for(run, 10)


async def test_a_run_that_says_nothing_for_long_goes_on_however_much_is_told_of_others(
    comfyui: FakeComfyUI, machine: ComfyUIMachine
):
    async def script(execution: Execution) -> None:
        asked = len(comfyui.log.named("GET", "/queue"))
        await comfyui.wait_until(lambda: len(comfyui.log.named("GET", "/queue")) > asked + 1)
        await execution.put_out("2", {"text": ["at last"]})

    comfyui.script = script
    with chatter(comfyui):
        trial = await Trial(SAVE).on(machine)
    assert [output.texts for output in trial.outputs] == [["at last"]]


@pytest.mark.parametrize(
    "steps",
    [
        {"value": 10**400, "max": 1},
        {"value": 1, "max": 10**400},
        {"value": float("nan"), "max": 1},
        {"value": 1, "max": float("inf")},
        {"value": [1], "max": None},
    ],
    ids=str,
)
async def test_numbers_that_are_none_are_left_out(comfyui: FakeComfyUI, machine: ComfyUIMachine, steps: dict[str, Any]):
    async def script(execution: Execution) -> None:
        await execution.say("progress", node="2", **steps)
        await execution.say("progress_state", nodes={"2": steps})
        await execution.put_out("2", {"text": ["done"]})

    comfyui.script = script
    trial = await Trial(SAVE).on(machine)

    assert trial.of(NodeProgress) == trial.of(NodesProgress) == []
    assert [output.texts for output in trial.outputs] == [["done"]]
    for event in trial.events:
        json.dumps(encode(event), allow_nan=False)


async def test_a_record_with_infinite_numbers_in_it_is_a_record(comfyui: FakeComfyUI, machine: ComfyUIMachine):
    async def script(execution: Execution) -> None:
        execution.outputs["2"] = {"text": ["done"], "scores": [float("nan"), float("inf")]}

    comfyui.script = script
    assert [output.texts for output in (await Trial(SAVE).on(machine)).outputs] == [["done"]]


async def test_nodes_that_are_not_in_the_graph_are_not_told_of(comfyui: FakeComfyUI, machine: ComfyUIMachine):
    async def script(execution: Execution) -> None:
        await execution.say("executing", node="1")
        for number in range(100):
            made_up = f"made-up-{number}"
            await execution.say("execution_cached", nodes=[made_up])
            await execution.say("executing", node=made_up)
            await execution.say("progress", node=made_up, value=1, max=1)
            await execution.say("progress_state", nodes={made_up: {"value": 1, "max": 1}})
            await execution.say("executed", node=made_up, output={})
        await execution.say("progress", node=["2"], value=1, max=1)
        await execution.say("executing", node={"2": 2})
        await execution.say("executing", node="2")

    comfyui.script = script
    trial = await Trial(SAVE).on(machine)

    assert [event.node_id for event in trial.of(NodeStarted)] == ["1", "2", None]
    assert trial.of(NodeProgress) == trial.of(NodesProgress) == trial.of(NodeExecuted) == []
    assert {event.nodes for event in trial.of(ExecutionCached)} <= {()}
    assert [event.progress for event in trial.of(LiveStatus)] == [0, 0.5]


async def test_steps_of_a_node_that_was_made_while_executing_are_those_of_the_one_that_made_it(
    comfyui: FakeComfyUI, machine: ComfyUIMachine
):
    async def script(execution: Execution) -> None:
        await execution.say("executing", node="1")
        for number in range(20):
            await execution.say("executing", node=f"2.0.0.{number}", display_node="2")
            await execution.say("progress", node=f"2.0.0.{number}", value=1, max=2)
        state = {"2.0.0.1": {"value": 1, "max": 2, "display_node_id": "2"}}
        await execution.say("progress_state", nodes=state)

    comfyui.script = script
    trial = await Trial(SAVE).on(machine)

    assert {event.node_id for event in trial.of(NodeProgress)} == {"2"}
    assert trial.of(NodesProgress) == [NodesProgress(RUN_ID, {"2": 0.5})]
    # The work that is to be done is that of the two nodes which were sent, whatever these make of themselves.
    assert max(event.progress for event in trial.of(LiveStatus)) <= 0.5


async def test_a_message_that_is_far_too_long_is_left_out(comfyui: FakeComfyUI, machine: ComfyUIMachine):
    async def script(execution: Execution) -> None:
        await execution.say("executed", node="2", output={"text": ["x" * (5 * MEGABYTE)]})
        await execution.say("executed", node="2", output={"text": ["y" * (2 * MEGABYTE)]})

    comfyui.script = script
    trial = await Trial(SAVE).on(machine)
    assert [output.texts[0][0] for output in trial.outputs] == ["y"]
    assert len(comfyui.log.named("GET", "/ws")) == 1


async def test_a_class_of_which_far_too_much_is_told_fails_the_run(comfyui: FakeComfyUI, machine: ComfyUIMachine):
    comfyui.classes["SaveImage"] = node_class(output=True, images=["x" * (5 * MEGABYTE)])
    failure = (await Trial(SAVE).failure_on(machine)).failure
    assert "more than 4 MiB" in failure.message
    assert comfyui.submitted == []


def of_classes(*names: str) -> Graph:
    return {str(number): node(name) for number, name in enumerate(names)}


async def test_many_classes_are_asked_for_at_once(comfyui: FakeComfyUI, machine: ComfyUIMachine):
    names = [f"Class{number}" for number in range(MANY_CLASSES + 1)]
    comfyui.classes |= {name: node_class(output=True) for name in names}
    assert await machine.lacks(of_classes(*names), {}) == []
    assert [seen.path for seen in comfyui.log.requests] == ["/object_info"]
    assert set(machine._nodes._info) == set(names)


async def test_what_is_remembered_of_classes_is_bounded(comfyui: FakeComfyUI, machine: ComfyUIMachine):
    graphs = [of_classes(*(f"Class{part}-{number}" for number in range(MAX_REMEMBERED // 2))) for part in range(3)]
    graphs.append(of_classes(*(f"Other{number}" for number in range(MAX_REMEMBERED + 1))))
    comfyui.classes |= {each["class_type"]: node_class(output=True) for graph in graphs for each in graph.values()}
    for graph in graphs:
        assert await machine.lacks(graph, {}) == []
        assert len(machine._nodes._info) <= MAX_REMEMBERED


async def test_a_large_answer_is_read_all_the_same(comfyui: FakeComfyUI, machine: ComfyUIMachine):
    waiting = [[number, "x" * 1000, {}, {}, []] for number in range(3000)]
    comfyui.fail("/queue", answer({"queue_running": [[0, "mine", {}, {}, []]], "queue_pending": waiting}))
    assert await machine.executes("mine")
    comfyui.fail("/queue", text("[" * (2 * MEGABYTE)))
    assert not await machine.executes("mine")


async def test_a_run_that_puts_out_too_many_files_fails_with_its_node(comfyui: FakeComfyUI, machine: ComfyUIMachine):
    async def script(execution: Execution) -> None:
        await execution.put_out("2", {"images": [comfyui.write("a.png", subfolder="first")]})
        await execution.put_out("2", {"images": [comfyui.write("a.png")] * MAX_FILES})

    comfyui.script = script
    trial = Trial(SAVE)
    failure = (await trial.failure_on(machine)).failure
    assert failure.message.startswith("A run may put out 10000 files")
    assert (failure.node_id, failure.node_class) == ("2", "SaveImage")
    assert len(comfyui.log.named("GET", "/view")) <= 1


async def test_a_run_that_puts_out_too_much_text_fails_with_its_node(comfyui: FakeComfyUI, machine: ComfyUIMachine):
    async def script(execution: Execution) -> None:
        for number in range(6):
            await execution.put_out("2", {"text": [f"{number}" * (3 * MEGABYTE)]})

    comfyui.script = script
    failure = (await Trial(SAVE).failure_on(machine)).failure
    assert failure.message.startswith("A run may put out 16 MiB of texts")
    assert (failure.node_id, failure.node_class) == ("2", "SaveImage")


async def test_what_a_run_tells_while_it_goes_on_has_no_folders_of_the_machine(
    comfyui: FakeComfyUI, machine: ComfyUIMachine
):
    async def script(execution: Execution) -> None:
        said = b"2reading '/home/somebody/My Models/a.ckpt' and\n/srv/b.ckpt"
        await comfyui.send(execution.client_id, struct.pack(">II", 3, 1) + said)

    comfyui.script = script
    trial = await Trial(SAVE).on(machine)
    assert "reading 'a.ckpt' and b.ckpt" in {event.text for event in trial.of(LiveStatus)}
    assert "somebody" not in str(trial.events)


@pytest.mark.parametrize("temporary_files", [False, True])
async def test_what_a_node_has_put_out_is_told_as_far_as_it_is_an_output(
    comfyui: FakeComfyUI, machine: ComfyUIMachine, temporary_files: bool
):
    async def script(execution: Execution) -> None:
        ui = {
            "images": [
                {**comfyui.write("a.png", subfolder="today"), "fullpath": "/home/somebody/a.png"},
                comfyui.write("b.png", type="temp"),
            ],
            "text": ["said"],
            "result": ["/home/somebody/mesh.glb"],
            "animated": [True],
        }
        await execution.put_out("2", ui)

    comfyui.script = script
    trial = await Trial(SAVE, temporary_files=temporary_files).on(machine)

    [event] = trial.of(NodeExecuted)
    kept = {"filename": "a.png", "subfolder": "today", "type": "output"}
    shown = {"filename": "b.png", "subfolder": "", "type": "temp"}
    assert event.output == {"images": [kept, shown] if temporary_files else [kept], "text": ["said"]}


async def test_a_class_that_no_url_can_have_is_just_lacking(comfyui: FakeComfyUI, machine: ComfyUIMachine):
    graph = SAVE | {"3": node("\ud800"), "4": node("SaveImage", images=["3", 0], filename_prefix="x")}
    assert [lack.node_class for lack in await machine.lacks(graph, {})] == ["\ud800"]
    failure = (await Trial(graph).failure_on(machine)).failure
    assert failure.node_id == "3"
    assert comfyui.submitted == []


async def test_a_prompt_id_that_no_url_can_have_has_no_record(url: str):
    wire = Wire(url, auth_token=None)
    assert await wire.history("\ud800") is None
    await wire.close()


async def test_a_machine_that_is_closed_opens_no_connection_for_what_is_asked_at_that_moment(machine: ComfyUIMachine):
    asking = asyncio.create_task(machine.is_idle())
    await asyncio.sleep(0)
    await machine.close()
    assert await asking is False
    gc.collect()  # a connection that nobody has closed warns, which is an error in tests


async def test_a_closed_wire_says_so(url: str):
    wire = Wire(url, auth_token=None)
    await wire.queue()
    await wire.close()
    with pytest.raises(MachineError, match="being removed"):
        await wire.queue()
    await wire.close()


async def test_when_a_class_cannot_be_asked_for_nothing_more_is_asked(comfyui: FakeComfyUI, url: str):
    wire, nodes = Wire(url, auth_token=None), KnownNodes()
    comfyui.classes |= {f"Class{number}": node_class(output=True) for number in range(MANY_CLASSES)}
    comfyui.fail("/object_info/Class0", text("<html>"))
    before = asyncio.all_tasks()
    with pytest.raises(MachineError, match="no JSON"):
        await nodes.lacks(wire, of_classes(*(f"Class{number}" for number in range(MANY_CLASSES))), {})
    assert {task for task in asyncio.all_tasks() - before if "ask" in repr(task.get_coro())} == set()
    await wire.close()
