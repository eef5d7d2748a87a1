"""Deployments."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from typing import Any

from ...errors import BadRequest, Conflict, NotFound
from ...inputs import PREFIX, inputs_of
from ...models import (
    DeployedVersion,
    Deployment,
    DeploymentChange,
    DeploymentQuery,
    Graph,
    Id,
    KeyScope,
    Message,
    NewDeployment,
)
from ...outputs import outputs_of
from ..call import Call
from ..checking import check_machine_for
from ..endpoint import Access, Endpoint
from ..repeating import once_of

_NEVER_EMPTY = ("workflow_version_id", "machine_id", "environment", "name", "retry_elsewhere", "check_machine")
_SETTINGS = ("name", "run_timeout", "queue_timeout", "concurrency_limit", "retry_elsewhere", "check_machine")

_CHECKED = ("machine_id", "workflow_version_id", "check_machine")
"""What a change may make a machine lack something by."""


async def list_deployments(call: Call, query: DeploymentQuery) -> list[Deployment]:
    """List deployments without their graphs, the newest change first; all environments unless one is named."""
    return await call.platform.store.deployments.list(call.owner, query)


async def create_deployment(call: Call, body: NewDeployment) -> Deployment:
    """Put a workflow version on a machine, in place of what the workflow has in that environment.

    The machine has to have the nodes and models that the graph needs, unless `check_machine` is false.
    """
    store, once = call.platform.store.deployments, await once_of(call, body)
    if made := await call.platform.store.once.find(call.owner, once):
        return with_types(await store.get(call.owner, made["id"]))
    settings = {name: getattr(body, name) for name in _SETTINGS}
    values = {name: getattr(body, name) for name in ("workflow_version_id", "machine_id", "environment")}
    await _check_new(call, body)
    if body.deployment_id:
        given = values | {name: value for name, value in settings.items() if value is not None}
        deployment = await store.change(call.owner, body.deployment_id, given, by=call.holder.name, once=once)
    else:
        values |= {"workflow_id": body.workflow_id, "by": call.holder.name, "once": once}
        deployment = await store.put(call.owner, **values, **settings)
    call.platform.dispatcher.wake()  # more of its runs may begin
    return with_types(deployment)


async def get_deployment(call: Call, deployment_id: Id) -> Deployment:
    """Read a deployment with its inputs and outputs. A key that may only run sees no graphs and no widgets' values."""
    deployment = with_types(await call.platform.store.deployments.get(call.owner, deployment_id))
    return _for_runners(deployment) if call.holder.scope is KeyScope.RUN else deployment


async def change_deployment(call: Call, deployment_id: Id, body: DeploymentChange) -> Deployment:
    """Give a deployment another version, machine, environment, name or limit."""
    values = {name: value for name, value in body.given().items() if value is not None or name not in _NEVER_EMPTY}
    await _check_change(call, deployment_id, values)
    deployment = await call.platform.store.deployments.change(call.owner, deployment_id, values, by=call.holder.name)
    call.platform.dispatcher.wake()  # more of its runs may begin
    return with_types(deployment)


async def list_history(call: Call, deployment_id: Id) -> list[DeployedVersion]:
    """List what a deployment has run, the newest first: a row for each change of its version or machine."""
    await call.platform.store.deployments.check(call.owner, deployment_id)
    return await call.platform.store.history.list(deployment_id)


async def delete_deployment(call: Call, deployment_id: Id) -> Message:
    """Delete a deployment. Its waiting runs fail with the reason; those at work go on."""
    await call.platform.store.deployments.delete(call.owner, deployment_id)
    call.platform.tell_of_abandoned_runs()
    return Message(message="Deployment deleted successfully")


async def deactivate_deployment(call: Call, deployment_id: Id) -> Deployment:
    """Accept no more runs of a deployment. Those that were accepted go on."""
    store = call.platform.store.deployments
    return with_types(await store.set_active(call.owner, deployment_id, is_active=False))


async def activate_deployment(call: Call, deployment_id: Id) -> Deployment:
    """Accept runs of a deployment again."""
    return with_types(await call.platform.store.deployments.set_active(call.owner, deployment_id, is_active=True))


async def _check_new(call: Call, body: NewDeployment) -> None:
    if body.deployment_id:
        await _check_change(call, body.deployment_id, body.given())
        return
    wanted, store = body.check_machine, call.platform.store
    if wanted is None:  # then what is there in that environment keeps its setting
        wanted = await store.deployments.checks_machine(call.owner, body.workflow_id, environment=body.environment)
    if wanted:
        graph = await _graph_of(call, body.workflow_version_id)
        await check_machine_for(call, body.machine_id, graph, place="machine_id")


async def _check_change(call: Call, deployment_id: str, values: Mapping[str, Any]) -> None:
    """Check a deployment as it will be, when its machine may lack something then that it did not before."""
    if not any(values.get(name) for name in _CHECKED):
        return
    now = await call.platform.store.deployments.get(call.owner, deployment_id)
    is_wanted = now.check_machine if values.get("check_machine") is None else values["check_machine"]
    version_id = values.get("workflow_version_id") or now.workflow_version_id
    machine_id = values.get("machine_id") or now.machine_id
    if is_wanted and version_id and machine_id:
        place = next(name for name in _CHECKED if values.get(name))
        await check_machine_for(call, machine_id, await _graph_of(call, version_id), place=place)


async def _graph_of(call: Call, version_id: str) -> Graph | None:
    """The executable graph of a version; None also when it is not there, which is told when that is to be kept."""
    with suppress(NotFound):
        return (await call.platform.store.workflows.version_by_id(call.owner, version_id)).workflow_api
    return None


def with_types(deployment: Deployment) -> Deployment:
    """A deployment with the inputs and outputs that its graph declares."""
    graph = (deployment.version and deployment.version.workflow_api) or {}
    return deployment.model_copy(update={"input_types": inputs_of(graph), "output_types": outputs_of(graph)})


def _for_runners(deployment: Deployment) -> Deployment:
    """A deployment without what its graph does not offer to whoever runs it."""
    version = deployment.version and deployment.version.model_copy(update={"workflow": None, "workflow_api": None})
    inputs = [
        each if each.class_type.startswith(PREFIX) else each.model_copy(update={"default_value": None})
        for each in deployment.input_types or ()
    ]
    return deployment.model_copy(update={"version": version, "input_types": inputs})


ENDPOINTS: list[Endpoint] = [
    Endpoint("GET", "/deployments", list_deployments, Access.READ_OR_RUN),
    Endpoint(
        "POST", "/deployment", create_deployment, Access.WRITE, (BadRequest, Conflict), is_once=True, may_miss=True
    ),
    Endpoint("GET", "/deployment/{deployment_id}", get_deployment, Access.READ_OR_RUN),
    Endpoint("PATCH", "/deployment/{deployment_id}", change_deployment, Access.WRITE, (Conflict,)),
    Endpoint("GET", "/deployment/{deployment_id}/history", list_history, Access.READ),
    Endpoint("DELETE", "/deployment/{deployment_id}", delete_deployment, Access.WRITE),
    Endpoint("POST", "/deployment/{deployment_id}/deactivate", deactivate_deployment, Access.WRITE),
    Endpoint("POST", "/deployment/{deployment_id}/activate", activate_deployment, Access.WRITE),
]
