"""What all pages are told: the newest state of each thing, in the order in which it came to be so."""

from __future__ import annotations

import asyncio
import secrets
from collections import OrderedDict
from collections.abc import Mapping
from typing import Any, NamedTuple

_KEPT = 1000


class News(NamedTuple):
    """One event for the page."""

    number: int
    name: str
    data: Mapping[str, Any]


class Bulletin:
    """Keeps one entry for each thing, so that it is bounded and its end is never lost behind what was before it.

    Every page has read up to a number. A slow one misses what lies between two states of a thing, and one that has
    missed more than that is told so.
    """

    def __init__(self, *, kept: int = _KEPT) -> None:
        self._kept = kept
        self._era = secrets.token_hex(4)
        self._news: OrderedDict[tuple[str, str], News] = OrderedDict()
        self._floor = 0
        self._grown = asyncio.Event()
        self.last = 0
        """The number of the newest entry."""

    def tell(self, name: str, key: str, data: Mapping[str, Any]) -> None:
        """Tell something of the thing `key`, in place of what was told of it before."""
        self.last += 1
        self._news[name, key] = News(self.last, name, data)
        self._news.move_to_end((name, key))
        while len(self._news) > self._kept:
            self._lose_oldest()
        grown, self._grown = self._grown, asyncio.Event()
        grown.set()

    def _lose_oldest(self) -> None:
        """Lose what is told again when it changes, or is read from lists; who a page speaks to is told only once."""
        oldest = next((place for place in self._news if place[0] != "connection"), None)
        if oldest:
            self._floor = max(self._floor, self._news.pop(oldest).number)

    def told(self, name: str, key: str) -> Mapping[str, Any] | None:
        """What was told last of a thing."""
        found = self._news.get((name, key))
        return found.data if found else None

    def all(self, name: str) -> list[News]:
        """What there is of one sort, the oldest first."""
        return [each for each in self._news.values() if each.name == name]

    def forget(self) -> None:
        """Nothing that was told counts any more: whoever has read it has to begin anew."""
        self.last += 1
        self._floor = self.last
        self._news.clear()

    def place(self, number: int) -> str:
        """A number as an id from which a page can go on, also later."""
        return f"{self._era}-{number}"

    def number(self, place: str) -> int | None:
        """The number in an id; None for one that is not from here, or from before something was lost."""
        era, _, text = place.partition("-")
        if era != self._era or not text.isdecimal() or len(text) > 15:
            return None
        return int(text) if self._floor <= int(text) <= self.last else None

    def since(self, number: int) -> list[News] | None:
        """What is newer, in its order; None when something newer has been lost."""
        if number < self._floor:
            return None
        found: list[News] = []
        for each in reversed(self._news.values()):
            if each.number <= number:
                break
            found.append(each)
        return found[::-1]

    async def grown(self, number: int) -> None:
        """Wait until there is something newer."""
        while self.last <= number:
            await self._grown.wait()
