"""What the very first start makes, so that there is something to try."""

from __future__ import annotations

from dataclasses import dataclass, field
from uuid import uuid4

from .config import ServerConfig
from .sample import SAMPLE_NAME, SAMPLE_WORKFLOW, SAMPLE_WORKFLOW_API
from .store import Store
from .store.keys import Owner


@dataclass(frozen=True)
class FirstStart:
    """What was made because there was nothing yet. The key exists in clear only here."""

    api_key: str = field(repr=False)
    deployment_id: str


async def make_first_things(store: Store, config: ServerConfig) -> FirstStart | None:
    """In an empty platform: the built-in machine, a deployment to try, and last of all a key.

    If the server dies in between, nobody has seen a key, and the next start begins anew.
    """
    if not await store.keys.is_empty():
        return None
    owner = Owner(str(uuid4()))
    machine_id = await store.machines.add(owner, name="built-in", kind="builtin", slots=config.builtin_slots)
    deployment_id = await _deploy_sample(store, owner, machine_id)
    _, key = await store.keys.create("first key", owner=owner)
    return FirstStart(key, deployment_id)


async def _deploy_sample(store: Store, owner: Owner, machine_id: str) -> str:
    created = await store.workflows.create(
        owner,
        name=SAMPLE_NAME,
        description="A picture comes back inverted and softened. Made at the first start, for trying out.",
        workflow=SAMPLE_WORKFLOW,
        workflow_api=SAMPLE_WORKFLOW_API,
    )
    deployment = await store.deployments.put(
        owner,
        workflow_id=created.workflow_id,
        workflow_version_id=created.workflow_version_id or "",
        machine_id=machine_id,
        environment="production",
        name=SAMPLE_NAME,
    )
    return deployment.id
