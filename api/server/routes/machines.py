"""Machines."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import urlsplit

from ...errors import Conflict, InvalidInput, NotFound
from ...models import (
    CustomMachineChange,
    Id,
    Machine,
    MachineCheck,
    MachineDeletion,
    MachineLog,
    MachineLogQuery,
    MachineQuery,
    MachineStop,
    MachineVerdict,
    Message,
    NewCustomMachine,
    NewMachine,
    NewPool,
    NewServerlessMachine,
    PoolChange,
    ServerlessMachineChange,
)
from ..busy import busy
from ..call import Call, unprocessable, validate
from ..checking import ask, ask_for_classes
from ..editor_graph import classes_of_workflow
from ..endpoint import GRAPH_BYTES, Access, Endpoint
from ..fleet import Fleet
from ..machines.comfyui import check_comfyui
from ..store.account_events import Busy
from ..store.database import Row
from ..store.machines import MANAGED, POOL

_FACTS = ("gpu", "vram_total", "vram_free", "comfyui_version", "python_version", "pytorch_version", "processes")


async def list_machines(call: Call, query: MachineQuery) -> list[Machine]:
    """List machines, oldest first, as they were when they were last asked."""
    fleet = call.platform.fleet
    found = await call.platform.store.machines.list(call.owner, query)
    counted = await busy(call.platform.store.account_events, fleet, [each.id for each in found])
    return [_as_it_is(fleet, each, counted[each.id]) for each in found]


async def list_comfyuis(call: Call) -> list[str]:
    """List the ComfyUIs that the server may start, by the names under which machines ask for them."""
    return sorted(call.platform.config.comfyui_folders)


async def get_machine(call: Call, machine_id: Id) -> Machine:
    """Read a machine; it is asked how it is."""
    store = call.platform.store.machines
    fleet = call.platform.fleet
    how = await fleet.examine(await store.row(call.owner, machine_id))
    counted = await busy(call.platform.store.account_events, fleet, [machine_id])
    machine = _as_it_is(fleet, await store.get(call.owner, machine_id), counted[machine_id])
    # One of a type that this server does not know is told of by nobody else.
    return machine if how.is_ready else machine.model_copy(update={"status": how.status, "status_reason": how.reason})


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


async def change_custom_machine(call: Call, machine_id: Id, body: CustomMachineChange) -> Machine:
    """Change the name, address, token or limit of a ComfyUI that runs already; name and limit of a built-in machine.

    What is at work goes on as it was.
    """
    row = await _of_type(call, machine_id, "comfyui", "builtin")
    values = {name: value for name, value in body.given().items() if value is not None or name == "auth_token"}
    if "auth_token" in values:
        values["auth_token"] = values["auth_token"] or None
    if {"endpoint", "auth_token"} & set(values):
        await _check_address(row, values)
    return await _change(call, machine_id, values)


async def change_serverless_machine(call: Call, machine_id: Id, body: ServerlessMachineChange) -> Machine:
    """Change the name and limits of a ComfyUI that the server starts. What is at work goes on as it was."""
    await _of_type(call, machine_id, MANAGED)
    return await _change(call, machine_id, {name: value for name, value in body.given().items() if value is not None})


async def change_pool(call: Call, machine_id: Id, body: PoolChange) -> Machine:
    """Change the name of a pool, or which machines are in it. What waits for it may go to any of the new ones."""
    await _of_type(call, machine_id, POOL)
    return await _change(call, machine_id, {"name": body.name} if body.name else {}, machine_ids=body.machine_ids)


async def start_machine(call: Call, machine_id: Id) -> Machine:
    """Begin to start a process of a managed machine; it stays until it has been idle for long. A run needs no start."""
    await _of_type(call, machine_id, MANAGED)
    call.platform.fleet.start(machine_id)
    return await get_machine(call, machine_id)


async def stop_machine(call: Call, machine_id: Id, body: MachineStop) -> Machine:
    """Stop the processes of a managed machine when what is at work has ended, or, with force, at once.

    The next run starts one again.
    """
    await _of_type(call, machine_id, MANAGED)
    await call.platform.fleet.stop(machine_id, force=body.force)
    return await get_machine(call, machine_id)


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


def _as_it_is(fleet: Fleet, machine: Machine, counted: Busy) -> Machine:
    """A machine as it was when it was last asked, with what it has to do now."""
    how, facts = fleet.told(machine.id), fleet.facts(machine.id)
    known = {name: getattr(facts, name) for name in _FACTS}
    now = {"status": how.status, "status_reason": how.reason}
    return machine.model_copy(update={**known, **now, "queue": counted.waiting, "working": counted.working})


async def _of_type(call: Call, machine_id: str, *types: str) -> Row:
    row = await call.platform.store.machines.row(call.owner, machine_id)
    if row["type"] not in types:
        raise Conflict(f"{row['name']!r} is a machine of the type {row['type']!r}, for which there is no such call")
    return row


async def _change(
    call: Call, machine_id: str, values: Mapping[str, Any], *, machine_ids: Sequence[str] | None = None
) -> Machine:
    if values or machine_ids is not None:
        try:
            await call.platform.store.machines.change(call.owner, machine_id, values, machine_ids=machine_ids)
        except (NotFound, Conflict) as error:
            if machine_ids is None:
                raise
            raise unprocessable(("body", "machine_ids"), str(error)) from error
        await _take_note(call)
    return await get_machine(call, machine_id)


async def _check_address(row: Row, values: Mapping[str, Any]) -> None:
    """Try where a ComfyUI is to be, or with what token, before that is kept."""
    if row["type"] != "comfyui":
        raise unprocessable(("body", "endpoint"), "is nothing that a built-in machine has")
    endpoint = values.get("endpoint", row["endpoint"])
    is_elsewhere = _place_of(endpoint) != _place_of(row["endpoint"])
    if row["auth_token"] and is_elsewhere and "auth_token" not in values:
        raise unprocessable(
            ("body", "auth_token"),
            "has to be there with another address, or empty: what was kept for one is not sent to another",
        )
    try:
        await check_comfyui(endpoint, auth_token=values.get("auth_token", row["auth_token"]))
    except InvalidInput as error:
        raise unprocessable(("body", error.input_id or "endpoint"), str(error)) from error


def _place_of(endpoint: str | None) -> tuple[str, str, str]:
    parts = urlsplit(endpoint or "")
    return parts.scheme, parts.netloc, parts.path.rstrip("/")  # behind one gateway there may be many of them


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
    Endpoint("GET", "/machines/comfyuis", list_comfyuis, Access.READ),
    Endpoint("POST", "/machine/{machine_id}/start", start_machine, Access.WRITE, (Conflict,)),
    Endpoint("POST", "/machine/{machine_id}/stop", stop_machine, Access.WRITE, (Conflict,), is_body_optional=True),
    Endpoint("PATCH", "/machine/custom/{machine_id}", change_custom_machine, Access.WRITE, (Conflict,)),
    Endpoint("PATCH", "/machine/serverless/{machine_id}", change_serverless_machine, Access.WRITE, (Conflict,)),
    Endpoint("PATCH", "/machine/pool/{machine_id}", change_pool, Access.WRITE, (Conflict,)),
    Endpoint("POST", "/machine/create", create_machine, Access.WRITE),
    Endpoint("POST", "/machine/custom", create_custom_machine, Access.WRITE),
    Endpoint("POST", "/machine/serverless", create_serverless_machine, Access.WRITE),
    Endpoint("DELETE", "/machine/{machine_id}", delete_machine, Access.WRITE, (Conflict,)),
]
