"""The machines that this process works with: one implementation for each row, watched from its making to its end."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path

from .config import Rhythm
from .ending import end_tasks
from .health import UNKNOWN, Condition, HealthWatch
from .machines import Machine, MachineError, MachineFactory, MachineSettings
from .machines.facts import Facts, together
from .store.database import Row
from .store.machines import POOL, MachineStore

log = logging.getLogger("outpost.machines")

LOST = "It has gone away in the middle of a run, and is asked whether it is there again"
_TOLD = 3
"""Machines of a pool whose troubles are told."""


@dataclass(eq=False)
class HeldMachine:
    """A machine that is at work or could be."""

    row: Row
    machine: Machine
    watch: HealthWatch
    settings: MachineSettings
    """By which it works now."""
    at_work: int = 0
    """Runs that this process has given to it."""
    models: list[str] = field(default_factory=list[str])
    """What its last runs have loaded, the newest last, as far as it has not gone away since."""

    @property
    def id(self) -> str:
        return self.row["id"]

    @property
    def name(self) -> str:
        return self.row["name"]

    @property
    def free_slots(self) -> int:
        """How many more runs it can take; none while it is down."""
        return self.row["concurrency_limit"] - self.at_work if self.watch.condition.is_ready else 0


class Fleet:
    """`kinds` makes the machines of each type; `folders` are the ComfyUIs that the operator has allowed, by name."""

    def __init__(
        self,
        store: MachineStore,
        kinds: Mapping[str, MachineFactory],
        folders: Mapping[str, Path],
        *,
        rhythm: Rhythm,
    ) -> None:
        self.on_change: Callable[[str], None] = lambda _: None
        """Called with the id of a machine that goes down or comes back."""
        self.on_state: Callable[[str], None] = lambda _: None
        """Called then, too, and when a machine's processes have come or gone, or could not be started."""
        self._store = store
        self._kinds = kinds
        self._folders = folders
        self._rhythm = rhythm
        self._held: dict[str, HeldMachine] = {}
        self._pools: Mapping[str, Sequence[str]] = {}
        self._refreshing = asyncio.Lock()
        self._closing: set[asyncio.Task[None]] = set()
        self._starting: set[asyncio.Task[None]] = set()
        self._looking: dict[str, asyncio.Task[None]] = {}
        self._moved: set[str] = set()
        """Machines whose processes have come or gone since they were asked."""

    @property
    def machines(self) -> list[HeldMachine]:
        """Every machine that can be given runs, the oldest first."""
        return list(self._held.values())

    @property
    def is_in_trouble(self) -> bool:
        """Whether there is a machine that takes no runs."""
        return not all(each.watch.condition.is_ready for each in self.machines)

    async def refresh(self) -> None:
        """Take up the machines that have been added, and let go of those that were deleted and have nothing to do."""
        async with self._refreshing:
            rows, pools = await self._store.rows(), await self._store.members()
            there = {row["id"] for row in rows}
            # A pool that has lost its last machine is one all the same.
            self._pools = {row["id"]: pools.get(row["id"], []) for row in rows if row["type"] == POOL}
            for row in rows:
                self._hold(row)
            for held in [each for each in self.machines if each.id not in there and not each.at_work]:
                del self._held[held.id]
                closing = asyncio.create_task(self._let_go(held))
                self._closing.add(closing)
                closing.add_done_callback(self._closing.discard)

    def of(self, machine_id: str) -> list[HeldMachine]:
        """The machines that a run for this machine or pool may go to."""
        ids = self._pools.get(machine_id, (machine_id,))
        return [self._held[each] for each in ids if each in self._held]

    def pools_of(self, machine_id: str) -> list[str]:
        """The pools that a machine is in."""
        return [pool_id for pool_id, members in self._pools.items() if machine_id in members]

    async def examine(self, row: Row) -> Condition:
        """Ask a machine how it is, or every one of a pool."""
        if row["type"] == POOL:
            await asyncio.gather(*(each.watch.ask() for each in self.of(row["id"])))
        elif held := self._hold(row):
            await held.watch.ask()
        else:
            return Condition("error", f"This server has no machines of the type {row['type']!r}")
        return self.condition(row["id"])

    def condition(self, machine_id: str) -> Condition:
        """How a machine was when it was last asked. A pool is as well as the best of its machines."""
        machines = self.of(machine_id)
        conditions = [each.watch.condition for each in machines]
        if machine_id not in self._pools:
            return conditions[0] if conditions else UNKNOWN
        if not machines:
            return Condition("error", "The pool has no machine any more")
        if best := next((each for each in conditions if each.is_ready), None):
            return best
        if UNKNOWN in conditions:
            return UNKNOWN
        troubles = [f"{each.name}: {each.watch.condition.reason}" for each in machines]
        more = [f"and {len(troubles) - _TOLD} more"] if len(troubles) > _TOLD else []
        return Condition("error", "; ".join([*troubles[:_TOLD], *more]))

    def told(self, machine_id: str) -> Condition:
        """How a machine is for people: one whose last start has failed takes runs, and is in error all the same."""
        condition, trouble = self.condition(machine_id), self.facts(machine_id).trouble
        return Condition("error", trouble) if condition.is_ready and trouble else condition

    def facts(self, machine_id: str) -> Facts:
        """What is known of a machine, or of those of a pool together."""
        known = [_facts(each) for each in self.of(machine_id)]
        return known[0] if len(known) == 1 else together(known)

    def start(self, machine_id: str) -> None:
        """Begin to start a machine. How that ends is told among its facts."""
        for held in self.of(machine_id):
            starting = asyncio.create_task(self._start(held))
            self._starting.add(starting)
            starting.add_done_callback(self._starting.discard)

    async def stop(self, machine_id: str, *, force: bool) -> None:
        """Stop a machine's own processes when what is at work has ended, or, with `force`, at once."""
        for held in self.of(machine_id):
            await held.machine.stop(force=force)
            await self._look(held)

    async def _start(self, held: HeldMachine) -> None:
        try:
            await held.machine.start()
        except MachineError as error:
            log.warning("machine %s (%s) could not be started: %s", held.id, held.name, error.failure.message)
        await self._look(held)

    def _note_processes(self, machine_id: str) -> None:
        """A machine's processes have changed: it is asked at once, and not only when its turn comes."""
        held, looking = self._held.get(machine_id), self._looking.get(machine_id)
        if held is None:
            return  # it is being closed
        self._moved.add(machine_id)
        if looking is None or looking.done():
            self._looking[machine_id] = asyncio.create_task(self._look_while_it_moves(held))

    async def _look_while_it_moves(self, held: HeldMachine) -> None:
        while held.id in self._moved:
            self._moved.discard(held.id)
            await self._look(held)

    async def _look(self, held: HeldMachine) -> None:
        await held.watch.ask()
        self.on_state(held.id)

    async def _let_go(self, held: HeldMachine) -> None:
        if looking := self._looking.pop(held.id, None):
            await end_tasks([looking])
        self._moved.discard(held.id)
        await _close(held)

    def note_loss(self, machine_id: str) -> None:
        """A machine has gone away in the middle of a run: it takes no other until it answers again."""
        if held := self._held.get(machine_id):
            held.models.clear()
            held.watch.note_loss(LOST)

    async def close(self) -> None:
        """Close every machine. No run is at work any more."""
        machines, self._held = self.machines, {}
        await end_tasks([*self._starting, *self._looking.values()])
        await asyncio.gather(*(_close(each) for each in machines), *self._closing)

    def _hold(self, row: Row) -> HeldMachine | None:
        """The machine of a row, made when there is none yet; None when this server knows no such type."""
        held = self._held.get(row["id"])
        if held:
            held.row, settings = row, self._settings(row)
            if settings != held.settings:
                held.settings = settings
                held.machine.adopt(settings)
        elif factory := self._kinds.get(row["type"]):
            settings = self._settings(row)
            machine = factory(settings)
            watch = HealthWatch(machine, on_change=lambda: self._note_change(row["id"]), rhythm=self._rhythm)
            held = self._held[row["id"]] = HeldMachine(row, machine, watch, settings)
        return held

    def _note_change(self, machine_id: str) -> None:
        if held := self._held.get(machine_id):
            condition = held.watch.condition
            is_asleep = condition.is_ready and _facts(held).processes == 0
            ready = "takes runs, and no ComfyUI of it is started yet" if is_asleep else "is ready"
            how = ready if condition.is_ready else f"takes no runs: {condition.reason}"
            log.info("machine %s (%s) %s", held.id, held.name, how)
        self.on_change(machine_id)
        self.on_state(machine_id)

    def _settings(self, row: Row) -> MachineSettings:
        return MachineSettings(
            id=row["id"],
            type=row["type"],
            endpoint=row["endpoint"],
            auth_token=row["auth_token"],
            comfyui=row["comfyui"],
            folder=self._folders.get(row["comfyui"] or ""),
            idle_timeout=60.0 if row["idle_timeout"] is None else row["idle_timeout"],
            keep_warm=row["keep_warm"],
            concurrency_limit=row["concurrency_limit"],
            on_change=partial(self._note_processes, row["id"]),
        )


def _facts(held: HeldMachine) -> Facts:
    facts = held.watch.facts or Facts()
    return facts if held.watch.condition.is_ready else replace(facts, vram_free=None)


async def _close(held: HeldMachine) -> None:
    await held.watch.close()
    try:
        await held.machine.close()
    except (OSError, MachineError):
        log.warning("machine %s could not be closed in good order", held.id, exc_info=True)
