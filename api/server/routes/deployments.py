"""Deployments: create, list and read."""

from __future__ import annotations

from aiohttp import web
from pydantic import AliasChoices, Field

from ...inputs import inputs_of, outputs_of
from ...models import Deployment, Id, Record
from ..call import Call, Endpoint, Handler, reply


class NewDeployment(Record):
    """Body of `POST /deployment`. `version_id` is another name of `workflow_version_id`."""

    workflow_id: Id
    workflow_version_id: Id = Field(validation_alias=AliasChoices("workflow_version_id", "version_id"))
    machine_id: Id
    environment: str = Field(default="production", pattern=r"^[a-z][a-z-]{0,39}$")
    name: str | None = Field(default=None, max_length=200)
    run_timeout: float | None = Field(default=None, gt=0, le=7 * 24 * 3600)


async def create_deployment(call: Call) -> web.Response:
    new = await call.body(NewDeployment)
    deployment = await call.platform.store.deployments.put(
        call.owner,
        workflow_id=new.workflow_id,
        workflow_version_id=new.workflow_version_id,
        machine_id=new.machine_id,
        environment=new.environment,
        name=new.name,
        run_timeout=new.run_timeout,
    )
    return reply(with_types(deployment))


async def list_deployments(call: Call) -> web.Response:
    environment = call.request.query.get("environment") or None
    return reply(await call.platform.store.deployments.list(call.owner, environment=environment))


async def get_deployment(call: Call) -> web.Response:
    return reply(with_types(await call.platform.store.deployments.get(call.owner, call.id("deployment_id"))))


def with_types(deployment: Deployment) -> Deployment:
    """A deployment with the inputs and outputs that its graph declares."""
    graph = (deployment.version and deployment.version.workflow_api) or {}
    return deployment.model_copy(update={"input_types": inputs_of(graph), "output_types": outputs_of(graph)})


ENDPOINTS: list[Endpoint[Handler]] = [
    Endpoint("POST", "/deployment", create_deployment),
    Endpoint("GET", "/deployments", list_deployments),
    Endpoint("GET", "/deployment/{deployment_id}", get_deployment),
]
