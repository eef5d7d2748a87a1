"""Workflows and their versions."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from ...errors import Conflict
from ...models import (
    CloneRequest,
    Id,
    Message,
    NewVersion,
    NewWorkflow,
    VersionQuery,
    Workflow,
    WorkflowChange,
    WorkflowCreated,
    WorkflowQuery,
    WorkflowShown,
    WorkflowVersion,
)
from ..call import Call
from ..checking import check_machine_for
from ..endpoint import GRAPH_BYTES, Access, Endpoint

VersionNumber = Annotated[int, Field(ge=1, le=2**31 - 1)]


async def list_workflows(call: Call, query: WorkflowQuery) -> list[Workflow]:
    """List workflows: the pinned first, then the newest change."""
    return await call.platform.store.workflows.list(call.owner, query)


async def create_workflow(call: Call, body: NewWorkflow) -> WorkflowCreated:
    """Keep a graph as the first version of a new workflow. With a machine, that has to have what the graph needs."""
    if body.machine_id:
        await check_machine_for(call, body.machine_id, body.workflow_api, place="workflow_api")
    return await call.platform.store.workflows.create(
        call.owner,
        name=body.name,
        description=body.description,
        workflow=body.workflow_json,
        workflow_api=body.workflow_api,
        preview_on=body.machine_id,
    )


async def get_workflow(call: Call, workflow_id: Id, query: WorkflowShown) -> Workflow:
    """Read a workflow with its newest versions."""
    return await call.platform.store.workflows.get(call.owner, workflow_id, versions=query.limit)


async def change_workflow(call: Call, workflow_id: Id, body: WorkflowChange) -> Workflow:
    """Give a workflow another name, description, cover or machine, or pin it."""
    values = body.given()
    for name in ("name", "pinned"):
        if values.get(name, ...) is None:
            del values[name]  # neither can be empty, and on the hosted platform null means to leave it
    if body.selected_machine_id:
        await call.platform.store.machines.get(call.owner, body.selected_machine_id)
    return await call.platform.store.workflows.change(call.owner, workflow_id, values)


async def delete_workflow(call: Call, workflow_id: Id) -> Message:
    """Delete a workflow. Its deployments take no more runs, and those that wait fail with the reason."""
    await call.platform.store.workflows.delete(call.owner, workflow_id)
    call.platform.tell_of_abandoned_runs()
    return Message(message="Workflow deleted successfully")


async def clone_workflow(call: Call, workflow_id: Id, body: CloneRequest) -> Workflow:
    """Copy a workflow, with its newest version or with all of them."""
    return await call.platform.store.workflows.clone(call.owner, workflow_id, body)


async def list_versions(call: Call, workflow_id: Id, query: VersionQuery) -> list[WorkflowVersion]:
    """List the versions of a workflow, newest first."""
    return await call.platform.store.workflows.versions(call.owner, workflow_id, query)


async def add_version(call: Call, workflow_id: Id, body: NewVersion) -> WorkflowVersion:
    """Keep another version of a workflow. With a machine, that has to have what the graph needs."""
    store = call.platform.store.deployments
    if body.machine_id and await store.checks_machine(call.owner, workflow_id, environment="preview"):
        await check_machine_for(call, body.machine_id, body.workflow_api, place="workflow_api")
    return await call.platform.store.workflows.add_version(
        call.owner,
        workflow_id,
        workflow=body.workflow,
        workflow_api=body.workflow_api,
        comment=body.comment,
        preview_on=body.machine_id,
    )


async def get_version(call: Call, workflow_id: Id, version: VersionNumber) -> WorkflowVersion:
    """Read a version of a workflow by its number."""
    return await call.platform.store.workflows.version(call.owner, workflow_id, version)


async def get_version_by_id(call: Call, version_id: Id) -> WorkflowVersion:
    """Read a version of any workflow by its id."""
    return await call.platform.store.workflows.version_by_id(call.owner, version_id)


ENDPOINTS: list[Endpoint] = [
    Endpoint("GET", "/workflows", list_workflows, Access.READ),
    Endpoint("POST", "/workflow", create_workflow, Access.WRITE, max_body_bytes=GRAPH_BYTES, may_miss=True),
    Endpoint("GET", "/workflow/{workflow_id}", get_workflow, Access.READ),
    Endpoint("PATCH", "/workflow/{workflow_id}", change_workflow, Access.WRITE),
    Endpoint("DELETE", "/workflow/{workflow_id}", delete_workflow, Access.WRITE),
    Endpoint("POST", "/workflow/{workflow_id}/clone", clone_workflow, Access.WRITE, is_body_optional=True),
    Endpoint("GET", "/workflow/{workflow_id}/versions", list_versions, Access.READ),
    Endpoint(
        "POST", "/workflow/{workflow_id}/version", add_version, Access.WRITE, (Conflict,), max_body_bytes=GRAPH_BYTES
    ),
    Endpoint("GET", "/workflow/{workflow_id}/version/{version}", get_version, Access.READ),
    Endpoint("GET", "/workflow-version/{version_id}", get_version_by_id, Access.READ),
]
