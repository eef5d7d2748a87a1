"""ComfyUIs that are kept warm: one is there before the first run, and again after it has gone. And their logs."""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
from collections.abc import Callable
from datetime import datetime, timedelta, timezone
from pathlib import Path

import aiohttp
import pytest
from comfyui_outpost.api.events import ExecutionStarted, LiveStatus
from comfyui_outpost.api.server.machines import MachineError
from comfyui_outpost.api.server.machines.managed import ManagedMachine
from comfyui_outpost.api.server.machines.process_logs import MAX_BYTES_IN_ALL, ProcessLogs
from comfyui_outpost.tests.fakes import comfyui_main

from .conftest import Make
from .jobs import Trial
from .test_managed import FACTS, children_of_this_process, facts, gone, is_alive, sampling

FAILING = "import sys; sys.exit('RuntimeError: the driver is too old')"


async def until(is_so: Callable[[], bool]) -> None:
    async with asyncio.timeout(20):
        while not is_so():
            await asyncio.sleep(0.01)


def said(machine: ManagedMachine) -> str:
    """What the newest process has printed."""
    return next((path.read_text() for path in machine.log_files()), "")


async def failure_of(machine: ManagedMachine) -> str:
    """The reason that it gives for not being well, once it is not."""
    async with asyncio.timeout(20):
        while True:
            try:
                await machine.health()
            except MachineError as error:
                return error.failure.message
            await asyncio.sleep(0.01)


async def test_a_process_is_there_before_the_first_run_which_uses_it(make: Make):
    machine = make(keep_warm=True)
    await until(lambda: "Starting the small ComfyUI" in said(machine))
    [warm] = children_of_this_process()
    assert (await facts(machine))["pid"] == warm
    assert len(machine.log_files()) == 1
    assert children_of_this_process() == [warm]


async def test_a_machine_that_is_not_kept_warm_starts_nothing_by_itself(make: Make):
    machine = make()
    await machine.health()
    assert machine.process_count == 0
    assert children_of_this_process() == []


async def test_a_run_that_comes_while_it_is_being_started_waits_for_it_and_people_see_why(make: Make):
    machine = make(keep_warm=True)
    await until(lambda: machine.process_count == 1)
    trial = await Trial(FACTS).on(machine)
    assert trial.of(LiveStatus)[0].text == "Starting ComfyUI"
    assert len(machine.log_files()) == 1


async def test_of_several_processes_one_stays_and_the_others_are_stopped_when_idle(make: Make):
    machine = make(idle_timeout=0.1, keep_warm=True, concurrency_limit=2)
    await asyncio.gather(*(facts(machine, run_id=f"run-{number}") for number in range(4)))
    await until(lambda: machine.process_count == 1)
    [left] = children_of_this_process()
    assert (await facts(machine))["pid"] == left


async def test_it_is_not_stopped_however_long_it_is_idle(make: Make):
    machine = make(idle_timeout=0.0, keep_warm=True)
    first = await facts(machine)
    again = await facts(machine)
    assert again["pid"] == first["pid"]


async def test_one_that_dies_is_started_again_without_a_run(make: Make):
    machine = make(keep_warm=True)
    first = await facts(machine)
    os.kill(first["pid"], signal.SIGKILL)
    await until(lambda: len(machine.log_files()) == 2)
    second = await facts(machine)
    assert second["pid"] != first["pid"]
    assert len(machine.log_files()) == 2
    await machine.health()


async def test_one_that_dies_in_a_run_is_started_again_without_another_run(make: Make):
    machine = make(keep_warm=True)
    first = await facts(machine)
    assert "fallen off the bus" in (await Trial(sampling("die")).failure_on(machine)).failure.message
    await until(lambda: len(machine.log_files()) == 2)
    assert (await facts(machine))["pid"] != first["pid"]


@pytest.mark.skipif(os.name != "posix", reason="Windows has no signal that stops a process for a while")
async def test_one_that_hangs_while_it_is_idle_is_killed_and_replaced(make: Make, caplog: pytest.LogCaptureFixture):
    machine = make(keep_warm=True)
    await until(lambda: machine.process_count == 1)  # before the run, which would start it otherwise
    first = await facts(machine)
    os.kill(first["pid"], signal.SIGSTOP)
    await gone(first["pid"])
    await until(lambda: len(machine.log_files()) == 2)
    assert (await facts(machine))["pid"] != first["pid"]
    assert "does not answer, and is stopped" in caplog.text


async def test_one_that_is_at_work_for_long_is_left_alone(make: Make):
    machine = make(keep_warm=True, look_seconds=0.01)
    trial = Trial(sampling("work for ever"), run_id="endless")
    run = trial.start_on(machine)
    await until(lambda: bool(trial.of(ExecutionStarted)))
    [process] = children_of_this_process()
    with pytest.raises(asyncio.TimeoutError):
        await asyncio.wait_for(asyncio.shield(run), 0.2)  # the time of many looks
    assert is_alive(process)
    run.cancel()
    with pytest.raises(asyncio.CancelledError):
        await run


async def test_one_that_cannot_be_started_says_why_and_is_tried_again(
    make: Make, folder: Path, caplog: pytest.LogCaptureFixture
):
    (folder / "main.py").write_text(FAILING)
    machine = make(keep_warm=True)

    reason = await failure_of(machine)

    assert "exit code 1 while it started" in reason
    assert "RuntimeError: the driver is too old" in reason
    assert str(folder) not in reason
    assert "the driver is too old" in caplog.text, "the operator sees it, too"
    assert str(folder) not in caplog.text
    shutil.copy(comfyui_main.__file__, folder / "main.py")
    await until(lambda: "Starting the small ComfyUI" in said(machine))
    await facts(machine)
    await machine.health()


async def test_what_keeps_it_from_being_warm_is_logged_once_for_each_reason(
    make: Make, folder: Path, caplog: pytest.LogCaptureFixture
):
    def said() -> list[str]:
        return [each.getMessage() for each in caplog.records if "could not be started" in each.getMessage()]

    def failing(reason: str) -> str:
        return f"import os, sys; sys.exit(f'RuntimeError: {reason} (process {{os.getpid()}})')"

    (folder / "main.py").write_text(failing("no driver"))
    machine = make(keep_warm=True)
    await until(lambda: len(machine.log_files()) > 3)
    (folder / "main.py").write_text(failing("no memory"))
    seen = len(machine.log_files())
    await until(lambda: len(machine.log_files()) > seen + 3)

    first, second = said()
    assert "no driver" in first
    assert "no memory" in second


async def test_one_that_the_operator_has_not_named_is_told_once_and_how_to_name_it(
    make: Make, caplog: pytest.LogCaptureFixture
):
    told: list[int] = []
    machine = make(keep_warm=True, folder=None, comfyui="my gpu", on_change=lambda: told.append(1))
    await until(lambda: len(told) > 3)
    reason = await failure_of(machine)
    assert reason.endswith("start the server with --comfyui-folder 'my gpu=PATH'")
    [said] = [each.getMessage() for each in caplog.records]
    assert said.endswith(reason)


async def test_it_is_not_tried_again_at_once(make: Make, folder: Path):
    (folder / "main.py").write_text(FAILING)
    machine = make(keep_warm=True, retry_seconds=30)
    for _ in range(3):
        assert "the driver is too old" in await failure_of(machine)
    assert len(machine.log_files()) == 1
    assert machine.process_count == 0


async def test_a_run_may_start_it_in_the_meantime_and_then_the_machine_is_well(make: Make, folder: Path):
    (folder / "main.py").write_text(FAILING)
    machine = make(keep_warm=True, retry_seconds=30)
    await failure_of(machine)
    shutil.copy(comfyui_main.__file__, folder / "main.py")
    await facts(machine)
    await machine.health()


async def test_closing_during_the_start_leaves_no_process(make: Make):
    machine = make(keep_warm=True, environment={"FAKE_START": "hang"})
    await until(lambda: "Starting the small ComfyUI" in said(machine))
    await machine.close()
    await gone(*children_of_this_process())
    assert machine.process_count == 0


async def test_closing_ends_a_start_that_somebody_waits_for_and_none_follows(make: Make):
    machine = make(environment={"FAKE_START": "hang"})
    asking = asyncio.create_task(machine.lacks(FACTS, None, may_start=True))
    await until(lambda: "Starting the small ComfyUI" in said(machine))
    await machine.close()
    with pytest.raises(MachineError, match="is being closed"):
        await asking
    await gone(*children_of_this_process())
    with pytest.raises(MachineError, match="is being closed"):
        await machine.lacks(FACTS, None, may_start=True)
    assert len(machine.log_files()) == 1


async def test_it_executes_the_prompt_that_a_process_of_its_works_on_and_no_other(make: Make):
    machine = make()
    assert not await machine.executes("anything")
    port = (await facts(machine))["argv"][4]
    trial = Trial(sampling("work for ever"), run_id="endless")
    run = trial.start_on(machine)
    await until(lambda: bool(trial.of(ExecutionStarted)))
    async with aiohttp.ClientSession(f"http://127.0.0.1:{port}") as page, page.get("/queue") as answer:
        [entry] = (await answer.json())["queue_running"]

    assert await machine.executes(entry[1])
    assert not await machine.executes("anything")

    run.cancel()
    with pytest.raises(asyncio.CancelledError):
        await run
    assert not await machine.executes(entry[1])


async def test_logs_tell_what_each_process_has_printed_the_newest_first(make: Make, tmp_path: Path):
    machine = make()
    assert await machine.logs(1000) == []
    first = await facts(machine)
    os.kill(first["pid"], signal.SIGKILL)
    await gone(first["pid"])
    await facts(machine)

    newest, oldest = await machine.logs(1000)

    assert (newest.is_running, oldest.is_running) == (True, False)
    assert newest.started_at >= oldest.started_at
    assert abs(datetime.now(timezone.utc) - newest.started_at) < timedelta(minutes=5)
    assert "Starting the small ComfyUI" in newest.text
    assert {newest.name, oldest.name} == {path.name for path in machine.log_files()}
    assert str(tmp_path) not in newest.name + oldest.name


def test_colours_and_whatever_else_is_for_a_terminal_are_not_in_a_log_that_is_read(tmp_path: Path):
    printed = (
        "\x1b[32mready\x1b[0m \x1b]8;;http://x\x1b\\link\x1b]8;;\x07 \x1b[2K\x1b(B50%\x1b[1;31m|\x1b[m\n[32] stays"
    )
    (tmp_path / "m-20260101-000000-000000-abcd.log").write_text(printed)
    [log] = ProcessLogs(tmp_path, "m").read(limit_bytes=1000, running=())
    assert log.text == "ready link 50%|\n[32] stays"


async def test_the_log_of_a_process_that_is_on_its_way_up_can_be_read(make: Make):
    machine = make(keep_warm=True, environment={"FAKE_START": "hang"})
    await until(lambda: "Starting the small ComfyUI" in said(machine))
    [log] = await machine.logs(1000)
    assert log.is_running


def test_of_each_log_the_end_is_read_and_of_all_of_them_no_more_than_a_mebibyte(tmp_path: Path):
    for number in range(5):
        log = tmp_path / f"m-2026010{number + 1}-000000-000000-abcd.log"
        log.write_bytes(b"\xff" + str(number).encode() * 300_000)
    (tmp_path / "other-20260101-000000-abcd.log").write_bytes(b"of another machine")

    ends = ProcessLogs(tmp_path, "m").read(limit_bytes=3, running=())
    whole = ProcessLogs(tmp_path, "m").read(limit_bytes=400_000, running=())

    assert [log.text for log in ends] == ["444", "333", "222", "111", "000"]
    assert ends[0].started_at == datetime(2026, 1, 5, tzinfo=timezone.utc)
    assert [log.text[0] for log in whole] == ["\N{REPLACEMENT CHARACTER}"] * 3 + ["1"]
    assert sum(len(log.text) for log in whole) == MAX_BYTES_IN_ALL
