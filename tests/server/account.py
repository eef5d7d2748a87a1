"""Somebody who follows what happens to their things."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, TypeVar

from comfyui_outpost.api.account_events import AccountEvent, StreamBegun, decode

from .talking import WAIT_SECONDS, Talker, check_text

E = TypeVar("E")


@dataclass
class Told:
    """What a stream has told so far."""

    events: list[AccountEvent] = field(default_factory=list)
    numbers: list[int] = field(default_factory=list)
    """The ids of the events that have one."""
    comments: int = 0
    has_ended: bool = False
    _news: asyncio.Event = field(default_factory=asyncio.Event)

    def of(self, sort: type[E], /, **fields: Any) -> list[E]:
        """Those of one sort that have these fields."""
        return [
            each
            for each in self.events
            if isinstance(each, sort) and all(getattr(each, name) == value for name, value in fields.items())
        ]

    async def until(self, is_so: Callable[[Told], Any]) -> Told:
        """Itself once it is so."""

        async def wait() -> Told:
            while not is_so(self):
                self._news.clear()
                await self._news.wait()
            return self

        return await asyncio.wait_for(wait(), WAIT_SECONDS)

    async def listen(self, lines: Any, secrets: Any) -> None:
        number, name = None, ""
        async for line in lines:
            check_text(line, secrets)
            field_name, _, value = line.partition(": ")
            if field_name == "id":
                number = int(value)
            elif field_name == "event":
                name = value
            elif field_name == "data":
                self.events.append(decode(name, value))
                self.numbers += [] if number is None else [number]
                number = None
            elif line.startswith(":"):
                self.comments += 1
            self._news.set()
        self.has_ended = True
        self._news.set()


@asynccontextmanager
async def following(who: Talker, query: str = "", *, after: int | None = None) -> AsyncGenerator[Told, None]:
    """What this person is told, from the moment that the stream stands."""
    headers = {} if after is None else {"Last-Event-ID": str(after)}
    told = Told()
    async with who.http.stream("GET", f"/events{query}", headers=headers) as response:
        assert response.status_code == 200, await response.aread()
        assert response.headers["content-type"] == "text/event-stream; charset=utf-8"
        listening = asyncio.create_task(told.listen(response.aiter_lines(), who.secrets))
        try:
            yield await told.until(lambda told: told.of(StreamBegun))
        finally:
            listening.cancel()
            await asyncio.wait({listening})
