"""Workflows and their versions, as the page is told of them. Graphs are told only where one version is read."""

from __future__ import annotations

import asyncio
import json
from datetime import datetime
from typing import Annotated, Any, Literal

from aiohttp import web
from pydantic import Field

from ...errors import InvalidInput, NotFound
from ...models import Graph, Record, Workflow, WorkflowVersion, write_timestamp
from ...models.records import Name, Search, Text
from ..call import MAX_GRAPHS, Call
from ..covers import shown

_PAGE = 100
_VERSIONS = 20
"""Versions of one page: the hosted platform sends each with its graphs."""

Key = Annotated[str, Field(min_length=8, max_length=100, pattern="^[A-Za-z0-9_-]+$")]
"""Made by the page for one deed, so that a repetition of it is none."""


class ListQuery(Record):
    """Which workflows to list."""

    search: Search = ""
    sort: Literal["updated", "created", "name"] = "updated"
    offset: int = Field(default=0, ge=0)


class VersionsQuery(Record):
    """Which versions to list."""

    offset: int = Field(default=0, ge=0)


class Change(Record):
    """What is to be different; what is absent stays."""

    name: Name | None = None
    description: Text | None = None
    pinned: bool | None = None


class CloneWish(Record):
    """What to call the copy."""

    name: Name | None = None
    key: Key


class Graphs(Record):
    """A graph to be kept: as the editor keeps it, and as it is executed."""

    workflow: Graph
    workflow_api: Graph
    comment: Text | None = None
    key: Key


class NewWorkflow(Graphs):
    """The first version of a new workflow."""

    name: Name
    description: Text | None = None


async def list_workflows(call: Call) -> dict[str, Any]:
    """A page of the workflows, the pinned ones first. Raises OutpostError."""
    query = call.query(ListQuery)
    async with call.client() as client:
        found = await client.workflows.list(
            query.search.strip() or None, sort=query.sort, limit=_PAGE, offset=query.offset
        )
        can_sort = await client.is_outpost()
    return {"workflows": [_shown(each) for each in found], "more": len(found) == _PAGE, "can_sort": can_sort}


async def create_workflow(call: Call) -> dict[str, Any]:
    """Keep a graph as a new workflow. Raises OutpostError."""
    body = await call.body(NewWorkflow, max_bytes=MAX_GRAPHS)
    async with call.client() as client:
        made = await client.workflows.create(
            body.name,
            body.workflow,
            workflow_api=body.workflow_api,
            description=body.description or None,
            comment=body.comment or None,
            idempotency_key=body.key,
        )
    return {"id": made.workflow_id, "version": made.version, "workflow_version_id": made.workflow_version_id}


async def get_workflow(call: Call) -> dict[str, Any]:
    """A workflow without its versions. Raises OutpostError."""
    async with call.client() as client:
        return _shown(await client.workflows.get(call.id("workflow_id"), versions=0))


async def change_workflow(call: Call) -> dict[str, Any]:
    """Give a workflow another name or description, or pin it. Raises OutpostError."""
    body = await call.body(Change)
    # None would clear it, which the hosted platform cannot; an empty description reads the same everywhere.
    values: dict[str, Any] = {name: value for name, value in body.given().items() if value is not None}
    if not values:
        raise InvalidInput("Nothing was said of what to change of the workflow.")
    async with call.client() as client:
        return _shown(await client.workflows.update(call.id("workflow_id"), **values))


async def delete_workflow(call: Call) -> dict[str, Any]:
    """Delete a workflow. Raises OutpostError."""
    async with call.client() as client:
        await client.workflows.delete(call.id("workflow_id"))
    return {}


async def clone_workflow(call: Call) -> dict[str, Any]:
    """Copy the newest version of a workflow into a new one. Raises OutpostError."""
    body = await call.body(CloneWish)
    async with call.client() as client:
        copy = await client.workflows.clone(call.id("workflow_id"), name=body.name, idempotency_key=body.key)
    return _shown(copy)


async def list_versions(call: Call) -> dict[str, Any]:
    """A page of the versions of a workflow, the newest first. Raises OutpostError."""
    query, workflow_id = call.query(VersionsQuery), call.id("workflow_id")
    async with call.client() as client:
        found = await client.workflows.versions(workflow_id, limit=_VERSIONS, offset=query.offset)
    return {"versions": [_version(each) for each in found], "more": len(found) == _VERSIONS}


async def add_version(call: Call) -> dict[str, Any]:
    """Keep a graph as the newest version of a workflow. Raises OutpostError."""
    body = await call.body(Graphs, max_bytes=MAX_GRAPHS)
    async with call.client() as client:
        made = await client.workflows.add_version(
            call.id("workflow_id"),
            body.workflow,
            workflow_api=body.workflow_api,
            comment=body.comment or None,
            idempotency_key=body.key,
        )
    return _version(made)


async def get_version(call: Call) -> web.Response:
    """A version with its graphs, each of which may be missing. Raises OutpostError."""
    number = call.id("number")
    if not (number.isascii() and number.isdigit() and 0 < int(number) < 2**31):
        raise NotFound(f"{number[:40]!r} is not the number of a version")
    async with call.client() as client:
        found = await client.workflows.version(call.id("workflow_id"), int(number))
    told = {**_version(found), "workflow": found.workflow or None, "workflow_api": found.workflow_api or None}
    # Of a large graph that takes a while, in which ComfyUI's server would do nothing else.
    return web.Response(text=await asyncio.to_thread(json.dumps, told), content_type="application/json")


async def show_cover(call: Call) -> web.Response:
    """A small WebP picture of what a workflow makes; one of a single pixel where there is none. Raises OutpostError."""
    async with call.client() as client:
        return shown(await call.desk.covers.of_workflow(client, call.id("workflow_id")))


def _shown(workflow: Workflow) -> dict[str, Any]:
    return {
        "id": workflow.id,
        "name": workflow.name,
        "description": workflow.description or "",
        "pinned": bool(workflow.pinned),
        "version": workflow.latest_version,
        "created_at": _told(workflow.created_at),
        "updated_at": _told(workflow.updated_at or workflow.created_at),
    }


def _version(version: WorkflowVersion) -> dict[str, Any]:
    return {
        "id": version.id,
        "workflow_id": version.workflow_id,
        "version": version.version,
        "comment": version.comment or "",
        "author": version.user_name,
        "created_at": _told(version.created_at),
    }


def _told(time: datetime | None) -> str | None:
    return write_timestamp(time) if time else None
