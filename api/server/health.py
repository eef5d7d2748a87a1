"""How one machine is: it is asked rarely while it is well, soon after it has failed, and then ever more rarely."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from dataclasses import dataclass

from .config import Rhythm
from .ending import end_tasks
from .machines import Machine, MachineError
from .machines.facts import Facts

log = logging.getLogger("outpost.machines")

ANSWER_SECONDS = 5
"""How long a machine may take to say how it is."""


@dataclass(frozen=True)
class Condition:
    """How a machine was when it was last asked."""

    status: str
    """`ready`, `error`, or `not-started` for one that was not asked yet."""
    reason: str | None = None

    @property
    def is_ready(self) -> bool:
        return self.status == "ready"


READY = Condition("ready")
UNKNOWN = Condition("not-started")


class HealthWatch:
    """Watches one machine from its making to `close`. `on_change` is called when its status is another one."""

    def __init__(self, machine: Machine, *, on_change: Callable[[], None], rhythm: Rhythm) -> None:
        self.condition = UNKNOWN
        self.facts: Facts | None = None
        """What it told of itself the last time that it was well."""
        self._machine = machine
        self._on_change = on_change
        self._rhythm = rhythm
        self._failures = 0
        self._losses = 0
        self._look_again = asyncio.Event()
        self._asking = asyncio.Lock()
        self._watching = asyncio.create_task(self._watch())

    async def ask(self) -> Condition:
        """Ask the machine now."""
        async with self._asking:
            losses = self._losses
            answer = await self._answer()
            if losses == self._losses:  # else it went away since it was asked
                self._note(answer)
        return self.condition

    def note_work(self) -> None:
        """It has done a run to its end, so it is well."""
        self._note(READY)

    def note_loss(self, reason: str) -> None:
        """It has gone away in the middle of something: it is down until it answers again."""
        self._losses += 1
        self._note(Condition("error", reason))
        self._look_again.set()

    async def close(self) -> None:
        """Ask no more."""
        await end_tasks([self._watching])

    def _note(self, condition: Condition) -> None:
        before, self.condition = self.condition, condition
        self._failures = 0 if condition.is_ready else self._failures + 1
        if condition.status != before.status:
            self._on_change()

    async def _watch(self) -> None:
        while True:
            self._look_again.clear()
            await self.ask()
            wait = self._pause()
            try:
                await asyncio.wait_for(self._look_again.wait(), wait)
            except asyncio.TimeoutError:
                continue
            await asyncio.sleep(self._pause())  # it has just gone: not at once

    def _pause(self) -> float:
        if not self._failures:
            return self._rhythm.well
        return min(self._rhythm.longest, self._rhythm.first * 2.0 ** min(self._failures - 1, 30))

    async def _answer(self) -> Condition:
        try:
            self.facts = await asyncio.wait_for(self._machine.health(), ANSWER_SECONDS)
        except MachineError as error:
            return Condition("error", error.failure.message)
        except asyncio.TimeoutError:
            return Condition("error", f"It has not answered within {ANSWER_SECONDS:g} seconds")
        except Exception:
            log.exception("a machine could not say how it is")
            return Condition("error", "It could not say how it is; the server's log has the reason")
        return READY
