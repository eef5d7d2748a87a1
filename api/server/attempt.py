"""One attempt at a run: from the moment that this process has claimed it to its end, or back into the queue."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from enum import Enum

from ..events import ExecutionFailed, ExecutionStarted, RunEvent
from ..inputs import with_widgets
from ..models import Failure, RunStatus
from .config import ServerConfig
from .feed import Feed
from .fleet import Fleet, HeldMachine
from .machines import Job, MachineError, MachineLost
from .objects import Objects
from .run_files import RunFiles
from .store import Store
from .store.machines import MANAGED
from .store.work import MAX_ATTEMPTS, ClaimedRun, waited_too_long

log = logging.getLogger("outpost.dispatcher")


class Stop(Enum):
    """Why an execution is being stopped."""

    CANCEL = "cancel"
    QUEUE_TIMEOUT = "queue time-out"
    RUN_TIMEOUT = "run time-out"
    SHUTDOWN = "shutdown"
    LEASE_LOST = "lease lost"


@dataclass(frozen=True)
class Workplace:
    """What an attempt works with."""

    store: Store
    feed: Feed
    objects: Objects
    fleet: Fleet
    config: ServerConfig


class Attempt:
    """A run and the machine that has it. Whatever happens in it, `see_to_its_end` ends it and hurts no other run."""

    def __init__(self, run: ClaimedRun, held: HeldMachine, workplace: Workplace, *, held_until: float) -> None:
        self.run = run
        self.held_until = held_until
        """When the lease runs out, by the event loop's clock."""
        self.ended = asyncio.Event()
        self._held = held
        self._store = workplace.store
        self._feed = workplace.feed
        self._fleet = workplace.fleet
        self._config = workplace.config
        self._files = RunFiles(run, workplace.store, workplace.feed, objects=workplace.objects, config=workplace.config)
        self._stop: Stop | None = None
        self._is_leaving = False
        self._has_begun = asyncio.Event()
        self._execution = asyncio.create_task(self._execute())

    @property
    def _has_processes(self) -> bool:
        """Whether the machine has more than one ComfyUI, or starts another one when one has died."""
        return self._held.row["type"] == MANAGED

    def end(self, reason: Stop) -> None:
        """Stop the execution; the first reason counts."""
        self._is_leaving = self._is_leaving or reason in (Stop.SHUTDOWN, Stop.LEASE_LOST)
        if not self._execution.done():
            self._stop = self._stop or reason
            self._execution.cancel()

    async def see_to_its_end(self) -> None:
        run = self.run
        try:
            self._feed.wake(run.id)
            await self._wait_for_beginning()
            if self._has_begun.is_set():
                await self._certainly(lambda: self._store.work.advance(run, RunStatus.RUNNING))
                self._feed.wake(run.id)
                await asyncio.wait({self._execution}, timeout=run.run_timeout)
                self.end(Stop.RUN_TIMEOUT)
            await asyncio.wait({self._execution})
            await self._certainly(self._settle)
        except Exception:
            # The row keeps its lease, so the run is taken up again when that has run out.
            log.exception("run %s could not be brought to its end", run.id)
        finally:
            self._execution.cancel()
            await asyncio.wait({self._execution})
            self._feed.wake(run.id)
            self._feed.forget(run.id)

    async def _execute(self) -> None:
        run = self.run
        job = Job(
            run.id,
            with_widgets(run.workflow_api, run.inputs),
            run.inputs,
            read_file=self._files.read,
            outputs=self._files,
            is_repeated=run.queued_at > run.created_at,
            preview_images=run.preview_images,
            temporary_files=run.temporary_files,
        )
        await self._held.machine.run(job, self._emit)

    def _emit(self, event: RunEvent) -> None:
        if isinstance(event, ExecutionStarted):
            self._has_begun.set()
        self._feed.publish(self.run.id, event)

    async def _wait_for_beginning(self) -> None:
        """Wait until the machine begins to execute; the machine may have to be started, or have other things to do."""
        beginning = asyncio.ensure_future(self._has_begun.wait())
        try:
            await asyncio.wait(
                {self._execution, beginning}, timeout=self._seconds_left(), return_when=asyncio.FIRST_COMPLETED
            )
        finally:
            beginning.cancel()
        if not self._has_begun.is_set():
            self.end(Stop.QUEUE_TIMEOUT)

    def _seconds_left(self) -> float | None:
        """How long the execution may take to begin."""
        until = self.run.queue_expires_at
        return max(0.0, (until - self._store.database.now()).total_seconds()) if until else None

    async def _certainly(self, write: Callable[[], Awaitable[object]]) -> None:
        """Write something down, again and again while the run is held: a moment without a database repeats no run."""
        while True:
            try:
                await write()
                return
            except Exception:
                if self._is_leaving or self.held_until < asyncio.get_running_loop().time():
                    raise
                log.exception("what run %s has come to could not be written down; it is tried again", self.run.id)
            await asyncio.sleep(self._config.lease_seconds / 30)

    async def _settle(self) -> None:
        """Write down how the execution ended."""
        run, work = self.run, self._store.work
        if not self._execution.cancelled():
            await self._settle_result(self._execution.exception())
            return
        match self._stop:
            case Stop.CANCEL:
                await work.advance(run, RunStatus.CANCELLED, progress=self._progress())
            case Stop.QUEUE_TIMEOUT:
                failure = waited_too_long(run.queue_timeout, "its machine had not begun with it")
                await self._end_without_success(RunStatus.TIMEOUT, failure)
            case Stop.RUN_TIMEOUT:
                failure = Failure(message=f"The run took longer than its time-out of {run.run_timeout:g} seconds")
                await self._end_without_success(RunStatus.TIMEOUT, failure)
            case Stop.SHUTDOWN:
                await work.release(run)
            case Stop.LEASE_LOST:
                log.warning("run %s is left to other server processes: its lease could not be kept", run.id)
            case None:
                await self._settle_result(RuntimeError("the machine gave up without a reason"))

    async def _settle_result(self, error: BaseException | None) -> None:
        run = self.run
        if error is None:
            if await self._store.work.advance(run, RunStatus.SUCCESS):
                log.info("run %s: success", run.id)
                self._held.watch.note_work()
            return
        if isinstance(error, MachineLost):
            if not self._has_processes:
                self._fleet.note_loss(run.machine_id)
            if self._may_be_tried_again(error):
                log.info("run %s waits again, because its machine has gone: %s", run.id, error.failure)
                await self._store.work.hand_back(run, lost_on=run.machine_id if error.was_sent else None)
                return
        if isinstance(error, MachineError):
            failure = error.failure
            log.info("run %s: failed: %s", run.id, failure)
        else:
            failure = Failure(message="The machine failed for a reason of its own; the server's log has it")
            log.error("run %s: the machine failed", run.id, exc_info=error)
        await self._end_without_success(RunStatus.FAILED, failure)

    def _may_be_tried_again(self, error: MachineLost) -> bool:
        """Whether the run is to wait for another try, after its machine has gone."""
        run = self.run
        if not error.was_sent:
            return run.attempts < MAX_ATTEMPTS  # nobody has begun with it
        others = (each for each in self._fleet.of(run.pool_id or "") if each.id not in (run.machine_id, run.comes_from))
        has_others = self._has_processes or any(others)
        return run.retry_elsewhere and run.lost_on is None and has_others

    async def _end_without_success(self, status: RunStatus, failure: Failure) -> None:
        events = [ExecutionFailed(self.run.id, failure)]
        await self._store.work.advance(self.run, status, failure=failure, events=events, progress=self._progress())

    def _progress(self) -> float | None:
        """How far the run had come."""
        live = self._feed.live(self.run.id)
        return live.progress if live else None
