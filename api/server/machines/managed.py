"""A ComfyUI that the server starts when there is a run for it, from a folder that the operator has named.

Every process serves one run at a time, on a port and, as far as there are several, a GPU of its own. One that has been
idle for a while is stopped.
"""

from __future__ import annotations

import asyncio
import logging
import os
import re
import shlex
from collections.abc import Coroutine, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

from ...events import LiveStatus, Phase, RunEvent
from ...models import Failure, Graph, Lack, MachineLog
from . import Emit, Job, MachineError, MachineSettings
from .comfyui import ComfyUIMachine, Patience
from .comfyui_files import check_files
from .comfyui_nodes import KnownNodes
from .crew import Crew, Worker
from .environment import without_secrets
from .facts import Facts
from .interpreter import choose_python
from .process import PORT_TRIES, ComfyUIProcess, Command, Devices, find_devices, start
from .process_logs import ProcessLogs
from .slots import Slots
from .whole import to_its_end
from .work_folder import WorkFolder

log = logging.getLogger("outpost.machines")

START_SECONDS = 600
"""For a ComfyUI to come up: some have hundreds of custom nodes to load."""
END_SECONDS = 30
"""For a process to be stopped, or to tell that it can take another run."""
LOOK_SECONDS = 30
"""Between two looks at a process that is kept warm: whether it answers still."""
RETRY_SECONDS = 1
"""Before a process that is kept warm is started again; after every further failure twice as long as before."""
LONGEST_RETRY_SECONDS = 60
_STARTING = "Starting ComfyUI"
_NUMBERS = re.compile(r"\d+")
"""Of processes, ports and times, which are other ones at each start."""


class ManagedMachine:
    """Executes runs on processes of the ComfyUI in `settings.folder`. One that is kept warm is started at once.

    `python` is its interpreter, looked for when None; `arguments` are added to ComfyUI's command line.
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
        retry_seconds: float = RETRY_SECONDS,
        look_seconds: float = LOOK_SECONDS,
    ) -> None:
        self._settings = settings
        self._python = python
        self._logs = ProcessLogs(log_folder, settings.id)
        self._arguments = tuple(arguments)
        self._work_folder = WorkFolder(work_folder.absolute() / settings.id if work_folder else None)
        self._environment = without_secrets(os.environ) if environment is None else dict(environment)
        self._patience = patience
        self._start_seconds = start_seconds
        self._retry_seconds = retry_seconds
        self._look_seconds = look_seconds
        self._slots = Slots(settings.concurrency_limit)
        self._crew = Crew()
        self._nodes = KnownNodes()
        self._devices: Devices | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self._is_closed = False
        self._failure: Failure | None = None
        """Why there is no process, after a start that has failed and until one succeeds."""
        self._logged = ""
        self._is_warming_up = False
        self._is_wanted = asyncio.Event()
        """Cleared while it is stopped: then nothing is kept warm until a run comes, or it is started."""
        self._is_wanted.set()
        self._warming = asyncio.ensure_future(self._keep_warm()) if settings.keep_warm else None
        self._asking: asyncio.Task[Worker] | None = None
        self._given_up: set[asyncio.Task[Any]] = set()

    async def run(self, job: Job, emit: Emit) -> None:
        emit(Phase("queuing"))
        self._is_wanted.set()
        if self._is_warming_up and self._slots.locked():
            emit(LiveStatus(job.run_id, _STARTING, 0.0))
        async with self._slots:
            worker = await self._idle_worker()
            if worker is None:
                await check_files(job)
                emit(LiveStatus(job.run_id, _STARTING, 0.0))
                worker = await self._new_worker(emit)
            emit(Phase("comfyui_ready"))
            try:
                await worker.run(job, emit)
            finally:
                await to_its_end(self._put_back(worker), seconds=END_SECONDS)

    async def health(self) -> Facts:
        """Return when there is a ComfyUI to start, else raise MachineError with the reason.

        For a machine that is kept warm that may be why its process could not be started the last time: it is tried
        again by itself, and runs wait for that. Any other is started by the next run, and only tells of it.
        """
        self._command()
        failure = None if self._crew.all else self._failure
        if failure and self._warming:
            raise MachineError(failure)
        return replace(await self._crew.facts(), trouble=failure.message if failure else None)

    def adopt(self, settings: MachineSettings) -> None:
        """Work by other settings from now on: how many processes, and how long they stay."""
        self._settings = settings
        self._slots.resize(settings.concurrency_limit)
        if settings.keep_warm != (self._warming is not None):
            self._give_up(self._warming)
            self._warming = asyncio.ensure_future(self._keep_warm()) if settings.keep_warm else None
        for worker in self._crew.idle:
            self._retire_later(worker)

    async def start(self) -> None:
        """Have a process that answers, which stays as long as one that has done a run. MachineError if it fails."""
        self._is_wanted.set()
        for worker in self._crew.all:
            worker.is_leaving = False
        await self._asked_worker()

    async def stop(self, *, force: bool) -> None:
        """Stop the processes: those that are at work when they have done it, or, with `force`, at once."""
        self._is_wanted.clear()
        self._give_up(self._warming, self._asking)
        self._warming = asyncio.ensure_future(self._keep_warm()) if self._settings.keep_warm else None
        self._failure = self._asking = None
        idle, busy = list(self._crew.idle), [each for each in self._crew.all if each not in self._crew.idle]
        for worker in busy:
            worker.is_leaving = True
        forced = [*(worker.process for worker in busy), *self._crew.starting] if force else []
        await asyncio.gather(*(self._dismiss(worker) for worker in idle), *(process.stop() for process in forced))
        if self._given_up:
            await asyncio.wait(self._given_up)

    async def lacks(self, graph: Graph, inputs: Mapping[str, Any] | None, *, may_start: bool = False) -> list[Lack]:
        """What its ComfyUI lacks for a graph. Without a process it can say so only when that was nothing before."""
        worker = next((each for each in self._crew.all if each.process.is_running), None)
        if worker is None and await self._nodes.suffice(graph, inputs):
            return []
        if worker is None and not may_start:
            raise _error("It is not started, and what it has may have changed")
        worker = worker or await self._asked_worker()
        try:
            return await worker.lacks(graph, inputs)
        finally:
            if worker in self._crew.idle:
                self._retire_later(worker)

    async def executes(self, prompt_id: str) -> bool:
        """Whether one of its ComfyUIs is at work on a prompt that somebody has sent to it."""
        return any(await asyncio.gather(*(worker.comfyui.executes(prompt_id) for worker in self._crew.all)))

    async def logs(self, limit_bytes: int) -> list[MachineLog]:
        """What its processes have printed: the last bytes of each log, the newest first."""
        return await asyncio.to_thread(self._logs.read, limit_bytes=limit_bytes, running=self._crew.running_logs)

    async def close(self) -> None:
        """Stop every process, and remove what was not meant to stay."""
        self._is_closed = True
        self._give_up(self._warming, self._asking)
        if self._given_up:
            await asyncio.wait(self._given_up)
        starting = (process.stop() for process in list(self._crew.starting))
        await asyncio.gather(*starting, *(self._dismiss(worker) for worker in list(self._crew.all)), *self._tasks)
        await asyncio.to_thread(self._work_folder.remove_temporary)

    @property
    def process_count(self) -> int:
        """How many processes there are: at work, idle, and on their way up or down."""
        return len(self._crew.taken)

    def log_files(self) -> list[Path]:
        """What the processes of this machine have printed, the newest file first."""
        return self._logs.files()

    def _command(self) -> Command:
        folder = self._settings.folder
        if folder is None:
            option = "--comfyui-folder " + shlex.quote(f"{self._settings.comfyui or 'NAME'}=PATH")
            raise _error(f"The operator of this server has named no such ComfyUI: start the server with {option}")
        if not (folder / "main.py").is_file():
            raise _error("The folder of the managed ComfyUI has no main.py: is it the right one?")
        python = choose_python(self._python, folder)
        if not python.path.is_file():
            raise _error(f"ComfyUI is started with {python.name}, which does not exist")
        return Command(python.path.absolute(), folder.absolute(), self._arguments, self._environment, python.name)

    async def _idle_worker(self) -> Worker | None:
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

    async def _new_worker(self, emit: Emit) -> Worker:
        if self._is_closed:
            raise _error("The machine is being closed, and starts nothing any more")
        number = next(each for each in range(len(self._crew.taken) + 1) if each not in self._crew.taken)
        self._crew.taken.add(number)
        try:
            process = await self._start(number, emit)
        except BaseException as error:
            self._crew.taken.discard(number)
            self._note_failure(error)
            raise
        self._failure, self._logged = None, ""
        settings = replace(self._settings, endpoint=process.url, auth_token=None)
        worker = Worker(number, process, ComfyUIMachine(settings, patience=self._patience, nodes=self._nodes))
        self._crew.all.add(worker)
        self._settings.on_change()
        self._begin(self._tell_of_its_end(worker))
        return worker

    def _note_failure(self, error: BaseException) -> None:
        """A start has failed. Each reason is logged once, however often it is tried again."""
        was_meant = self._is_closed or not self._is_wanted.is_set()
        if was_meant or not isinstance(error, MachineError | OSError):
            return
        self._failure = error.failure if isinstance(error, MachineError) else _UNWRITABLE
        reason = _NUMBERS.sub("", self._failure.message)
        if reason != self._logged:
            folder = self._settings.folder
            python = f" with {choose_python(self._python, folder).path}" if folder else ""
            log.warning("machine %s could not be started%s: %s", self._settings.id, python, self._failure)
        self._logged = reason
        self._settings.on_change()

    async def _tell_of_its_end(self, worker: Worker) -> None:
        await worker.process.wait()
        self._settings.on_change()

    async def _start(self, number: int, emit: Emit) -> ComfyUIProcess:
        """A process that answers. Another one is tried when somebody was faster with its port."""
        command = self._command()
        self._devices = self._devices or await find_devices(command)
        variables = self._devices.environment(number, command.environment)
        command = replace(command, environment={**command.environment, **variables})
        options = [*self._devices.options, *self._work_folder.options(number)]
        for remaining in reversed(range(PORT_TRIES)):
            process = await start(command, options=options, log=self._logs.new())
            self._crew.starting.add(process)
            self._logs.forget_old()
            emit(Phase("gpu_ready"))
            try:
                await process.wait_until_ready(seconds=self._start_seconds)
            except BaseException as error:
                has_lost_its_port = process.has_lost_its_port()
                await to_its_end(process.stop(), seconds=END_SECONDS)
                if not (remaining and has_lost_its_port and isinstance(error, MachineError)):
                    raise
                continue
            finally:
                self._crew.starting.discard(process)
            log.info("machine %s has started a ComfyUI", self._settings.id)
            return process
        raise AssertionError("the last try returns or raises")

    async def _put_back(self, worker: Worker) -> None:
        """Keep a process for the next run. One that hangs, or still works on something, is of no more use."""
        if self._is_closed or worker.is_leaving or not worker.process.is_running or not await worker.comfyui.is_idle():
            await self._dismiss(worker)
        else:
            self._keep(worker)

    def _keep(self, worker: Worker) -> None:
        self._crew.idle.append(worker)
        self._retire_later(worker)

    def _retire_later(self, worker: Worker) -> None:
        if worker.retirement:
            worker.retirement.cancel()
        loop = asyncio.get_running_loop()
        worker.retirement = loop.call_later(self._settings.idle_timeout, self._retire, worker)

    def _retire(self, worker: Worker) -> None:
        if worker.asked or (self._settings.keep_warm and len(self._crew.all) == 1):
            return
        self._crew.forget(worker)
        self._begin(self._dismiss(worker))

    def _begin(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.ensure_future(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _dismiss(self, worker: Worker) -> None:
        self._crew.forget(worker)
        await worker.stop()
        self._crew.taken.discard(worker.number)

    async def _keep_warm(self) -> None:
        """Have a process that answers, from the beginning on and again whenever it has gone."""
        clock, pause = asyncio.get_running_loop().time, self._retry_seconds
        while True:
            await self._is_wanted.wait()
            began = clock()
            with suppress(MachineError, OSError):  # which the start has noted
                await self._until_of_no_use(await self._warm_worker())
            if clock() - began > LONGEST_RETRY_SECONDS:
                pause = self._retry_seconds
            await asyncio.sleep(pause)
            pause = min(2 * pause, LONGEST_RETRY_SECONDS)

    async def _warm_worker(self) -> Worker:
        """A process that answers or is at work, started if need be. A run that comes meanwhile waits for it."""
        async with self._slots:
            at_work = (each for each in self._crew.all if each not in self._crew.idle and each.process.is_running)
            if busy := next(at_work, None):
                return busy
            worker = await self._idle_worker()
            if worker is None:
                self._is_warming_up = True
                try:
                    worker = await self._new_worker(_tell_nobody)
                finally:
                    self._is_warming_up = False
            self._keep(worker)
            return worker

    async def _asked_worker(self) -> Worker:
        """A process to be asked. Whoever waits for its start may go away, and it goes on for the next one."""
        if self._asking is None or self._asking.done():
            self._asking = asyncio.ensure_future(self._warm_worker())
            self._asking.add_done_callback(lambda task: task.cancelled() or task.exception())  # nobody may be there
        asking = self._asking
        await asyncio.wait({asking})  # which leaves it alone when whoever waits is cancelled
        if asking.cancelled():
            raise _error("The machine is being closed")
        return asking.result()

    def _give_up(self, *tasks: asyncio.Task[Any] | None) -> None:
        """End what was begun by itself, and wait for its end when the machine is stopped or closed."""
        for task in filter(None, tasks):
            task.cancel()
            self._given_up.add(task)
            task.add_done_callback(self._given_up.discard)

    async def _until_of_no_use(self, worker: Worker) -> None:
        """Return when a process has ended. One that does not answer while it has nothing to do is stopped."""
        while worker.process.is_running:
            with suppress(asyncio.TimeoutError):
                await asyncio.wait_for(worker.process.wait(), self._look_seconds)
            if worker in self._crew.idle:
                await self._stop_if_it_hangs(worker)

    async def _stop_if_it_hangs(self, worker: Worker) -> None:
        retirement = worker.retirement  # another one each time that it becomes idle
        try:
            await worker.comfyui.health()
        except MachineError:
            if worker in self._crew.idle and worker.retirement is retirement:
                log.warning("an idle ComfyUI of machine %s does not answer, and is stopped", self._settings.id)
                await self._dismiss(worker)


_UNWRITABLE = Failure(message="The server cannot write the files of the managed ComfyUI: is its disk full?")


def _tell_nobody(event: RunEvent) -> None:
    """For a start that no run waits for."""


def _error(message: str) -> MachineError:
    return MachineError(Failure(message=message))
