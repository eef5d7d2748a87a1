"""Machines say what they lack for a graph, without executing anything."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import ItemsView
from types import SimpleNamespace
from typing import Any

import pytest
from comfyui_outpost.api.events import LiveStatus
from comfyui_outpost.api.models import Lack
from comfyui_outpost.api.server import checking
from comfyui_outpost.api.server.machines import MachineError
from comfyui_outpost.api.server.machines.builtin import BuiltinMachine
from comfyui_outpost.api.server.machines.comfyui import ComfyUIMachine
from comfyui_outpost.api.server.machines.managed import ManagedMachine
from comfyui_outpost.tests.fakes.comfyui import FakeComfyUI, node_class

from .conftest import Make
from .jobs import INVERT, SAVE, Graph, Trial, node
from .test_managed import children_of_this_process


class Watched(dict[str, Any]):
    """A graph that notes which threads go through its nodes, by their names."""

    def __init__(self, graph: Graph) -> None:
        super().__init__(graph)
        self.threads: set[threading.Thread] = set()

    def items(self) -> ItemsView[str, Any]:
        self.threads.add(threading.current_thread())
        return super().items()


def loading(name: str) -> Graph:
    """A graph that takes a model."""
    return {
        "1": node("CheckpointLoaderSimple", ckpt_name=name),
        "2": node("SaveImage", images=["1", 0], filename_prefix="x"),
    }


def asked(comfyui: FakeComfyUI) -> list[str]:
    """What the ComfyUI was asked of its node classes, since the last time."""
    paths = [seen.path for seen in comfyui.log.requests if "/object_info" in seen.path]
    comfyui.log.requests.clear()
    return paths


class TestAComfyUI:
    async def test_it_lacks_nothing_for_what_it_can_execute(self, machine: ComfyUIMachine, comfyui: FakeComfyUI):
        assert await machine.lacks(INVERT, None) == []
        assert await machine.lacks(loading("xl/base.safetensors"), {}) == []
        assert comfyui.submitted == []

    async def test_what_it_has_is_asked_for_once(self, machine: ComfyUIMachine, comfyui: FakeComfyUI):
        await machine.lacks(SAVE, None)
        assert sorted(asked(comfyui)) == ["/object_info/EmptyImage", "/object_info/SaveImage"]
        await machine.lacks(SAVE, None)
        await Trial(SAVE).on(machine)
        assert asked(comfyui) == []

    async def test_a_model_that_was_added_since_is_found(self, machine: ComfyUIMachine, comfyui: FakeComfyUI):
        [lack] = await machine.lacks(loading("new.safetensors"), None)
        assert lack.value == "new.safetensors"
        comfyui.classes["CheckpointLoaderSimple"] = node_class(ckpt_name=[["new.safetensors"]])
        assert await machine.lacks(loading("new.safetensors"), None) == []

    async def test_a_class_that_was_added_since_is_found(self, machine: ComfyUIMachine, comfyui: FakeComfyUI):
        graph = {"1": node("FancySave")}
        assert len(await machine.lacks(graph, None)) == 1
        comfyui.classes["FancySave"] = node_class(output=True)
        assert await machine.lacks(graph, None) == []

    async def test_the_names_of_all_classes_are_asked_for_only_where_one_is_lacking(
        self, machine: ComfyUIMachine, comfyui: FakeComfyUI
    ):
        await machine.lacks(loading("gone"), None)
        assert "/object_info" not in asked(comfyui)
        [lack] = await machine.lacks({"1": node("SaveImag")}, None)
        assert lack.near == ["SaveImage"]
        assert asked(comfyui).count("/object_info") == 1
        await machine.lacks({"1": node("PreviewAnny")}, None)
        assert "/object_info" not in asked(comfyui)

    async def test_a_run_fails_with_the_same_words(self, machine: ComfyUIMachine, comfyui: FakeComfyUI):
        said = "node 1 needs the node class 'SaveImag', which is not on this machine. Written alike there: 'SaveImage'"
        failure = (await Trial({"1": node("SaveImag")}).failure_on(machine)).failure
        assert (failure.node_id, failure.node_class) == ("1", "SaveImag")
        assert failure.message == said
        assert comfyui.submitted == []

    async def test_a_large_graph_is_compared_beside_the_loop_and_a_small_one_at_once(self, machine: ComfyUIMachine):
        save = node("SaveImage", images=["0", 0], filename_prefix="x")
        large = Watched(
            {"0": node("EmptyImage", width=8, height=8), **{f"save {number}": save for number in range(1500)}}
        )
        assert await machine.lacks(large, None) == []
        await machine.lacks(Watched(large | {"save": node("SaveImag")}), None)
        assert large.threads
        assert threading.current_thread() not in large.threads
        await Trial(large).on(machine)
        assert threading.current_thread() not in large.threads
        fat = Watched({**SAVE, "9": node("PreviewAny", source="x" * 20_000)})
        await machine.lacks(fat, None)
        assert threading.current_thread() not in fat.threads
        small = Watched(SAVE)
        await machine.lacks(small, None)
        assert small.threads == {threading.current_thread()}

    async def test_one_that_does_not_answer_cannot_say(self, machine: ComfyUIMachine, comfyui: FakeComfyUI):
        comfyui.is_down = True
        with pytest.raises(MachineError, match="cannot be reached"):
            await machine.lacks(SAVE, None)


class TestAManagedOne:
    async def test_before_it_was_ever_started_it_cannot_say(self, make: Make):
        machine = make()
        with pytest.raises(MachineError, match="It is not started"):
            await machine.lacks(SAVE, None)
        assert machine.process_count == 0

    async def test_it_may_be_started_for_it_and_the_first_run_is_then_warm(self, make: Make):
        machine = make()
        [lack] = await machine.lacks(loading("gone"), None, may_start=True)
        assert lack.near == []
        assert machine.process_count == 1
        trial = await Trial({"9": node("PreviewAny", source="x")}).on(machine)
        assert trial.of(LiveStatus) == [] or "Starting" not in trial.of(LiveStatus)[0].text
        assert len(machine.log_files()) == 1

    async def test_what_it_had_it_is_taken_to_have_when_it_has_stopped(self, make: Make):
        machine = make(idle_timeout=0.2)
        assert await machine.lacks(SAVE, None, may_start=True) == []
        while machine.process_count:
            await asyncio.sleep(0.01)
        assert await machine.lacks(SAVE, None) == []
        with pytest.raises(MachineError):
            await machine.lacks(loading("gone"), None)
        assert len(machine.log_files()) == 1

    async def test_it_does_not_stop_for_being_idle_while_it_is_asked(self, make: Make, monkeypatch: pytest.MonkeyPatch):
        is_its_time, ask, retire = asyncio.Event(), ComfyUIMachine.lacks, ManagedMachine._retire

        async def ask_late(machine: ComfyUIMachine, graph: Any, inputs: Any) -> list[Lack]:
            await is_its_time.wait()
            return await ask(machine, graph, inputs)

        def retire_told(machine: ManagedMachine, worker: Any) -> None:
            retire(machine, worker)
            is_its_time.set()

        monkeypatch.setattr(ComfyUIMachine, "lacks", ask_late)
        monkeypatch.setattr(ManagedMachine, "_retire", retire_told)
        machine = make(idle_timeout=0.2)
        assert [lack.value for lack in await machine.lacks(loading("gone"), None, may_start=True)] == ["gone"]
        while machine.process_count:
            await asyncio.sleep(0.01)
        assert len(machine.log_files()) == 1

    async def test_who_does_not_wait_for_its_start_does_not_stop_it(self, make: Make):
        machine = make(idle_timeout=0.5)
        for _ in range(2):
            with pytest.raises(asyncio.TimeoutError):
                await asyncio.wait_for(machine.lacks(SAVE, None, may_start=True), 0.01)
        assert machine.process_count == 1
        assert await machine.lacks(SAVE, None, may_start=True) == []
        assert len(machine.log_files()) == 1
        while machine.process_count:
            await asyncio.sleep(0.01)

    async def test_a_start_that_takes_too_long_for_a_check_leaves_a_doubt_and_goes_on(
        self, make: Make, monkeypatch: pytest.MonkeyPatch
    ):
        machine = make()
        fleet: Any = SimpleNamespace(of=lambda _: [SimpleNamespace(name="own", machine=machine)])
        with monkeypatch.context() as patch:
            patch.setattr(checking, "START_SECONDS", 0.01)
            verdict = await checking.ask(fleet, "m", loading("gone"), None, may_start=True)
        assert (verdict.lacks, verdict.doubt) == ((), "It has not answered within 0.01 seconds")
        verdict = await checking.ask(fleet, "m", loading("gone"), None, may_start=True)
        assert [lack.value for lack in verdict.lacks] == ["gone"]
        assert len(machine.log_files()) == 1

    async def test_a_start_that_nobody_waits_for_ends_with_the_machine(self, make: Make):
        machine = make(environment={"FAKE_START": "hang"})
        with pytest.raises(asyncio.TimeoutError):
            await asyncio.wait_for(machine.lacks(SAVE, None, may_start=True), 0.01)
        while not machine.log_files():
            await asyncio.sleep(0.01)
        await machine.close()
        assert machine.process_count == 0
        assert children_of_this_process() == []

    async def test_a_start_that_nobody_waits_for_and_that_fails_is_tried_again_by_the_next_one(self, make: Make):
        machine = make(environment={"FAKE_START": "fail"})
        with pytest.raises(asyncio.TimeoutError):
            await asyncio.wait_for(machine.lacks(SAVE, None, may_start=True), 0.01)
        while not machine.log_files() or machine.process_count:
            await asyncio.sleep(0.01)
        with pytest.raises(MachineError, match="torch"):
            await machine.lacks(SAVE, None, may_start=True)
        assert len(machine.log_files()) == 2

    async def test_one_that_cannot_be_started_cannot_say(self, make: Make):
        with pytest.raises(MachineError, match="torch"):
            await make(environment={"FAKE_START": "fail"}).lacks(SAVE, None, may_start=True)


async def test_the_built_in_machine_knows_its_few_nodes():
    machine = BuiltinMachine()
    assert await machine.lacks(INVERT, None) == []
    [lack] = await machine.lacks({"1": node("ImageInverts"), "2": node("SaveImage", images=["1", 0])}, {})
    assert (lack.node_id, lack.kind, lack.near) == ("1", "node_class", ["ImageInvert"])
    [lack] = await machine.lacks({"1": None}, None)  # pyright: ignore[reportArgumentType]
    assert lack.message == "node 1 says no class_type"
