"""What the tests share: a platform at work on a real socket, with two people on it who know nothing of each other."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable, Generator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from comfyui_outpost.api.server.app import serving
from comfyui_outpost.api.server.config import ServerConfig
from comfyui_outpost.api.server.platform import Platform, open_platform
from comfyui_outpost.api.server.sample import SAMPLE_NAME, SAMPLE_WORKFLOW_API
from comfyui_outpost.api.server.store import Store
from comfyui_outpost.api.server.store.keys import Owner
from comfyui_outpost.tests.fakes.backings import Backing, Local, Remote
from comfyui_outpost.tests.fakes.bucket import BucketServer, InBucket, InFolder, Place, bucket_server
from comfyui_outpost.tests.fakes.deploying import deploy, kinds_of


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


@pytest.fixture
def backing() -> Backing:
    """What a platform keeps its things in. The tests of the server run with each kind."""
    return Local()


@pytest.fixture(scope="session")
def furnished_for(tmp_path_factory: pytest.TempPathFactory) -> Callable[[Backing], Furnished]:
    """Made once for each kind of backing and copied for every test: a first start takes longer than most tests."""

    @cache
    def furnish(kind: type[Backing], backing: Backing) -> Furnished:
        return asyncio.run(_furnish(tmp_path_factory.mktemp(kind.__name__) / "platform", backing))

    return lambda backing: furnish(type(backing), backing)


async def _furnish(folder: Path, backing: Backing) -> Furnished:
    if isinstance(backing, Remote):
        await backing.make_template()
    return await _furnish_with(ServerConfig(folder, **backing.settings))


async def _furnish_with(config: ServerConfig) -> Furnished:
    async with open_platform(config) as parts:
        assert parts.first_start is not None
        owner = await _person(parts.store, parts.first_start.api_key)
        _, key = await parts.store.keys.create("a stranger's key")
        return Furnished(config.data, owner, await _person(parts.store, key))


async def _person(store: Store, api_key: str) -> Person:
    holder = await store.keys.holder_of(api_key)
    assert holder is not None
    owner = holder.owner
    if not (mine := await store.deployments.list(owner)):
        await deploy(store, owner, graph=SAMPLE_WORKFLOW_API, name=SAMPLE_NAME, slots=2)
        mine = await store.deployments.list(owner)
    return Person(owner, api_key, str(mine[0].machine_id), mine[0].id)


@pytest.fixture
def start_platform(furnished_for: Callable[[Backing], Furnished], backing: Backing, tmp_path: Path) -> StartPlatform:
    """Starts a platform in a folder of this test: `async with start_platform(keep_alive_seconds=0.1) as platform`.

    Takes the settings of `ServerConfig`, and `machines`: implementations by machine type in place of the built-in one,
    or `kinds`, which make them.
    """

    @asynccontextmanager
    async def start(
        *, machines: Any = None, kinds: Any = None, **settings: Any
    ) -> AsyncGenerator[RunningPlatform, None]:
        data, kinds = tmp_path / "platform", kinds or (machines and kinds_of(machines))
        # Only a first start looks at the slots of the built-in machine.
        is_new = "builtin_slots" in settings
        found = None if is_new else await asyncio.to_thread(furnished_for, backing)
        place = backing.copied(found.folder, to=data) if found else backing.empty()
        async with place as more:
            config = ServerConfig(data, **{**more, **settings})
            found = found or await _furnish_with(config)
            async with open_platform(config, kinds=kinds) as parts, serving(parts, host="127.0.0.1", port=0) as url:
                yield RunningPlatform(url, parts, found.owner, found.stranger)

    return start


@pytest.fixture
async def platform(start_platform: StartPlatform) -> AsyncGenerator[RunningPlatform, None]:
    """A platform at work with the settings that a new user gets."""
    async with start_platform() as running:
        yield running


@pytest.fixture(scope="session")
def buckets() -> Generator[BucketServer, None, None]:
    """A store that speaks S3."""
    with bucket_server() as server:
        yield server


@pytest.fixture(params=["folder", "bucket"])
def kept_in(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Place:
    """Where the objects of a test lie. The test runs once for each place."""
    if request.param == "folder":
        return InFolder(tmp_path / "platform" / "objects")
    server: BucketServer = request.getfixturevalue("buckets")
    url, environ = server.new_bucket()
    for name, value in environ.items():
        monkeypatch.setenv(name, value)
    return InBucket(server, url)
