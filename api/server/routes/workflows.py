"""Workflows: create, list and read."""

from __future__ import annotations

from typing import Any

from aiohttp import web
from pydantic import Field, field_validator

from ...models import Graph, Record
from ..call import Call, Endpoint, Handler, parse_json, reply


class NewWorkflow(Record):
    """Body of `POST /workflow`. Graphs are objects, or, as the hosted platform wants them, JSON in a text."""

    name: str = Field(min_length=1, max_length=200)
    description: str | None = Field(default=None, max_length=10_000)
    workflow_json: Graph | None = None
    workflow: Graph | None = None
    workflow_api: Graph | None = None

    @field_validator("workflow_json", "workflow", "workflow_api", mode="before")
    @classmethod
    def _parse_text(cls, value: Any) -> Any:
        return parse_json(value) if isinstance(value, str) else value


async def create_workflow(call: Call) -> web.Response:
    new = await call.body(NewWorkflow)
    created = await call.platform.store.workflows.create(
        call.owner,
        name=new.name,
        description=new.description,
        workflow=new.workflow_json or new.workflow,
        workflow_api=new.workflow_api,
    )
    return reply(created)


async def list_workflows(call: Call) -> web.Response:
    limit, offset = (
        call.query_int("limit", default=100, maximum=1000),
        call.query_int("offset", default=0, maximum=10**9),
    )
    return reply(await call.platform.store.workflows.list(call.owner, limit=limit, offset=offset))


async def get_workflow(call: Call) -> web.Response:
    versions = call.query_int("limit", default=1, maximum=100)
    return reply(await call.platform.store.workflows.get(call.owner, call.id("workflow_id"), versions=versions))


ENDPOINTS: list[Endpoint[Handler]] = [
    Endpoint("POST", "/workflow", create_workflow),
    Endpoint("GET", "/workflows", list_workflows),
    Endpoint("GET", "/workflow/{workflow_id}", get_workflow),
]
