"""Machines."""

from __future__ import annotations

from ...errors import Conflict, InvalidInput
from ...models import (
    Id,
    Machine,
    MachineDeletion,
    MachineQuery,
    Message,
    NewCustomMachine,
    NewMachine,
    NewServerlessMachine,
)
from ..call import Call, unprocessable, validate
from ..endpoint import Access, Endpoint
from ..machines.comfyui import check_comfyui


async def list_machines(call: Call, query: MachineQuery) -> list[Machine]:
    """List machines, oldest first, as they were when they were last asked."""
    pool = call.platform.machines
    found = await call.platform.store.machines.list(call.owner, query)
    conditions = ((machine, pool.condition(machine.id)) for machine in found)
    return [each.model_copy(update={"status": how.status, "status_reason": how.reason}) for each, how in conditions]


async def get_machine(call: Call, machine_id: Id) -> Machine:
    """Read a machine; it is asked how it is."""
    store, pool = call.platform.store.machines, call.platform.machines
    how = await pool.examine(await store.row(call.owner, machine_id))
    machine = await store.get(call.owner, machine_id)
    return machine.model_copy(update={"status": how.status, "status_reason": how.reason})


async def create_machine(call: Call, body: NewMachine) -> Machine:
    """Create a machine of any type."""
    fields = body.model_dump(exclude_none=True)
    match body.type:
        case "comfyui" | "classic":
            return await create_custom_machine(call, validate(NewCustomMachine, fields, where="body"))
        case "managed" | "serverless":
            return await create_serverless_machine(call, validate(NewServerlessMachine, fields, where="body"))
        case "builtin":
            return await _add(call, body.name, kind="builtin", slots=body.concurrency_limit)


async def create_custom_machine(call: Call, body: NewCustomMachine) -> Machine:
    """Add a ComfyUI that runs already. It is asked first, and kept only if it answers as one."""
    try:
        await check_comfyui(body.endpoint, auth_token=body.auth_token)
    except InvalidInput as error:
        raise unprocessable(("body", "endpoint"), str(error)) from error
    settings = {"endpoint": body.endpoint, "auth_token": body.auth_token}
    return await _add(call, body.name, kind="comfyui", slots=body.concurrency_limit, **settings)


async def create_serverless_machine(call: Call, body: NewServerlessMachine) -> Machine:
    """Add a ComfyUI that the server starts when a run needs it, from a folder that its operator has allowed."""
    settings = {"comfyui": _allowed(call, body.comfyui), "idle_timeout": body.idle_timeout, "keep_warm": body.keep_warm}
    return await _add(call, body.name, kind="managed", slots=body.concurrency_limit, **settings)


async def delete_machine(call: Call, machine_id: Id, query: MachineDeletion) -> Message:
    """Delete a machine that no deployment uses, or, with force, any."""
    await call.platform.store.machines.delete(call.owner, machine_id, force=query.force)
    call.platform.dispatcher.reload_machines()
    call.platform.tell_of_abandoned_runs()
    return Message(message="Machine deleted")


async def _add(call: Call, name: str, *, kind: str, slots: int, **settings: object) -> Machine:
    machine_id = await call.platform.store.machines.add(call.owner, name=name, kind=kind, slots=slots, **settings)
    call.platform.dispatcher.reload_machines()
    return await get_machine(call, machine_id)


def _allowed(call: Call, name: str | None) -> str:
    """The name of a ComfyUI that the operator has allowed: the one that was asked for, or the only one."""
    names = list(call.platform.config.comfyui_folders)
    if not names:
        raise unprocessable(
            ("body", "comfyui"),
            "This server may start no ComfyUI. Its operator allows one with: --comfyui-folder NAME=PATH",
        )
    if name is None and len(names) == 1:
        return names[0]
    if name not in names:
        raise unprocessable(
            ("body", "comfyui"), f"has to be one that the server may start: {', '.join(map(repr, names))}"
        )
    return name


ENDPOINTS: list[Endpoint] = [
    Endpoint("GET", "/machines", list_machines, Access.READ),
    Endpoint("GET", "/machine/{machine_id}", get_machine, Access.READ),
    Endpoint("POST", "/machine/create", create_machine, Access.WRITE),
    Endpoint("POST", "/machine/custom", create_custom_machine, Access.WRITE),
    Endpoint("POST", "/machine/serverless", create_serverless_machine, Access.WRITE),
    Endpoint("DELETE", "/machine/{machine_id}", delete_machine, Access.WRITE, (Conflict,)),
]
