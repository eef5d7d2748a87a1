"""The dispatcher: gives waiting runs to machines with a free slot, and sees each of them to its end.

A run is claimed with a lease that is renewed while this process works on it. When the process dies, the lease runs out
and whoever comes next takes the run up again.
"""

from __future__ import annotations

import asyncio
import itertools
import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field
from enum import Enum
from functools import partial
from typing import Any

from ..errors import ApiError, InvalidInput, NotFound
from ..events import ExecutionFailed
from ..inputs import with_widgets
from ..models import Failure, RunStatus
from .config import ServerConfig
from .feed import Feed
from .fetching import fetch_url
from .machines import Job, Machine, MachineError, OutputBytes
from .objects import Objects, safe_name
from .ownership import RUNS, readable_key
from .pool import MachinePool
from .store import Store
from .store.database import Row
from .store.keys import Owner
from .store.work import ClaimedRun, NewOutput

log = logging.getLogger("outpost.dispatcher")


class _Stop(Enum):
    """Why a run that works is being stopped."""

    CANCEL = "cancel"
    TIMEOUT = "timeout"
    SHUTDOWN = "shutdown"
    LEASE_LOST = "lease lost"


@dataclass
class _Active:
    """A run that this process works on."""

    run: ClaimedRun
    execution: asyncio.Task[None]
    held_until: float
    """When the lease runs out, by the event loop's clock."""
    stop: _Stop | None = None
    ended: asyncio.Event = field(default_factory=asyncio.Event)

    def end(self, reason: _Stop) -> None:
        """Stop the execution; the first reason counts."""
        if not self.execution.done():
            self.stop = self.stop or reason
            self.execution.cancel()


class Dispatcher:
    """One for each server process. `on_begin` is told of every run that begins here."""

    def __init__(
        self,
        store: Store,
        feed: Feed,
        *,
        objects: Objects,
        machines: MachinePool,
        config: ServerConfig,
        on_begin: Callable[[ClaimedRun], None] = lambda _: None,
    ) -> None:
        self._store = store
        self._feed = feed
        self._objects = objects
        self._machines = machines
        self._config = config
        self._on_begin = on_begin
        self._rows: list[Row] = []
        self._are_rows_stale = True
        self._active: dict[str, _Active] = {}
        self._works: set[asyncio.Task[None]] = set()
        self._wake = asyncio.Event()
        self._claiming = asyncio.Lock()
        self._loops: list[asyncio.Task[None]] = []
        self._is_stopping = False

    async def start(self) -> None:
        """Take up what an earlier process left behind, then work until `stop`."""
        recovered = await self._store.work.recover(all_of_them=not self._store.database.is_shared)
        if recovered:
            log.info("%d runs of an earlier server process wait again", len(recovered))
        loops = [self._claim_for_ever(), self._keep_leases_for_ever()]
        if self._store.database.is_shared:
            loops.append(self._watch_leases_for_ever())
        self._loops = [asyncio.create_task(loop) for loop in loops]

    async def stop(self) -> None:
        """Give back the runs at work, which the next process starts again, and end."""
        # Up to Python 3.11 wait_for swallows a cancellation that comes together with what it waits for.
        self._is_stopping = True
        for loop in self._loops:
            loop.cancel()
        await asyncio.gather(*self._loops, return_exceptions=True)
        for active in self._active.values():
            active.end(_Stop.SHUTDOWN)
        await asyncio.gather(*self._works, return_exceptions=True)

    def wake(self) -> None:
        """There may be something to claim."""
        self._wake.set()

    def reload_machines(self) -> None:
        """There are machines more or less."""
        self._are_rows_stale = True
        self._wake.set()

    async def cancel(self, run_id: str, *, seconds: float) -> None:
        """Stop a run if this process works on it, and wait so long for it to have stopped."""
        async with self._claiming:  # a run that has been claimed and not begun is not active yet
            active = self._active.get(run_id)
        if active:
            active.end(_Stop.CANCEL)
            try:
                await asyncio.wait_for(active.ended.wait(), seconds)
            except asyncio.TimeoutError:
                log.warning("run %s has not stopped %g s after it was cancelled", run_id, seconds)

    async def _claim_for_ever(self) -> None:
        while not self._is_stopping:
            self._wake.clear()
            await self._survive(self._claim_all())
            # Not for ever: another process may have accepted a run, or added a machine.
            try:
                await asyncio.wait_for(self._wake.wait(), self._config.lease_seconds / 3)
            except asyncio.TimeoutError:
                self._are_rows_stale = True

    async def _keep_leases_for_ever(self) -> None:
        while True:
            await asyncio.sleep(self._config.lease_seconds / 3)
            await self._survive(asyncio.wait_for(self._keep_leases(), self._config.lease_seconds / 3))

    async def _watch_leases_for_ever(self) -> None:
        """Stop, in good time, the runs whose lease could not be renewed: another process may soon begin with them.

        On its own, because a database that hangs holds up whoever renews.
        """
        while True:
            await asyncio.sleep(self._config.lease_seconds / 12)
            soon = asyncio.get_running_loop().time() + self._config.lease_seconds / 4
            for active in self._active.values():
                if active.held_until < soon:
                    active.end(_Stop.LEASE_LOST)

    async def _survive(self, step: Awaitable[None]) -> None:
        """The loops outlive whatever goes wrong in one step, such as a database that is away for a moment."""
        try:
            await step
        except Exception:
            log.exception("a step of the dispatcher failed; it tries again")

    async def _claim_all(self) -> None:
        for row in await self._known_machines():
            machine = self._machines.machine(row)
            while machine and self._free_slots(row) > 0:
                async with self._claiming:
                    until = self._held_until()
                    run = await self._store.work.claim(row["id"], seconds=self._config.lease_seconds)
                    if run is None:
                        break
                    self._begin(run, machine, until)

    async def _known_machines(self) -> list[Row]:
        """The machines, read anew only when there may be others: a run that waits for a slot changes none."""
        if self._are_rows_stale:
            self._are_rows_stale = False
            try:
                self._rows = await self._store.machines.rows()
            except BaseException:
                self._are_rows_stale = True
                raise
            at_work = {active.run.machine_id for active in self._active.values()}
            await self._machines.retain({row["id"] for row in self._rows} | at_work)
        return self._rows

    def _free_slots(self, row: Row) -> int:
        busy = sum(active.run.machine_id == row["id"] for active in self._active.values())
        return row["concurrency_limit"] - busy

    async def _keep_leases(self) -> None:
        leases = {active.run.lease: active for active in self._active.values()}
        if leases:
            until = self._held_until()
            held = await self._store.work.renew(list(leases), seconds=self._config.lease_seconds)
            for lease, active in leases.items():
                if lease not in held:
                    active.end(_Stop.LEASE_LOST)
                    continue
                active.held_until = until
                if held[lease]:
                    active.end(_Stop.CANCEL)
        if await self._store.work.recover():
            self.wake()

    def _held_until(self) -> float:
        """When a lease that is asked for now runs out, by this process's clock."""
        return asyncio.get_running_loop().time() + self._config.lease_seconds

    def _begin(self, run: ClaimedRun, machine: Machine, held_until: float) -> None:
        execution = asyncio.create_task(self._execute(run, machine))
        active = self._active[run.id] = _Active(run, execution, held_until)
        work = asyncio.create_task(self._see_to_its_end(active))
        self._works.add(work)
        work.add_done_callback(self._works.discard)
        self._on_begin(run)

    async def _execute(self, run: ClaimedRun, machine: Machine) -> None:
        outputs = _RunOutputs(
            run, self._store, self._feed, objects=self._objects, max_file_bytes=self._config.max_file_bytes
        )
        graph = with_widgets(run.workflow_api, run.inputs)
        job = Job(run.id, graph, run.inputs, read_file=partial(self._read_file, run), outputs=outputs)
        await machine.run(job, partial(self._feed.publish, run.id))

    async def _see_to_its_end(self, active: _Active) -> None:
        """The boundary around one run: whatever happens in it, it ends here and hurts no other run."""
        run = active.run
        try:
            self._feed.wake(run.id)
            await self._certainly(active, lambda: self._store.work.advance(run, RunStatus.RUNNING))
            self._feed.wake(run.id)
            await asyncio.wait({active.execution}, timeout=run.run_timeout)
            active.end(_Stop.TIMEOUT)
            await asyncio.wait({active.execution})
            await self._certainly(active, lambda: self._settle(active))
        except Exception:
            # The row keeps its lease, so the run is taken up again when that has run out.
            log.exception("run %s could not be brought to its end", run.id)
        finally:
            active.execution.cancel()
            await asyncio.wait({active.execution})
            del self._active[run.id]
            self._feed.wake(run.id)
            self._feed.forget(run.id)
            active.ended.set()
            self.wake()

    async def _certainly(self, active: _Active, write: Callable[[], Awaitable[object]]) -> None:
        """Write something down, again and again while the run is held: a moment without a database repeats no run."""
        while True:
            try:
                await write()
                return
            except Exception:
                if self._is_stopping or active.held_until < asyncio.get_running_loop().time():
                    raise
                log.exception("what run %s has come to could not be written down; it is tried again", active.run.id)
            await asyncio.sleep(self._config.lease_seconds / 30)

    async def _settle(self, active: _Active) -> None:
        """Write down how the execution ended."""
        run, work = active.run, self._store.work
        live = self._feed.live(run.id)
        seen: dict[str, Any] = {"progress": live.progress, "live_status": _storable(live.text)} if live else {}
        if not active.execution.cancelled():
            await self._settle_result(run, active.execution.exception(), seen)
            return
        match active.stop:
            case _Stop.CANCEL:
                await work.advance(run, RunStatus.CANCELLED, **seen)
            case _Stop.TIMEOUT:
                failure = Failure(message=f"The run took longer than its time-out of {run.run_timeout:g} seconds")
                await work.advance(run, RunStatus.TIMEOUT, failure=failure, **seen)
            case _Stop.SHUTDOWN:
                await work.release(run)
            case _Stop.LEASE_LOST:
                log.warning("run %s is left to other server processes: its lease could not be kept", run.id)
            case None:
                await self._settle_result(run, RuntimeError("the machine gave up without a reason"), seen)

    async def _settle_result(self, run: ClaimedRun, error: BaseException | None, seen: dict[str, Any]) -> None:
        if error is None:
            if await self._store.work.advance(run, RunStatus.SUCCESS, live_status=seen.get("live_status")):
                log.info("run %s: success", run.id)
                self._machines.note_work(run.machine_id)
            return
        if isinstance(error, MachineError):
            failure = error.failure
            log.info("run %s: failed: %s", run.id, failure)
        else:
            failure = Failure(message="The machine failed for a reason of its own; the server's log has it")
            log.error("run %s: the machine failed", run.id, exc_info=error)
        events = [ExecutionFailed(run.id, failure)]
        await self._store.work.advance(run, RunStatus.FAILED, failure=failure, events=events, **seen)

    async def _read_file(self, run: ClaimedRun, url: str) -> AsyncIterator[bytes]:
        """The bytes behind the URL of an input: a file of the run's owner, or one that anybody can read."""
        if self._objects.key_of(url) is None:
            async for chunk in self._fetch(url):
                yield chunk
            return
        key = await readable_key(self._store, self._objects, owner=Owner(run.owner_id), url=url)
        try:
            async for chunk in self._objects.read(key):
                yield chunk
        except NotFound as error:
            raise InvalidInput(str(error)) from error

    async def _fetch(self, url: str) -> AsyncIterator[bytes]:
        """The bytes behind a URL of somebody else's; InvalidInput when they cannot be had."""
        config = self._config
        fetching = fetch_url(url, allow_private=config.allow_private_addresses, max_bytes=config.max_file_bytes)
        try:
            async with fetching as found:
                async for chunk in found.chunks():
                    yield chunk
        except ApiError as error:
            raise InvalidInput(str(error)) from error


class _RunOutputs:
    """Brings what a run puts out into the object store and the log."""

    def __init__(self, run: ClaimedRun, store: Store, feed: Feed, *, objects: Objects, max_file_bytes: int) -> None:
        self._max_file_bytes = max_file_bytes
        self._run = run
        self._store = store
        self._feed = feed
        self._objects = objects
        self._numbers = itertools.count(1)

    async def add(
        self, node_id: str, node_class: str, *, output_id: str | None, files: list[OutputBytes], texts: list[str]
    ) -> None:
        data: dict[str, list[Any]] = {}
        for file in files:
            data.setdefault(file.kind, []).append(await self._put(file))
        if texts:
            data["text"] = list(texts)
        names = [name and _storable(name) for name in (node_id, node_class, output_id)]
        output = NewOutput(names[0] or "", names[1] or "", names[2], data)
        await self._store.work.add_output(self._run, output)
        self._feed.wake(self._run.id)

    async def _put(self, file: OutputBytes) -> dict[str, Any]:
        name = safe_name(file.filename)
        key = f"{RUNS}/{self._run.id}/{self._run.lease[:8]}-{next(self._numbers)}-{name}"
        size = await self._objects.put(key, file.chunks, max_size=self._max_file_bytes)
        return {
            "object": key,
            "filename": name,
            "subfolder": "",
            "type": "output",
            "content_type": file.content_type,
            "size": size,
        }


def _storable(text: str) -> str:
    """A text from a graph without what a database cannot keep: halves of characters, and NUL."""
    return text.encode("utf-8", errors="replace").decode().replace("\0", "?")
