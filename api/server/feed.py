"""Live news of runs inside this process, told to everybody who follows a run.

The log in the store is the truth. All who follow one run share a tail of its log: it is read once for all of them, and
what it says is put into bytes once for all who have come equally far. Progress is kept here alone, and only the latest
of each sort: a slow reader misses steps in between and never holds up a run.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from typing import NamedTuple, Protocol

from ..events import LiveStatus, NodeProgress, Payload, RunEvent, StatusChanged, decode_payload, to_sse

SILENCE = b": the run goes on\n\n"
"""What a stream says when there has been nothing to say for a while: a comment, which is no event."""

Show = Callable[[RunEvent], RunEvent]
_Sort = tuple[type, str | None]


class ReadLog(Protocol):
    """Reads the logged events of a run whose number is greater than `after`; the first has the number 1."""

    async def __call__(self, run_id: str, *, after: int) -> list[tuple[int, Payload]]: ...


class _Place(NamedTuple):
    """How far a reader has come: the number of a logged event, and that of a piece of progress."""

    logged: int
    progress: int


class Tail:
    """One run's log and progress as they grow, shared by all who follow it."""

    def __init__(self, run_id: str, read_log: ReadLog, *, keep_alive_seconds: float) -> None:
        self.followers = 0
        self.news = asyncio.Event()
        """Set when there is news, or silence; then another event takes its place."""
        self._run_id = run_id
        self._read_log = read_log
        self._keep_alive_seconds = keep_alive_seconds
        self._events: list[RunEvent] = []
        self._progress: dict[_Sort, tuple[int, RunEvent]] = {}
        self._last_progress = 0
        self._may_have_grown = asyncio.Event()
        self._written: dict[tuple[_Place, str], bytes] = {}
        self._reading = asyncio.create_task(self._read())
        self._reading.add_done_callback(lambda _: self._tell())

    async def begin(self) -> None:
        """Wait until what is in the log already has been read."""
        while not self._events and not self._reading.done():
            await self.news.wait()
        self._check()

    async def close(self) -> None:
        """Read no more."""
        self._reading.cancel()
        await asyncio.wait({self._reading})

    @property
    def place(self) -> _Place:
        """Where somebody is who has read everything."""
        return _Place(len(self._events), self._last_progress)

    @property
    def is_over(self) -> bool:
        """Whether the run has ended, and its end is here."""
        last = self._events[-1] if self._events else None
        return isinstance(last, StatusChanged) and last.status.is_terminal

    def stream(self, show: Show, *, base_url: str, after: int) -> Stream:
        """The run from event `after` on. `show` is how whoever comes by this base URL sees a logged event."""
        return Stream(self, _Place(after, self._last_progress), show, base_url)

    async def changed(self) -> None:
        """Wait for progress, an event in the log, the end of the run, or a long silence."""
        if not self.is_over:
            await self.news.wait()
        self._check()

    async def end(self) -> None:
        """Wait for the end of the run."""
        await asyncio.wait({self._reading})
        self._check()

    def publish(self, event: RunEvent) -> None:
        """There is progress."""
        self._last_progress += 1
        sort = _sort(event)
        self._progress.pop(sort, None)  # a newer one goes to the end, so that the order is kept
        self._progress[sort] = self._last_progress, event
        self._tell()

    def wake(self) -> None:
        """The log has grown."""
        self._may_have_grown.set()

    def since(self, place: _Place, show: Show, base_url: str) -> bytes:
        """What is new for somebody at this place. Whoever is at the same one is given the same bytes."""
        self._check()
        written = self._written.get((place, base_url))
        if written is None:
            written = self._written[place, base_url] = self._write(place, show)
        return written

    def _check(self) -> None:
        """Whoever follows a log that cannot be read is told why."""
        if self._reading.done():
            self._reading.result()

    def _write(self, place: _Place, show: Show) -> bytes:
        logged = enumerate(self._events[place.logged :], start=place.logged + 1)
        chunks = [to_sse(show(event), number=number) for number, event in logged]
        if not self.is_over:
            chunks += [to_sse(event) for number, event in self._progress.values() if number > place.progress]
        return b"".join(chunks) or SILENCE

    def _tell(self) -> None:
        # What was written goes too, so that a signed URL is never handed out long after it was made.
        self._written.clear()
        self.news.set()
        self.news = asyncio.Event()

    async def _read(self) -> None:
        """Read the log whenever it may have grown, until the run is over."""
        is_silent = False
        while True:
            self._may_have_grown.clear()
            logged = await self._read_log(self._run_id, after=len(self._events))
            self._events += [decode_payload(payload) for _, payload in logged]
            if self.is_over:
                return
            if logged or is_silent:
                self._tell()
            is_silent = await self._wait()

    async def _wait(self) -> bool:
        """Wait until the log may have grown; whether it was just time to look, as another process may have written."""
        loop = asyncio.get_running_loop()
        timer = loop.call_later(self._keep_alive_seconds, self._may_have_grown.set)
        try:
            await self._may_have_grown.wait()
        finally:
            timer.cancel()
        return loop.time() >= timer.when()


class Stream:
    """What one follower of a run has not been told yet."""

    def __init__(self, tail: Tail, place: _Place, show: Show, base_url: str) -> None:
        self._tail = tail
        self._place = place
        self._show = show
        self._base_url = base_url
        self._news: asyncio.Event | None = None
        self._is_over = False

    async def next(self) -> bytes:
        """Server-sent events, as soon as there are any, or a comment after a while; empty after the end of the run."""
        if self._is_over:
            return b""
        if self._news:
            await self._news.wait()
        tail = self._tail
        chunk = tail.since(self._place, self._show, self._base_url)
        # Kept before the chunk is sent: what comes meanwhile is not slept through.
        self._news, self._place, self._is_over = tail.news, tail.place, tail.is_over
        return chunk


class Feed:
    """One for each server process."""

    def __init__(self, read_log: ReadLog, *, keep_alive_seconds: float) -> None:
        self._read_log = read_log
        self._keep_alive_seconds = keep_alive_seconds
        self._tails: dict[str, Tail] = {}
        self._live: dict[str, LiveStatus] = {}
        self.on_progress: Callable[[str, RunEvent], None] = lambda _run_id, _event: None
        """Called with whatever is published."""
        self.on_end: Callable[[str], None] = lambda _: None
        """Called with the id of a run that has ended here."""

    def publish(self, run_id: str, event: RunEvent) -> None:
        """Send progress of a run to whoever follows it now."""
        if isinstance(event, LiveStatus):
            self._live[run_id] = event
        if tail := self._tails.get(run_id):
            tail.publish(event)
        self.on_progress(run_id, event)

    def tell(self, run_id: str, event: RunEvent) -> None:
        """Send something to whoever follows a run now that is no progress of its own."""
        if tail := self._tails.get(run_id):
            tail.publish(event)

    @property
    def followed(self) -> list[str]:
        """The runs that somebody follows."""
        return list(self._tails)

    def wake(self, run_id: str) -> None:
        """The log of a run has grown."""
        if tail := self._tails.get(run_id):
            tail.wake()

    def wake_all(self) -> None:
        """The logs of some runs may have grown."""
        for tail in self._tails.values():
            tail.wake()

    def live(self, run_id: str) -> LiveStatus | None:
        """What a run that this process works on is doing at the moment."""
        return self._live.get(run_id)

    def forget(self, run_id: str) -> None:
        """A run has ended here."""
        self._live.pop(run_id, None)
        self.on_end(run_id)

    @asynccontextmanager
    async def follow(self, run_id: str) -> AsyncGenerator[Tail, None]:
        """Follow a run until the block ends."""
        tail = self._tails.get(run_id)
        if tail is None:
            tail = Tail(run_id, self._read_log, keep_alive_seconds=self._keep_alive_seconds)
            self._tails[run_id] = tail
        tail.followers += 1
        try:
            await tail.begin()
            yield tail
        finally:
            tail.followers -= 1
            if not tail.followers:
                del self._tails[run_id]  # at once: nobody new may come to one that is being closed
                await tail.close()


def _sort(event: RunEvent) -> _Sort:
    return type(event), event.node_id if isinstance(event, NodeProgress) else None
