"""Graphs and machines, put where a platform finds them without the API."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from comfyui_outpost.api.models import Deployment
from comfyui_outpost.api.server.machines import Machine, MachineFactory
from comfyui_outpost.api.server.store import Store
from comfyui_outpost.api.server.store.keys import Owner


async def deploy(store: Store, owner: Owner, *, graph: dict[str, Any], name: str, slots: int) -> Deployment:
    """A deployment of a graph on a new built-in machine of the owner's, with so many runs at once."""
    machine_id = await store.machines.add(owner, name="built-in", kind="builtin", slots=slots)
    made = await store.workflows.create(owner, name=name, description=None, workflow={}, workflow_api=graph)
    return await store.deployments.put(
        owner,
        workflow_id=made.workflow_id,
        workflow_version_id=str(made.workflow_version_id),
        machine_id=machine_id,
        environment="production",
        name=name,
    )


def kinds_of(machines: Mapping[str, Machine]) -> dict[str, MachineFactory]:
    """Factories that give these machines, whatever the settings are."""

    def factory(machine: Machine) -> MachineFactory:
        return lambda _: machine

    return {name: factory(machine) for name, machine in machines.items()}
