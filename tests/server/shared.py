"""One platform for all tests of a file that each need a platform, but none that is empty.

It is at work on an event loop of its own, because each test has another one. Nobody on it knows of anybody else, so
each test comes as two people who have just got their keys.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Generator
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from comfyui_outpost.api.server.platform import Platform
from comfyui_outpost.tests.fakes.backings import Backing
from comfyui_outpost.tests.fakes.platforms import Furnished, Person, newcomer, platform_in

WAIT_SECONDS = 60

T = TypeVar("T")


@dataclass(frozen=True)
class SharedPlatform:
    """A platform as one test sees it: from outside."""

    url: str
    """Origin, without the prefix `/api`."""
    folder: Path
    """Where it keeps its files."""
    owner: Person
    stranger: Person
    elsewhere: Elsewhere
    """Where it is at work."""


@dataclass(frozen=True)
class Elsewhere:
    """A platform in another thread."""

    url: str
    parts: Platform
    loop: asyncio.AbstractEventLoop

    async def seen_by_newcomers(self) -> SharedPlatform:
        """The platform, with two people who are new to it."""
        return SharedPlatform(self.url, self.parts.config.data, *await self.do(self._two_newcomers()), elsewhere=self)

    async def part_with(self, people: SharedPlatform) -> None:
        """Delete the machines of these two, which would be asked for ever how they are."""
        await self.do(self._delete_machines_of(people.owner, people.stranger))

    async def do(self, work: Coroutine[Any, Any, T]) -> T:
        """Have something done where the platform is at work."""
        return await asyncio.wrap_future(asyncio.run_coroutine_threadsafe(work, self.loop))

    async def _two_newcomers(self) -> list[Person]:
        found = await asyncio.gather(*(newcomer(self.parts.store) for _ in range(2)))
        await self.parts.fleet.refresh()  # their machines came without its knowledge
        return found

    async def _delete_machines_of(self, *people: Person) -> None:
        machines = self.parts.store.machines
        for person in people:
            for each in await machines.list(person.owner):
                await machines.delete(person.owner, each.id, force=True)
        await self.parts.fleet.refresh()


@contextmanager
def elsewhere(
    data: Path, backing: Backing, furnished_for: Callable[[Backing], Furnished], **settings: Any
) -> Generator[Elsewhere, None, None]:
    """A platform that is at work in a thread until the block ends. Takes the settings of `platform_in`."""
    begun: Future[Elsewhere] = Future()
    may_end = asyncio.Event()

    async def work() -> None:
        async with platform_in(data, backing, furnished_for, **settings) as running:
            loop = asyncio.get_running_loop()
            begun.set_result(Elsewhere(running.url, running.parts, loop))
            await may_end.wait()

    with ThreadPoolExecutor(1) as threads:
        working = threads.submit(lambda: asyncio.run(work()))
        if working in wait([begun, working], return_when=FIRST_COMPLETED).done:
            working.result()
        found = begun.result()
        try:
            yield found
        finally:
            found.loop.call_soon_threadsafe(may_end.set)
            working.result(WAIT_SECONDS)
