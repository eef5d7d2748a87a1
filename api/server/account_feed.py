"""What changes for one owner as it happens, shared by all who follow it.

The log in the store is the truth; its newest part is kept here as the bytes that everybody is sent. Progress, previews
and machines are kept here alone, and only the latest of each: a slow reader misses steps in between, never an event of
the log, and never holds up anybody.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import replace
from typing import NamedTuple

from ..account_events import MachineChanged, PreviewShown, RunChanged, StreamBegun, ThingChanged, to_sse
from ..models import RunStatus
from .latest import Latest, Out
from .store.account_events import Logged
from .store.transitions import WAITING

SILENCE = b": nothing has happened\n\n"
"""What a stream says when there has been nothing to say for a while: a comment, which is no event."""
KEPT = 1000
"""Events of the log, and runs that have ended, that are kept here."""
RUN_SECONDS = 0.1
PREVIEW_SECONDS = 1 / 3
MACHINE_SECONDS = 0.5
MAX_PREVIEW = 1024 * 1024
"""Bytes of a preview that is shown."""

ReadLog = Callable[[int, int], Awaitable[list[Logged]]]
"""Reads the owner's events after a number, up to another one: the first of them, none where there is none."""


class AccountTail:
    """One owner's events. The log has been read up to `last`, and all of it after `floor` is kept here."""

    def __init__(self, read_log: ReadLog, *, last: int) -> None:
        self.followers = 0
        self.read_log = read_log
        self.last = self.floor = last
        self.ticks = 0
        """Counts the long silences."""
        self.live = 0
        """The number of the newest event that is kept here alone."""
        self.news = asyncio.Event()
        """Set when there is news; then another event takes its place."""
        self._kept: deque[tuple[int, bytes]] = deque()
        self._statuses: dict[str, RunStatus] = {}
        self._ended: dict[str, None] = {}
        self._early: dict[str, RunChanged] = {}
        self._early_previews: dict[str, PreviewShown] = {}
        """What came from runs of which the log has not yet been read so far."""
        out = Out(self._next, self.tell)
        self._runs = Latest[RunChanged](out, seconds=RUN_SECONDS, write=to_sse)
        self._previews = Latest[PreviewShown](out, seconds=PREVIEW_SECONDS, write=to_sse)
        self._machines = Latest[MachineChanged](out, seconds=MACHINE_SECONDS, write=to_sse)

    def append(self, logged: Logged) -> None:
        """The log has grown. Whoever follows is told by `tell`."""
        if logged.number <= self.last:
            return
        self.last = logged.number
        self._kept.append((logged.number, to_sse(logged.event, number=logged.number)))
        if len(self._kept) > KEPT:
            self.floor = self._kept.popleft()[0]
        match logged.event:
            case RunChanged():
                self._take_status(logged.event)
            case ThingChanged("machine", machine_id, "deleted"):
                self._machines.forget(machine_id)
            case _:
                pass

    def pass_over(self, number: int) -> None:
        """The log has been read up to here, and the rest of it was other people's."""
        self.last = max(self.last, number)

    def begin_with(self, run: RunChanged, preview: PreviewShown | None = None) -> None:
        """A run was at work before anybody followed."""
        self._statuses[run.run_id] = run.status
        self.show_progress(run)
        if preview:
            self.show_preview(preview)

    def show_progress(self, run: RunChanged) -> None:
        """A run at work has come further. What status it has, the log says, and that it is at work it says first."""
        if run.run_id in self._ended:
            return
        if status := self._status_at_work(run.run_id):
            self._runs.put(run.run_id, replace(run, status=status))
        else:
            self._early[run.run_id] = run

    def show_place(self, run: RunChanged) -> None:
        """A run waits at this place of its queue."""
        if run.run_id not in self._ended and self._statuses.get(run.run_id, run.status) in WAITING:
            before = self._runs.get(run.run_id)
            if before is None or before.queue_position != run.queue_position:
                self._runs.put(run.run_id, run)

    def show_preview(self, preview: PreviewShown) -> None:
        """A sampler has shown something: told when the log has told that the run is at work."""
        if preview.run_id in self._ended or len(preview.data) > MAX_PREVIEW:
            return
        if self._status_at_work(preview.run_id):
            self._previews.put(preview.run_id, preview)
        else:
            self._early_previews[preview.run_id] = preview

    def show_machine(self, machine: MachineChanged) -> None:
        """How a machine is."""
        if self._machines.get(machine.machine_id) != machine:
            self._machines.put(machine.machine_id, machine)

    def tick(self) -> None:
        """Nothing has happened for a while, perhaps."""
        self.ticks += 1
        self.tell()

    def tell(self) -> None:
        """Wake whoever follows."""
        self.news.set()
        self.news = asyncio.Event()

    def close(self) -> None:
        """Nobody follows any more."""
        for each in (self._runs, self._previews, self._machines):
            each.clear()

    def logged_since(self, number: int) -> list[bytes]:
        """The events of the log after a number that is not below the floor."""
        found: list[bytes] = []
        for count, data in reversed(self._kept):
            if count <= number:
                break
            found.append(data)
        return found[::-1]

    def live_since(self, number: int, *, previews: bool) -> Iterator[bytes]:
        """What is kept here alone and newer."""
        yield from self._runs.since(number)
        yield from self._machines.since(number)
        if previews:
            yield from self._previews.since(number)

    def _status_at_work(self, run_id: str) -> RunStatus | None:
        status = self._statuses.get(run_id)
        return None if status in WAITING else status

    def _take_status(self, run: RunChanged) -> None:
        """What was told of a run's progress is of another status now, or of no interest any more."""
        is_at_work = not (run.status.is_terminal or run.status in WAITING)
        before = self._runs.get(run.run_id)
        if not is_at_work or (before and before.status in WAITING):
            self._runs.forget(run.run_id)
        if not is_at_work:
            self._previews.forget(run.run_id)
        if is_at_work and (progress := self._early.pop(run.run_id, None) or self._runs.get(run.run_id)):
            self._runs.put_at_once(run.run_id, replace(progress, status=run.status, started_at=run.started_at))
        if is_at_work and (preview := self._early_previews.pop(run.run_id, None)):
            self._previews.put(run.run_id, preview)
        if not run.status.is_terminal:
            self._statuses[run.run_id] = run.status
            return
        for known in (self._statuses, self._early, self._early_previews):
            known.pop(run.run_id, None)
        self._ended[run.run_id] = None
        if len(self._ended) > KEPT:
            del self._ended[next(iter(self._ended))]

    def _next(self) -> int:
        self.live += 1
        return self.live


class _Place(NamedTuple):
    """How far a reader has come."""

    logged: int
    live: int
    ticks: int


class AccountStream:
    """What one follower has not been told yet. Without `after` it begins now."""

    def __init__(self, tail: AccountTail, *, after: int | None, previews: bool) -> None:
        self._tail = tail
        self._previews = previews
        self._after = after
        self._place: _Place | None = None

    async def next(self) -> bytes:
        """Server-sent events, as soon as there are any, or a comment after a long silence."""
        tail = self._tail
        if self._place is None:
            begin = tail.last if self._after is None else self._after
            self._place = _Place(begin, 0, tail.ticks)  # what is at work is told from its newest state on
            return to_sse(StreamBegun(is_resumed=self._after is not None), number=begin)
        while True:
            news = tail.news  # before looking: what comes meanwhile is not slept through
            if chunk := await self._look(self._place):
                return chunk
            await news.wait()

    async def _look(self, place: _Place) -> bytes:
        tail, floor = self._tail, self._tail.floor
        while place.logged < floor:
            page = await tail.read_log(place.logged, floor)
            place = self._place = place._replace(logged=page[-1].number if page else floor)
            if page:
                return b"".join(to_sse(each.event, number=each.number) for each in page)
        if place.logged < tail.floor:
            return await self._look(place)
        logged = tail.logged_since(place.logged)
        live = tail.live_since(place.live, previews=self._previews)
        silence = SILENCE if tail.ticks > place.ticks else b""
        self._place = _Place(max(place.logged, tail.last), tail.live, tail.ticks)
        return b"".join([*logged, *live]) or silence
