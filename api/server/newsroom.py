"""Where all that changes comes together, for those who follow what happens to their things.

What is logged may come from any server process: the log is read once for everybody here, at once after this process has
written to it, and often where others may have. Progress and machines are told by this process alone.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncGenerator, Awaitable, Iterable, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import replace

from ..account_events import MachineChanged, PreviewShown, RunChanged
from ..events import ExecutionStarted, LiveStatus, PreviewImage, RunEvent
from ..models import RunStatus
from .account_feed import AccountStream, AccountTail
from .busy import busy
from .ending import end_tasks
from .feed import Feed
from .fleet import Fleet
from .store.account_events import AccountEventStore, Logged
from .store.database import Database
from .store.keys import Owner
from .store.work import ClaimedRun

log = logging.getLogger("outpost.server")

PAGE = 500
"""Events that are read from the log at a time."""
POLL_SECONDS = 0.5
"""How long an event may stay unseen that another process has written."""
QUEUE_SECONDS = 0.25
"""Between two looks at who waits for what."""
_GATHER_SECONDS = 0.005
"""After something was read; what comes within this time is read together."""


class Newsroom:
    """One for each server process."""

    def __init__(self, store: AccountEventStore, fleet: Fleet, *, keep_alive_seconds: float) -> None:
        self._store = store
        self._fleet = fleet
        self._keep_alive_seconds = keep_alive_seconds
        self._tails: dict[str, AccountTail] = {}
        self._read_to = 0
        self._at_work: dict[str, tuple[str, RunChanged]] = {}
        """The runs that this process works on, with their owners."""
        self._shown: dict[str, PreviewShown] = {}
        """What these runs have shown last."""
        self._moved: set[str] = set()
        """Machines whose queue or state may have changed."""
        self._look_at = self._tick_at = 0.0
        self._may_have_grown = asyncio.Event()
        self._is_followed = asyncio.Event()
        self._beginning = asyncio.Lock()
        self._loops: list[asyncio.Task[None]] = []

    def attach(self, feed: Feed, database: Database) -> None:
        """Be told of what happens in this process."""
        feed.on_progress, feed.on_end = self.note_progress, self.note_end
        self._fleet.on_state, database.on_news = self.note_machine, self.wake

    async def start(self) -> None:
        """Work until `stop`."""
        self._loops = [asyncio.create_task(self._read_for_ever())]

    async def stop(self) -> None:
        """Read no more."""
        await end_tasks(self._loops)

    def wake(self) -> None:
        """The log has grown."""
        self._may_have_grown.set()

    def note_begin(self, run: ClaimedRun) -> None:
        """This process works on a run."""
        told = RunChanged(
            run.id,
            RunStatus.STARTED,
            deployment_id=run.deployment_id,
            workflow_id=run.workflow_id,
            workflow_version_id=run.workflow_version_id,
            machine_id=run.machine_id,
            created_at=run.created_at,
            started_at=run.started_at,
        )
        self._at_work[run.id] = run.owner_id, told
        self._shown.pop(run.id, None)

    def note_progress(self, run_id: str, event: RunEvent) -> None:
        """A run at work has come further."""
        if run_id not in self._at_work:
            return
        owner_id, run = self._at_work[run_id]
        tail = self._tails.get(owner_id)
        if isinstance(event, PreviewImage):
            self._shown[run_id] = PreviewShown(run_id, event.content_type, event.data)
            if tail:
                tail.show_preview(self._shown[run_id])
        elif isinstance(event, LiveStatus):
            run = replace(run, progress=event.progress, live_status=event.text or None)
            self._at_work[run_id] = owner_id, run
            if tail:
                tail.show_progress(run)
        elif isinstance(event, ExecutionStarted):
            self._at_work[run_id] = owner_id, replace(run, status=RunStatus.RUNNING)

    def note_end(self, run_id: str) -> None:
        """This process works on a run no more."""
        self._at_work.pop(run_id, None)
        self._shown.pop(run_id, None)

    def note_machine(self, machine_id: str) -> None:
        """A machine may be in another state."""
        self._move([machine_id])
        self._look_at = 0.0
        self.wake()

    @asynccontextmanager
    async def follow(self, owner: Owner, *, after: int | None, previews: bool) -> AsyncGenerator[AccountStream, None]:
        """Follow what happens to an owner's things until the block ends.

        `after` is the number of the last event that is known; where what came next is not kept any more, or there was
        never such an event, the stream begins now.
        """
        async with self._beginning:
            at_work = [run_id for run_id, (owner_id, _) in self._at_work.items() if owner_id == owner.id]
            first, last = await self._store.span()
            tail = self._tails.get(owner.id) or await self._begin(owner, last, at_work)
            tail.followers += 1
        is_known = after is not None and first - 1 <= after <= last
        try:
            yield AccountStream(tail, after=after if is_known else None, previews=previews)
        finally:
            tail.followers -= 1
            if not tail.followers:
                del self._tails[owner.id]
                tail.close()
                if not self._tails:
                    self._is_followed.clear()

    async def _begin(self, owner: Owner, last: int, at_work: Iterable[str]) -> AccountTail:
        """A tail for an owner whom nobody follows yet, that knows what waits, and what was `at_work` before `last`."""

        async def read_log(after: int, until: int) -> list[Logged]:
            return await self._store.mine_since(owner.id, after, until=until, limit=PAGE)

        waited_for = await self._store.waited_for_by(owner.id)
        if not self._tails:
            self._read_to = max(self._read_to, last)
        tail = self._tails[owner.id] = AccountTail(read_log, last=self._read_to)
        for run_id in at_work:
            if run_id in self._at_work:
                tail.begin_with(self._at_work[run_id][1], self._shown.get(run_id))
        self._moved.update(waited_for)
        self._is_followed.set()
        self.wake()
        return tail

    async def _read_for_ever(self) -> None:
        clock = asyncio.get_running_loop().time
        while True:
            await self._is_followed.wait()
            self._may_have_grown.clear()
            await self._survive(self._read())
            if self._moved and clock() >= self._look_at:
                self._look_at = clock() + QUEUE_SECONDS
                await self._survive(self._look_at_queues())
            if clock() >= self._tick_at:
                self._tick_at = clock() + self._keep_alive_seconds
                for tail in self._tails.values():
                    tail.tick()
            await self._wait()

    async def _wait(self) -> None:
        """Wait until the log may have grown, or it is time for something."""
        await asyncio.sleep(_GATHER_SECONDS)
        clock = asyncio.get_running_loop().time
        until = min(self._tick_at, self._look_at if self._moved else float("inf"))
        seconds = max(0.0, until - clock())
        with suppress(asyncio.TimeoutError):
            limit = min(seconds, POLL_SECONDS) if self._store.is_shared else seconds
            await asyncio.wait_for(self._may_have_grown.wait(), limit)

    async def _read(self) -> None:
        """Hand out what is new in the log."""
        logged = await self._store.since(self._read_to, limit=PAGE)
        told = {each.owner_id: tail for each in logged if (tail := self._tails.get(each.owner_id))}
        for each in logged:
            if tail := told.get(each.owner_id):
                tail.append(each)
                if isinstance(each.event, RunChanged) and each.event.machine_id:
                    self._move([each.event.machine_id])
        if logged:
            self._read_to = max(self._read_to, logged[-1].number)
        for tail in self._tails.values():
            tail.pass_over(self._read_to)
        for tail in told.values():
            tail.tell()
        if len(logged) == PAGE:
            self.wake()

    def _move(self, machine_ids: Iterable[str]) -> None:
        for machine_id in machine_ids:
            self._moved.update((machine_id, *self._fleet.pools_of(machine_id)))

    async def _look_at_queues(self) -> None:
        """Tell who waits at which place, and how many wait for what."""
        moved, self._moved = sorted(self._moved), set()
        try:
            await self._tell_of(moved)
        except BaseException:
            self._moved.update(moved)  # they are looked at again
            raise

    async def _tell_of(self, moved: Sequence[str]) -> None:
        owners = await self._store.owners(moved)
        followed = [each for each in moved if owners.get(each) in self._tails]
        if not followed:
            return
        waiting, counted = await self._store.waiting(followed), await busy(self._store, self._fleet, followed)
        for owner_id, run in waiting:
            if tail := self._tails.get(owner_id):
                tail.show_place(run)
        for machine_id in followed:
            if tail := self._tails.get(owners[machine_id]):
                how, processes = self._fleet.told(machine_id), self._fleet.facts(machine_id).processes
                queue = counted[machine_id].waiting
                tail.show_machine(MachineChanged(machine_id, how.status, how.reason, queue, processes))

    async def _survive(self, step: Awaitable[None]) -> None:
        """Outlive whatever goes wrong in one step, such as a database that is away for a moment.

        Everybody's stream would be silent from then on, without a word.
        """
        try:
            await step
        except Exception:
            log.exception("what has happened could not be read; it is tried again")
            await asyncio.sleep(POLL_SECONDS)
