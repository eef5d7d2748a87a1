"""The dispatcher: gives waiting runs to machines with a free slot.

A run is claimed with a lease that is renewed while this process works on it. When the process dies, the lease runs out
and whoever comes next takes the run up again.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress

from ..events import LiveStatus
from .attempt import Attempt, Stop, Workplace
from .ending import end_tasks
from .fleet import HeldMachine
from .placement import Placement
from .store.work import ClaimedRun

log = logging.getLogger("outpost.dispatcher")

WAITING = "Waiting: {trouble}"
"""What a run is doing that no machine takes."""


class Dispatcher:
    """One for each server process. Those in `on_begin` are told of every run that begins here."""

    def __init__(self, workplace: Workplace, *, on_begin: Sequence[Callable[[ClaimedRun], None]] = ()) -> None:
        self._workplace = workplace
        self._store = workplace.store
        self._feed = workplace.feed
        self._fleet = workplace.fleet
        self._lease_seconds = workplace.config.lease_seconds
        self._placement = Placement(self._fleet, self._store.work.graph, on_news=self.wake)
        self._on_begin = on_begin
        self._refresh_at = 0.0
        self._active: dict[str, Attempt] = {}
        self._works: set[asyncio.Task[None]] = set()
        self._wake = asyncio.Event()
        self._wakes_for_expiry = asyncio.Event()
        self._next_expiry = float("inf")
        self._claiming = asyncio.Lock()
        self._loops: list[asyncio.Task[None]] = []
        self._is_stopping = False
        self._is_to_tell = False
        self._fleet.on_change = self._note_change

    async def start(self) -> None:
        """Take up what an earlier process left behind, then work until `stop`."""
        recovered = await self._store.work.recover(all_of_them=not self._store.database.is_shared)
        if recovered:
            log.info("%d runs of an earlier server process wait again", len(recovered))
        loops = [self._claim_for_ever(), self._keep_leases_for_ever(), self._expire_for_ever()]
        if self._store.database.is_shared:
            loops.append(self._watch_leases_for_ever())
        self._loops = [asyncio.create_task(loop) for loop in loops]

    async def stop(self) -> None:
        """Give back the runs at work, which the next process starts again, and end."""
        self._is_stopping = True
        await end_tasks(self._loops)
        for attempt in self._active.values():
            attempt.end(Stop.SHUTDOWN)
        await asyncio.gather(*self._works, return_exceptions=True)
        await self._placement.close()

    def wake(self) -> None:
        """There may be something to claim."""
        self._wake.set()

    async def why_waiting(self, run_id: str) -> str | None:
        """Why no machine takes a run that waits; None when those that could are only busy."""
        waiting = await self._store.work.waiting([run_id])
        return self._placement.trouble(waiting[0]) if waiting else None

    def tell_why_they_wait(self) -> None:
        """Somebody follows a run who was not told yet why it waits, or that has changed."""
        self._is_to_tell = self._fleet.is_in_trouble
        if self._is_to_tell:
            self._wake.set()

    def _note_change(self, machine_id: str) -> None:
        self._placement.forget(machine_id)
        self.wake()
        self.tell_why_they_wait()

    def expect(self, seconds: float) -> None:
        """A run has been accepted that waits no longer than this."""
        self._wake.set()
        if asyncio.get_running_loop().time() + seconds < self._next_expiry:
            self._wakes_for_expiry.set()

    async def cancel(self, run_id: str, *, seconds: float) -> None:
        """Stop a run if this process works on it, and wait so long for it to have stopped."""
        async with self._claiming:  # a run that has been claimed and not begun is not active yet
            attempt = self._active.get(run_id)
        if attempt:
            attempt.end(Stop.CANCEL)
            try:
                await asyncio.wait_for(attempt.ended.wait(), seconds)
            except asyncio.TimeoutError:
                log.warning("run %s has not stopped %g s after it was cancelled", run_id, seconds)

    async def _claim_for_ever(self) -> None:
        while not self._is_stopping:
            self._wake.clear()
            await self._survive(self._claim_all())
            # Not for ever: another process may have accepted a run, or added a machine.
            with suppress(asyncio.TimeoutError):
                await asyncio.wait_for(self._wake.wait(), self._lease_seconds / 3)

    async def _keep_leases_for_ever(self) -> None:
        while True:
            await asyncio.sleep(self._lease_seconds / 3)
            await self._survive(asyncio.wait_for(self._keep_leases(), self._lease_seconds / 3))

    async def _watch_leases_for_ever(self) -> None:
        """Stop, in good time, the runs whose lease could not be renewed: another process may soon begin with them.

        On its own, because a database that hangs holds up whoever renews.
        """
        while True:
            await asyncio.sleep(self._lease_seconds / 12)
            soon = asyncio.get_running_loop().time() + self._lease_seconds / 4
            for attempt in self._active.values():
                if attempt.held_until < soon:
                    attempt.end(Stop.LEASE_LOST)

    async def _expire_for_ever(self) -> None:
        """End the runs that have waited for too long, soon after it is so."""
        loop = asyncio.get_running_loop()
        while not self._is_stopping:
            self._wakes_for_expiry.clear()
            self._next_expiry = loop.time() + self._lease_seconds / 3
            await self._survive(self._expire())
            try:
                await asyncio.wait_for(self._wakes_for_expiry.wait(), max(0.0, self._next_expiry - loop.time()))
            except asyncio.TimeoutError:
                continue

    async def _expire(self) -> None:
        if await self._store.work.expire(self._placement.trouble):
            self._feed.wake_all()
        seconds = await self._store.work.next_expiry()
        if seconds is not None:
            until = asyncio.get_running_loop().time() + max(seconds, 0.0)
            self._next_expiry = min(self._next_expiry, until)

    async def _survive(self, step: Awaitable[None]) -> None:
        """The loops outlive whatever goes wrong in one step, such as a database that is away for a moment."""
        try:
            await step
        except Exception:
            log.exception("a step of the dispatcher failed; it tries again")

    async def _claim_all(self) -> None:
        now = asyncio.get_running_loop().time()
        if now >= self._refresh_at:
            await self._fleet.refresh()
            self._refresh_at = now + self._lease_seconds / 3
        in_pools = [held for held in self._fleet.machines if self._fleet.pools_of(held.id)]
        alone = [held for held in self._fleet.machines if held not in in_pools]
        while await self._claim_for_each(alone):
            pass
        tried: set[str] = set()
        while any(held.free_slots > 0 for held in in_pools) and await self._claim_for_one_of(in_pools, tried):
            pass
        if self._is_to_tell:
            self._is_to_tell = False
            for run in await self._store.work.waiting(self._feed.followed):
                if trouble := self._placement.trouble(run):
                    self._feed.tell(run.id, LiveStatus(run.id, WAITING.format(trouble=trouble), 0.0))

    async def _claim_for_each(self, machines: list[HeldMachine]) -> bool:
        """Give one run to each of these machines that is free and waited for; whether there was one to give."""
        waited_for = await self._store.work.waited_for([held.id for held in machines if held.free_slots > 0])
        claimed = [await self._claim(held) for held in machines if held.id in waited_for]
        return any(claimed)

    async def _claim_for_one_of(self, machines: list[HeldMachine], tried: set[str]) -> bool:
        """Give a run to one of these machines, which are in pools; whether there may be more. None is tried again."""
        free = [held for held in machines if held.free_slots > 0]
        places = {held.id for held in free}.union(*(self._fleet.pools_of(held.id) for held in free))
        waiting = [run for run in await self._store.work.first_waiting(sorted(places)) if run.id not in tried]
        if (choice := self._placement.choose(waiting)) is None:
            return False
        run, held = choice
        tried.add(run.id)
        await self._claim(held, run_id=run.id)  # in vain, if it was cancelled or another process was faster
        return True

    async def _claim(self, held: HeldMachine, *, run_id: str | None = None) -> bool:
        async with self._claiming:
            until = self._held_until()
            run = await self._store.work.claim(held.id, seconds=self._lease_seconds, run_id=run_id)
            if run:
                self._begin(run, held, until)
        return run is not None

    async def _keep_leases(self) -> None:
        leases = {attempt.run.lease: attempt for attempt in self._active.values()}
        if leases:
            until = self._held_until()
            held = await self._store.work.renew(list(leases), seconds=self._lease_seconds)
            for lease, attempt in leases.items():
                if lease not in held:
                    attempt.end(Stop.LEASE_LOST)
                    continue
                attempt.held_until = until
                if held[lease]:
                    attempt.end(Stop.CANCEL)
        if await self._store.work.recover():
            self.wake()

    def _held_until(self) -> float:
        """When a lease that is asked for now runs out, by this process's clock."""
        return asyncio.get_running_loop().time() + self._lease_seconds

    def _begin(self, run: ClaimedRun, held: HeldMachine, held_until: float) -> None:
        held.at_work += 1
        attempt = self._active[run.id] = Attempt(run, held, self._workplace, held_until=held_until)
        work = asyncio.create_task(self._work(attempt, held))
        self._works.add(work)
        work.add_done_callback(self._works.discard)
        for tell in self._on_begin:
            tell(run)
        self._placement.note_start(held, run.workflow_api, run.inputs)

    async def _work(self, attempt: Attempt, held: HeldMachine) -> None:
        try:
            await attempt.see_to_its_end()
        finally:
            del self._active[attempt.run.id]
            held.at_work -= 1
            attempt.ended.set()
            self.wake()
