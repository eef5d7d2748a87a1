"""The parts of one running platform, and their beginning and end."""

from __future__ import annotations

import os
import secrets
from collections.abc import AsyncGenerator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

from filelock import FileLock, Timeout

from ..errors import ConfigurationError
from .config import ServerConfig
from .dispatcher import Dispatcher
from .feed import Feed
from .machines import Machine
from .machines.builtin import BuiltinMachine
from .objects import Objects
from .sample import SAMPLE_NAME, SAMPLE_WORKFLOW, SAMPLE_WORKFLOW_API
from .store import Store, open_store
from .store.keys import Owner

_SECRET_BYTES = 32


@dataclass(frozen=True)
class FirstStart:
    """What was made because there was nothing yet. The key exists in clear only here."""

    api_key: str = field(repr=False)
    deployment_id: str


@dataclass(frozen=True)
class Platform:
    """What the routes work with."""

    config: ServerConfig
    store: Store
    objects: Objects
    feed: Feed
    dispatcher: Dispatcher
    first_start: FirstStart | None
    """Set by the very first start, which makes a key, a machine and a sample to run."""


@asynccontextmanager
async def open_platform(
    config: ServerConfig, *, machines: Mapping[str, Machine] | None = None
) -> AsyncGenerator[Platform, None]:
    """A platform at work, until the block ends. Raises ConfigurationError when another server uses the same folder."""
    config.data.mkdir(parents=True, exist_ok=True, mode=0o700)
    if config.database_url and config.database_url.startswith("sqlite"):
        raise ConfigurationError("SQLite's file is kept in the data folder; --database is for a database server.")
    lock = FileLock(config.data / "server.lock", timeout=0)
    try:
        lock.acquire()  # pyright: ignore[reportUnknownMemberType] filelock leaves a parameter untyped
    except Timeout:
        raise ConfigurationError(
            f"Another server uses {config.data}. Stop it, or give --data another folder."
        ) from None
    try:
        store = await open_store(config.database_url or f"sqlite:///{config.data / 'outpost.sqlite'}")
        try:
            async with _at_work(config, store, machines or {"builtin": BuiltinMachine()}) as platform:
                yield platform
        finally:
            await store.database.close()
    finally:
        lock.release()


@asynccontextmanager
async def _at_work(
    config: ServerConfig, store: Store, machines: Mapping[str, Machine]
) -> AsyncGenerator[Platform, None]:
    objects, feed = Objects(config.data / "objects", _secret(config.data / "secret")), Feed()
    first_start = await _first_start(store, config)
    dispatcher = Dispatcher(store, feed, objects=objects, machines=machines, config=config)
    await dispatcher.start()
    try:
        yield Platform(config, store, objects, feed, dispatcher, first_start)
    finally:
        await dispatcher.stop()


def _secret(path: Path) -> bytes:
    """The secret that signs URLs, made once and readable by the server's user alone."""
    if not path.exists():
        partial = path.with_suffix(".part")
        partial.unlink(missing_ok=True)
        with os.fdopen(os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
            file.write(secrets.token_bytes(_SECRET_BYTES))
            file.flush()
            os.fsync(file.fileno())
        partial.replace(path)
    if len(secret := path.read_bytes()) < _SECRET_BYTES:
        raise ConfigurationError(f"{path} is damaged. Remove it: a new one is made, and URLs given out so far end.")
    return secret


async def _first_start(store: Store, config: ServerConfig) -> FirstStart | None:
    """In an empty platform: a key, the built-in machine, and a deployment to try."""
    if not await store.keys.is_empty():
        return None
    owner, key = await store.keys.create("first key")
    machine_id = await store.machines.add(owner, name="built-in", kind="builtin", slots=config.builtin_slots)
    return FirstStart(key, await _deploy_sample(store, owner, machine_id))


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
        run_timeout=None,
    )
    return deployment.id
