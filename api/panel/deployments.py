"""Deployments, as the page is told of them: no graph, no signed URL."""

from __future__ import annotations

from contextlib import suppress
from typing import Any

from ..client import Client
from ..errors import InvalidInput, OutpostError
from ..forms import form_of, name_of
from ..models import Deployment, Record, write_timestamp
from ..models.deployments import Environment
from ..models.records import Id
from .call import Call
from .live.names import Names
from .workflows.answers import Key


class NewDeployment(Record):
    """A version of a workflow that is to be deployed. It replaces what the workflow has in the same environment."""

    workflow_id: Id
    workflow_version_id: Id
    machine_id: Id
    environment: Environment = "production"
    key: Key
    force: bool = False
    """Although the machine lacks something for the graph."""


class Change(Record):
    """What a deployment is to run instead; what is absent stays."""

    workflow_version_id: Id | None = None
    machine_id: Id | None = None
    force: bool = False
    """Although the machine lacks something for the graph."""


async def list_deployments(call: Call) -> dict[str, Any]:
    """All deployments, by name. Raises OutpostError."""
    async with call.client() as client:
        found = await _shown(call, client, await client.deployments.list())
    found.sort(key=lambda each: (each["name"].casefold(), each["environment"] or "", each["id"]))
    return {"deployments": found}


async def create_deployment(call: Call) -> dict[str, Any]:
    """Deploy a version, or let the deployment in this environment run it. Raises OutpostError."""
    body = await call.body(NewDeployment)
    async with call.client() as client:
        made = await client.deployments.create(
            workflow_id=body.workflow_id,
            workflow_version_id=body.workflow_version_id,
            machine_id=body.machine_id,
            environment=body.environment,
            check_machine=False if body.force else None,
            idempotency_key=body.key,
        )
        return await _answered(call, client, made)


async def get_form(call: Call) -> dict[str, Any]:
    """What a deployment takes and gives, and under `deployment` what lists show of it. Raises OutpostError."""
    async with call.client() as client:
        found = await client.deployments.get(call.id("deployment_id"))
        [shown] = await _shown(call, client, [found])
    return {**form_of(found).model_dump(mode="json"), "deployment": shown}


async def change_deployment(call: Call) -> dict[str, Any]:
    """Let a deployment run another version, or on another machine. Raises OutpostError."""
    body = await call.body(Change)
    if not (body.workflow_version_id or body.machine_id):
        raise InvalidInput("Nothing was said of what to change of the deployment.")
    async with call.client() as client:
        changed = await client.deployments.update(
            call.id("deployment_id"),
            workflow_version_id=body.workflow_version_id,
            machine_id=body.machine_id,
            check_machine=False if body.force else None,
        )
        return await _answered(call, client, changed)


async def delete_deployment(call: Call) -> dict[str, Any]:
    """Delete a deployment. Raises OutpostError; Conflict where the platform keeps it."""
    async with call.client() as client:
        await client.deployments.delete(call.id("deployment_id"))
    return {}


async def activate_deployment(call: Call) -> dict[str, Any]:
    """Let a deployment take runs again. Raises OutpostError."""
    async with call.client() as client:
        return await _answered(call, client, await client.deployments.activate(call.id("deployment_id")))


async def deactivate_deployment(call: Call) -> dict[str, Any]:
    """Let a deployment take no runs. Raises OutpostError."""
    async with call.client() as client:
        return await _answered(call, client, await client.deployments.deactivate(call.id("deployment_id")))


async def list_history(call: Call) -> dict[str, Any]:
    """What a deployment has run before, the newest first. Raises OutpostError; NotSupported where it is not kept."""
    async with call.client() as client:
        found = await client.deployments.history(call.id("deployment_id"))
    return {"history": [each.model_dump(mode="json") for each in found]}


async def _answered(call: Call, client: Client, deployment: Deployment) -> dict[str, Any]:
    """A deployment that was made or changed. The hosted platform tells of its workflow and version only when asked."""
    if not (deployment.workflow and deployment.version):
        with suppress(OutpostError):  # it is done, whatever is known of it
            deployment = await client.deployments.get(deployment.id)
    [shown] = await _shown(call, client, [deployment])
    return shown


async def _shown(call: Call, client: Client, deployments: list[Deployment]) -> list[dict[str, Any]]:
    names = call.desk.watcher.names
    await names.learn_machines(client, deployments)
    return [_row_of(each, names) for each in deployments]


def _row_of(deployment: Deployment, names: Names) -> dict[str, Any]:
    workflow, version, machine = deployment.workflow, deployment.version, deployment.machine
    changed = deployment.updated_at or deployment.created_at
    return {
        "id": deployment.id,
        "name": name_of(deployment),
        "environment": deployment.environment,
        "workflow_id": deployment.workflow_id,
        "workflow": workflow.name if workflow else None,
        "version": version.version if version else None,
        "workflow_version_id": deployment.workflow_version_id,
        "machine": machine.name if machine else names.machine(deployment.machine_id),
        "machine_id": deployment.machine_id or (machine.id if machine else None),
        "is_active": deployment.is_active is not False,
        "updated_at": write_timestamp(changed) if changed else None,
    }
