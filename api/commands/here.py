"""The platform that a ComfyUI starts for itself: on this computer only, and gone when that ComfyUI is."""

from __future__ import annotations

import asyncio
import json
import logging
import os
import sys
import threading
from collections.abc import AsyncGenerator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, TextIO

from ..errors import OutpostError
from ..here import PROOF_PATH, ComfyUIs, forget_address, leave_address, proof_of
from .place import one_sentence

if TYPE_CHECKING:
    from ..server.config import ServerConfig
    from ..server.machines import Machine, MachineFactory, MachineSettings
    from ..server.platform import Platform

HOST = "127.0.0.1"
LOCK = "server.lock"
"""In the data folder: kept locked by the server that uses it."""
END_SECONDS = 20
"""For everything to end by itself, before the process is ended all the same."""
MACHINE_NAME = "ComfyUI on this computer"
IDLE_SECONDS = 300.0
"""Without a run until it is stopped. Its graphics card is that of whoever sits there, and to start it takes a while."""
KEY_NAME = MACHINE_NAME
"""Of each key that is made here, after that of the first start: the oldest that there is."""


class Wish(NamedTuple):
    """What is to be started. It comes from the ComfyUI that this process is for."""

    data: str
    port: int
    """Where it was the last time; another one is taken when that is not free."""
    kept_key: str | None
    """The key of the last time. It stays: runs are asked for with it, and pages know the platform by it."""


def main() -> int:
    """Serve until the standard input is closed. Tells on the standard output, in JSON, where, or why not."""
    told = _own_output()
    wish = Wish(**json.loads(sys.stdin.readline()))
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(name)s %(levelname)s %(message)s")
    logging.getLogger("alembic").setLevel(logging.WARNING)
    logging.getLogger("aiohttp.server").setLevel(logging.CRITICAL)  # it quotes requests, and what is secret in them
    os.umask(0o077)

    def tell(news: dict[str, Any]) -> None:
        told.write(json.dumps(news) + "\n")
        told.flush()

    try:
        if not _is_free(Path(wish.data)):
            tell({"state": "in use"})
            return 1
        asyncio.run(_serve(wish, tell))
    except OutpostError as error:
        tell({"state": "failed", "detail": str(error)})
        return 1
    return 0


def _is_free(data: Path) -> bool:
    """Whether no server uses the folder. The address that one has left there who was killed is removed."""
    from filelock import FileLock, Timeout

    lock = FileLock(data / LOCK, timeout=0)
    try:
        lock.acquire()  # pyright: ignore[reportUnknownMemberType] filelock leaves a parameter untyped
    except Timeout:
        return False
    try:
        forget_address(data)
    finally:
        lock.release()
    return True


def _own_output() -> TextIO:
    """The standard output for what is told; whatever else is printed goes where errors go."""
    told = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    return told


async def _serve(wish: Wish, tell: Callable[[dict[str, Any]], None]) -> None:
    from ..server.config import ServerConfig
    from ..server.platform import open_platform

    comfyuis = ComfyUIs(Path(wish.data))
    config = ServerConfig(Path(wish.data), comfyui_folders=comfyuis)
    ended = _end_of_input()
    with one_sentence("The platform cannot be opened"):
        async with open_platform(config, kinds=_kinds(config, comfyuis)) as platform:
            key = await _key(platform, wish)
            await _ensure_machines(platform, comfyuis)
            async with _serving(platform, wish.port, key, comfyuis) as url:
                tell({"state": "ready", "url": url, "api_key": key})
                await ended.wait()


@asynccontextmanager
async def _serving(platform: Platform, port: int, key: str, comfyuis: ComfyUIs) -> AsyncGenerator[str, None]:
    from ..server.app import serving

    turn, known = asyncio.Lock(), frozenset[str]()

    async def prove(question: str) -> str:
        nonlocal known
        # Whoever asks may be a ComfyUI that has just come, and finds its machine when it has the answer.
        async with turn:
            if not known.issuperset(there := frozenset(comfyuis)):
                await _ensure_machines(platform, comfyuis)
                known = there
        return proof_of(key, question)

    serve = partial(serving, platform, host=HOST, proof=(PROOF_PATH, prove))
    async with AsyncExitStack() as stack:
        try:
            url = await stack.enter_async_context(serve(port=port))
        except OSError:
            url = await stack.enter_async_context(serve(port=0))
        address = leave_address(platform.config.data, url)
        stack.callback(address.unlink, missing_ok=True)
        yield url


async def _key(platform: Platform, wish: Wish) -> str:
    """The key that is kept, while it works; else a new one, and those that were made here before end."""
    if platform.first_start:
        return platform.first_start.api_key
    keys = platform.store.keys
    owner = await keys.first_owner()
    assert owner, "the first start has made a key"
    if wish.kept_key and (holder := await keys.holder_of(wish.kept_key)) and holder.owner == owner:
        return wish.kept_key
    *later, first = await keys.list(owner)
    former = [first, *(each for each in later if each.name == KEY_NAME)]
    _, key = await keys.create(KEY_NAME, owner=owner)
    for each in former:
        await keys.revoke(owner, each.id)
    return key


async def _ensure_machines(platform: Platform, comfyuis: ComfyUIs) -> None:
    """A machine for every ComfyUI that shares the platform, which is started by its first run."""
    from ..server.store.machines import MANAGED

    store = platform.store
    rows, owner = await store.machines.rows(), await store.keys.first_owner()
    known = {row["comfyui"]: row["name"] for row in rows if row["type"] == MANAGED}
    assert owner, "the first start has made a key"
    new = [name for name in comfyuis if name not in known]
    for name in new:
        known[name] = f"{MACHINE_NAME} ({name})" if MACHINE_NAME in known.values() else MACHINE_NAME
        await store.machines.add(
            owner, name=known[name], kind=MANAGED, slots=1, comfyui=name, idle_timeout=IDLE_SECONDS
        )
    if new:
        await platform.fleet.refresh()
        platform.dispatcher.wake()


def _kinds(config: ServerConfig, comfyuis: ComfyUIs) -> dict[str, MachineFactory]:
    from ..server.machines.builtin import PIXELS_AT_WORK, BuiltinMachine
    from ..server.machines.comfyui import ComfyUIMachine
    from ..server.machines.managed import ManagedMachine
    from ..server.machines.pixel_budget import PixelBudget

    budget = PixelBudget(PIXELS_AT_WORK)

    def managed(settings: MachineSettings) -> Machine:
        facts = comfyuis.facts(settings.folder)
        return ManagedMachine(
            settings,
            python=facts.python if facts else None,
            log_folder=config.data / "logs",
            work_folder=config.data / "machines",
            arguments=facts.arguments if facts else (),
            # It has the custom nodes of the ComfyUI that this process is for, and they find what they find there.
            environment=os.environ,
        )

    return {"builtin": lambda _: BuiltinMachine(budget), "comfyui": ComfyUIMachine, "managed": managed}


def _end_of_input() -> asyncio.Event:
    """Set when whoever holds the other end of the standard input has let go of it, also by being killed."""
    ended, loop = asyncio.Event(), asyncio.get_running_loop()

    def watch() -> None:
        while sys.stdin.read(1):
            pass
        loop.call_soon_threadsafe(ended.set)
        threading.Event().wait(END_SECONDS)
        os._exit(1)

    threading.Thread(target=watch, name="outpost-end", daemon=True).start()
    return ended
