"""Every endpoint of our own server, asked by the client: as its owner and as a stranger."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from contextlib import aclosing
from typing import Any, NamedTuple

import pytest
from comfyui_outpost.api import errors
from comfyui_outpost.api.account_events import StreamBegun
from comfyui_outpost.api.client import Client
from comfyui_outpost.api.models import (
    ApiKey,
    Asset,
    CreatedApiKey,
    DeployedVersion,
    Deployment,
    Health,
    KeyScope,
    Machine,
    MachineVerdict,
    Run,
    RunOutput,
    RunStatus,
    StoredFile,
    Workflow,
    WorkflowCreated,
    WorkflowVersion,
)
from comfyui_outpost.api.server.routes import ENDPOINTS
from comfyui_outpost.api.settings import Connection
from comfyui_outpost.tests.client.world import GRAPH, PNG, Meeting, World, deploy
from comfyui_outpost.tests.server.graphs import ECHO

NOTHING = type(None)
# Not for this client: other programs use them, or it uses them on its own when a stream breaks.
FOR_OTHERS = {
    "GET /run/{run_id}/stream",
    "GET /workflow/{workflow_id}/runs",
    "GET /deployment/{deployment_id}/runs",
    "GET /openapi.json",
    "GET /doc",
}


class Call(NamedTuple):
    """How the client asks for one endpoint."""

    act: Callable[[Client, World], Awaitable[Any]]
    gives: Any
    """The type of the result; a list of records as `[Record]`. Or the error that it is."""
    is_open: bool = False
    """Whether a stranger may do it, too, because it is about nothing of somebody else's."""


async def events_of(client: Client, world: World) -> list[Any]:
    return [event async for event in client.runs.stream(world.deployment.id, {"text": "x"})]


async def first_event(client: Client, world: World) -> Any:
    async with aclosing(client.events()) as events:
        return await anext(events)


CALLS = {
    "POST /run/deployment/queue": Call(lambda client, world: client.runs.queue(world.deployment.id, {}), str),
    "POST /run/deployment/sync": Call(lambda client, world: client.runs.sync(world.deployment.id, {}), [RunOutput]),
    "POST /run/deployment/stream": Call(events_of, list),
    "GET /runs": Call(lambda client, world: client.runs.list(status=RunStatus.SUCCESS), [Run], is_open=True),
    "GET /events": Call(first_event, StreamBegun, is_open=True),
    "GET /run/{run_id}": Call(lambda client, world: client.runs.get(world.run.id), Run),
    "POST /run/{run_id}/cancel": Call(lambda client, world: client.runs.cancel(world.run.id), errors.Conflict),
    "GET /workflows": Call(lambda client, world: client.workflows.list("ECHO"), [Workflow], is_open=True),
    "POST /workflow": Call(
        lambda client, world: client.workflows.create("new", GRAPH, workflow_api=ECHO), WorkflowCreated, is_open=True
    ),
    "GET /workflow/{workflow_id}": Call(lambda client, world: client.workflows.get(world.workflow_id), Workflow),
    "PATCH /workflow/{workflow_id}": Call(
        lambda client, world: client.workflows.update(world.workflow_id, pinned=True), Workflow
    ),
    "DELETE /workflow/{workflow_id}": Call(lambda client, world: client.workflows.delete(world.workflow_id), NOTHING),
    "POST /workflow/{workflow_id}/clone": Call(
        lambda client, world: client.workflows.clone(world.workflow_id), Workflow
    ),
    "GET /workflow/{workflow_id}/versions": Call(
        lambda client, world: client.workflows.versions(world.workflow_id), [WorkflowVersion]
    ),
    "GET /workflow/{workflow_id}/version/{version}": Call(
        lambda client, world: client.workflows.version(world.workflow_id, 2), WorkflowVersion
    ),
    "POST /workflow/{workflow_id}/version": Call(
        lambda client, world: client.workflows.add_version(world.workflow_id, GRAPH, workflow_api=ECHO),
        WorkflowVersion,
    ),
    "GET /workflow-version/{version_id}": Call(
        lambda client, world: client.workflows.version_by_id(world.second.id), WorkflowVersion
    ),
    "GET /deployments": Call(lambda client, world: client.deployments.list(), [Deployment], is_open=True),
    "POST /deployment": Call(deploy, Deployment),
    "GET /deployment/{deployment_id}": Call(
        lambda client, world: client.deployments.get(world.deployment.id), Deployment
    ),
    "PATCH /deployment/{deployment_id}": Call(
        lambda client, world: client.deployments.update(world.deployment.id, run_timeout=60), Deployment
    ),
    "GET /deployment/{deployment_id}/history": Call(
        lambda client, world: client.deployments.history(world.deployment.id), [DeployedVersion]
    ),
    "DELETE /deployment/{deployment_id}": Call(
        lambda client, world: client.deployments.delete(world.deployment.id), NOTHING
    ),
    "POST /deployment/{deployment_id}/deactivate": Call(
        lambda client, world: client.deployments.deactivate(world.deployment.id), Deployment
    ),
    "POST /deployment/{deployment_id}/activate": Call(
        lambda client, world: client.deployments.activate(world.deployment.id), Deployment
    ),
    "GET /machines": Call(lambda client, world: client.machines.list("built"), [Machine], is_open=True),
    "GET /machine/{machine_id}": Call(lambda client, world: client.machines.get(world.machine_id), Machine),
    "POST /machine/{machine_id}/check": Call(
        lambda client, world: client.machines.check(world.machine_id, ECHO), MachineVerdict
    ),
    "GET /machine/{machine_id}/logs": Call(lambda client, world: client.machines.logs(world.machine_id), list),
    "GET /machines/comfyuis": Call(lambda client, world: client.machines.comfyuis(), list, is_open=True),
    "PATCH /machine/custom/{machine_id}": Call(
        lambda client, world: client.machines.update(world.machine_id, name="built-in, too"), Machine
    ),
    "POST /machine/{machine_id}/start": Call(
        lambda client, world: client.machines.start(world.machine_id), errors.Conflict
    ),
    "POST /machine/{machine_id}/stop": Call(
        lambda client, world: client.machines.stop(world.machine_id), errors.Conflict
    ),
    "DELETE /machine/{machine_id}": Call(
        lambda client, world: client.machines.delete(world.machine_id, force=True), NOTHING
    ),
    "POST /machine/create": Call(
        lambda client, world: client.machines.create("another", "builtin", concurrency_limit=2), Machine, is_open=True
    ),
    "POST /file/upload": Call(
        lambda client, world: client.files.upload(PNG, content_type="image/png", name="c.png"), object, is_open=True
    ),
    "POST /file": Call(
        lambda client, world: client.files.add(PNG, content_type="image/png", name="c.png"), StoredFile, is_open=True
    ),
    "GET /file/{file_id}": Call(lambda client, world: client.files.get(world.file.id), StoredFile),
    "POST /file/{file_id}/rename": Call(lambda client, world: client.files.rename(world.file.id, "d.png"), StoredFile),
    "GET /assets": Call(lambda client, world: client.assets.list(), [Asset], is_open=True),
    "GET /assets/search": Call(lambda client, world: client.assets.search("b.P"), [Asset], is_open=True),
    "POST /assets/upload": Call(
        lambda client, world: client.assets.upload(PNG, content_type="image/png", name="e.png"), Asset, is_open=True
    ),
    "GET /assets/presigned-url": Call(
        lambda client, world: client.assets.upload_large(PNG, content_type="image/png", name="f.png"),
        Asset,
        is_open=True,
    ),
    "POST /assets/folder": Call(lambda client, world: client.assets.create_folder("new"), Asset, is_open=True),
    "GET /assets/{asset_id}": Call(lambda client, world: client.assets.get(world.asset.id), Asset),
    "PATCH /assets/{asset_id}": Call(lambda client, world: client.assets.rename(world.asset.id, "g.png"), Asset),
    "DELETE /assets/{asset_id}": Call(lambda client, world: client.assets.delete(world.asset.id), NOTHING),
    "GET /platform/api-keys": Call(lambda client, world: client.keys.list(), [ApiKey], is_open=True),
    "POST /platform/api-keys": Call(
        lambda client, world: client.keys.create("new", scope=KeyScope.RUN, expires_in=60), CreatedApiKey, is_open=True
    ),
    "DELETE /platform/api-keys/{key_id}": Call(lambda client, world: client.keys.revoke(world.key.id), NOTHING),
}
CALLS["POST /assets/register"] = CALLS["GET /assets/presigned-url"]


def is_of(value: Any, kind: Any) -> bool:
    if isinstance(kind, list):
        return bool(value) and all(isinstance(each, kind[0]) for each in value)
    return isinstance(value, kind)


def test_every_endpoint_of_the_server_has_a_call_of_the_client() -> None:
    # Fetched URLs and machines of other people's making have tests of their own below.
    elsewhere = FOR_OTHERS | {"POST /assets/add", "POST /machine/custom", "POST /machine/serverless"}
    elsewhere |= {"PATCH /machine/serverless/{machine_id}", "PATCH /machine/pool/{machine_id}"}
    assert {f"{each.method} {each.path}" for each in ENDPOINTS} - elsewhere == set(CALLS) - FOR_OTHERS


@pytest.mark.parametrize("endpoint", CALLS)
async def test_its_owner_gets_a_record_or_the_error_that_it_is(meeting: Meeting, endpoint: str) -> None:
    call, world, site = CALLS[endpoint], meeting.world, meeting.site
    before = site.count(endpoint.replace(" ", " /api", 1))

    if isinstance(call.gives, type) and issubclass(call.gives, errors.OutpostError):
        with pytest.raises(call.gives):
            await call.act(meeting.mine, world)
    else:
        assert is_of(await call.act(meeting.mine, world), call.gives)

    assert site.count(endpoint.replace(" ", " /api", 1)) > before


async def test_a_stranger_finds_nothing_of_anything(meeting: Meeting) -> None:
    world = meeting.world
    ids = (world.workflow_id, world.deployment.id, world.run.id, world.machine_id, world.file.id, world.asset.id)

    async def answer(call: Call) -> Any:
        try:
            return await call.act(meeting.theirs, world)
        except errors.NotFound as error:
            return error

    answers = {endpoint: await answer(call) for endpoint, call in CALLS.items()}

    found = {endpoint for endpoint, answer in answers.items() if not isinstance(answer, errors.NotFound)}
    assert found == {endpoint for endpoint, call in CALLS.items() if call.is_open}
    told = {endpoint: repr(answers[endpoint]) for endpoint in found}
    assert [endpoint for endpoint, text in told.items() if any(each in text for each in (*ids, world.key.id))] == []
    assert (await meeting.mine.workflows.get(world.workflow_id)).name == "echo"


async def test_the_health_of_our_own_server_needs_no_key(meeting: Meeting) -> None:
    async with Client(Connection(meeting.site.url, "no-key-at-all")) as client:
        assert isinstance(await client.health(), Health)
        with pytest.raises(errors.Unauthorized):
            await client.workflows.list()
