"""The parts of one running platform, and their beginning and end."""

from __future__ import annotations

import os
import secrets
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from filelock import FileLock, Timeout

from ..errors import ConfigurationError
from .attempt import Workplace
from .checking import RunChecks
from .config import ServerConfig
from .dispatcher import Dispatcher
from .feed import Feed
from .first_start import FirstStart, make_first_things
from .fleet import Fleet
from .machines import Machine, MachineFactory, MachineSettings
from .machines.builtin import PIXELS_AT_WORK, BuiltinMachine
from .machines.comfyui import ComfyUIMachine
from .machines.managed import ManagedMachine
from .machines.pixel_budget import PixelBudget
from .newsroom import Newsroom
from .objects import Objects, open_objects
from .own_machines import ensure_machines
from .pruning import Pruning
from .rendering import Rendering
from .store import Store, open_store
from .webhooks import Webhooks

_SECRET_BYTES = 32


@dataclass(frozen=True)
class Platform:
    """What the routes work with."""

    config: ServerConfig
    store: Store
    objects: Objects
    rendering: Rendering
    feed: Feed
    newsroom: Newsroom
    fleet: Fleet
    checks: RunChecks
    webhooks: Webhooks
    dispatcher: Dispatcher
    first_start: FirstStart | None
    """Set by the very first start, which makes a key, a machine and a sample to run."""
    own_machines: Sequence[str]
    """The ids of the machines of ComfyUIs that the operator has named for this start."""

    def tell_of_abandoned_runs(self) -> None:
        """Waiting runs may have failed because something was deleted: tell whoever follows them, and webhooks."""
        self.feed.wake_all()
        self.webhooks.wake()


@asynccontextmanager
async def open_platform(
    config: ServerConfig, *, kinds: Mapping[str, MachineFactory] | None = None
) -> AsyncGenerator[Platform, None]:
    """A platform at work, until the block ends. Raises ConfigurationError when another server uses the same folder.

    `kinds` makes the machines of each type; by default those of this package.
    """
    config.data.mkdir(parents=True, exist_ok=True, mode=0o700)
    lock = FileLock(config.data / "server.lock", timeout=0)
    try:
        lock.acquire()  # pyright: ignore[reportUnknownMemberType] filelock leaves a parameter untyped
    except Timeout:
        raise ConfigurationError(
            f"Another server uses {config.data}. Stop it, or give --data another folder."
        ) from None
    try:
        async with opened_store(config) as store, _at_work(config, store, kinds or _kinds(config)) as platform:
            yield platform
    finally:
        lock.release()


@asynccontextmanager
async def opened_store(config: ServerConfig) -> AsyncGenerator[Store, None]:
    """What the platform of these settings remembers; also beside a server that is at work."""
    if config.database_url and config.database_url.startswith("sqlite"):
        raise ConfigurationError("SQLite's file is kept in the data folder; --database is for a database server.")
    store = await open_store(config.database_url or f"sqlite:///{config.data / 'outpost.sqlite'}")
    try:
        yield store
    finally:
        await store.database.close()


@asynccontextmanager
async def _at_work(
    config: ServerConfig, store: Store, kinds: Mapping[str, MachineFactory]
) -> AsyncGenerator[Platform, None]:
    secret, feed = load_secret(config), Feed(store.runs.events, keep_alive_seconds=config.keep_alive_seconds)
    objects = await open_objects(config.objects_url, folder=config.data / "objects", secret=secret)
    rendering = Rendering(store, objects, config.url_seconds)
    fleet = Fleet(store.machines, kinds, config.comfyui_folders, rhythm=config.health)
    webhooks = Webhooks(store, feed, config=config, secret=secret, render=rendering.outputs)
    newsroom = Newsroom(store.account_events, fleet, keep_alive_seconds=config.keep_alive_seconds)
    newsroom.attach(feed, store.database)
    workplace = Workplace(store, feed, objects, fleet, config)
    dispatcher = Dispatcher(workplace, on_begin=(webhooks.follow, newsroom.note_begin))
    first_start = await make_first_things(store, config)
    own_machines = await ensure_machines(store, config)
    async with AsyncExitStack() as stack:
        stack.push_async_callback(fleet.close)
        await newsroom.start()
        stack.push_async_callback(newsroom.stop)
        pruning = Pruning(store.once.forget_old, store.account_events.forget_old)
        await pruning.start()
        stack.push_async_callback(pruning.stop)
        await webhooks.start()
        stack.push_async_callback(webhooks.stop)
        await dispatcher.start()
        stack.push_async_callback(dispatcher.stop)
        yield Platform(
            config=config,
            store=store,
            objects=objects,
            rendering=rendering,
            feed=feed,
            newsroom=newsroom,
            fleet=fleet,
            checks=RunChecks(fleet),
            webhooks=webhooks,
            dispatcher=dispatcher,
            first_start=first_start,
            own_machines=own_machines,
        )


def _kinds(config: ServerConfig) -> Mapping[str, MachineFactory]:
    def managed(settings: MachineSettings) -> Machine:
        work = config.data / "machines"
        return ManagedMachine(settings, python=config.comfyui_python, log_folder=config.data / "logs", work_folder=work)

    budget = PixelBudget(PIXELS_AT_WORK)
    return {"builtin": lambda _: BuiltinMachine(budget), "comfyui": ComfyUIMachine, "managed": managed}


def load_secret(config: ServerConfig) -> bytes:
    """The secret that signs URLs and webhooks, made once and readable by the server's user alone."""
    path = _secret_file(config)
    if not path.exists():
        partial = path.with_suffix(".part")
        partial.unlink(missing_ok=True)
        with os.fdopen(os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
            file.write(secrets.token_bytes(_SECRET_BYTES))
            file.flush()
            os.fsync(file.fileno())
        partial.replace(path)
    return read_secret(config)


def read_secret(config: ServerConfig) -> bytes:
    """The secret of a platform that has been started. Raises ConfigurationError where there is none."""
    path = _secret_file(config)
    try:
        secret = path.read_bytes()
    except (FileNotFoundError, NotADirectoryError):
        raise ConfigurationError(
            f"{config.data} has no secret: it is in the folder that the server has as --data."
        ) from None
    if len(secret) < _SECRET_BYTES:
        raise ConfigurationError(f"{path} is damaged. Remove it: a new one is made, and URLs given out so far end.")
    return secret


def _secret_file(config: ServerConfig) -> Path:
    return config.data / "secret"
