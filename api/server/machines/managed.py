"""A ComfyUI that the server starts when there is a run for it, from a folder that the operator has named.

Every process serves one run at a time, on a port and, as far as there are several, a GPU of its own. One that has been
idle for a while is stopped.
"""

from __future__ import annotations

import asyncio
import logging
import os
import shutil
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from ...events import LiveStatus, Phase
from ...models import Failure
from . import Emit, Job, MachineError, MachineSettings
from .comfyui import ComfyUIMachine, Patience, to_its_end
from .comfyui_wire import Unreachable
from .environment import without_secrets
from .process import PORT_TRIES, ComfyUIProcess, Command, Devices, find_devices, start

log = logging.getLogger("outpost.machines")

START_SECONDS = 600
"""For a ComfyUI to come up: some have hundreds of custom nodes to load."""
DEATH_SECONDS = 1
"""For the end of a process to be noticed, after it has broken off its connections."""
END_SECONDS = 30
"""For a process to be stopped, or to tell that it can take another run."""
KEPT_LOGS = 20
_OUTPUT, _TEMP = "output", "temp"
_ENVIRONMENTS = (".venv", "venv", "env")
_IN_ENVIRONMENT = Path("Scripts", "python.exe") if os.name == "nt" else Path("bin", "python")


def find_python(folder: Path) -> Path:
    """The interpreter of a ComfyUI: of the environment in its folder, of the portable Windows build, else this one."""
    found = [folder / name / _IN_ENVIRONMENT for name in _ENVIRONMENTS]
    found.append(folder.parent / "python_embeded" / "python.exe")
    return next((python for python in found if python.is_file()), Path(sys.executable))


@dataclass(eq=False)
class _Worker:
    """One process, and the ComfyUI in it."""

    number: int
    process: ComfyUIProcess
    comfyui: ComfyUIMachine
    retirement: asyncio.TimerHandle | None = None

    async def run(self, job: Job, emit: Emit) -> None:
        """Execute a run; MachineError with the end of the log as soon as the process dies."""
        work = asyncio.ensure_future(self.comfyui.run(job, emit))
        death = asyncio.ensure_future(self.process.wait())
        try:
            await asyncio.wait({work, death}, return_when=asyncio.FIRST_COMPLETED)
            if work.done() and isinstance(work.exception(), Unreachable):
                await asyncio.wait({death}, timeout=DEATH_SECONDS)
            if death.done() and (not work.done() or work.exception()):
                raise self.process.ended("in the middle of the run")
            await work
        finally:
            work.cancel()
            death.cancel()
            await asyncio.gather(work, death, return_exceptions=True)

    async def stop(self) -> None:
        if self.retirement:
            self.retirement.cancel()
        await self.comfyui.close()
        await self.process.stop()


@dataclass
class _Crew:
    """The processes of one machine. `idle` has the one that was used last at its end."""

    all: set[_Worker] = field(default_factory=set[_Worker])
    idle: list[_Worker] = field(default_factory=list[_Worker])
    taken: set[int] = field(default_factory=set[int])
    """Numbers of processes that run or are being started: each has its GPU by its number."""


class ManagedMachine:
    """Executes runs on processes of the ComfyUI in `settings.folder`.

    `python` is its interpreter, found by `find_python` when None; `arguments` are added to ComfyUI's command line.
    What the processes write is kept in a folder of this machine's in `work_folder`, and out of reach for the runs of
    other machines; in the ComfyUI's own folders when None. `environment` are all of their variables; when None those
    of this process that are no secrets.
    """

    def __init__(
        self,
        settings: MachineSettings,
        *,
        python: Path | None,
        log_folder: Path,
        work_folder: Path | None = None,
        arguments: Sequence[str] = (),
        environment: Mapping[str, str] | None = None,
        patience: Patience | None = None,
        start_seconds: float = START_SECONDS,
    ) -> None:
        self._settings = settings
        self._python = python
        self._log_folder = log_folder
        self._arguments = tuple(arguments)
        self._work_folder = work_folder.absolute() / settings.id if work_folder else None
        self._environment = without_secrets(os.environ) if environment is None else dict(environment)
        self._patience = patience
        self._start_seconds = start_seconds
        self._slots = asyncio.Semaphore(max(1, settings.concurrency_limit))
        self._crew = _Crew()
        self._devices: Devices | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self._is_closed = False

    async def run(self, job: Job, emit: Emit) -> None:
        emit(Phase("queuing"))
        async with self._slots:
            worker = await self._idle_worker() or await self._new_worker(job, emit)
            emit(Phase("comfyui_ready"))
            try:
                await worker.run(job, emit)
            finally:
                await to_its_end(self._put_back(worker), seconds=END_SECONDS)

    async def health(self) -> None:
        """Return when there is a ComfyUI to start, else raise MachineError with the reason."""
        self._command()

    async def close(self) -> None:
        """Stop every process, and remove what was not meant to stay."""
        self._is_closed = True
        await asyncio.gather(*(self._dismiss(worker) for worker in list(self._crew.all)), *self._tasks)
        if self._work_folder:
            await asyncio.to_thread(shutil.rmtree, self._work_folder / _TEMP, ignore_errors=True)

    @property
    def process_count(self) -> int:
        """How many processes there are: at work, idle, and on their way up or down."""
        return len(self._crew.taken)

    def log_files(self) -> list[Path]:
        """What the processes of this machine have printed, the newest file first."""
        found = self._log_folder.glob(f"{self._settings.id}-*.log")
        return sorted(found, key=lambda path: path.stat().st_mtime, reverse=True)

    def _command(self) -> Command:
        folder = self._settings.folder
        if folder is None:
            raise _error("The operator of this server has named no such ComfyUI: start the server with its folder")
        if not (folder / "main.py").is_file():
            raise _error("The folder of the managed ComfyUI has no main.py: is it the right one?")
        python = self._python or find_python(folder)
        if not python.is_file():
            raise _error("The Python of the managed ComfyUI does not exist")
        return Command(python.absolute(), folder.absolute(), self._arguments, self._environment)

    async def _idle_worker(self) -> _Worker | None:
        while self._crew.idle:
            worker = self._crew.idle.pop()
            if worker.retirement:
                worker.retirement.cancel()
            try:
                is_fit = worker.process.is_running and await worker.comfyui.is_idle()
            except BaseException:
                self._keep(worker)
                raise
            if is_fit:
                return worker
            log.warning("an idle ComfyUI of machine %s is of no more use, and is stopped", self._settings.id)
            await to_its_end(self._dismiss(worker), seconds=END_SECONDS)
        return None

    async def _new_worker(self, job: Job, emit: Emit) -> _Worker:
        emit(LiveStatus(job.run_id, "Starting ComfyUI", 0.0))
        number = next(each for each in range(len(self._crew.taken) + 1) if each not in self._crew.taken)
        self._crew.taken.add(number)
        try:
            process = await self._start(number, emit)
        except BaseException:
            self._crew.taken.discard(number)
            raise
        settings = replace(self._settings, endpoint=process.url, auth_token=None)
        worker = _Worker(number, process, ComfyUIMachine(settings, patience=self._patience))
        self._crew.all.add(worker)
        return worker

    async def _start(self, number: int, emit: Emit) -> ComfyUIProcess:
        """A process that answers. Another one is tried when somebody was faster with its port."""
        command = self._command()
        self._devices = self._devices or await find_devices(command)
        variables = self._devices.environment(number, command.environment)
        command = replace(command, environment={**command.environment, **variables})
        options = [*self._devices.options, *self._folder_options(number)]
        for remaining in reversed(range(PORT_TRIES)):
            process = await start(command, options=options, log_folder=self._log_folder, name=self._settings.id)
            self._forget_old_logs()
            emit(Phase("gpu_ready"))
            try:
                await process.wait_until_ready(seconds=self._start_seconds)
            except BaseException as error:
                has_lost_its_port = process.has_lost_its_port()
                await to_its_end(process.stop(), seconds=END_SECONDS)
                if not (remaining and has_lost_its_port and isinstance(error, MachineError)):
                    raise
                continue
            log.info("machine %s has started a ComfyUI", self._settings.id)
            return process
        raise AssertionError("the last try returns or raises")

    def _folder_options(self, number: int) -> list[str]:
        """Folders for process `number` alone: ComfyUI empties the one for what is temporary when it starts."""
        if self._work_folder is None:
            return []
        self._work_folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        output, temp = (self._work_folder / name / str(number) for name in (_OUTPUT, _TEMP))
        for folder in (output, temp):
            folder.mkdir(parents=True, exist_ok=True)
        return ["--output-directory", str(output), "--temp-directory", str(temp)]

    async def _put_back(self, worker: _Worker) -> None:
        """Keep a process for the next run. One that hangs, or still works on something, is of no more use."""
        if self._is_closed or not worker.process.is_running or not await worker.comfyui.is_idle():
            await self._dismiss(worker)
        else:
            self._keep(worker)

    def _keep(self, worker: _Worker) -> None:
        self._crew.idle.append(worker)
        loop = asyncio.get_running_loop()
        worker.retirement = loop.call_later(self._settings.idle_timeout, self._retire, worker)

    def _retire(self, worker: _Worker) -> None:
        if self._settings.keep_warm and len(self._crew.all) == 1:
            return
        self._crew.all.discard(worker)
        self._crew.idle.remove(worker)
        task = asyncio.ensure_future(self._dismiss(worker))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _dismiss(self, worker: _Worker) -> None:
        self._crew.all.discard(worker)
        if worker in self._crew.idle:
            self._crew.idle.remove(worker)
        await worker.stop()
        self._crew.taken.discard(worker.number)

    def _forget_old_logs(self) -> None:
        for path in self.log_files()[KEPT_LOGS:]:
            path.unlink(missing_ok=True)


def _error(message: str) -> MachineError:
    return MachineError(Failure(message=message))
