"""Platforms at work on a real socket, with two people on each who know nothing of each other."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from comfyui_outpost.api.models import Deployment
from comfyui_outpost.api.server.app import serving
from comfyui_outpost.api.server.config import ServerConfig
from comfyui_outpost.api.server.platform import Platform, open_platform
from comfyui_outpost.api.server.sample import SAMPLE_NAME, SAMPLE_WORKFLOW_API
from comfyui_outpost.api.server.store import Store
from comfyui_outpost.api.server.store.keys import Owner

from .backings import Backing, Remote
from .deploying import deploy, kinds_of


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

    @property
    def folder(self) -> Path:
        """Where it keeps its files."""
        return self.parts.config.data


@dataclass(frozen=True)
class Furnished:
    """A folder as a platform leaves it, and the people on it."""

    folder: Path
    owner: Person
    stranger: Person


async def furnish(folder: Path, backing: Backing) -> Furnished:
    """Start a platform for the first time, in a folder and a backing from which others are copied."""
    if isinstance(backing, Remote):
        await backing.make_template()
    furnished = await _furnish_with(ServerConfig(folder, **backing.settings))
    if isinstance(backing, Remote):
        await backing.keep_template()
    return furnished


async def _furnish_with(config: ServerConfig) -> Furnished:
    async with open_platform(config) as parts:
        assert parts.first_start is not None
        owner = await person_with(parts.store, parts.first_start.api_key)
        _, key = await parts.store.keys.create("a stranger's key")
        return Furnished(config.data, owner, await person_with(parts.store, key))


async def person_with(store: Store, api_key: str) -> Person:
    """Whoever has this key, and what they have; made if there is nothing yet."""
    holder = await store.keys.holder_of(api_key)
    assert holder is not None
    mine = await store.deployments.list(holder.owner)
    return _person(holder.owner, api_key, mine[0] if mine else await _deploy_sample(store, holder.owner))


async def newcomer(store: Store) -> Person:
    """Somebody who has just got a key."""
    holder, api_key = await store.keys.create("first key")
    return _person(holder.owner, api_key, await _deploy_sample(store, holder.owner))


async def _deploy_sample(store: Store, owner: Owner) -> Deployment:
    return await deploy(store, owner, graph=SAMPLE_WORKFLOW_API, name=SAMPLE_NAME, slots=2)


def _person(owner: Owner, api_key: str, deployment: Deployment) -> Person:
    return Person(owner, api_key, str(deployment.machine_id), deployment.id)


@asynccontextmanager
async def platform_in(
    data: Path,
    backing: Backing,
    furnished_for: Callable[[Backing], Furnished],
    *,
    machines: Any = None,
    kinds: Any = None,
    **settings: Any,
) -> AsyncGenerator[RunningPlatform, None]:
    """A platform in a folder that is not there yet."""
    kinds = kinds or (machines and kinds_of(machines))
    # Only a first start looks at the slots of the built-in machine.
    is_new = "builtin_slots" in settings
    found = None if is_new else await asyncio.to_thread(furnished_for, backing)
    place = backing.copied(found.folder, to=data) if found else backing.empty()
    async with place as more:
        config = ServerConfig(data, **{**more, **settings})
        found = found or await _furnish_with(config)
        async with open_platform(config, kinds=kinds) as parts, serving(parts, host="127.0.0.1", port=0) as url:
            yield RunningPlatform(url, parts, found.owner, found.stranger)
