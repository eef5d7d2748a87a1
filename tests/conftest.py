"""What the tests share: a platform at work on a real socket, with two people on it who know nothing of each other."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import AsyncGenerator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from comfyui_outpost.api.server.app import serving
from comfyui_outpost.api.server.config import ServerConfig
from comfyui_outpost.api.server.platform import Platform, open_platform
from comfyui_outpost.api.server.sample import SAMPLE_NAME, SAMPLE_WORKFLOW_API
from comfyui_outpost.api.server.store import Store
from comfyui_outpost.api.server.store.keys import Owner
from comfyui_outpost.tests.fakes.deploying import deploy


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


@dataclass(frozen=True)
class Furnished:
    """A folder as a platform leaves it, and the people on it."""

    folder: Path
    owner: Person
    stranger: Person


StartPlatform = Callable[..., AbstractAsyncContextManager[RunningPlatform]]


@pytest.fixture(scope="session")
def furnished(tmp_path_factory: pytest.TempPathFactory) -> Furnished:
    """Made once and copied for every test, because the first start takes longer than most tests."""
    return asyncio.run(_furnish(tmp_path_factory.mktemp("furnished") / "platform"))


async def _furnish(folder: Path, **settings: Any) -> Furnished:
    async with open_platform(ServerConfig(folder, **settings)) as parts:
        assert parts.first_start is not None
        owner = await _person(parts.store, parts.first_start.api_key)
        _, key = await parts.store.keys.create("a stranger's key")
        return Furnished(folder, owner, await _person(parts.store, key))


async def _person(store: Store, api_key: str) -> Person:
    owner = await store.keys.owner_of(api_key)
    assert owner is not None
    if not (mine := await store.deployments.list(owner)):
        await deploy(store, owner, graph=SAMPLE_WORKFLOW_API, name=SAMPLE_NAME, slots=2)
        mine = await store.deployments.list(owner)
    return Person(owner, api_key, str(mine[0].machine_id), mine[0].id)


@pytest.fixture
def start_platform(furnished: Furnished, tmp_path: Path) -> StartPlatform:
    """Starts a platform in a folder of this test: `async with start_platform(keep_alive_seconds=0.1) as platform`.

    Takes the settings of `ServerConfig`, and `machines`: implementations by machine type in place of the built-in one.
    """

    @asynccontextmanager
    async def start(*, machines: Any = None, **settings: Any) -> AsyncGenerator[RunningPlatform, None]:
        data, found = tmp_path / "platform", furnished
        if "builtin_slots" in settings:
            found = await _furnish(data, **settings)  # only a first start looks at them
        else:
            shutil.copytree(furnished.folder, data)
        config = ServerConfig(data, **settings)
        async with open_platform(config, machines=machines) as parts, serving(parts, host="127.0.0.1", port=0) as url:
            yield RunningPlatform(url, parts, found.owner, found.stranger)

    return start


@pytest.fixture
async def platform(start_platform: StartPlatform) -> AsyncGenerator[RunningPlatform, None]:
    """A platform at work with the settings that a new user gets."""
    async with start_platform() as running:
        yield running
