"""Somebody's things on a server of this package, all of them made through the client."""

from __future__ import annotations

from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from comfyui_outpost.api.client import Client
from comfyui_outpost.api.models import ApiKey, Asset, Deployment, Run, StoredFile, WorkflowVersion
from comfyui_outpost.api.settings import Connection
from comfyui_outpost.tests.nodes.sites import Site
from comfyui_outpost.tests.server.graphs import ECHO, png
from comfyui_outpost.tests.server.shared import SharedPlatform

GRAPH: dict[str, Any] = {"nodes": [], "links": []}
PNG = png()


@dataclass(frozen=True)
class World:
    """One of each kind."""

    client: Client
    machine_id: str
    workflow_id: str
    first: WorkflowVersion
    second: WorkflowVersion
    deployment: Deployment
    run: Run
    """It has ended with success."""
    file: StoredFile
    asset: Asset
    folder: Asset
    key: ApiKey = field(repr=False)


async def furnish(client: Client, machine_id: str) -> World:
    """Make one of each kind."""
    made = await client.workflows.create("echo", GRAPH, workflow_api=ECHO)
    second = await client.workflows.add_version(made.workflow_id, GRAPH, workflow_api=ECHO, comment="the same again")
    deployment = await client.deployments.create(
        workflow_id=made.workflow_id, workflow_version_id=second.id, machine_id=machine_id, name="echo"
    )
    return World(
        client=client,
        machine_id=machine_id,
        workflow_id=made.workflow_id,
        first=await client.workflows.version(made.workflow_id, 1),
        second=second,
        deployment=deployment,
        run=await client.runs.execute(deployment, {"text": "hello"}),
        file=await client.files.add(PNG, content_type="image/png", name="a.png"),
        asset=await client.assets.upload(PNG, content_type="image/png", name="b.png"),
        folder=await client.assets.create_folder("refs"),
        key=await client.keys.create("another"),
    )


class Meeting(NamedTuple):
    """Two people with clients on one server that can be watched. The world is that of the first."""

    world: World
    mine: Client
    theirs: Client
    site: Site


async def meet(newcomers: SharedPlatform, site: Site, stack: AsyncExitStack) -> Meeting:
    """Give two people clients, which are theirs until the stack closes, and the first one a world."""
    mine, theirs = [
        await stack.enter_async_context(Client(Connection(site.url, person.api_key)))
        for person in (newcomers.owner, newcomers.stranger)
    ]
    return Meeting(await furnish(mine, newcomers.owner.machine_id), mine, theirs, site)


async def deploy(client: Client, world: World) -> Deployment:
    """Deploy the first version, where the second one is."""
    return await client.deployments.create(
        workflow_id=world.workflow_id, workflow_version_id=world.first.id, machine_id=world.machine_id
    )
