"""Machines."""

from __future__ import annotations

from ...errors import Conflict, InvalidInput, NotFound
from ...models import (
    Id,
    Machine,
    MachineCheck,
    MachineDeletion,
    MachineLog,
    MachineLogQuery,
    MachineQuery,
    MachineVerdict,
    Message,
    NewCustomMachine,
    NewMachine,
    NewPool,
    NewServerlessMachine,
)
from ..call import Call, unprocessable, validate
from ..checking import ask, ask_for_classes
from ..editor_graph import classes_of_workflow
from ..endpoint import GRAPH_BYTES, Access, Endpoint
from ..machines.comfyui import check_comfyui


async def list_machines(call: Call, query: MachineQuery) -> list[Machine]:
    """List machines, oldest first, as they were when they were last asked."""
    fleet = call.platform.fleet
    found = await call.platform.store.machines.list(call.owner, query)
    conditions = ((machine, fleet.condition(machine.id)) for machine in found)
    return [each.model_copy(update={"status": how.status, "status_reason": how.reason}) for each, how in conditions]


async def get_machine(call: Call, machine_id: Id) -> Machine:
    """Read a machine; it is asked how it is."""
    store = call.platform.store.machines
    how = await call.platform.fleet.examine(await store.row(call.owner, machine_id))
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
        case "pool":
            return await _create_pool(call, validate(NewPool, fields, where="body"))
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


async def check_machine(call: Call, machine_id: Id, body: MachineCheck) -> MachineVerdict:
    """Say what a machine, or of a pool the one that lacks least, lacks for a graph: node classes, models and other
    choices, required inputs. Of the editor's graph only the node classes are checked. One that is started on demand is
    started for it."""
    await call.platform.store.machines.row(call.owner, machine_id)
    if body.workflow_api is not None:
        verdict = await ask(call.platform.fleet, machine_id, body.workflow_api, None, may_start=True)
    else:
        verdict = await ask_for_classes(call.platform.fleet, machine_id, classes_of_workflow(body.workflow or {}))
    return MachineVerdict(is_known=verdict.doubt is None, reason=verdict.doubt, lacks=list(verdict.lacks))


async def read_machine_logs(call: Call, machine_id: Id, query: MachineLogQuery) -> list[MachineLog]:
    """Read what the processes of a managed machine have printed, the newest first. Others have none."""
    row = await call.platform.store.machines.row(call.owner, machine_id)
    held = [each for each in call.platform.fleet.of(machine_id) if each.id == row["id"]]
    return await held[0].machine.logs(query.limit_bytes) if held else []


async def delete_machine(call: Call, machine_id: Id, query: MachineDeletion) -> Message:
    """Delete a machine that no deployment uses, or, with force, any."""
    await call.platform.store.machines.delete(call.owner, machine_id, force=query.force)
    await _take_note(call)
    call.platform.tell_of_abandoned_runs()
    return Message(message="Machine deleted")


async def _add(call: Call, name: str, *, kind: str, slots: int, **settings: object) -> Machine:
    machine_id = await call.platform.store.machines.add(call.owner, name=name, kind=kind, slots=slots, **settings)
    await _take_note(call)
    return await get_machine(call, machine_id)


async def _create_pool(call: Call, body: NewPool) -> Machine:
    try:
        pool_id = await call.platform.store.machines.add_pool(call.owner, name=body.name, machine_ids=body.machine_ids)
    except (NotFound, Conflict) as error:
        raise unprocessable(("body", "machine_ids"), str(error)) from error
    await _take_note(call)
    return await get_machine(call, pool_id)


async def _take_note(call: Call) -> None:
    """There are machines more or less."""
    await call.platform.fleet.refresh()
    call.platform.dispatcher.wake()


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
    Endpoint("POST", "/machine/{machine_id}/check", check_machine, Access.WRITE, max_body_bytes=GRAPH_BYTES),
    Endpoint("GET", "/machine/{machine_id}/logs", read_machine_logs, Access.WRITE),
    Endpoint("POST", "/machine/create", create_machine, Access.WRITE),
    Endpoint("POST", "/machine/custom", create_custom_machine, Access.WRITE),
    Endpoint("POST", "/machine/serverless", create_serverless_machine, Access.WRITE),
    Endpoint("DELETE", "/machine/{machine_id}", delete_machine, Access.WRITE, (Conflict,)),
]
