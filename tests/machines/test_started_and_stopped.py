"""Machines that are started, stopped and given other settings by their owners."""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
from dataclasses import replace
from pathlib import Path

import pytest
from comfyui_outpost.api.server.machines import MachineError, MachineLost, MachineSettings
from comfyui_outpost.api.server.machines.comfyui import ComfyUIMachine
from comfyui_outpost.api.server.machines.slots import Slots
from comfyui_outpost.tests.fakes import comfyui_main
from comfyui_outpost.tests.fakes.comfyui import FakeComfyUI, serve

from .conftest import HASTE, Make
from .jobs import Trial
from .test_kept_warm import until
from .test_managed import FACTS, children_of_this_process, facts, gone, sampling


async def test_a_process_is_started_when_its_owner_wants_it_and_the_next_run_uses_it(make: Make):
    machine = make()
    await machine.start()
    [pid] = children_of_this_process()
    assert (await machine.health()).processes == 1
    assert (await facts(machine))["pid"] == pid


async def test_a_process_that_was_started_is_stopped_when_it_was_idle_for_long(make: Make):
    machine = make(idle_timeout=0.05)
    await machine.start()
    await until(lambda: machine.process_count == 0)
    assert children_of_this_process() == []


async def test_what_it_is_stays_known_after_its_process_has_gone(make: Make):
    machine = make()
    assert (await machine.health()).comfyui_version is None
    await machine.start()
    known = await machine.health()
    await machine.stop(force=False)
    later = await machine.health()
    assert known.comfyui_version == later.comfyui_version == "0.9.9"
    assert (known.processes, later.processes, later.vram_free) == (1, 0, None)


async def test_a_start_that_fails_says_why_and_is_told_until_one_succeeds(make: Make):
    machine = make(environment={"FAKE_START": "fail"})
    with pytest.raises(MachineError, match="no module named 'torch'"):
        await machine.start()
    told = await machine.health()  # it can take a run, which may go better
    assert told.trouble
    assert "no module named 'torch'" in told.trouble
    await machine.stop(force=False)
    assert (await machine.health()).trouble is None


async def test_a_run_whose_start_fails_leaves_its_reason_with_the_machine_which_takes_the_next_one(
    make: Make, folder: Path
):
    (folder / "main.py").write_text("import sys; sys.exit('ImportError: no torchsde')")
    machine = make()
    await Trial(FACTS).failure_on(machine)
    assert "no torchsde" in ((await machine.health()).trouble or "")

    shutil.copy(comfyui_main.__file__, folder / "main.py")
    await facts(machine)
    await machine.stop(force=False)
    assert (await machine.health()).trouble is None, "a start has succeeded"


async def test_it_tells_when_a_process_has_come_or_gone_and_when_none_could_be_started(make: Make, folder: Path):
    told: list[int | None] = []
    machine = make(idle_timeout=600, on_change=lambda: told.append(len(children_of_this_process())))

    first = await facts(machine)
    assert told == [1]
    os.kill(first["pid"], signal.SIGKILL)
    await until(lambda: told == [1, 0])
    await machine.start()
    assert told == [1, 0, 1]
    await machine.stop(force=False)
    await until(lambda: told == [1, 0, 1, 0])

    (folder / "main.py").write_text("import sys; sys.exit(1)")
    await Trial(FACTS).failure_on(machine)
    assert len(told) == 5


async def test_one_that_was_idle_for_long_tells_that_it_has_gone(make: Make):
    told: list[int] = []
    machine = make(idle_timeout=0.05, on_change=lambda: told.append(machine.process_count))
    await machine.start()
    await until(lambda: len(told) == 2)
    assert (await machine.health()).processes == 0


async def test_to_stop_it_during_its_start_is_no_failure(make: Make, caplog: pytest.LogCaptureFixture):
    machine = make(environment={"FAKE_START": "hang"})
    run = Trial(FACTS).start_on(machine)
    await until(lambda: bool(children_of_this_process()))
    await machine.stop(force=True)
    with pytest.raises(MachineError):
        await run
    assert (await machine.health()).trouble is None
    assert not caplog.records


async def test_to_stop_it_ends_what_is_idle_at_once_and_what_is_at_work_afterwards(make: Make):
    machine = make(concurrency_limit=2)
    await asyncio.gather(*(facts(machine, run_id=f"run-{number}") for number in range(2)))
    working = Trial(sampling("work for ever"))
    task = asyncio.create_task(working.on(machine))
    await until(lambda: bool(working.events) and machine.process_count == 2)
    await until(lambda: any(type(each).__name__ == "ExecutionStarted" for each in working.events))
    await machine.stop(force=False)
    [busy] = children_of_this_process()
    assert not task.done()
    task.cancel()
    await asyncio.wait({task})
    await gone(busy)
    assert machine.process_count == 0
    assert await facts(machine), "the next run starts one again"


async def test_force_stops_what_is_at_work_which_is_lost(make: Make):
    machine = make()
    working = Trial(sampling("work for ever"))
    task = asyncio.create_task(working.on(machine))
    await until(lambda: any(type(each).__name__ == "ExecutionStarted" for each in working.events))
    await machine.stop(force=True)
    with pytest.raises(MachineLost) as caught:
        await task
    assert caught.value.was_sent
    assert children_of_this_process() == []


async def test_one_that_is_kept_warm_stays_stopped_until_a_run_comes(make: Make):
    machine = make(keep_warm=True)
    await until(lambda: bool(children_of_this_process()))
    await machine.start()
    await machine.stop(force=False)
    assert children_of_this_process() == []
    assert (await machine.health()).processes == 0
    assert machine.process_count == 0
    first = (await facts(machine))["pid"]
    assert children_of_this_process() == [first], "and then it is kept warm"


async def test_a_start_is_given_up_when_it_is_stopped_meanwhile(make: Make):
    machine = make(environment={"FAKE_START": "hang"})
    starting = asyncio.create_task(machine.start())
    await until(lambda: machine.process_count == 1)
    await machine.stop(force=False)
    with pytest.raises(MachineError):
        await starting
    assert (machine.process_count, children_of_this_process()) == (0, [])


async def test_it_is_kept_warm_from_the_moment_that_its_owner_wants_it_and_no_longer(make: Make):
    machine = make(idle_timeout=0.05)
    settings = MachineSettings("m", "managed", folder=machine._settings.folder, idle_timeout=0.05)
    machine.adopt(replace(settings, keep_warm=True))
    await until(lambda: machine.process_count == 1)
    await machine.start()
    machine.adopt(settings)
    await until(lambda: machine.process_count == 0)


async def test_more_runs_may_begin_as_soon_as_the_limit_is_higher(make: Make):
    machine = make(concurrency_limit=1)
    working = [Trial(sampling("work for ever"), run_id=f"run-{number}") for number in range(2)]
    tasks = [asyncio.create_task(each.on(machine)) for each in working]
    await until(lambda: machine.process_count == 1)
    machine.adopt(replace(machine._settings, concurrency_limit=2))
    await until(lambda: machine.process_count == 2)
    for task in tasks:
        task.cancel()
    await asyncio.wait(tasks)


async def test_another_address_counts_for_new_runs_and_not_for_those_at_work():
    async def work(execution):
        await asyncio.sleep(0.1)
        await execution.put_out("9", {"text": ["{}"]})

    first, second = FakeComfyUI(work), FakeComfyUI(work)
    async with serve(first) as one, serve(second) as two:
        machine = ComfyUIMachine(MachineSettings("m", "comfyui", endpoint=one), patience=HASTE)
        old = asyncio.create_task(Trial(FACTS).on(machine))
        await until(lambda: len(first.submitted) == 1)
        machine.adopt(MachineSettings("m", "comfyui", endpoint=two))
        await Trial(FACTS, run_id="another").on(machine)
        await old
        assert (len(first.submitted), len(second.submitted)) == (1, 1)
        await machine.close()


class TestSlots:
    async def test_no_more_are_taken_than_there_are_and_all_get_one(self):
        slots, inside, most = Slots(2), 0, 0

        async def work() -> None:
            nonlocal inside, most
            async with slots:
                inside += 1
                most = max(most, inside)
                await asyncio.sleep(0)
                inside -= 1

        await asyncio.gather(*(work() for _ in range(20)))
        assert (inside, most, slots.locked()) == (0, 2, False)

    async def test_whoever_gives_up_waiting_takes_nothing(self):
        slots = Slots(1)

        async def take() -> None:
            async with slots:
                pass

        async with slots:
            waiting = [asyncio.create_task(take()) for _ in range(2)]
            await asyncio.sleep(0)
            waiting[0].cancel()
        await asyncio.wait_for(waiting[1], 20)
        assert not slots.locked()

    async def test_fewer_places_leave_those_alone_who_have_one(self):
        slots = Slots(2)
        async with slots, slots:
            slots.resize(1)
            assert slots.locked()
        async with slots:
            assert slots.locked()
