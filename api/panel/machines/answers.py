"""Machines, as the page is told of them: what they are, what they are at, and what they lack for a graph."""

from __future__ import annotations

import asyncio
import logging
from typing import Any, Literal

from pydantic import Field

from ...client import Client
from ...errors import InvalidInput, NotSupported, OutpostError
from ...forms import name_of
from ...models import Deployment, Graph, Machine, MachineVerdict, Record, write_timestamp
from ...models.machines import IdleSeconds, MachineIds, Slots, Token
from ...models.records import Name, WebUrl
from ..call import MAX_GRAPHS, Call
from .kinds import HOSTED, OUTPOST, deeds_of

log = logging.getLogger("outpost.panel")

MAX_LOG = 256 * 1024
"""Bytes of each log that the page may ask for."""
_FACTS = {
    "processes",
    "queue",
    "working",
    "gpu",
    "vram_total",
    "vram_free",
    "comfyui_version",
    "python_version",
    "pytorch_version",
}
"""What is told of a machine as the platform knows it; None where it does not."""


class Wish(Record):
    """What a machine can be told, when it is added and later. Which of it counts depends on its kind."""

    name: Name | None = None
    endpoint: WebUrl | None = None
    """The address of a ComfyUI. It is the platform that opens it."""
    auth_token: Token | None = None
    """It goes to the platform, which never tells it again."""
    comfyui: Name | None = None
    gpu: Name | None = None
    machine_ids: MachineIds | None = None
    concurrency_limit: Slots | None = None
    idle_timeout: IdleSeconds | None = None
    keep_warm: bool | None = None


class NewMachine(Wish):
    """A machine that is to be added."""

    kind: Literal["comfyui", "managed", "pool", "builtin", "serverless"]


class Deletion(Record):
    """How to delete a machine."""

    force: bool = False
    """Although deployments use it."""


class Stop(Record):
    """How to stop a machine."""

    force: bool = False
    """Without waiting for what is at work on it."""


class LogQuery(Record):
    """How much of the logs to tell."""

    limit: int = Field(default=64 * 1024, ge=1, le=MAX_LOG)


class Checked(Record):
    """The graph that a machine is to be checked for."""

    workflow_api: Graph | None = None
    workflow: Graph | None = None


async def list_machines(call: Call) -> dict[str, Any]:
    """All machines, and what can be added. Raises OutpostError."""
    async with call.client() as client:
        found, is_outpost = await asyncio.gather(client.machines.list(), client.is_outpost())
        comfyuis = await _comfyuis(client) if is_outpost else []
    return {
        "machines": [_shown(each) for each in found],
        "offers": OUTPOST if is_outpost else HOSTED,
        "comfyuis": comfyuis,
    }


async def create_machine(call: Call) -> dict[str, Any]:
    """Add a machine. Raises OutpostError."""
    wish = await call.body(NewMachine)
    given = {name: value for name, value in wish.given().items() if value is not None and name != "kind"}
    name = given.pop("name", None)
    if not name:
        raise InvalidInput("A machine needs a name.", input_id="name")
    async with call.client() as client:
        match wish.kind:
            case "comfyui":
                made = await client.machines.create_custom(
                    name, given.pop("endpoint", ""), **_only(given, "auth_token", "concurrency_limit")
                )
            case "managed" | "serverless":
                made = await client.machines.create_serverless(
                    name, **_only(given, "comfyui", "gpu", "concurrency_limit", "idle_timeout", "keep_warm")
                )
            case "pool" | "builtin":
                made = await client.machines.create(name, wish.kind, **_only(given, "machine_ids", "concurrency_limit"))
    return _shown(made)


async def get_machine(call: Call) -> dict[str, Any]:
    """A machine, with what is in it and what uses it; it is asked how it is. Raises OutpostError."""
    async with call.client() as client:
        found = await client.machines.get(call.id("machine_id"))
        deployments, machines = await asyncio.gather(client.deployments.list(), client.machines.list())
    members = [each for each in machines if each.id in (found.machine_ids or [])]
    pools = [each for each in machines if found.id in (each.machine_ids or [])]
    return {
        **_shown(found),
        "endpoint": found.endpoint,
        "idle_timeout": found.idle_timeout,
        "keep_warm": found.keep_warm,
        "machine_ids": found.machine_ids,
        "created_at": write_timestamp(found.created_at) if found.created_at else None,
        "members": [_shown(each) for each in members],
        "pools": [_shown(each) for each in pools],
        "deployments": [_user(each) for each in deployments if each.machine_id == found.id],
    }


async def change_machine(call: Call) -> dict[str, Any]:
    """Change what a machine was told; what is absent stays. Raises OutpostError."""
    wish = await call.body(Wish)
    given = {name: value for name, value in wish.given().items() if value is not None}
    if not given:
        raise InvalidInput("Nothing was said of what to change of the machine.")
    async with call.client() as client:
        return _shown(await client.machines.update(call.id("machine_id"), **given))


async def delete_machine(call: Call) -> dict[str, Any]:
    """Delete a machine. Raises OutpostError; Conflict while deployments use it, unless it is forced."""
    deletion = await call.body(Deletion)
    async with call.client() as client:
        await client.machines.delete(call.id("machine_id"), force=deletion.force)
    return {}


async def start_machine(call: Call) -> dict[str, Any]:
    """Start a process of a machine that the server starts. Raises OutpostError."""
    async with call.client() as client:
        return _shown(await client.machines.start(call.id("machine_id")))


async def stop_machine(call: Call) -> dict[str, Any]:
    """Stop the processes of a machine that the server starts. Raises OutpostError."""
    stop = await call.body(Stop)
    async with call.client() as client:
        return _shown(await client.machines.stop(call.id("machine_id"), force=stop.force))


async def read_logs(call: Call) -> dict[str, Any]:
    """What the processes of a machine have printed, the newest process first. Raises OutpostError."""
    query = call.query(LogQuery)
    async with call.client() as client:
        found = await client.machines.logs(call.id("machine_id"), limit_bytes=query.limit)
    return {"logs": [each.model_dump(mode="json") for each in found]}


async def check_machine(call: Call) -> dict[str, Any]:
    """What a machine lacks for a graph; where it is not known, why. Raises OutpostError."""
    graph, machine_id = await call.body(Checked, max_bytes=MAX_GRAPHS), call.id("machine_id")
    if graph.workflow is None and graph.workflow_api is None:
        raise InvalidInput("There is no graph to check the machine for.")
    async with call.client() as client:
        try:
            found = await client.machines.check(machine_id, graph.workflow_api, workflow=graph.workflow)
        except NotSupported as error:
            found = MachineVerdict(is_known=False, reason=str(error))
    return found.model_dump(mode="json")


async def _comfyuis(client: Client) -> list[str] | None:
    """The ComfyUIs that the server can start. None where it does not say: the list of machines is not lost for that."""
    try:
        return await client.machines.comfyuis()
    except OutpostError as error:
        log.info("the ComfyUIs of the platform are not known: %s", error)
        return None


def _only(given: dict[str, Any], *names: str) -> dict[str, Any]:
    """What counts for a kind of machine: a form may have sent more."""
    return {name: given[name] for name in names if name in given}


def _shown(machine: Machine) -> dict[str, Any]:
    return {
        "id": machine.id,
        "name": machine.name,
        "kind": machine.type,
        "status": machine.status,
        "reason": machine.status_reason,
        "slots": machine.concurrency_limit,
        **machine.model_dump(include=_FACTS),
        "can": deeds_of(machine.type),
    }


def _user(deployment: Deployment) -> dict[str, Any]:
    return {
        "id": deployment.id,
        "name": name_of(deployment),
        "environment": deployment.environment,
        "workflow_id": deployment.workflow_id,
    }
