"""Live news of runs inside this process: wakes the streams, and carries what is not worth logging.

The log in the store is the truth. Progress is kept here alone, and only the latest of each sort: a slow reader misses
steps in between and never holds up a run.
"""

from __future__ import annotations

import asyncio
from collections.abc import Generator
from contextlib import contextmanager

from ..events import LiveStatus, NodeProgress, RunEvent

_Sort = tuple[type, str | None]


class Subscription:
    """What one stream of a run has not seen yet."""

    def __init__(self) -> None:
        self._is_new = asyncio.Event()
        self._latest: dict[_Sort, RunEvent] = {}
        self._has_logged = True

    def publish(self, event: RunEvent) -> None:
        sort = _sort(event)
        self._latest.pop(sort, None)  # a newer one goes to the end, so that the order is kept
        self._latest[sort] = event
        self._is_new.set()

    def wake(self) -> None:
        self._has_logged = True
        self._is_new.set()

    async def wait(self, *, seconds: float) -> bool:
        """Wait for news; False when there was none for so long."""
        try:
            await asyncio.wait_for(self._is_new.wait(), seconds)
        except asyncio.TimeoutError:
            self._has_logged = True  # the log may have grown in another process
            return False
        return True

    def take(self) -> tuple[bool, list[RunEvent]]:
        """Whether the log may have grown, and the progress since the last call."""
        taken = self._has_logged, list(self._latest.values())
        self._is_new.clear()
        self._has_logged = False
        self._latest = {}
        return taken


class Feed:
    """One for each server process."""

    def __init__(self) -> None:
        self._subscriptions: dict[str, set[Subscription]] = {}
        self._live: dict[str, LiveStatus] = {}

    def publish(self, run_id: str, event: RunEvent) -> None:
        """Send progress of a run to whoever follows it now."""
        if isinstance(event, LiveStatus):
            self._live[run_id] = event
        for subscription in self._subscriptions.get(run_id, ()):
            subscription.publish(event)

    def wake(self, run_id: str) -> None:
        """The log of a run has grown."""
        for subscription in self._subscriptions.get(run_id, ()):
            subscription.wake()

    def live(self, run_id: str) -> LiveStatus | None:
        """What a run that this process works on is doing at the moment."""
        return self._live.get(run_id)

    def forget(self, run_id: str) -> None:
        """A run has ended here."""
        self._live.pop(run_id, None)

    @contextmanager
    def subscribe(self, run_id: str) -> Generator[Subscription, None, None]:
        """Follow a run until the block ends."""
        subscription = Subscription()
        self._subscriptions.setdefault(run_id, set()).add(subscription)
        try:
            yield subscription
        finally:
            followers = self._subscriptions[run_id]
            followers.discard(subscription)
            if not followers:
                del self._subscriptions[run_id]


def _sort(event: RunEvent) -> _Sort:
    return type(event), event.node_id if isinstance(event, NodeProgress) else None
