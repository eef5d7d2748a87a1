"""The machines that this process works with: one implementation for each row, made when it is first needed."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from .machines import Machine, MachineError, MachineFactory, MachineSettings

log = logging.getLogger("outpost.machines")

HEALTH_SECONDS = 5
"""How long a machine may take to say how it is."""


@dataclass(frozen=True)
class Condition:
    """How a machine was when it was last asked."""

    status: str
    """`ready`, `error`, or `not-started` for one that was not asked yet."""
    reason: str | None = None


_UNKNOWN = Condition("not-started")


@dataclass
class _Held:
    settings: MachineSettings
    machine: Machine


@dataclass
class MachinePool:
    """`kinds` makes the machines of each type; `folders` are the ComfyUIs that the operator has allowed, by name."""

    kinds: Mapping[str, MachineFactory]
    folders: Mapping[str, Path] = field(default_factory=dict[str, Path])
    _held: dict[str, _Held] = field(default_factory=dict[str, _Held], init=False)
    _conditions: dict[str, Condition] = field(default_factory=dict[str, Condition], init=False)

    def machine(self, row: Mapping[str, Any]) -> Machine | None:
        """The machine of a row; None when this server knows no such type."""
        held = self._held.get(row["id"])
        if held is None and (factory := self.kinds.get(row["type"])):
            settings = self._settings(row)
            held = self._held[row["id"]] = _Held(settings, factory(settings))
        return held.machine if held else None

    def condition(self, machine_id: str) -> Condition:
        """How a machine was when it was last asked."""
        return self._conditions.get(machine_id, _UNKNOWN)

    def note_work(self, machine_id: str) -> None:
        """A machine has done a run to its end, so it is well."""
        self._conditions[machine_id] = Condition("ready")

    async def examine(self, row: Mapping[str, Any]) -> Condition:
        """Ask a machine how it is."""
        self._conditions[row["id"]] = condition = await self._examine(row)
        return condition

    async def _examine(self, row: Mapping[str, Any]) -> Condition:
        machine = self.machine(row)
        if machine is None:
            return Condition("error", f"This server has no machines of the type {row['type']!r}")
        try:
            await asyncio.wait_for(machine.health(), HEALTH_SECONDS)
        except MachineError as error:
            return Condition("error", error.failure.message)
        except asyncio.TimeoutError:
            return Condition("error", f"It has not answered within {HEALTH_SECONDS} seconds")
        return Condition("ready")

    async def retain(self, machine_ids: Collection[str]) -> None:
        """Close every machine but these."""
        for machine_id in [each for each in self._held if each not in machine_ids]:
            self._conditions.pop(machine_id, None)
            held = self._held.pop(machine_id)
            try:
                await held.machine.close()
            except (OSError, MachineError):
                log.warning("machine %s could not be closed in good order", machine_id, exc_info=True)

    async def close(self) -> None:
        """Close every machine."""
        await self.retain(())

    def _settings(self, row: Mapping[str, Any]) -> MachineSettings:
        return MachineSettings(
            id=row["id"],
            type=row["type"],
            endpoint=row["endpoint"],
            auth_token=row["auth_token"],
            folder=self.folders.get(row["comfyui"] or ""),
            idle_timeout=60.0 if row["idle_timeout"] is None else row["idle_timeout"],
            keep_warm=row["keep_warm"],
            concurrency_limit=row["concurrency_limit"],
        )
