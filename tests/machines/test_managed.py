"""ComfyUIs that are started when there is a run for them, and are gone afterwards."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import stat
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import psutil
import pytest
from comfyui_outpost.api.events import ExecutionStarted, LiveStatus, Phase
from comfyui_outpost.api.server.machines import MachineError, MachineSettings, guard, process
from comfyui_outpost.api.server.machines.interpreter import find_python
from comfyui_outpost.api.server.machines.managed import ManagedMachine
from comfyui_outpost.api.server.machines.process import Command, Devices, find_devices

from .conftest import Make
from .jobs import IMAGE_URL, Trial, external, node

FACTS = {"9": node("PreviewAny", source="facts")}


def sampling(text: str) -> dict[str, Any]:
    """A graph in which something happens before the facts are put out."""
    return {"1": node("KSampler", seed=1, text=text), "9": node("PreviewAny", source=["1", 0])}


async def facts(machine: ManagedMachine, graph: dict[str, Any] = FACTS, run_id: str = "r") -> dict[str, Any]:
    """What the process that executes a run says of itself."""
    trial = await Trial(graph, run_id=run_id).on(machine)
    return json.loads(trial.outputs[0].texts[0])


async def gone(*pids: int) -> None:
    """Return when processes have ended. They are looked at and not waited for, which is the machine's business."""
    deadline = time.monotonic() + 10
    while any(is_alive(pid) for pid in pids):
        assert time.monotonic() < deadline
        await asyncio.sleep(0.01)


async def test_a_run_starts_a_process_and_people_see_that_it_does(make: Make, folder: Path, tmp_path: Path):
    machine = make()
    trial = await Trial(FACTS).on(machine)

    told = json.loads(trial.outputs[0].texts[0])
    assert told["argv"][0] == "main.py"
    assert told["argv"][1:3] == ["--listen", "127.0.0.1"]
    output, temp = tmp_path / "machines" / "m" / "output" / "0", tmp_path / "machines" / "m" / "temp" / "0"
    folders = ["--output-directory", str(output), "--temp-directory", str(temp)]
    assert told["argv"][5:] == ["--disable-auto-launch", "--preview-method", "auto", *folders, "--cpu"]
    assert told["path"] == str(folder)
    assert told["stdin"] == ""
    assert [event.name for event in trial.of(Phase)] == ["queuing", "gpu_ready", "comfyui_ready"]
    assert trial.of(LiveStatus)[0].text == "Starting ComfyUI"


async def test_the_next_run_uses_the_same_process_and_waits_for_nothing(make: Make):
    machine = make()
    first = await facts(machine)
    trial = await Trial(FACTS, run_id="second").on(machine)
    assert json.loads(trial.outputs[0].texts[0])["pid"] == first["pid"]
    assert "Starting ComfyUI" not in [event.text for event in trial.of(LiveStatus)]


async def test_an_idle_process_is_stopped_and_a_later_run_starts_another_one(make: Make):
    machine = make(idle_timeout=0.1)
    first = await facts(machine)
    await gone(first["pid"])
    assert (await facts(machine))["pid"] != first["pid"]


async def test_runs_at_once_have_processes_of_their_own_up_to_the_limit(make: Make):
    machine = make(concurrency_limit=2)
    told = await asyncio.gather(*(facts(machine, run_id=f"run-{number}") for number in range(5)))
    assert len({each["pid"] for each in told}) == 2
    assert len({each["argv"][4] for each in told}) == 2
    assert len(machine.log_files()) == 2


def folders_of(told: dict[str, Any]) -> tuple[Path, Path]:
    """Where a process writes: its outputs, and what is temporary."""
    argv: list[str] = told["argv"]
    return tuple(Path(argv[argv.index(f"--{kind}-directory") + 1]) for kind in ("output", "temp"))


async def test_what_runs_write_is_kept_apart_and_what_is_temporary_is_removed_at_the_end(make: Make, folder: Path):
    first, second = make(id="first", concurrency_limit=2), make(id="second")
    told = await asyncio.gather(facts(first, run_id="a"), facts(first, run_id="b"), facts(second))

    folders = [each for process in told for each in folders_of(process)]
    assert len(set(folders)) == 6
    assert all(each.is_dir() and not each.is_relative_to(folder) for each in folders)
    for each in folders:
        (each / "picture.png").write_bytes(b"pixels")
    await first.close()

    assert not (folder / "output").exists()
    left = [each for each in folders if (each / "picture.png").exists()]
    assert left == [folders_of(told[0])[0], folders_of(told[1])[0], *folders_of(told[2])]


@pytest.mark.skipif(os.name != "posix", reason="Windows keeps permissions in another way")
async def test_only_the_servers_user_can_look_at_what_runs_write(make: Make, tmp_path: Path):
    await facts(make())
    assert stat.S_IMODE((tmp_path / "machines" / "m").stat().st_mode) == 0o700


SECRETS = {
    "AWS_SECRET_ACCESS_KEY",
    "DATABASE_URL",
    "HF_HUB_TOKEN",
    "HF_TOKEN",
    "NVIDIA_API_KEY",
    "OUTPOST_API_KEY",
    "PGPASSWORD",
    "SOMETHING_NEW",
}
SETTINGS = {"CUDA_DEVICE_ORDER", "HF_HOME", "HF_HUB_OFFLINE", "LC_ALL", "OMP_NUM_THREADS", "https_proxy", "TMPDIR"}


async def test_a_comfyui_is_told_what_it_needs_and_no_secret_of_the_server(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    for name in SECRETS | SETTINGS:
        monkeypatch.setenv(name, str(tmp_path))
    settings = MachineSettings("m", "managed", folder=folder)
    machine = ManagedMachine(settings, python=Path(sys.executable), log_folder=tmp_path / "logs", arguments=["--cpu"])

    environment = (await facts(machine))["environment"]

    await machine.close()
    assert environment.keys() >= {*SETTINGS, "PATH"}
    assert not environment.keys() & SECRETS


async def test_the_python_that_is_asked_for_devices_is_told_no_secret_either(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "a-secret")
    # What takes the place of torch says which of these it sees.
    names = ("PATH", "AWS_SECRET_ACCESS_KEY")
    (folder / "torch.py").write_text(
        f"import os\nraise ImportError([name for name in {names} if name in os.environ])\n"
    )
    settings = MachineSettings("m", "managed", folder=folder)
    machine = ManagedMachine(settings, python=Path(sys.executable), log_folder=tmp_path / "logs")

    failure = (await Trial(FACTS).failure_on(machine)).failure

    assert "ImportError: ['PATH']" in failure.message
    await machine.close()


async def test_closing_ends_every_process_and_what_it_has_started(make: Make):
    machine = make()
    told = await facts(machine, sampling("start a child"))
    assert all(is_alive(pid) for pid in (told["pid"], *told["children"]))
    await machine.close()
    await gone(told["pid"], *told["children"])


async def test_a_process_whose_server_was_killed_ends_with_everything_it_has_started(folder: Path, tmp_path: Path):
    code = f"""
import asyncio, json, sys
from pathlib import Path
from comfyui_outpost.api.server.machines import MachineSettings
from comfyui_outpost.api.server.machines import process
from comfyui_outpost.api.server.machines.managed import ManagedMachine
from comfyui_outpost.tests.machines.jobs import Trial
from comfyui_outpost.tests.machines.test_managed import sampling
async def main():
    settings = MachineSettings("m", "managed", folder=Path({str(folder)!r}))
    logs = Path({str(tmp_path / "logs")!r})
    machine = ManagedMachine(settings, python=Path(sys.executable), log_folder=logs, arguments=["--cpu"])
    trial = await Trial(sampling("start a child")).on(machine)
    print(trial.outputs[0].texts[0], flush=True)
    await asyncio.Event().wait()
asyncio.run(main())
"""
    server = await asyncio.create_subprocess_exec(sys.executable, "-c", code, stdout=subprocess.PIPE)
    assert server.stdout
    told = json.loads(await asyncio.wait_for(server.stdout.readline(), 60))
    server.kill()
    await server.communicate()
    await gone(told["pid"], *told["children"])


async def test_a_process_that_dies_fails_its_run_with_the_end_of_its_log_and_the_next_one_works(make: Make):
    machine = make()
    failure = (await Trial(sampling("die")).failure_on(machine)).failure
    assert "exit code 3 in the middle of the run" in failure.message
    assert "the GPU has fallen off the bus" in failure.message
    assert await facts(machine)


async def test_a_process_that_is_killed_while_it_is_idle_is_replaced(make: Make, caplog: pytest.LogCaptureFixture):
    machine = make()
    first = await facts(machine)
    os.kill(first["pid"], signal.SIGKILL)
    await gone(first["pid"])
    assert (await facts(machine))["pid"] != first["pid"]


async def test_a_process_that_cannot_start_fails_the_run_with_its_reason_and_no_path(make: Make, tmp_path: Path):
    machine = make(environment={"FAKE_START": "fail"})
    failure = (await Trial(FACTS).failure_on(machine)).failure
    assert "exit code 1 while it started" in failure.message
    assert "ImportError: no module named 'torch' in 'main.py'" in failure.message
    assert "somebody" not in failure.message
    assert str(tmp_path) not in failure.message


async def test_a_process_that_cannot_start_says_with_which_python_and_the_log_alone_where_that_is(
    make: Make, folder: Path, caplog: pytest.LogCaptureFixture
):
    failing = {"FAKE_START": "fail"}
    named = (await Trial(FACTS).failure_on(make(environment=failing))).failure.message
    own = (await Trial(FACTS).failure_on(make(environment=failing, python=None))).failure.message
    venv = folder / "venv"
    (venv / "bin").mkdir(parents=True)
    (venv / "bin" / "python").symlink_to(sys.executable)
    found = (await Trial(FACTS).failure_on(make(environment=failing, python=None))).failure.message

    assert "with the Python that --comfyui-python names." in named
    assert "with the server's own Python (outpost serve --comfyui-python PATH names another)." in own
    assert "with the Python in its folder (outpost serve --comfyui-python PATH names another)." in found
    assert sys.executable in caplog.text
    assert str(venv) in caplog.text
    assert not any(path in told for told in (named, own, found) for path in (sys.executable, str(folder)))


async def test_a_file_that_cannot_be_had_fails_the_run_before_anything_is_started_for_it(make: Make):
    machine = make()
    photos = {"1": external("ImageBatch", "photos"), "2": node("SaveImage", images=["1", 0])}
    trial = Trial(photos, {"photos": json.dumps([IMAGE_URL, "https://example.com/x.png"])}, {IMAGE_URL: b"pixels"})

    failure = (await trial.failure_on(machine)).failure

    assert failure.message == "photos: There is no such object: it was deleted"
    assert machine.log_files() == []
    assert "Starting ComfyUI" not in [event.text for event in trial.of(LiveStatus)]


async def test_a_file_that_the_comfyui_may_fetch_itself_is_left_to_it(make: Make):
    graph = {"1": external("File", "archive"), **FACTS, "2": node("PreviewAny", source=["1", 0])}
    machine = make()
    await Trial(graph, {"archive": "https://only-there.example/x.zip"}).failure_on(machine)
    assert len(machine.log_files()) == 1


async def test_a_process_that_does_not_come_up_is_killed_and_said_so(make: Make):
    machine = make(environment={"FAKE_START": "hang"}, start_seconds=3)
    failure = (await Trial(FACTS).failure_on(machine)).failure
    assert "does not answer 3 s after its start" in failure.message
    assert "Starting the small ComfyUI" in failure.message
    await gone(*children_of_this_process())


async def test_another_port_is_taken_when_somebody_was_faster(make: Make, monkeypatch: pytest.MonkeyPatch):
    async def hang_up(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.transport.abort()

    somebody = await asyncio.start_server(hang_up, "127.0.0.1", 0)
    ports = iter([somebody.sockets[0].getsockname()[1], process._free_port()])
    monkeypatch.setattr(process, "_free_port", lambda: next(ports))
    machine = make()
    async with somebody:
        assert await facts(machine)
    assert next(ports, None) is None
    assert "address already in use" in machine.log_files()[-1].read_text().lower()


async def test_a_cancelled_run_is_interrupted_and_its_process_takes_the_next(make: Make):
    machine = make()
    first = await facts(machine)
    trial = Trial(sampling("work for ever"), run_id="endless")
    run = trial.start_on(machine)
    while not trial.of(ExecutionStarted):
        await asyncio.sleep(0)
    run.cancel()
    with pytest.raises(asyncio.CancelledError):
        await run
    assert (await facts(machine))["pid"] == first["pid"]


async def test_a_run_that_is_cancelled_at_its_very_beginning_costs_no_process(make: Make):
    machine = make()
    first = await facts(machine)
    trial = Trial(FACTS)
    run = trial.start_on(machine)
    while not trial.events:
        await asyncio.sleep(0)
    run.cancel()
    with pytest.raises(asyncio.CancelledError):
        await run
    assert (await facts(machine))["pid"] == first["pid"]


async def test_a_cancelled_run_that_hangs_costs_its_process_its_life(make: Make, caplog: pytest.LogCaptureFixture):
    machine = make()
    first = await facts(machine)
    run = Trial(sampling("hang"), run_id="hanging").start_on(machine)
    [log] = machine.log_files()
    while "hanging" not in log.read_text():
        await asyncio.sleep(0.01)
    run.cancel()
    with pytest.raises(asyncio.CancelledError):
        await run
    await gone(first["pid"])
    assert (await facts(machine))["pid"] != first["pid"]


async def test_a_run_that_is_cancelled_during_a_cold_start_leaves_no_process(make: Make):
    machine = make(environment={"FAKE_START": "hang"})
    trial = Trial(FACTS)
    run = trial.start_on(machine)
    while Phase("gpu_ready") not in trial.events:
        await asyncio.sleep(0)
    run.cancel()
    with pytest.raises(asyncio.CancelledError):
        await run
    await gone(*children_of_this_process())


@pytest.mark.skipif(os.name != "posix", reason="Windows keeps permissions in another way")
async def test_every_process_has_a_log_of_its_own_that_only_the_servers_user_can_read(make: Make):
    machine = make()
    await facts(machine)
    [log] = machine.log_files()
    assert "Starting the small ComfyUI" in log.read_text()
    assert stat.S_IMODE(log.stat().st_mode) == 0o600


async def test_old_logs_are_removed(make: Make, tmp_path: Path):
    (tmp_path / "logs").mkdir()
    for number in range(30):
        (tmp_path / "logs" / f"m-2020{number}.log").touch()
        (tmp_path / "logs" / f"another-2020{number}.log").touch()
    machine = make()
    await facts(machine)
    assert len(machine.log_files()) == 20
    assert len(list((tmp_path / "logs").glob("another-*.log"))) == 30


@pytest.mark.parametrize(
    ("settings", "reason"),
    [({"folder": None}, "has named no such ComfyUI"), ({"folder": Path("/nowhere")}, "has no main.py")],
)
async def test_a_machine_without_a_comfyui_is_not_well(make: Make, settings: dict[str, Any], reason: str):
    machine = make(**settings)
    with pytest.raises(MachineError, match=reason) as caught:
        await machine.health()
    assert "nowhere" not in str(caught.value)
    await make().health()


def test_the_python_of_a_comfyui_is_that_of_its_environment(tmp_path: Path):
    folder = tmp_path / "ComfyUI"
    own = folder / "venv" / ("Scripts/python.exe" if os.name == "nt" else "bin/python")
    assert find_python(folder) == Path(sys.executable)
    portable = tmp_path / "python_embeded" / "python.exe"
    for python in (portable, own):
        python.parent.mkdir(parents=True)
        python.touch()
        assert find_python(folder) == python


@pytest.mark.parametrize(
    ("devices", "options"),
    [(Devices(0, False), ["--cpu"]), (Devices(1, False), []), (Devices(0, True), [])],
)
def test_only_a_computer_without_an_accelerator_computes_on_its_processor(devices: Devices, options: list[str]):
    assert devices.options == options


@pytest.mark.parametrize(
    ("count", "visible", "number", "expected"),
    [
        (1, {}, 0, None),
        (2, {}, 0, "0"),
        (2, {}, 1, "1"),
        (2, {}, 2, "0"),
        (2, {"CUDA_VISIBLE_DEVICES": "3, 5"}, 1, "5"),
        (2, {"CUDA_VISIBLE_DEVICES": "GPU-a,GPU-b"}, 0, "GPU-a"),
    ],
)
def test_each_process_has_a_gpu_of_its_own(count: int, visible: dict[str, str], number: int, expected: str | None):
    assert Devices(count, False).environment(number, visible).get("CUDA_VISIBLE_DEVICES") == expected


async def test_what_there_is_to_compute_on_is_asked_of_the_comfyuis_own_python(tmp_path: Path):
    # CUDA is hidden, so that the answer is the same on every computer with Linux.
    here = Command(Path(sys.executable), tmp_path, [], {**os.environ, "CUDA_VISIBLE_DEVICES": ""})
    assert (await find_devices(here)).cuda == 0
    (tmp_path / "torch.py").write_text("raise ImportError('libcudart.so is gone')")
    with pytest.raises(MachineError, match=r"cannot import torch:\n(?s:.*)libcudart.so is gone"):
        await find_devices(here)


def is_alive(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def children_of_this_process() -> list[int]:
    """Those that a machine has started: other tests in this process may have a ComfyUI of their own at work."""
    return [each.pid for each in psutil.Process().children() if str(guard.__file__) in each.cmdline()]
