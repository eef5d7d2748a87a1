"""Requests that make something, by their keys: whoever asks again is given what was made the first time."""

from __future__ import annotations

import asyncio
import logging
from collections import OrderedDict
from collections.abc import Awaitable, Callable
from contextlib import suppress
from datetime import datetime, timedelta, timezone
from typing import Any, TypeVar

from ..errors import ApiError, ConnectionFailed, Unavailable
from .platform import Platform

log = logging.getLogger("outpost.client")

_KEPT = 100
_HELD = 10
"""Requests that have ended while nobody waited for them. Their answers may hold graphs."""
_CLOCKS = timedelta(minutes=5)
"""By how much the platform's clock may be behind that of this computer."""

T = TypeVar("T")
Place = tuple[str, str]
"""The path of a request and its key."""
Find = Callable[[datetime], Awaitable[T | None]]
"""Looks for what a request has made, among what the platform has since a moment."""


class Unanswered:
    """Holds requests for as long as they are at work, and remembers which ones a platform has that knows no keys."""

    def __init__(self, platform: Platform) -> None:
        self._platform = platform
        self._since: OrderedDict[Place, datetime] = OrderedDict()
        self._held: OrderedDict[Place, asyncio.Task[Any]] = OrderedDict()

    async def once(self, place: Place, send: Callable[[], Awaitable[T]], *, find: Find[T]) -> T:
        """What `send` makes; what `find` finds where that was made already. Raises what they raise.

        Whoever waits may go away: the request goes on, and whoever comes with the same key is given how it ended. It
        is looked for when the answer is lost, and before a request with the same key is sent once more. A server of
        this package knows its keys, and is not asked for anything.
        """
        task: asyncio.Task[T] | None = self._held.get(place)
        if task is None:
            task = asyncio.create_task(self._sent(place, send, find))
            self._hold(place, task)
        await asyncio.wait({task})
        if self._held.get(place) is task:
            del self._held[place]
        return task.result()

    async def aclose(self) -> None:
        """End what is at work. Nobody waits for it any more."""
        tasks = list(self._held.values())
        self._held.clear()
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks)

    async def _sent(self, place: Place, send: Callable[[], Awaitable[T]], find: Find[T]) -> T:
        since = self._since.get(place)
        if since and (found := await find(since)) is not None:
            return found
        since = since or datetime.now(timezone.utc) - _CLOCKS
        try:
            made = await send()
        except (ConnectionFailed, Unavailable) as error:
            is_lost = not isinstance(error, ConnectionFailed) or error.was_sent
            if self._platform.is_outpost or not is_lost:
                raise
            self._remember(place, since)
            with suppress(ApiError, ConnectionFailed):
                if (found := await find(since)) is not None:
                    log.info("an answer was lost, and what was asked for had been done: %s", error)
                    return found
            raise
        if not self._platform.is_outpost:
            self._remember(place, since)
        return made

    def _hold(self, place: Place, task: asyncio.Task[Any]) -> None:
        task.add_done_callback(_seen)
        self._held[place] = task
        ended = [each for each, held in self._held.items() if held.done()]
        for each in ended[: max(0, len(ended) - _HELD)]:
            del self._held[each]

    def _remember(self, place: Place, since: datetime) -> None:
        self._since[place] = since
        while len(self._since) > _KEPT:
            self._since.popitem(last=False)


def _seen(task: asyncio.Task[Any]) -> None:
    """Python would write of an error that nobody came for, which is none of its business here."""
    if not task.cancelled():
        task.exception()
