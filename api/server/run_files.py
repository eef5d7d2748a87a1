"""The bytes that a run reads, and those that it puts out."""

from __future__ import annotations

import itertools
import logging
from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import Any

from ..errors import ApiError, InvalidInput, NotFound
from ..models import Failure
from .config import ServerConfig
from .feed import Feed
from .fetching import fetch_url
from .machines import MachineError, OutputBytes
from .objects import Objects, safe_name
from .ownership import RUNS, readable_key
from .store import Store
from .store.keys import Owner
from .store.work import ClaimedRun, NewOutput

log = logging.getLogger("outpost.dispatcher")

FULL = "the platform cannot write it, perhaps because its disk is full"


class RunFiles:
    """What one run reads from and brings into the object store, and the log."""

    def __init__(self, run: ClaimedRun, store: Store, feed: Feed, *, objects: Objects, config: ServerConfig) -> None:
        self._run = run
        self._store = store
        self._feed = feed
        self._objects = objects
        self._config = config
        self._numbers = itertools.count(1)

    async def read(self, url: str) -> AsyncGenerator[bytes, None]:
        """The bytes behind the URL of an input: a file of the run's owner, or one that anybody can read."""
        if self._objects.key_of(url) is None:
            async with aclosing(self._fetch(url)) as chunks:
                async for chunk in chunks:
                    yield chunk
            return
        key = await readable_key(self._store, self._objects, owner=Owner(self._run.owner_id), url=url)
        try:
            async with aclosing(self._objects.read(key)) as chunks:
                async for chunk in chunks:
                    yield chunk
        except NotFound as error:
            raise InvalidInput(str(error)) from error

    async def _fetch(self, url: str) -> AsyncGenerator[bytes, None]:
        """The bytes behind a URL of somebody else's; InvalidInput when they cannot be had."""
        config = self._config
        fetching = fetch_url(url, allow_private=config.allow_private_addresses, max_bytes=config.max_file_bytes)
        try:
            async with fetching as found:
                async for chunk in found.chunks():
                    yield chunk
        except ApiError as error:
            raise InvalidInput(error.reason) from error

    async def add(
        self, node_id: str, node_class: str, *, output_id: str | None, files: list[OutputBytes], texts: list[str]
    ) -> None:
        """Keep what a node has put out. Raises MachineError, which ends the run, when that cannot be done."""
        data: dict[str, list[Any]] = {}
        for file in files:
            try:
                data.setdefault(file.kind, []).append(await self._put(file))
            except (ApiError, OSError) as error:
                log.error("an output of run %s could not be kept", self._run.id, exc_info=error)
                reason = str(error) if isinstance(error, ApiError) else FULL
                failure = Failure(message=f"An output cannot be kept: {reason}", node_id=node_id, node_class=node_class)
                raise MachineError(failure) from error
        if texts:
            data["text"] = list(texts)
        names = [name and storable(name) for name in (node_id, node_class, output_id)]
        output = NewOutput(names[0] or "", names[1] or "", names[2], data)
        await self._store.work.add_output(self._run, output)
        self._feed.wake(self._run.id)

    async def _put(self, file: OutputBytes) -> dict[str, Any]:
        name = safe_name(file.filename)
        key = f"{RUNS}/{self._run.id}/{self._run.lease[:8]}-{next(self._numbers)}-{name}"
        size = await self._objects.put(key, file.chunks, max_size=self._config.max_file_bytes)
        return {
            "object": key,
            "filename": name,
            "subfolder": "",
            "type": file.type,
            "content_type": file.content_type,
            "size": size,
        }


def storable(text: str) -> str:
    """A text from a graph without what a database cannot keep: halves of characters, and NUL."""
    return text.encode("utf-8", errors="replace").decode().replace("\0", "?")
