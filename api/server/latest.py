"""The latest of each thing that is told, let out at a bearable pace."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from typing import Generic, NamedTuple, TypeVar

E = TypeVar("E")


class Out(NamedTuple):
    """What is done when something is let out."""

    number: Callable[[], int]
    """Gives its place in the order of all that is let out."""
    tell: Callable[[], None]
    """Called afterwards."""


class Latest(Generic[E]):
    """Keeps only the newest event of each thing, and lets one out of each thing every so many seconds at most.

    The newest one is always let out in the end; `write` gives its bytes then.
    """

    def __init__(self, out: Out, *, seconds: float, write: Callable[[E], bytes]) -> None:
        self._number, self._tell = out
        self._seconds = seconds
        self._write = write
        self._newest: dict[str, E] = {}
        self._out: dict[str, tuple[int, bytes]] = {}
        self._again_at: dict[str, float] = {}
        self._timers: dict[str, asyncio.TimerHandle] = {}

    def put(self, key: str, event: E) -> None:
        """There is something newer of a thing."""
        loop = asyncio.get_running_loop()
        self._newest[key] = event
        if key in self._timers:
            return
        if (again_at := self._again_at.get(key, 0.0)) > loop.time():
            self._timers[key] = loop.call_at(again_at, self._let_out, key)
        else:
            self._let_out(key)

    def put_at_once(self, key: str, event: E) -> None:
        """There is something newer of a thing, and what was let out of it must not be told any more."""
        self._newest[key] = event
        if timer := self._timers.pop(key, None):
            timer.cancel()
        self._let_out(key)

    def get(self, key: str) -> E | None:
        """The newest of a thing."""
        return self._newest.get(key)

    def forget(self, key: str) -> None:
        """Nothing of a thing is to be told any more."""
        if timer := self._timers.pop(key, None):
            timer.cancel()
        for each in (self._newest, self._out, self._again_at):
            each.pop(key, None)

    def clear(self) -> None:
        """Nothing at all is to be told any more."""
        for key in list(self._newest):
            self.forget(key)

    def since(self, number: int) -> Iterator[bytes]:
        """What has been let out after the event with this number."""
        return (data for count, data in self._out.values() if count > number)

    def _let_out(self, key: str) -> None:
        self._timers.pop(key, None)
        self._again_at[key] = asyncio.get_running_loop().time() + self._seconds
        self._out[key] = self._number(), self._write(self._newest[key])
        self._tell()
