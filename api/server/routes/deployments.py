"""Deployments."""

from __future__ import annotations

from ...errors import Conflict
from ...inputs import PREFIX, inputs_of, outputs_of
from ...models import Deployment, DeploymentChange, DeploymentQuery, Id, KeyScope, Message, NewDeployment
from ..call import Call
from ..endpoint import Access, Endpoint

_NEVER_EMPTY = ("workflow_version_id", "machine_id", "environment", "name")


async def list_deployments(call: Call, query: DeploymentQuery) -> list[Deployment]:
    """List deployments without their graphs, the newest change first; all environments unless one is named."""
    return await call.platform.store.deployments.list(call.owner, query)


async def create_deployment(call: Call, body: NewDeployment) -> Deployment:
    """Put a workflow version on a machine, in place of what the workflow has in that environment."""
    store = call.platform.store.deployments
    limits = {name: getattr(body, name) for name in ("name", "run_timeout", "concurrency_limit")}
    values = {name: getattr(body, name) for name in ("workflow_version_id", "machine_id", "environment")}
    if body.deployment_id:
        given = values | {name: value for name, value in limits.items() if value is not None}
        deployment = await store.change(call.owner, body.deployment_id, given)
    else:
        deployment = await store.put(call.owner, workflow_id=body.workflow_id, **values, **limits)
    call.platform.dispatcher.wake()  # more of its runs may begin
    return with_types(deployment)


async def get_deployment(call: Call, deployment_id: Id) -> Deployment:
    """Read a deployment with its inputs and outputs. A key that may only run sees no graphs and no widgets' values."""
    deployment = with_types(await call.platform.store.deployments.get(call.owner, deployment_id))
    return _for_runners(deployment) if call.holder.scope is KeyScope.RUN else deployment


async def change_deployment(call: Call, deployment_id: Id, body: DeploymentChange) -> Deployment:
    """Give a deployment another version, machine, environment, name or limit."""
    values = {name: value for name, value in body.given().items() if value is not None or name not in _NEVER_EMPTY}
    deployment = await call.platform.store.deployments.change(call.owner, deployment_id, values)
    call.platform.dispatcher.wake()  # more of its runs may begin
    return with_types(deployment)


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
    Endpoint("POST", "/deployment", create_deployment, Access.WRITE, (Conflict,), may_miss=True),
    Endpoint("GET", "/deployment/{deployment_id}", get_deployment, Access.READ_OR_RUN),
    Endpoint("PATCH", "/deployment/{deployment_id}", change_deployment, Access.WRITE, (Conflict,)),
    Endpoint("DELETE", "/deployment/{deployment_id}", delete_deployment, Access.WRITE),
    Endpoint("POST", "/deployment/{deployment_id}/deactivate", deactivate_deployment, Access.WRITE),
    Endpoint("POST", "/deployment/{deployment_id}/activate", activate_deployment, Access.WRITE),
]
