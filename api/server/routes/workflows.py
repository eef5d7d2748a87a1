"""Workflows and their versions."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from ...errors import BadRequest, Conflict
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
from ..repeating import once_of

_ONCE = (BadRequest, Conflict)
"""What an idempotency key may be wrong with."""

VersionNumber = Annotated[int, Field(ge=1, le=2**31 - 1)]


async def list_workflows(call: Call, query: WorkflowQuery) -> list[Workflow]:
    """List workflows: the pinned first, then the newest change, or in another order."""
    return await call.platform.store.workflows.list(call.owner, query)


async def create_workflow(call: Call, body: NewWorkflow) -> WorkflowCreated:
    """Keep a graph as the first version of a new workflow. With a machine, that has to have what the graph needs."""
    once = await once_of(call, body)
    if made := await call.platform.store.once.find(call.owner, once):
        return WorkflowCreated.model_validate(made)
    if body.machine_id:
        await check_machine_for(call, body.machine_id, body.workflow_api, place="workflow_api")
    return await call.platform.store.workflows.create(
        call.owner,
        name=body.name,
        description=body.description,
        workflow=body.workflow_json,
        workflow_api=body.workflow_api,
        comment=body.comment,
        preview_on=body.machine_id,
        by=call.holder.name,
        once=once,
    )


async def get_workflow(call: Call, workflow_id: Id, query: WorkflowShown) -> Workflow:
    """Read a workflow with its newest versions."""
    return await call.platform.store.workflows.get(call.owner, workflow_id, versions=query.limit)


async def change_workflow(call: Call, workflow_id: Id, body: WorkflowChange) -> Workflow:
    """Give a workflow another name, description, cover or machine, pin it, or bring it back after its deletion."""
    values = body.given()
    if values.pop("deleted", None) is False:
        await call.platform.store.workflows.restore(call.owner, workflow_id)
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
    once = await once_of(call, body)
    if made := await call.platform.store.once.find(call.owner, once):
        return await call.platform.store.workflows.get(call.owner, made["id"], versions=1)
    return await call.platform.store.workflows.clone(call.owner, workflow_id, body, once=once)


async def list_versions(call: Call, workflow_id: Id, query: VersionQuery) -> list[WorkflowVersion]:
    """List the versions of a workflow, newest first."""
    return await call.platform.store.workflows.versions(call.owner, workflow_id, query)


async def add_version(call: Call, workflow_id: Id, body: NewVersion) -> WorkflowVersion:
    """Keep another version of a workflow. With a machine, that has to have what the graph needs."""
    once = await once_of(call, body)
    if made := await call.platform.store.once.find(call.owner, once):
        return await call.platform.store.workflows.version_by_id(call.owner, made["id"])
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
        by=call.holder.name,
        once=once,
    )


async def get_version(call: Call, workflow_id: Id, version: VersionNumber) -> WorkflowVersion:
    """Read a version of a workflow by its number."""
    return await call.platform.store.workflows.version(call.owner, workflow_id, version)


async def get_version_by_id(call: Call, version_id: Id) -> WorkflowVersion:
    """Read a version of any workflow by its id."""
    return await call.platform.store.workflows.version_by_id(call.owner, version_id)


ENDPOINTS: list[Endpoint] = [
    Endpoint("GET", "/workflows", list_workflows, Access.READ),
    Endpoint(
        "POST",
        "/workflow",
        create_workflow,
        Access.WRITE,
        _ONCE,
        max_body_bytes=GRAPH_BYTES,
        is_once=True,
        may_miss=True,
    ),
    Endpoint("GET", "/workflow/{workflow_id}", get_workflow, Access.READ),
    Endpoint("PATCH", "/workflow/{workflow_id}", change_workflow, Access.WRITE),
    Endpoint("DELETE", "/workflow/{workflow_id}", delete_workflow, Access.WRITE),
    Endpoint(
        "POST",
        "/workflow/{workflow_id}/clone",
        clone_workflow,
        Access.WRITE,
        _ONCE,
        is_body_optional=True,
        is_once=True,
    ),
    Endpoint("GET", "/workflow/{workflow_id}/versions", list_versions, Access.READ),
    Endpoint(
        "POST",
        "/workflow/{workflow_id}/version",
        add_version,
        Access.WRITE,
        _ONCE,
        max_body_bytes=GRAPH_BYTES,
        is_once=True,
    ),
    Endpoint("GET", "/workflow/{workflow_id}/version/{version}", get_version, Access.READ),
    Endpoint("GET", "/workflow-version/{version_id}", get_version_by_id, Access.READ),
]
