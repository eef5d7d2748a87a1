"""What the tests share: a platform at work on a real socket, with two people on it who know nothing of each other."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from comfyui_outpost.api.server.app import serving
from comfyui_outpost.api.server.config import ServerConfig
from comfyui_outpost.api.server.platform import Platform, open_platform
from comfyui_outpost.api.server.sample import SAMPLE_NAME, SAMPLE_WORKFLOW, SAMPLE_WORKFLOW_API
from comfyui_outpost.api.server.store import Store
from comfyui_outpost.api.server.store.keys import Owner


@dataclass(frozen=True)
class Person:
    """Somebody with an API key, a built-in machine and a deployment of the sample."""

    owner: Owner
    api_key: str = field(repr=False)
    machine_id: str
    deployment_id: str


@dataclass(frozen=True)
class RunningPlatform:
    """A platform at work. `parts` is what the server itself is made of."""

    url: str
    """Origin, without the prefix `/api`."""
    parts: Platform
    owner: Person
    """Whoever got the key that the first start made."""
    stranger: Person


StartPlatform = Callable[..., AbstractAsyncContextManager[RunningPlatform]]


@asynccontextmanager
async def _running(data: Path, *, machines: Any = None, **settings: Any) -> AsyncGenerator[RunningPlatform, None]:
    async with open_platform(ServerConfig(data, **settings), machines=machines) as parts:
        async with serving(parts, host="127.0.0.1", port=0) as url:
            assert parts.first_start is not None, "this folder has been served before"
            owner = await _person(parts.store, parts.first_start.api_key)
            _, key = await parts.store.keys.create("a stranger's key")
            yield RunningPlatform(url, parts, owner, await _person(parts.store, key))


async def _person(store: Store, api_key: str) -> Person:
    owner = await store.keys.owner_of(api_key)
    assert owner is not None
    if not (mine := await store.deployments.list(owner)):
        await _deploy_sample(store, owner)
        mine = await store.deployments.list(owner)
    return Person(owner, api_key, str(mine[0].machine_id), mine[0].id)


async def _deploy_sample(store: Store, owner: Owner) -> None:
    machine_id = await store.machines.add(owner, name="built-in", kind="builtin", slots=2)
    graphs = {"workflow": SAMPLE_WORKFLOW, "workflow_api": SAMPLE_WORKFLOW_API}
    created = await store.workflows.create(owner, name=SAMPLE_NAME, description=None, **graphs)
    await store.deployments.put(
        owner,
        workflow_id=created.workflow_id,
        workflow_version_id=str(created.workflow_version_id),
        machine_id=machine_id,
        environment="production",
        name=SAMPLE_NAME,
        run_timeout=None,
    )


@pytest.fixture
def start_platform(tmp_path: Path) -> StartPlatform:
    """Starts a platform in a folder of this test: `async with start_platform(keep_alive_seconds=0.1) as platform`.

    Takes the settings of `ServerConfig`, and `machines`: implementations by machine type in place of the built-in one.
    """

    def start(**settings: Any) -> AbstractAsyncContextManager[RunningPlatform]:
        return _running(tmp_path / "platform", **settings)

    return start


@pytest.fixture
async def platform(start_platform: StartPlatform) -> AsyncGenerator[RunningPlatform, None]:
    """A platform at work with the settings that a new user gets."""
    async with start_platform() as running:
        yield running
